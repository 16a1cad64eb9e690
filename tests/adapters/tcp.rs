use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use nested_tls::adapter::{blocking, tokio as asynchronous};
use nested_tls::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::pki::{self, Version};

fn pair(o: Version, i: Version) -> (Nested, Nested) {
    let (po, pi) = (pki::outer(), pki::inner());
    let c = Session::new(Role::client(po.client(o), po.name()), Limits::default())
        .unwrap()
        .nest(Role::client(pi.client(i), pi.name()), Direct)
        .unwrap();
    let s = Session::new(Role::server(po.server(o)), Limits::default())
        .unwrap()
        .nest(Role::server(pi.server(i)), Direct)
        .unwrap();
    (c, s)
}

#[test]
fn blocking_echo() {
    let (c, s) = pair(Version::Tls13, Version::Tls12);
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = l.local_addr().unwrap();
    let t = thread::spawn(move || {
        let mut s = blocking::Stream::connect(s, l.accept().unwrap().0).unwrap();
        let mut line = String::new();
        s.read_line(&mut line).unwrap();
        s.write_all(line.as_bytes()).unwrap();
        let mut n = s.read_to_end(&mut Vec::new()).unwrap();
        n += line.len();
        s.shutdown().unwrap();
        n
    });
    let mut c = blocking::Stream::connect(c, TcpStream::connect(a).unwrap()).unwrap();
    c.write_all(b"hello\n").unwrap();
    let mut buf = [0; 6];
    c.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"hello\n");
    c.write_all(&vec![5; 1 << 20]).unwrap();
    c.shutdown().unwrap();
    assert_eq!(c.read(&mut buf).unwrap(), 0);
    assert_eq!(t.join().unwrap(), 6 + (1 << 20));
}

#[tokio::test]
async fn tokio_echo() {
    let (c, s) = pair(Version::Tls13, Version::Tls13);
    let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = l.local_addr().unwrap();
    let t = tokio::spawn(async move {
        let s = asynchronous::Stream::connect(s, l.accept().await.unwrap().0).await.unwrap();
        let (mut r, mut w) = tokio::io::split(s);
        let n = tokio::io::copy(&mut r, &mut w).await.unwrap();
        w.shutdown().await.unwrap();
        n
    });
    let io = tokio::net::TcpStream::connect(a).await.unwrap();
    let mut c = asynchronous::Stream::connect(c, io).await.unwrap();
    c.write_all(b"hello\n").await.unwrap();
    let mut buf = [0; 6];
    c.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"hello\n");
    c.shutdown().await.unwrap();
    assert_eq!(c.read(&mut buf).await.unwrap(), 0);
    assert_eq!(t.await.unwrap(), 6);
}
