//! Servers of the system that run until a test is done with them.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::ours::LIMIT;

/// A server in the foreground.
pub(crate) struct Daemon {
    child: Child,
    name: &'static str,
    /// Where it listens.
    pub(crate) address: String,
}

impl Daemon {
    /// Starts `command`, which will listen on `address` as `name`.
    pub(crate) fn start(name: &'static str, address: String, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, name, address }
    }

    /// A connection to it; it may take a moment to listen.
    pub(crate) fn connect(&self) -> TcpStream {
        let begun = Instant::now();
        loop {
            match TcpStream::connect(&self.address) {
                Ok(socket) => return socket,
                Err(_) if begun.elapsed() < LIMIT => thread::sleep(Duration::from_millis(5)),
                Err(e) => panic!("{} does not listen: {e}", self.name),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of `host` on which nobody listens.
pub(crate) fn free_port(host: &str) -> u16 {
    let free = TcpListener::bind((host, 0)).unwrap();
    free.local_addr().unwrap().port()
}
