//! Refusals of a certificate or a handshake that are silent, lost on the way, or in words that mislead.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{
    INNER_CLIENT, OUTER_CLIENT, Server, connect, layered, listener, proxy, relay,
};

const OWN: [&str; 4] = ["--inner-cert", "client.crt", "--inner-key", "client.key"];

/// What a client has said: its pieces, and its last bytes.
#[derive(Default)]
struct Said {
    pieces: usize,
    last: Vec<u8>,
}

impl Said {
    /// An alert of TLS 1.3 is the only record of this length: `17 03 03 00 13`, two bytes, their type, and the tag.
    fn ends_with_alert(&self) -> bool {
        let at = self.last.len().checked_sub(24);
        at.is_some_and(|at| self.last[at..].starts_with(&[0x17, 3, 3, 0, 0x13]))
    }
}

/// In front of a server: carries its first flight, and of what it says behind the client's certificate what `passes`,
/// which may alter it.
fn between(
    server: String,
    passes: impl Fn(&Mutex<Said>, &mut [u8]) -> bool + Send + 'static,
) -> String {
    proxy(server, move |client, server| {
        let said = Arc::new(Mutex::new(Said::default()));
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let hears = said.clone();
        thread::spawn(move || {
            let mut piece = [0; 16_384];
            loop {
                let n = from.read(&mut piece).unwrap_or(0);
                let mut said = hears.lock().unwrap();
                said.pieces += 1;
                said.last.extend(&piece[..n]);
                drop(said);
                if n == 0 || to.write_all(&piece[..n]).is_err() {
                    return;
                }
            }
        });
        carry(server, &client, &said, passes);
        let _ = client.shutdown(Shutdown::Both);
    })
    .to_string()
}

fn carry(
    mut from: TcpStream,
    mut to: &TcpStream,
    said: &Mutex<Said>,
    passes: impl Fn(&Mutex<Said>, &mut [u8]) -> bool,
) {
    let mut piece = [0; 16_384];
    loop {
        let n = from.read(&mut piece).unwrap_or(0);
        let second = said.lock().unwrap().pieces > 1;
        if n == 0 || (second && !passes(said, &mut piece[..n])) {
            return;
        }
        to.write_all(&piece[..n]).unwrap();
    }
}

/// It hangs up.
fn mute(server: String) -> String {
    between(server, |_, _| false)
}

/// The inner layer alone, in front of `forward`, for clients of this authority.
fn inner_server(version: &str, authority: &str, forward: &str) -> Server {
    let own = ["--outer-cert", "hsm.crt", "--outer-key", "hsm.key"];
    let mut arguments = vec!["relay", "--forward", forward, "--outer-client-ca", authority];
    arguments.extend(own);
    arguments.extend(["--outer-tls", version]);
    Server::start(&arguments)
}

/// One that refuses ours.
fn stranger(version: &str) -> Server {
    inner_server(version, "otherCA.crt", "127.0.0.1:1")
}

#[test]
fn a_peer_that_refuses_our_certificate_without_a_word() {
    let server = layered(&[]);
    connect(&mute(server.address.clone()), &[&OUTER_CLIENT[..3], &INNER_CLIENT])
        .ends(6, &["cut short", "asked for a certificate on the outer layer", "--outer-cert"]);
    let server = layered(&["--outer-client-ca", "otherCA.crt"]);
    connect(&mute(server.address.clone()), &[&OUTER_CLIENT, &INNER_CLIENT])
        .ends(6, &["cut short", "may have refused our outer certificate", "(client.crt)"]);
}

/// In TLS 1.3 that is after our handshake.
#[test]
fn an_inner_peer_that_refuses_our_certificate_without_a_word() {
    for version in ["1.2", "1.3"] {
        for report in [&[][..], &["--report"]] {
            let server = stranger(version);
            let host = relay(&mute(server.address.clone()), &[]);
            connect(&host.address, &[&OUTER_CLIENT, &INNER_CLIENT, &OWN, report]).ends(
                6,
                &["inner TLS: cut short", "may have refused our inner certificate", "(client.crt)"],
            );
        }
    }
}

/// Who has said something has accepted us: what cuts it short is something else.
#[test]
fn an_inner_peer_that_has_spoken_did_not_refuse_us() {
    // Closed with bytes unread, it is reset.
    let behind = listener(|mut tcp| {
        tcp.write_all(b"the beginning").unwrap();
        assert_eq!(tcp.read(&mut [0]).unwrap(), 1);
    });
    let server = inner_server("1.3", "customerCA.crt", &behind);
    let host = relay(&server.address, &[]);
    let run = connect(&host.address, &[&OUTER_CLIENT, &INNER_CLIENT, &OWN]);
    run.ends(6, &["inner TLS: cut short", "somebody cut the stream"]);
    assert_eq!(run.text(), "the beginning");
    assert!(!run.stderr.contains("refused"), "{run:?}");
}

/// A server that closes with our close unread resets the connection, and its alert is lost on the way.
#[test]
fn a_report_does_not_drown_the_verdict_on_our_certificate() {
    let server = stranger("1.3");
    let careful = between(server.address.clone(), |said, _| {
        thread::sleep(Duration::from_millis(300));
        !said.lock().unwrap().ends_with_alert()
    });
    let host = relay(&careful, &[]);
    connect(&host.address, &[&OUTER_CLIENT, &INNER_CLIENT, &OWN, &["--report"]])
        .ends(5, &["inner TLS: the peer refused", "alert unknown_ca", "(client.crt)"]);
}

/// As Mbed TLS does, which says so with the key of its handshake.
#[test]
fn a_refusal_that_can_not_be_opened() {
    let garble = |server: &Server| {
        between(server.address.clone(), |_, alert| {
            *alert.last_mut().unwrap() ^= 1;
            true
        })
    };
    let words =
        ["a record that can't be opened", "or the peer refused our certificate", "(client.crt)"];
    let server = layered(&["--outer-client-ca", "otherCA.crt"]);
    connect(&garble(&server), &[&OUTER_CLIENT, &INNER_CLIENT])
        .ends(4, &[&["outer TLS"][..], &words].concat());
    for report in [&[][..], &["--report"]] {
        let server = stranger("1.3");
        let host = relay(&garble(&server), &[]);
        connect(&host.address, &[&OUTER_CLIENT, &INNER_CLIENT, &OWN, report])
            .ends(5, &[&["inner TLS"][..], &words].concat());
    }
}

/// GnuTLS calls a certificate that is missing a `decode_error`.
#[test]
fn a_refusal_by_another_name() {
    let server = layered(&["--outer-tls", "1.2"]);
    let renamed = between(server.address.clone(), |_, alert| {
        // In TLS 1.2 it is not sealed yet: fatal, certificate_required.
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 116]);
        alert[6] = 50;
        true
    });
    connect(&renamed, &[&OUTER_CLIENT[..3], &INNER_CLIENT]).ends(
        4,
        &[
            "outer TLS",
            "decode_error",
            "asked for a certificate on the outer layer",
            "--outer-cert",
        ],
    );
}

/// What scanners do as soon as they know enough.
#[test]
fn a_client_that_gives_up_the_handshake() {
    let server = layered(&["--once"]);
    let address = proxy(server.address.clone(), |mut client, mut server| {
        let mut piece = [0; 16_384];
        let n = client.read(&mut piece).unwrap();
        server.write_all(&piece[..n]).unwrap();
        assert!(server.read(&mut piece).unwrap() > 0);
        server.write_all(&[21, 3, 3, 0, 2, 1, 0]).unwrap();
        let _ = server.read_to_end(&mut Vec::new());
    });
    connect(&address.to_string(), &[&OUTER_CLIENT, &INNER_CLIENT]).ends(6, &[]);
    server.wait().ends(4, &["outer TLS: the peer gave up the handshake", "the client closed"]);
}
