//! The program, as a user runs it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
#[cfg(unix)]
mod captures;
mod cloudhsm;
mod conversation;
mod demonstration;
mod diagnosis;
mod doctor;
mod endurance;
mod inspect;
#[cfg(target_os = "linux")]
mod load;
#[cfg(unix)]
mod manual;
mod metrics;
mod openssl;
#[cfg(unix)]
mod operating;
mod providers;
mod refusals;
#[cfg(unix)]
mod settings;
#[allow(dead_code, reason = "the whole set of helpers")]
mod support;
mod traces;
mod tunnel;
mod verify_hsm;

#[allow(dead_code, reason = "the whole set of helpers")]
#[path = "../identity/forge.rs"]
mod forge;
#[path = "../../src/cli/pki.rs"]
mod pki;
#[path = "../identity/subjects.rs"]
mod subjects;

#[path = "../support/tools.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod tools;
