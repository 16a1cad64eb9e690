//! The JSON configuration of a CloudHSM client.

use nested_tls::identity::Problem;
use nested_tls::identity::cloudhsm::ClientPaths;

pub fn run(data: &[u8]) {
    let json: Option<serde_json::Value> = serde_json::from_slice(data).ok();
    match ClientPaths::from_config(data, "/etc/hsm") {
        Ok(paths) => {
            let json = json.expect("what is read is JSON");
            assert!(json.pointer("/clusters/0/cluster").is_some() || json.get("ssl").is_some());
            for path in [&paths.customer_ca, &paths.client_certificate, &paths.client_key] {
                assert!(path.is_absolute(), "{path:?}");
            }
            for (host, port) in &paths.servers {
                assert!(!host.is_empty() && *port != 0);
            }
            // The same twice.
            assert_eq!(ClientPaths::from_config(data, "/etc/hsm").ok(), Some(paths));
        }
        Err(error) => {
            assert_eq!(error.problem(), Problem::Configuration);
            let _ = format!("{error} {error:?}");
        }
    }
}
