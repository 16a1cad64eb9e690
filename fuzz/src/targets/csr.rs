//! Our reader of certificate requests beside x509-cert's.

use der::{Decode, Encode};
use nested_tls::identity::Request;
use x509_cert::request::CertReq;

use super::certificate::provider;
use super::hashed_dir::check_hash;

pub fn run(data: &[u8]) {
    let ours = Request::from_der(data);
    if let (Ok(ours), Ok(theirs)) = (&ours, CertReq::from_der(data)) {
        let spki = theirs.info.public_key.to_der();
        assert_eq!(Ok(ours.spki().as_ref()), spki.as_deref());
        // x509-cert puts a SET OF in order while it reads.
        if theirs.to_der().is_ok_and(|again| again == data) {
            assert_eq!(Ok(ours.subject().der()), theirs.info.subject.to_der().as_deref());
        }
    }
    match ours {
        Ok(request) => {
            let _ = request.key();
            check_hash(request.subject());
            if let Err(error) = request.verify(provider()) {
                let _ = format!("{error} {error:?}");
            }
        }
        Err(error) => {
            let _ = format!("{error} {error:?}");
        }
    }
}
