//! What fails says on which layer, why, by which file, and what to do: each failure provoked over TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::support::{
    INNER_CLIENT, OUTER_CLIENT, client, connect, echo_server, files, layered, listener, relay, run,
};
use crate::tools::have;

fn plain_http() -> String {
    listener(|mut tcp| {
        assert!(tcp.read(&mut [0; 512]).unwrap() > 0);
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        tcp.read_to_end(&mut Vec::new())
    })
}

/// What the options of either side lead to; the layer of the option is where it fails.
#[test]
fn options_that_do_not_fit() {
    let inner_mutual = ["--inner-client-ca", "customerCA.crt"];
    let inner_client = ["--inner-cert", "client.crt", "--inner-key", "client.key"];
    let aws = "/C=US/ST=Virginia/L=Herndon/O=AWS/OU=AWS Cryptography/CN=CloudHSM";
    let issued = "/C=US/O=Throwaway customer/CN=issued client";
    type Row<'a> = (&'a [&'a str], Vec<&'a [&'a str]>, i32, Vec<&'a str>);
    let rows: Vec<Row<'_>> = vec![
        // No certificate of ours, though one is asked for.
        (
            &[],
            vec![&OUTER_CLIENT[..3], &INNER_CLIENT],
            4,
            vec![
                "outer TLS",
                "certificate_required",
                "asked for a certificate on the outer",
                "--outer-cert",
            ],
        ),
        (
            &["--outer-tls", "1.2"],
            vec![&OUTER_CLIENT[..3], &INNER_CLIENT],
            4,
            vec!["outer TLS", "asked for a certificate on the outer", "--outer-cert"],
        ),
        (
            &inner_mutual,
            vec![&OUTER_CLIENT, &INNER_CLIENT],
            5,
            vec![
                "inner TLS",
                "certificate_required",
                "asked for a certificate on the inner",
                "--inner-cert",
            ],
        ),
        // One that the peer refuses.
        (
            &["--outer-client-ca", "otherCA.crt"],
            vec![
                &["--outer-cert", "stranger.crt", "--outer-key", "stranger.key"],
                &OUTER_CLIENT[..3],
                &INNER_CLIENT,
            ],
            4,
            vec![
                "outer TLS",
                "the peer refused",
                "alert unknown_ca",
                "CN=stranger",
                "(stranger.crt)",
            ],
        ),
        (
            &["--inner-client-ca", "otherCA.crt"],
            vec![&OUTER_CLIENT, &INNER_CLIENT, &inner_client],
            5,
            vec!["inner TLS", "the peer refused", "alert unknown_ca", issued, "(client.crt)"],
        ),
        (
            &["--inner-client-ca", "otherCA.crt", "--inner-tls", "1.2"],
            vec![&OUTER_CLIENT, &INNER_CLIENT, &inner_client],
            5,
            vec!["inner TLS", "the peer refused", "alert unknown_ca", issued, "(client.crt)"],
        ),
        // A cluster of another customer.
        (
            &[],
            vec![&OUTER_CLIENT, &["--inner-ca", "otherCA.crt", "--inner-no-name-check"]],
            5,
            vec![
                "inner TLS",
                "unknown issuer",
                "expected issuer /C=US/O=Throwaway customer/CN=other CA (key ",
                "found issuer /C=US/O=Throwaway customer/CN=customerCA",
                "(otherCA.crt)",
                "of a CloudHSM cluster, its own customerCA.crt",
            ],
        ),
        (
            &["--inner-cert", "named.crt", "--inner-key", "named.key"],
            vec![&OUTER_CLIENT, &["--inner-ca", "otherCA.crt", "--inner-no-name-check"]],
            5,
            vec![
                "inner TLS: unknown issuer",
                "expected issuer /C=US/O=Throwaway customer/CN=other CA (key ",
                "found issuer /C=US/O=Throwaway customer/CN=customerCA (key ",
            ],
        ),
        // Another authority of the same name.
        (
            &[],
            vec![&OUTER_CLIENT, &["--inner-ca", "twinCA.crt", "--inner-no-name-check"]],
            5,
            vec![
                "inner TLS",
                "CN=customerCA",
                "(twinCA.crt)",
                "of a CloudHSM cluster, its own customerCA.crt",
            ],
        ),
        // Not the pinned one.
        (
            &[],
            vec![&OUTER_CLIENT[3..], &["--outer-pin", "certs/712ff948.0"], &INNER_CLIENT],
            4,
            vec![
                "outer TLS",
                "certificate not pinned",
                "expected certificate ",
                aws,
                "(certs/712ff948.0)",
            ],
        ),
        // Versions and protocols.
        (
            &["--outer-tls", "1.2"],
            vec![&OUTER_CLIENT, &INNER_CLIENT, &["--outer-tls", "1.3"]],
            4,
            vec!["outer TLS", "protocol_version", "--outer-tls"],
        ),
        (
            &["--outer-tls", "1.3"],
            vec![&OUTER_CLIENT, &INNER_CLIENT, &["--outer-tls", "1.2"]],
            4,
            vec!["outer TLS", "protocol_version", "--outer-tls"],
        ),
        (
            &["--inner-tls", "1.3"],
            vec![&OUTER_CLIENT, &INNER_CLIENT, &["--inner-tls", "1.2"]],
            5,
            vec!["inner TLS", "protocol_version", "--inner-tls"],
        ),
        (
            &["--outer-alpn", "host/1"],
            vec![&OUTER_CLIENT, &INNER_CLIENT, &["--outer-alpn", "host/2"]],
            4,
            vec!["outer TLS", "no_application_protocol", "--outer-alpn"],
        ),
        (
            &["--inner-alpn", "hsm/1"],
            vec![&OUTER_CLIENT, &INNER_CLIENT, &["--inner-alpn", "hsm/2"]],
            5,
            vec!["inner TLS", "no_application_protocol", "--inner-alpn"],
        ),
        // Names and time.
        (
            &["--inner-cert", "named.crt", "--inner-key", "named.key"],
            vec![&OUTER_CLIENT, &["--inner-ca", "customerCA.crt", "--inner-name", "other.test"]],
            5,
            vec!["inner TLS", "certificate for another name", "other.test", "hsm.test"],
        ),
        (
            &["--inner-cert", "expired.crt", "--inner-key", "expired.key"],
            vec![&OUTER_CLIENT, &INNER_CLIENT],
            5,
            vec!["inner TLS", "expired certificate", "renew the certificate"],
        ),
        (
            &["--outer-cert", "expired.crt", "--outer-key", "expired.key"],
            vec![&OUTER_CLIENT[3..], &["--outer-pin", "expired.crt"], &INNER_CLIENT],
            4,
            vec!["outer TLS", "expired certificate", "(expired.crt)"],
        ),
    ];
    for (server, options, status, words) in rows {
        let server = layered(server);
        let run = connect(&server.address, &options);
        run.ends(status, &words);
        assert_eq!(
            run.stderr.lines().filter(|line| line.starts_with("error")).count(),
            1,
            "{run:?}"
        );
        assert!(!run.stderr.contains("Error") && !run.stderr.contains("Some("), "{run:?}");
    }
}

/// `openssl s_server` as the host: it terminates the outer layer, and answers with nothing that is TLS.
struct Openssl(Child);

impl Openssl {
    fn start(options: &[&str]) -> (Self, String) {
        let mut child = Command::new("openssl")
            .current_dir(files())
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "host.crt", "-key", "host.key"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ACCEPT ") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0);
        }
        thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        (Self(child), line.trim_end().trim_start_matches("ACCEPT ").to_owned())
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_key_without_a_signature_scheme_in_common_sends_no_certificate() {
    if !have("openssl") {
        return;
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let mutual = ["-Verify", "1", "-CAfile", "customerCA.crt", version];
        let schemes = ["-client_sigalgs", "RSA-PSS+SHA256:RSA-PSS+SHA384"];
        let (_server, address) = Openssl::start(&[&mutual[..], &schemes].concat());
        connect(&address, &[&OUTER_CLIENT, &INNER_CLIENT]).ends(
            4,
            &[
                "outer TLS: the peer refused the connection",
                "no certificate went out",
                "RSA_PSS_SHA256, RSA_PSS_SHA384",
                "(client.crt)",
                "another kind of key",
            ],
        );
    }
}

#[test]
fn a_group_that_we_lack() {
    if !have("openssl") {
        return;
    }
    let (_server, address) = Openssl::start(&["-groups", "P-521"]);
    // With a certificate of ours for which nobody asked.
    for own in [&OUTER_CLIENT[..], &OUTER_CLIENT[..3]] {
        connect(&address, &[own, &INNER_CLIENT])
            .ends(4, &["outer TLS: the peer refused", "handshake_failure", "suites, groups"]);
    }
}

#[test]
fn a_peer_that_does_not_speak_tls() {
    connect(&plain_http(), &[&OUTER_CLIENT, &INNER_CLIENT]).ends(
        4,
        &[
            "outer TLS: what came is not TLS",
            "\"HTTP/1.1 400 Bad Request\"",
            "check that this port",
        ],
    );
    let host = relay(&plain_http(), &[]);
    connect(&host.address, &[&OUTER_CLIENT, &INNER_CLIENT])
        .ends(5, &["inner TLS: what came is not TLS", "check that what the host forwards to"]);
    // The other way round: what came to our port.
    let mut server = echo_server(&[]);
    let mut tcp = TcpStream::connect(&server.address).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: hsm\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(server.child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(
        line.contains("outer TLS: what came is not TLS") && line.contains("\"GET / HTTP/1.1\""),
        "{line}"
    );
}

#[test]
fn no_listener_and_no_such_name() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    connect(&closed, &[&OUTER_CLIENT, &INNER_CLIENT])
        .ends(3, &[&closed, "connection refused", "check the port"]);
    connect("nowhere.invalid:2223", &[&OUTER_CLIENT, &INNER_CLIENT, &["--outer-name", "hsm"]])
        .ends(3, &["nowhere.invalid", "check the name"]);
}

#[test]
fn a_host_that_hangs_up() {
    // At once, with what we sent unread or read: a reset or an end.
    connect(&listener(drop), &[&OUTER_CLIENT, &INNER_CLIENT])
        .ends(6, &["outer TLS: cut short in the outer handshake", "check that this is the port"]);
    let address = listener(|mut tcp| {
        assert!(tcp.read(&mut [0; 16_384]).unwrap() > 0);
        tcp.shutdown(Shutdown::Both).unwrap();
    });
    connect(&address, &[&OUTER_CLIENT, &INNER_CLIENT])
        .ends(6, &["outer TLS: cut short in the outer handshake"]);
    // After the outer handshake: nothing stands behind it.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let host = relay(&closed, &[]);
    connect(&host.address, &[&OUTER_CLIENT, &INNER_CLIENT]).ends(
        6,
        &[
            "inner TLS: cut short in the inner handshake",
            "may have refused our outer certificate",
            "or what the host forwards to is not up",
        ],
    );
    let host = relay(&listener(drop), &[]);
    connect(&host.address, &[&OUTER_CLIENT, &INNER_CLIENT])
        .ends(6, &["inner TLS: cut short in the inner handshake"]);
}

#[test]
fn a_host_that_ends_the_outer_layer_cuts_the_inner_one() {
    // What stands behind the host says something, and ends without a close_notify.
    const SAYS: &str = r#"
import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("hsm.crt", "hsm.key")
listener = socket.create_server(("127.0.0.1", 0))
print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
tls = context.wrap_socket(listener.accept()[0], server_side=True)
tls.sendall(b"the beginning")
tls.recv(10)
# No reset: that could destroy what the host has not read yet.
tls.shutdown(socket.SHUT_WR)
while tls.recv(1000):
    pass
"#;
    if !have("python3") {
        return;
    }
    let mut hsm = Command::new("python3")
        .current_dir(files())
        .args(["-c", SAYS])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(hsm.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let host = relay(address.trim_end(), &[]);
    let run = connect(&host.address, &[&OUTER_CLIENT, &INNER_CLIENT]);
    run.ends(6, &["inner TLS: cut short", "the peer's close_notify", "authentic, but not all"]);
    assert_eq!(run.text(), "the beginning");
    hsm.wait().unwrap();
}

#[test]
fn each_phase_has_its_time() {
    let (keep, kept) = mpsc::channel::<TcpStream>();
    let send = keep.clone();
    let silent = listener(move |tcp| send.send(tcp));
    let quick = ["--timeout", "0.3"];
    let fast = |address: &str| {
        let mut arguments = vec!["connect", address];
        arguments.extend([&OUTER_CLIENT[..], &INNER_CLIENT, &quick].concat());
        run(&arguments, b"")
    };
    fast(&silent).ends(4, &["outer TLS", "did not end", "within 0.3 s", "raise --timeout"]);
    let silent = listener(move |tcp| keep.send(tcp));
    let host = relay(&silent, &[]);
    // The outer handshake may take longer than that where much else runs; it is not what is tested.
    let mut arguments = vec!["connect", host.address.as_str(), "--timeout", "3"];
    arguments.extend([&OUTER_CLIENT[..], &INNER_CLIENT].concat());
    run(&arguments, b"").ends(5, &["inner TLS", "did not end", "within 3 s", "raise --timeout"]);
    drop(kept);
}

/// Linux drops what would begin a connection where nobody accepts those that wait already.
#[cfg(target_os = "linux")]
#[test]
fn connecting_has_its_time() {
    const FULL: &str = r#"
import socket, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(0)
waiting = []
for _ in range(4):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(listener.getsockname())
    waiting.append(one)
print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
sys.stdin.read()
"#;
    if !have("python3") {
        return;
    }
    let mut full = Command::new("python3")
        .args(["-c", FULL])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(full.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let mut arguments = client(address.trim_end(), &["--timeout", "1.5"]);
    let ended = run(&arguments, b"");
    ended.ends(3, &["connecting to 127.0.0.1", "can't connect", "timed out", "raise --timeout"]);
    // Slow work is told to people only.
    arguments.push("--json");
    let ended = run(&arguments, b"");
    let value: serde_json::Value = serde_json::from_str(&ended.ends(3, &[]).stderr).unwrap();
    assert_eq!(value["error"]["status"], 3);
    drop(full.stdin.take());
    full.wait().unwrap();
}

#[test]
fn a_report_shows_what_was_refused_by_which_rule() {
    let server = echo_server(&[]);
    let options =
        [&OUTER_CLIENT[..], &["--inner-ca", "otherCA.crt", "--inner-no-name-check", "--report"]];
    let run = connect(&server.address, &options);
    run.ends(5, &["inner TLS: unknown issuer"]);
    for words in [
        "no connection to 127.0.0.1",
        "accepted: pinned certificate (certs/21a10654.0)",
        "subject= /C=US+ST=CA+O=Cavium+OU=N3FIPS+L=SanJose/CN=HSM:",
        "refused: otherCA.crt: unknown issuer: expected issuer /C=US/O=Throwaway customer/CN=other CA",
    ] {
        assert!(run.text().contains(words), "{words:?} is not in {}", run.text());
    }
    let json = connect(&server.address, &[&options.concat(), &["--json"]]);
    let value: serde_json::Value = serde_json::from_slice(&json.ends(5, &[]).stdout).unwrap();
    assert_eq!(value["layers"]["inner"]["refused"]["file"], "otherCA.crt");
    assert_eq!(value["layers"]["outer"]["accepted"]["file"], "certs/21a10654.0");
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(error["error"]["layer"], "inner");
    assert_eq!(error["error"]["file"], "otherCA.crt");
}

#[test]
fn a_report_waits_for_the_verdict_on_our_certificate() {
    let server = echo_server(&["--inner-client-ca", "otherCA.crt"]);
    let own = ["--inner-cert", "client.crt", "--inner-key", "client.key", "--report"];
    let run = connect(&server.address, &[&OUTER_CLIENT, &INNER_CLIENT, &own]);
    run.ends(5, &["inner TLS: the peer refused", "alert unknown_ca", "(client.crt)"]);
    connect(&server.address, &[&OUTER_CLIENT, &INNER_CLIENT, &["--report"]])
        .ends(5, &["inner TLS: the peer refused", "certificate_required", "--inner-cert"]);
}

/// What servers say of their clients is about the client.
#[test]
fn servers_blame_the_client() {
    let server = echo_server(&["--once"]);
    connect(&server.address, &[&OUTER_CLIENT[..3], &INNER_CLIENT]).ends(4, &[]);
    server.wait().ends(4, &["outer TLS: the client presented no certificate"]);

    let server = echo_server(&["--once"]);
    let options = [&OUTER_CLIENT[3..], &["--outer-pin", "hsm.crt"], &INNER_CLIENT];
    connect(&server.address, &options).ends(4, &[]);
    server.wait().ends(4, &["outer TLS: the peer refused", "does not trust our certificate"]);

    let server = echo_server(&["--once"]);
    connect(&server.address, &[&OUTER_CLIENT, &["--inner-pin", "host.crt"]]).ends(5, &[]);
    server.wait().ends(5, &["inner TLS: the peer refused", "does not trust our certificate"]);

    let server = echo_server(&["--once"]);
    drop(TcpStream::connect(&server.address).unwrap());
    server.wait().ends(6, &["outer TLS: cut short", "the client hung up"]);
}
