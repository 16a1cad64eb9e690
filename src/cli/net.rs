//! Names, addresses and TCP.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::io::{self, ErrorKind};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

use super::failure::{Failure, Status};
use super::files::words;
use super::pump::piece;

/// How long a connection may be silent before the peer is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(60);

/// How long its answer may take, until it is asked again; how often is the system's affair.
const PROBE: Duration = Duration::from_secs(15);

/// `HOST:PORT`; an IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text
            .rsplit_once(':')
            .filter(|_| !text.ends_with(']'))
            .ok_or_else(|| String::from("there is no port: write HOST:PORT"))?;
        let port = port.parse().map_err(|_| format!("{port:?} is not a port: use 0 to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(bare) => bare,
            None if host.contains(':') => {
                return Err(String::from("write an IPv6 address in brackets: [::1]:2223"));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(String::from("there is no host: write HOST:PORT"));
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Connects to the first address of a name that answers; each may take `limit`.
pub(crate) async fn connect(to: &Endpoint, limit: Duration) -> Result<TcpStream, Failure> {
    let fail = |reason: String, remedy: &str| Failure::new(Status::Transport, reason, remedy);
    let looked_up = timeout(limit, lookup_host((to.host.as_str(), to.port))).await;
    let addresses = match looked_up {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => {
            let reason = format!("{} has no address: {}", to.host, words(&error));
            return Err(fail(reason, "check the name, or give an address"));
        }
        Err(_) => {
            let reason = format!("no answer about the name {}", to.host);
            return Err(fail(reason, "check the name server, or give an address"));
        }
    };
    let mut last = None;
    for address in addresses {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                prepare(&tcp);
                return Ok(tcp);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(ErrorKind::TimedOut.into()),
        }
    }
    let error = last.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into());
    let remedy = match error.kind() {
        ErrorKind::ConnectionRefused => "check the port, and that the server is up",
        ErrorKind::TimedOut => {
            "check the address and the firewalls between (a CloudHSM cluster's security group \
             opens ports 2223 to 2225), or raise --timeout"
        }
        _ => "check the address and the network",
    };
    Err(fail(format!("can't connect to {to}: {}", words(&error)), remedy))
}

/// Listens; port 0 takes a free one.
pub(crate) async fn listen(at: &Endpoint) -> Result<TcpListener, Failure> {
    TcpListener::bind((at.host.as_str(), at.port)).await.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => "choose another port; 0 takes a free one",
            ErrorKind::PermissionDenied => "choose a port from 1024 on",
            _ => "choose an address of this machine",
        };
        let reason = format!("can't listen on {at}: {}", words(&error));
        Failure::new(Status::Transport, reason, remedy)
    })
}

/// Seconds of an option, which may have a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| String::from("a number of seconds above 0 is wanted"))
}

/// The same, where none at all may be meant.
pub(crate) fn seconds_or_none(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(Duration::ZERO),
        _ => seconds(text).map_err(|_| String::from("a number of seconds is wanted")),
    }
}

/// Prepares a connection: handshakes are questions and answers, which waiting for more to send only delays; and a peer that
/// has vanished, power and all, is noticed although nothing is sent.
pub(crate) fn prepare(tcp: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(QUIET).with_interval(PROBE);
    let _ = tcp.set_nodelay(true);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&keepalive);
}

/// Has the system keep at most so many KiB in each direction; 0 leaves it to the system.
pub(crate) fn bound(tcp: &TcpStream, kib: u32) {
    let bytes = usize::try_from(kib).unwrap_or(usize::MAX).saturating_mul(1024);
    if bytes > 0 {
        let socket = SockRef::from(tcp);
        let _ = socket.set_recv_buffer_size(bytes);
        let _ = socket.set_send_buffer_size(bytes);
    }
}

/// Reads what still comes, for at most `limit`: unread bytes would reset the connection, and destroy what the peer has not
/// read yet.
pub(crate) async fn drain(mut tcp: TcpStream, limit: Duration) {
    let drained = async { while matches!(piece(&mut tcp).await, Ok(rest) if !rest.is_empty()) {} };
    let _ = timeout(limit, drained).await;
}

/// The address of a socket, for people.
pub(crate) fn shown(address: io::Result<core::net::SocketAddr>) -> String {
    address.map_or_else(|_| String::from("?"), |address| address.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_a_host_and_a_port() {
        for (text, host) in [("host:1", "host"), ("[::1]:1", "::1"), ("10.0.0.7:1", "10.0.0.7")] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, 1));
            assert_eq!(endpoint.to_string(), text);
        }
        for (text, why) in [
            ("host", "no port"),
            ("[::1]", "no port"),
            ("host:", "not a port"),
            ("host:65536", "not a port"),
            (":1", "no host"),
            ("[]:1", "no host"),
            ("::1:1", "brackets"),
        ] {
            let error = text.parse::<Endpoint>().err().unwrap_or_default();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
