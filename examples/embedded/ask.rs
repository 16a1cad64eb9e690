//! A question and its answer over whatever has the traits of embedded-io: a modem, a radio, a UART.
//!
//! Nothing here needs std. `no_std-check/` compiles and runs this very file without it.

use core::fmt;

use embedded_io::{Read, Write};
use nested_tls::{Nested, Plaintext, Ports};

/// What the driver takes or gives at once.
const CHUNK: usize = 256;

/// Why there is no answer, or only a part of it.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    Tls(nested_tls::Error),
    Transport(E),
}

impl<E> From<nested_tls::Error> for Failure<E> {
    fn from(error: nested_tls::Error) -> Self {
        Self::Tls(error)
    }
}

impl<E: fmt::Debug> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Transport(error) => write!(f, "the transport failed: {error:?}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Failure<E> {}

/// Shake hands, ask, hand each piece of the answer to `answer`, and close.
///
/// It is whole when this ends well: anything but the inner peer's own end of it is a failure.
/// The question is written before the answer is read, so a peer that answers while it is asked
/// needs room for its answer.
pub(crate) fn ask<T: Read + Write>(
    machine: &mut Nested,
    transport: &mut T,
    question: &[u8],
    answer: impl FnMut(&[u8]),
) -> Result<(), Failure<T::Error>> {
    let asked = converse(machine, transport, question, answer);
    // After a failure of TLS, its alert tells the peer why.
    machine.close();
    let told = send(machine, transport);
    asked.and(told)
}

fn converse<T: Read + Write>(
    machine: &mut Nested,
    transport: &mut T,
    question: &[u8],
    mut answer: impl FnMut(&[u8]),
) -> Result<(), Failure<T::Error>> {
    let mut rest = Some(question);
    while machine.plain_out() != Plaintext::End {
        // What the machine takes is its own. It takes nothing before the inner peer is known.
        if let Some(question) = rest.take() {
            match question.get(machine.plain_write(question)?..) {
                None | Some([]) => machine.close_write(),
                left => rest = left,
            }
        }
        send(machine, transport)?;
        if rest.is_some() && machine.readiness().plain_write {
            continue;
        }
        receive(machine, transport, &mut answer)?;
    }
    Ok(())
}

fn send<T: Write>(machine: &mut Nested, transport: &mut T) -> Result<(), Failure<T::Error>> {
    while let Some(bytes) = machine.wire_out() {
        let chunk = bytes.get(..CHUNK).unwrap_or(bytes);
        let n = transport.write(chunk).map_err(Failure::Transport)?;
        machine.wire_sent(n)?;
    }
    transport.flush().map_err(Failure::Transport)
}

/// Waits for one chunk, and takes all that is in it.
fn receive<T: Read>(
    machine: &mut Nested,
    transport: &mut T,
    answer: &mut impl FnMut(&[u8]),
) -> Result<(), Failure<T::Error>> {
    let mut chunk = [0; CHUNK];
    let n = transport.read(&mut chunk).map_err(Failure::Transport)?;
    if n == 0 {
        machine.wire_eof()?;
    }
    let mut received = chunk.get(..n).unwrap_or_default();
    // A machine whose buffers are full takes the rest when its plaintext was taken; after the end it
    // takes nothing.
    while !received.is_empty() && machine.wire_in_from(&mut received)? > 0 {
        while let Plaintext::Bytes(bytes) = machine.plain_out() {
            answer(bytes);
            let n = bytes.len();
            machine.plain_consumed(n)?;
        }
    }
    Ok(())
}
