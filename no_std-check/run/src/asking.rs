//! The loop of the example `embedded`, as it stands there.

#[path = "../../../examples/embedded/ask.rs"]
mod ask;
#[path = "../../../examples/embedded/peer.rs"]
mod peer;

use nested_tls::{Direct, Nested, Role, Session};

use crate::{Failure, Size, configs};

pub(crate) fn run(size: &Size) -> Result<(), Failure> {
    let nested = |(outer, inner): (Role, Role)| -> Result<Nested, Failure> {
        Ok(Session::new(outer, size.limits)?.nest(inner, Direct)?)
    };
    let mut client = nested(configs::client(size)?)?;
    let mut server = peer::Peer::new(nested(configs::server(size)?)?, &[7; 5000]);
    let (mut heard, mut right) = (0, true);
    let asked = ask::ask(&mut client, &mut server, &[1; 3000], |piece| {
        heard += piece.len();
        right &= piece.iter().all(|&byte| byte == 7);
    });
    match asked {
        Ok(()) if right && (server.asked, heard) == (3000, 5000) => Ok(()),
        Ok(()) => Err(Failure::Wrong("the question or the answer is not what was sent")),
        Err(ask::Failure::Tls(error)) => Err(error.into()),
        Err(ask::Failure::Transport(_)) => Err(Failure::Wrong("the transport in memory failed")),
    }
}
