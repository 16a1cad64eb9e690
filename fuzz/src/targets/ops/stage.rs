//! One party, as far as it has come.

use nested_tls::{Layer, Nested, Ports, Session};

use crate::support::crypto;
use crate::support::hop::{Eager, Hop};
use crate::support::party::{Machine, Party, Report};

pub(super) enum Stage {
    Outer(Box<Machine<Session>>),
    Nested(Box<Machine<Nested>>),
    /// The host's own client.
    Early(Box<Early>),
    /// Only while it changes.
    Gone,
}

/// The same for either machine.
macro_rules! each {
    ($stage:expr, $machine:ident => $do:expr) => {
        match $stage {
            Stage::Outer($machine) => $do,
            Stage::Nested($machine) => $do,
            Stage::Early(_) => unreachable!("no machine"),
            Stage::Gone => unreachable!("a machine was taken and not put back"),
        }
    };
}
pub(super) use each;

impl Stage {
    pub(super) fn party(&mut self) -> &mut dyn Party {
        match self {
            Self::Early(early) => &mut **early,
            machine => each!(machine, m => &mut **m),
        }
    }

    pub(super) fn report(&self) -> &Report {
        match self {
            Self::Early(early) => early.report(),
            machine => each!(machine, m => m.report()),
        }
    }

    /// What this end was told of early data.
    pub(super) fn early_data(&self) -> bool {
        match self {
            Self::Early(early) => early.offered > 0 && early.eager.is_early_data_accepted(),
            machine => each!(machine, m => m.ports.layer(Layer::Outer).unwrap().early_data),
        }
    }

    /// Close, if it is the time for it; whether it was.
    pub(super) fn pass_end(&mut self) -> bool {
        match self {
            Self::Early(early) => early.with(Hop::pass_end),
            machine => each!(machine, m => {
                let can = m.ports.readiness().plain_write;
                if can {
                    m.close();
                }
                can
            }),
        }
    }

    /// Whether it says nothing as long as something may come that could go early.
    pub(super) fn waits(&self) -> bool {
        matches!(self, Self::Early(early) if early.eager.waits())
    }

    /// Whether it can't hear of a fault any more.
    pub(super) fn is_deaf(&self) -> bool {
        matches!(self, Self::Early(early) if early.eager.is_closing())
    }

    /// Wait no longer; whether it did.
    pub(super) fn hurry(&mut self) -> bool {
        match self {
            Self::Early(early) => early.with(Hop::hurry),
            _ => false,
        }
    }
}

/// The host where it passes on as early data what it can. It says and reads everything at once,
/// however little is asked.
pub(super) struct Early {
    eager: Eager,
    /// In so many pieces it has written early data.
    pub(super) offered: usize,
    randomness: u64,
    report: Report,
}

impl Early {
    /// More pieces would be more than a server skips, for which each counts again with the next.
    const MOST: usize = 10;

    pub(super) fn new(seed: u64, make: impl FnOnce() -> Option<Eager>) -> Option<Self> {
        let before = crypto::swap(seed);
        let eager = make();
        let randomness = crypto::swap(before);
        Some(Self { eager: eager?, offered: 0, randomness, report: Report::default() })
    }

    fn with<R>(&mut self, call: impl FnOnce(&mut Eager) -> R) -> R {
        let before = crypto::swap(self.randomness);
        let result = call(&mut self.eager);
        self.randomness = crypto::swap(before);
        self.report.end = self.eager.is_closed();
        result
    }
}

impl Party for Early {
    fn receive(&mut self, bytes: &[u8]) -> usize {
        self.with(|eager| eager.receive(bytes));
        bytes.len()
    }

    fn eof(&mut self) {}

    fn transmit(&mut self, _: usize) -> Vec<u8> {
        self.with(Hop::transmit).unwrap_or_default()
    }

    fn write(&mut self, data: &[u8]) -> usize {
        let early = self.eager.is_handshaking();
        if early && self.offered == Self::MOST {
            return 0;
        }
        let taken = self.with(|eager| eager.write(data));
        self.offered += usize::from(early && taken > 0);
        taken
    }

    fn read(&mut self, _: usize) -> usize {
        let read = self.with(Hop::read).unwrap_or_default();
        self.report.read.extend_from_slice(&read);
        read.len()
    }

    fn close_write(&mut self) {
        self.close();
    }

    fn close(&mut self) {
        self.with(Hop::close);
    }

    fn update_keys(&mut self, _: Layer, _: bool) {
        self.with(Hop::update_keys);
    }

    fn report(&self) -> &Report {
        &self.report
    }
}
