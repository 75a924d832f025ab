//! The acts, in their order.

pub(super) mod checks;
pub(super) mod heal;
mod hostile;
pub(super) mod orders;
pub(super) mod outage;
pub(super) mod proof;
pub(super) mod setup;
pub(super) mod window;
