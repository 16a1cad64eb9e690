//! `--metrics`: the counters by HTTP, and nothing else.

use core::time::Duration;
use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::net;

/// The longest request.
const LARGEST: usize = 8 * 1024;

/// How long a request may take, and how long the end is waited for once it has its answer: a scraper asks at once, and
/// whoever else comes shall not keep it waiting.
const ASKING: Duration = Duration::from_secs(1);

/// How long an answer may take.
const ANSWERING: Duration = Duration::from_secs(5);

/// How many are answered at once; more wait in the listen queue.
const AT_ONCE: usize = 8;

/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers with `text` for ever.
pub(crate) async fn serve(
    listener: TcpListener,
    text: impl Fn() -> String + Clone + Send + 'static,
) {
    let mut answers = JoinSet::new();
    loop {
        if answers.len() == AT_ONCE {
            answers.join_next().await;
        }
        match listener.accept().await {
            // Whatever goes wrong is the scraper's affair.
            Ok((tcp, _)) => drop(answers.spawn(answer(tcp, text.clone()))),
            Err(_) => sleep(PAUSE).await,
        }
        while answers.try_join_next().is_some() {}
    }
}

/// One request, one answer.
async fn answer(mut tcp: TcpStream, text: impl Fn() -> String) -> io::Result<()> {
    let Some(status) = timeout(ASKING, asked(&mut tcp)).await?? else { return Ok(()) };
    let body = if status == OK { text() } else { format!("{status}\n") };
    timeout(ANSWERING, say(&mut tcp, status, &body)).await??;
    net::drain(tcp, ASKING).await;
    Ok(())
}

/// What a request gets, unless it ends before it is one.
async fn asked(tcp: &mut TcpStream) -> io::Result<Option<&'static str>> {
    let mut request = Vec::new();
    loop {
        if let Some(status) = status_of(&request) {
            return Ok(Some(status));
        }
        let mut piece = [0; 1024];
        let n = tcp.read(&mut piece).await?;
        if n == 0 {
            return Ok(None);
        }
        request.extend(piece.iter().take(n));
    }
}

async fn say(tcp: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    tcp.write_all(head.as_bytes()).await?;
    tcp.write_all(body.as_bytes()).await?;
    tcp.shutdown().await
}

const OK: &str = "200 OK";

/// What a request gets, once it is known.
fn status_of(bytes: &[u8]) -> Option<&'static str> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => Some(match (request.method, request.path) {
            (Some("GET"), Some("/metrics")) => OK,
            (Some("GET"), _) => "404 Not Found",
            _ => "405 Method Not Allowed",
        }),
        Ok(httparse::Status::Partial) if bytes.len() < LARGEST => None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Some("431 Request Header Fields Too Large")
        }
        Err(_) => Some("400 Bad Request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_request_for_the_metrics_gets_them() {
        let long = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(LARGEST));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(65));
        for (request, status) in [
            ("", None),
            ("GET /metrics HTTP/1.1\r\nhost: x\r\n", None),
            ("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", Some(OK)),
            ("GET /metrics HTTP/1.0\r\n\r\n", Some(OK)),
            ("GET / HTTP/1.1\r\n\r\n", Some("404 Not Found")),
            ("GET /metrics/../x HTTP/1.1\r\n\r\n", Some("404 Not Found")),
            ("POST /metrics HTTP/1.1\r\n\r\n", Some("405 Method Not Allowed")),
            ("\u{16}\u{3}\u{1}", Some("400 Bad Request")),
            (&long, Some("431 Request Header Fields Too Large")),
            (&many, Some("431 Request Header Fields Too Large")),
        ] {
            assert_eq!(status_of(request.as_bytes()), status, "{request:?}");
        }
    }
}
