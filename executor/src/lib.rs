//! The policy enforcement point of the appliance: it verifies, observes, decides, heals and signs.
//!
//! It speaks to the agent over a Unix socket and to nobody else; there is no HTTP, no TLS and no name
//! resolution in its dependency tree.

pub mod activation;
pub mod admit;
pub mod at_the_box;
pub mod authorise;
pub mod boot_default;
pub mod capture;
pub mod config;
pub mod decision;
pub mod documents;
pub mod effect;
pub mod engine;
pub mod enrol;
pub mod evidence;
pub mod export;
pub mod gates;
pub mod guard;
pub mod hints;
pub mod ledger;
pub mod load;
pub mod observe;
pub mod remedy;
pub mod reserve;
pub mod retention;
pub mod serve;
pub mod socket;
pub mod switched;
pub mod table;
pub mod undo;
