//! `--trace` and the pictures made of it: all that passes, and nothing of what stands in it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{client, directory, echo_server, noise, relay, run};

const MESSAGE: &str = "a message that nobody may write down";

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The values of `key` in all events of this kind, in this layer, this way.
fn all<'a>(
    trace: &'a [Value],
    event: &'a str,
    layer: &'a str,
    direction: &'a str,
    key: &'a str,
) -> Vec<&'a Value> {
    let fits = |line: &&Value| {
        line["event"] == event && line["layer"] == layer && line["direction"] == direction
    };
    trace.iter().filter(fits).map(|line| &line[key]).collect()
}

fn phases(trace: &[Value]) -> Vec<&str> {
    let phases = trace.iter().filter(|line| line["event"] == "phase");
    phases.map(|line| line["phase"].as_str().unwrap()).collect()
}

/// Draws the trace, and checks what holds for every picture: text stays inside, and there is no markup but its own.
fn drawn(trace: &Path) -> String {
    let picture = run(&["trace", trace.to_str().unwrap(), "--svg", "-"], b"");
    picture.ends(0, &[]);
    let text = picture.text();
    let attribute = |tag: &str, name: &str| -> usize {
        let (_, behind) = tag.split_once(&format!(" {name}=\"")).unwrap();
        behind.split('"').next().unwrap().parse().unwrap()
    };
    let width = attribute(&text, "width");
    let mut last = 0;
    for element in text.split("<text ").skip(1) {
        let (tag, rest) = element.split_once('>').unwrap();
        let said = rest.split('<').next().unwrap();
        assert!(rest[said.len()..].starts_with("</text>"), "{rest}");
        let chars = said
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        // What no font of this size exceeds.
        let long = chars.chars().count() * 74 / 10;
        let x = attribute(&format!(" {tag}"), "x");
        let (from, to) = match tag {
            tag if tag.contains("\"end\"") => (x.checked_sub(long), x),
            tag if tag.contains("\"middle\"") => (x.checked_sub(long / 2), x + long / 2),
            _ => (Some(x), x + long),
        };
        assert!(from.is_some() && to <= width, "{said:?} is cut");
        last = last.max(attribute(&format!(" {tag}"), "y"));
    }
    assert!(last < attribute(&text, "height"));
    text
}

#[test]
fn a_trace_tells_every_record_and_nothing_secret() {
    let place = directory("trace");
    let at = |name: &str| place.join(name).to_str().unwrap().to_owned();
    for (outer, inner) in [("1.3", "1.3"), ("1.2", "1.3"), ("1.3", "1.2"), ("1.2", "1.2")] {
        let (server_trace, client_trace, keys) = (at("server"), at("client"), at("keys"));
        let versions = ["--outer-tls", outer, "--inner-tls", inner];
        let server = echo_server(&[versions.as_slice(), &["--trace", &server_trace]].concat());
        let more = ["-q", "--keylog", &keys, "--trace", &client_trace];
        let answer = run(&client(&server.address, &more), MESSAGE.as_bytes());
        assert_eq!(answer.ends(0, &[]).text(), MESSAGE);
        let ours = lines(client_trace.as_ref());
        let theirs = lines(server_trace.as_ref());

        assert_eq!((&ours[0]["event"], &ours[0]["schema"]), (&"begin".into(), &1.into()));
        assert!(ours.windows(2).all(|two| two[0]["at"].as_f64() <= two[1]["at"].as_f64()));
        let expected = ["outer handshake", "inner handshake", "traffic", "closing", "closed"];
        // Whether the host's goodbye is waited for is the client's affair.
        assert!(expected.starts_with(&phases(&ours)) && phases(&ours).len() >= 4);
        for layer in ["outer", "inner"] {
            let bytes = |trace: &[Value], way: &str| -> Vec<u64> {
                let sizes: Vec<&Value> = all(trace, "record", layer, way, "bytes");
                sizes.into_iter().map(|size| size.as_u64().unwrap()).collect()
            };
            // Nor is the last word read by everyone.
            for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
                let (sent, came) = (bytes(from, "sent"), bytes(to, "received"));
                let all_but_one = came.len() + 1 >= sent.len();
                assert!(all_but_one && sent.starts_with(&came), "{sent:?} {came:?}");
            }
            assert_eq!(all(&ours, "message", layer, "sent", "message")[0], "client_hello");
            assert_eq!(all(&ours, "message", layer, "received", "message")[0], "server_hello");
            assert_eq!(all(&ours, "alert", layer, "sent", "alert"), ["close_notify"]);
            let goodbyes = all(&ours, "alert", layer, "received", "alert");
            assert!(goodbyes == ["close_notify"] || (layer == "outer" && goodbyes.is_empty()));
            let certificates = all(&ours, "certificates", layer, "received", "certificates");
            assert_eq!(certificates.len(), 1);
            let certificate = &certificates[0][0];
            let name = if layer == "outer" { "CN=CloudHSM" } else { "CN=HSM:" };
            assert!(certificate["subject"].as_str().unwrap().contains(name), "{certificate}");
            for key in ["issuer", "serial", "sha256"] {
                assert!(certificate[key].is_string(), "{certificate}");
            }
            // What a server shows is what its client sees.
            assert_eq!(
                all(&theirs, "certificates", layer, "sent", "certificates"),
                certificates,
                "{layer}"
            );
        }
        let own = all(&ours, "certificates", "outer", "sent", "certificates");
        assert_eq!(own, all(&theirs, "certificates", "outer", "received", "certificates"));

        let secrets = fs::read_to_string(&keys).unwrap();
        let secrets: Vec<&str> = secrets.lines().map(|l| l.rsplit(' ').next().unwrap()).collect();
        assert!(secrets.len() > 1 && secrets.iter().all(|secret| secret.len() >= 64));
        for path in [&server_trace, &client_trace] {
            let text = fs::read_to_string(path).unwrap();
            assert!(!secrets.iter().any(|secret| text.contains(secret)));
            assert!(
                !MESSAGE
                    .as_bytes()
                    .windows(8)
                    .any(|piece| { text.contains(core::str::from_utf8(piece).unwrap()) })
            );
            let picture = drawn(path.as_ref());
            for words in
                ["ClientHello", "ServerHello", "CN=CloudHSM", "established", "close_notify"]
            {
                assert!(picture.contains(words), "{words}");
            }
        }
        fs::remove_file(keys).unwrap();
    }
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_failure_is_in_the_trace_and_in_the_picture() {
    let place = directory("trace-failure");
    let (ours, theirs) = (place.join("client"), place.join("server"));
    let server = echo_server(&["--trace", theirs.to_str().unwrap()]);
    let arguments = ["--inner-ca", "otherCA.crt", "--trace", ours.to_str().unwrap()];
    let mut arguments = client(&server.address, &arguments);
    let at = arguments.iter().position(|argument| *argument == "customerCA.crt").unwrap();
    arguments.remove(at);
    arguments.remove(at - 1);
    run(&arguments, b"").ends(5, &[]);
    let trace = lines(&ours);
    let of = |event: &str| trace.iter().find(|line| line["event"] == event);
    assert_eq!(phases(&trace), ["outer handshake", "inner handshake", "failed"]);
    let failed = of("failed").unwrap();
    assert_eq!(failed["layer"], "inner");
    let refused = trace.iter().find(|line| line["refused"].is_object()).unwrap();
    let (expected, found) = (&refused["refused"]["expected"], &refused["refused"]["found"]);
    let picture = drawn(&ours);
    assert!(picture.contains("refused: ") && picture.contains("inner TLS failed"), "{picture}");
    for value in [expected, found] {
        let begin: String = value.as_str().unwrap().chars().take(30).collect();
        assert!(picture.contains(&begin), "{begin}");
    }
    drawn(&theirs);
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn many_connections_share_a_trace_of_a_relay() {
    let place = directory("trace-relay");
    let trace = place.join("relay");
    let inner = echo_server(&[]);
    // The host of an outer layer alone; what it forwards is not its.
    let host = relay(&inner.address, &["--trace", trace.to_str().unwrap()]);
    for _ in 0..2 {
        run(&client(&host.address, &["-q"]), b"");
    }
    let told = lines(&trace);
    for number in [1, 2] {
        let of: Vec<_> = told.iter().filter(|line| line["connection"] == number).cloned().collect();
        assert_eq!(phases(&of)[..2], ["outer handshake", "preamble"], "{number}");
        assert!(of.iter().all(|line| line["layer"] != "inner"));
    }
    drawn(&trace);
    let name = trace.to_str().unwrap();
    run(&["trace", name, "--svg", "-", "--connection", "3"], b"")
        .ends(2, &["there is no connection 3"]);
    let page = place.join("host.html");
    run(&["trace", name, "--html", page.to_str().unwrap()], b"").ends(0, &[]);
    let page = fs::read_to_string(page).unwrap();
    let Some(("<!doctype html>", rest)) = page.split_once('\n') else { panic!("{page}") };
    assert!(rest.ends_with(&drawn(&trace)), "{page}");
    run(&["trace", name], b"").ends(2, &["--svg"]);
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_long_connection_makes_a_short_picture() {
    let place = directory("trace-long");
    let trace = place.join("client");
    let server = echo_server(&[]);
    let data = noise(4 << 20);
    let run = run(&client(&server.address, &["-q", "--trace", trace.to_str().unwrap()]), &data);
    assert!(run.ends(0, &[]).stdout == data);
    let picture = drawn(&trace);
    let arrows = picture.matches("stroke-width=\"1.5\"").count();
    assert!((10..50).contains(&arrows), "{arrows} arrows");
    // All of it is accounted for.
    let sum: u64 = lines(&trace)
        .iter()
        .filter(|line| line["event"] == "record" && line["layer"] == "inner")
        .map(|line| line["bytes"].as_u64().unwrap())
        .sum();
    assert!(sum > 2 * (4 << 20));
    assert!(picture.contains("4.2 MB sent"), "{picture}");
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn traces_of_others_are_refused_or_drawn_harmlessly() {
    let place = directory("trace-bad");
    let file = place.join("trace.json");
    let name = file.to_str().unwrap();
    const BEGIN: &str = r#"{"event":"begin","schema":1,"command":"connect"}"#;
    const CONNECTION: &str =
        r#"{"event":"connection","connection":1,"at":0.5,"outer":"client","inner":"client"}"#;
    for (text, words) in [
        ("", "the trace is empty"),
        ("{}\n", "no trace that this program reads"),
        (r#"{"event":"begin","schema":2}"#, "no trace that this program reads"),
        ("a picture\n", "line 1 is not JSON"),
        (&format!("{BEGIN}\n{CONNECTION}\nnonsense\n{BEGIN}\n"), "line 3 is not JSON"),
        (&format!("{BEGIN}\n"), "there is no connection 1"),
    ] {
        fs::write(&file, text).unwrap();
        run(&["trace", name, "--svg", "-"], b"").ends(2, &[words, name]);
    }
    run(&["trace", "absent.json", "--svg", "-"], b"").ends(2, &["the trace can't be read"]);

    // Whatever stands in the values is text, and stays inside.
    let long = format!("<script>\\u001b[31m&\\\"'{}", "x".repeat(500));
    let mut lines = vec![BEGIN.into(), CONNECTION.replace("0.5", "1e300")];
    for layer in ["outer", "inner", "middle"] {
        for event in
            ["phase", "record", "message", "alert", "established", "failed", "certificates"]
        {
            lines.push(format!(
                r#"{{"connection":1,"at":-1,"event":"{event}","layer":"{layer}","phase":"{long}",
                "content":"handshake","protected":7,"bytes":18446744073709551615,"message":"{long}",
                "alert":"{long}","version":"{long}","reason":"{long}","direction":"sent",
                "certificates":[{{"subject":"{long}","issuer":"{long}","sha256":"é{long}"}},5]}}"#
            ).replace('\n', " "));
        }
    }
    // The last line is cut: its writer was killed.
    fs::write(&file, lines.join("\n") + "\n{\"conn").unwrap();
    let picture = drawn(&file);
    assert!(!picture.contains("<script") && !picture.contains('\x1b'));
    fs::remove_dir_all(place).unwrap();
}
