//! `connect --http-connect`: a tunnel through the host, opened before the inner layer begins.

use core::time::Duration;
use std::path::Path;

use nested_tls::Session;
use nested_tls::preamble::{HttpConnect, HttpConnectError};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::config::Setup;
use super::diagnosis::Broken;
use super::failure::Failure;
use super::files;
use super::link::{Both, Link};
use super::net::Endpoint;

/// The request for a tunnel to `to`, with the user and the password of a file.
pub(crate) fn request(to: &Endpoint, auth: Option<&Path>) -> Result<HttpConnect, Failure> {
    let usage = |error: HttpConnectError| {
        Failure::usage(error.to_string(), "give --http-connect a name or an address, and a port")
    };
    let request = HttpConnect::new(&to.host, to.port).map_err(usage)?;
    let Some(path) = auth else { return Ok(request) };
    let text = files::read(path, "the file of --http-auth")?;
    core::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim_end_matches(['\r', '\n']).split_once(':'))
        .and_then(|(user, password)| request.basic_auth(user, password).ok())
        .ok_or_else(|| {
            Failure::usage("no user and password", "write USER:PASSWORD in one line").at(path)
        })
}

/// The outer layer, a tunnel through the host, and the inner layer, whose handshake begins.
pub(crate) async fn open(
    outer: &Setup,
    inner: &Setup,
    tcp: TcpStream,
    request: HttpConnect,
    limit: Duration,
) -> Result<Link<Both>, Broken> {
    let mut link = Link::single(outer, tcp)?;
    let opened = async {
        link.handshake(limit).await?;
        let no_answer = |_| {
            let what = format!("it was not whole within {} s", limit.as_secs_f64());
            Broken::Tunnel(HttpConnectError::Answer(what))
        };
        timeout(limit, ask(&mut link, request)).await.map_err(no_answer)?
    };
    match opened.await {
        Ok(()) => link.nest(inner),
        Err(broken) => {
            link.testify(&[outer]);
            link.finish().await;
            Err(broken)
        }
    }
}

/// Asks the host, and reads no further than its answer.
async fn ask(link: &mut Link<Session>, mut request: HttpConnect) -> Result<(), Broken> {
    let stream = &mut link.stream;
    stream.write_all(&request.request()).await?;
    stream.flush().await?;
    loop {
        let bytes = stream.fill_buf().await?;
        if bytes.is_empty() {
            let what = "the outer layer ended before it".into();
            return Err(Broken::Tunnel(HttpConnectError::Answer(what)));
        }
        let (used, opened) = request.receive(bytes).map_err(Broken::Tunnel)?;
        stream.consume(used);
        if opened {
            return Ok(());
        }
    }
}
