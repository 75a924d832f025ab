//! The real binary, on loopback, over real TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

mod bundles;
mod certificates;
mod client;
mod console;
mod events;
mod evidence;
mod extension;
mod identity;
mod limits;
mod live;
mod login;
mod orders;
mod process;
mod restart;
mod sites;
