//! What the dead-man does when it fires. It knows nothing but the decision and the links; it has no ledger.

use compliance_protocol::name::StorePath;
use compliance_protocol::time::Span;

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

/// How long the dead-man tries to switch back before it restarts the machine instead: so long that a switch
/// which is under way ends meanwhile, and another one of its own, each taking `switch` at most.
pub fn patience(switch: Span) -> Span {
    switch.plus(switch).plus(Span::from_secs(1200))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn system(name: &str) -> StorePath {
        format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}").parse().unwrap()
    }

    #[test]
    fn it_leaves_what_is_proven_or_somebody_elses_and_undoes_the_rest() {
        let (before, next, other) = (system("before"), system("next"), system("other"));
        let ask = |decision, running| verdict(decision, running, &before, &next);
        for running in [None, Some(&before), Some(&next), Some(&other)] {
            assert_eq!(ask(Some(Decision::Proven), running), Verdict::Leave);
        }
        assert_eq!(ask(Some(Decision::Undo), Some(&other)), Verdict::Leave);
        assert_eq!(ask(Some(Decision::Undo), Some(&next)), Verdict::Undo);
        // It may run by its link only, with its units stopped half-way.
        assert_eq!(ask(Some(Decision::Undo), Some(&before)), Verdict::Undo);
    }

    #[test]
    fn what_it_cannot_see_it_asks_again() {
        let (before, next) = (system("before"), system("next"));
        assert_eq!(verdict(Some(Decision::Undo), None, &before, &next), Verdict::Again);
        assert_eq!(verdict(None, Some(&next), &before, &next), Verdict::Again);
    }
}
