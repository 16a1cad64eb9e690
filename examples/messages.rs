//! A framing of one's own: inner records travel in messages beside others for the host, which may
//! answer an inner message with an error of its own.
//!
//! ```text
//! ┌──────┬────────┬─────────────────┐
//! │ kind │ length │ so many bytes   │   kind 0: inner TLS; 1: for the host, or from it
//! │ u8   │ u16    │                 │
//! └──────┴────────┴─────────────────┘
//! ```

mod common;

use std::error::Error;

use nested_tls::{
    Framing, FramingError, Limits, Nested, Outgoing, Plaintext, Ports, Session, Unwrapped,
};

const HEADER: usize = 3;
const INNER: u8 = 0;
const HOST: u8 = 1;

#[derive(Debug, Default)]
struct Messages;

impl Messages {
    fn put(kind: u8, payload: &[u8], out: &mut Outgoing<'_>) -> Result<(), FramingError> {
        let len = u16::try_from(payload.len())
            .map_err(|_| FramingError::new("a message has at most 65535 bytes"))?;
        let [high, low] = len.to_be_bytes();
        out.push_slice(&[kind, high, low]);
        out.push_slice(payload);
        Ok(())
    }
}

impl Framing for Messages {
    fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
        for piece in inner.chunks(usize::from(u16::MAX)) {
            // A piece always fits.
            let _ = Self::put(INNER, piece, out);
        }
    }

    fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
        let Some((&[kind, high, low], behind)) = carried.split_first_chunk::<HEADER>() else {
            return Ok(Unwrapped::Incomplete);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        match kind {
            _ if behind.len() < len => Ok(Unwrapped::Incomplete),
            INNER => Ok(Unwrapped::Inner { skip: HEADER, len }),
            HOST => Ok(Unwrapped::Message { skip: HEADER, len }),
            kind => Err(FramingError::new(format!("expected kind 0 or 1, found {kind}"))),
        }
    }

    // A full inner record with its header still fits one outer record.
    fn overhead(&self) -> usize {
        HEADER
    }

    fn message(&mut self, message: &[u8], out: &mut Outgoing<'_>) -> Result<(), FramingError> {
        Self::put(HOST, message, out)
    }
}

fn deliver(from: &mut impl Ports, to: &mut impl Ports) -> Result<(), nested_tls::Error> {
    while let Some(mut bytes) = from.wire_out_bytes() {
        to.wire_in_from(&mut bytes)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::layer("host.example")?;
    let (inner_client, inner_server) = common::layer("hsm.example")?;
    let limits = Limits::default();
    let mut client: Nested<Messages> =
        Session::new(outer_client, limits)?.nest(inner_client, Messages)?;
    let mut server = Session::new(outer_server, limits)?.nest(inner_server, Messages)?;
    for _ in 0..2 {
        deliver(&mut client, &mut server)?;
        deliver(&mut server, &mut client)?;
    }

    // Beside the inner layer, in order with it: the host reads messages, and never the inner data.
    client.send_message(b"version 2.3")?;
    client.plain_write(b"sign this")?;
    deliver(&mut client, &mut server)?;
    assert_eq!(server.poll_message().as_deref(), Some(&b"version 2.3"[..]));
    assert_eq!(server.plain_out(), Plaintext::Bytes(b"sign this"));

    // An answer of the host's own comes where the inner peer's was expected.
    server.send_message(b"error 187")?;
    deliver(&mut server, &mut client)?;
    assert_eq!(client.plain_out(), Plaintext::Pending);
    let message = client.poll_message().expect("the host's answer");
    println!("the host says: {}", String::from_utf8_lossy(&message));
    assert_eq!(&message[..], b"error 187");
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
