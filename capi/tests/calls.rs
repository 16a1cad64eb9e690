//! Every function, called wrongly, in the wrong order, and rightly.
#![allow(clippy::unwrap_used)]

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::path::Path;
use std::ptr::{self, null, null_mut};
use std::slice;
use std::time::{SystemTime, UNIX_EPOCH};

use nested_tls_capi::*;

#[path = "../../src/cli/pki.rs"]
mod pki;

use pki::{ClientIdentity, Issued, Options, Period, Pki};

/// A call across the boundary.
macro_rules! c {
    ($call:expr) => {
        // SAFETY: handles here live as long as their owners, bytes and places as long as the call; what is wrong is wrong
        // in a way that the library must see.
        unsafe { $call }
    };
}

#[expect(clippy::disallowed_methods, reason = "made for today")]
fn pki() -> Pki {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Pki::new(&Options::new(Period::around(now))).unwrap()
}

fn words(text: *const c_char) -> String {
    assert!(!text.is_null());
    c!(CStr::from_ptr(text)).to_str().unwrap().into()
}

/// A layer that frees itself.
struct Layer(*mut NestedTlsLayer);

impl Layer {
    fn new(side: Side) -> Self {
        Self(nested_tls_layer_new(side as u32))
    }

    fn own(self, issued: &Issued) -> Self {
        let (chain, key) = (issued.pem.as_bytes(), issued.key_pem.as_bytes());
        let (chain, chain_len, key, key_len) =
            (chain.as_ptr(), chain.len(), key.as_ptr(), key.len());
        let status = c!(nested_tls_layer_own_certificate(self.0, chain, chain_len, key, key_len));
        self.done(status)
    }

    fn pin(self, issued: &Issued) -> Self {
        let pem = issued.pem.as_bytes();
        let status = c!(nested_tls_layer_pin_certificate(self.0, pem.as_ptr(), pem.len()));
        self.done(status)
    }

    fn roots(self, issued: &Issued) -> Self {
        let pem = issued.pem.as_bytes();
        let status = c!(nested_tls_layer_trust_roots(self.0, pem.as_ptr(), pem.len()));
        self.done(status)
    }

    fn no_name_check(self) -> Self {
        let status = c!(nested_tls_layer_no_name_check(self.0));
        self.done(status)
    }

    fn alpn(self, protocol: &str) -> Self {
        let status = c!(nested_tls_layer_add_alpn(self.0, protocol.as_ptr(), protocol.len()));
        self.done(status)
    }

    fn versions(self, version: Version) -> Self {
        let status = c!(nested_tls_layer_versions(self.0, version as u32, version as u32));
        self.done(status)
    }

    fn done(self, status: Status) -> Self {
        assert_eq!(status, Status::Ok, "{}", self.error(Field::Message));
        self
    }

    fn error(&self, field: Field) -> String {
        words(c!(nested_tls_layer_error(self.0, field as u32)))
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        c!(nested_tls_layer_free(self.0));
    }
}

/// A connection that frees itself.
struct Connection(*mut NestedTlsConnection);

impl Connection {
    fn new(outer: &Layer) -> Self {
        let mut made = null_mut();
        let status = c!(nested_tls_connection_new(outer.0, &mut made));
        assert_eq!(status, Status::Ok, "{}", outer.error(Field::Message));
        assert!(!made.is_null());
        Self(made)
    }

    fn nested(outer: &Layer, inner: &Layer) -> Self {
        let connection = Self::new(outer);
        assert_eq!(c!(nested_tls_nest(connection.0, inner.0)), Status::Ok);
        connection
    }

    fn error(&self, field: Field) -> String {
        words(c!(nested_tls_connection_error(self.0, field as u32)))
    }

    fn write(&self, data: &[u8]) -> (Status, usize) {
        let mut taken = 7;
        let status = c!(nested_tls_plain_write(self.0, data.as_ptr(), data.len(), &mut taken));
        (status, taken)
    }

    /// All plaintext that has come, and whether it has ended.
    fn read(&self) -> (Vec<u8>, bool) {
        let mut read = Vec::new();
        loop {
            let (mut bytes, mut len, mut end) = (null(), 0, false);
            let status = c!(nested_tls_plain_out(self.0, &mut bytes, &mut len, &mut end));
            assert_eq!(status, Status::Ok);
            if len == 0 {
                assert!(bytes.is_null());
                return (read, end);
            }
            read.extend_from_slice(c!(slice::from_raw_parts(bytes, len)));
            assert_eq!(c!(nested_tls_plain_consumed(self.0, len)), Status::Ok);
        }
    }

    /// Carries what this side has to say to `to`: how much that was, and how it was received.
    fn send(&self, to: &Self) -> (usize, Status) {
        let mut sent = 0;
        loop {
            let (mut bytes, mut len) = (null(), 0);
            assert_eq!(c!(nested_tls_wire_out(self.0, &mut bytes, &mut len)), Status::Ok);
            let (mut space, mut room) = (null_mut(), 0);
            assert_eq!(c!(nested_tls_wire_in(to.0, &mut space, &mut room)), Status::Ok);
            let count = len.min(room);
            if count == 0 {
                return (sent, Status::Ok);
            }
            c!(ptr::copy_nonoverlapping(bytes, space, count));
            assert_eq!(c!(nested_tls_wire_sent(self.0, count)), Status::Ok);
            sent += count;
            let status = c!(nested_tls_wire_received(to.0, count));
            if status != Status::Ok {
                return (sent, status);
            }
        }
    }

    /// Carries in both directions until nothing moves, or one side fails.
    fn talk(&self, other: &Self) {
        loop {
            let (there, theirs) = self.send(other);
            let (back, ours) = other.send(self);
            if there + back == 0 || ours != Status::Ok || theirs != Status::Ok {
                return;
            }
        }
    }

    fn events(&self) -> Vec<Event> {
        std::iter::from_fn(|| {
            let mut event = Event::None;
            assert_eq!(c!(nested_tls_poll_event(self.0, &mut event)), Status::Ok);
            (event != Event::None).then_some(event)
        })
        .collect()
    }

    fn phase(&self) -> Phase {
        let mut phase = Phase::Failed;
        assert_eq!(c!(nested_tls_phase(self.0, &mut phase)), Status::Ok);
        phase
    }

    fn wants(&self, want: Want) -> bool {
        let mut wants = 0;
        assert_eq!(c!(nested_tls_wants(self.0, &mut wants)), Status::Ok);
        wants & want as u32 != 0
    }

    /// A layer's version, protocol, and whether its peer has shown a certificate.
    fn layer(&self, layer: LayerId) -> (u16, Vec<u8>, bool) {
        let mut place = MaybeUninit::<LayerInfo>::uninit();
        let status = c!(nested_tls_layer_info(self.0, layer as u32, place.as_mut_ptr()));
        assert_eq!(status, Status::Ok);
        let info = c!(place.assume_init());
        let alpn = match info.alpn_len {
            0 => Vec::new(),
            len => c!(slice::from_raw_parts(info.alpn, len)).to_vec(),
        };
        (info.version, alpn, info.peer_certificate_len > 100 && info.suite != 0)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        c!(nested_tls_connection_free(self.0));
    }
}

/// The layers of a client and of a server: outer, inner, outer, inner.
fn layers(pki: &Pki) -> [Layer; 4] {
    [
        Layer::new(Side::Client).own(&pki.default_client).pin(&pki.outer_server),
        Layer::new(Side::Client).own(&pki.issued_client).roots(&pki.customer_ca).no_name_check(),
        Layer::new(Side::Server).own(&pki.outer_server).pin(&pki.default_client),
        Layer::new(Side::Server).own(&pki.cluster).roots(&pki.customer_ca),
    ]
}

fn pair([outer_client, inner_client, outer_server, inner_server]: &[Layer; 4]) -> [Connection; 2] {
    [Connection::nested(outer_client, inner_client), Connection::nested(outer_server, inner_server)]
}

#[test]
fn no_handle_is_refused_by_every_function() {
    for bad in [0, 1] {
        let layer = ptr::without_provenance_mut::<NestedTlsLayer>(bad);
        let connection = ptr::without_provenance_mut::<NestedTlsConnection>(bad);
        let inner = Layer::new(Side::Client);
        let (byte, hash) = (b"a".as_ptr(), [0; 32].as_ptr());
        let mut info = MaybeUninit::uninit();
        let calls = [
            ("trust_roots", c!(nested_tls_layer_trust_roots(layer, byte, 1))),
            ("trust_public_roots", c!(nested_tls_layer_trust_public_roots(layer))),
            ("pin_certificate", c!(nested_tls_layer_pin_certificate(layer, byte, 1))),
            ("pin_spki_sha256", c!(nested_tls_layer_pin_spki_sha256(layer, hash, 32))),
            ("anonymous_clients", c!(nested_tls_layer_anonymous_clients(layer))),
            ("own_certificate", c!(nested_tls_layer_own_certificate(layer, byte, 1, byte, 1))),
            ("server_name", c!(nested_tls_layer_server_name(layer, c"host".as_ptr()))),
            ("no_name_check", c!(nested_tls_layer_no_name_check(layer))),
            ("ignore_expiry", c!(nested_tls_layer_ignore_expiry(layer))),
            ("add_alpn", c!(nested_tls_layer_add_alpn(layer, byte, 1))),
            ("versions", c!(nested_tls_layer_versions(layer, 0x303, 0x304))),
            ("cloudhsm", c!(nested_tls_layers_cloudhsm(layer, inner.0, c"/".as_ptr()))),
            ("cloudhsm inner", c!(nested_tls_layers_cloudhsm(inner.0, layer, c"/".as_ptr()))),
            ("connection_new", c!(nested_tls_connection_new(layer, &mut null_mut()))),
            ("nest", c!(nested_tls_nest(connection, inner.0))),
            ("into_outer", c!(nested_tls_into_outer(connection))),
            ("wire_in", c!(nested_tls_wire_in(connection, &mut null_mut(), &mut 0))),
            ("wire_received", c!(nested_tls_wire_received(connection, 0))),
            ("wire_eof", c!(nested_tls_wire_eof(connection))),
            ("wire_out", c!(nested_tls_wire_out(connection, &mut null(), &mut 0))),
            ("wire_sent", c!(nested_tls_wire_sent(connection, 0))),
            ("plain_write", c!(nested_tls_plain_write(connection, byte, 1, &mut 0))),
            ("plain_out", c!(nested_tls_plain_out(connection, &mut null(), &mut 0, &mut false))),
            ("plain_consumed", c!(nested_tls_plain_consumed(connection, 0))),
            ("preamble_write", c!(nested_tls_preamble_write(connection, byte, 1, &mut 0))),
            (
                "preamble_out",
                c!(nested_tls_preamble_out(connection, &mut null(), &mut 0, &mut false)),
            ),
            ("preamble_consumed", c!(nested_tls_preamble_consumed(connection, 0))),
            ("close_write", c!(nested_tls_close_write(connection))),
            ("close", c!(nested_tls_close(connection))),
            ("poll_event", c!(nested_tls_poll_event(connection, &mut Event::None))),
            ("wants", c!(nested_tls_wants(connection, &mut 0))),
            ("phase", c!(nested_tls_phase(connection, &mut Phase::Failed))),
            ("failure", c!(nested_tls_failure(connection))),
            ("layer_info", c!(nested_tls_layer_info(connection, 1, info.as_mut_ptr()))),
        ];
        for (name, status) in calls {
            assert_eq!(status, Status::Argument, "{name} of {bad}");
        }
        // One row is a second one of its function; a new function is not forgotten.
        let header = include_str!("../include/nested_tls.h").lines();
        let fallible = header.filter(|line| line.starts_with("enum nested_tls_status nested_tls_"));
        assert_eq!(fallible.count(), calls.len() - 1);
        assert_eq!(words(c!(nested_tls_layer_error(layer, 0))), "there is no handle");
        assert_eq!(words(c!(nested_tls_connection_error(connection, 0))), "there is no handle");
        c!(nested_tls_layer_free(layer));
        c!(nested_tls_connection_free(connection));
        assert!(nested_tls_layer_new(if bad == 0 { 0 } else { 3 }).is_null());
    }
}

#[test]
fn results_need_a_place() {
    let [client, _] = pair(&layers(&pki()));
    let c = client.0;
    let (len, end) = (&mut 0_usize, &mut false);
    let odd = ptr::without_provenance_mut::<usize>(1);
    let calls = [
        c!(nested_tls_wire_in(c, null_mut(), len)),
        c!(nested_tls_wire_in(c, &mut null_mut(), null_mut())),
        c!(nested_tls_wire_in(c, &mut null_mut(), odd)),
        c!(nested_tls_wire_out(c, null_mut(), len)),
        c!(nested_tls_wire_out(c, &mut null(), null_mut())),
        c!(nested_tls_plain_write(c, null(), 0, null_mut())),
        c!(nested_tls_plain_out(c, null_mut(), len, end)),
        c!(nested_tls_plain_out(c, &mut null(), null_mut(), end)),
        c!(nested_tls_plain_out(c, &mut null(), len, null_mut())),
        c!(nested_tls_poll_event(c, null_mut())),
        c!(nested_tls_wants(c, null_mut())),
        c!(nested_tls_phase(c, null_mut())),
        c!(nested_tls_layer_info(c, 1, null_mut())),
    ];
    for (row, status) in calls.into_iter().enumerate() {
        assert_eq!(status, Status::Argument, "row {row}");
    }
    let layer = Layer::new(Side::Server);
    assert_eq!(c!(nested_tls_connection_new(layer.0, null_mut())), Status::Argument);
    assert_eq!(layer.error(Field::Reason), "argument `connection`");
    // Nothing of it has done harm.
    assert_eq!(c!(nested_tls_failure(c)), Status::Ok);
}

#[test]
fn arguments_are_looked_at() {
    let (client, server) = (Layer::new(Side::Client), Layer::new(Side::Server));
    let (layer, byte, long) = (client.0, b"a".as_ptr(), vec![b'a'; 256]);
    let text = CString::new(vec![0xff]).unwrap();
    let calls = [
        (Status::Argument, c!(nested_tls_layer_trust_roots(layer, null(), 1))),
        (Status::Argument, c!(nested_tls_layer_trust_roots(layer, byte, usize::MAX))),
        (Status::Configuration, c!(nested_tls_layer_trust_roots(layer, null(), 0))),
        (Status::Configuration, c!(nested_tls_layer_trust_roots(layer, byte, 1))),
        (Status::Argument, c!(nested_tls_layer_pin_certificate(layer, null(), 1))),
        (Status::Configuration, c!(nested_tls_layer_pin_certificate(layer, byte, 1))),
        (Status::Argument, c!(nested_tls_layer_pin_spki_sha256(layer, long.as_ptr(), 31))),
        (Status::Argument, c!(nested_tls_layer_pin_spki_sha256(layer, null(), 0))),
        (Status::Argument, c!(nested_tls_layer_own_certificate(layer, byte, 1, null(), 1))),
        (Status::Configuration, c!(nested_tls_layer_own_certificate(layer, byte, 1, byte, 1))),
        (Status::Argument, c!(nested_tls_layer_server_name(layer, null()))),
        (Status::Argument, c!(nested_tls_layer_server_name(layer, text.as_ptr()))),
        (Status::Configuration, c!(nested_tls_layer_server_name(layer, c"a b".as_ptr()))),
        (Status::Argument, c!(nested_tls_layer_add_alpn(layer, byte, 0))),
        (Status::Argument, c!(nested_tls_layer_add_alpn(layer, long.as_ptr(), 256))),
        (Status::Argument, c!(nested_tls_layer_versions(layer, 0x302, 0x304))),
        (Status::Argument, c!(nested_tls_layer_versions(layer, 0x303, 0x305))),
        (Status::Argument, c!(nested_tls_layer_versions(layer, 0x304, 0x303))),
        (Status::Argument, c!(nested_tls_layers_cloudhsm(layer, layer, c"/".as_ptr()))),
        (Status::Misuse, c!(nested_tls_layer_anonymous_clients(layer))),
    ];
    for (row, (expected, found)) in calls.into_iter().enumerate() {
        assert_eq!(found, expected, "row {row}");
    }
    assert_eq!(c!(nested_tls_layer_server_name(server.0, c"host".as_ptr())), Status::Misuse);
    assert_eq!(c!(nested_tls_layer_no_name_check(server.0)), Status::Misuse);
    assert_eq!(c!(nested_tls_layer_trust_public_roots(server.0)), Status::Misuse);
    assert_eq!(server.error(Field::Expected), "a layer of a client");
    assert_eq!(words(c!(nested_tls_layer_error(server.0, 99))), "");
    assert_eq!(words(nested_tls_status_text(Status::Tls as u32)), "TLS failed");
    assert_eq!(words(nested_tls_status_text(99)), "no status");
    assert!(words(nested_tls_version()).contains('.'));
}

#[test]
fn trust_and_identity_are_demanded() {
    let pki = pki();
    let client = || Layer::new(Side::Client);
    let server = || Layer::new(Side::Server);
    let public = |layer: Layer| {
        let status = c!(nested_tls_layer_trust_public_roots(layer.0));
        layer.done(status)
    };
    let anonymous = |layer: Layer| {
        let status = c!(nested_tls_layer_anonymous_clients(layer.0));
        layer.done(status)
    };
    let rows = [
        (client(), "trust"),
        (client().roots(&pki.customer_ca), "server name"),
        (public(client()), "server name"),
        (public(client().pin(&pki.outer_server)), "trust"),
        (public(client().no_name_check()), "trust"),
        (server(), "own certificate"),
        (server().own(&pki.cluster), "trust"),
        (anonymous(server().own(&pki.cluster).roots(&pki.customer_ca)), "trust"),
    ];
    for (row, (layer, reason)) in rows.iter().enumerate() {
        let mut made = ptr::dangling_mut();
        let status = c!(nested_tls_connection_new(layer.0, &mut made));
        assert_eq!(
            (status, &*layer.error(Field::Reason)),
            (Status::Configuration, *reason),
            "{row}"
        );
        assert!(made.is_null(), "row {row}");
    }
    for layer in [anonymous(server().own(&pki.cluster)), client().pin(&pki.outer_server)] {
        drop(Connection::new(&layer));
    }
}

#[test]
fn the_order_is_kept() {
    let layers = layers(&pki());
    let [outer, inner, ..] = &layers;
    let alone = Connection::new(outer);
    let mut info = MaybeUninit::uninit();
    assert_eq!(alone.write(b"in the clear to the host"), (Status::Misuse, 0));
    assert_eq!(c!(nested_tls_plain_consumed(alone.0, 0)), Status::Misuse);
    assert_eq!(c!(nested_tls_into_outer(alone.0)), Status::Misuse);
    assert_eq!(c!(nested_tls_layer_info(alone.0, 2, info.as_mut_ptr())), Status::Misuse);
    assert_eq!(c!(nested_tls_layer_info(alone.0, 3, info.as_mut_ptr())), Status::Argument);
    assert_eq!(c!(nested_tls_nest(alone.0, null_mut())), Status::Argument);
    assert_eq!(c!(nested_tls_nest(alone.0, Layer::new(Side::Client).0)), Status::Configuration);
    assert_eq!(c!(nested_tls_nest(alone.0, outer.0)), Status::Misuse);
    assert_eq!(alone.error(Field::Expected), "another layer than the outer one");
    // It is as before.
    assert_eq!(c!(nested_tls_nest(alone.0, inner.0)), Status::Ok);
    assert_eq!(c!(nested_tls_nest(alone.0, inner.0)), Status::Misuse);
    assert_eq!(c!(nested_tls_into_outer(alone.0)), Status::Misuse);
    assert_eq!(c!(nested_tls_preamble_write(alone.0, null(), 0, &mut 0)), Status::Misuse);
    assert_eq!(c!(nested_tls_preamble_consumed(alone.0, 0)), Status::Misuse);
    // Not established: nothing is taken yet.
    assert_eq!(alone.write(b"early"), (Status::Ok, 0));
    let too_many = [
        c!(nested_tls_wire_received(alone.0, usize::MAX)),
        c!(nested_tls_wire_sent(alone.0, usize::MAX)),
        c!(nested_tls_plain_consumed(alone.0, 1)),
    ];
    assert_eq!(too_many, [Status::Misuse; 3]);
    assert_eq!(alone.error(Field::Expected), "at most 0 bytes");

    let [client, server] = pair(&layers);
    client.talk(&server);
    assert_eq!(c!(nested_tls_close_write(client.0)), Status::Ok);
    assert_eq!(client.write(b"late").0, Status::Misuse);
    assert_eq!(c!(nested_tls_failure(client.0)), Status::Ok);
}

#[test]
fn a_conversation() {
    let pki = pki();
    for (outer, inner) in [
        (Version::Tls13, Version::Tls13),
        (Version::Tls13, Version::Tls12),
        (Version::Tls12, Version::Tls13),
        (Version::Tls12, Version::Tls12),
    ] {
        let [a, b, c, d] = layers(&pki);
        let layers = [
            a.versions(outer).alpn("outer"),
            b.versions(inner).alpn("inner"),
            c.versions(outer).alpn("outer"),
            d.versions(inner).alpn("inner"),
        ];
        let [client, server] = pair(&layers);
        // What a connection needs is its own.
        drop(layers);
        assert_eq!(client.phase(), Phase::OuterHandshake);
        client.talk(&server);
        for end in [&client, &server] {
            assert_eq!(end.phase(), Phase::Traffic);
            assert_eq!(end.events(), [Event::OuterEstablished, Event::InnerEstablished]);
            assert_eq!(end.layer(LayerId::Outer), (outer as u16, b"outer".to_vec(), true));
            assert_eq!(end.layer(LayerId::Inner), (inner as u16, b"inner".to_vec(), true));
            assert!(end.wants(Want::PlainWrite) && end.wants(Want::WireIn));
            assert!(!end.wants(Want::PlainOut) && !end.wants(Want::WireOut));
        }
        // Both ways at once, then a half-close, then the rest.
        assert_eq!(client.write(b"question"), (Status::Ok, 8));
        assert_eq!(server.write(b"early "), (Status::Ok, 6));
        assert!(client.wants(Want::WireOut));
        assert_eq!(c!(nested_tls_close_write(client.0)), Status::Ok);
        client.talk(&server);
        assert!(server.wants(Want::PlainOut));
        assert_eq!(server.read(), (b"question".to_vec(), true));
        assert_eq!(server.events(), [Event::InnerPeerClosed]);
        assert_eq!(server.write(b"answer"), (Status::Ok, 6));
        assert_eq!(c!(nested_tls_close(server.0)), Status::Ok);
        client.talk(&server);
        assert_eq!(client.read(), (b"early answer".to_vec(), true));
        assert_eq!(c!(nested_tls_close(client.0)), Status::Ok);
        client.talk(&server);
        let ends = [Event::InnerPeerClosed, Event::OuterPeerClosed, Event::Closed];
        assert_eq!(client.events(), ends);
        assert_eq!(server.events(), ends[1..]);
        assert_eq!([client.phase(), server.phase()], [Phase::Closed; 2]);
        assert_eq!(c!(nested_tls_wire_eof(client.0)), Status::Ok);
    }
}

#[test]
fn what_is_said_before_and_after_the_inner_layer() {
    let layers = layers(&pki());
    let [client, server] = [Connection::new(&layers[0]), Connection::new(&layers[2])];
    client.talk(&server);
    let preamble = |from: &Connection, to: &Connection, said: &[u8]| {
        let mut taken = 0;
        let status = c!(nested_tls_preamble_write(from.0, said.as_ptr(), said.len(), &mut taken));
        assert_eq!((status, taken), (Status::Ok, said.len()));
        client.talk(&server);
        let (mut bytes, mut len, mut end) = (null(), 0, false);
        let status = c!(nested_tls_preamble_out(to.0, &mut bytes, &mut len, &mut end));
        assert_eq!((status, end), (Status::Ok, false));
        assert_eq!(c!(slice::from_raw_parts(bytes, len)), said);
        assert_eq!(c!(nested_tls_preamble_consumed(to.0, len)), Status::Ok);
    };
    preamble(&client, &server, b"CONNECT");
    preamble(&server, &client, b"200");
    for (end, inner) in [(&client, &layers[1]), (&server, &layers[3])] {
        assert_eq!(c!(nested_tls_nest(end.0, inner.0)), Status::Ok);
    }
    client.talk(&server);
    for end in [&client, &server] {
        assert_eq!(end.phase(), Phase::Traffic);
        assert_eq!(c!(nested_tls_close_write(end.0)), Status::Ok);
    }
    client.talk(&server);
    for end in [&client, &server] {
        assert_eq!(c!(nested_tls_into_outer(end.0)), Status::Ok, "{}", end.error(Field::Message));
        assert_eq!(end.phase(), Phase::Preamble);
    }
    preamble(&client, &server, b"thanks");
}

#[test]
fn failures_say_layer_phase_reason_expected_and_found() {
    let pki = pki();
    let stranger = self::pki();
    let [client_outer, client_inner, server_outer, server_inner] = layers(&pki);
    let pinned = Layer::new(Side::Client).own(&pki.default_client).pin(&stranger.outer_server);
    let other = Layer::new(Side::Client)
        .own(&pki.issued_client)
        .roots(&stranger.customer_ca)
        .no_name_check();
    for (outer, inner, layer, phase, reason) in [
        (&pinned, &client_inner, "outer", "outer handshake", "certificate not pinned"),
        (&client_outer, &other, "inner", "inner handshake", ""),
    ] {
        let client = Connection::nested(outer, inner);
        let server = Connection::nested(&server_outer, &server_inner);
        client.talk(&server);
        for _ in 0..2 {
            // Sticky, and told again.
            assert_eq!(c!(nested_tls_failure(client.0)), Status::Tls);
        }
        assert_eq!(client.error(Field::Layer), layer);
        assert_eq!(client.error(Field::Phase), phase);
        assert!(client.error(Field::Reason).contains(reason), "{}", client.error(Field::Reason));
        for field in [Field::Reason, Field::Expected, Field::Found, Field::Remedy] {
            let part = client.error(field);
            assert!(!part.is_empty() && client.error(Field::Message).contains(&part), "{field:?}");
        }
        assert_eq!(client.write(b"x").0, Status::Tls);
        assert_eq!(client.phase(), Phase::Failed);
        // The alert leaves.
        client.talk(&server);
        assert_eq!(c!(nested_tls_failure(server.0)), Status::Tls);
        assert_eq!(server.error(Field::Layer), layer);
        assert!(server.error(Field::Reason).contains("alert"), "{}", server.error(Field::Reason));
    }
    let [client, server] = pair(&[client_outer, client_inner, server_outer, server_inner]);
    client.talk(&server);
    assert_eq!(c!(nested_tls_wire_eof(client.0)), Status::Truncated);
    assert_eq!(client.error(Field::Layer), "inner");
    assert_eq!(client.error(Field::Expected), "the peer's close_notify");
    assert_eq!(c!(nested_tls_close(server.0)), Status::Ok);
}

#[test]
fn a_close_before_the_end_of_the_handshakes_is_told() {
    let [client, _] = pair(&layers(&pki()));
    assert_eq!(c!(nested_tls_close(client.0)), Status::Ok);
    assert_eq!(c!(nested_tls_failure(client.0)), Status::Canceled);
}

#[test]
fn cloudhsm_directory() {
    let pki = pki();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cloudhsm");
    pki.write_client_dir(&dir, ClientIdentity::Issued).unwrap();
    let path = CString::new(dir.to_str().unwrap()).unwrap();
    let missing = CString::new(dir.join("missing").to_str().unwrap()).unwrap();
    let (outer, inner) = (Layer::new(Side::Client), Layer::new(Side::Client));
    let status = c!(nested_tls_layers_cloudhsm(outer.0, inner.0, missing.as_ptr()));
    assert_eq!(status, Status::Configuration);
    assert!(outer.error(Field::Message).contains("missing"), "{}", outer.error(Field::Message));
    let status = c!(nested_tls_layers_cloudhsm(outer.0, inner.0, null()));
    assert_eq!(status, Status::Argument);
    let server = Layer::new(Side::Server);
    let status = c!(nested_tls_layers_cloudhsm(outer.0, server.0, path.as_ptr()));
    assert_eq!(status, Status::Misuse);
    let status = c!(nested_tls_layers_cloudhsm(outer.0, inner.0, path.as_ptr()));
    assert_eq!(status, Status::Ok, "{}", outer.error(Field::Message));
    assert_eq!(c!(nested_tls_layer_ignore_expiry(inner.0)), Status::Misuse);

    let client = Connection::nested(&outer, &inner);
    let far_outer = Layer::new(Side::Server).own(&pki.outer_server).roots(&pki.customer_ca);
    let far_inner = Layer::new(Side::Server).own(&pki.cluster);
    assert_eq!(c!(nested_tls_layer_anonymous_clients(far_inner.0)), Status::Ok);
    let server = Connection::nested(&far_outer, &far_inner);
    client.talk(&server);
    assert_eq!([client.phase(), server.phase()], [Phase::Traffic; 2]);
}

#[test]
fn handles_may_change_threads() {
    fn may<T: Send>() {}
    may::<NestedTlsLayer>();
    may::<NestedTlsConnection>();
}
