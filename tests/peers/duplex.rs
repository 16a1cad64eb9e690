//! Both directions of a TCP connection at once, around anything that keeps no socket of its own.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// One end of a connection in memory, with what it has to say.
pub(crate) trait Engine: Send {
    /// Bytes came from the transport; none means that it ended. Goes as far as they reach.
    fn receive(&mut self, bytes: &[u8]);
    /// Bytes for the transport, as many as are at hand.
    fn transmit(&mut self) -> Vec<u8>;
    /// Nothing will be sent any more.
    fn is_done(&self) -> bool;
}

/// Runs `engine` over `socket` until it is done and the other side's end has come. An error is the
/// transport's.
pub(crate) fn run<E: Engine>(engine: E, socket: &TcpStream) -> (E, io::Result<()>) {
    let shared = Shared { engine: Mutex::new(engine), moved: Condvar::new() };
    let result = thread::scope(|scope| {
        let writer = scope.spawn(|| shared.write(socket));
        let read = shared.read(socket);
        let written = writer.join().unwrap();
        read.and(written)
    });
    (shared.engine.into_inner().unwrap_or_else(PoisonError::into_inner), result)
}

struct Shared<E> {
    engine: Mutex<E>,
    moved: Condvar,
}

impl<E: Engine> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, E> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut socket: &TcpStream) -> io::Result<()> {
        let mut space = vec![0; 1 << 16];
        loop {
            let result = socket.read(&mut space);
            let n = *result.as_ref().unwrap_or(&0);
            self.lock().receive(&space[..n]);
            self.moved.notify_one();
            if n == 0 {
                return result.map(drop);
            }
        }
    }

    fn write(&self, mut socket: &TcpStream) -> io::Result<()> {
        loop {
            let mut engine = self.lock();
            let bytes = loop {
                let bytes = engine.transmit();
                if !bytes.is_empty() {
                    break bytes;
                }
                if engine.is_done() {
                    return socket.shutdown(Shutdown::Write);
                }
                engine = self.moved.wait(engine).unwrap_or_else(PoisonError::into_inner);
            };
            drop(engine);
            socket.write_all(&bytes)?;
        }
    }
}
