//! A system that has to be booted: the boot loader tries it once, and its default stays what it was.

use compliance_protocol::time::Span;

use super::step::{POLL, TRIES, wait};
use super::{Action, Activation, Before, Phase, Sight, Why};

/// A machine that was told to restart goes down within this time.
pub(super) const GOES_DOWN: Span = Span::from_secs(600);

impl Activation {
    pub(super) fn staging(
        &mut self,
        sight: &Sight,
        before: &Before,
        tries: u8,
        start_by: Span,
        now: Span,
    ) -> Action {
        if sight.switching != Some(false) && now < start_by {
            return wait(now, POLL);
        }
        let as_before = sight.running.as_ref() == Some(&before.system)
            && sight.profile.as_ref() == Some(&before.profile)
            && sight.default.as_ref() == Some(&before.default);
        if now >= start_by || !as_before {
            return self.undo(Why::NotStaged, now);
        }
        if sight.once == Some(Some(self.target.system.clone())) {
            self.enter(Phase::Rebooting { until: now.plus(GOES_DOWN) }, now);
            return Action::Reboot;
        }
        if tries >= TRIES {
            return self.undo(Why::NotStaged, now);
        }
        self.phase = Phase::Staging { tries: tries + 1, start_by };
        Action::TryOnce
    }

    pub(super) fn rebooting(&mut self, until: Span, now: Span) -> Action {
        if now < until { wait(now, POLL) } else { self.undo(Why::NotRebooted, now) }
    }

    /// The boot was tried, and the new system runs: it is armed against, and watched.
    pub(super) fn tried(&mut self, now: Span) -> Action {
        self.arm(now.plus(GOES_DOWN), now)
    }
}
