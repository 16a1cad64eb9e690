//! How many connections, and how many handshakes, may go on at once.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::log::Log;

/// Lets connections in.
#[derive(Debug)]
pub(crate) struct Gate {
    connections: Limit,
    handshakes: Limit,
}

/// A connection's place, held for as long as it has this.
#[derive(Debug)]
pub(crate) struct Place {
    _connection: Option<OwnedSemaphorePermit>,
    /// To be dropped when the handshakes are over.
    pub(crate) handshake: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(crate) fn new(connections: usize, handshakes: usize) -> Self {
        Self {
            connections: Limit::new("connections", connections),
            handshakes: Limit::new("handshakes", handshakes),
        }
    }

    /// The most connections at once.
    pub(crate) fn connections(&self) -> usize {
        self.connections.size
    }

    /// Waits for a place.
    pub(crate) async fn enter(&self, log: Log) -> Place {
        Place {
            _connection: self.connections.take(log).await,
            handshake: self.handshakes.take(log).await,
        }
    }
}

#[derive(Debug)]
struct Limit {
    of: &'static str,
    size: usize,
    free: Arc<Semaphore>,
    /// That it was reached is told, until half of it is free again.
    told: AtomicBool,
}

impl Limit {
    fn new(of: &'static str, size: usize) -> Self {
        let free = Arc::new(Semaphore::new(size.min(Semaphore::MAX_PERMITS)));
        Self { of, size, free, told: AtomicBool::new(false) }
    }

    async fn take(&self, log: Log) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            if self.free.available_permits() >= self.size / 2 {
                self.told.store(false, Ordering::Relaxed);
            }
            return Some(permit);
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            let Self { of, size, .. } = self;
            log.warn(
                "limit",
                &format!("the limit of {of} ({size}) is reached: more wait their turn"),
            );
        }
        // It is never closed.
        self.free.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use super::*;
    use crate::log::LogFormat;

    #[tokio::test]
    async fn who_comes_beyond_a_limit_waits() {
        let log = Log::new(false, LogFormat::Text);
        let gate = Gate::new(2, 1);
        let mut first = gate.enter(log).await;
        let mut second = pin!(gate.enter(log));
        tokio::select! {
            biased;
            _ = &mut second => unreachable!("two handshakes at once"),
            () = tokio::task::yield_now() => {}
        }
        first.handshake = None;
        let mut second = second.await;
        second.handshake = None;
        let mut third = pin!(gate.enter(log));
        tokio::select! {
            biased;
            _ = &mut third => unreachable!("three connections at once"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        third.await;
    }
}
