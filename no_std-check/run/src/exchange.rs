//! What is said between the two ends: a message, its echo, two closes.

use heap::Owner;
use nested_tls::{Event, Layer, Nested, Phase, Plaintext, Ports};

use crate::{Failure, Size};

/// Bytes up, bytes down, and what the idle client holds on the heap.
pub(crate) fn run(
    client: &mut Nested,
    server: &mut Nested,
    size: &Size,
) -> Result<(usize, usize, usize), Failure> {
    let mut wire = Wire::default();
    while wire.step(client, server)? {}
    established(client)?;
    established(server)?;
    // A read that brings nothing lets the client give its buffer back.
    heap::owned_by(Owner::Client, || {
        let _ = client.wire_in();
        client.wire_received(0)
    })?;
    let idle = heap::count(Owner::Client).live;

    let (mut sent, mut echoed) = (0, 0);
    while echoed < size.message {
        let mut moved = wire.step(client, server)?;
        moved |= heap::owned_by(Owner::Client, || {
            let before = sent + echoed;
            sent += send(client, sent, size.message)?;
            echoed += check(client, echoed)?;
            Ok::<_, Failure>(sent + echoed > before)
        })?;
        moved |= echo(server)?;
        if !moved {
            return Err(Failure::Wrong("the echo stands still"));
        }
    }

    heap::owned_by(Owner::Client, || client.close());
    server.close();
    while wire.step(client, server)? {}
    closed(client)?;
    closed(server)?;
    Ok((wire.up, wire.down, idle))
}

/// The transport.
#[derive(Default)]
struct Wire {
    up: usize,
    down: usize,
}

impl Wire {
    /// Moves once what fits, each way; whether anything did.
    fn step(&mut self, client: &mut Nested, server: &mut Nested) -> Result<bool, Failure> {
        let mut piece = [0; 1024];

        let n = heap::owned_by(Owner::Client, || take(client, &mut piece, server))?;
        give(server, &piece[..n])?;
        self.up += n;

        let m = take(server, &mut piece, client)?;
        heap::owned_by(Owner::Client, || give(client, &piece[..m]))?;
        self.down += m;
        Ok(n + m > 0)
    }
}

/// Takes from `from` what `to` has space for.
fn take(from: &mut Nested, piece: &mut [u8], to: &Nested) -> Result<usize, Failure> {
    if !to.readiness().wire_in {
        return Ok(0);
    }
    let Some(bytes) = from.wire_out() else { return Ok(0) };
    let n = bytes.len().min(piece.len());
    piece[..n].copy_from_slice(&bytes[..n]);
    from.wire_sent(n)?;
    Ok(n)
}

fn give(to: &mut Nested, mut piece: &[u8]) -> Result<(), Failure> {
    while !piece.is_empty() {
        let n = match to.wire_in() {
            Some(space) => {
                let n = space.len().min(piece.len());
                space[..n].copy_from_slice(&piece[..n]);
                n
            }
            None => return Err(Failure::Wrong("no space for what was taken")),
        };
        to.wire_received(n)?;
        piece = &piece[n..];
    }
    Ok(())
}

/// The message is its positions.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

fn send(client: &mut Nested, sent: usize, len: usize) -> Result<usize, Failure> {
    let mut piece = [0; 256];
    let n = piece.len().min(len - sent);
    for (i, b) in piece[..n].iter_mut().enumerate() {
        *b = byte(sent + i);
    }
    Ok(client.plain_write(&piece[..n])?)
}

fn check(client: &mut Nested, at: usize) -> Result<usize, Failure> {
    let Plaintext::Bytes(bytes) = client.plain_out() else { return Ok(0) };
    if bytes.iter().enumerate().any(|(i, &b)| b != byte(at + i)) {
        return Err(Failure::Wrong("the echo is not what was sent"));
    }
    let n = bytes.len();
    client.plain_consumed(n)?;
    Ok(n)
}

fn echo(server: &mut Nested) -> Result<bool, Failure> {
    let mut piece = [0; 256];
    let Plaintext::Bytes(bytes) = server.plain_out() else { return Ok(false) };
    let n = bytes.len().min(piece.len());
    piece[..n].copy_from_slice(&bytes[..n]);
    let n = server.plain_write(&piece[..n])?;
    server.plain_consumed(n)?;
    Ok(n > 0)
}

fn established(end: &mut Nested) -> Result<(), Failure> {
    let events = [end.poll_event(), end.poll_event(), end.poll_event()];
    let both = [Layer::Outer, Layer::Inner].map(|layer| Some(Event::Established(layer)));
    if events[..2] == both && events[2].is_none() && end.phase() == Phase::Traffic {
        Ok(())
    } else {
        Err(Failure::Wrong("the handshakes are not complete"))
    }
}

fn closed(end: &mut Nested) -> Result<(), Failure> {
    let mut last = None;
    while let Some(event) = end.poll_event() {
        last = Some(event);
    }
    match (end.plain_out(), last) {
        (Plaintext::End, Some(Event::Closed)) => Ok(()),
        _ => Err(Failure::Wrong("the close is not clean")),
    }
}
