//! Power cuts. SQLite keeps each commit as frames in `ledger.db-wal`, so whatever a cut leaves is a prefix
//! of that file. A scenario is recorded with the length of the file and the state of the host at each call
//! of the engine and each step of an effect; then, for every prefix, an executor is started on what the
//! disk held and on a host as it may have been at that instant, and what it makes of it is judged.
//!
//! `CRASH_SCENARIOS` says how many random scenarios are tried, `CRASH_SEED` from which seed on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "crash_points/aftermath.rs"]
mod aftermath;
mod common;
#[path = "crash_points/cut.rs"]
mod cut;
#[path = "crash_points/record.rs"]
mod record;
#[path = "crash_points/scenario.rs"]
mod scenario;

use std::panic::{AssertUnwindSafe, catch_unwind};

use compliance_protocol::time::Span;
use record::Recording;
use scenario::{Job, Random, Step};

/// Judges every cut of a recording; how many there were, and how many different outcomes of a cut.
fn judge(recording: &Recording) -> (usize, usize) {
    let (all, distinct) = cut::cuts(recording);
    for (n, cut) in distinct.iter().enumerate() {
        let about = || {
            let found = format!("{cut:?}");
            format!("cut {n} of {}: {found}", distinct.len())
        };
        let judged = catch_unwind(AssertUnwindSafe(|| aftermath::judge(recording, cut)));
        judged.unwrap_or_else(|why| panic!("{}: {}", about(), said(&*why)));
    }
    (all, distinct.len())
}

/// What a panic said.
fn said(why: &(dyn std::any::Any + Send)) -> String {
    let text = why.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| why.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[test]
fn a_power_cut_at_any_point_of_everything_that_happens_in_one_loop_is_survived() {
    use Step::{
        Ages, Issue, Junk, LoseAnswer, Pass, Poll, Restart, Settle, Takes, Upload, Withdraw,
    };
    let hour = Span::from_hours(1);
    let recording = record::record(&[
        Settle,
        Issue(Job::Backup),
        Poll,
        Upload,
        // A heal, while an order that looks and one that waits come in.
        Pass(hour),
        Ages,
        Issue(Job::Look),
        Issue(Job::Restart),
        Poll,
        LoseAnswer,
        Upload,
        // Refusals of all kinds: consumed and not.
        Junk,
        Issue(Job::Expired),
        Issue(Job::Unlisted),
        Issue(Job::Forbidden),
        Poll,
        Restart,
        // A job that fails, by order and then twice on its own.
        Takes(false),
        Issue(Job::Backup),
        Poll,
        Pass(hour),
        Ages,
        Settle,
        Pass(hour),
        Settle,
        Upload,
        Takes(true),
        Issue(Job::Pause),
        Issue(Job::Baseline),
        Issue(Job::Backup),
        Poll,
        Withdraw,
        Poll,
        Upload,
    ]);
    let (all, distinct) = judge(&recording);

    assert!(all > 300 && distinct > 60, "{all} cuts, {distinct} of them different");
}

#[test]
fn a_power_cut_while_evidence_is_pruned_leaves_all_of_it_or_what_it_says() {
    use Step::{Issue, LoseAnswer, Pass, Poll, Restart, Settle, Upload};
    let month = Span::from_hours(31 * 24);
    let recording = record::record(&[
        Settle,
        Poll,
        Issue(Job::Look),
        Poll,
        Upload,
        Poll,
        // With what nobody has yet.
        LoseAnswer,
        Pass(month),
        Poll,
        Settle,
        Upload,
        Restart,
        Issue(Job::Backup),
        Poll,
        Pass(month),
        Poll,
        Settle,
        Upload,
    ]);
    assert!(recording.pruned > 1, "{} times", recording.pruned);
    judge(&recording);
}

#[test]
fn a_power_cut_at_any_point_of_random_scenarios_is_survived() {
    let number =
        |name, default| std::env::var(name).map_or(default, |n: String| n.parse().unwrap());
    let (scenarios, first) = (number("CRASH_SCENARIOS", 10), number("CRASH_SEED", 1));
    let mut total = (0, 0);
    for seed in first..first + scenarios {
        let steps = scenario::random(&mut Random::new(seed));
        let told = catch_unwind(AssertUnwindSafe(|| judge(&record::record(&steps))));
        let told = told.unwrap_or_else(|why| panic!("seed {seed}, {steps:?}: {}", said(&*why)));
        total = (total.0 + told.0, total.1 + told.1);
    }

    assert!(total.1 as u64 > 10 * scenarios, "{total:?} cuts in {scenarios} scenarios");
}
