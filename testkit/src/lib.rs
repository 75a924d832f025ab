//! Fakes for tests: a host, keys, a control plane in memory. A dev-dependency only; no shipped binary has it.
//!
//! A fake implements the same trait or speaks the same protocol as the real thing, with state and faults
//! that the test sets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::missing_panics_doc)]

pub mod evidence;
pub mod host;
pub mod keys;
pub mod orders;
pub mod plane;

pub use host::FakeHost;
pub use keys::Keys;
pub use orders::OrderForm;
pub use plane::FakePlane;

use compliance_protocol::time::Timestamp;

/// 2026-11-20T09:41:11.000Z, a Friday: the time at which tests begin.
pub const T0: Timestamp = Timestamp::from_millis(1_795_167_671_000);
