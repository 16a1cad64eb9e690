//! What servers count and log.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{OUTER_SERVER, Server, client, echo_server, relay, run};

/// Where a server's counters are, by its second line.
pub(crate) fn metrics_of(server: &mut Server) -> String {
    let mut line = String::new();
    server.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
    line.trim_end().strip_prefix("metrics on ").unwrap().to_owned()
}

/// The whole answer to a request.
fn ask(address: &str, request: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

/// All samples, by name and labels; asserts the form of the page.
fn scrape(address: &str) -> BTreeMap<String, u64> {
    let answer = ask(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    let mut samples = BTreeMap::new();
    let (mut helped, mut family) = (String::new(), String::new());
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').unwrap().0.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped, "{line}");
            assert_eq!(kind, if name.ends_with("_total") { "counter" } else { "gauge" }, "{line}");
            family = name.to_owned();
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(name.split('{').next().unwrap(), family, "{line}");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    samples
}

/// The samples that are not 0, but the limit, once no connection is open.
pub(crate) fn counted(address: &str) -> BTreeMap<String, u64> {
    loop {
        let mut samples = scrape(address);
        if samples["nested_tls_connections"] == 0 {
            samples.retain(|name, value| *value != 0 && name != "nested_tls_connections_max");
            return samples;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn samples(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter().map(|(name, value)| (format!("nested_tls_{name}"), *value)).collect()
}

#[test]
fn a_server_counts_what_happens() {
    let mut server =
        echo_server(&["--metrics", "127.0.0.1:0", "--timeout", "1", "--max-connections", "7"]);
    let metrics = metrics_of(&mut server);
    assert_eq!(counted(&metrics), samples(&[]));
    assert_eq!(scrape(&metrics)["nested_tls_connections_max"], 7);

    run(&client(&server.address, &["-q"]), b"counted").ends(0, &[]);
    // Refused by the client on the inner layer; not TLS; silent.
    run(&["connect", &server.address, "--outer-pin", "host.crt"], b"").ends(2, &[]);
    let mut refuses = client(&server.address, &[]);
    refuses.retain(|argument| *argument != "customerCA.crt");
    let place = refuses.iter().position(|argument| *argument == "--inner-ca").unwrap();
    refuses.insert(place + 1, "otherCA.crt");
    run(&refuses, b"").ends(5, &[]);
    drop(ask(&server.address, "GET / HTTP/1.1\r\n\r\n"));
    let silent = TcpStream::connect(&server.address).unwrap();
    let mut held = silent.try_clone().unwrap();
    assert_eq!(scrape(&metrics)["nested_tls_connections"], 1);
    let _ = held.read_to_end(&mut Vec::new());
    drop((silent, held));
    assert_eq!(
        counted(&metrics),
        samples(&[
            ("connections_total", 4),
            ("handshakes_total{layer=\"outer\",outcome=\"ok\"}", 2),
            ("handshakes_total{layer=\"outer\",outcome=\"failed\"}", 1),
            ("handshakes_total{layer=\"outer\",outcome=\"timeout\"}", 1),
            ("handshakes_total{layer=\"inner\",outcome=\"ok\"}", 1),
            ("handshakes_total{layer=\"inner\",outcome=\"failed\"}", 1),
            ("bytes_total{direction=\"received\"}", 7),
            ("bytes_total{direction=\"sent\"}", 7),
            ("errors_total{kind=\"outer_tls\"}", 2),
            ("errors_total{kind=\"inner_tls\"}", 1),
        ])
    );
}

#[test]
fn a_host_counts_what_it_forwards() {
    // Says something, takes something, and ends.
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target.local_addr().unwrap().to_string();
    let mut host = relay(&address, &["--metrics", "127.0.0.1:0"]);
    let metrics = metrics_of(&mut host);
    let served = thread::spawn(move || {
        let (mut tcp, _) = target.accept().unwrap();
        let mut hello = [0; 5];
        tcp.read_exact(&mut hello).unwrap();
        tcp.write_all(b"no TLS").unwrap();
        let _ = tcp.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = tcp.read_to_end(&mut rest);
        5 + rest.len() as u64
    });
    run(&client(&host.address, &[]), b"").ends(5, &[]);
    let received = served.join().unwrap();
    // And nobody listens there any more.
    run(&client(&host.address, &[]), b"").ends(6, &[]);
    let counted = counted(&metrics);
    assert_eq!(counted["nested_tls_connections_total"], 2);
    assert_eq!(counted["nested_tls_handshakes_total{layer=\"outer\",outcome=\"ok\"}"], 2);
    assert!(!counted.keys().any(|name| name.contains("inner")), "{counted:?}");
    assert_eq!(counted["nested_tls_bytes_total{direction=\"sent\"}"], 6);
    assert_eq!(counted["nested_tls_bytes_total{direction=\"received\"}"], received);
    assert!(counted["nested_tls_errors_total{kind=\"transport\"}"] >= 1, "{counted:?}");
}

#[test]
fn whoever_asks_for_anything_else_gets_a_short_answer() {
    let mut server = echo_server(&["--metrics", "127.0.0.1:0"]);
    let metrics = metrics_of(&mut server);
    // It holds nobody up.
    let _silent = TcpStream::connect(&metrics).unwrap();
    let endless = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(20_000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", "405"),
        ("well?\r\n\r\n", "400"),
        (&endless, "431"),
    ] {
        let answer = ask(&metrics, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let taken = [&["serve", "--listen", "127.0.0.1:0", "--metrics", &metrics][..], &OUTER_SERVER];
    let taken = [&taken.concat()[..], &crate::support::INNER_SERVER].concat();
    run(&taken, b"").ends(3, &["can't listen on", &metrics, "choose another port"]);
}

/// As many as are answered at once say nothing, or stay when they have their answer.
#[test]
fn whoever_says_nothing_keeps_no_scraper_waiting() {
    let mut server = echo_server(&["--metrics", "127.0.0.1:0"]);
    let metrics = metrics_of(&mut server);
    for request in ["", "GET /metrics HTTP/1.1\r\n\r\n"] {
        let begun = Instant::now();
        let _idlers: Vec<_> = (0..8)
            .map(|_| {
                let mut tcp = TcpStream::connect(&metrics).unwrap();
                tcp.write_all(request.as_bytes()).unwrap();
                tcp
            })
            .collect();
        assert_eq!(scrape(&metrics)["nested_tls_connections"], 0);
        // A scraper has some seconds of patience.
        assert!(begun.elapsed() < Duration::from_secs(4), "{request:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_log_for_programs_has_times_levels_and_events() {
    for option in [&["--log-format", "json"][..], &["--json"]] {
        let mut server = echo_server(&[option, &["--timeout", "1"]].concat());
        run(&client(&server.address, &["-q"]), b"logged").ends(0, &[]);
        drop(ask(&server.address, "no TLS\r\n"));
        let stderr = BufReader::new(server.child.stderr.take().unwrap());
        let lines = stderr.lines().map_while(Result::ok).take(3);
        let lines: Vec<Value> = lines.map(|line| serde_json::from_str(&line).unwrap()).collect();
        let field = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
        assert_eq!(field("event"), ["established", "ended", "failed"]);
        assert_eq!(field("level"), ["info", "info", "error"]);
        assert_eq!(field("connection"), [1, 1, 2]);
        assert_eq!(lines[1]["received"], 6);
        assert_eq!(lines[2]["error"]["layer"], "outer");
        for time in field("time") {
            let time = time.as_str().unwrap();
            assert_eq!((time.len(), &time[10..11], &time[23..]), (24, "T", "Z"), "{time}");
        }
    }
}
