//! The JSON configurations of SDK 5 and SDK 3.

use std::path::Path;

use nested_tls::identity::cloudhsm::ClientPaths;
use nested_tls::identity::{Error, Problem};

fn read(json: &str) -> Result<ClientPaths, Error> {
    ClientPaths::from_config(json.as_bytes(), "/opt/cloudhsm/etc")
}

#[test]
fn sdk_5() {
    let paths = read(
        r#"{"clusters": [{"type": "hsm1", "cluster": {
            "hsm_ca_file": "/opt/cloudhsm/etc/customerCA.crt",
            "servers": [
                {"hostname": "10.0.2.41", "port": 2223, "enable": true},
                {"hostname": "10.0.3.42", "enable": true},
                {"hostname": "10.0.4.43", "port": 2223, "enable": false}
            ],
            "client_cert_path": "mine.crt", "client_key_path": "/keys/mine.key",
            "client_cert_hsm_tls_path": "inner.crt", "client_key_hsm_tls_path": "inner.key",
            "options": {"disable_key_availability_check": true}
        }}], "logging": {"log_type": "file"}}"#,
    )
    .unwrap();
    assert_eq!(paths.customer_ca, Path::new("/opt/cloudhsm/etc/customerCA.crt"));
    assert_eq!(paths.client_certificate, Path::new("/opt/cloudhsm/etc/mine.crt"));
    assert_eq!(paths.client_key, Path::new("/keys/mine.key"));
    assert_eq!(
        paths.inner_client,
        Some(("/opt/cloudhsm/etc/inner.crt".into(), "/opt/cloudhsm/etc/inner.key".into()))
    );
    assert_eq!(paths.servers, [("10.0.2.41".to_owned(), 2223), ("10.0.3.42".to_owned(), 2223)]);
    assert_eq!(paths.server_certificates, Path::new("/opt/cloudhsm/etc/certs"));
}

#[test]
fn sdk_5_without_settings_has_the_layout_of_the_directory() {
    let paths = read(r#"{"clusters": [{"type": "hsm1", "cluster": {}}]}"#).unwrap();
    assert!(paths.bundled);
    let mut expected = ClientPaths::in_directory("/opt/cloudhsm/etc");
    expected.bundled = true;
    assert_eq!(paths, expected);
}

#[test]
fn several_clusters() {
    let json = r#"{"clusters": [{"cluster": {"hsm_ca_file": "a.crt"}},
        {"cluster": {"hsm_ca_file": "b.crt"}}]}"#;
    let error = read(json).unwrap_err();
    assert_eq!((error.expected(), error.found()), ("one cluster", "2 clusters"));
    let each = ClientPaths::each_from_config(json.as_bytes(), "/etc").unwrap();
    let files: Vec<_> = each.iter().map(|paths| paths.customer_ca.to_str().unwrap()).collect();
    assert_eq!(files, ["/etc/a.crt", "/etc/b.crt"]);
}

#[test]
fn sdk_3() {
    let paths = read(
        r#"{"client": {"e2e_owner_crt_path": "/opt/cloudhsm/etc/customerCA.crt", "sslreneg": 0},
            "server": {"hostname": "10.0.2.41", "port": 2223},
            "ssl": {"CApath": "/opt/cloudhsm/etc/certs", "certificate": "/opt/cloudhsm/etc/client.crt",
                    "pkey": "/opt/cloudhsm/etc/client.key", "server_ssl": "yes"}}"#,
    )
    .unwrap();
    assert_eq!(paths.servers, [("10.0.2.41".to_owned(), 2223)]);
    assert_eq!(paths.server_certificates, Path::new("/opt/cloudhsm/etc/certs"));
}

#[test]
fn what_a_configuration_may_not_say() {
    let cluster = |inside: &str| format!(r#"{{"clusters": [{{"cluster": {{{inside}}}}}]}}"#);
    for (json, expected) in [
        ("".to_owned(), "JSON"),
        ("[]".to_owned(), "clusters"),
        (r#"{"clusters": []}"#.to_owned(), "clusters"),
        (r#"{"clusters": [{"cluster": {}}, {}]}"#.to_owned(), "clusters: a cluster in each"),
        (cluster(r#""hsm_ca_file": 7"#), "hsm_ca_file: a path"),
        (
            cluster(r#""client_cert_hsm_tls_path": """#),
            "client_cert_hsm_tls_path: a path (remove the setting",
        ),
        (cluster(r#""client_cert_path": "a""#), "client_key_path beside client_cert_path"),
        (
            cluster(r#""client_key_hsm_tls_path": "a""#),
            "client_cert_hsm_tls_path beside client_key_hsm_tls_path",
        ),
        (cluster(r#""servers": {}"#), "servers: a list"),
        (cluster(r#""servers": [{"port": 2223}]"#), "hostname"),
        (cluster(r#""servers": [{"hostname": "h", "port": 70000}]"#), "port: a number"),
        (cluster(r#""servers": [{"hostname": "h", "port": 0}]"#), "port: a number"),
    ] {
        let error = read(&json).unwrap_err();
        assert_eq!(error.problem(), Problem::Configuration);
        assert!(error.expected().starts_with(expected), "{json}: {error}");
    }
}
