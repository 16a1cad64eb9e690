//! Running a server: its limits, new certificates, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ChildStderr;
use std::thread;
use std::time::Duration;

use crate::endurance::{Hsm, interrupted, open, quiet_end, warm};
use crate::metrics::{counted, metrics_of};
use crate::support::{
    INNER_SERVER, OUTER_CLIENT, OUTER_SERVER, Run, Server, client, directory, echo_server, files,
    finish, relay, run, start,
};

/// What a server says on standard error, line by line.
pub(crate) struct Said(BufReader<ChildStderr>);

impl Said {
    pub(crate) fn by(server: &mut Server) -> Self {
        Self(BufReader::new(server.child.stderr.take().unwrap()))
    }

    /// Reads to the next line that has `word`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, word: &str) -> String {
        let mut all = String::new();
        loop {
            let begin = all.len();
            assert_ne!(self.0.read_line(&mut all).unwrap(), 0, "no {word:?} in {all}");
            if all[begin..].contains(word) {
                return all.split_off(begin);
            }
        }
    }

    /// What is left, to the server's end.
    fn rest(mut self) -> String {
        let mut all = String::new();
        self.0.read_to_string(&mut all).unwrap();
        all
    }
}

/// Waits until nothing listens there any more.
fn wait_until_refused(address: &str) {
    while TcpStream::connect(address).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_beyond_the_limit_wait_and_are_told_of_once() {
    let mut server = echo_server(&["--max-connections", "2"]);
    let mut said = Said::by(&mut server);
    let mut first: Vec<_> = (0..2).map(|_| open(&server.address, &[])).collect();
    for (_, stdin, stdout) in &mut first {
        warm(stdin, stdout);
    }
    let more = ["-q", "--timeout", "60"];
    let mut waiting: Vec<_> = (0..3).map(|_| start(&client(&server.address, &more))).collect();
    assert!(said.wait_for("warning").contains("the limit of connections (2) is reached"));
    // Those inside are not disturbed.
    for (_, stdin, stdout) in &mut first {
        warm(stdin, stdout);
    }
    for (child, stdin, _stdout) in first {
        drop(stdin);
        quiet_end(child);
    }
    // Who comes first is not known.
    for child in &mut waiting {
        child.stdin.take().unwrap().write_all(b"late").unwrap();
    }
    for child in waiting {
        let run = finish(child, b"");
        assert_eq!(run.ends(0, &[]).text(), "late");
    }
    server.signal("TERM");
    assert!(server.child.wait().unwrap().success());
    let rest = said.rest();
    assert!(!rest.contains("warning"), "{rest}");
}

#[test]
fn half_open_handshakes_give_their_places_up_in_time() {
    let mut server = echo_server(&["--max-handshakes", "2", "--timeout", "1"]);
    let mut said = Said::by(&mut server);
    let silent: Vec<_> = (0..4).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    said.wait_for("the limit of handshakes (2) is reached");
    // Behind two rounds of them.
    let run = run(&client(&server.address, &["-q", "--timeout", "60"]), b"honest");
    assert_eq!(run.ends(0, &[]).text(), "honest");
    for _ in &silent {
        said.wait_for("the handshake did not end");
    }
    // A handshake's place is free again once it has succeeded.
    let mut held: Vec<_> = (0..4).map(|_| open(&server.address, &[])).collect();
    for (_, stdin, stdout) in &mut held {
        warm(stdin, stdout);
    }
    for (child, stdin, _stdout) in held {
        drop(stdin);
        quiet_end(child);
    }
}

/// A client that says something now and then, while another one is silent until it is closed.
fn outlives_a_silent_one(server: &mut Server, address: &str, echoes: bool) {
    let mut said = Said::by(server);
    let [(busy, mut stdin, mut stdout), (silent, kept, mut end)] = [(); 2].map(|()| {
        let (child, mut stdin, mut stdout) = open(address, &[]);
        if echoes {
            warm(&mut stdin, &mut stdout);
        }
        said.wait_for("TLS 1.3");
        (child, stdin, stdout)
    });
    // The time that it waits for its output to end is the time that the other one is kept alive.
    let waits = thread::spawn(move || end.read_to_end(&mut Vec::new()).unwrap());
    while !waits.is_finished() {
        match echoes {
            true => warm(&mut stdin, &mut stdout),
            false => stdin.write_all(b"one way").unwrap(),
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(waits.join().unwrap(), 0);
    let line = said.wait_for("idle");
    assert!(line.starts_with("[2] error: "), "{line}");
    assert!(line.contains("expected something within 0.7 s, found silence"), "{line}");
    // Both layers were closed as they should be.
    drop(kept);
    quiet_end(silent);
    if echoes {
        warm(&mut stdin, &mut stdout);
    }
    drop(stdin);
    quiet_end(busy);
    assert!(said.wait_for("[1] ").starts_with("[1] ended: "));
}

#[test]
fn a_connection_on_which_nothing_passes_is_closed() {
    let idle = ["--idle", "0.7", "--metrics", "127.0.0.1:0"];
    for echoes in [true, false] {
        let mut arguments = vec!["serve"];
        arguments.extend(echoes.then_some("--echo"));
        arguments.extend([&OUTER_SERVER[..], &INNER_SERVER, &idle].concat());
        let mut server = Server::start(&arguments);
        let address = server.address.clone();
        outlives_a_silent_one(&mut server, &address, echoes);
        let counted = counted(&metrics_of(&mut server));
        assert_eq!(counted["nested_tls_errors_total{kind=\"idle\"}"], 1, "{counted:?}");
        assert_eq!(counted.keys().filter(|name| name.contains("errors")).count(), 1);
    }
    // A host can close the outer layer alone.
    let Some(hsm) = Hsm::start() else { return };
    let host = relay(&hsm.address, &["--idle", "0.7", "--once"]);
    let (mut child, mut stdin, mut stdout) = open(&host.address, &[]);
    warm(&mut stdin, &mut stdout);
    child.stdout = Some(stdout);
    finish(child, b"").ends(6, &["inner TLS: cut short"]);
    drop(stdin);
    host.wait().ends(3, &["the connection was idle", "or raise --idle"]);
}

/// A client with something under way while `server`, told to end, drains.
fn is_drained(server: &Server, address: &str) {
    let (child, mut stdin, mut stdout) = open(address, &[]);
    warm(&mut stdin, &mut stdout);
    server.signal("TERM");
    wait_until_refused(&server.address);
    for _ in 0..3 {
        warm(&mut stdin, &mut stdout);
    }
    drop(stdin);
    assert_eq!(stdout.read_to_end(&mut Vec::new()).unwrap(), 0);
    quiet_end(child);
}

#[test]
fn a_terminated_server_lets_its_connections_end() {
    let server = echo_server(&["--drain", "50"]);
    is_drained(&server, &server.address);
    server.wait().ends(0, &["[1] ended: 16 bytes received, 16 sent"]);
    let Some(hsm) = Hsm::start() else { return };
    let host = relay(&hsm.address, &["--drain", "50"]);
    is_drained(&host, &host.address);
    host.wait().ends(0, &["[1] ended: "]);
}

#[test]
fn what_has_not_ended_in_time_is_closed_on_both_layers() {
    for drain in ["0", "0.3"] {
        let server = echo_server(&["--drain", drain]);
        let (child, mut stdin, mut stdout) = open(&server.address, &[]);
        warm(&mut stdin, &mut stdout);
        server.signal("INT");
        // An end of the inner layer that is its server's own; nothing says that the outer one is unclean.
        assert_eq!(stdout.read_to_end(&mut Vec::new()).unwrap(), 0);
        drop(stdin);
        quiet_end(child);
        server.wait().ends(0, &["[1] ended: 4 bytes received, 4 sent"]);
    }
    // The host can close the outer layer alone, and that shows.
    let Some(hsm) = Hsm::start() else { return };
    let host = relay(&hsm.address, &["--drain", "0.3"]);
    let (mut child, mut stdin, mut stdout) = open(&host.address, &[]);
    warm(&mut stdin, &mut stdout);
    host.signal("TERM");
    child.stdout = Some(stdout);
    finish(child, b"").ends(6, &["inner TLS: cut short"]);
    host.wait().ends(0, &["[1] ended: "]);
}

#[test]
fn handshakes_under_way_are_drained_too() {
    let server = echo_server(&["--drain", "0.1"]);
    let mut silent = TcpStream::connect(&server.address).unwrap();
    silent.write_all(&[22, 3, 1]).unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().status, Some(0));
}

#[test]
fn a_second_signal_cuts_what_is_open() {
    let run = interrupted(echo_server(&["--drain", "50"]), |server| {
        server.signal("TERM");
        wait_until_refused(&server.address);
        server.signal("TERM");
        assert!(server.child.wait().unwrap().success());
    });
    run.ends(6, &["inner TLS: cut short"]);
}

/// What a new client gets that takes nothing but `pin` for the inner server.
fn meets(server: &Server, pin: &str) -> Run {
    let mut arguments = vec!["connect", &server.address, "-q", "--inner-pin", pin];
    arguments.extend(OUTER_CLIENT);
    run(&arguments, b"new")
}

#[test]
fn new_certificates_and_trust_are_taken_over_and_connections_go_on() {
    let own = directory("reload");
    let path = |name: &str| own.join(name).to_str().unwrap().to_owned();
    let put = |name: &str, from: &str| fs::copy(files().join(from), own.join(name)).unwrap();
    put("inner.crt", "hsm.crt");
    put("inner.key", "hsm.key");
    put("clients.crt", "customerCA.crt");
    let (cert, key, clients) = (path("inner.crt"), path("inner.key"), path("clients.crt"));
    let mut arguments = vec!["serve", "--echo", "--inner-cert", &cert, "--inner-key", &key];
    arguments.extend(&OUTER_SERVER[..4]);
    arguments.extend(["--outer-client-ca", &clients]);
    let mut server = Server::start(&arguments);
    let mut said = Said::by(&mut server);
    assert_eq!(meets(&server, "hsm.crt").ends(0, &[]).text(), "new");
    let (child, mut stdin, mut stdout) = open(&server.address, &[]);
    warm(&mut stdin, &mut stdout);

    put("inner.crt", "named.crt");
    put("inner.key", "named.key");
    // Nothing is looked at before the signal.
    assert_eq!(meets(&server, "hsm.crt").ends(0, &[]).text(), "new");
    server.signal("HUP");
    said.wait_for("reloaded");
    assert_eq!(meets(&server, "named.crt").ends(0, &[]).text(), "new");
    meets(&server, "hsm.crt").ends(5, &["inner TLS"]);

    // Half of a new configuration is worse than an old one.
    for (name, from, reason) in [
        ("inner.key", "hsm.key", "inner.key"),
        ("inner.crt", "hsm.key", "inner.crt"),
        ("clients.crt", "client.key", "clients.crt"),
    ] {
        let kept = fs::read(own.join(name)).unwrap();
        put(name, from);
        server.signal("HUP");
        let line = said.wait_for("not reloaded");
        assert!(line.contains(reason) && line.contains("the old configuration stays"), "{line}");
        assert_eq!(meets(&server, "named.crt").ends(0, &[]).text(), "new");
        fs::write(own.join(name), kept).unwrap();
    }

    put("clients.crt", "otherCA.crt");
    server.signal("HUP");
    said.wait_for("reloaded");
    meets(&server, "named.crt").ends(4, &["outer TLS"]);
    // Who was let in before stays.
    warm(&mut stdin, &mut stdout);
    drop(stdin);
    quiet_end(child);
    fs::remove_dir_all(own).unwrap();
}
