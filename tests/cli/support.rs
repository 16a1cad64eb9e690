//! Running the program, and the files that it is given.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use crate::pki::{ClientIdentity, Issued, Options, Period, Pki, Shape, Subject, Template};

/// Nothing here takes long; what does is a hang.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn program() -> Command {
    static WATCHDOG: Once = Once::new();
    WATCHDOG.call_once(|| {
        // A chosen load takes its time.
        let patience = if env::var_os("NESTED_TLS_LOAD").is_some() { 3 } else { 1 } * 10 * LIMIT;
        thread::spawn(move || {
            thread::sleep(patience);
            eprintln!("the tests hang");
            process::exit(1);
        });
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_nested-tls"));
    command.env_remove("NO_COLOR").env_remove("SSLKEYLOGFILE").current_dir(files());
    command
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    /// Asserts the status, and that standard error has all of `words` and nothing of a panic.
    #[track_caller]
    pub(crate) fn ends(&self, status: i32, words: &[&str]) -> &Self {
        assert_eq!(self.status, Some(status), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {}", self.stderr);
        }
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs the program with `input`; kills it if it hangs.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: &[S], input: &[u8]) -> Run {
    finish(start(arguments), input)
}

/// Starts the program with its three streams in the test's hands.
pub(crate) fn start<S: AsRef<OsStr>>(arguments: &[S]) -> Child {
    start_as(program().args(arguments))
}

/// The same of a command that has everything but its streams.
pub(crate) fn start_as(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Bytes without a pattern, so that a shifted or repeated piece shows.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Gives a program its input, and waits for its end.
pub(crate) fn finish(mut child: Child, input: &[u8]) -> Run {
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            // It may end before it has read all.
            let _ = stdin.map(|mut stdin| stdin.write_all(input));
        });
        let begun = Instant::now();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let out = scope.spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let err = scope.spawn(move || {
            let mut bytes = Vec::new();
            err.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > LIMIT => {
                    child.kill().unwrap();
                    break child.wait().unwrap();
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }.into()
    })
}

/// A server of the program that runs until this is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// What follows the first line of standard output.
    pub(crate) stdout: Option<BufReader<process::ChildStdout>>,
}

impl Server {
    pub(crate) fn start<S: AsRef<OsStr>>(arguments: &[S]) -> Self {
        Self::start_as(program().args(arguments))
    }

    /// As this command, which lacks only where to listen.
    pub(crate) fn start_as(command: &mut Command) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let begin = said.len();
            if stdout.read_line(&mut said).unwrap() == 0 {
                let mut stderr = String::new();
                child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                panic!("{said:?} {stderr}");
            }
            // The demonstration has other things to say first.
            if let Some(address) = said[begin..].trim_end().strip_prefix("listening on ") {
                break address.to_owned();
            }
        };
        Self { child, address, stdout: Some(stdout) }
    }

    /// Sends it a signal: `TERM`, `INT`, `HUP`.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for its end, and gives what it said.
    pub(crate) fn wait(mut self) -> Run {
        let stdout = self.stdout.take().unwrap();
        drop(self.child.stdin.take());
        let mut stderr = self.child.stderr.take().unwrap();
        let out = thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut stdout = stdout;
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let err = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() && begun.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let status = self.child.wait().unwrap().code();
        Run { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server of both layers that echoes, like a cluster: mutual outer layer.
pub(crate) fn echo_server(more: &[&str]) -> Server {
    let mut arguments = vec!["serve", "--echo"];
    arguments.extend(OUTER_SERVER);
    arguments.extend(INNER_SERVER);
    arguments.extend(more);
    Server::start(&arguments)
}

/// The host of a cluster in front of `forward`.
pub(crate) fn relay(forward: &str, more: &[&str]) -> Server {
    let mut arguments = vec!["relay", "--forward", forward];
    arguments.extend(OUTER_SERVER);
    arguments.extend(more);
    Server::start(&arguments)
}

/// A server whose options of a layer stand in place of the usual ones.
pub(crate) fn layered(options: &[&str]) -> Server {
    let mut arguments = vec!["serve", "--echo"];
    let has = |name: &str| options.contains(&name);
    if !has("--outer-cert") {
        arguments.extend(&OUTER_SERVER[..4]);
    }
    if !has("--outer-client-ca") {
        arguments.extend(&OUTER_SERVER[4..]);
    }
    if !has("--inner-cert") {
        arguments.extend(INNER_SERVER);
    }
    arguments.extend(options);
    Server::start(&arguments)
}

/// `connect` with these options alone.
pub(crate) fn connect(address: &str, options: &[&[&str]]) -> Run {
    let mut arguments = vec!["connect", address, "--timeout", "20"];
    arguments.extend(options.concat());
    run(&arguments, b"a question")
}

/// A listener that does this with its first connection.
pub(crate) fn listener<R: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> R + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    address
}

/// The arguments of a client that fits.
pub(crate) fn client<'a>(address: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["connect", address];
    arguments.extend(OUTER_CLIENT);
    arguments.extend(INNER_CLIENT);
    arguments.extend(more);
    arguments
}

pub(crate) const OUTER_CLIENT: [&str; 7] = [
    "--outer-ca",
    "certs",
    "--outer-no-name-check",
    "--outer-cert",
    "client.crt",
    "--outer-key",
    "client.key",
];
pub(crate) const INNER_CLIENT: [&str; 3] =
    ["--inner-ca", "customerCA.crt", "--inner-no-name-check"];
pub(crate) const OUTER_SERVER: [&str; 8] = [
    "--outer-cert",
    "host.crt",
    "--outer-key",
    "host.key",
    "--outer-client-ca",
    "customerCA.crt",
    "--outer-client-pin",
    "default.crt",
];
pub(crate) const INNER_SERVER: [&str; 4] = ["--inner-cert", "hsm.crt", "--inner-key", "hsm.key"];

/// Certificates of the shapes of a cluster's, and some more, in one directory.
pub(crate) fn files() -> &'static Path {
    static FILES: OnceLock<PathBuf> = OnceLock::new();
    FILES.get_or_init(|| {
        let path = directory("files");
        let now = now();
        let pki = Pki::new(&Options::new(Period::around(now))).unwrap();
        pki.write_client_dir(&path, ClientIdentity::Issued).unwrap();
        store(&path, "host", &pki.outer_server);
        store(&path, "hsm", &pki.cluster);
        store(&path, "default", &pki.default_client);
        let other =
            Template::new(Subject::customer("other CA"), Shape::Authority, Period::around(now))
                .self_signed()
                .unwrap();
        store(&path, "otherCA", &other);
        // Of the same name, and not the same.
        let twin =
            Template::new(Subject::customer("customerCA"), Shape::Authority, Period::around(now))
                .self_signed()
                .unwrap();
        store(&path, "twinCA", &twin);
        let stranger =
            Template::new(Subject::customer("stranger"), Shape::Version1, Period::around(now))
                .issued_by(&twin)
                .unwrap();
        store(&path, "stranger", &stranger);
        let named = |period| {
            Template::new(Subject::customer("named"), Shape::Named(vec!["hsm.test".into()]), period)
                .issued_by(&pki.customer_ca)
                .unwrap()
        };
        store(&path, "named", &named(Period::around(now)));
        store(&path, "expired", &named(Period::ended_before(now)));
        path
    })
}

fn store(path: &Path, name: &str, issued: &Issued) {
    fs::write(path.join(format!("{name}.crt")), &issued.pem).unwrap();
    fs::write(path.join(format!("{name}.key")), &issued.key_pem).unwrap();
}

/// A new directory under Cargo's.
pub(crate) fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

pub(crate) fn now() -> u64 {
    let now = rustls::pki_types::UnixTime::now();
    now.as_secs()
}

/// A proxy that runs `serve` on the two ends of one connection.
pub(crate) fn proxy(
    to: String,
    serve: impl FnOnce(TcpStream, TcpStream) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(to).unwrap();
        serve(client, server);
    });
    address
}
