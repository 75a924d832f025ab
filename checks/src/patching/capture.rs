//! The system that runs here, as a baseline.

use super::{PatchingBaseline, gather};
use crate::capture::Captured;
use crate::{Host, HostError};

/// The usual limits, if this machine is NixOS.
pub fn capture(host: &dyn Host) -> Captured<PatchingBaseline> {
    let facts = gather(host);
    let running = match facts.running {
        Ok(running) => running,
        Err(HostError::NotFound(_)) => return Captured::nothing("this machine is not NixOS"),
        Err(error) => return Captured::nothing(&error),
    };
    let mut remarks = Vec::new();
    if let Some(profile) = facts.profile.ok().filter(|profile| *profile != running) {
        remarks.push(format!("{running} runs, but the system profile names {profile}"));
    }
    if let Ok(Some(pending)) = facts.reboot {
        remarks.push(format!("a reboot is pending: {}", pending.parts.join(", ")));
    }
    Captured { expected: Ok(PatchingBaseline::default()), remarks }
}
