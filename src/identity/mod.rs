//! Who the peer is, and who we are.
