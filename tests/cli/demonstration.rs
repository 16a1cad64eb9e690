//! `demo`.

use std::fs;

use crate::support::{client, directory, finish, program, run, start_as};

#[test]
fn shows_certificates_layers_echo_and_what_the_host_saw() {
    let run = run(&["demo"], b"");
    run.ends(0, &[]);
    let text = run.text();
    let seed = "/C=US/ST=Virginia/L=Herndon/O=AWS/OU=AWS Cryptography/CN=CloudHSM/emailAddress=cloudhsm-team@amazon.com";
    for words in [
        format!("    subject= {seed}\n    issuer= {seed}\n    serial=B7FA7A40976CBE82\n"),
        "serial=A7525B285D1C2BB5".into(),
        "outer layer: TLS 1.3".into(),
        "inner layer: TLS 1.3".into(),
        "accepted: pinned certificate (".into(),
        "accepted: issued by /C=US/O=Throwaway customer/CN=customerCA".into(),
        "and got it back from the HSM".into(),
        "of the message in it: 0 of 19".into(),
        "in the HSM's plaintext: 19 of 19".into(),
    ] {
        assert!(text.contains(&words), "{words:?} is not in {text}");
    }
    assert!(!text.contains("PRIVATE KEY") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn is_json_on_request() {
    let run = run(&["demo", "--json", "--message", "another message"], b"");
    run.ends(0, &[]);
    let value: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(value["ok"], true);
    assert_eq!(value["echo"]["message"], "another message");
    assert_eq!(value["host_saw"]["pieces_found"], 0);
    assert_eq!(value["layers"]["inner"]["certificates"][0]["version"], 1);
    assert_eq!(value["certificates"].as_array().unwrap().len(), 6);
}

#[test]
fn keeps_a_directory_that_serves_and_never_overwrites_one() {
    let kept = directory("kept").join("cluster");
    let path = kept.to_str().unwrap();
    run(&["demo", "--keep", path], b"").ends(0, &[]);
    for file in
        ["certs/21a10654.0", "certs/712ff948.0", "client.crt", "client.key", "customerCA.crt"]
    {
        assert!(kept.join(file).is_file(), "{file}");
    }
    run(&["demo", "--keep", path], b"").ends(2, &["is not empty", path]);

    // The three parties again, by hand.
    let server = |arguments: &[&str]| {
        let mut command = program();
        command.current_dir(&kept).args(arguments).args(["--listen", "127.0.0.1:0", "--once"]);
        command
    };
    let serve = server(&[
        "serve",
        "--echo",
        "--outer-cert=server/host.crt",
        "--outer-key=server/host.key",
        "--outer-client-ca=customerCA.crt",
        "--inner-cert=server/hsm.crt",
        "--inner-key=server/hsm.key",
    ])
    .stdout(std::process::Stdio::piped())
    .stderr(std::process::Stdio::piped())
    .spawn();
    let mut serve = serve.unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(serve.stdout.as_mut().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on ").unwrap();
    let connect = start_as(program().current_dir(&kept).args(client(address, &[])));
    let answer = finish(connect, b"by hand");
    answer.ends(0, &["accepted: pinned certificate (certs/21a10654.0)"]);
    assert_eq!(answer.text(), "by hand");
    finish(serve, b"").ends(0, &[]);
    fs::remove_dir_all(&kept).unwrap();
}

#[test]
fn refuses_a_message_that_proves_nothing() {
    run(&["demo", "--message", "short"], b"").ends(2, &["8 to 16384 bytes"]);
}
