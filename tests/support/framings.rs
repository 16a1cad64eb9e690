//! Two framings as deployments have them.

use nested_tls::{Framing, FramingError, Outgoing, Unwrapped};

/// A kind, a length, then so many bytes: inner ciphertext, an out-of-band message, or an end mark.
///
/// Ciphertext is handed on as it comes, before its frame is whole.
#[derive(Debug, Default)]
pub struct Prefixed {
    /// Bytes missing of the frame of inner ciphertext that has begun.
    rest: usize,
}

const INNER: u8 = 0;
const MESSAGE: u8 = 1;
const END: u8 = 2;

impl Prefixed {
    pub const HEADER: usize = 3;

    fn frame(kind: u8, len: usize, out: &mut Outgoing<'_>) {
        let [high, low] = (len as u16).to_be_bytes();
        out.push_slice(&[kind, high, low]);
    }
}

impl Framing for Prefixed {
    fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
        for piece in inner.chunks(usize::from(u16::MAX)) {
            Self::frame(INNER, piece.len(), out);
            out.push_slice(piece);
        }
    }

    fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
        if self.rest > 0 {
            let len = self.rest.min(carried.len());
            self.rest -= len;
            return Ok(match len {
                0 => Unwrapped::Incomplete,
                len => Unwrapped::Inner { skip: 0, len },
            });
        }
        let Some((&[kind, high, low], behind)) = carried.split_first_chunk::<3>() else {
            return Ok(Unwrapped::Incomplete);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let skip = Self::HEADER;
        match kind {
            INNER => {
                let there = len.min(behind.len());
                self.rest = len - there;
                Ok(Unwrapped::Inner { skip, len: there })
            }
            MESSAGE if behind.len() < len => Ok(Unwrapped::Incomplete),
            MESSAGE => Ok(Unwrapped::Message { skip, len }),
            END if len == 0 => Ok(Unwrapped::Finish { skip }),
            END => Err(FramingError::new(format!("an end mark of {len} bytes"))),
            kind => Err(FramingError::new(format!("expected kind 0, 1 or 2, found {kind}"))),
        }
    }

    fn overhead(&self) -> usize {
        Self::HEADER
    }

    fn marks_end(&self) -> bool {
        true
    }

    fn finish(&mut self, out: &mut Outgoing<'_>) {
        Self::frame(END, 0, out);
    }

    fn message(&mut self, message: &[u8], out: &mut Outgoing<'_>) -> Result<(), FramingError> {
        if message.len() > usize::from(u16::MAX) {
            return Err(FramingError::new("a message is at most 65535 bytes long"));
        }
        Self::frame(MESSAGE, message.len(), out);
        out.push_slice(message);
        Ok(())
    }
}

/// The framing of signing bridges: four bytes, whose top bit says inner and whose rest is a length.
/// Zero inner bytes end the inner layer; what is not inner is for the host.
#[derive(Debug, Default)]
pub struct Bridge;

const INNER_BIT: u32 = 1 << 31;

impl Framing for Bridge {
    fn wrap(&mut self, mut inner: Vec<u8>, out: &mut Outgoing<'_>) {
        let header = (inner.len() as u32 | INNER_BIT).to_be_bytes();
        inner.splice(..0, header);
        out.push(inner);
    }

    fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
        let Some((header, behind)) = carried.split_first_chunk::<4>() else {
            return Ok(Unwrapped::Incomplete);
        };
        let header = u32::from_be_bytes(*header);
        let (inner, len) = (header & INNER_BIT != 0, (header & !INNER_BIT) as usize);
        let skip = 4;
        Ok(match (inner, len) {
            (true, 0) => Unwrapped::Finish { skip },
            (_, len) if behind.len() < len => Unwrapped::Incomplete,
            (true, len) => Unwrapped::Inner { skip, len },
            (false, len) => Unwrapped::Message { skip, len },
        })
    }

    fn overhead(&self) -> usize {
        4
    }

    fn marks_end(&self) -> bool {
        true
    }

    fn finish(&mut self, out: &mut Outgoing<'_>) {
        out.push_slice(&INNER_BIT.to_be_bytes());
    }

    fn message(&mut self, message: &[u8], out: &mut Outgoing<'_>) -> Result<(), FramingError> {
        match u32::try_from(message.len()) {
            Ok(len) if len & INNER_BIT == 0 => {
                out.push_slice(&len.to_be_bytes());
                out.push_slice(message);
                Ok(())
            }
            _ => Err(FramingError::new("a message is at most 2^31 - 1 bytes long")),
        }
    }
}
