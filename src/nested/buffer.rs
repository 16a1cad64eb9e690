//! One receive buffer for both layers, and the queues of what waits to be sent.
//!
//! ```text
//! [ plain | inner | carried | outer | space ]
//!   what    inner   outer     outer   what wire_in
//!   the     cipher- plain-    cipher- offers
//!   user    text    text not  text
//!   reads           unwrapped
//! ```
//!
//! A record is opened where it lies. Its payload joins the region to its left: by renaming when that
//! region is empty, else by moving it down. Nothing is copied to another buffer.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::limits::MAX_RECORD;

/// The smallest space offered.
const SMALL: usize = 4096;

/// The largest buffer that a drained machine keeps whatever it reads: a record's and its reads'.
const KEPT: usize = MAX_RECORD + 2 * SMALL;

/// Copies go in pieces of this size. From 4 KiB up, the C library's copy takes an instruction that
/// is many times slower when the distance is a small number modulo 4096, which is what the headers
/// and tags of records make it.
pub(super) const PIECE: usize = 2048;

/// A stretch of the receive buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Region {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Region {
    pub(super) fn new(start: usize, len: usize) -> Self {
        Self { start, end: start + len }
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn of_mut<'a>(&self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Drop up to `n` bytes at the front.
    pub(super) fn consume(&mut self, n: usize) {
        self.start = self.end.min(self.start + n);
    }

    pub(super) fn clear(&mut self) {
        self.start = self.end;
    }

    /// Make `from`, which lies to the right, the end of this region.
    pub(super) fn append(&mut self, bytes: &mut [u8], from: Self) {
        if self.is_empty() {
            *self = from;
            return;
        }
        move_down(bytes, from, self.end);
        self.end += from.len();
    }
}

/// Move `from` down to `to`.
fn move_down(bytes: &mut [u8], from: Region, to: usize) {
    if to == from.start {
        return;
    }
    let mut at = from.start;
    while at < from.end {
        let piece = at..from.end.min(at + PIECE);
        let len = piece.len();
        bytes.copy_within(piece, to + (at - from.start));
        at += len;
    }
}

/// The receive buffer of a machine.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    bytes: BytesMut,
    pub(super) plain: Region,
    pub(super) inner: Region,
    pub(super) carried: Region,
    pub(super) outer: Region,
    /// How much to offer next: grows while reads fill it, shrinks when they don't.
    next_read: usize,
    offered: usize,
}

/// The buffer's bytes beside its regions, so that both can be changed at once.
pub(super) struct Parts<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) plain: &'a mut Region,
    pub(super) inner: &'a mut Region,
    pub(super) carried: &'a mut Region,
    pub(super) outer: &'a mut Region,
}

impl Inbound {
    pub(super) fn parts(&mut self) -> Parts<'_> {
        let Self { bytes, plain, inner, carried, outer, .. } = self;
        Parts { bytes, plain, inner, carried, outer }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes held in any region.
    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.inner.len() + self.carried.len() + self.outer.len()
    }

    /// The memory taken.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Space to receive into, at most `most` bytes.
    pub(super) fn space(&mut self, most: usize) -> &mut [u8] {
        let want = self.next_read.max(SMALL).min(most);
        let live = self.len();
        if live == 0 {
            self.forget_positions();
        }
        let tail = self.bytes.len() - self.outer.end;
        // A move is worth its bytes only when it wins at least as much space.
        if tail < want.min(SMALL) || (tail < want && live == 0) {
            self.compact();
            if self.bytes.len() < live + want {
                if live == 0 {
                    // A new buffer comes zeroed; growing the old one would copy it first.
                    self.bytes = BytesMut::zeroed(want);
                } else {
                    self.bytes.resize(live + want, 0);
                }
            }
        }
        let start = self.outer.end;
        let end = self.bytes.len().min(start + want);
        self.offered = end - start;
        self.bytes.get_mut(start..end).unwrap_or_default()
    }

    /// The space that `space` last offered.
    pub(super) fn offered(&self) -> usize {
        self.offered
    }

    /// `n` bytes of the offered space hold what was received.
    pub(super) fn received(&mut self, n: usize, most: usize) {
        self.outer.end += n;
        if n != 0 && n == self.offered {
            self.next_read = (self.next_read.max(SMALL) * 2).min(most);
        } else if n < self.next_read / 4 {
            self.next_read /= 2;
        }
        self.offered = 0;
    }

    /// Give memory back if nothing is held: all of it when nothing is coming (`idle`), else when
    /// reads have become much smaller. Offered space stays until it is reported.
    pub(super) fn release(&mut self, idle: bool) {
        let wanted = idle || self.bytes.len() > KEPT.max(4 * self.next_read);
        if wanted && self.offered == 0 && self.len() == 0 {
            self.forget_positions();
            self.bytes = BytesMut::new();
        }
    }

    /// The plaintext as an owned buffer, without a copy.
    pub(super) fn take(&mut self, which: fn(&mut Self) -> &mut Region) -> BytesMut {
        let region = core::mem::take(which(self));
        let mut taken = self.bytes.split_to(region.end);
        let _ = taken.split_to(region.start);
        // Regions to the left of the one taken are empty; those to the right moved with the bytes.
        for other in [&mut self.plain, &mut self.inner, &mut self.carried, &mut self.outer] {
            *other = Region::new(other.start.saturating_sub(region.end), other.len());
        }
        taken
    }

    fn compact(&mut self) {
        let Self { bytes, plain, inner, carried, outer, .. } = self;
        let mut to = 0;
        for region in [plain, inner, carried, outer] {
            move_down(bytes, *region, to);
            *region = Region::new(to, region.len());
            to = region.end;
        }
    }

    fn forget_positions(&mut self) {
        for region in [&mut self.plain, &mut self.inner, &mut self.carried, &mut self.outer] {
            *region = Region::default();
        }
    }
}

/// Chunks that wait to be sent, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are sent already.
    sent: usize,
    len: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, chunk: Vec<u8>) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    pub(super) fn front(&self) -> Option<&[u8]> {
        self.chunks.front()?.get(self.sent..)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let skip = |i| if i == 0 { self.sent } else { 0 };
        self.chunks.iter().enumerate().map(move |(i, c)| c.get(skip(i)..).unwrap_or_default())
    }

    /// Drop up to `n` bytes at the front.
    pub(super) fn consume(&mut self, mut n: usize) {
        while let Some(chunk) = self.chunks.front() {
            let left = chunk.len() - self.sent;
            if n < left {
                self.sent += n;
                self.len -= n;
                return;
            }
            n -= left;
            self.pop_front();
        }
    }

    /// The first chunk as an owned buffer, without a copy.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let (chunk, sent) = self.pop_front()?;
        let mut bytes = Bytes::from(chunk);
        let _ = bytes.split_to(sent);
        Some(bytes)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The first chunk, if nothing of it was sent.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        self.pop_front().map(|(chunk, _)| chunk)
    }

    /// The first chunk, and how much of it was sent.
    fn pop_front(&mut self) -> Option<(Vec<u8>, usize)> {
        let chunk = self.chunks.pop_front()?;
        let sent = core::mem::take(&mut self.sent);
        self.len -= chunk.len() - sent;
        if self.chunks.is_empty() && self.chunks.capacity() > 16 {
            self.chunks = VecDeque::new();
        }
        Some((chunk, sent))
    }
}
