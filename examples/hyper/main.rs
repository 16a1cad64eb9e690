//! HTTPS through an HTTPS proxy with hyper: TLS to the proxy, and TLS to the origin inside.
//!
//! `connector.rs` is what a program of one's own takes over. Here are a proxy and two origins, too,
//! so that it can be seen at work.

#[path = "../common/mod.rs"]
mod common;
mod connector;

use std::convert::Infallible;
use std::error::Error;
use std::io;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use nested_tls::adapter::tokio::Stream;
use nested_tls::{Limits, Role, Session};
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use connector::Proxy;

type BoxError = Box<dyn Error + Send + Sync>;

async fn run() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::configs("localhost")?;
    let (inner_client, inner_server) = common::configs("localhost")?;
    let modern = spawn_origin(&inner_server, &[b"h2", b"http/1.1"]).await?;
    let old = spawn_origin(&inner_server, &[b"http/1.1"]).await?;
    let proxy = spawn_proxy(outer_server).await?;

    let address = format!("localhost:{proxy}").parse()?;
    let proxy = Proxy::new(address, outer_client, inner_client)?;
    let client = Client::builder(TokioExecutor::new())
        .build::<_, Full<Bytes>>(proxy.clone().with_auth("me", "secret"));
    let data = Bytes::from(vec![7; 1_000_000]);
    for (port, version) in [(modern, Version::HTTP_2), (old, Version::HTTP_11)] {
        let uri = format!("https://localhost:{port}/");
        let response = client.request(Request::post(uri).body(data.clone().into())?).await?;
        assert_eq!(response.version(), version);
        let body = response.into_body().collect().await?.to_bytes();
        assert_eq!(body, data);
        println!("{} bytes sent back in {version:?}", body.len());
    }

    let stranger = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(proxy);
    let Err(error) = stranger.get(format!("https://localhost:{modern}/").parse()?).await else {
        return Err("the proxy asked for no password".into());
    };
    let why = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(why.contains("407"), "{why}");
    println!("without the password: {why}");
    Ok(())
}

/// An origin that sends back what it gets, in what it agrees on with the client.
async fn spawn_origin(config: &ServerConfig, alpn: &[&[u8]]) -> io::Result<u16> {
    let mut config = config.clone();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let role = Role::server(config);
    let listener = TcpListener::bind("localhost:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let role = role.clone();
            tokio::spawn(async move {
                let session = Session::new(role, Limits::default())?;
                let stream = Stream::connect(session, socket).await.map_err(BoxError::from)?;
                let echo = service_fn(|request: Request<Incoming>| async {
                    Ok::<_, Infallible>(Response::new(request.into_body()))
                });
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection(TokioIo::new(stream), echo).await
            });
        }
    });
    Ok(port)
}

/// A proxy: one layer of TLS with its client, and what it is asked to carry, which it can't read.
async fn spawn_proxy(config: ServerConfig) -> io::Result<u16> {
    let role = Role::server(config);
    let listener = TcpListener::bind("localhost:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(carry(role.clone(), socket));
        }
    });
    Ok(port)
}

async fn carry(role: Role, socket: TcpStream) -> Result<(), BoxError> {
    let session = Session::new(role, Limits::default())?;
    let mut stream = Stream::connect(session, socket).await.map_err(io::Error::from)?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let answer = if !head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
        "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"example\""
    } else if let Some(to) = head.strip_prefix("CONNECT ").and_then(|s| s.split(' ').next()) {
        let mut origin = TcpStream::connect(to).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        copy_bidirectional(&mut stream, &mut origin).await?;
        return Ok(());
    } else {
        "405 Method Not Allowed"
    };
    stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
