//! OpenSSL as the peer, in this process: one of its streams inside the other, over memory.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use nested_tls::Layer;
use openssl::ssl::{
    AlpnError, ErrorCode, NameType, Ssl, SslContext, SslFiletype, SslMethod, SslStream,
    SslVerifyMode, SslVersion, select_next_proto,
};

use crate::case::{Case, Cut, End, Flow, Received, Version, piece};
use crate::duplex::{self, Engine};
use crate::identities::{Identities, name, own, trust};
use crate::peer::{Can, Peer, Report, Running};

/// `openssl`, as the crate of that name has built it.
pub(crate) struct OpenSsl;

impl Peer for OpenSsl {
    fn name(&self) -> String {
        let version = openssl::version::version();
        let words: Vec<&str> = version.split(' ').take(2).collect();
        format!("{} (in this process)", words.join(" "))
    }

    fn can(&self) -> Can {
        // The crate has no SSL_key_update and no SSL_set_block_padding, std no SO_LINGER.
        Can { update_keys: false, pad: false, reset: false, ..Can::ALL }
    }

    fn start(&self, identities: &Identities, case: &Case) -> (TcpStream, Running) {
        let engine = Nested::new(identities, case);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = listener.accept().unwrap().0;
        let limit = Some(crate::ours::LIMIT);
        socket.set_read_timeout(limit).unwrap();
        socket.set_write_timeout(limit).unwrap();
        socket.set_nodelay(true).unwrap();
        let thread = thread::spawn(move || {
            let (engine, _) = duplex::run(engine, &socket);
            engine.report()
        });
        (ours, Running::new(move || thread.join().unwrap()))
    }
}

/// What the outer layer reads from and writes to.
#[derive(Default)]
struct Wire {
    incoming: Vec<u8>,
    read: usize,
    ended: bool,
    outgoing: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = (&self.incoming[self.read..]).read(buf)?;
        self.read += n;
        if self.read == self.incoming.len() {
            self.incoming.clear();
            self.read = 0;
        }
        if n == 0 && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outgoing.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the inner layer reads from and writes to.
struct Between {
    outer: SslStream<Wire>,
    piece: usize,
}

impl Read for Between {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.outer.read(buf)
    }
}

impl Write for Between {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outer.write(&buf[..buf.len().min(self.piece)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Nested {
    inner: SslStream<Between>,
    ends: [End; 2],
    flow: Flow,
    cut: Option<Cut>,
    established: [bool; 2],
    sent: u64,
    received: Received,
    /// The inner peer's close_notify came.
    end: bool,
    /// The outer peer's close_notify came.
    outer_end: bool,
    ended: bool,
    closed: bool,
    failure: Option<(Layer, String)>,
    done: bool,
}

impl Nested {
    fn new(identities: &Identities, case: &Case) -> Self {
        let ends = [case.outer_end.other(), case.inner_end.other()];
        let outer = ssl(identities, case, Layer::Outer, ends[0]);
        let inner = ssl(identities, case, Layer::Inner, ends[1]);
        let outer = SslStream::new(outer, Wire::default()).unwrap();
        let inner = SslStream::new(inner, Between { outer, piece: case.outer_piece }).unwrap();
        let mut nested = Self {
            inner,
            ends,
            flow: case.theirs,
            cut: case.cut,
            established: [false; 2],
            sent: 0,
            received: Received::default(),
            end: false,
            outer_end: false,
            ended: false,
            closed: false,
            failure: None,
            done: false,
        };
        nested.advance();
        nested
    }

    fn outer(&mut self) -> &mut SslStream<Wire> {
        &mut self.inner.get_mut().outer
    }

    fn advance(&mut self) {
        if self.failure.is_some() {
            return;
        }
        if let Err((layer, error)) = self.step() {
            self.failure = Some((layer, reason(&error)));
            if layer == Layer::Inner {
                let _ = self.outer().shutdown();
            }
            self.done = true;
        }
    }

    fn step(&mut self) -> Result<(), (Layer, openssl::ssl::Error)> {
        let outer = |error| (Layer::Outer, error);
        if !self.established[0] {
            let stream = self.outer();
            self.established[0] = went(stream.do_handshake()).map_err(outer)?.is_some();
        }
        if self.established[0] && !self.established[1] {
            let result = self.inner.do_handshake();
            self.established[1] = self.inner_went(result)?.is_some();
        }
        let mut space = vec![0; 1 << 14];
        while self.established[1] && !self.end {
            let result = self.inner.ssl_read(&mut space);
            match result {
                Err(e) if e.code() == ErrorCode::ZERO_RETURN => self.end = true,
                result => match self.inner_went(result)? {
                    Some(n) => self.received.take(&space[..n]),
                    None => break,
                },
            }
        }
        if self.end && !self.outer_end {
            match self.outer().ssl_read(&mut space) {
                Err(e) if e.code() == ErrorCode::ZERO_RETURN => self.outer_end = true,
                result => {
                    let _ = went(result);
                }
            }
        }
        self.speak()
    }

    fn speak(&mut self) -> Result<(), (Layer, openssl::ssl::Error)> {
        let may = self.established[1] && (self.end || !self.flow.waits);
        while may && self.sent < self.flow.bytes && self.outer().get_ref().outgoing.len() < FULL {
            let left = usize::try_from(self.flow.bytes - self.sent).unwrap_or(usize::MAX);
            let result = self.inner.ssl_write(piece(self.sent, self.flow.piece.min(left)));
            match self.inner_went(result)? {
                Some(n) => self.sent += n as u64,
                None => break,
            }
        }
        if !may || self.sent < self.flow.bytes {
            return Ok(());
        }
        match self.cut {
            Some(Cut::Transport | Cut::Reset) => self.done = true,
            Some(Cut::Outer) if !self.closed => {
                self.closed = true;
                let _ = self.outer().shutdown();
                self.done = true;
            }
            Some(Cut::Outer) => {}
            Some(Cut::AfterInner) | None => {
                if !self.closed {
                    self.closed = true;
                    let result = self.inner.shutdown();
                    self.inner_went(result.map(drop))?;
                }
                if self.end && !self.done {
                    if self.cut.is_none() {
                        let _ = self.outer().shutdown();
                    }
                    self.done = true;
                }
            }
        }
        Ok(())
    }

    /// What an operation of the inner layer comes to; it may be the outer one that failed.
    fn inner_went<T>(
        &self,
        result: Result<T, openssl::ssl::Error>,
    ) -> Result<Option<T>, (Layer, openssl::ssl::Error)> {
        went(result).map_err(|error| {
            let of_outer = error.io_error().is_some();
            (if of_outer { Layer::Outer } else { Layer::Inner }, error)
        })
    }

    fn report(mut self) -> Report {
        let mut report = Report::default();
        let end = match &self.failure {
            _ if self.end => "clean",
            Some((_, reason)) if reason.contains("unexpected eof") => "truncated",
            Some(_) => "error",
            None => "none",
        };
        report.set("end", end);
        if let Some((layer, reason)) = &self.failure {
            report.set("layer", layer.to_string());
            report.set("reason", reason.replace(' ', "_"));
        }
        report.set("received", self.received.bytes);
        report.set("wrong", self.received.wrong.map_or_else(|| "-1".into(), |at| at.to_string()));
        report.set("outer_end", if self.outer_end { "clean" } else { "unclean" });
        let ends = self.ends;
        let outer = self.outer().ssl().to_owned_facts(ends[0]);
        let inner = self.inner.ssl().to_owned_facts(ends[1]);
        for (layer, [version, alpn, sni]) in [("outer", outer), ("inner", inner)] {
            report.set(&format!("{layer}_version"), version);
            report.set(&format!("{layer}_alpn"), alpn);
            report.set(&format!("{layer}_sni"), sni);
        }
        report
    }
}

impl Engine for Nested {
    fn receive(&mut self, bytes: &[u8]) {
        let wire = self.outer().get_mut();
        wire.incoming.extend_from_slice(bytes);
        wire.ended = bytes.is_empty();
        self.ended = bytes.is_empty();
        self.advance();
    }

    fn transmit(&mut self) -> Vec<u8> {
        self.advance();
        std::mem::take(&mut self.outer().get_mut().outgoing)
    }

    fn is_done(&self) -> bool {
        self.done || self.ended
    }
}

/// What is known of a layer at the end.
trait Facts {
    fn to_owned_facts(&self, end: End) -> [String; 3];
}

impl Facts for openssl::ssl::SslRef {
    fn to_owned_facts(&self, end: End) -> [String; 3] {
        let alpn = self.selected_alpn_protocol().map(String::from_utf8_lossy);
        let sni = match end {
            End::Client => None,
            End::Server => self.servername(NameType::HOST_NAME),
        };
        [
            self.version_str().replace("TLSv", ""),
            alpn.unwrap_or_else(|| "-".into()).into_owned(),
            sni.unwrap_or("-").into(),
        ]
    }
}

/// When so much waits, no more is said.
const FULL: usize = 1 << 17;

/// `None` if the operation waits for input.
fn went<T>(result: Result<T, openssl::ssl::Error>) -> Result<Option<T>, openssl::ssl::Error> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(e) if e.code() == ErrorCode::WANT_READ => Ok(None),
        Err(e) => Err(e),
    }
}

fn reason(error: &openssl::ssl::Error) -> String {
    let ssl = error.ssl_error().and_then(|stack| stack.errors().last()?.reason());
    match (ssl, error.io_error()) {
        (Some(reason), _) => reason.into(),
        (None, Some(io)) => match io.get_ref().and_then(|e| e.downcast_ref()) {
            Some(outer) => reason(outer),
            None => io.to_string(),
        },
        (None, None) if error.code() == ErrorCode::SYSCALL => "unexpected eof".into(),
        (None, None) => error.to_string(),
    }
}

fn ssl(identities: &Identities, case: &Case, layer: Layer, end: End) -> Ssl {
    let mut builder = SslContext::builder(SslMethod::tls()).unwrap();
    let version = match case.version(layer) {
        Version::Tls12 => SslVersion::TLS1_2,
        Version::Tls13 => SslVersion::TLS1_3,
    };
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
    let own = own(case, layer, end, case.stranger_there == Some(layer));
    builder.set_certificate_chain_file(identities.path(&own, "pem")).unwrap();
    builder.set_private_key_file(identities.path(&own, "key"), SslFiletype::PEM).unwrap();
    builder.set_ca_file(identities.path(trust(layer, end), "pem")).unwrap();
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let protocol: &[u8] = match layer {
        Layer::Outer => b"\x0eouter-protocol",
        Layer::Inner => b"\x0einner-protocol",
    };
    match end {
        End::Client => builder.set_alpn_protos(protocol).unwrap(),
        End::Server => builder.set_alpn_select_callback(move |_, offered| {
            select_next_proto(protocol, offered).ok_or(AlpnError::ALERT_FATAL)
        }),
    }
    let mut ssl = Ssl::new(&builder.build()).unwrap();
    match end {
        End::Client => {
            ssl.set_hostname(name(layer)).unwrap();
            ssl.set_connect_state();
        }
        End::Server => ssl.set_accept_state(),
    }
    ssl
}
