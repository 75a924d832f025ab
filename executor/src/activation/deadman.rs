//! What the dead-man does when it fires. It knows nothing but the decision and the links; it has no ledger.

use compliance_protocol::name::StorePath;

use super::Decision;

/// What the dead-man is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Leave: the new system is proven, or somebody switched to a third one.
    Leave,
    /// Go back.
    Undo,
    /// Ask again: something could not be seen.
    Again,
}

/// What the dead-man is to do after it tried to decide for undo, given what is decided now and which system
/// runs.
pub fn verdict(
    decision: Option<Decision>,
    running: Option<&StorePath>,
    before: &StorePath,
    next: &StorePath,
) -> Verdict {
    match (decision, running) {
        (Some(Decision::Proven), _) => Verdict::Leave,
        (_, Some(running)) if running != before && running != next => Verdict::Leave,
        (Some(Decision::Undo), Some(_)) => Verdict::Undo,
        (None, _) | (_, None) => Verdict::Again,
    }
}
