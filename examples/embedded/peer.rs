//! A transport in memory, with a peer of both layers at its far end.

use embedded_io::{ErrorKind, ErrorType, Read, Write};
use nested_tls::{Nested, Plaintext, Ports};

/// Waits for the end of the question, and answers.
pub(crate) struct Peer<'a> {
    machine: Nested,
    /// How many bytes it was asked.
    pub(crate) asked: usize,
    answer: &'a [u8],
}

impl<'a> Peer<'a> {
    pub(crate) fn new(machine: Nested, answer: &'a [u8]) -> Self {
        Self { machine, asked: 0, answer }
    }

    fn speak(&mut self) -> Result<(), nested_tls::Error> {
        while let Plaintext::Bytes(bytes) = self.machine.plain_out() {
            let n = bytes.len();
            self.asked += n;
            self.machine.plain_consumed(n)?;
        }
        if self.machine.plain_out() == Plaintext::End {
            if !self.answer.is_empty() {
                let n = self.machine.plain_write(self.answer)?;
                self.answer = self.answer.get(n..).unwrap_or_default();
            }
            if self.answer.is_empty() {
                self.machine.close();
            }
        }
        Ok(())
    }
}

impl ErrorType for Peer<'_> {
    type Error = ErrorKind;
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.machine.wire_in_from(&mut rest).map_err(|_| ErrorKind::ConnectionReset)?;
            self.speak().map_err(|_| ErrorKind::ConnectionReset)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Read for Peer<'_> {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, ErrorKind> {
        self.speak().map_err(|_| ErrorKind::ConnectionReset)?;
        let bytes = self.machine.wire_out().unwrap_or_default();
        let n = bytes.len().min(space.len());
        for (to, from) in space.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.machine.wire_sent(n).map_err(|_| ErrorKind::ConnectionReset)?;
        Ok(n)
    }
}
