//! A server of both layers in a loop around `mio`: as many clients as come, in one thread.

mod common;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::thread;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nested_tls::adapter::blocking::Stream;
use nested_tls::{Direct, Limits, Nested, Plaintext, Ports, Role, Session};

const LISTENER: Token = Token(0);
const CLIENTS: usize = 4;

/// A client's connection.
struct Client {
    machine: Nested,
    socket: TcpStream,
    /// The socket takes no more for the moment.
    full: bool,
}

impl Client {
    /// Do all that can be done; whether the connection goes on.
    fn turn(&mut self, event: &Event) -> Result<bool, Box<dyn Error>> {
        self.full &= !event.is_writable();
        loop {
            self.answer()?;
            self.write()?;
            if !self.read()? {
                break;
            }
        }
        Ok(self.machine.failure().is_none() && self.machine.phase() != nested_tls::Phase::Closed)
    }

    /// Send back what came, as far as the machine takes it.
    fn answer(&mut self) -> Result<(), nested_tls::Error> {
        loop {
            let bytes = match self.machine.plain_out() {
                Plaintext::Bytes(bytes) => bytes.to_vec(),
                Plaintext::End => {
                    self.machine.close();
                    return Ok(());
                }
                Plaintext::Pending => return Ok(()),
            };
            let n = self.machine.plain_write(&bytes)?;
            self.machine.plain_consumed(n)?;
            if n == 0 {
                return Ok(());
            }
        }
    }

    fn write(&mut self) -> Result<(), Box<dyn Error>> {
        while let (false, Some(bytes)) = (self.full, self.machine.wire_out()) {
            match self.socket.write(bytes) {
                Ok(n) => self.machine.wire_sent(n)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.full = true,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether anything came.
    fn read(&mut self) -> Result<bool, Box<dyn Error>> {
        // `None`: plaintext waits for room to answer. It is asked again when the socket took some.
        let Some(space) = self.machine.wire_in() else { return Ok(false) };
        match self.socket.read(space) {
            Ok(0) => self.machine.wire_eof()?,
            Ok(n) => self.machine.wire_received(n)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.machine.wire_received(0)?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}

/// Serves until `CLIENTS` clients have come and gone.
fn serve(mut listener: TcpListener, outer: &Role, inner: &Role) -> Result<(), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(64);
    let mut clients = BTreeMap::new();
    let (mut come, mut gone) = (0, 0);
    while gone < CLIENTS {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    come += 1;
                    let token = Token(come);
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut socket, token, both)?;
                    let session = Session::new(outer.clone(), Limits::default())?;
                    let machine = session.nest(inner.clone(), Direct)?;
                    clients.insert(token, Client { machine, socket, full: false });
                }
                continue;
            }
            let Some(client) = clients.get_mut(&event.token()) else { continue };
            match client.turn(event) {
                Ok(true) => {}
                ended => {
                    if let Err(error) = ended {
                        println!("client {}: {error}", event.token().0);
                    }
                    // A failure's alert was written as far as the socket took it.
                    let _ = client.write();
                    clients.remove(&event.token());
                    gone += 1;
                }
            }
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::layer("host.example")?;
    let (inner_client, inner_server) = common::layer("hsm.example")?;
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;

    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (outer, inner) = (outer_client.clone(), inner_client.clone());
            thread::spawn(move || -> std::io::Result<()> {
                let session = Session::new(outer, Limits::default())?;
                let machine = session.nest(inner, Direct)?;
                let socket = std::net::TcpStream::connect(address)?;
                let mut stream = Stream::connect(machine, socket)?;
                let data = vec![7; 10_000 * (n + 1)];
                stream.write_all(&data)?;
                stream.close_write()?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer)?;
                assert_eq!(answer, data);
                stream.shutdown()
            })
        })
        .collect();
    serve(listener, &outer_server, &inner_server)?;
    for client in clients {
        client.join().expect("a client's thread")?;
    }
    println!("{CLIENTS} clients served");
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
