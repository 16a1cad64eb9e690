//! What is asked of a peer beyond its pin or its authority: the role, the name and the time.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustls::CertificateError;
use rustls::client::verify_server_name;
use rustls::pki_types::{IpAddr, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

use super::certificate::{Certificate, address};
use super::error::{Error, Problem};
use super::time;

/// The role of the peer whose certificate is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The peer is a TLS client.
    Client,
    /// The peer is a TLS server.
    Server,
}

/// Which name the certificate must carry.
///
/// There is no policy that turns name checks off for public authorities: every rule of this module demands a pin or a
/// private authority, and [`NamePolicy::Unchecked`] leaves the decision to exactly that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamePolicy {
    /// The first common name of the subject is this text.
    CommonName(String),
    /// A subject alternative name is this name, whatever name the connection was made to.
    Name(ServerName<'static>),
    /// A subject alternative name is the name that the connection was made to. Refuses every client: none is named.
    ServerName,
    /// The pin or the authority is the identity; names are not looked at. The case of a CloudHSM, whose certificates
    /// carry no alternative name and whose address changes.
    Unchecked,
}

/// What to do about the end of a certificate's validity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimePolicy {
    /// The certificate must be valid at the time of the handshake.
    #[default]
    Strict,
    /// An expired certificate is accepted, and each [`Acceptance`](super::Acceptance) says so. For peers whose
    /// certificates can't be renewed. A certificate that is not valid yet is refused as ever.
    IgnoreExpiry,
}

/// Something about an accepted certificate that a person should hear.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The certificate has expired; [`TimePolicy::IgnoreExpiry`] let it pass.
    Expired {
        /// The last second of its validity.
        not_after: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The certificate is of version 1: no extension limits what its key may do.
    VersionOne,
}

impl core::fmt::Display for Note {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Expired { not_after, now } => {
                write!(
                    f,
                    "expired at {}, accepted at {}",
                    time::display(*not_after),
                    time::display(*now)
                )
            }
            Self::VersionOne => f.write_str("version 1 certificate: no extension limits its use"),
        }
    }
}

impl NamePolicy {
    /// Checks the name of a certificate; `connected_to` is the name of the connection, of servers only.
    pub(super) fn check(
        &self,
        leaf: &Certificate<'_>,
        connected_to: Option<&ServerName<'_>>,
    ) -> Result<(), Error> {
        match self {
            Self::Unchecked => Ok(()),
            Self::CommonName(expected) => match leaf.subject().common_name() {
                Some(found) if found == *expected => Ok(()),
                found => Err(Error::new(
                    Problem::Name,
                    format!("common name {expected}"),
                    found.map_or_else(
                        || String::from("no common name"),
                        |found| format!("common name {}", found.escape_default()),
                    ),
                )
                .for_rustls(CertificateError::NotValidForName)),
            },
            Self::Name(expected) => check_alternative_name(leaf, expected),
            Self::ServerName => match connected_to {
                Some(expected) => check_alternative_name(leaf, expected),
                None => Err(Error::new(
                    Problem::Name,
                    "the name of a server",
                    "a client, which has none",
                )
                .for_rustls(CertificateError::NotValidForName)),
            },
        }
    }
}

fn check_alternative_name(leaf: &Certificate<'_>, expected: &ServerName<'_>) -> Result<(), Error> {
    let der = leaf.der();
    // Version 1 has no alternative names, and a common name is no substitute:
    // <https://www.rfc-editor.org/rfc/rfc9525#section-2>
    let refused = match leaf.version() {
        3 => match ParsedCertificate::try_from(&der)
            .and_then(|parsed| verify_server_name(&parsed, expected))
        {
            Ok(()) => return Ok(()),
            Err(rustls::Error::InvalidCertificate(error)) => error,
            Err(_) => CertificateError::NotValidForName,
        },
        _ => CertificateError::NotValidForNameContext {
            expected: expected.to_owned(),
            presented: Vec::new(),
        },
    };
    let found = match leaf.subject_alt_names() {
        [] => String::from("no alternative name"),
        names => names.join(", "),
    };
    Err(Error::new(Problem::Name, format!("alternative name {}", shown(expected)), found)
        .for_rustls(refused))
}

/// A server's name for people; `ServerName` itself shows addresses only with std.
pub(super) fn shown(name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => name.as_ref().into(),
        ServerName::IpAddress(IpAddr::V4(four)) => address(four.as_ref()),
        ServerName::IpAddress(IpAddr::V6(sixteen)) => address(sixteen.as_ref()),
        other => format!("{other:?}"),
    }
}

/// Checks the validity of `leaf` and says what the policy let pass.
pub(super) fn check_time(
    leaf: &Certificate<'_>,
    policy: TimePolicy,
    now: UnixTime,
) -> Result<Vec<Note>, Error> {
    let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
    if now < not_before || not_after < not_before {
        return Err(not_yet_valid(not_before, now));
    }
    match policy {
        _ if now <= not_after => Ok(Vec::new()),
        TimePolicy::IgnoreExpiry => Ok(Vec::from([Note::Expired { not_after, now }])),
        TimePolicy::Strict => Err(expired(not_after, now)),
    }
}

pub(super) fn expired(not_after: UnixTime, now: UnixTime) -> Error {
    Error::new(
        Problem::Expired,
        format!("validity at {}", time::display(now)),
        format!("expiry at {}", time::display(not_after)),
    )
    .for_rustls(CertificateError::ExpiredContext { time: now, not_after })
}

pub(super) fn not_yet_valid(not_before: UnixTime, now: UnixTime) -> Error {
    Error::new(
        Problem::NotYetValid,
        format!("validity at {}", time::display(now)),
        format!("validity from {}", time::display(not_before)),
    )
    .for_rustls(CertificateError::NotValidYetContext { time: now, not_before })
}
