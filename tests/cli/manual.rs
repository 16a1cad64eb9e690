//! What the program says of itself: help, completions, manual pages.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::run;
use crate::tools::have;

const COMMANDS: [&str; 10] = [
    "demo",
    "connect",
    "serve",
    "relay",
    "inspect",
    "doctor",
    "verify-hsm",
    "trace",
    "completions",
    "man",
];

/// What a program says of `input`, and whether it is content.
fn judged(program: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_help_of_each_command_has_an_example() {
    let all = run(&["--help"], b"").text();
    for command in COMMANDS {
        assert!(all.contains(&format!("  {command} ")), "{command} is not in {all}");
        let help = run(&[command, "--help"], b"");
        let text = help.ends(0, &[]).text();
        let example =
            text.split("Example").nth(1).unwrap_or_else(|| panic!("no example in {text}"));
        assert!(example.contains(&format!("nested-tls {command}")), "{text}");
    }
}

#[test]
fn shells_understand_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell], b"");
        let script = script.ends(0, &[]).text();
        assert!(script.contains("outer-client-ca") && script.contains("relay"), "{script}");
        if have(shell) {
            assert_eq!(judged(shell, &["-n"], &script), (true, String::new()));
        }
    }
    run(&["completions", "csh"], b"").ends(2, &["csh"]);
}

#[test]
fn bash_completes_the_options_of_each_command() {
    if !have("bash") {
        return;
    }
    let script = run(&["completions", "bash"], b"").text();
    let (_, function) = script.split_once("complete -F ").unwrap();
    let function = function.split(' ').next().unwrap();
    for command in COMMANDS {
        let ask = format!(
            "COMP_WORDS=(nested-tls {command} --he) COMP_CWORD=2
            {function} nested-tls --he {command}
            echo \"${{COMPREPLY[*]}}\" >&2\n"
        );
        let judgement = judged("bash", &["--norc"], &(script.clone() + &ask));
        assert_eq!(judgement, (true, "--help\n".into()), "{command}");
    }
}

#[test]
fn manual_pages_are_well_formed() {
    let has_groff = have("groff");
    let pages = COMMANDS.iter().map(|command| vec!["man", *command]);
    for arguments in pages.chain([vec!["man"]]) {
        let page = run(&arguments, b"");
        let page = page.ends(0, &[]).text();
        let name = [&["nested-tls"][..], &arguments[1..]].concat().join("-");
        assert!(page.contains(&format!(".TH {name} ")), "{page}");
        assert_eq!(page.contains(".SH EXAMPLES\n.nf\n "), arguments.len() > 1, "{page}");
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{page}");
        if has_groff {
            assert_eq!(
                judged("groff", &["-man", "-ww", "-Tutf8", "-z"], &page),
                (true, String::new())
            );
        }
    }
    run(&["man", "nothing"], b"").ends(2, &["there is no command nothing"]);
}

#[test]
fn the_unit_of_systemd_is_one() {
    if !have("systemd-analyze") {
        return;
    }
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/deploy/nested-tls-relay.service");
    // The program is not where the unit has it.
    let text = std::fs::read_to_string(unit).unwrap();
    let text = text.replace("/usr/local/bin/nested-tls", env!("CARGO_BIN_EXE_nested-tls"));
    let copy = crate::support::directory("unit").join("nested-tls-relay.service");
    std::fs::write(&copy, text).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", copy.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("nested-tls")).collect();
    assert!(ours.is_empty(), "{said}");
    std::fs::remove_dir_all(copy.parent().unwrap()).unwrap();
}
