//! How long evidence is kept, and what is left of a chain then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use common::{Rig, run_checks};
use compliance_executor::ledger::Ledger;
use compliance_executor::reserve::Space;
use compliance_protocol::evidence::{Bundle, Outcome, Pruned};
use compliance_protocol::time::Span;
use compliance_testkit::{Keys, OrderForm};
use rusqlite::Connection;

const DAY: Span = Span::from_hours(24);

/// An appliance that keeps evidence for thirty days, and has some that arrived.
fn rig() -> Rig {
    rig_where(true)
}

fn rig_where(synchronised: bool) -> Rig {
    let mut rig = Rig::with(|setup| {
        setup.retention_days = 30;
        setup.synchronised = synchronised;
    });
    rig.poll();
    rig.upload();
    rig.poll();
    rig
}

/// Lets days pass, with a few polls and an upload on each.
fn days(rig: &mut Rig, n: u32) {
    for _ in 0..n {
        for _ in 0..4 {
            rig.pass(Span::from_hours(6));
            rig.poll();
        }
        rig.upload();
    }
}

fn sequences(rig: &Rig) -> Vec<u64> {
    rig.evidence().iter().map(|bundle| bundle.sequence).collect()
}

fn pruned(rig: &Rig) -> Vec<Bundle> {
    let stored = rig.plane.stored.iter().filter(|bundle| bundle.reason == Pruned::REASON);
    stored.cloned().collect()
}

fn said(bundle: &Bundle) -> Pruned {
    serde_json::from_value(bundle.post.clone().into()).unwrap()
}

#[test]
fn what_was_kept_long_enough_and_has_its_receipt_goes_and_one_bundle_says_what() {
    let mut rig = rig();
    let before = sequences(&rig);
    assert_eq!(before[0], 1);
    days(&mut rig, 30);
    assert_eq!(sequences(&rig)[0], 1, "nothing goes early");
    days(&mut rig, 2);
    let first = sequences(&rig)[0];
    assert!(first > 1);
    let bundles = pruned(&rig);
    assert_eq!(bundles[0].outcome, Outcome::Success);
    let all: Vec<_> = bundles.iter().map(said).collect();
    // Each goes on where the one before has ended, and has the digest of what the control plane has there.
    let mut next = 1;
    for it in &all {
        assert_eq!((it.first, it.count), (next, it.last - it.first + 1), "{all:?}");
        next = it.last + 1;
        let theirs = rig.plane.stored.iter().find(|bundle| bundle.sequence == next).unwrap();
        assert_eq!(theirs.previous_sha256, Some(it.last_sha256));
    }
    assert_eq!(next, first);
    assert_eq!(all[0].retention_days, 30);
}

#[test]
fn nothing_stays_much_longer_than_it_has_to_and_what_goes_is_said_once_a_day() {
    let mut rig = rig();
    for _ in 0..50 {
        days(&mut rig, 1);
        let oldest = rig.evidence()[0].finished_at;
        let age = rig.reading.wall.since(oldest);
        assert!(age <= Span::from_hours(32 * 24), "{age}");
    }
    // Once a day, however often it is looked.
    let at: Vec<_> = pruned(&rig).iter().map(|bundle| bundle.finished_at).collect();
    assert!(at.len() > 15 && at.windows(2).all(|two| two[1].since(two[0]) >= DAY), "{at:?}");
}

#[test]
fn what_nobody_has_stays_and_all_that_follows_it() {
    let mut rig = rig();
    rig.round();
    rig.pass(Span::from_hours(2));
    rig.round();
    let waits = rig.pending()[0].clone();
    let waits: Bundle = serde_json::from_slice(waits.json.as_slice()).unwrap();
    for _ in 0..40 {
        rig.pass(DAY);
        rig.poll();
    }
    assert_eq!(sequences(&rig)[0], waits.sequence);
    rig.upload();
    days(&mut rig, 2);
    assert!(sequences(&rig)[0] > waits.sequence);
}

#[test]
fn without_a_time_that_the_kernel_vouches_for_nothing_goes() {
    let mut rig = rig_where(false);
    days(&mut rig, 40);
    assert_eq!(rig.status().clock.source, compliance_protocol::clock::ClockSource::Feed);
    assert_eq!(sequences(&rig)[0], 1, "the control plane's word is not enough");
    rig.reading.synchronised = true;
    days(&mut rig, 1);
    assert!(sequences(&rig)[0] > 1);
}

#[test]
fn while_an_order_waits_or_the_disk_is_full_nothing_goes() {
    let mut rig = rig();
    days(&mut rig, 30);
    let now = rig.reading.wall;
    let form = OrderForm::new(1, &common::restart_frontdesk()).issued(now);
    rig.plane.issue(form.with("start_before", now.plus(Span::from_hours(13 * 24)).to_string()));
    rig.setup.windows = compliance_protocol::window::Windows::default();
    rig.restart();
    rig.poll();
    days(&mut rig, 3);
    assert_eq!(rig.status().waiting.len(), 1);
    assert_eq!(sequences(&rig)[0], 1);
    rig.plane.open.clear();
    rig.engine.space_seen(Space::Full, rig.reading);
    days(&mut rig, 2);
    assert_eq!(sequences(&rig)[0], 1);
    rig.engine.space_seen(Space::Enough, rig.reading);
    days(&mut rig, 1);
    assert!(sequences(&rig)[0] > 1);
}

#[test]
fn the_newest_bundle_stays_however_old_it_is() {
    let mut rig = rig();
    rig.upload();
    let last = *sequences(&rig).last().unwrap();
    rig.pass(Span::from_hours(400 * 24));
    // A poll agrees with the clock; what is due then is pruned at the first tick.
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.handle(answer);
    rig.engine.tick(rig.reading).unwrap();
    let left = rig.evidence();
    assert_eq!((left[0].sequence, left.len()), (last, 2));
    assert_eq!(left[1].reason, Pruned::REASON);
}

#[test]
fn a_ledger_that_begins_late_goes_on_as_any_other() {
    let mut rig = rig();
    days(&mut rig, 35);
    let chain = rig.evidence()[0].ledger_id;
    rig.restart();
    let form = OrderForm::new(1, &run_checks()).issued(rig.reading.wall);
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(&form), [(Outcome::Success, "checked".to_owned())]);
    rig.upload();
    // A control plane that was set back to what is pruned here is no reason to begin a new chain.
    let bundles = rig.plane.stored.clone();
    rig.plane.stored.truncate(3);
    rig.poll();
    rig.reboot();
    rig.poll();
    assert!(rig.because("ledger_new").is_empty());
    assert!(rig.evidence().iter().all(|bundle| bundle.ledger_id == chain));
    rig.plane.stored = bundles;
    rig.round();
    rig.upload();
    let theirs: Vec<_> = rig.plane.stored.iter().map(|bundle| bundle.sequence).collect();
    assert!(theirs.iter().zip(1..).all(|(sequence, n)| *sequence == n), "no gap there either");
}

#[test]
fn at_most_five_hundred_go_at_once_and_more_an_hour_later() {
    let mut rig = Rig::new();
    for _ in 0..1500 {
        rig.pass(Span::from_hours(1));
        rig.poll();
    }
    rig.upload();
    rig.setup.retention_days = 30;
    rig.restart();
    let mut counts = Vec::new();
    for wait in [0, 3599, 1, 3600] {
        rig.pass(Span::from_secs(wait));
        rig.poll();
        rig.upload();
        counts.push(pruned(&rig).iter().map(|bundle| said(bundle).count).sum::<u64>());
    }
    assert_eq!(counts[..2], [500, 500]);
    assert!(counts[2] > 500 && counts[2] < 1000 && counts[3] == counts[2], "{counts:?}");
}

#[test]
fn the_room_of_what_is_pruned_is_used_again_so_that_the_file_does_not_grow() {
    let mut rig = rig();
    days(&mut rig, 50);
    let pages = |rig: &Rig| -> u64 {
        let db = Connection::open(rig.ledger_path()).unwrap();
        db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap()
    };
    let before = pages(&rig);
    days(&mut rig, 50);
    let after = pages(&rig);
    assert!(after <= before + before / 10, "{before} pages, and then {after}");
}

#[test]
fn an_export_of_it_is_what_the_ledger_holds() {
    let mut rig = rig();
    days(&mut rig, 35);
    let out = common::temp_dir();
    let dir = out.path().join("export");
    let (ledger, trust) = (Ledger::read(&rig.ledger_path()).unwrap(), &rig.plane.trust);
    let key = Keys::default().evidence.public();
    let count = compliance_executor::export::export(&ledger, &key, &trust.log, &dir).unwrap();
    assert_eq!(usize::try_from(count).unwrap(), sequences(&rig).len());
}
