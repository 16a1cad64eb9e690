//! What is said between the two ends: a message, its echo, two closes.

use alloc::vec;

use nested_tls::{Plaintext, Ports};

use crate::end::End;
use crate::{Failure, Figures, Size};

pub(crate) fn run(mut client: End, mut server: End, size: &Size) -> Result<Figures, Failure> {
    let (mut up, mut down) = (0, 0);
    let mut exchange = |client: &mut End, server: &mut End| {
        let moved = (carry(client, server)?, carry(server, client)?);
        up += moved.0;
        down += moved.1;
        Ok::<_, Failure>(moved != (0, 0))
    };

    while exchange(&mut client, &mut server)? {}
    client.established()?;
    server.established()?;

    let mut piece = vec![0; size.piece];
    let (mut sent, mut echoed) = (0, 0);
    while echoed < size.message {
        let n = send(&mut client, &mut piece, sent, size.message)?;
        let on_wire = exchange(&mut client, &mut server)?;
        let answered = echo(&mut server, &mut piece)?;
        let m = check(&mut client, echoed)?;
        sent += n;
        echoed += m;
        if !on_wire && n + answered + m == 0 {
            return Err(Failure::Wrong("the echo stands still"));
        }
    }

    client.with(|nested| nested.close());
    server.with(|nested| nested.close());
    while exchange(&mut client, &mut server)? {}
    client.closed()?;
    server.closed()?;
    Ok(Figures { up, down, client: client.share(), server: server.share() })
}

/// Moves once what fits from one wire port to the other.
fn carry(from: &mut End, to: &mut End) -> Result<usize, Failure> {
    // What a network driver may have.
    let mut packet = [0; 1024];
    let space = to.with(|nested| nested.wire_in().map_or(0, |space| space.len()));
    let n = from.with(|nested| {
        let Some(bytes) = nested.wire_out() else { return Ok(0) };
        let n = bytes.len().min(space).min(packet.len());
        packet[..n].copy_from_slice(&bytes[..n]);
        nested.wire_sent(n).map(|()| n)
    })?;
    if n > 0 {
        to.with(|nested| {
            if let Some(space) = nested.wire_in() {
                space[..n].copy_from_slice(&packet[..n]);
            }
            nested.wire_received(n)
        })?;
    }
    Ok(n)
}

/// The message is its positions.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

fn send(client: &mut End, piece: &mut [u8], sent: usize, len: usize) -> Result<usize, Failure> {
    let n = piece.len().min(len - sent);
    for (i, b) in piece[..n].iter_mut().enumerate() {
        *b = byte(sent + i);
    }
    Ok(client.with(|nested| nested.plain_write(&piece[..n]))?)
}

fn echo(server: &mut End, piece: &mut [u8]) -> Result<usize, Failure> {
    server.with(|nested| {
        let Plaintext::Bytes(bytes) = nested.plain_out() else { return Ok(0) };
        let n = bytes.len().min(piece.len());
        piece[..n].copy_from_slice(&bytes[..n]);
        let n = nested.plain_write(&piece[..n])?;
        nested.plain_consumed(n)?;
        Ok(n)
    })
}

fn check(client: &mut End, at: usize) -> Result<usize, Failure> {
    client.with(|nested| {
        let Plaintext::Bytes(bytes) = nested.plain_out() else { return Ok(0) };
        if bytes.iter().enumerate().any(|(i, &b)| b != byte(at + i)) {
            return Err(Failure::Wrong("the echo is not what was sent"));
        }
        let n = bytes.len();
        nested.plain_consumed(n)?;
        Ok(n)
    })
}
