//! A tokio client and server of both layers: many clients at once, each direction in its own task.

mod common;

use std::error::Error;
use std::io;

use nested_tls::adapter::tokio::Stream;
use nested_tls::{Direct, Limits, Nested, Role, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn machine(outer: &Role, inner: &Role) -> Result<Nested, nested_tls::Error> {
    Session::new(outer.clone(), Limits::default())?.nest(inner.clone(), Direct)
}

/// Sends back what comes, while it comes.
async fn echo(machine: Nested, socket: TcpStream) -> io::Result<u64> {
    let stream = Stream::connect(machine, socket).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let copied = tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await?;
    Ok(copied)
}

/// Sends `data`, and reads the answer while sending.
async fn ask(machine: Nested, socket: TcpStream, data: Vec<u8>) -> io::Result<Vec<u8>> {
    let stream = Stream::connect(machine, socket).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        writer.write_all(&data).await?;
        writer.shutdown().await
    });
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).await?;
    sending.await??;
    Ok(answer)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::layer("host.example")?;
    let (inner_client, inner_server) = common::layer("hsm.example")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        // A role is prepared once and serves every connection.
        while let Ok((socket, peer)) = listener.accept().await {
            let Ok(machine) = machine(&outer_server, &inner_server) else { return };
            tokio::spawn(async move {
                match echo(machine, socket).await {
                    Ok(bytes) => println!("{peer}: {bytes} bytes sent back"),
                    Err(error) => println!("{peer}: {error}"),
                }
            });
        }
    });

    let mut clients = Vec::new();
    for n in 1..=4 {
        let machine = machine(&outer_client, &inner_client)?;
        let data = vec![n; usize::from(n) * 100_000];
        let socket = TcpStream::connect(address).await?;
        clients.push((data.clone(), tokio::spawn(ask(machine, socket, data))));
    }
    for (data, client) in clients {
        assert_eq!(client.await??, data);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
