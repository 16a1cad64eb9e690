//! What `--pcap` and `--keylog` write, as tshark reads it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::endurance::{Hsm, open, quiet_end, warm};
use crate::support::{client, directory, echo_server, noise, proxy, relay, run};
use crate::tools::have;

const MESSAGE: &str = "what the host may not read";

/// What tshark says of a capture, with these secrets besides.
fn tshark(capture: &Path, secrets: Option<&Path>, arguments: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(arguments);
    if let Some(secrets) = secrets {
        command.args(["-o", &format!("tls.keylog_file:{}", secrets.display())]);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What both ends said in a conversation, `tls` or `tcp`: the second one's lines are those with a tab.
fn said(capture: &Path, secrets: Option<&Path>, protocol: &str, number: usize) -> [Vec<u8>; 2] {
    let follow = format!("follow,{protocol},raw,{number}");
    let text = tshark(capture, secrets, &["-q", "-z", &follow]);
    let mut said = [Vec::new(), Vec::new()];
    for line in text.lines() {
        let digits = line.trim_start();
        let from = usize::from(line.starts_with('\t'));
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && digits.len() % 2 == 0 {
            let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            said[from].extend((0..digits.len()).step_by(2).map(byte));
        }
    }
    said
}

/// The handshake messages that tshark sees, each once: a Client Hello is 1.
fn messages(capture: &Path, secrets: Option<&Path>) -> Vec<u8> {
    let fields = ["-Y", "tls.handshake", "-T", "fields", "-e", "tls.handshake.type"];
    let text = tshark(capture, secrets, &fields);
    let mut types: Vec<u8> = text
        .split([',', '\n'])
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().unwrap())
        .collect();
    types.sort_unstable();
    types.dedup();
    types
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_peeled_inner_layer_is_read_by_wireshark() {
    if !have("tshark") {
        return;
    }
    let place = directory("pcap");
    let at = |name: &str| place.join(name);
    let text = |name: &str| at(name).to_str().unwrap().to_owned();
    // More than one segment, and records of every length.
    let data = [MESSAGE.as_bytes(), &noise(100_000)].concat();
    for (outer, inner) in [("1.3", "1.2"), ("1.2", "1.3")] {
        let (whole, bare, keys) = (text("whole"), text("bare"), text("keys"));
        // It was there, and everybody could read it.
        fs::write(at("whole"), "old").unwrap();
        let _ = fs::remove_file(at("keys"));
        let server = echo_server(&["--outer-tls", outer, "--inner-tls", inner, "--pcap", &bare]);
        let more = ["-q", "--pcap", &whole, "--pcap-secrets", "--keylog", &keys];
        assert!(run(&client(&server.address, &more), &data).ends(0, &[]).stdout == data);
        // Another connection is another conversation in the server's file.
        let more = ["-q", "--keylog", &keys];
        run(&client(&server.address, &more), MESSAGE.as_bytes()).ends(0, &[]);

        // One file is enough.
        let hellos: &[u8] = if inner == "1.3" { &[1, 2, 8, 11, 15, 20] } else { &[1, 2, 11, 12] };
        let seen = messages(&at("whole"), None);
        assert!(hellos.iter().all(|typ| seen.contains(typ)), "{seen:?}");
        for way in said(&at("whole"), None, "tls", 0) {
            assert!(way == data, "{} bytes of TLS {inner}", way.len());
        }
        assert_eq!(mode(&at("whole")), 0o600);

        // Without secrets it shows the hellos, and with them in another file the rest.
        let seen = messages(&at("bare"), None);
        assert!(seen.contains(&1) && seen.contains(&2) && !seen.contains(&20), "{seen:?}");
        assert_eq!(said(&at("bare"), None, "tls", 0), [[], []].map(|none: [u8; 0]| none.to_vec()));
        for way in said(&at("bare"), Some(&at("keys")), "tls", 0) {
            assert!(way == data, "{} bytes of TLS {inner}", way.len());
        }
        for way in said(&at("bare"), Some(&at("keys")), "tls", 1) {
            assert_eq!(way, MESSAGE.as_bytes());
        }
        let bytes = fs::read(at("bare")).unwrap();
        let contains = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
        assert!(!contains(b"CLIENT_") && !contains(b"_SECRET") && !contains(MESSAGE.as_bytes()));
        assert_eq!(mode(&at("bare")), 0o600);
    }
    fs::remove_dir_all(place).unwrap();
}

/// What the host could see is what its capture shows; it has no secrets to put there.
#[test]
fn a_relay_s_capture_shows_what_the_host_could_see() {
    if !have("tshark") {
        return;
    }
    let Some(hsm) = Hsm::start() else { return };
    let place = directory("pcap-relay");
    let (capture, keys) = (place.join("relay"), place.join("keys"));
    let host = relay(&hsm.address, &["--pcap", capture.to_str().unwrap()]);
    let more = ["--keylog", keys.to_str().unwrap()];
    let (child, mut stdin, mut stdout) = open(&host.address, &more);
    warm(&mut stdin, &mut stdout);
    drop(stdin);
    quiet_end(child);
    host.signal("TERM");
    host.wait().ends(0, &[]);
    let hellos = messages(&capture, None);
    assert!(hellos.contains(&1) && hellos.contains(&2), "{hellos:?}");
    assert!(said(&capture, None, "tls", 0).concat().is_empty());
    let opened = said(&capture, Some(&keys), "tls", 0);
    assert_eq!(opened, [b"warm", b"warm"].map(|said| said.to_vec()));
    let arguments =
        ["relay", "--listen", "127.0.0.1:0", "--forward", "127.0.0.1:1", "--pcap-secrets"];
    run(&arguments, b"").ends(2, &["--pcap-secrets"]);
    fs::remove_dir_all(place).unwrap();
}

/// What passed, in its order: to the server, or back.
type Passed = Vec<(bool, Vec<u8>)>;

/// Passes both ways, and keeps what passed in its order.
fn tap(client: TcpStream, server: TcpStream, passed: &Arc<Mutex<Passed>>) {
    let way = |mut from: TcpStream, mut to: TcpStream, out: bool| {
        let passed = passed.clone();
        thread::spawn(move || {
            let mut buffer = [0; 1400];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                passed.lock().unwrap().push((out, buffer[..n].to_vec()));
                if to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    let there = way(client.try_clone().unwrap(), server.try_clone().unwrap(), true);
    let back = way(server, client, false);
    there.join().unwrap();
    back.join().unwrap();
}

#[test]
fn each_file_has_one_writer() {
    let place = directory("one-file");
    let file = place.join("file");
    let name = file.to_str().unwrap();
    for pair in [["--trace", "--pcap"], ["--keylog", "--trace"], ["--keylog", "--pcap"]] {
        let more = [pair[0], name, pair[1], name];
        run(&client("127.0.0.1:1", &more), b"").ends(2, &["would write to one file"]);
        assert!(!file.exists());
    }
    fs::remove_dir_all(place).unwrap();
}

/// The key log opens the real wire, too, and what it shows there is what `--pcap` writes.
#[test]
fn the_key_log_opens_the_wire_of_the_outer_layer() {
    if !have("tshark") || !have("text2pcap") {
        return;
    }
    let place = directory("pcap-wire");
    let at = |name: &str| place.join(name);
    for (outer, inner) in [("1.2", "1.3"), ("1.3", "1.2"), ("1.3", "1.3")] {
        let _ = fs::remove_file(at("keys"));
        let server = echo_server(&["--outer-tls", outer, "--inner-tls", inner]);
        let passed = Arc::new(Mutex::new(Passed::new()));
        let kept = passed.clone();
        let address = proxy(server.address.clone(), move |c, s| tap(c, s, &kept)).to_string();
        let (keys, peeled) = (at("keys"), at("peeled"));
        let more = ["-q", "--keylog", keys.to_str().unwrap(), "--pcap", peeled.to_str().unwrap()];
        let answer = run(&client(&address, &more), MESSAGE.as_bytes());
        assert_eq!(answer.ends(0, &[]).text(), MESSAGE);

        let mut dump = String::new();
        for (out, bytes) in passed.lock().unwrap().iter() {
            dump.push_str(if *out { "O 000000" } else { "I 000000" });
            bytes.iter().for_each(|byte| dump.push_str(&format!(" {byte:02x}")));
            dump.push('\n');
        }
        fs::write(at("dump"), dump).unwrap();
        let made = Command::new("text2pcap")
            .args(["-D", "-T", "40000,2223"])
            .args([at("dump"), at("wire")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let opened = said(&at("wire"), Some(&keys), "tls", 0);
        let inner_bytes = said(&peeled, None, "tcp", 0);
        println!(
            "{} {} / {} {}",
            opened[0].len(),
            opened[1].len(),
            inner_bytes[0].len(),
            inner_bytes[1].len()
        );
        assert!(
            opened == inner_bytes || opened == [inner_bytes[1].clone(), inner_bytes[0].clone()]
        );
    }
    fs::remove_dir_all(place).unwrap();
}
