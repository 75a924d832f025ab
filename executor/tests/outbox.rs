//! Evidence on its way out: receipts, refusals, the control plane's log; and a ledger whose past is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;
#[path = "outbox/damage.rs"]
mod damage;
#[path = "outbox/log.rs"]
mod log;
#[path = "outbox/receipts.rs"]
mod receipts;
#[path = "outbox/rollback.rs"]
mod rollback;
