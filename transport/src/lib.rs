//! HTTP/1.1 over TLS 1.3 with a client certificate: the client side, for the agent and the operator's tool.
//!
//! What it does not do is the point: no other TLS version, no other root than the one given, no plain
//! HTTP, no redirects, no decompression, no proxy, no answer over the limit, no wait beyond the deadline.
//! There is no switch that turns any of it off.

mod client;
mod error;
mod tls;

pub use client::{Body, Client, Limits, Response};
pub use error::Error;
pub use hyper::{HeaderMap, Method, StatusCode, header};
pub use tls::{Identity, IdentityError};
