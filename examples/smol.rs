//! A client and a server of both layers on smol, or any runtime with the traits of futures-io.

mod common;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use nested_tls::adapter::futures_io::Stream;
use nested_tls::{Direct, Limits, Nested, Role, Session};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Timer, future};

type TlsStream = Stream<Nested, TcpStream>;

/// Both handshakes, in a time that is the caller's to choose: TLS has none of its own.
async fn connect(outer: &Role, inner: &Role, socket: TcpStream) -> io::Result<TlsStream> {
    let machine = Session::new(outer.clone(), Limits::default())?.nest(inner.clone(), Direct)?;
    let late = async {
        Timer::after(Duration::from_secs(10)).await;
        Err(ErrorKind::TimedOut.into())
    };
    future::or(async { Ok(Stream::connect(machine, socket).await?) }, late).await
}

/// Sends back what comes, while it comes.
async fn echo(stream: TlsStream) -> io::Result<u64> {
    let (reader, mut writer) = smol::io::split(stream);
    let copied = smol::io::copy(reader, &mut writer).await?;
    writer.close().await?;
    Ok(copied)
}

/// Sends `data`, and reads the answer while sending.
async fn ask(stream: TlsStream, data: &[u8]) -> io::Result<Vec<u8>> {
    let (mut reader, mut writer) = smol::io::split(stream);
    let send = async {
        writer.write_all(data).await?;
        // The inner close_notify, the outer one, and the end of the socket's writing half.
        writer.close().await
    };
    let receive = async {
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let ((), answer) = future::try_zip(send, receive).await?;
    Ok(answer)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::layer("host.example")?;
    let (inner_client, inner_server) = common::layer("hsm.example")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = smol::spawn(async move {
        let (socket, _) = listener.accept().await?;
        echo(connect(&outer_server, &inner_server, socket).await?).await
    });

    let socket = TcpStream::connect(address).await?;
    let stream = connect(&outer_client, &inner_client, socket).await?;
    let data = vec![7; 1_000_000];
    assert_eq!(ask(stream, &data).await?, data);
    println!("{} bytes sent back", server.await?);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(run())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
