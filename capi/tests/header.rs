//! `include/nested_tls.h` is what the source says. `UPDATE_HEADER=1 cargo test --test header` in `capi/`
//! writes it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::{env, fs};

#[test]
fn header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let bindings =
        cbindgen::Builder::new().with_config(config).with_src(root.join("src/lib.rs")).generate();
    let mut made = Vec::new();
    bindings.unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = root.join("include/nested_tls.h");
    if env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == made,
        "include/nested_tls.h is out of date: UPDATE_HEADER=1 cargo test --test header"
    );
}
