//! The fuzzers' corpus, replayed without a fuzzer: the same bodies as in `fuzz/`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core
)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

#[allow(dead_code)]
#[path = "../identity/forge.rs"]
mod forge;
mod seeds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The files of one target, by name.
fn inputs(target: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(corpus().join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Tells which input it was, when one fails.
struct Told<'a>(&'a Path);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input that failed: {}", self.0.display());
        }
    }
}

fn replay(target: &str) {
    let (_, run) = targets::ALL.iter().find(|(name, _)| *name == target).unwrap();
    let files = inputs(target);
    assert!(!files.is_empty(), "no corpus for {target}");
    for file in &files {
        let _told = Told(file);
        run(&fs::read(file).unwrap());
    }
    println!("{target}: {} inputs", files.len());
}

macro_rules! replay {
    ($($target:ident),*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        /// Each target is replayed here, has a corpus, and is a program of the fuzz crate.
        #[test]
        fn no_target_is_missing() {
            let replayed: BTreeSet<String> = [$(stringify!($target)),*].map(str::to_owned).into();
            let names: BTreeSet<String> =
                targets::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(replayed, names);
            let dirs: BTreeSet<String> = fs::read_dir(corpus())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            assert_eq!(dirs, names);
            let programs = corpus().with_file_name("fuzz_targets");
            for name in names {
                assert!(programs.join(&name).with_extension("rs").is_file(), "{name}");
            }
        }
    };
}

replay!(
    certificate,
    csr,
    driver,
    framing,
    hashed_dir,
    ops,
    record_differential,
    sdk_config,
    wire_bytes
);
