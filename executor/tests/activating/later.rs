//! What a later release left in the ledger when a rollback brought this one back to it.

use super::*;
use compliance_protocol::evidence::Outcome::{Failed, Reverted, Success};
use rusqlite::Connection;
use serde_json::{Value, json};

/// An activation that was under way when the later release wrote its intent like this.
fn rewritten(change: impl FnOnce(&mut Value)) -> (Site, OrderForm) {
    let mut site = Site::new();
    let form = site.order(activate(1));
    assert_eq!(site.links(), [NEXT, OLD, OLD]);
    let db = Connection::open(site.rig.ledger_path()).unwrap();
    let json: String = db.query_row("SELECT json FROM intents", [], |row| row.get(0)).unwrap();
    let mut intent: Value = serde_json::from_str(&json).unwrap();
    change(&mut intent);
    db.execute("UPDATE intents SET json = ?1", [intent.to_string()]).unwrap();
    (site, form)
}

fn with_unknown_phase(intent: &mut Value) {
    intent["activation"]["phase"] = json!({ "Ruminating": { "until": 12 } });
}

/// The executor of this release starts, and some time passes.
fn starts(site: &mut Site) {
    site.rig.restart();
    site.minutes(4);
    assert!(site.rig.because("ledger_new").is_empty(), "it is no damage");
}

fn steps(site: &Site, form: &OrderForm, name: &str) -> usize {
    site.last(form).actions.iter().filter(|action| action.name == name).count()
}

fn is_decided(site: &Site) -> bool {
    let mut left = std::fs::read_dir(site.folder.path()).unwrap();
    left.any(|it| it.unwrap().file_name().to_str().unwrap().starts_with("activation-"))
}

#[test]
fn fields_that_it_does_not_know_are_left_out_and_the_activation_goes_on() {
    let (mut site, form) = rewritten(|intent| {
        intent["mood"] = json!("good");
        let activation = &mut intent["activation"];
        activation["mood"] = json!({ "good": true });
        activation["target"]["mood"] = json!(1);
        activation["limits"]["mood_s"] = json!(7);
        activation["before"]["mood"] = json!([]);
        activation["phase"]["Proving"]["mood"] = json!(null);
        intent["steps"][0]["mood"] = json!(0);
        intent["gates"] = json!([{ "gate": "mood", "state": "open", "why": "", "until": null }]);
    });
    starts(&mut site);
    assert_eq!(site.rig.about(&form), [outcome(Success, "activated")]);
    assert_eq!(site.links(), [NEXT, NEXT, NEXT]);
    assert_eq!(steps(&site, &form, "realise"), 0, "a step that it cannot read is not told of");
    assert_eq!(steps(&site, &form, "switch_test"), 1);
}

#[test]
fn from_a_phase_that_it_cannot_read_it_goes_back_to_the_system_of_before() {
    let (mut site, form) = rewritten(with_unknown_phase);
    starts(&mut site);
    assert_eq!(site.rig.about(&form), [outcome(Reverted, "interrupted")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    assert!(!is_decided(&site), "what is decided was for the other release to say");
    assert!(site.machine.lock().unwrap().deadman.is_none());
}

#[test]
fn nothing_is_called_off_before_it_was_seen_which_system_runs() {
    let (mut site, form) = rewritten(with_unknown_phase);
    site.rig.host.unlink("/run/current-system");
    site.rig.restart();
    site.minutes(9);
    assert_eq!(site.rig.about(&form), []);
    assert!(site.machine.lock().unwrap().deadman.is_some() && !is_decided(&site));
    site.minutes(2);
    assert_eq!(site.rig.about(&form), [outcome(Failed, "interrupted")]);
    assert!(site.machine.lock().unwrap().deadman.is_some(), "it is left to the dead-man");
}

#[test]
fn where_the_system_of_before_runs_again_it_ends_so() {
    let (mut site, form) = rewritten(with_unknown_phase);
    site.rig.host.link("/run/current-system", OLD, T0);
    starts(&mut site);
    assert_eq!(site.rig.about(&form), [outcome(Reverted, "interrupted")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn what_it_had_made_of_profile_and_boot_default_is_put_back() {
    for boots in [false, true] {
        let (mut site, form) = rewritten(with_unknown_phase);
        site.rig.host.link(PROFILE, NEXT, T0);
        NEXT.clone_into(&mut site.machine.lock().unwrap().boots);
        if boots {
            site.machine.lock().unwrap().deadman = None;
            site.rig.reboot();
        } else {
            site.rig.restart();
        }
        site.minutes(4);
        assert_eq!(site.rig.about(&form), [outcome(Reverted, "interrupted")], "{boots}");
        assert_eq!(site.links(), [OLD, OLD, OLD], "{boots}");
    }
}

#[test]
fn a_boot_into_the_system_of_before_needs_no_switch() {
    let (mut site, form) = rewritten(with_unknown_phase);
    site.rig.host.link("/run/current-system", OLD, T0);
    site.rig.host.link(PROFILE, NEXT, T0);
    site.machine.lock().unwrap().deadman = None;
    show_units(&site.rig.host, &site.machine.lock().unwrap());
    site.rig.reboot();
    site.minutes(1);
    assert_eq!(site.rig.about(&form), [outcome(Reverted, "interrupted")]);
    assert_eq!(site.links(), [OLD, OLD, OLD], "the profile is put back");
    assert_eq!(steps(&site, &form, "switch_test"), 1, "the one of the later release");
}

#[test]
fn a_third_system_is_left_where_the_phase_cannot_be_read_either() {
    let (mut site, form) = rewritten(with_unknown_phase);
    let other = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-other";
    site.rig.host.link("/run/current-system", other, T0);
    starts(&mut site);
    assert_eq!(site.rig.about(&form), [outcome(Failed, "superseded")]);
    assert_eq!(site.links(), [other, OLD, OLD]);
}

#[test]
fn where_nothing_was_done_yet_there_is_nothing_to_go_back_from() {
    let (mut site, form) = rewritten(|intent| {
        with_unknown_phase(intent);
        intent["activation"]["before"] = Value::Null;
    });
    let runs = site.rig.host.runs().len();
    starts(&mut site);
    assert_eq!(site.rig.about(&form), [outcome(Failed, "interrupted")]);
    let since = site.rig.host.runs().split_off(runs);
    assert!(!since.iter().any(|argv| argv[0] == "/old/systemd-run"), "{since:?}");
}

#[test]
fn an_intent_of_which_only_the_order_can_be_read_ends_that_order_and_does_nothing() {
    type Change = fn(&mut Value);
    let changes: [Change; 3] = [
        |intent| intent["activation"]["before"] = json!({ "snapshot": 7 }),
        |intent| intent["activation"] = json!("elsewhere"),
        |intent| {
            intent["activation"] = Value::Null;
            intent["effect"] = json!({ "Defragment": { "disk": "sda" } });
        },
    ];
    for change in changes {
        let (mut site, form) = rewritten(change);
        let runs = site.rig.host.runs().len();
        starts(&mut site);
        assert_eq!(site.rig.about(&form), [outcome(Failed, "interrupted")]);
        let since = site.rig.host.runs().split_off(runs);
        assert!(!since.iter().any(|argv| argv[0].starts_with("/old/")), "{since:?}");
        assert!(Ledger::read(&site.rig.ledger_path()).unwrap().open_intents().unwrap().is_empty());
    }
}

#[test]
fn facts_that_it_does_not_know_and_fields_in_those_that_it_does_are_no_damage() {
    let mut site = Site::new();
    let db = Connection::open(site.rig.ledger_path()).unwrap();
    let quarantine = json!([{ "system": NEXT, "until": "2026-11-21T00:00:00.000Z", "mood": 1 }]);
    for (name, value) in [("mood", "good"), ("quarantine", &quarantine.to_string())] {
        db.execute("INSERT OR REPLACE INTO facts VALUES (?1, ?2)", [name, value]).unwrap();
    }
    starts(&mut site);
    let form = site.order(activate(1).issued(site.rig.reading.wall));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Deferred, "quarantined")]);
}
