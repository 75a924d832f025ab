//! The real binary, as a process: its commands, its socket, and what becomes of an order when it is killed.
//! The test plays the courier.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    missing_docs
)]

#[path = "process/capture.rs"]
mod capture;
#[path = "process/commands.rs"]
mod commands;
#[path = "process/kills.rs"]
mod kills;
#[path = "process/site.rs"]
mod site;
#[path = "process/socket.rs"]
mod socket;
