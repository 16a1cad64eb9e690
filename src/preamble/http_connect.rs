//! CONNECT: asking an HTTP proxy for a tunnel.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The most bytes that the heads of a proxy's answers may have together.
const MAX_ANSWER: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

/// A CONNECT request to an HTTP proxy, and the reader of its answer.
///
/// Sans-IO: the request goes into the outer layer's plaintext, what comes out of it goes into
/// [`HttpConnect::receive`], which takes no byte that belongs to the tunnel. Then the inner layer
/// is nested.
///
/// ```
/// use nested_tls::preamble::HttpConnect;
///
/// let mut connect = HttpConnect::new("origin.example", 443)?.basic_auth("me", "secret")?;
/// assert!(connect.request().starts_with(b"CONNECT origin.example:443 HTTP/1.1\r\n"));
///
/// // An interim answer, the tunnel's opening, and the first bytes inside.
/// let received = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\ninner";
/// let (used, opened) = connect.receive(received)?;
/// assert!(opened);
/// assert_eq!(&received[used..], b"inner");
/// # Ok::<(), nested_tls::preamble::HttpConnectError>(())
/// ```
pub struct HttpConnect {
    authority: String,
    /// Whole lines; one may hold a password.
    fields: Vec<Zeroizing<String>>,
    answer: Vec<u8>,
    /// Bytes of earlier, interim answers.
    interim: usize,
    opened: bool,
}

impl HttpConnect {
    /// A request for a tunnel to `host`, a name or an address, and `port`.
    ///
    /// An IPv6 address may stand in brackets or without them.
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6>
    ///
    /// # Errors
    /// [`HttpConnectError::Host`] for what can't be a host in a request line; a name that is not
    /// ASCII must be given in its ASCII form.
    pub fn new(host: &str, port: u16) -> Result<Self, HttpConnectError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = bare.parse::<core::net::IpAddr>();
        let authority = match address {
            Ok(core::net::IpAddr::V6(address)) => format!("[{address}]:{port}"),
            Ok(core::net::IpAddr::V4(address)) => format!("{address}:{port}"),
            Err(_) if is_name(host) => format!("{host}:{port}"),
            Err(_) => return Err(HttpConnectError::Host(host.into())),
        };
        Ok(Self { authority, fields: Vec::new(), answer: Vec::new(), interim: 0, opened: false })
    }

    /// With a user and a password in the Basic scheme.
    /// <https://www.rfc-editor.org/rfc/rfc7617#section-2>
    ///
    /// # Errors
    /// [`HttpConnectError::User`] for a user with a colon or a control character, or a password
    /// with one of the latter.
    pub fn basic_auth(self, user: &str, password: &str) -> Result<Self, HttpConnectError> {
        if user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) {
            return Err(HttpConnectError::User);
        }
        let pair = Zeroizing::new(format!("{user}:{password}"));
        let credentials = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        self.header("Proxy-Authorization", &credentials)
    }

    /// With one more header field.
    ///
    /// # Errors
    /// [`HttpConnectError::Header`] for a name that is no token, or a value that could end the line.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HttpConnectError> {
        let visible = |b: u8| matches!(b, b' '..=b'~' | b'\t' | 0x80..);
        if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(visible) {
            return Err(HttpConnectError::Header(name.into()));
        }
        self.fields.push(Zeroizing::new(format!("{name}: {value}\r\n")));
        Ok(self)
    }

    /// The request, to be written into the outer layer's plaintext.
    pub fn request(&self) -> Zeroizing<Vec<u8>> {
        let line = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n", self.authority);
        let fields: usize = self.fields.iter().map(|field| field.len()).sum();
        // Its full size at once: growing would leave a copy of the secrets behind.
        let mut request = Zeroizing::new(Vec::with_capacity(line.len() + fields + 2));
        request.extend_from_slice(line.as_bytes());
        for field in &self.fields {
            request.extend_from_slice(field.as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    /// Take what belongs to the proxy's answer from the front of `bytes`: how many bytes that is,
    /// and whether the tunnel is open. What follows them is the tunnel's.
    ///
    /// # Errors
    /// [`HttpConnectError::Refused`] for any final answer but a 2xx;
    /// [`HttpConnectError::Answer`] for what is no answer in HTTP/1;
    /// [`HttpConnectError::Length`] for one that is too long.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(usize, bool), HttpConnectError> {
        let mut used = 0;
        for byte in bytes {
            if self.opened {
                break;
            }
            if self.interim + self.answer.len() == MAX_ANSWER {
                return Err(HttpConnectError::Length(MAX_ANSWER));
            }
            self.answer.push(*byte);
            used += 1;
            self.check_beginning()?;
            if self.answer.ends_with(b"\n\r\n") || self.answer.ends_with(b"\n\n") {
                self.opened = self.judge()?;
                self.interim += self.answer.len();
                self.answer.clear();
            }
        }
        Ok((used, self.opened))
    }

    /// A peer that does not speak HTTP is found out at its first bytes.
    fn check_beginning(&self) -> Result<(), HttpConnectError> {
        const BEGINNING: &[u8] = b"HTTP/1.";
        let len = self.answer.len().min(BEGINNING.len());
        if self.answer.get(..len) == BEGINNING.get(..len) {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&self.answer).escape_debug().to_string();
        Err(HttpConnectError::Answer(format!("it begins with \"{shown}\"")))
    }

    /// The meaning of a whole head: whether it opens the tunnel.
    fn judge(&self) -> Result<bool, HttpConnectError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&self.answer) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => {
                return Err(HttpConnectError::Answer("its head is cut short".into()));
            }
            Err(error) => return Err(HttpConnectError::Answer(error.to_string())),
        }
        match response.code {
            // 101 would turn the connection into something that was not asked for.
            Some(100 | 102..=199) => Ok(false),
            // "Any 2xx (Successful) response indicates that the sender [...] will switch to tunnel
            // mode immediately after the response header section"
            // <https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6>
            Some(200..=299) => Ok(true),
            code => Err(HttpConnectError::Refused {
                status: code.unwrap_or_default(),
                reason: printable(response.reason.unwrap_or_default()),
                challenge: response
                    .headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"))
                    .map(|header| printable(&String::from_utf8_lossy(header.value))),
            }),
        }
    }
}

impl fmt::Debug for HttpConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnect").field("opened", &self.opened).finish_non_exhaustive()
    }
}

/// Why there is no tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpConnectError {
    /// What came is no answer in HTTP/1.
    Answer(String),
    /// This can't stand in a header field.
    Header(String),
    /// This can't be a host.
    Host(String),
    /// The answer's head has more bytes than this.
    Length(usize),
    /// The proxy's final answer is no 2xx.
    Refused {
        /// The status code.
        status: u16,
        /// The reason phrase, control characters escaped.
        reason: String,
        /// The first `Proxy-Authenticate` field, control characters escaped.
        challenge: Option<String>,
    },
    /// This can't be a user and a password of the Basic scheme.
    User,
}

impl fmt::Display for HttpConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(what) => write!(f, "the proxy gave no answer in HTTP/1: {what}"),
            Self::Header(name) => write!(f, "a header field {name:?} like this can't be sent"),
            Self::Host(host) => write!(f, "{host:?} is no host name and no address"),
            Self::Length(most) => write!(f, "the proxy's answer has more than {most} bytes"),
            Self::Refused { status, reason, challenge } => {
                write!(f, "the proxy refused the tunnel: {status} {reason}")?;
                match challenge {
                    Some(challenge) => write!(f, " (it asks for {challenge})"),
                    None => Ok(()),
                }
            }
            Self::User => f.write_str("a user has no colon, and neither part control characters"),
        }
    }
}

impl core::error::Error for HttpConnectError {}

/// As [`str::escape_debug`], but quotes stay.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

/// Letters, digits and what names have between them; nothing that could end the request line.
fn is_name(host: &str) -> bool {
    (1..=255).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2>
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}
