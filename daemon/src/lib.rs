//! What each of our processes does the same way: configuration, logging, systemd, durable files.

pub mod config;
pub mod files;
mod journal;
pub mod log;
pub mod systemd;
pub mod words;
