//! Both directions of a connection at once, with half-closes passed on and nothing lost at either end.

use core::future::{Future as _, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nested_tls::Ports;
use nested_tls::adapter::tokio::Stream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::diagnosis::Broken;
use super::link::Link;

/// How much is moved at a time.
const CHUNK: usize = 64 * 1024;

/// When a pump stops before both directions have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// Nobody reads the output any more: stop, instead of going on with the other direction.
    pub(crate) with_output: bool,
    /// The peer has ended, and this long there was no input.
    pub(crate) idle: Option<Duration>,
}

/// Bytes of plaintext that were moved.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Flow {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn count_sent(&self, n: usize) {
        self.sent.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_received(&self, n: usize) {
        self.received.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// `input` to the peer, the peer to `output`, until both have ended.
///
/// The end of the input closes the innermost layer for writing; the peer's end shuts `output` down.
pub(crate) async fn pump<M: Ports>(
    link: &mut Link<M>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    ending: Ending,
    flow: &Flow,
) -> Result<(), Broken> {
    let shared = Mutex::new(&mut link.stream);
    let mut upload = pin!(upload(&shared, input, flow));
    let mut download = pin!(download(&shared, output, flow));
    tokio::select! {
        biased;
        received = &mut download => match received {
            Ok(()) => after_peer(upload, ending, flow).await,
            Err(Broken::Output(error)) if ending.with_output => Err(Broken::Output(error)),
            Err(Broken::Output(_)) => upload.await,
            Err(broken) => Err(broken),
        },
        sent = &mut upload => match sent {
            Err(Broken::Input(error)) => Err(Broken::Input(error)),
            // What the peer said before it hung up tells more than that it did; most of all its alert.
            Ok(()) | Err(_) => match download.await {
                Err(Broken::Output(error)) if !ending.with_output && sent.is_ok() => {
                    let _ = error;
                    Ok(())
                }
                received => received,
            },
        },
    }
}

/// The peer has ended: what remains of the input goes out as long as anybody listens.
async fn after_peer(
    mut upload: Pin<&mut impl Future<Output = Result<(), Broken>>>,
    ending: Ending,
    flow: &Flow,
) -> Result<(), Broken> {
    let sent = match ending.idle {
        None => upload.await,
        Some(idle) => loop {
            let before = flow.sent();
            match timeout(idle, &mut upload).await {
                Ok(sent) => break sent,
                Err(_) if flow.sent() == before => break Ok(()),
                Err(_) => {}
            }
        },
    };
    match sent {
        // It had said all that it wanted to say, and hung up.
        Err(Broken::Transport(_)) => Ok(()),
        sent => sent,
    }
}

type Shared<'a, M> = Mutex<&'a mut Stream<M, TcpStream>>;

/// Held within one poll only.
fn lock<'l, 'a, M>(shared: &'l Shared<'a, M>) -> MutexGuard<'l, &'a mut Stream<M, TcpStream>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn upload<M: Ports>(
    shared: &Shared<'_, M>,
    mut input: impl AsyncRead + Unpin,
    flow: &Flow,
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = input.read(&mut buffer).await.map_err(Broken::Input)?;
        if n == 0 {
            poll_fn(|cx| pin!(lock(shared).close_write()).poll(cx)).await?;
            return Ok(());
        }
        let mut rest = buffer.get(..n).unwrap_or_default();
        while !rest.is_empty() {
            let n = poll_fn(|cx| Pin::new(&mut **lock(shared)).poll_write(cx, rest)).await?;
            if n == 0 {
                return Err(io::Error::from(ErrorKind::WriteZero).into());
            }
            flow.count_sent(n);
            rest = rest.get(n..).unwrap_or_default();
        }
        poll_fn(|cx| Pin::new(&mut **lock(shared)).poll_flush(cx)).await?;
    }
}

async fn download<M: Ports>(
    shared: &Shared<'_, M>,
    mut output: impl AsyncWrite + Unpin,
    flow: &Flow,
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut space = ReadBuf::new(&mut buffer);
        let read = poll_fn(|cx| Pin::new(&mut **lock(shared)).poll_read(cx, &mut space)).await;
        if let Err(error) = read {
            // What came before the failure is good.
            let _ = output.flush().await;
            return Err(error.into());
        }
        if space.filled().is_empty() {
            // The shutdown of tokio's standard output does not wait for what was written.
            output.flush().await.map_err(Broken::Output)?;
            return output.shutdown().await.map_err(Broken::Output);
        }
        output.write_all(space.filled()).await.map_err(Broken::Output)?;
        flow.count_received(space.filled().len());
        if !lock(shared).machine().readiness().plain_out {
            output.flush().await.map_err(Broken::Output)?;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use core::task::{Context, Poll};

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
        let ending = Ending { with_output: true, idle: None };
        let nothing = tokio::io::empty();
        pump(&mut client, nothing, &mut output, ending, &Flow::default()).await.unwrap();
        assert_eq!(output.out, b"the last bytes");
    }
}
