//! Real terminators as the host, in front of an inner peer that knows nothing of it.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use nested_tls::Layer;

use crate::case::Case;
use crate::daemon::{Daemon, free_port};
use crate::identities::{Identities, alpn};
use crate::peer::{Can, Peer, Report, Running};
use crate::process::Process;
use crate::programs::{have, python};
use crate::table::{self, accept};

/// A program that terminates the outer layer and forwards what is inside.
struct Program {
    name: &'static str,
    version: &'static [&'static str],
    /// Its command line, and what it reads from a file.
    start: fn(&Paths) -> (Vec<String>, String),
    /// It can choose a protocol.
    alpn: bool,
    /// It ends the outer layer with close_notify.
    closes: bool,
    /// It refuses a certificate with an alert, not by closing a layer that it has accepted.
    alerts: bool,
}

/// What is put into a configuration.
struct Paths {
    config: PathBuf,
    dir: PathBuf,
    listen: u16,
    forward: u16,
}

const NGINX: Program = Program {
    name: "nginx",
    version: &["-v"],
    start: |at| {
        let Paths { config, dir, listen, forward } = at;
        let dir = dir.display();
        let text = format!(
            "daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr crit;
            load_module modules/ngx_stream_module.so;
            events {{ worker_connections 64; }}
            stream {{ server {{
                listen 127.0.0.1:{listen} ssl; proxy_pass 127.0.0.1:{forward};
                proxy_half_close on; proxy_timeout {LIMIT_SECONDS};
                ssl_certificate {dir}/outer_server.pem; ssl_certificate_key {dir}/outer_server.key;
                ssl_client_certificate {dir}/outer_clients.pem; ssl_verify_client on;
                ssl_protocols TLSv1.2 TLSv1.3; ssl_alpn {};
            }} }}",
            alpn(Layer::Outer),
        );
        (vec!["-c".into(), config.display().to_string()], text)
    },
    alpn: true,
    closes: false,
    alerts: false,
};

const HAPROXY: Program = Program {
    name: "haproxy",
    version: &["-v"],
    start: |at| {
        let Paths { config, dir, listen, forward } = at;
        let dir = dir.display();
        let text = format!(
            "defaults
                mode tcp
                timeout connect {LIMIT_SECONDS}
                timeout client {LIMIT_SECONDS}
                timeout server {LIMIT_SECONDS}
            listen host
                bind 127.0.0.1:{listen} ssl crt {dir}/outer_server.both ca-file {dir}/outer_clients.pem verify required alpn {}
                server hsm 127.0.0.1:{forward}
            ",
            alpn(Layer::Outer),
        );
        (vec!["-db".into(), "-q".into(), "-f".into(), config.display().to_string()], text)
    },
    alpn: true,
    closes: true,
    alerts: true,
};

const STUNNEL: Program = Program {
    name: "stunnel",
    version: &["-version"],
    start: |at| {
        let Paths { config, dir, listen, forward } = at;
        let dir = dir.display();
        let text = format!(
            "foreground = quiet\npid =\nsyslog = no\ndebug = 2\n[host]\n\
            accept = 127.0.0.1:{listen}\nconnect = 127.0.0.1:{forward}\n\
            cert = {dir}/outer_server.pem\nkey = {dir}/outer_server.key\n\
            CAfile = {dir}/outer_clients.pem\nverifyChain = yes\nrequireCert = yes\n",
        );
        (vec![config.display().to_string()], text)
    },
    alpn: false,
    closes: true,
    alerts: true,
};

const SOCAT: Program = Program {
    name: "socat",
    version: &["-V"],
    start: |at| {
        let Paths { dir, listen, forward, .. } = at;
        let dir = dir.display();
        let listen = format!(
            "OPENSSL-LISTEN:{listen},bind=127.0.0.1,reuseaddr,fork,verify=1,cert={dir}/outer_server.pem,\
            key={dir}/outer_server.key,cafile={dir}/outer_clients.pem",
        );
        (vec!["-t30".into(), listen, format!("TCP:127.0.0.1:{forward}")], String::new())
    },
    alpn: false,
    closes: true,
    alerts: true,
};

const LIMIT_SECONDS: &str = "60s";

fn run(program: &Program) {
    if !have(program.name, program.version) {
        return;
    }
    let Some(mut behind) = python() else { return };
    behind.inner_only = true;
    let host = Host::start(program, behind, Identities::throwaway());
    table::run(&host);
}

#[test]
fn nginx() {
    run(&NGINX);
}

#[test]
fn haproxy() {
    run(&HAPROXY);
}

#[test]
fn stunnel() {
    run(&STUNNEL);
}

#[test]
fn socat() {
    run(&SOCAT);
}

struct Host {
    name: String,
    alpn: bool,
    closes: bool,
    alerts: bool,
    daemon: Daemon,
    /// Where it forwards to.
    backend: RefCell<TcpListener>,
    behind: Process,
}

impl Host {
    fn start(program: &Program, behind: Process, identities: &Identities) -> Self {
        let both =
            ["pem", "key"].map(|kind| fs::read(identities.path("outer_server", kind)).unwrap());
        fs::write(identities.path("outer_server", "both"), both.concat()).unwrap();
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free_port("127.0.0.1");
        let paths = Paths {
            config: identities.path(program.name, "conf"),
            dir: identities.dir.clone(),
            listen: port,
            forward: backend.local_addr().unwrap().port(),
        };
        let (arguments, config) = (program.start)(&paths);
        fs::write(&paths.config, format!("{}\n", config.trim_end())).unwrap();
        let address = format!("127.0.0.1:{port}");
        let daemon =
            Daemon::start(program.name, address, Command::new(program.name).args(arguments));
        Self {
            name: version(program),
            alpn: program.alpn,
            closes: program.closes,
            alerts: program.alerts,
            daemon,
            backend: RefCell::new(backend),
            behind,
        }
    }
}

impl Peer for Host {
    fn name(&self) -> String {
        format!("{} in front of {}", self.name, self.behind.name())
    }

    fn can(&self) -> Can {
        Can {
            outer: false,
            // What stands behind was put through all of it on its own.
            hurry: false,
            outer_alpn: self.alpn,
            close_outer: self.closes,
            alert: self.alerts,
            outer_pieces: false,
            cut_outer: false,
            leave_outer: false,
            ..self.behind.can()
        }
    }

    fn start(&self, identities: &Identities, case: &Case) -> (TcpStream, Running) {
        if case.stranger_here == Some(Layer::Outer) {
            // The host lets nothing through.
            return (self.daemon.connect(), Running::new(Report::default));
        }
        let backend = self.backend.borrow().try_clone().unwrap();
        let ours = self.daemon.connect();
        let (theirs, running) = self.behind.start(identities, case);
        thread::spawn(move || splice(&accept(&backend), &theirs));
        (ours, running)
    }
}

/// Carries both directions, each to its end.
fn splice(a: &TcpStream, b: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| carry(a, b));
        carry(b, a);
    });
}

fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let mut space = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut space) {
        if to.write_all(&space[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The first line with a digit of what the program says of its version.
fn version(program: &Program) -> String {
    let output = Command::new(program.name).args(program.version).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_version =
        |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
    let word = text.split(|c: char| c.is_whitespace() || c == '/').find(is_version);
    format!("{} {}", program.name, word.unwrap_or("of unknown version"))
}
