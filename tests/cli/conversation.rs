//! `connect` with `serve` and `relay`: every byte, both ways, to both ends.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    INNER_SERVER, OUTER_SERVER, Server, client, directory, echo_server, finish, noise, program,
    relay, run, start, start_as,
};
use crate::tools::have;

#[test]
fn echoes_every_size_to_the_last_byte() {
    let server = echo_server(&[]);
    for len in [0, 1, 5, 16_362, 65_536, 65_537, 1 << 20, 8 << 20] {
        let data = noise(len);
        let run = run(&client(&server.address, &["-q"]), &data);
        run.ends(0, &[]);
        assert!(run.stdout == data, "{len}: {} came back", run.stdout.len());
        assert_eq!(run.stderr, "");
    }
}

#[test]
fn every_pair_of_versions() {
    for outer in ["1.2", "1.3"] {
        for inner in ["1.2", "1.3"] {
            let server = echo_server(&["--outer-tls", outer, "--inner-tls", inner]);
            let data = noise(100_000);
            let run = run(&client(&server.address, &[]), &data);
            run.ends(
                0,
                &[&format!("outer layer: TLS {outer}"), &format!("inner layer: TLS {inner}")],
            );
            assert!(run.stdout == data);
        }
    }
}

#[test]
fn both_directions_run_at_once() {
    // More than all buffers hold, with nobody reading the echo until all is written.
    let server = echo_server(&[]);
    let mut child = start(&client(&server.address, &["-q"]));
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    for round in 0..20_u8 {
        stdin.write_all(&[round; 1000]).unwrap();
        let mut back = [0; 1000];
        stdout.read_exact(&mut back).unwrap();
        assert_eq!(back, [round; 1000]);
    }
    drop(stdin);
    assert_eq!(stdout.read_to_end(&mut Vec::new()).unwrap(), 0);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let server = echo_server(&[]);
    let mut child = start(&client(&server.address, &["-q"]));
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // Until nobody takes it any more.
    let begun = Instant::now();
    while stdin.write_all(&[0; 4096]).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it goes on without a reader");
    }
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_peer_that_ends_first_ends_it_though_input_stays_open() {
    let arguments = [["serve", "--once"].as_slice(), &OUTER_SERVER, &INNER_SERVER].concat();
    let mut server = Server::start(&arguments);
    let mut stdin = server.child.stdin.take().unwrap();
    stdin.write_all(b"all there is").unwrap();
    drop(stdin);
    let mut child = start(&client(&server.address, &["-q", "--timeout", "1"]));
    let open = child.stdin.take();
    let run = finish(child, b"");
    drop(open);
    run.ends(0, &[]);
    assert_eq!(run.text(), "all there is");
}

#[test]
fn an_end_of_input_that_is_kept_is_told_after_the_peers() {
    let arguments = [["serve", "--once"].as_slice(), &OUTER_SERVER, &INNER_SERVER].concat();
    let mut server = Server::start(&arguments);
    let trace = directory("kept-open").join("trace.json");
    let more = ["-q", "--keep-open", "--trace", trace.to_str().unwrap()];
    let mut child = start(&client(&server.address, &more));
    child.stdin.take().unwrap().write_all(b"question").unwrap();
    let mut asked = [0; 8];
    server.stdout.take().unwrap().read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"question");
    // The end of the server's input ends its layer.
    drop(server.child.stdin.take());
    finish(child, b"").ends(0, &[]);
    let text = fs::read_to_string(&trace).unwrap();
    let directions: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["layer"] == "inner" && event["alert"] == "close_notify")
        .map(|event| event["direction"].clone())
        .collect();
    assert_eq!(directions, ["received", "sent"]);
}

#[test]
fn report_says_what_both_layers_are() {
    let server = echo_server(&["--inner-alpn", "hsm/1,hsm/2", "--outer-tls", "1.2"]);
    let text = run(&client(&server.address, &["--report", "--inner-alpn", "hsm/2"]), b"");
    text.ends(0, &[]);
    for words in [
        "outer layer: TLS 1.2",
        "inner layer: TLS 1.3",
        "ALPN hsm/2",
        "accepted: pinned certificate (certs/21a10654.0)",
        "(customerCA.crt)",
        "we presented /C=US/O=Throwaway customer/CN=issued client",
    ] {
        assert!(text.text().contains(words), "{words:?} is not in {}", text.text());
    }
    let json = run(&client(&server.address, &["--report", "--json"]), b"");
    json.ends(0, &[]);
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["layers"]["outer"]["certificates"][0]["serial"], "B7FA7A40976CBE82");
    assert_eq!(value["layers"]["inner"]["accepted"]["file"], "customerCA.crt");
    assert_eq!(value["layers"]["inner"]["resumed"], false);
}

#[test]
fn names_are_checked_where_asked() {
    let arguments = [
        ["serve", "--echo", "--inner-cert", "named.crt", "--inner-key", "named.key"].as_slice(),
        &OUTER_SERVER,
    ]
    .concat();
    let server = Server::start(&arguments);
    let inner = |more: &[&'static str]| {
        let mut arguments = vec!["connect", server.address.as_str()];
        arguments.extend(crate::support::OUTER_CLIENT);
        arguments.extend(["--inner-ca", "customerCA.crt"]);
        arguments.extend(more);
        run(&arguments, b"named")
    };
    assert_eq!(inner(&["--inner-name", "hsm.test"]).ends(0, &[]).text(), "named");
    inner(&["--inner-name", "other.test"])
        .ends(5, &["inner TLS", "certificate for another name", "other.test", "hsm.test"]);
    inner(&[]).ends(2, &["--inner-name", "--inner-no-name-check"]);
}

#[test]
fn openssl_stands_behind_the_relay() {
    if !have("openssl") {
        return;
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let mut server = std::process::Command::new("openssl")
            .current_dir(crate::support::files())
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev", version])
            .args(["-cert", "hsm.crt", "-key", "hsm.key", "-naccept", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ACCEPT ") {
            line.clear();
            assert_ne!(std::io::BufRead::read_line(&mut lines, &mut line).unwrap(), 0);
        }
        let address = line.trim_end().trim_start_matches("ACCEPT ").to_owned();
        // It waits for someone to read what it says.
        thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        let relay = relay(&address, &[]);
        let mut child = start(&client(&relay.address, &[]));
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"drawer\n").unwrap();
        let mut answer = [0; 7];
        child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"reward\n");
        drop(stdin);
        let run = finish(child, b"");
        // Whether s_server says goodbye is its own affair; if not, that must not look like an end.
        assert!(matches!(run.status, Some(0 | 6)), "{run:?}");
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

#[test]
fn openssl_sees_the_outer_layer_as_in_the_seed() {
    if !have("openssl") {
        return;
    }
    let server = echo_server(&[]);
    let output = std::process::Command::new("sh")
        .current_dir(crate::support::files())
        .arg("-c")
        .arg(format!(
            "openssl s_client -connect {} -cert default.crt -key default.key 2>/dev/null </dev/null | \
             openssl x509 -subject -issuer -serial -noout -nameopt compat",
            server.address
        ))
        .output()
        .unwrap();
    let seed = "/C=US/ST=Virginia/L=Herndon/O=AWS/OU=AWS Cryptography/CN=CloudHSM/emailAddress=cloudhsm-team@amazon.com";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("subject={seed}\nissuer={seed}\nserial=B7FA7A40976CBE82\n")
    );
}

/// The lines of a key log, in an order that both ends have in common.
fn lines_of(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn key_logs_of_both_ends_agree_on_both_layers() {
    let logs = directory("keylog");
    let log = |name: &str| logs.join(name).to_str().unwrap().to_owned();
    for (outer, inner, labels) in [("1.3", "1.3", 5 + 5), ("1.2", "1.3", 1 + 5), ("1.2", "1.2", 2)]
    {
        let (at_server, at_client) = (log("server"), log("client"));
        let server =
            echo_server(&["--outer-tls", outer, "--inner-tls", inner, "--keylog", &at_server]);
        run(&client(&server.address, &["-q", "--keylog", &at_client]), b"logged").ends(0, &[]);
        let lines = lines_of(&at_client);
        assert_eq!(lines, lines_of(&at_server));
        assert_eq!(lines.len(), labels, "{lines:?}");
        for path in [at_client, at_server] {
            fs::remove_file(path).unwrap();
        }
    }
    run(&client("127.0.0.1:1", &["--keylog", logs.to_str().unwrap()]), b"")
        .ends(2, &["the file of --keylog can't be written", logs.to_str().unwrap()]);
    fs::remove_dir_all(logs).unwrap();
}

/// Five secrets of a layer of TLS 1.3.
#[test]
fn the_environment_names_a_key_log_where_no_option_does() {
    let logs = directory("keylog-variable");
    let log = |name: &str| logs.join(name).to_str().unwrap().to_owned();
    let (named, option, given) = (log("named"), log("option"), log("given"));
    let under = |path: &str, arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).env("SSLKEYLOGFILE", path);
        command
    };
    let server = echo_server(&["--keylog", &option]);
    let speak = |path: &str, more: &[&str]| {
        let arguments = client(&server.address, &[&["-q"], more].concat());
        finish(start_as(&mut under(path, &arguments)), b"logged").ends(0, &[]);
    };
    // Appended to, like the file of the option.
    speak(&named, &[]);
    speak(&named, &[]);
    let lines = lines_of(&named);
    assert_eq!((lines.len(), lines), (20, lines_of(&option)));
    // Empty is none, and the option comes before it.
    speak("", &[]);
    speak(&named, &["--keylog", &given]);
    let counts = [&option, &given, &named].map(|path| lines_of(path).len());
    assert_eq!(counts, [40, 10, 20]);
    // Of a host, its own layer; of the demonstration, its client's and those of whoever comes to its cluster.
    let (host, cluster) = (["relay", "--forward", "127.0.0.1:1"], log("cluster"));
    let relay = Server::start_as(&mut under(&named, &[&host[..], &OUTER_SERVER].concat()));
    run(&client(&relay.address, &["-q"]), b"").ends(6, &["inner TLS"]);
    assert_eq!(lines_of(&named).len(), 25);
    let demo = Server::start_as(&mut under(&named, &["demo", "--keep", &cluster]));
    assert_eq!(lines_of(&named).len(), 35);
    run(&["connect", &demo.address, "-q", "--cloudhsm", &cluster], b"").ends(0, &[]);
    assert_eq!(lines_of(&named).len(), 45);
    let place = logs.to_str().unwrap();
    let refused = finish(start_as(&mut under(place, &client("127.0.0.1:1", &[]))), b"");
    refused.ends(2, &["the file of the variable SSLKEYLOGFILE can't be written", place]);
    fs::remove_dir_all(logs).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_can_not_be_written_is_a_failure() {
    let server = echo_server(&[]);
    let echo = client(&server.address, &["-q"]);
    let report = client(&server.address, &["--report"]);
    for (arguments, input) in [(echo, "echo"), (report, ""), (vec!["demo"], "")] {
        let mut child = program()
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(fs::File::options().write(true).open("/dev/full").unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let run = crate::support::Run::from(child.wait_with_output().unwrap());
        run.ends(2, &["the output can't be written: no space left on device"]);
    }
}

/// What a command prints to a terminal, with these variables set.
fn on_a_terminal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    const TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let output = std::process::Command::new("python3")
        .current_dir(crate::support::files())
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(variables.iter().copied())
        .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_nested-tls")])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(unix)]
#[test]
fn colour_is_for_terminals_that_want_it() {
    if !have("python3") {
        return;
    }
    let has_colour = |arguments: &[&str], variables: &[(&str, &str)]| {
        let text = on_a_terminal(arguments, variables);
        assert!(text.contains("inner"), "{text}");
        text.contains('\u{1b}')
    };
    assert!(has_colour(&["demo"], &[]));
    assert!(has_colour(&["demo"], &[("NO_COLOR", "")]));
    assert!(!has_colour(&["demo"], &[("NO_COLOR", "1")]));
    assert!(!has_colour(&["demo"], &[("TERM", "dumb")]));
    assert!(!has_colour(&["demo", "--json"], &[]));
    // Failures too.
    let refused = ["connect", "127.0.0.1:1", "--outer-pin", "host.crt"];
    assert!(has_colour(&refused, &[]));
    assert!(!has_colour(&refused, &[("NO_COLOR", "1")]));
    assert!(!run(&["demo"], b"").text().contains('\u{1b}'));
    assert!(!run(&refused, b"").stderr.contains('\u{1b}'));
}
