//! Links std by not saying `#![no_std]`.
