//! Both directions of a connection at once, with half-closes passed on and nothing lost at either end.

use core::future::{Future as _, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Poll, ready};
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use nested_tls::Ports;
use nested_tls::adapter::tokio::Stream;
use tokio::io::{
    AsyncBufRead as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf,
};
use tokio::time::sleep;

use super::diagnosis::{Broken, is_hang_up};
use super::link::Link;
use super::metrics::Metrics;
use super::wire::Wire;

/// How much is moved at a time.
const CHUNK: usize = 64 * 1024;

/// How long standard input may take to show what it has: it is read by a thread.
const GRACE: Duration = Duration::from_secs(1);

/// When a pump stops before both directions have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// Nobody reads the output any more: stop, instead of going on with the other direction.
    pub(crate) with_output: bool,
    /// The end of the input is told to the peer at once.
    pub(crate) half_close: bool,
    pub(crate) after_peer: AfterPeer,
}

/// How long input is waited for when the peer has ended the innermost layer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AfterPeer {
    /// To its end.
    Forever,
    /// Until the peer has left the outer layer, too, or for this long without input.
    WhileItListens(Duration),
    /// Not at all.
    AtOnce,
}

/// Bytes of plaintext that were moved.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    sent: AtomicU64,
    received: AtomicU64,
    /// Something was taken from the input that has not been sent.
    in_hand: AtomicBool,
    /// Where a server counts that of all connections.
    all: Option<Arc<Metrics>>,
}

impl Flow {
    /// A flow that counts for `all`, too.
    pub(crate) fn of(all: Arc<Metrics>) -> Self {
        Self { all: Some(all), ..Self::default() }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn count_sent(&self, n: usize) {
        for count in [Some(&self.sent), self.all.as_ref().map(|all| &all.sent)] {
            count.map(|count| count.fetch_add(n as u64, Ordering::Relaxed));
        }
    }

    pub(crate) fn count_received(&self, n: usize) {
        for count in [Some(&self.received), self.all.as_ref().map(|all| &all.received)] {
            count.map(|count| count.fetch_add(n as u64, Ordering::Relaxed));
        }
    }

    fn in_hand(&self) -> bool {
        self.in_hand.load(Ordering::Relaxed)
    }

    fn set_in_hand(&self, in_hand: bool) {
        self.in_hand.store(in_hand, Ordering::Relaxed);
    }
}

/// `input` to the peer, the peer to `output`, until both have ended.
///
/// The end of the input closes the innermost layer for writing, where `ending` says so; the peer's end shuts `output` down. Once one direction has
/// ended, the other may stand still for `limit`: a peer that takes nothing of what was already read from the input, or
/// an output that takes nothing of what a peer has left behind that takes no more.
pub(crate) async fn pump<M: Ports>(
    link: &mut Link<M>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    ending: Ending,
    limit: Duration,
    flow: &Flow,
) -> Result<(), Broken> {
    let shared = Mutex::new(&mut link.stream);
    let mut upload = pin!(upload(&shared, input, ending.half_close, flow));
    let mut download = pin!(download(&shared, output, flow));
    tokio::select! {
        biased;
        received = &mut download => match received {
            Ok(()) => after_peer(&shared, upload, ending.after_peer, limit, flow).await,
            Err(Broken::Output(error)) if is_hang_up(&error) && !ending.with_output => upload.await,
            Err(broken) => Err(broken),
        },
        sent = &mut upload => match sent {
            Err(Broken::Input(error)) => Err(Broken::Input(error)),
            sent => match rest(download, sent.is_err().then_some(limit), flow).await {
                None | Some(Ok(())) => sent,
                Some(Err(Broken::Output(error))) if is_hang_up(&error) && !ending.with_output => sent,
                Some(Err(broken)) => Err(broken),
            },
        },
    }
}

/// What the peer still has to say. Where it takes no more itself, that tells more than that it did, most of all its alert;
/// but whoever takes the output may wait for somebody to take the input: then it ends after `limit` without a move.
async fn rest(
    mut download: Pin<&mut impl Future<Output = Result<(), Broken>>>,
    limit: Option<Duration>,
    flow: &Flow,
) -> Option<Result<(), Broken>> {
    loop {
        let before = flow.received();
        let patience = sleep(limit.unwrap_or(Duration::MAX));
        tokio::select! {
            biased;
            ended = &mut download => return Some(ended),
            () = patience => if flow.received() == before {
                return None;
            },
        }
    }
}

/// The peer has ended: what remains of the input goes out as long as anybody listens.
async fn after_peer<M: Ports>(
    shared: &Shared<'_, M>,
    mut upload: Pin<&mut impl Future<Output = Result<(), Broken>>>,
    patience: AfterPeer,
    limit: Duration,
    flow: &Flow,
) -> Result<(), Broken> {
    let mut idle = match patience {
        AfterPeer::Forever => return upload.await,
        AfterPeer::AtOnce => Duration::ZERO,
        AfterPeer::WhileItListens(idle) => idle,
    };
    let mut departure = pin!(departure(shared));
    let mut gone = false;
    loop {
        let before = flow.sent();
        let in_hand = flow.in_hand();
        let patience = sleep(if in_hand { limit } else { idle });
        tokio::select! {
            biased;
            sent = &mut upload => return sent,
            () = &mut departure, if !gone => {
                gone = true;
                idle = idle.min(GRACE);
            }
            () = patience => match flow.in_hand() {
                _ if flow.sent() > before => {}
                true if in_hand => return Err(Broken::Unsent(ErrorKind::TimedOut.into())),
                true => {}
                false => return Ok(()),
            },
        }
    }
}

/// Ends when the peer, whose innermost layer has ended, has left the outer one or the transport.
async fn departure<M: Ports>(shared: &Shared<'_, M>) {
    poll_fn(|cx| {
        // Of this poll alone: a task is as large as what it keeps while it waits.
        let mut buffer = [0; 4096];
        let mut stream = lock(shared);
        while stream.machine_mut().wire_in().is_some() {
            let mut space = ReadBuf::new(&mut buffer);
            let read = ready!(Pin::new(stream.transport_mut()).poll_read(cx, &mut space));
            let mut came = space.filled();
            if read.is_err() || came.is_empty() {
                break;
            }
            // Nothing but the end of the outer layer can come; anything else fails, and that is an end as well.
            if stream.machine_mut().wire_in_from(&mut came).is_err() {
                break;
            }
        }
        Poll::Ready(())
    })
    .await;
}

type Shared<'a, M> = Mutex<&'a mut Stream<M, Wire>>;

/// Held within one poll only.
fn lock<'l, 'a, M>(shared: &'l Shared<'a, M>) -> MutexGuard<'l, &'a mut Stream<M, Wire>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes next, or nothing at the end. No memory is held while it is waited for: most connections are idle.
pub(crate) async fn piece(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    poll_fn(|cx| {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        ready!(pin!(input.read_buf(&mut buffer)).poll(cx))?;
        Poll::Ready(Ok(buffer.freeze()))
    })
    .await
}

async fn upload<M: Ports>(
    shared: &Shared<'_, M>,
    mut input: impl AsyncRead + Unpin,
    half_close: bool,
    flow: &Flow,
) -> Result<(), Broken> {
    loop {
        let said = piece(&mut input).await.map_err(Broken::Input)?;
        if said.is_empty() {
            if half_close {
                // A peer that has hung up needs no goodbye.
                let _ = poll_fn(|cx| pin!(lock(shared).close_write()).poll(cx)).await;
            }
            return Ok(());
        }
        flow.set_in_hand(true);
        send(shared, &said, flow).await.map_err(Broken::unsent)?;
        flow.set_in_hand(false);
    }
}

async fn send<M: Ports>(shared: &Shared<'_, M>, mut said: &[u8], flow: &Flow) -> io::Result<()> {
    while !said.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut **lock(shared)).poll_write(cx, said)).await?;
        if n == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        flow.count_sent(n);
        said = said.get(n..).unwrap_or_default();
    }
    poll_fn(|cx| Pin::new(&mut **lock(shared)).poll_flush(cx)).await
}

async fn download<M: Ports>(
    shared: &Shared<'_, M>,
    mut output: impl AsyncWrite + Unpin,
    flow: &Flow,
) -> Result<(), Broken> {
    loop {
        let moved = poll_fn(|cx| {
            let mut stream = lock(shared);
            let bytes = ready!(Pin::new(&mut **stream).poll_fill_buf(cx))?;
            if bytes.is_empty() {
                return Poll::Ready(Ok(Ok(0)));
            }
            let written = match ready!(Pin::new(&mut output).poll_write(cx, bytes)) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                written => written,
            };
            if let Ok(n) = written {
                Pin::new(&mut **stream).consume(n);
            }
            Poll::Ready(Ok(written))
        });
        let n = match moved.await {
            Ok(written) => written.map_err(Broken::Output)?,
            Err(error) => {
                // What came before the failure is good.
                let _ = output.flush().await;
                return Err(Broken::of(&mut lock(shared), error));
            }
        };
        if n == 0 {
            // The shutdown of tokio's standard output does not wait for what was written.
            output.flush().await.map_err(Broken::Output)?;
            return output.shutdown().await.map_err(Broken::Output);
        }
        flow.count_received(n);
        if !lock(shared).machine().readiness().plain_out {
            output.flush().await.map_err(Broken::Output)?;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use core::task::Context;

    use nested_tls::Session;

    use super::*;
    use crate::link::tests::pair;

    /// As `tokio::io::stdout()`: what is written counts when it is flushed, and a shutdown does not flush.
    #[derive(Default)]
    struct Lazy {
        held: Vec<u8>,
        out: Vec<u8>,
    }

    impl AsyncWrite for &mut Lazy {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(buf);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let this = &mut **self;
            this.out.append(&mut this.held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn output_is_flushed_when_the_end_comes_with_the_last_bytes() {
        let (mut client, mut server) = pair().await;
        let machine = server.stream.machine_mut();
        assert_eq!(machine.plain_write(b"the last bytes").unwrap(), 14);
        server.stream.close_write().await.unwrap();
        let mut output = Lazy::default();
        let ending = Ending { with_output: true, half_close: true, after_peer: AfterPeer::AtOnce };
        let nothing = tokio::io::empty();
        pump(&mut client, nothing, &mut output, ending, GRACE, &Flow::default()).await.unwrap();
        assert_eq!(output.out, b"the last bytes");
    }
    /// A client whose peer has ended both layers and its half of the connection, and reads nothing.
    async fn ended() -> (Link<Session>, Link<Session>) {
        let (client, mut server) = pair().await;
        server.stream.shutdown().await.unwrap();
        (client, server)
    }

    const LISTENS: Ending = Ending {
        with_output: true,
        half_close: true,
        after_peer: AfterPeer::WhileItListens(Duration::from_millis(100)),
    };

    /// Takes endless input to `client`.
    async fn insist(client: &mut Link<Session>) -> Result<(), Broken> {
        let (input, output) = (tokio::io::repeat(7), tokio::io::sink());
        let limit = Duration::from_millis(100);
        pump(client, input, output, LISTENS, limit, &Flow::default()).await
    }

    #[tokio::test]
    async fn input_that_an_ended_peer_does_not_take_is_a_failure() {
        let (mut client, _stays) = ended().await;
        assert!(matches!(insist(&mut client).await, Err(Broken::Unsent(_))));
        let (mut client, gone) = ended().await;
        drop(gone);
        assert!(matches!(insist(&mut client).await, Err(Broken::Unsent(_))));
    }

    /// As at a host whose target waits for its answers to be taken.
    #[tokio::test]
    async fn output_that_stands_still_keeps_no_peer_that_is_gone() {
        let (mut client, mut server) = pair().await;
        server.stream.write_all(&[7; 1000]).await.unwrap();
        server.stream.flush().await.unwrap();
        drop(server);
        let (output, _not_read) = tokio::io::duplex(1);
        let ending =
            Ending { with_output: false, half_close: true, after_peer: AfterPeer::Forever };
        let limit = Duration::from_millis(100);
        let flow = Flow::default();
        let pumped = pump(&mut client, tokio::io::repeat(7), output, ending, limit, &flow).await;
        assert!(matches!(pumped, Err(Broken::Unsent(_))), "{pumped:?}");
        assert_eq!(flow.received(), 1);
    }

    #[tokio::test]
    async fn input_that_says_nothing_does_not_keep_an_ended_peer() {
        let (mut client, _server) = ended().await;
        let (_silent, input) = tokio::io::duplex(1);
        let limit = Duration::from_secs(3600);
        pump(&mut client, input, tokio::io::sink(), LISTENS, limit, &Flow::default())
            .await
            .unwrap();
    }
}
