//! The courier between the executor and the control plane.
//!
//! It asks the executor for a ticket, polls with it, hands in what came, and carries evidence out and
//! receipts back. It carries bytes: it holds no key that signs, verifies nothing, changes nothing on the
//! host, and keeps nothing on disk but reports about itself. Whoever owns it can delay, no more.
//!
//! [`renew`] and [`certificate`] are commands of their own: the one asks for a new certificate as the courier's user,
//! the other lets root look at what was received, and put it in place.
//!
//! There is no port, not even for health or metrics. What listens can be reached, and a machine in a
//! clinic must not be reachable; so `status` and `health` read a file that [`run`] leaves, as does a
//! node exporter where there is one, and the control plane sees that an appliance lives by its polls.
//!
//! [`cycle`] decides and does nothing; [`run`] does what it decides; [`executor`] and [`control_plane`]
//! are the two sides that it talks to.

pub mod certificate;
pub mod clock;
pub mod config;
pub mod control_plane;
pub mod cycle;
pub mod executor;
pub mod health;
pub mod metrics;
pub mod renew;
pub mod report;
pub mod run;
pub mod status;
