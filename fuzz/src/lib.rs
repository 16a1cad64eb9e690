//! What the fuzz targets do. The bodies are in [`targets`], one file each, so that `cargo test` of
//! the crate can replay the corpus without a fuzzer.
#![allow(unused_qualifications)]

#[path = "../../tests/support/mod.rs"]
pub mod support;
pub mod targets;
