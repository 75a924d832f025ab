//! When rounds run, and what they leave.

use super::*;

#[test]
fn changes_are_recorded_once_and_not_at_each_round() {
    let mut rig = settled_with(mode(HealMode::Never));
    goes_stale(&mut rig);
    pass(&mut rig, Span::from_secs(600));
    rig.restart();
    rig.reboot();
    pass(&mut rig, Span::from_secs(600));
    assert_eq!(rig.because("drift").len(), 1, "getting older is no change");
    rig.age_backup(Span::from_hours(1));
    pass(&mut rig, Span::from_secs(600));
    assert_eq!(rig.because("compliant").len(), 2);
    rig.host.remove(ARCHIVE);
    pass(&mut rig, Span::from_secs(600));
    rig.host.write(ARCHIVE, b"other".to_vec());
    pass(&mut rig, Span::from_secs(600));
    assert_eq!(rig.because("drift").len(), 3, "gone, and then of another length");
}

#[test]
fn a_summary_is_left_each_hour_and_with_each_change() {
    let mut rig = settled_with(mode(HealMode::Never));
    assert_eq!(rig.because("round").len(), 1, "with the first look");
    pass(&mut rig, Span::from_hours(1));
    let summaries = rig.because("round");
    assert_eq!(summaries.len(), 2);
    let post = &summaries[1].post;
    assert_eq!(post["rounds"], 240);
    assert_eq!(post["max_gap_ms"], ROUND.as_millis());
    assert_eq!(
        (&post["first"], &post["last"]),
        (&T0.to_string().into(), &rig.reading.wall.to_string().into())
    );
    let states = post["states"].as_object().unwrap();
    assert_eq!((states.len(), states["backups"].as_str()), (6, Some("compliant")));
    let opens = post["window"]["opens"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(opens > T0 && opens.to_string().contains("T02:00"), "{opens}");
    // A gap shows: the machine was off for ten minutes.
    rig.pass(Span::from_secs(600));
    goes_stale(&mut rig);
    let summaries = rig.because("round");
    assert_eq!(summaries.len(), 3);
    assert_eq!(summaries[2].post["max_gap_ms"], 600_000 + ROUND.as_millis());
    assert_eq!(summaries[2].post["states"]["backups"], "drifted");
}

#[test]
fn rounds_that_take_longer_than_their_interval_do_not_pile_up() {
    let mut rig = settled();
    rig.pass(ROUND);
    rig.engine.tick(rig.reading).unwrap();
    let slow = rig.engine.take_jobs();
    assert_eq!(slow.len(), 1);
    for _ in 0..10 {
        rig.pass(ROUND);
        rig.engine.tick(rig.reading).unwrap();
    }
    assert!(rig.engine.take_jobs().is_empty());
    for job in slow {
        rig.run(job);
    }
    rig.pass(ROUND);
    rig.engine.tick(rig.reading).unwrap();
    assert_eq!(rig.engine.take_jobs().len(), 1);
}

#[test]
fn a_hint_during_a_slow_round_brings_the_next_one_forward_when_that_has_ended() {
    let mut rig = settled();
    rig.pass(ROUND);
    rig.engine.tick(rig.reading).unwrap();
    let slow = rig.engine.take_jobs();
    rig.engine.hint(Err("it is not there".to_owned()), rig.reading).unwrap();
    rig.pass(Span::from_secs(5));
    rig.engine.tick(rig.reading).unwrap();
    assert!(rig.engine.take_jobs().is_empty(), "the slow round is still under way");
    for job in slow {
        rig.run(job);
    }
    rig.pass(Span::from_secs(1));
    rig.engine.tick(rig.reading).unwrap();
    assert_eq!(rig.engine.take_jobs().len(), 1);
}

#[test]
fn a_round_that_was_judged_by_a_replaced_baseline_heals_nothing() {
    let mut rig = settled();
    rig.age_backup(Span::from_hours(50));
    rig.pass(ROUND);
    rig.engine.tick(rig.reading).unwrap();
    let old = rig.engine.take_jobs();
    // Meanwhile a baseline comes that allows a week.
    let mut baseline = rig.plane.keys.baseline();
    baseline.version = 2;
    if let Section::Expected(backups) = &mut baseline.backups {
        backups.jobs[0].max_age_h = 168;
    }
    let envelope = compliance_signing::sign(&baseline, &[&rig.plane.keys.baseline]).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    let update = serde_json::json!({ "type": "update_baseline", "envelope": envelope });
    rig.plane.issue(OrderForm::new(1, &update));
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.handle(answer);
    for job in old {
        rig.run(job);
    }
    rig.settle();
    assert_eq!(rig.backups_run(), 0);
    assert_eq!(rig.because("baseline_updated").len(), 1);
    assert!(rig.because("drift").is_empty());
}
