//! Clients that nobody wants, of every manner at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::parties::{Client, Dribble};

/// How long each waits before it comes again.
const PAUSE: Duration = Duration::from_millis(500);

/// How a client misbehaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// Asks for much, and hardly reads it.
    SlowReader,
    /// Says a byte now and then.
    SlowWriter,
    /// Begins a handshake, or not even that, and says no more.
    HalfOpen,
    /// Hangs up at once, or in the midst of the handshake.
    Vanishes,
    /// Sends all that it sends in pieces of one byte.
    Dribbles,
    /// Is killed in the midst of a transfer.
    Killed,
}

pub(super) const MANNERS: [Manner; 6] = [
    Manner::SlowReader,
    Manner::SlowWriter,
    Manner::HalfOpen,
    Manner::Vanishes,
    Manner::Dribbles,
    Manner::Killed,
];

/// How often each manner was shown, in the order of [`MANNERS`].
pub(super) type Shown = [usize; MANNERS.len()];

/// Misbehaving clients in a thread of their own, until this is dismissed.
pub(super) struct Crowd {
    dismiss: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    counts: Arc<Counts>,
}

/// What the crowd has done so far.
#[derive(Default)]
struct Counts {
    shown: [AtomicUsize; MANNERS.len()],
    /// How often those that hardly read have got rid of something.
    insisted: AtomicUsize,
}

/// So long a slow reader has been held up when it is held up for good.
const HELD_UP: Duration = Duration::from_millis(600);

impl Crowd {
    /// `each` clients of every manner. Gives it back when every manner was shown, and the slow readers have filled
    /// whatever is between: until then each takes as much of the processors as an honest client with much to send.
    pub(super) fn gather(client: &Client, each: usize) -> Self {
        let (dismiss, dismissed) = oneshot::channel::<()>();
        let counts = Arc::new(Counts::default());
        let (client, theirs) = (client.clone(), counts.clone());
        let thread = thread::spawn(move || {
            super::runtime().block_on(async {
                let mut tasks = JoinSet::new();
                for number in 0..each * MANNERS.len() {
                    let (client, counts) = (client.clone(), theirs.clone());
                    tasks.spawn(async move {
                        let place = number % MANNERS.len();
                        // Not all in the same instant.
                        tokio::time::sleep(PAUSE * (number / MANNERS.len()) as u32 / each as u32)
                            .await;
                        loop {
                            // Whatever comes of it, it comes again.
                            let _ = behave(MANNERS[place], &client, &counts).await;
                            tokio::time::sleep(PAUSE).await;
                        }
                    });
                }
                // The end of this drops all of them, in whatever they are doing.
                let _ = dismissed.await;
            });
        });
        let crowd = Self { dismiss, thread, counts };
        super::wait_for("every manner to be shown", || {
            // Those that stay are all there; the others come and go, and some give up.
            let shown = crowd.shown();
            shown[..2].iter().all(|times| *times >= each) && shown.iter().all(|times| *times > 0)
        });
        let (mut insisted, mut since) = (0, Instant::now());
        super::wait_for("the slow readers to be held up", || {
            let now = crowd.counts.insisted.load(Ordering::Relaxed);
            if std::mem::replace(&mut insisted, now) != now {
                since = Instant::now();
            }
            since.elapsed() > HELD_UP
        });
        crowd
    }

    fn shown(&self) -> Shown {
        core::array::from_fn(|place| self.counts.shown[place].load(Ordering::Relaxed))
    }

    pub(super) fn dismiss(self) -> Shown {
        let shown = self.shown();
        self.dismiss.send(()).unwrap();
        self.thread.join().unwrap();
        shown
    }
}

async fn behave(manner: Manner, client: &Client, counts: &Counts) -> std::io::Result<()> {
    let count = || counts.shown[manner as usize].fetch_add(1, Ordering::Relaxed);
    match manner {
        Manner::SlowReader => {
            let stream = client.over(client.narrow_tcp().await?).await?;
            count();
            let (mut input, mut output) = tokio::io::split(stream);
            let insist = async {
                while output.write_all(&[7; 16 * 1024]).await.is_ok() {
                    counts.insisted.fetch_add(1, Ordering::Relaxed);
                }
            };
            let read = async {
                let mut piece = [0; 512];
                while input.read(&mut piece).await.is_ok() {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            tokio::join!(insist, read);
        }
        Manner::SlowWriter => {
            let mut stream = client.connect().await?;
            count();
            loop {
                stream.write_all(b"a").await?;
                stream.flush().await?;
                stream.read_exact(&mut [0]).await?;
                tokio::time::sleep(PAUSE).await;
            }
        }
        Manner::HalfOpen => {
            let mut tcp = client.tcp().await?;
            if count() % 2 == 0 {
                tcp.write_all(&[22, 3, 1, 2, 0, 1]).await?;
            }
            // To the moment when the server has had enough.
            while tcp.read(&mut [0; 64]).await? > 0 {}
        }
        Manner::Vanishes => {
            if count() % 2 == 0 {
                drop(client.tcp().await?);
            } else {
                let some = Duration::from_millis(3);
                let _ = tokio::time::timeout(some, client.connect()).await;
            }
        }
        Manner::Dribbles => {
            let mut stream = client.over(Dribble(client.tcp().await?)).await?;
            count();
            stream.write_all(&[1; 500]).await?;
            stream.flush().await?;
            stream.read_exact(&mut [0; 500]).await?;
            stream.shutdown().await?;
        }
        Manner::Killed => {
            let mut stream = client.connect().await?;
            stream.write_all(&[3; 64 * 1024]).await?;
            stream.read_exact(&mut [0; 1000]).await?;
            count();
            // With unread bytes, so that the connection is reset.
        }
    }
    Ok(())
}
