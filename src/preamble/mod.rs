//! What is said in the outer layer before the inner one begins.

mod http_connect;

pub use http_connect::{HttpConnect, HttpConnectError};
