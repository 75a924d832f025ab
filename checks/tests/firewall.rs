//! The firewall check by what nft really printed, and by every single change of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "firewall/canonical.rs"]
mod canonical;
#[path = "firewall/fixtures.rs"]
mod fixtures;
#[path = "firewall/verdicts.rs"]
mod verdicts;
