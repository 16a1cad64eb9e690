//! What happens to bytes and to records between the two sides.

use nested_tls::Layer;

use super::hello::rewrite;
use crate::support::records::ranges;
use crate::support::setup::Side;
use crate::support::tally::Place;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// From this byte on nothing arrives.
    Cut(End),
    /// This bit of the byte is another one.
    Flip(u8),
    /// The byte arrives twice.
    Again,
    /// The byte and all behind it arrive when nothing else moves any more; by a host, behind a
    /// change of the outer keys.
    Late,
    /// The record never arrives.
    Drop,
    /// The record arrives twice.
    Double,
    /// The record arrives behind the one that follows it.
    Swap,
    /// An earlier record of the same direction arrives behind it.
    Replay,
    /// What its receiver sent last arrives in its place.
    Reflect,
    /// The one of another connection arrives in its place.
    Splice,
    /// The other connection's record arrives behind it.
    Graft,
    /// These bytes arrive before it.
    Insert(&'static [u8]),
    /// The hello arrives with this change.
    Rewrite(usize),
}

/// How a layer ends below the one that is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// The transport ends in this direction.
    Fin,
    /// The outer layer is closed properly; only a host can do that.
    CloseNotify,
    /// The transport ends in both directions, and what is under way is lost.
    Reset,
    /// It does not end.
    Silence,
}

impl Fault {
    /// Its row in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut(End::Fin) => "cut at a byte, FIN",
            Self::Cut(End::CloseNotify) => "cut at a byte, outer close_notify",
            Self::Cut(End::Reset) => "cut at a byte, reset",
            Self::Cut(End::Silence) => "cut at a byte, silence",
            Self::Flip(_) => "a bit flipped",
            Self::Again => "a byte doubled",
            Self::Late => "held at a byte, then sent",
            Self::Drop => "a record dropped",
            Self::Double => "a record doubled",
            Self::Swap => "two records swapped",
            Self::Replay => "a record replayed",
            Self::Reflect => "a record reflected",
            Self::Splice => "another connection's record instead",
            Self::Graft => "another connection's record behind",
            Self::Insert(_) => "a record inserted",
            Self::Rewrite(_) => "a hello rewritten",
        }
    }

    fn is_of_bytes(self) -> bool {
        matches!(self, Self::Cut(_) | Self::Flip(_) | Self::Again | Self::Late)
    }
}

/// One fault at one place.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    pub place: Place,
    pub from: Side,
    /// Which byte or which record that side sends.
    pub at: usize,
    pub fault: Fault,
}

impl Strike {
    /// The layer whose bytes are struck.
    pub fn layer(&self) -> Layer {
        if self.place == Place::Wire { Layer::Outer } else { Layer::Inner }
    }
}

/// The records of each side.
pub type Records = [Vec<Vec<u8>>; 2];

/// The bytes of both sides on their way, and what strikes them.
pub struct Road<'a> {
    strike: Option<Strike>,
    /// Another connection's records.
    other: &'a Records,
    /// What each side sent, before the fault.
    pub sent: [Vec<u8>; 2],
    /// What each side sent, by record.
    pub records: Records,
    /// The beginning of the next record.
    begun: [Vec<u8>; 2],
    swapped: Option<Vec<u8>>,
    late: Option<Vec<u8>>,
    /// The fault has changed something.
    pub struck: bool,
}

impl<'a> Road<'a> {
    pub fn new(strike: Option<Strike>, other: &'a Records) -> Self {
        let late = matches!(strike, Some(Strike { fault: Fault::Late, .. })).then(Vec::new);
        Self {
            strike,
            other,
            sent: Default::default(),
            records: Default::default(),
            begun: Default::default(),
            swapped: None,
            late,
            struck: false,
        }
    }

    /// How `from`'s bytes have ended, if they have.
    pub fn end(&self, from: Side) -> Option<End> {
        match self.strike? {
            Strike { from: f, fault: Fault::Cut(end), .. } if self.struck => {
                (f == from || end == End::Reset).then_some(end)
            }
            _ => None,
        }
    }

    /// Whether what `from` says behind a byte is not passed on, its end least of all.
    pub fn holds(&self, from: Side) -> bool {
        self.strike.is_some_and(|strike| {
            strike.from == from
                && match strike.fault {
                    Fault::Cut(_) => true,
                    Fault::Late => self.late.is_some(),
                    _ => false,
                }
        })
    }

    /// What was held back, to be delivered now; nothing is held back any more.
    pub fn release(&mut self) -> Option<(Side, Vec<u8>)> {
        let late = self.late.take_if(|late| !late.is_empty())?;
        Some((self.strike?.from, late))
    }

    pub fn pass(&mut self, from: Side, bytes: Vec<u8>) -> Vec<u8> {
        let before = self.sent[from as usize].len();
        self.sent[from as usize].extend_from_slice(&bytes);
        match self.strike {
            Some(strike) if strike.fault.is_of_bytes() => self.bytes(strike, from, before, bytes),
            _ => self.by_record(from, &bytes),
        }
    }

    fn bytes(&mut self, strike: Strike, from: Side, before: usize, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.end(from).is_some() {
            return Vec::new();
        }
        if from != strike.from || strike.at >= before + bytes.len() {
            return bytes;
        }
        let at = strike.at.checked_sub(before);
        self.struck |= at.is_some();
        match (strike.fault, at) {
            (Fault::Cut(_), at) => bytes.truncate(at.unwrap_or(0)),
            (Fault::Flip(bit), Some(at)) => bytes[at] ^= 1 << bit,
            (Fault::Again, Some(at)) => bytes.insert(at, bytes[at]),
            (Fault::Late, at) => {
                if let Some(late) = &mut self.late {
                    late.extend(bytes.drain(at.unwrap_or(0)..));
                }
            }
            _ => {}
        }
        bytes
    }

    fn by_record(&mut self, from: Side, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut begun = std::mem::take(&mut self.begun[from as usize]);
        begun.extend_from_slice(bytes);
        for range in ranges(&begun) {
            self.record(from, begun[range].to_vec(), &mut out);
        }
        let whole = ranges(&begun).last().map_or(0, |range| range.end);
        self.begun[from as usize] = begun.split_off(whole);
        out
    }

    fn record(&mut self, from: Side, record: Vec<u8>, out: &mut Vec<u8>) {
        let index = self.records[from as usize].len();
        self.records[from as usize].push(record.clone());
        let strike = match self.strike {
            Some(strike) if strike.from == from && strike.at == index => strike,
            _ => {
                out.extend(record);
                if let Some(swapped) = self.swapped.take_if(|_| self.strike.unwrap().from == from) {
                    out.extend(swapped);
                    self.struck = true;
                }
                return;
            }
        };
        let other = self.other[from as usize].get(index).filter(|other| **other != record);
        let rewritten = match strike.fault {
            Fault::Rewrite(n) => rewrite(&record, n),
            _ => None,
        };
        let reflected = self.records[from.other() as usize].last().filter(|own| **own != record);
        let came = match (strike.fault, other, reflected) {
            (Fault::Swap, ..) => {
                self.swapped = Some(record);
                return;
            }
            (Fault::Drop, ..) => vec![],
            (Fault::Double, ..) => vec![&record[..], &record],
            (Fault::Replay, ..) => {
                vec![&record[..], &self.records[from as usize][index / 2]]
            }
            (Fault::Insert(bytes), ..) => vec![bytes, &record],
            (Fault::Reflect, _, Some(own)) => vec![&own[..]],
            (Fault::Splice, Some(other), _) => vec![&other[..]],
            (Fault::Graft, Some(other), _) => vec![&record[..], other],
            (Fault::Rewrite(_), ..) if rewritten.is_some() => {
                rewritten.iter().map(|r| &r[..]).collect()
            }
            // Nothing to do it with.
            _ => {
                out.extend(record);
                return;
            }
        };
        self.struck = true;
        out.extend(came.concat());
    }
}
