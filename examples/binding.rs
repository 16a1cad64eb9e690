//! The inner layer bound to the outer one, so that nobody can stand between unseen.
//!
//! A host that has the outer server's key can end the outer layer on both sides and pass the inner one
//! on. It reads nothing; but each end believes that the outer layer, perhaps with the other's client
//! certificate in it, reaches to the other end. So each end shows the other, inside the inner layer,
//! what nobody but the two ends of one outer layer can derive, before any byte of the application.

mod common;

use std::error::Error;
use std::io::{self, ErrorKind};

use nested_tls::adapter::tokio::Stream;
use nested_tls::{Direct, Layer, Limits, Nested, Ports, Role, Session};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex};

type TlsStream = Stream<Nested, DuplexStream>;

/// An end of the inner layer.
#[derive(Clone, Copy)]
enum End {
    Client,
    Server,
}

/// What this end shows; each shows something else, so that none can be answered with its own words.
fn material(machine: &Nested, shown_by: End) -> Result<[u8; 32], nested_tls::Error> {
    let context: &[u8] = match shown_by {
        End::Client => b"client",
        End::Server => b"server",
    };
    let mut material = [0; 32];
    let label = b"EXPERIMENTAL nested-tls binding";
    machine.export_keying_material(Layer::Outer, &mut material, label, context)?;
    Ok(material)
}

/// A stream whose layers both end at the same peer.
async fn connect(
    (outer, inner): (Role, Role),
    end: End,
    transport: DuplexStream,
) -> io::Result<TlsStream> {
    // Exporters exist in TLS 1.3, and are kept only where they are asked for.
    let machine = Session::new(outer.with_exporter(), Limits::default())?.nest(inner, Direct)?;
    let mut stream = Stream::connect(machine, transport).await?;
    let (ours, theirs) = match end {
        End::Client => (End::Client, End::Server),
        End::Server => (End::Server, End::Client),
    };
    let ours = material(stream.machine(), ours)?;
    let theirs = material(stream.machine(), theirs)?;

    stream.write_all(&ours).await?;
    stream.flush().await?;
    let mut shown = [0; 32];
    stream.read_exact(&mut shown).await?;
    if !bool::from(shown.ct_eq(&theirs)) {
        stream.close().await?;
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "the outer layer does not end where the inner one does",
        ));
    }
    Ok(stream)
}

/// Ends the outer layer on both sides, and passes on what is inside.
async fn splice(
    outer_server: Role,
    client: DuplexStream,
    outer_client: Role,
    server: DuplexStream,
) -> io::Result<()> {
    let left = Session::new(outer_server, Limits::default())?;
    let right = Session::new(outer_client, Limits::default())?;
    let mut left = Stream::connect(left, client).await?;
    let mut right = Stream::connect(right, server).await?;
    copy_bidirectional(&mut left, &mut right).await?;
    Ok(())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::layer("host.example")?;
    let (inner_client, inner_server) = common::layer("hsm.example")?;
    let client = (outer_client.clone(), inner_client);
    let server = (outer_server.clone(), inner_server);

    let (one, other) = duplex(1 << 16);
    let serving = tokio::spawn(connect(server.clone(), End::Server, other));
    let mut stream = connect(client.clone(), End::Client, one).await?;
    let mut served = serving.await??;
    stream.write_all(b"sign this").await?;
    stream.flush().await?;
    let mut heard = [0; 9];
    served.read_exact(&mut heard).await?;
    assert_eq!(&heard, b"sign this");
    println!("bound: {}", String::from_utf8_lossy(&heard));

    // The host has the outer server's key. Both inner handshakes succeed, and nothing is altered.
    let (one, left) = duplex(1 << 16);
    let (right, other) = duplex(1 << 16);
    tokio::spawn(splice(outer_server, left, outer_client, right));
    let serving = tokio::spawn(connect(server, End::Server, other));
    let ends = [connect(client, End::Client, one).await, serving.await?];
    for end in ends {
        let Err(error) = end else { return Err("the host was not seen".into()) };
        println!("spliced: {error}");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
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
