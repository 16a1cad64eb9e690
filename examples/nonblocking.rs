//! A loop of one's own over sockets that never block: a client and a server in one thread.
//!
//! The loop asks every port of every machine in turn, and rests when none could move. A real one
//! would wait for the sockets instead: see the example `mio`.

mod common;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nested_tls::{Direct, Limits, Nested, Plaintext, Ports, Session};

/// Move what can be moved between a machine and its socket; whether anything was.
fn turn(machine: &mut Nested, socket: &mut TcpStream) -> Result<bool, Box<dyn Error>> {
    let mut moved = false;
    while let Some(bytes) = machine.wire_out() {
        match socket.write(bytes) {
            Ok(n) => machine.wire_sent(n)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
        moved = true;
    }
    // Reading does not wait until all is written, or two peers could wait for each other.
    if let Some(space) = machine.wire_in() {
        match socket.read(space) {
            Ok(0) => machine.wire_eof()?,
            Ok(n) => machine.wire_received(n)?,
            // An idle machine gives its buffer back when it is told that nothing came.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                machine.wire_received(0)?;
                return Ok(moved);
            }
            Err(error) => return Err(error.into()),
        }
        moved = true;
    }
    Ok(moved)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::layer("host.example")?;
    let (inner_client, inner_server) = common::layer("hsm.example")?;
    let limits = Limits::default();
    let mut client = Session::new(outer_client, limits)?.nest(inner_client, Direct)?;
    let mut server = Session::new(outer_server, limits)?.nest(inner_server, Direct)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;

    let question = vec![7; 1 << 20];
    let mut asked = 0;
    let mut answer = Vec::new();
    while client.plain_out() != Plaintext::End {
        let mut moved = turn(&mut client, &mut near)? | turn(&mut server, &mut far)?;

        // The client writes as much as its machine takes; what it took is the machine's.
        if asked < question.len() {
            let n = client.plain_write(&question[asked..])?;
            asked += n;
            moved |= n > 0;
            if asked == question.len() {
                client.close_write();
            }
        }
        moved |= client.plain_out_into(&mut answer) > 0;

        // The server sends back what comes, and ends when the client has ended.
        match server.plain_out() {
            Plaintext::Bytes(bytes) => {
                let bytes = bytes.to_vec();
                let n = server.plain_write(&bytes)?;
                server.plain_consumed(n)?;
                moved |= n > 0;
            }
            Plaintext::End => server.close(),
            Plaintext::Pending => {}
        }
        if !moved {
            thread::sleep(Duration::from_micros(100));
        }
    }
    assert_eq!(answer, question);
    println!("{} bytes there and back", answer.len());
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
