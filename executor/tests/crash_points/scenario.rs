//! What a scenario is made of, and scenarios made by chance.

use compliance_protocol::time::Span;

/// What happens next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// The control plane issues an order.
    Issue(Job),
    /// The control plane takes back the orders that are open.
    Withdraw,
    /// A poll with all open orders, and what it sets off.
    Poll,
    /// A poll with bytes that are no order among the orders.
    Junk,
    /// All pending evidence goes out and receipts come back.
    Upload,
    /// The control plane stores the pending evidence, and the answer is lost.
    LoseAnswer,
    /// Time passes.
    Pass(Span),
    /// What is due is done.
    Settle,
    /// The newest backup is from the day before yesterday.
    Ages,
    /// From now on the backup program ends well, or fails.
    Takes(bool),
    /// The executor stops and starts.
    Restart,
}

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// The backup is run.
    Backup,
    /// The checks are run.
    Look,
    /// A disruptive restart, which waits for the window.
    Restart,
    /// Healing is paused for a moment.
    Pause,
    /// A newer baseline is taken.
    Baseline,
    /// An order whose time is over.
    Expired,
    /// A job that the baseline does not list.
    Unlisted,
    /// What this release does not carry out.
    Forbidden,
}

/// A random scenario of a few steps, with effects in it.
pub(crate) fn random(random: &mut Random) -> Vec<Step> {
    let mut steps = vec![Step::Settle];
    for _ in 0..random.below(6) + 3 {
        let job = match random.below(12) {
            0..4 => Job::Backup,
            4 | 5 => Job::Look,
            6 | 7 => Job::Restart,
            8 => Job::Pause,
            9 => Job::Baseline,
            10 => Job::Expired,
            _ => [Job::Unlisted, Job::Forbidden][random.below(2)],
        };
        steps.push(match random.below(16) {
            0..5 => Step::Issue(job),
            5 | 6 => Step::Poll,
            7 => Step::Junk,
            8 => Step::Upload,
            9 => Step::LoseAnswer,
            10 => Step::Pass(Span::from_secs([20, 130, 3700][random.below(3)])),
            11 => Step::Settle,
            12 => Step::Ages,
            13 => Step::Takes(random.below(3) > 0),
            14 => Step::Restart,
            _ => Step::Withdraw,
        });
        if matches!(steps.last(), Some(Step::Issue(_) | Step::Ages)) && random.below(3) > 0 {
            steps.extend([Step::Pass(Span::from_secs(100)), Step::Settle, Step::Poll]);
        }
    }
    steps.push(Step::Poll);
    steps
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }
}
