//! Nested TLS by other implementations, and `nested-tls` against them.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[cfg(feature = "__openssl-peer")]
mod bulk;
mod case;
mod certificates;
mod daemon;
mod documents;
mod duplex;
mod early_data;
mod exporter;
mod hosts;
#[cfg(feature = "cli")]
mod https_proxy;
mod identities;
#[cfg(feature = "__openssl-peer")]
mod openssl;
mod ours;
mod peer;
mod process;
mod programs;
mod table;

#[path = "../../src/cli/pki.rs"]
mod pki;

#[cfg(feature = "cli")]
#[path = "../../examples/hyper/connector.rs"]
mod connector;

#[path = "../support/tools.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod tools;

#[cfg(feature = "__openssl-peer")]
#[test]
fn openssl_in_this_process() {
    table::run(&openssl::OpenSsl);
}

#[cfg(not(feature = "__openssl-peer"))]
#[test]
fn openssl_in_this_process() {
    table::say("SKIPPED: OpenSSL as a library: not built; add --features __openssl-peer");
}

#[test]
fn python() {
    let Some(python) = programs::python() else { return };
    table::run(&python);
}

#[test]
fn java() {
    let Some(java) = programs::java() else { return };
    table::run(&java);
}

#[test]
fn go() {
    let Some(go) = programs::go() else { return };
    table::run(&go);
}

#[test]
fn gnutls() {
    let Some(gnutls) = programs::gnutls() else { return };
    table::run(&gnutls);
}

#[test]
fn wolfssl() {
    let Some(wolfssl) = programs::wolfssl() else { return };
    table::run(&wolfssl);
}

#[test]
fn node() {
    let Some(node) = programs::node() else { return };
    table::run(&node);
}
