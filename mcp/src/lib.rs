//! The control plane: orders out, evidence in, receipts, a console.
//!
//! One process, three listeners: appliances and operators come with a client certificate, a browser on
//! the same machine with a one-time link. It holds the `feed` and `checkpoint` keys and no other: it
//! can neither make an order nor evidence.
//!
//! From the outside in: [`serve`] accepts connections ([`tls`], [`identity`]) and hands requests to the
//! [`appliance`], [`operator`] and [`console`] routes; these call [`feed`], [`ingest`] and [`log`],
//! which decide; [`store`] keeps, and alone knows that it is SQLite.

pub mod app;
pub mod appliance;
mod body;
pub mod certificate;
pub mod changes;
pub mod config;
pub mod console;
pub mod feed;
pub mod fleet;
pub mod identity;
pub mod ingest;
pub mod init;
pub mod log;
pub mod operator;
mod presence;
pub mod problem;
pub mod push;
pub mod serve;
pub mod store;
mod stream;
pub mod tls;
