//! A tunnel through an HTTP proxy, asked for in the outer layer.

use nested_tls::preamble::{HttpConnect, HttpConnectError};
use nested_tls::{Direct, Plaintext, Ports};

use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::schedule::Whole;
use crate::support::setup::{Setup, Side};

fn connect() -> HttpConnect {
    HttpConnect::new("hsm.test", 2223).unwrap()
}

#[test]
fn the_request_is_in_authority_form() {
    for (host, authority) in [
        ("hsm.test", "hsm.test:2223"),
        ("127.0.0.1", "127.0.0.1:2223"),
        ("::1", "[::1]:2223"),
        ("[2001:db8::17]", "[2001:db8::17]:2223"),
        ("under_score.test", "under_score.test:2223"),
    ] {
        let request = HttpConnect::new(host, 2223).unwrap().request();
        let expected = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        assert_eq!(request.as_slice(), expected.as_bytes());
    }
    // The example of RFC 7617, section 2.
    let request = connect()
        .basic_auth("Aladdin", "open sesame")
        .unwrap()
        .header("User-Agent", "nested-tls")
        .unwrap()
        .request();
    assert!(request.ends_with(
        b"Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\nUser-Agent: nested-tls\r\n\r\n"
    ));
}

#[test]
fn nothing_can_be_smuggled_into_the_request() {
    for host in ["", "a b", "a\r\nX: y", "a/b", "a:1", "[::1", "a@b", "\u{e9}.test", "[a]"] {
        let error = HttpConnect::new(host, 1).unwrap_err();
        assert_eq!(error, HttpConnectError::Host(host.into()));
    }
    for (name, value) in
        [("", "v"), ("a b", "v"), ("a:", "v"), ("a", "v\r\nX: y"), ("a", "v\n"), ("a", "\0")]
    {
        let error = connect().header(name, value).unwrap_err();
        assert_eq!(error, HttpConnectError::Header(name.into()));
    }
    for (user, password) in [("a:b", "c"), ("a\n", "c"), ("a", "c\r")] {
        assert_eq!(connect().basic_auth(user, password).unwrap_err(), HttpConnectError::User);
    }
}

#[test]
fn secrets_are_not_shown() {
    let connect = connect().basic_auth("me", "hidden").unwrap();
    assert!(!format!("{connect:?}").contains("hidden"));
    assert!(!format!("{connect:?}").contains("aGlkZGVu"));
}

/// Feed `answer` in pieces of `size`: how many bytes were taken, and how it ended.
fn feed(answer: &[u8], size: usize) -> (usize, Result<bool, HttpConnectError>) {
    let mut connect = connect();
    let mut used = 0;
    while used < answer.len() {
        let piece = &answer[used..answer.len().min(used + size)];
        match connect.receive(piece) {
            Ok((n, true)) => return (used + n, Ok(true)),
            Ok((n, false)) => {
                assert_eq!(n, piece.len());
                used += n;
            }
            Err(error) => return (used, Err(error)),
        }
    }
    (used, Ok(false))
}

#[test]
fn answers_mean_the_same_in_every_chunking() {
    let refused = |status, reason: &str, challenge: Option<&str>| {
        Err(HttpConnectError::Refused {
            status,
            reason: reason.into(),
            challenge: challenge.map(Into::into),
        })
    };
    let not_http = |what: &str| Err(HttpConnectError::Answer(what.into()));
    let long = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 20_000]].concat();
    let endless = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    for (answer, tunnel, expected) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], &b"\x16\x03\x03"[..], Ok(true)),
        (b"HTTP/1.0 200 Connection established\r\n\r\n", b"", Ok(true)),
        (b"HTTP/1.1 200\r\n\r\n", b"x", Ok(true)),
        // A proxy's length for a 2xx is ignored: what follows is the tunnel.
        (b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", b"12345", Ok(true)),
        (b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\n\n", b"\r\n", Ok(true)),
        (b"HTTP/1.1 200 OK\r\nVia: x", b"", Ok(false)),
        (
            b"HTTP/1.1 407 Auth\r\nproxy-authenticate: Basic realm=\"p\"\r\n\r\n",
            b"",
            refused(407, "Auth", Some("Basic realm=\"p\"")),
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nbody", b"", refused(502, "Bad Gateway", None)),
        (b"HTTP/1.1 101 Switching\r\n\r\n", b"", refused(101, "Switching", None)),
        (b"SSH-2.0-x\r\n", b"", not_http("it begins with \"S\"")),
        (b"HTTP/2 200\r\n\r\n", b"", not_http("it begins with \"HTTP/2\"")),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", b"", not_http("invalid response status")),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"", not_http("invalid header name")),
        (&long, b"", Err(HttpConnectError::Length(16 * 1024))),
        (&endless, b"", Err(HttpConnectError::Length(16 * 1024))),
    ] {
        let all = [answer, tunnel].concat();
        for size in [1, 2, 3, 7, 64, usize::MAX / 2] {
            let (used, result) = feed(&all, size);
            assert_eq!(result, expected, "{}", String::from_utf8_lossy(answer));
            if result == Ok(true) {
                assert_eq!(&all[used..], tunnel);
            }
        }
    }
}

/// The whole way: request, answer and the inner server's first bytes in one outer record.
#[test]
fn what_follows_the_answer_is_the_inner_layers() {
    for setup in Setup::versions() {
        let mut pair = Pair::new(setup.session(Side::Left), setup.session(Side::Right));
        let mut connect = connect();
        pair.send(Side::Left, &connect.request());
        assert_eq!(pair.right.report().read, connect.request().as_slice());
        let answer = pair.right.with(|session| {
            session.plain_write(b"HTTP/1.1 200 OK\r\n\r\nleft over").unwrap();
            session.wire_out_bytes().unwrap()
        });
        let opened = pair.left.with(|session| {
            session.wire_in_from(&mut answer.clone()).unwrap();
            let Plaintext::Bytes(bytes) = session.plain_out() else { panic!("no answer") };
            let (used, opened) = connect.receive(bytes).unwrap();
            session.plain_consumed(used).unwrap();
            opened
        });
        assert!(opened);
        let Plaintext::Bytes(rest) = pair.left.ports.plain_out() else { panic!("lost") };
        assert_eq!(rest, b"left over");
        pair.left.with(|session| session.plain_consumed(9).unwrap());
        let nest = |machine: Machine<_>, side| {
            machine
                .map(|s: nested_tls::Session| s.nest(setup.inner_end(side).role(), Direct).unwrap())
        };
        let mut pair = Pair::new(nest(pair.left, Side::Left), nest(pair.right, Side::Right));
        pair.drive(&mut Whole);
        pair.assert_established();
    }
}
