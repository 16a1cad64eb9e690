//! Handshake signatures by peers that do not keep to what was offered to them.

use std::sync::Arc;

use rustls::SignatureScheme::{
    ECDSA_NISTP256_SHA256, ECDSA_SHA1_Legacy, ED448, RSA_PKCS1_SHA1, RSA_PSS_SHA256, Unknown,
};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{CertificateError, Error, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};

use crate::forge::{Draft, Key, Kind, cn, provider};
use crate::live::{Ends, Failure, Thief, VERSIONS, ends, shake};

/// Signs with its key, and says that it did so by a scheme of its own choice.
#[derive(Clone, Debug)]
struct Liar(Arc<dyn SigningKey>, SignatureScheme);

impl SigningKey for Liar {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl Signer for Liar {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let schemes = provider().signature_verification_algorithms.supported_schemes();
        self.0.choose_scheme(&schemes).unwrap().sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.1
    }
}

/// What each end says of a peer with such a key: in both versions of TLS, behind certificates of versions 1 and 3.
fn refusals(kind: Kind, scheme: SignatureScheme) -> Vec<Error> {
    let key = Key::new(kind);
    let drafts = [
        Draft::v1(&cn("peer"), &key.spki, &cn("peer")),
        Draft::v3(&cn("peer"), &key.spki, &cn("peer")),
    ];
    let mut refusals = Vec::new();
    for certificate in drafts.map(|draft| draft.sign(&key)) {
        let liar = || {
            let private = provider().key_provider.load_private_key(key.private()).unwrap();
            let key = Arc::new(Liar(private, scheme));
            Arc::new(Thief(Arc::new(CertifiedKey::new(vec![certificate.clone()], key))))
        };
        for version in VERSIONS {
            match shake(Ends { client: liar(), ..ends(version, &certificate, &key) }) {
                Err(Failure::Server(error)) => refusals.push(error),
                other => panic!("{kind:?} by {scheme:?}, a client: {other:?}"),
            }
            match shake(Ends { server: liar(), ..ends(version, &certificate, &key) }) {
                // rustls has looked at the suite before it asks.
                Err(Failure::Client(Error::PeerMisbehaved(
                    PeerMisbehaved::SignedKxWithWrongAlgorithm,
                ))) => assert_eq!(*version, rustls::version::TLS12),
                Err(Failure::Client(error)) => refusals.push(error),
                other => panic!("{kind:?} by {scheme:?}, a server: {other:?}"),
            }
        }
    }
    refusals
}

/// Schemes with SHA-1, one that no provider has, and a number without a meaning.
#[test]
fn a_scheme_that_was_not_offered() {
    for (kind, scheme) in [
        (Kind::P256, ECDSA_SHA1_Legacy),
        (Kind::Rsa2048, RSA_PKCS1_SHA1),
        (Kind::Ed25519, ED448),
        (Kind::P256, Unknown(0xfefe)),
    ] {
        let refusals = refusals(kind, scheme);
        assert!(refusals.len() >= 6, "{scheme:?}: {refusals:?}");
        for refusal in refusals {
            let expected = PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;
            assert_eq!(refusal, Error::PeerMisbehaved(expected), "{kind:?} by {scheme:?}");
        }
    }
}

/// A scheme that was offered, and is not for keys like this one.
#[test]
fn a_scheme_for_another_kind_of_key() {
    for (kind, scheme) in [
        (Kind::Ed25519, ECDSA_NISTP256_SHA256),
        (Kind::P256, RSA_PSS_SHA256),
        (Kind::Rsa2048, ECDSA_NISTP256_SHA256),
    ] {
        let refusals = refusals(kind, scheme);
        assert!(refusals.len() >= 6, "{scheme:?}: {refusals:?}");
        for refusal in refusals {
            let Error::InvalidCertificate(refusal) = refusal else { panic!("{refusal:?}") };
            assert!(
                matches!(
                    refusal,
                    CertificateError::BadSignature
                        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
                ),
                "{kind:?} by {scheme:?}: {refusal:?}"
            );
        }
    }
}
