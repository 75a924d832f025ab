//! A ledger file that is damaged: it is moved aside whole, and the executor goes on.

use std::path::Path;

use compliance_executor::engine::Engine;
use compliance_executor::ledger::{Ledger, LedgerError};
use compliance_protocol::evidence::Outcome;
use compliance_protocol::local::Request;
use compliance_testkit::OrderForm;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::common::{Rig, evidence_in, outcome, run_backup, try_start};

/// A copy of the ledger of an appliance that has done something, all of it in the one file.
fn closed_copy(rig: &Rig) -> TempDir {
    let copy = rig.copy_ledger();
    let path = copy.path().join("ledger.db");
    drop(Ledger::join(&path).unwrap());
    assert!(
        !copy.path().join("ledger.db-wal").exists(),
        "the last one to close it empties the log"
    );
    copy
}

fn experienced() -> (Rig, OrderForm) {
    let mut rig = Rig::new();
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    rig.poll();
    let waits = OrderForm::new(2, &crate::common::restart_frontdesk())
        .with("start_before", "2026-12-01T00:00:00.000Z")
        .after(&form);
    rig.plane.issue(waits);
    rig.poll();
    rig.upload();
    (rig, form)
}

fn aside(dir: &Path) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = all.filter(|path| path.to_str().unwrap().contains(".damaged-")).collect();
    all.sort();
    all
}

type Damage = fn(&mut Vec<u8>);

/// That the damaged file lies beside a new ledger, byte for byte, and that the executor goes on.
fn assert_moved_aside(mut rig: Rig, copy: TempDir, what: &str) {
    let damaged = std::fs::read(copy.path().join("ledger.db")).unwrap();
    rig.with_ledger(copy);
    let aside = aside(rig.dir.path());
    let kept = aside.iter().find(|path| !path.to_str().unwrap().ends_with("-wal")).expect(what);
    assert_eq!(std::fs::read(kept).unwrap(), damaged, "{what}");
    let story = rig.evidence();
    assert_eq!((story.len(), story[0].reason.as_str()), (1, "ledger_new"), "{what}");
    assert!(story[0].detail.contains("damaged"), "{what}: {}", story[0].detail);
    rig.plane.open.clear();
    let form = OrderForm::new(3, &run_backup());
    rig.plane.issue(form.clone());
    rig.poll();
    assert!(rig.about(&form).len() == 1, "{what}");
}

#[test]
fn a_ledger_that_is_cut_off_zeroed_or_something_else_is_moved_aside() {
    let damages: [(&str, Damage); 6] = [
        ("cut in the middle", |bytes| bytes.truncate(bytes.len() / 2)),
        ("cut in the first page", |bytes| bytes.truncate(100)),
        ("zeroed", |bytes| bytes.fill(0)),
        ("zeroed from the second page on", |bytes| bytes[4096..].fill(0)),
        ("another file", |bytes| *bytes = b"# not a ledger\n".repeat(1000)),
        ("its first page twice", |bytes| bytes.copy_within(..4096, 4096)),
    ];
    for (what, damage) in damages {
        let (rig, _) = experienced();
        let copy = closed_copy(&rig);
        let path = copy.path().join("ledger.db");
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        assert_moved_aside(rig, copy, what);
    }
}

#[test]
fn an_empty_file_is_a_new_ledger_and_not_one_that_is_well() {
    let (mut rig, _) = experienced();
    let copy = crate::common::temp_dir();
    std::fs::write(copy.path().join("ledger.db"), b"").unwrap();
    rig.with_ledger(copy);
    assert_eq!(rig.evidence()[0].reason, "ledger_new");
}

#[test]
fn a_log_whose_ledger_is_gone_is_kept() {
    let (mut rig, _) = experienced();
    let copy = rig.copy_ledger();
    let log = std::fs::read(copy.path().join("ledger.db-wal")).unwrap();
    assert!(!log.is_empty());
    std::fs::remove_file(copy.path().join("ledger.db")).unwrap();
    rig.with_ledger(copy);
    assert_eq!(rig.evidence()[0].reason, "ledger_new");
    let aside = aside(rig.dir.path());
    assert_eq!((aside.len(), std::fs::read(&aside[0]).unwrap()), (1, log));
}

#[test]
fn a_value_that_cannot_be_read_is_damage_too() {
    for change in [
        "UPDATE facts SET value = 'sometime' WHERE name = 'high_water'",
        "UPDATE orders SET id = 'x' WHERE state = 'waiting'",
        "UPDATE orders SET payload_sha256 = x'00' WHERE state = 'waiting'",
        "UPDATE states SET since = ''",
        "UPDATE ledgers SET id = 'x'",
        "INSERT INTO intents (json) VALUES ('{}')",
        "DELETE FROM ledgers",
        "DROP TABLE intents",
    ] {
        let (rig, _) = experienced();
        let copy = closed_copy(&rig);
        let db = Connection::open(copy.path().join("ledger.db")).unwrap();
        db.execute_batch(change).unwrap();
        drop(db);
        assert_moved_aside(rig, copy, change);
    }
}

#[test]
fn a_new_ledger_is_reported_also_when_the_process_ends_before_it_has_said_so() {
    let (mut rig, _) = experienced();
    let copy = crate::common::temp_dir();
    let path = copy.path().join("ledger.db");
    let fresh = compliance_protocol::name::Id::new(rig.reading.wall, [1; 10]);
    drop(Ledger::open(&path, fresh, rig.reading.boottime).unwrap());
    rig.with_ledger(copy);
    assert_eq!(rig.evidence()[0].reason, "ledger_new");
    rig.restart();
    assert_eq!(rig.because("ledger_new").len(), 1);
}

#[test]
fn the_ledger_of_a_release_two_versions_newer_is_left_alone() {
    let (rig, _) = experienced();
    let copy = closed_copy(&rig);
    let path = copy.path().join("ledger.db");
    let at = |version: i64| {
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
    };
    at(3);
    let before = std::fs::read(&path).unwrap();
    let refused = try_start(&path, rig.reading, 1, &rig.setup, 90);
    assert!(matches!(refused, Err(LedgerError::Newer(3))));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // One version newer may be what a rollback asks an older release to open.
    at(2);
    assert!(try_start(&path, rig.reading, 1, &rig.setup, 91).is_ok());
    assert!(aside(copy.path()).is_empty());
}

/// What may happen after one byte was changed.
#[derive(Debug, PartialEq)]
enum Fate {
    Unnoticed,
    MovedAside,
    NewerRelease,
}

/// Starts on a ledger of which one byte was changed, and lets it work. It may fail once it sees the damage,
/// and is then started again, as systemd would.
fn work(rig: &mut Rig, path: &Path, salt: u64) -> Fate {
    for attempt in 0..3 {
        let mut engine = match try_start(path, rig.reading, 1, &rig.setup, salt * 10 + attempt) {
            Ok(engine) => engine,
            Err(LedgerError::Newer(_)) => return Fate::NewerRelease,
            Err(error) => panic!("{error}"),
        };
        if try_work(&mut engine, rig).is_ok() {
            let moved = !aside(path.parent().unwrap()).is_empty();
            return if moved { Fate::MovedAside } else { Fate::Unnoticed };
        }
    }
    panic!("it does not recover")
}

fn try_work(engine: &mut Engine, rig: &mut Rig) -> Result<(), LedgerError> {
    let at = rig.reading;
    engine.tick(at)?;
    for request in [Request::Pending { bytes: 1 << 20 }, Request::Status {}] {
        engine.handle(request, at)?;
    }
    let jobs = engine.take_jobs();
    std::mem::swap(&mut rig.engine, engine);
    for job in jobs {
        rig.run(job);
    }
    std::mem::swap(&mut rig.engine, engine);
    Ok(())
}

#[test]
fn whatever_byte_is_changed_the_executor_goes_on_and_starts_no_order_twice() {
    let (mut rig, form) = experienced();
    let copy = closed_copy(&rig);
    let whole = std::fs::read(copy.path().join("ledger.db")).unwrap();
    let runs = rig.backups_run();
    let mut random = crate::common::random(7);
    let mut noticed = 0;
    let cases = std::env::var("DAMAGE_CASES").map_or(150, |n| n.parse().unwrap());
    for case in 0..cases {
        let mut dice = [0; 8];
        random(&mut dice);
        let place = usize::try_from(u64::from_le_bytes(dice)).unwrap() % whole.len();
        let mut bytes = whole.clone();
        bytes[place] ^= dice[7] | 1;
        let dir = crate::common::temp_dir();
        let path = dir.path().join("ledger.db");
        std::fs::write(&path, &bytes).unwrap();
        let fate = work(&mut rig, &path, 1000 + case);
        assert_eq!(rig.backups_run(), runs, "byte {place}");
        match fate {
            Fate::MovedAside => {
                noticed += 1;
                assert_eq!(std::fs::read(&aside(dir.path())[0]).unwrap(), bytes, "byte {place}");
                assert_eq!(evidence_in(&path)[0].reason, "ledger_new", "byte {place}");
            }
            Fate::Unnoticed | Fate::NewerRelease => {}
        }
    }
    assert!(noticed > 0);
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
}
