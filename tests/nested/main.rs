//! The state machine in memory.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use nested_tls::*;
use support::pki::{self, Version};

fn shuttle(a: &mut impl Ports, b: &mut impl Ports) -> usize {
    let mut total = 0;
    loop {
        let mut moved = 0;
        moved += pass(a, b);
        moved += pass(b, a);
        total += moved;
        if moved == 0 {
            return total;
        }
    }
}
fn pass(a: &mut impl Ports, b: &mut impl Ports) -> usize {
    let mut n = 0;
    while let Some(mut bytes) = a.wire_out_bytes() {
        n += bytes.len();
        b.wire_in_from(&mut bytes).unwrap();
        assert!(bytes.is_empty());
    }
    n
}

#[test]
fn smoke() {
    for o in Version::ALL {
        for i in Version::ALL {
            let (po, pi) = (pki::outer(), pki::inner());
            let mut c = Session::new(Role::client(po.client(o), po.name()), Limits::default())
                .unwrap()
                .nest(Role::client(pi.client(i), pi.name()), Direct)
                .unwrap();
            let mut s = Session::new(Role::server(po.server(o)), Limits::default())
                .unwrap()
                .nest(Role::server(pi.server(i)), Direct)
                .unwrap();
            shuttle(&mut c, &mut s);
            assert_eq!(c.phase(), Phase::Traffic);
            assert_eq!(s.phase(), Phase::Traffic);
            let data = vec![7u8; 1 << 20];
            let mut sent = 0;
            let mut got = Vec::new();
            while got.len() < data.len() {
                sent += c.plain_write(&data[sent..]).unwrap();
                shuttle(&mut c, &mut s);
                if let Some(b) = s.plain_out_bytes() {
                    got.extend_from_slice(&b);
                }
            }
            assert_eq!(got, data);
            for l in [Layer::Outer, Layer::Inner] {
                if c.layer(l).unwrap().version == Some(rustls::ProtocolVersion::TLSv1_3) {
                    c.update_keys(l, true).unwrap();
                }
            }
            assert_eq!(c.plain_write(b"ping").unwrap(), 4);
            shuttle(&mut c, &mut s);
            assert_eq!(s.plain_out_bytes().unwrap(), b"ping"[..]);
            assert_eq!(s.plain_write(b"pong").unwrap(), 4);
            shuttle(&mut c, &mut s);
            assert_eq!(c.plain_out_bytes().unwrap(), b"pong"[..]);
            println!("{:?}", c.layer(Layer::Inner));
            c.close();
            shuttle(&mut c, &mut s);
            assert_eq!(s.plain_out(), Plaintext::End);
            s.close();
            shuttle(&mut c, &mut s);
            assert_eq!(c.plain_out(), Plaintext::End);
            assert_eq!(c.phase(), Phase::Closed);
            assert_eq!(s.phase(), Phase::Closed);
        }
    }
}
