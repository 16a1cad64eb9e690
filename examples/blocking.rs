//! A blocking client and server of both layers: a question per line, an answer per line.

mod common;

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nested_tls::adapter::blocking::Stream;
use nested_tls::{Direct, Limits, Nested, Role, Session};

fn machine(outer: &Role, inner: &Role) -> Result<Nested, nested_tls::Error> {
    Session::new(outer.clone(), Limits::default())?.nest(inner.clone(), Direct)
}

/// Answers each line in capitals, to the client's end.
fn serve(machine: Nested, socket: TcpStream) -> io::Result<()> {
    // A client that stalls in a handshake is not waited for for ever.
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = Stream::connect(machine, socket)?;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        stream.write_all(line.to_uppercase().as_bytes())?;
        line.clear();
    }
    // `read_line` said 0: the inner client's own end. Had the host cut the stream, it were an error.
    stream.shutdown()
}

fn main() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::layer("host.example")?;
    let (inner_client, inner_server) = common::layer("hsm.example")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = machine(&outer_server, &inner_server)?;
    let server = thread::spawn(move || serve(server, listener.accept()?.0));

    let client = machine(&outer_client, &inner_client)?;
    let mut stream = Stream::connect(client, TcpStream::connect(address)?)?;
    let mut answer = String::new();
    for question in ["sign this\n", "and that\n"] {
        stream.write_all(question.as_bytes())?;
        stream.flush()?;
        stream.read_line(&mut answer)?;
    }
    stream.shutdown()?;
    assert_eq!(stream.read_line(&mut answer)?, 0);
    print!("{answer}");
    assert_eq!(answer, "SIGN THIS\nAND THAT\n");
    server.join().expect("the server's thread")?;
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
