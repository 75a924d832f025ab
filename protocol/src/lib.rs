//! The contract between the appliance, the control plane, the operator and the auditor.
//!
//! Pure: nothing here does I/O, reads a clock or draws randomness; private keys live in
//! `compliance-signing`. What the contract says in prose is in `docs/PROTOCOL.md`.

pub mod bytes;
pub mod clock;
pub mod digest;
pub mod envelope;
pub mod evidence;
pub mod feed;
pub mod gate;
pub mod json;
pub mod key;
pub mod local;
pub mod name;
pub mod order;
pub mod status;
pub mod time;
pub mod tlog;
pub mod trust;
pub mod window;
pub mod wire;
