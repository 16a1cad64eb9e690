//! CPU time, which another process on the machine disturbs less than the time of day.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).try_into().unwrap()
}

/// The CPU time, user and system, that `work` takes on this thread.
pub fn thread(work: impl FnOnce()) -> Duration {
    let start = read(ClockId::ThreadCPUTime);
    work();
    read(ClockId::ThreadCPUTime) - start
}

/// The CPU time, user and system, that the whole process takes while `work` runs.
pub fn process(work: impl FnOnce()) -> Duration {
    let start = read(ClockId::ProcessCPUTime);
    work();
    read(ClockId::ProcessCPUTime) - start
}

/// As [`thread`], for a future whose tasks all run on this thread.
pub async fn asynchronous(work: impl Future<Output = ()>) -> Duration {
    let start = read(ClockId::ThreadCPUTime);
    work.await;
    read(ClockId::ThreadCPUTime) - start
}
