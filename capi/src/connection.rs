//! A connection: the four ports.

use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

use nested_tls::{Direct, Layer, Limits, Nested, Plaintext, Ports, Session};

use crate::boundary::{Handle, Place, Trouble, exclusive, free, give, slice, text, with};
use crate::layer::NestedTlsLayer;
use crate::report::Report;
use crate::status::{Event, LayerId, Phase, Status, Want};
use crate::witness::Witness;

/// Two TLS connections, the inner one inside the outer one, without a socket. Before `nested_tls_nest`, and after
/// `nested_tls_into_outer`, only the outer one.
#[derive(Debug)]
pub struct NestedTlsConnection {
    machine: Machine,
    /// The outer layer's settings: the inner one must have its own.
    outer: Arc<()>,
    witnesses: [Arc<Witness>; 2],
    trouble: Trouble,
}

#[derive(Debug)]
enum Machine {
    Outer(Box<Session>),
    Both(Box<Nested>),
    /// The inner layer could not be put inside, which took the outer one along.
    Spent,
}

impl Handle for NestedTlsConnection {
    fn trouble(&mut self) -> &mut Trouble {
        &mut self.trouble
    }
}

impl NestedTlsConnection {
    fn new(outer: &NestedTlsLayer) -> Result<Self, Report> {
        let witnesses: [Arc<Witness>; 2] = Default::default();
        let role = outer.role(&witnesses[0])?;
        let session =
            Session::new(role, Limits::default()).map_err(|error| Report::machine(&error, None))?;
        let machine = Machine::Outer(Box::new(session));
        Ok(Self { machine, outer: outer.identity.clone(), witnesses, trouble: Trouble::default() })
    }

    fn nest(&mut self, inner: &NestedTlsLayer) -> Result<(), Report> {
        let role = inner.role(&self.witnesses[1])?;
        if Arc::ptr_eq(&self.outer, &inner.identity) {
            return Err(Report::misuse("nest", "another layer than the outer one", "the same"));
        }
        // What is refused here leaves the connection as it is, with its alert to send.
        if let Machine::Outer(session) = &self.machine {
            if let Some(failure) = session.failure() {
                return Err(self.report(failure));
            }
            if matches!(Phase::of(session.phase()), Phase::Closing | Phase::Closed) {
                return Err(Report::misuse(
                    "nest",
                    "an outer layer that is open",
                    "one that was closed",
                ));
            }
        }
        match std::mem::replace(&mut self.machine, Machine::Spent) {
            Machine::Outer(session) => {
                let nested = session.nest(role, Direct).map_err(|error| self.report(&error))?;
                self.machine = Machine::Both(Box::new(nested));
                Ok(())
            }
            other => {
                self.machine = other;
                Err(Report::misuse("nest", "no inner layer yet", "one"))
            }
        }
    }

    fn ports(&mut self) -> Result<&mut dyn Ports, Report> {
        match &mut self.machine {
            Machine::Outer(session) => Ok(session.as_mut()),
            Machine::Both(nested) => Ok(nested.as_mut()),
            Machine::Spent => Err(Report::misuse(
                "connection",
                "a live one",
                "one whose `nested_tls_nest` failed",
            )),
        }
    }

    /// The ports, while the plaintext is the inner layer's.
    fn inner(&mut self) -> Result<&mut dyn Ports, Report> {
        match &self.machine {
            Machine::Outer(_) => Err(Report::misuse("plaintext", "an inner layer", "none")),
            _ => self.ports(),
        }
    }

    /// The ports, while the plaintext is the outer layer's.
    fn preamble(&mut self) -> Result<&mut dyn Ports, Report> {
        match &self.machine {
            Machine::Both(_) => Err(Report::misuse("preamble", "no inner layer", "one")),
            _ => self.ports(),
        }
    }

    fn report(&self, error: &nested_tls::Error) -> Report {
        let witness = match error.layer() {
            Layer::Outer => &self.witnesses[0],
            Layer::Inner => &self.witnesses[1],
        };
        Report::machine(error, witness.refusal())
    }

    /// Runs a call of the ports.
    fn call<T>(
        &mut self,
        which: fn(&mut Self) -> Result<&mut dyn Ports, Report>,
        call: impl FnOnce(&mut dyn Ports) -> Result<T, nested_tls::Error>,
    ) -> Result<T, Report> {
        call(which(self)?).map_err(|error| self.report(&error))
    }
}

/// What is known of a layer.
#[repr(C)]
#[derive(Debug)]
pub struct LayerInfo {
    /// Its version of TLS, of `enum nested_tls_version_id`; 0 until it is established.
    pub version: u16,
    /// Its cipher suite, as registered with IANA; 0 until it is established.
    pub suite: u16,
    /// The protocol that ALPN chose; NULL if none.
    pub alpn: *const u8,
    /// Its length.
    pub alpn_len: usize,
    /// The peer's own certificate in DER; NULL if there is none.
    pub peer_certificate: *const u8,
    /// Its length.
    pub peer_certificate_len: usize,
}

impl LayerInfo {
    const NOTHING: Self = Self {
        version: 0,
        suite: 0,
        alpn: ptr::null(),
        alpn_len: 0,
        peer_certificate: ptr::null(),
        peer_certificate_len: 0,
    };
}

fn lent(bytes: Option<&[u8]>) -> (*const u8, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()))
}

/// A connection with this outer layer. Its plaintext is the outer layer's, by the functions with `preamble` in their names,
/// until `nested_tls_nest` puts the inner layer inside; that may be at once. What fails is told by `outer`, and `*connection`
/// is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_connection_new(
    outer: *mut NestedTlsLayer,
    connection: *mut *mut NestedTlsConnection,
) -> Status {
    let body = |outer: &mut NestedTlsLayer| {
        // SAFETY: the contract.
        let place = unsafe { Place::new("connection", connection, ptr::null_mut()) }?;
        let made = NestedTlsConnection::new(outer)?;
        place.set(give(|| made));
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(outer, body) }
}

/// Free a connection. NULL is nothing. Nothing is sent: see `nested_tls_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_connection_free(connection: *mut NestedTlsConnection) {
    // SAFETY: the contract.
    unsafe { free(connection) }
}

/// A part of what the last failing call with this connection had to say, one of `enum nested_tls_field`; "" if there is
/// nothing. Never NULL. Valid until the next failing call with this connection, or its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_connection_error(
    connection: *mut NestedTlsConnection,
    field: u32,
) -> *const c_char {
    // SAFETY: the contract.
    unsafe { text(connection, field) }
}

/// Put an inner layer inside, with settings of its own. May come before the outer handshake is complete, which saves a round
/// trip. Outer plaintext not read yet goes to the inner layer. Where TLS itself refuses the settings the connection is of
/// no use any more; after any other failure it is as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_nest(
    connection: *mut NestedTlsConnection,
    inner: *mut NestedTlsLayer,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let inner = unsafe { exclusive(inner) };
        connection.nest(inner.ok_or_else(|| Report::argument("inner", "a layer", "NULL"))?)
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// Take the inner layer out again, once both sides have closed it and its plaintext is read. What follows it is the outer
/// layer's plaintext, nothing lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_into_outer(connection: *mut NestedTlsConnection) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        let (machine, done) = match std::mem::replace(&mut connection.machine, Machine::Spent) {
            Machine::Both(nested) => match nested.into_outer() {
                Ok(session) => (Machine::Outer(Box::new(session)), true),
                Err(nested) => (Machine::Both(nested), false),
            },
            other => (other, false),
        };
        connection.machine = machine;
        match done {
            true => Ok(()),
            false => Err(Report::misuse("into outer", "an inner layer that has ended", "none")),
        }
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// Space to receive into from the transport, at `*space`, `*len` bytes; NULL and 0 when nothing should be read now, because
/// plaintext waits to be consumed or nothing can come any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_wire_in(
    connection: *mut NestedTlsConnection,
    space: *mut *mut u8,
    len: *mut usize,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let at = unsafe { Place::new("space", space, ptr::null_mut()) }?;
        // SAFETY: the contract.
        let size = unsafe { Place::new("len", len, 0) }?;
        if let Some(space) = connection.ports()?.wire_in() {
            at.set(space.as_mut_ptr());
            size.set(space.len());
        }
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// The first `count` bytes of what `nested_tls_wire_in` last offered hold what was received. 0 says that nothing is there for
/// now. Plaintext, events and answers for the peer come of this: look at them before the next call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_wire_received(
    connection: *mut NestedTlsConnection,
    count: usize,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        connection.call(NestedTlsConnection::ports, |ports| ports.wire_received(count))
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// The transport ended: nothing more will be received.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_wire_eof(connection: *mut NestedTlsConnection) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        connection.call(NestedTlsConnection::ports, |ports| ports.wire_eof())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// Bytes to write to the transport next, at `*bytes`, `*len` of them; NULL and 0 when there are none. After a failure they are
/// the alert for the peer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_wire_out(
    connection: *mut NestedTlsConnection,
    bytes: *mut *const u8,
    len: *mut usize,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let at = unsafe { Place::new("bytes", bytes, ptr::null()) }?;
        // SAFETY: the contract.
        let size = unsafe { Place::new("len", len, 0) }?;
        if let Some(bytes) = connection.ports()?.wire_out() {
            at.set(bytes.as_ptr());
            size.set(bytes.len());
        }
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// The first `count` bytes of what `nested_tls_wire_out` last showed were written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_wire_sent(
    connection: *mut NestedTlsConnection,
    count: usize,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        connection.call(NestedTlsConnection::ports, |ports| ports.wire_sent(count))
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// Take what fits of `data` for the inner layer's peer, and say in `*taken` how much that is: it is the connection's then, and
/// must not be given again. 0 means not yet: the inner layer is not established, or the transport has to take something
/// first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_plain_write(
    connection: *mut NestedTlsConnection,
    data: *const u8,
    data_len: usize,
    taken: *mut usize,
) -> Status {
    // SAFETY: the contract.
    unsafe { write(NestedTlsConnection::inner, connection, data, data_len, taken) }
}

/// As `nested_tls_plain_write`, to the outer layer's peer, which is the host: what must be said before the inner layer. Fails
/// while there is an inner layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_preamble_write(
    connection: *mut NestedTlsConnection,
    data: *const u8,
    data_len: usize,
    taken: *mut usize,
) -> Status {
    // SAFETY: the contract.
    unsafe { write(NestedTlsConnection::preamble, connection, data, data_len, taken) }
}

/// # Safety
/// The contract.
unsafe fn write(
    which: fn(&mut NestedTlsConnection) -> Result<&mut dyn Ports, Report>,
    connection: *mut NestedTlsConnection,
    data: *const u8,
    data_len: usize,
    taken: *mut usize,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let count = unsafe { Place::new("taken", taken, 0) }?;
        // SAFETY: the contract.
        let data = unsafe { slice("data", data, data_len) }?;
        count.set(connection.call(which, |ports| ports.plain_write(data))?);
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// Plaintext of the inner layer to read, at `*bytes`, `*len` of it; NULL and 0 when there is none. `*end` says that none will
/// come because the peer has ended its direction, which only the peer itself can do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_plain_out(
    connection: *mut NestedTlsConnection,
    bytes: *mut *const u8,
    len: *mut usize,
    end: *mut bool,
) -> Status {
    // SAFETY: the contract.
    unsafe { peek(NestedTlsConnection::inner, connection, bytes, len, end) }
}

/// As `nested_tls_plain_out`, of the outer layer: what the host says. Fails while there is an inner layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_preamble_out(
    connection: *mut NestedTlsConnection,
    bytes: *mut *const u8,
    len: *mut usize,
    end: *mut bool,
) -> Status {
    // SAFETY: the contract.
    unsafe { peek(NestedTlsConnection::preamble, connection, bytes, len, end) }
}

/// # Safety
/// The contract.
unsafe fn peek(
    which: fn(&mut NestedTlsConnection) -> Result<&mut dyn Ports, Report>,
    connection: *mut NestedTlsConnection,
    bytes: *mut *const u8,
    len: *mut usize,
    end: *mut bool,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let at = unsafe { Place::new("bytes", bytes, ptr::null()) }?;
        // SAFETY: the contract.
        let size = unsafe { Place::new("len", len, 0) }?;
        // SAFETY: the contract.
        let end = unsafe { Place::new("end", end, false) }?;
        match which(connection)?.plain_out() {
            Plaintext::Bytes(bytes) => {
                at.set(bytes.as_ptr());
                size.set(bytes.len());
            }
            Plaintext::Pending => {}
            Plaintext::End => end.set(true),
        }
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// The first `count` bytes of what `nested_tls_plain_out` last showed were read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_plain_consumed(
    connection: *mut NestedTlsConnection,
    count: usize,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        connection.call(NestedTlsConnection::inner, |ports| ports.plain_consumed(count))
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// The first `count` bytes of what `nested_tls_preamble_out` last showed were read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_preamble_consumed(
    connection: *mut NestedTlsConnection,
    count: usize,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        connection.call(NestedTlsConnection::preamble, |ports| ports.plain_consumed(count))
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// No more plaintext will be written: the innermost layer's close_notify is queued behind what was taken. Reading goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_close_write(connection: *mut NestedTlsConnection) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        connection.ports()?.close_write();
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// Close every layer: the close_notify of each is queued, the innermost first. Never waits for the peer; what it still sends
/// can be read. Before the handshakes are complete this ends the connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_close(connection: *mut NestedTlsConnection) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        connection.ports()?.close();
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// The next event, at `*event`; `NESTED_TLS_EVENT_NONE` when there is none for now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_poll_event(
    connection: *mut NestedTlsConnection,
    event: *mut Event,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let place = unsafe { Place::new("event", event, Event::None) }?;
        let ports = connection.ports()?;
        let mut polled = std::iter::from_fn(|| ports.poll_event());
        place.set(polled.find_map(Event::of).unwrap_or(Event::None));
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// What the connection can do now, at `*wants`: bits of `enum nested_tls_want`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_wants(
    connection: *mut NestedTlsConnection,
    wants: *mut u32,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let place = unsafe { Place::new("wants", wants, 0) }?;
        let ready = connection.ports()?.readiness();
        let bits = [
            (ready.wire_in, Want::WireIn),
            (ready.wire_out, Want::WireOut),
            (ready.plain_write, Want::PlainWrite),
            (ready.plain_out, Want::PlainOut),
        ];
        place.set(bits.into_iter().filter(|(set, _)| *set).map(|(_, bit)| bit as u32).sum());
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// How far the connection has come, at `*phase`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_phase(
    connection: *mut NestedTlsConnection,
    phase: *mut Phase,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let place = unsafe { Place::new("phase", phase, Phase::Failed) }?;
        place.set(Phase::of(connection.ports()?.phase()));
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// The failure that ended the connection, again and again; OK if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_failure(connection: *mut NestedTlsConnection) -> Status {
    let body = |connection: &mut NestedTlsConnection| match connection.ports()?.failure().cloned() {
        Some(error) => Err(connection.report(&error)),
        None => Ok(()),
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}

/// What is known of `layer`, one of `enum nested_tls_layer_id`, at `*info`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_info(
    connection: *mut NestedTlsConnection,
    layer: u32,
    info: *mut LayerInfo,
) -> Status {
    let body = |connection: &mut NestedTlsConnection| {
        // SAFETY: the contract.
        let place = unsafe { Place::new("info", info, LayerInfo::NOTHING) }?;
        let layer = LayerId::from_c(layer).ok_or_else(|| {
            Report::argument("layer", "1 for outer or 2 for inner", &layer.to_string())
        })?;
        let Some(known) = connection.ports()?.layer(layer) else {
            return Err(Report::misuse("layer", "an inner layer", "none"));
        };
        let (alpn, alpn_len) = lent(known.alpn.as_deref());
        let leaf = known.peer_certificates.as_ref().and_then(|chain| chain.first());
        let (peer_certificate, peer_certificate_len) = lent(leaf.map(AsRef::as_ref));
        place.set(LayerInfo {
            version: known.version.map_or(0, u16::from),
            suite: known.suite.map_or(0, u16::from),
            alpn,
            alpn_len,
            peer_certificate,
            peer_certificate_len,
        });
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(connection, body) }
}
