//! A loop for a small device, over fixed chunks and the traits of embedded-io.
//!
//! `ask.rs` is the loop, and runs without std; here it has a transport in memory.

#[path = "../common/mod.rs"]
mod common;

mod ask;
mod peer;

use std::error::Error;

use nested_tls::{Direct, Limits, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let (outer_client, outer_server) = common::layer("host.example")?;
    let (inner_client, inner_server) = common::layer("hsm.example")?;
    // What a device has room for; its peers must be told to send records as small.
    let limits = Limits { plaintext: 2048, wire_out: 2048, ..Limits::default() };
    let mut client = Session::new(outer_client, limits)?.nest(inner_client, Direct)?;
    let server = Session::new(outer_server, limits)?.nest(inner_server, Direct)?;

    let answer = vec![7; 100_000];
    let mut transport = peer::Peer::new(server, &answer);
    let mut heard = Vec::new();
    ask::ask(&mut client, &mut transport, &[1; 10_000], |piece| heard.extend_from_slice(piece))?;
    assert_eq!(transport.asked, 10_000);
    assert_eq!(heard, answer);
    println!("{} bytes asked, {} answered", transport.asked, heard.len());
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
