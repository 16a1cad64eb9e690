//! Refusals: of a certificate or a handshake, by the peer or by us, in its words, in others, or in none.

use nested_tls::{Error, Layer, Phase, identity};
use rustls::{AlertDescription, CertificateError, Error as Tls, PeerIncompatible};

use super::config::Setup;
use super::diagnosis::{foreign, serves, spoken, spoken_name};
use super::failure::{Failure, Status};
use super::options::option;
use super::witness::Asked;

/// A peer that hangs up where it has just asked for our certificate has most likely refused what it got: with the file
/// of our certificate, if one went out or could not.
pub(crate) fn silent_refusal(phase: Phase, setups: &[&Setup]) -> Option<(String, Option<String>)> {
    let asked: Vec<_> = setups
        .iter()
        .filter_map(|setup| Some((*setup, setup.witness.testimony().asked?)))
        .collect();
    if let Some((setup, asked)) = asked.iter().find(|(_, asked)| !asked.answered) {
        return Some(match &setup.own {
            Some(own) => (unusable(asked), Some(own.file.clone())),
            None => (missing(setup.layer), None),
        });
    }
    // No ticket of a host proves that it accepts us: nginx judges our certificate behind it.
    let in_handshake = |layer| match layer {
        Layer::Outer => matches!(phase, Phase::OuterHandshake | Phase::InnerHandshake),
        Layer::Inner => phase == Phase::InnerHandshake,
    };
    let (setup, _) = asked
        .iter()
        .rev()
        .find(|(setup, _)| in_handshake(setup.layer) || setup.witness.testimony().unjudged)?;
    let own = setup.own.as_ref()?;
    let mut remedy = format!(
        "the peer may have refused our {} certificate without a word; ours is {}",
        setup.layer,
        own.subject()
    );
    if (setup.layer, phase) == (Layer::Outer, Phase::InnerHandshake) {
        remedy.push_str("; or what the host forwards to is not up");
    }
    Some((remedy, Some(own.file.clone())))
}

/// The peer asked for a certificate, and our key can't prove one.
fn unusable(asked: &Asked) -> String {
    let schemes: Vec<String> = asked.schemes.iter().map(|scheme| format!("{scheme:?}")).collect();
    format!(
        "our key can make none of the signatures that the peer accepts ({}), so no certificate went out: use another \
         kind of key",
        schemes.join(", ")
    )
}

/// The peer asked for a certificate, and there is none.
fn missing(layer: Layer) -> String {
    format!(
        "the peer asked for a certificate on the {layer} layer, and got none: give {} and {}",
        option(layer, "cert"),
        option(layer, "key")
    )
}

/// The peer refused us.
pub(crate) fn alert_received(
    layer: Layer,
    alert: AlertDescription,
    setup: Option<&Setup>,
) -> Failure {
    use AlertDescription as A;
    let reason = match alert {
        A::CloseNotify => "the peer gave up the handshake",
        _ => "the peer refused the connection",
    };
    let failure = |remedy: String| {
        Failure::new(Status::of(layer), reason, remedy)
            .on(layer)
            .compared("no alert", format!("alert {}", spoken_name(alert)))
    };
    let own = setup.and_then(|setup| setup.own.as_ref());
    let asked = setup.and_then(|setup| setup.witness.testimony().asked);
    let about_certificate = matches!(
        alert,
        A::AccessDenied
            | A::BadCertificate
            | A::CertificateExpired
            | A::CertificateRequired
            | A::CertificateRevoked
            | A::CertificateUnknown
            | A::DecryptError
            | A::HandshakeFailure
            | A::NoCertificate
            | A::UnknownCA
            | A::UnsupportedCertificate
    );
    match (own, asked) {
        (Some(own), Some(asked)) if about_certificate && !asked.answered => {
            failure(unusable(&asked)).in_file(own.file.clone())
        }
        (Some(own), Some(_)) if about_certificate => {
            let remedy =
                format!("present a certificate that the peer accepts; ours is {}", own.subject());
            failure(remedy).in_file(own.file.clone())
        }
        // `decode_error` is what GnuTLS says of it in TLS 1.2.
        (None, Some(_)) if about_certificate || alert == A::DecodeError => failure(missing(layer)),
        (_, None) if alert == A::HandshakeFailure => failure(
            "allow another version, or see which suites, groups and kinds of key the peer has"
                .into(),
        ),
        _ => failure(match alert {
            A::ProtocolVersion => format!("try another version with {}", option(layer, "tls")),
            A::NoApplicationProtocol => {
                format!("offer a protocol that the peer knows with {}", option(layer, "alpn"))
            }
            A::UnrecognisedName => format!("call it by its name with {}", option(layer, "name")),
            A::UnknownCA | A::BadCertificate | A::CertificateUnknown => {
                "the peer does not trust our certificate: see what it checks it against".into()
            }
            A::CloseNotify if setup.is_some_and(|setup| serves(&[setup])) => {
                "the client closed before it was complete: see what it says".into()
            }
            _ => "see the log of the peer".into(),
        }),
    }
}

/// We refused the peer, or could not go on.
pub(crate) fn refused(layer: Layer, error: &Tls, setup: Option<&Setup>) -> Failure {
    let status = Status::of(layer);
    if let Tls::InvalidCertificate(certificate) = error {
        if let Some(error) = verdict(certificate, setup) {
            let failure = Failure::identity(status, layer, &error);
            let unreadable = setup.map(|setup| setup.witness.testimony().unreadable);
            return unreadable.iter().flatten().fold(failure, Failure::besides);
        }
    }
    let failure = |reason: &str, remedy: String| Failure::new(status, reason, remedy).on(layer);
    match error {
        Tls::InvalidCertificate(error) => failure(
            "certificate refused",
            "check that this is the right peer, and that its certificate is in order".into(),
        )
        .compared("a valid certificate", error.to_string()),
        Tls::InvalidMessage(error) => foreign(layer, setup.is_some_and(|setup| serves(&[setup])))
            .compared("a TLS message", spoken(&format!("{error:?}"))),
        Tls::NoCertificatesPresented => failure(
            "the client presented no certificate",
            "the client has to present one that this server accepts".into(),
        )
        .compared("a client certificate", "none"),
        Tls::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
            failure("no signature scheme in common", "use another kind of key".into())
                .compared("one that our key can make", "others")
        }
        Tls::PeerIncompatible(found) => failure(
            "nothing in common with the peer",
            format!(
                "allow another version with {}, or see the peer's settings",
                option(layer, "tls")
            ),
        )
        .compared("a common version, suite and group", spoken(&format!("{found:?}"))),
        Tls::NoApplicationProtocol => failure(
            "no application protocol in common",
            format!("see {} on both sides", option(layer, "alpn")),
        ),
        // A record in clear, most of all, where only sealed ones may stand.
        Tls::InappropriateMessage { got_type, .. } => failure(
            "a record that has no place there",
            "somebody altered the data, or the peer broke the protocol".into(),
        )
        .compared("a protected record", format!("one of type {}", u8::from(*got_type))),
        Tls::PeerMisbehaved(found) => {
            failure("the peer broke the protocol", "see who it is, and its version".into())
                .compared("TLS as specified", spoken(&format!("{found:?}")))
        }
        other => failure(&other.to_string(), "see the peer's log".into()),
    }
}

/// A record that is sealed with another key, or was altered.
pub(crate) fn unopened(error: &Error, setup: Option<&Setup>) -> Failure {
    let layer = error.layer();
    let remedy = "somebody altered the data, or it is not the peer's";
    let failure = |remedy: &str| {
        Failure::new(Status::of(layer), "a record that can't be opened", remedy).on(layer)
    };
    let refusal =
        setup.and_then(|setup| setup.own.as_ref().filter(|_| setup.witness.testimony().unjudged));
    match refusal {
        // <https://github.com/Mbed-TLS/mbedtls/issues/10877>
        Some(own) => failure(&format!(
            "{remedy}; or the peer refused our certificate, which Mbed TLS seals with the wrong key; ours is {}",
            own.subject()
        ))
        .in_file(own.file.clone()),
        None => failure(remedy),
    }
}

/// The rule's own words for a refusal: rustls keeps them unless it has a word of its own.
pub(crate) fn verdict(error: &CertificateError, setup: Option<&Setup>) -> Option<identity::Error> {
    let carried = match error {
        CertificateError::Other(other) => other.0.downcast_ref::<identity::Error>().cloned(),
        _ => None,
    };
    carried.or_else(|| setup?.witness.testimony().judgement?.verdict.err())
}
