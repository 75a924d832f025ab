//! What the contract promises, each promise tried from outside: one module a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod canonical_json;
mod ed25519;
mod envelope;
mod evidence;
mod given;
mod names;
mod orders;
mod thresholds;
mod trust;
mod trusted_now;
