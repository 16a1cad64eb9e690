//! One connection: handshake, what must have come out of it, echo, end.

use nested_tls::{Error, ErrorKind, Event, Misuse, Role};
use rustls::{CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme};

use crate::config::{self, Shared};
use crate::identity::Seen;
use crate::link::{Link, Taken};
use crate::options::Options;

/// The sizes that the runner's own shim writes; the runner reads their sum.
const RECORD_SIZES: &[usize] =
    &[0, 1, 255, 256, 257, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769];

/// Run one connection as `options` say.
///
/// # Errors
/// How it failed, in the words that the runner is told.
pub fn run(options: &Options, role: Role, shared: &Shared, resumes: bool) -> Result<(), String> {
    *shared.witness.lock().unwrap() = Seen::default();
    let mut link = Link::new(options, role)?;
    let talked = talk(&mut link, options, shared, resumes);
    link.finish();
    config::advance_clock(options.resumption_delay);
    talked.map_err(|failure| match failure {
        // The words for people, then the names that the configuration maps the runner's names to.
        Failure::Machine(error) => format!("{error}\n{:?}", error.kind()),
        Failure::Expectation(words) => words,
    })
}

enum Failure {
    Machine(Error),
    Expectation(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Machine(error)
    }
}

fn talk(link: &mut Link, options: &Options, shared: &Shared, resumes: bool) -> Result<(), Failure> {
    shake_hands(link)?;
    let seen = shared.witness.lock().unwrap().clone();
    check(link, options, &seen, resumes).map_err(Failure::Expectation)?;

    if let Some(len) = options.export {
        let (layer, mut material) = (link.layer(), vec![0; len]);
        let (label, context) = (options.export_label.as_bytes(), options.export_context.as_bytes());
        match link.ports().export_keying_material(layer, &mut material, label, context) {
            Err(error) if *error.kind() == ErrorKind::Misuse(Misuse::ExporterVersion) => {
                crate::unimplemented("exporter in TLS 1.2")
            }
            exported => exported?,
        }
        write(link, &material)?;
    }
    if options.many_record_sizes {
        for &size in RECORD_SIZES {
            write(link, &vec![0x42; size])?;
        }
    } else {
        let mut unfinished = options.unfinished_write;
        if unfinished {
            link.allow(Some(1));
            write(link, &options.initial_write)?;
        } else if options.shim_writes_first {
            for _ in 0..options.initial_writes {
                write(link, &options.initial_write)?;
            }
        }
        if !options.shim_shuts_down && !echo(link, options, &mut unfinished)? {
            return Ok(());
        }
    }
    link.ports().close_write();
    link.flush()?;
    if options.shim_shuts_down && options.check_close_notify {
        while !matches!(link.take(usize::MAX), Taken::End) {
            link.receive()?;
        }
    }
    Ok(())
}

fn shake_hands(link: &mut Link) -> Result<(), Error> {
    let layer = link.layer();
    loop {
        link.flush()?;
        while let Some(event) = link.ports().poll_event() {
            if event == Event::Established(layer) {
                return link.flush();
            }
        }
        link.receive()?;
    }
}

/// Echo until the runner's end. `false` if that was not a clean one, and need not be.
fn echo(link: &mut Link, options: &Options, unfinished: &mut bool) -> Result<bool, Error> {
    let tls13 = link.info().version == Some(ProtocolVersion::TLSv1_3);
    loop {
        if options.key_update_before_read {
            link.update_keys()?;
            link.flush()?;
        }
        let mut bytes = loop {
            let peeked = options.peek.then(|| link.peek());
            match link.take(options.read_size) {
                Taken::Bytes(bytes) => {
                    assert!(peeked.is_none_or(|peeked| peeked.starts_with(&bytes)));
                    break bytes;
                }
                Taken::End => return Ok(true),
                Taken::Pending => {}
            }
            // A failure that came with the last bytes is told by the next call.
            match link.receive() {
                Ok(_) => {}
                Err(error)
                    if !matches!(link.ports().plain_out(), nested_tls::Plaintext::Bytes(_)) =>
                {
                    let cut = *error.kind() == ErrorKind::Truncated;
                    return if cut && !options.check_close_notify { Ok(false) } else { Err(error) };
                }
                Err(_) => {}
            }
            // The runner wants one answer for all its KeyUpdates before the next data.
            if !tls13 {
                link.flush()?;
            }
        };
        if std::mem::take(unfinished) {
            link.allow(None);
            link.flush()?;
        }
        if options.key_update {
            link.update_keys()?;
        }
        for byte in &mut bytes {
            *byte ^= 0xff;
        }
        write(link, &bytes)?;
    }
}

fn write(link: &mut Link, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        let n = link.ports().plain_write(bytes)?;
        bytes = &bytes[n..];
        link.flush()?;
    }
    Ok(())
}

/// What the handshake agreed on against what the runner says it must be.
fn check(link: &mut Link, options: &Options, seen: &Seen, resumes: bool) -> Result<(), String> {
    let info = link.info();
    let expect = &options.expect;
    let is = |what: &str, holds: bool| match holds {
        true => Ok(()),
        false => Err(format!("expected another {what}; {info:?}, {seen:?}")),
    };
    is("resumption", info.resumed == (resumes && !expect.session_miss))?;
    if let Some(version) = expect.version {
        is("version", info.version == Some(ProtocolVersion::from(version)))?;
    }
    if let Some(cipher) = expect.cipher {
        is("cipher suite", info.suite == Some(CipherSuite::from(cipher)))?;
    }
    // A resumed TLS 1.2 session has no key exchange.
    let tls13 = info.version == Some(ProtocolVersion::TLSv1_3);
    if let Some(curve) = expect.curve.filter(|_| tls13 || !info.resumed) {
        is("group", info.group == Some(NamedGroup::from(curve)))?;
    }
    // A resumed session has no signature.
    if let Some(scheme) = expect.signature_algorithm.filter(|_| !info.resumed) {
        is("signature scheme", seen.signature_scheme == Some(SignatureScheme::from(scheme)))?;
    }
    if let Some(alpn) = &expect.alpn {
        is("ALPN protocol", info.alpn.as_deref().unwrap_or_default() == alpn)?;
    }
    if let Some(alpn) = &expect.advertised_alpn {
        is("list of ALPN protocols", seen.alpn.as_ref() == Some(alpn))?;
    }
    if let Some(name) = &expect.server_name {
        is("server name", seen.server_name.as_ref() == Some(name))?;
    }
    if expect.no_server_name {
        is("server name", seen.server_name.is_none())?;
    }
    if !expect.peer_verify_prefs.is_empty() {
        let schemes: Vec<u16> = seen.peer_schemes.iter().map(|&s| s.into()).collect();
        is("list of signature schemes", schemes == expect.peer_verify_prefs)?;
    }
    if let Some(retry) = expect.hello_retry {
        is("number of hellos", link.hello_retry() == retry)?;
    }
    if let Some(response) = &expect.ocsp_response {
        is("OCSP response", info.resumed || seen.ocsp_response == *response)?;
    }
    if let Some(path) = &expect.peer_cert_file {
        let chain = config::certificates(path);
        is("certificate", info.peer_certificates.as_deref() == Some(&chain))?;
    }
    if expect.no_peer_cert {
        is("certificate", info.peer_certificates.is_none())?;
    }
    if let Some(list) = &expect.client_ca_list {
        is("list of authorities", seen.client_ca_list == *list)?;
    }
    Ok(())
}
