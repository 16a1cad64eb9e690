//! `--config`: servers by a file.

use std::fs;
use std::io::BufRead as _;
use std::path::PathBuf;

use crate::operating::Said;
use crate::support::{Server, client, directory, program, run};

/// A file with this text.
fn file(name: &str, text: &str) -> PathBuf {
    let path = directory(name).join("servers.toml");
    fs::write(&path, text).unwrap();
    path
}

const TWO: &str = r#"
drain = 50
idle = 60.5
max-connections = 10
echo = true
outer-cert = "host.crt"
outer-key = "host.key"
inner-cert = "hsm.crt"
inner-key = "hsm.key"

[[listener]]
listen = "127.0.0.1:0"
outer-client-ca = "customerCA.crt"
outer-client-pin = ["default.crt", "stranger.crt"]

[[listener]]
listen = "127.0.0.1:0"
outer-client-ca = "customerCA.crt"
timeout = 2.5
inner-cert = "named.crt"
inner-key = "named.key"
"#;

/// Starts a server by a file; gives the addresses of its listeners.
fn start(path: &str, listeners: usize) -> (Server, Vec<String>) {
    use std::process::Stdio;
    let mut child = program()
        .args(["serve", "--config", path])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let addresses: Vec<String> = (0..listeners)
        .map(|_| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line.trim_end().strip_prefix("listening on ").unwrap().to_owned()
        })
        .collect();
    (Server { child, address: addresses[0].clone(), stdout: Some(stdout) }, addresses)
}

#[test]
fn two_listeners_have_what_is_common_and_what_is_theirs() {
    let path = file("two", TWO);
    let (mut server, addresses) = start(path.to_str().unwrap(), 2);
    let mut said = Said::by(&mut server);
    let named = ["-q", "--inner-name", "hsm.test"];
    let second: Vec<_> = client(&addresses[1], &named)
        .into_iter()
        .filter(|argument| *argument != "--inner-no-name-check")
        .collect();
    let first = client(&addresses[0], &["-q"]);
    for both in [&first, &second] {
        assert_eq!(run(both, b"by a file").ends(0, &[]).text(), "by a file");
    }

    // The file is read again, too.
    fs::write(&path, TWO.replace("named.", "hsm.")).unwrap();
    server.signal("HUP");
    said.wait_for("reloaded");
    run(&second, b"").ends(5, &["inner TLS"]);
    for (broken, reason) in [
        (TWO.replace("timeout = 2.5", "timeout = 0"), "in line 19"),
        (TWO.replace("drain = 50", "drain = 51"), "can't change while the server runs"),
        (format!("{TWO}[[listener]]\nlisten = \"127.0.0.1:0\"\n"), "can't change while"),
        (TWO.replace("hsm.crt", "absent.crt"), "absent.crt"),
    ] {
        fs::write(&path, broken).unwrap();
        server.signal("HUP");
        let line = said.wait_for("not reloaded");
        assert!(line.contains(reason), "{reason}: {line}");
        run(&first, b"").ends(0, &[]);
    }
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line() {
    let minimal = "listen = \"127.0.0.1:0\"\n";
    for (text, reason) in [
        ("liste = \"x:1\"\n", "unknown key \"liste\", in line 1"),
        (
            "# begin\n\n[[listener]]\nlisten = \"x:1\"\nouter-crt = 1\n",
            "unknown key \"outer-crt\", in line 5",
        ),
        ("[listeners]\n", "unknown key \"listeners\", in line 1"),
        ("once = true\n", "unknown key \"once\", in line 1"),
        ("config = \"x\"\n", "unknown key \"config\", in line 1"),
        ("listener = 1\n", "unknown key \"listener\", in line 1"),
        ("[listener]\n", "\"listener\" stands in one pair of brackets, in line 1"),
        ("listener = [1]\n", "a listener is a table, in line 1"),
        (
            "[[listener]]\nlisten = \"x:1\"\ndrain = 1\n",
            "\"drain\" is not of one listener, in line 3",
        ),
        ("[[listener]]\nidle = 1\n", "\"idle\" is not of one listener, in line 2"),
        ("idle = 0\n", "a number of seconds above 0 is wanted, in line 1"),
        ("[[listener]]\ntrace = \"x\"\n", "\"trace\" is not of one listener, in line 2"),
        ("echo = 1\n", "the value of \"echo\" is of type integer, in line 1"),
        ("listen = [\"x:1\"]\n", "the value of \"listen\" is of type array, in line 1"),
        ("outer-alpn = [[]]\n", "the value of \"outer-alpn\" is of type array, in line 1"),
        ("listen = \"nowhere\"\n", "write HOST:PORT, in line 1"),
        ("\nlisten = \"x:1\"\ntimeout = -1\n", "a number of seconds above 0 is wanted, in line 3"),
        ("\nlisten = \"x:1\"\nlog-format = \"xml\"\n", "invalid value 'xml' for '--log-format"),
        ("echo = true\n", "--listen <ADDR>, in line 1"),
        ("listen = \"x:1\"\nlisten = \"x:2\"\n", "duplicate key, at \"listen\", in line 2"),
        ("listen = \n", "at \"listen\", in line 1"),
        ("\"", "in line 1"),
        (minimal, "a server needs --outer-cert"),
    ] {
        let path = file("broken", text);
        let shown = path.to_str().unwrap();
        let run = run(&["serve", "--config", shown], b"");
        run.ends(2, &[reason]);
        assert!(run.stderr.contains(shown) || text == minimal, "{}", run.stderr);
    }
    run(&["serve", "--config", "absent.toml"], b"")
        .ends(2, &["the file of --config can't be read", "absent.toml"]);
    run(&["relay", "--config", "x", "--listen", "127.0.0.1:0"], b"").ends(2, &["--config"]);
    run(&["relay"], b"").ends(2, &["--listen", "--forward"]);
}
