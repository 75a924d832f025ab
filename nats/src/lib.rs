//! Carries the control plane's events to NATS JetStream, where ticketing and SIEM attach.
//!
//! It keeps nothing: the control plane holds the events and how far they were brought, JetStream says what it
//! has. [`carry`] reads ([`control_plane`]), publishes and waits for the acknowledgements ([`broker`]), and only
//! then tells the control plane; wherever that is cut off, the rest begins again, under the same message ids.

pub mod backoff;
pub mod broker;
pub mod carry;
pub mod config;
pub mod control_plane;
pub mod secrets;
pub mod tickets;
