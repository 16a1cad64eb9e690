//! Our reader of certificates beside x509-cert and webpki: whatever two of them read, they read
//! alike, and nothing that can be asked of a certificate panics or prints control characters.

use std::sync::{Arc, OnceLock};

use der::{Decode, Encode};
use nested_tls::identity::{
    Authority, Certificate, IssuedBy, NamePolicy, Peer, Pin, Pinned, Presented, Rule, TimePolicy,
    certificates_from_pem, private_key_from_pem, request_from_pem,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::hashed_dir::check_hash;

pub fn run(data: &[u8]) {
    let read = compare(data).0;
    judge(data, read);
    pem(data);
}

/// Whatever both read, they read alike; returns whether ours and webpki's accept.
pub fn compare(bytes: &[u8]) -> (bool, bool) {
    let der = CertificateDer::from(bytes);
    let webpki = webpki::EndEntityCert::try_from(&der);
    let ours = Certificate::from_der(bytes);
    if let (Ok(ours), Ok(webpki)) = (&ours, &webpki) {
        assert_eq!(ours.version(), 3);
        assert_eq!(ours.spki(), webpki.subject_public_key_info());
    }
    if let (Ok(ours), Ok(theirs)) = (&ours, x509_cert::Certificate::from_der(bytes)) {
        let tbs = &theirs.tbs_certificate;
        assert_eq!(ours.version(), tbs.version as u8 + 1);
        // x509-cert puts a SET OF in order while it reads: only where it changed nothing are its
        // names the sent ones.
        if theirs.to_der().is_ok_and(|again| again == bytes) {
            assert_eq!(Ok(ours.subject().der()), tbs.subject.to_der().as_deref());
            assert_eq!(Ok(ours.issuer().der()), tbs.issuer.to_der().as_deref());
        }
        assert_eq!(Ok(ours.spki().as_ref()), tbs.subject_public_key_info.to_der().as_deref());
        let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
        assert_eq!(ours.not_before().as_secs(), seconds(&tbs.validity.not_before));
        assert_eq!(ours.not_after().as_secs(), seconds(&tbs.validity.not_after));
        // const-oid prints an arc modulo 2^32.
        let algorithm = ours.signature_algorithm();
        if algorithm.split('.').all(|arc| arc.parse::<u32>().is_ok()) {
            assert_eq!(algorithm, theirs.signature_algorithm.oid.to_string());
        }
        assert_eq!(ours.extension_count(), tbs.extensions.as_ref().map_or(0, Vec::len));
    }
    if let Ok(ours) = &ours {
        ask(ours);
    }
    (ours.is_ok(), webpki.is_ok())
}

fn ask(certificate: &Certificate<'_>) {
    let _ = (certificate.serial(), certificate.key(), certificate.validity());
    let _ = (certificate.purposes(), certificate.subject_key_id(), certificate.authority_key_id());
    let _ = (certificate.is_self_issued(), certificate.may_sign_certificates());
    assert!(certificate.sha256(provider()).is_some());
    assert!(certificate.spki_sha256(provider()).is_some());
    for name in [certificate.subject(), certificate.issuer()] {
        check_hash(name);
        for text in [name.compat(), name.one_line()] {
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
        }
    }
    for text in certificate.subject_alt_names() {
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
    }
}

/// What nobody signed is accepted by no rule but a pin of its very bytes.
fn judge(data: &[u8], read: bool) {
    let leaf = CertificateDer::from(data);
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_781_481_600));
    let chain = [leaf.clone()];
    for peer in [Peer::Server, Peer::Client] {
        let presented = Presented { leaf: &leaf, chain: &chain, peer, name: None, now };
        if let Ok(authority) = Authority::from_der(leaf.clone().into_owned()) {
            assert!(read, "an authority that can't be read");
            let rule = IssuedBy::new([authority], NamePolicy::Unchecked, provider().clone());
            if let Ok(rule) = rule {
                let _ = rule.judge(&presented);
            }
        }
        let pin = Pin::certificate(leaf.clone().into_owned());
        if let Ok(rule) = Pinned::new([pin], provider().clone()) {
            if let Err(error) = rule.time(TimePolicy::IgnoreExpiry).judge(&presented) {
                let _ = format!("{error} {error:?}");
            }
        }
    }
}

fn pem(data: &[u8]) {
    if let Ok(certificates) = certificates_from_pem(data) {
        assert!(!certificates.is_empty());
        for certificate in certificates {
            compare(&certificate);
        }
    }
    let _ = private_key_from_pem(data);
    if let Ok(request) = request_from_pem(data) {
        super::csr::run(&request);
    }
}

pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()))
}
