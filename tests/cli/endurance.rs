//! Many clients, large amounts, slow and vanishing peers: nothing is lost, and what is cut is said to be cut.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{
    INNER_SERVER, OUTER_SERVER, Run, Server, client, echo_server, files, finish, noise, relay, run,
    start,
};
use crate::tools::have;

/// A client with its standard input and output in the test's hands.
pub(crate) fn open(address: &str, more: &[&str]) -> (Child, ChildStdin, ChildStdout) {
    let mut arguments = vec!["-q"];
    arguments.extend(more);
    let mut child = start(&client(address, &arguments));
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, stdout)
}

/// Has one round trip, so that both handshakes are over.
pub(crate) fn warm(stdin: &mut ChildStdin, stdout: &mut ChildStdout) {
    stdin.write_all(b"warm").unwrap();
    let mut back = [0; 4];
    stdout.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"warm");
}

#[track_caller]
pub(crate) fn quiet_end(mut child: Child) {
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_hundred_clients_at_once_get_what_they_sent() {
    let server = echo_server(&[]);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|number| {
                let address = &server.address;
                scope.spawn(move || {
                    let data = noise(10_000 + 1_000 * number);
                    let run = run(&client(address, &["-q", "--timeout", "60"]), &data);
                    run.ends(0, &[]);
                    assert!(
                        run.stdout == data,
                        "client {number}: {} of {} bytes came back",
                        run.stdout.len(),
                        data.len()
                    );
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
    });
}

/// What stands behind the host: a TLS server that is not ours, and echoes one connection.
pub(crate) struct Hsm {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Hsm {
    pub(crate) fn start() -> Option<Self> {
        const ECHO: &str = r#"
import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("hsm.crt", "hsm.key")
listener = socket.create_server(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
tls = context.wrap_socket(listener.accept()[0], server_side=True, suppress_ragged_eofs=False)
total = 0
while said := tls.recv(65536):
    total += len(said)
    tls.sendall(said)
tls.unwrap().close()
print(total, flush=True)
"#;
        if !have("python3") {
            return None;
        }
        let mut child = Command::new("python3")
            .current_dir(files())
            .args(["-c", ECHO])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut hsm = Self { child, lines, address: String::new() };
        hsm.address = hsm.line().strip_prefix("listening on ").unwrap().into();
        Some(hsm)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().into()
    }
}

impl Drop for Hsm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sixty_four_mebibytes_both_ways_through_a_relay_before_an_inner_only_server() {
    let Some(mut hsm) = Hsm::start() else { return };
    let host = relay(&hsm.address, &["--once"]);
    let data = noise(64 << 20);
    let run = run(&client(&host.address, &["-q"]), &data);
    run.ends(0, &[]);
    assert!(run.stdout == data, "{} of {} bytes came back", run.stdout.len(), data.len());
    assert_eq!(hsm.line(), data.len().to_string());
    assert!(hsm.child.wait().unwrap().success());
    host.wait().ends(0, &["[1] ended: "]);
}

#[test]
fn half_close_leaves_the_answer_to_come() {
    // The server answers only when the client has ended, and longer than any buffer is.
    let arguments =
        [["serve", "--once", "--timeout", "1"].as_slice(), &OUTER_SERVER, &INNER_SERVER];
    let mut server = Server::start(&arguments.concat());
    let (child, mut stdin, mut stdout) = open(&server.address, &[]);
    let question = noise(3 << 20);
    let answer = noise(5 << 20);
    let mut of_server = server.stdout.take().unwrap();
    let mut to_server = server.child.stdin.take().unwrap();
    let think = Duration::from_millis(1500);
    thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&question).unwrap();
            drop(stdin);
        });
        let mut heard = vec![0; question.len()];
        of_server.read_exact(&mut heard).unwrap();
        assert!(heard == question, "what arrived is not what was sent");
        scope.spawn(|| {
            // Longer than the time limit: that is for handshakes.
            thread::sleep(think);
            to_server.write_all(&answer).unwrap();
            drop(to_server);
        });
        let mut back = Vec::new();
        stdout.read_to_end(&mut back).unwrap();
        assert!(back == answer, "{} of {} bytes came back", back.len(), answer.len());
    });
    quiet_end(child);
    server.stdout = Some(of_server);
    server.wait().ends(0, &[]);
}

#[test]
fn a_peer_that_has_ended_still_gets_input_that_comes_late() {
    // The server closes its direction at once, and reads for as long as the client writes.
    let arguments =
        [["serve", "--once", "--timeout", "1"].as_slice(), &OUTER_SERVER, &INNER_SERVER];
    let mut server = Server::start(&arguments.concat());
    drop(server.child.stdin.take());
    let (child, mut stdin, _stdout) = open(&server.address, &[]);
    // Longer than the pause after the end of the whole connection.
    thread::sleep(Duration::from_millis(1500));
    let late = noise(1 << 20);
    let mut of_server = server.stdout.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&late).unwrap();
            drop(stdin);
        });
        let mut heard = Vec::new();
        of_server.read_to_end(&mut heard).unwrap();
        assert!(heard == late, "{} of {} bytes arrived", heard.len(), late.len());
    });
    quiet_end(child);
    server.stdout = Some(of_server);
    server.wait().ends(0, &[]);
}

#[test]
fn a_slow_reader_gets_all() {
    let server = echo_server(&[]);
    let (child, mut stdin, mut stdout) = open(&server.address, &["--timeout", "1"]);
    let data = noise(6 << 20);
    let mut back = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&data).unwrap();
            drop(stdin);
        });
        // A pause longer than the time limits, in which all buffers fill, then small steps.
        thread::sleep(Duration::from_millis(2500));
        let mut piece = [0; 999];
        loop {
            let n = stdout.read(&mut piece).unwrap();
            if n == 0 {
                break;
            }
            back.extend_from_slice(&piece[..n]);
            if back.len() % 100 == 0 {
                thread::yield_now();
            }
        }
    });
    assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
    quiet_end(child);
}

#[test]
fn a_slow_writer_is_waited_for() {
    let server = echo_server(&["--timeout", "1"]);
    let (child, mut stdin, mut stdout) = open(&server.address, &["--timeout", "1"]);
    warm(&mut stdin, &mut stdout);
    for pause in [0, 1, 10, 100, 1500] {
        thread::sleep(Duration::from_millis(pause));
        warm(&mut stdin, &mut stdout);
    }
    drop(stdin);
    assert_eq!(stdout.read_to_end(&mut Vec::new()).unwrap(), 0);
    quiet_end(child);
}

#[test]
fn a_killed_client_ends_its_own_connection_only() {
    let mut server = echo_server(&["--json"]);
    let (other, mut other_in, mut other_out) = open(&server.address, &[]);
    warm(&mut other_in, &mut other_out);
    let (mut killed, mut stdin, mut stdout) = open(&server.address, &[]);
    warm(&mut stdin, &mut stdout);
    stdin.write_all(&noise(100_000)).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Told: which one, and that it was cut.
    let stderr = BufReader::new(server.child.stderr.take().unwrap());
    let failed =
        stderr.lines().map_while(Result::ok).find(|line| line.contains("\"error\"")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&failed).unwrap();
    assert_eq!(value["connection"], 2, "{failed}");
    assert_eq!(value["error"]["status"], 6, "{failed}");
    assert_eq!(value["error"]["layer"], "inner", "{failed}");
    warm(&mut other_in, &mut other_out);
    drop(other_in);
    assert_eq!(other_out.read_to_end(&mut Vec::new()).unwrap(), 0);
    quiet_end(other);
}

/// What a client says whose transfer `cut` interrupts.
pub(crate) fn interrupted(mut server: Server, cut: impl FnOnce(&mut Server)) -> Run {
    let (mut child, mut stdin, mut stdout) = open(&server.address, &[]);
    warm(&mut stdin, &mut stdout);
    // Without end: the transfer is in its midst when it is cut.
    let writer = thread::spawn(move || while stdin.write_all(&[7; 65_536]).is_ok() {});
    let mut begun = [0; 100_000];
    stdout.read_exact(&mut begun).unwrap();
    cut(&mut server);
    child.stdout = Some(stdout);
    let run = finish(child, b"");
    writer.join().unwrap();
    run
}

#[test]
fn a_killed_server_is_a_cut_inner_layer() {
    let run = interrupted(echo_server(&[]), |server| {
        server.child.kill().unwrap();
        server.child.wait().unwrap();
    });
    run.ends(6, &["inner TLS: cut short", "the peer's close_notify"]);
}

#[test]
fn a_killed_host_is_a_cut_inner_layer() {
    let Some(hsm) = Hsm::start() else { return };
    let run = interrupted(relay(&hsm.address, &[]), |host| {
        host.child.kill().unwrap();
        host.child.wait().unwrap();
    });
    run.ends(6, &["inner TLS: cut short"]);
}

#[test]
fn what_is_killed_behind_the_host_is_a_cut_inner_layer() {
    let Some(mut hsm) = Hsm::start() else { return };
    let run = interrupted(relay(&hsm.address, &[]), |_| {
        hsm.child.kill().unwrap();
        hsm.child.wait().unwrap();
    });
    run.ends(6, &["inner TLS: cut short"]);
}

#[cfg(unix)]
#[test]
fn terminate_and_interrupt_end_servers_quietly() {
    for signal in ["TERM", "INT"] {
        let echo = echo_server(&[]);
        let relay = relay(&echo.address, &[]);
        for server in [echo, relay] {
            server.signal(signal);
            let run = server.wait();
            run.ends(0, &[]);
            assert_eq!((run.stderr.as_str(), run.text().as_str()), ("", ""));
        }
    }
}
