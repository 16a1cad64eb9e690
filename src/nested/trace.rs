//! What passes through a connection: counted always, told to a tracer where there is one.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use rustls::{AlertDescription, ContentType, HandshakeType};

use super::error::Error;
use super::layer::{Layer, LayerInfo};
use super::limits::RECORD_HEADER;
use super::logging;

/// The random of a ServerHello that is a HelloRetryRequest.
/// <https://www.rfc-editor.org/rfc/rfc8446#section-4.1.3>
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Is told of each record of a connection while it passes: which way, what kind, how long. What
/// stands in it is never shown: neither plaintext, nor a key, nor a ticket.
///
/// Given to a role by [`Role::traced_by`](super::Role::traced_by). It is called from inside the
/// machine's methods and should return soon. Without one nothing is looked at.
///
/// ```
/// use nested_tls::{Layer, Traced, Tracer};
///
/// struct Print;
///
/// impl Tracer for Print {
///     fn trace(&self, layer: Layer, traced: Traced<'_>) {
///         if let Traced::Record { direction, content, len, .. } = traced {
///             println!("{layer}: {direction:?} {content:?}, {len} bytes");
///         }
///     }
/// }
/// ```
pub trait Tracer: Send + Sync {
    /// Something happened in `layer`.
    fn trace(&self, layer: Layer, traced: Traced<'_>);
}

/// Which way something went, seen from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer.
    Received,
    /// To the peer.
    Sent,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Received => "received",
            Self::Sent => "sent",
        })
    }
}

/// What a [`Tracer`] is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Traced<'a> {
    /// A record passed: it was sealed, or it came and was looked at.
    Record {
        /// Which way it went.
        direction: Direction,
        /// What it holds. `None` where that is hidden: TLS 1.3 encrypts it together with the rest,
        /// and records of the handshake are opened by rustls; or where the record can't be opened.
        content: Option<ContentType>,
        /// Whether it is encrypted.
        protected: bool,
        /// Its length on the layer's wire in bytes, header included.
        len: usize,
    },
    /// A handshake message begins in the record told last.
    Message {
        /// Which way it went.
        direction: Direction,
        /// Its type.
        typ: HandshakeType,
        /// Its length in bytes, header included.
        len: usize,
    },
    /// The record told last holds an alert.
    Alert {
        /// Which way it went.
        direction: Direction,
        /// What it says.
        description: AlertDescription,
    },
    /// The layer's handshake is complete, and its peer authenticated as its configuration asks.
    Established(&'a LayerInfo),
    /// The machine failed in this layer, for good.
    Failed(&'a Error),
}

/// What is known of a layer, and who is told of what passes there.
pub(super) struct Ledger {
    pub(super) info: LayerInfo,
    layer: Layer,
    watch: Option<Box<Watch>>,
}

/// What it takes to tell.
struct Watch {
    layer: Layer,
    tracer: Option<Arc<dyn Tracer>>,
    received: Way,
    sent: Way,
    /// There was a HelloRetryRequest: a ChangeCipherSpec does not change the cipher.
    retried: bool,
}

/// One direction.
#[derive(Default)]
struct Way {
    /// ChangeCipherSpec has passed.
    protected: bool,
    messages: Messages,
}

impl Ledger {
    pub(super) fn new(layer: Layer, tracer: Option<Arc<dyn Tracer>>) -> Self {
        let (received, sent, retried) = (Way::default(), Way::default(), false);
        let watch = (tracer.is_some() || logging::is_on(layer))
            .then(|| Box::new(Watch { layer, tracer, received, sent, retried }));
        Self { info: LayerInfo::default(), layer, watch }
    }

    /// A whole record of the handshake, as it stands on the wire.
    pub(super) fn handshake(&mut self, direction: Direction, record: &[u8]) {
        match direction {
            Direction::Received => self.info.count_in(record.len()),
            Direction::Sent => self.info.count_out(record.len()),
        }
        if let Some(watch) = &mut self.watch {
            watch.handshake(direction, record);
        }
    }

    /// A record after the handshake has come.
    pub(super) fn came(&mut self, len: usize) {
        self.info.count_in(len);
    }

    /// It was opened, and holds `payload`.
    pub(super) fn opened(&mut self, content: ContentType, payload: &[u8], len: usize) {
        if let Some(watch) = &mut self.watch {
            watch.protected(Direction::Received, Some(content), len);
            watch.look_into(Direction::Received, content, payload);
        }
    }

    /// It can't be opened.
    pub(super) fn unopened(&mut self, len: usize) {
        if let Some(watch) = &mut self.watch {
            watch.protected(Direction::Received, None, len);
        }
    }

    /// A record after the handshake was sealed.
    pub(super) fn sealed(&mut self, content: ContentType, len: usize) {
        self.info.count_out(len);
        if let Some(watch) = &mut self.watch {
            watch.protected(Direction::Sent, Some(content), len);
        }
    }

    /// The record sealed last is no application data, and holds `payload`.
    pub(super) fn sealed_control(&mut self, content: ContentType, payload: &[u8]) {
        if let Some(watch) = &mut self.watch {
            watch.look_into(Direction::Sent, content, payload);
        }
    }

    pub(super) fn established(&self) {
        self.change(Traced::Established(&self.info));
    }

    pub(super) fn failed(&self, error: &Error) {
        self.change(Traced::Failed(error));
    }

    fn change(&self, traced: Traced<'_>) {
        let tracer = self.watch.as_ref().and_then(|watch| watch.tracer.as_ref());
        tell(tracer, self.layer, traced);
    }
}

impl Watch {
    fn handshake(&mut self, direction: Direction, record: &[u8]) {
        let Some((&[typ, ..], payload)) = record.split_first_chunk::<RECORD_HEADER>() else {
            return;
        };
        let content = ContentType::from(typ);
        let changed = self.way(direction).protected;
        let protected = match content {
            ContentType::ApplicationData => true,
            ContentType::ChangeCipherSpec => false,
            _ => changed,
        };
        let known = (content != ContentType::ApplicationData).then_some(content);
        let len = record.len();
        self.tell(Traced::Record { direction, content: known, protected, len });
        if content == ContentType::ChangeCipherSpec {
            self.way(direction).protected = !self.retried;
        } else if !protected {
            self.look_into(direction, content, payload);
        }
    }

    fn protected(&self, direction: Direction, content: Option<ContentType>, len: usize) {
        self.tell(Traced::Record { direction, content, protected: true, len });
    }

    fn tell(&self, traced: Traced<'_>) {
        tell(self.tracer.as_ref(), self.layer, traced);
    }

    /// Tell what the payload of a record says about itself.
    fn look_into(&mut self, direction: Direction, content: ContentType, payload: &[u8]) {
        let Self { layer, tracer, received, sent, retried } = self;
        let tell = |traced: Traced<'_>| tell(tracer.as_ref(), *layer, traced);
        let way = match direction {
            Direction::Received => received,
            Direction::Sent => sent,
        };
        match (content, payload) {
            (ContentType::Alert, &[_, description]) => {
                let description = AlertDescription::from(description);
                tell(Traced::Alert { direction, description });
            }
            (ContentType::Handshake, payload) => way.messages.read(payload, |typ, len, body| {
                // The version stands before the random.
                let random = body.get(2..2 + RETRY.len());
                *retried |= typ == HandshakeType::ServerHello && random == Some(&RETRY);
                tell(Traced::Message { direction, typ, len });
            }),
            _ => {}
        }
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        }
    }
}

fn tell(tracer: Option<&Arc<dyn Tracer>>, layer: Layer, traced: Traced<'_>) {
    logging::write(layer, &traced);
    if let Some(tracer) = tracer {
        tracer.trace(layer, traced);
    }
}

/// Where handshake messages begin, whatever records they are cut into.
#[derive(Default)]
struct Messages {
    head: [u8; 4],
    /// Bytes of the next message's head that are there.
    have: usize,
    /// Bytes of the last message that are still to come.
    rest: usize,
}

impl Messages {
    /// The next payload; calls `begin` with the type and the length of each message whose head ends
    /// there, and with the bytes behind that head.
    fn read(&mut self, mut payload: &[u8], mut begin: impl FnMut(HandshakeType, usize, &[u8])) {
        loop {
            let skipped = self.rest.min(payload.len());
            self.rest -= skipped;
            payload = payload.get(skipped..).unwrap_or_default();
            for place in self.head.iter_mut().skip(self.have) {
                let Some((&first, behind)) = payload.split_first() else { return };
                *place = first;
                self.have += 1;
                payload = behind;
            }
            let [typ, a, b, c] = self.head;
            self.have = 0;
            self.rest = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            begin(HandshakeType::from(typ), self.head.len() + self.rest, payload);
        }
    }
}
