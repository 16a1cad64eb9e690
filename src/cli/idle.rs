//! `--idle`: an end for connections on which nothing passes.

use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;

use super::diagnosis::Broken;

/// When something passed last, in either direction.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    begun: Instant,
    /// Microseconds from the begin to the last beat.
    last: Arc<AtomicU64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { begun: Instant::now(), last: Arc::default() }
    }
}

impl Pulse {
    /// Something passes.
    pub(crate) fn beat(&self) {
        let now = self.begun.elapsed().as_micros();
        self.last.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn quiet_for(&self) -> Duration {
        let last = Duration::from_micros(self.last.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(last)
    }

    /// Does `work`, unless nothing passes for as long as `limit`, counted from its begin. It is not moved in here, where it
    /// would take room twice, and so in each connection.
    pub(crate) async fn unless_idle<T>(
        &self,
        limit: Option<Duration>,
        mut work: Pin<&mut impl Future<Output = Result<T, Broken>>>,
    ) -> Result<T, Broken> {
        let Some(limit) = limit else { return work.await };
        self.beat();
        loop {
            let quiet = self.quiet_for();
            if quiet >= limit {
                return Err(Broken::Idle(limit));
            }
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(limit.saturating_sub(quiet)) => {}
            }
        }
    }
}
