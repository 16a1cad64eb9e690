//! Certificates made by the commands of the service's own documents, instead of this crate's.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::case::Case;
use crate::identities::Identities;
use crate::ours::Driver;
use crate::peer::Peer;
use crate::programs::python;
use crate::table::{check, tell};
use crate::tools::have;

/// The host's certificate is the service's own; of it only this is known: self-signed, and what it says.
const COMMANDS: &str = "\
req -x509 -newkey rsa:2048 -nodes -days 3652 -set_serial 0xB7FA7A40976CBE82 -subj /C=US/ST=Virginia/L=Herndon/O=AWS/OU=AWS_Cryptography/CN=CloudHSM/emailAddress=cloudhsm-team@amazon.com -keyout outer_server.key -out outer_server.pem
req -x509 -newkey rsa:2048 -nodes -days 3652 -subj /C=US/O=Client/CN=default -keyout default_client.key -out default_client.pem
genrsa -out customer_ca.key 2048
req -new -x509 -days 3652 -subj /C=US/O=Customer/CN=customerCA -key customer_ca.key -out customer_ca.pem
req -new -newkey rsa:2048 -nodes -multivalue-rdn -subj /C=US+ST=CA+O=Cavium+OU=N3FIPS+L=SanJose/CN=HSM:5.3G0000-ICM000000:PARTN:1,_for_FIPS_mode -keyout cluster.key -out cluster.csr
x509 -req -days 3652 -in cluster.csr -CA customer_ca.pem -CAkey customer_ca.key -CAcreateserial -out cluster.pem
req -new -newkey rsa:4096 -nodes -subj /C=US/O=Customer/CN=ssl-client -keyout issued_client.key -out issued_client.csr
x509 -req -days 365 -in issued_client.csr -CA customer_ca.pem -CAkey customer_ca.key -CAcreateserial -out issued_client.pem";

fn openssl(dir: &Path, line: &str) {
    // Spaces in names are written as underscores above.
    let arguments = line.split(' ').map(|word| match word.starts_with('/') {
        true => word.replace('_', " "),
        false => word.into(),
    });
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn certificates_by_the_documents() {
    if !have("openssl") {
        return;
    }
    let identities = Identities::empty("documents");
    COMMANDS.lines().for_each(|line| openssl(&identities.dir, line));
    identities.trust_clients();
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    peers.extend(python().map(|python| Box::new(python) as _));
    #[cfg(feature = "__openssl-peer")]
    peers.push(Box::new(crate::openssl::OpenSsl));
    for peer in peers {
        let cases = Case::all();
        for (i, case) in cases.iter().enumerate() {
            let driver = Driver::ALL[i % Driver::ALL.len()];
            check(peer.as_ref(), &identities, driver, &case.both(20_000));
        }
        tell(&format!("{} on certificates by the documents", peer.name()), cases.len(), &[]);
    }
}
