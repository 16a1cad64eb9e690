//! Roles that differ per layer, as at a signing bridge: both parties are clients of the bridge, and
//! one of them is the server of the other.
//!
//! ```text
//!  asker                      bridge                     signer
//!  outer client ───────────► outer server
//!                            outer server ◄─────────── outer client
//!  inner client ═══════════════════════════════════════ inner server
//! ```
//!
//! The bridge joins the two outer layers' plaintexts, and never sees what the inner one carries.

mod common;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use nested_tls::adapter::blocking::Stream;
use nested_tls::{Direct, Limits, Plaintext, Ports, Role, Session};

const SECRET: &[u8] = b"only the signer may read this";

/// A party at the bridge: says in the outer layer who it is, then speaks the inner one.
fn join(
    bridge: SocketAddr,
    outer: Role,
    inner: Role,
    who: u8,
) -> Result<Stream<nested_tls::Nested, TcpStream>, Box<dyn Error + Send + Sync>> {
    let session = Session::new(outer, Limits::default())?;
    let mut stream = Stream::connect(session, TcpStream::connect(bridge)?)?;
    stream.write_all(&[who])?;
    stream.flush()?;
    let mut stream = stream.nest(inner, Direct)?;
    stream.handshake()?;
    Ok(stream)
}

/// Two parties come; what one says in its outer layer, the other one gets. Gives what passed.
fn bridge(listener: &TcpListener, outer: &Role) -> io::Result<Vec<u8>> {
    let mut parties = Vec::new();
    for _ in 0..2 {
        let session = Session::new(outer.clone(), Limits::default()).map_err(io::Error::from)?;
        let mut stream = Stream::connect(session, listener.accept()?.0)?;
        let mut who = [0];
        stream.read_exact(&mut who)?;
        println!("bridge: {} is here", char::from(who[0]));
        stream.transport().set_nonblocking(true)?;
        parties.push(stream.into_parts());
    }
    let mut passed = Vec::new();
    while parties.iter().any(|(machine, _)| machine.plain_out() != Plaintext::End) {
        for from in [0, 1] {
            let (machine, socket) = &mut parties[from];
            if let Some(space) = machine.wire_in() {
                match socket.read(space) {
                    Ok(0) => machine.wire_eof()?,
                    Ok(n) => machine.wire_received(n)?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            let mut bytes = Vec::new();
            machine.plain_out_into(&mut bytes);
            let ended = machine.plain_out() == Plaintext::End;
            passed.extend_from_slice(&bytes);

            let (machine, socket) = &mut parties[1 - from];
            let mut rest = &bytes[..];
            while !rest.is_empty() || machine.readiness().wire_out {
                if !rest.is_empty() {
                    rest = &rest[machine.plain_write(rest)?..];
                }
                while let Some(bytes) = machine.wire_out() {
                    match socket.write(bytes) {
                        Ok(n) => machine.wire_sent(n)?,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            thread::yield_now();
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            if ended {
                machine.close_write();
            }
        }
        thread::yield_now();
    }
    Ok(passed)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (at_bridge, bridges) = common::layer("bridge.example")?;
    let (asks, signs) = common::layer("signer.example")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let bridge = thread::spawn(move || bridge(&listener, &bridges));

    // An outer client that is the inner server.
    let outer = at_bridge.clone();
    let signer = thread::spawn(move || -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut stream = join(address, outer, signs, b's')?;
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked)?;
        assert_eq!(asked, SECRET);
        stream.write_all(b"signed")?;
        stream.shutdown()?;
        Ok(())
    });

    let mut stream = join(address, at_bridge, asks, b'a').map_err(|error| error.to_string())?;
    stream.write_all(SECRET)?;
    stream.close_write()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    stream.shutdown()?;
    assert_eq!(answer, b"signed");

    signer.join().expect("the signer's thread").map_err(|error| error.to_string())?;
    let passed = bridge.join().expect("the bridge's thread")?;
    assert!(!passed.windows(8).any(|seen| SECRET.windows(8).any(|part| part == seen)));
    println!("bridge: {} bytes passed, none of them readable here", passed.len());
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
