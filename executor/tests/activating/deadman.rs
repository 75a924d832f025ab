//! The dead-man: `compliance-executor undo`, alone on the machine.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use compliance_executor::activation::Class;
use compliance_executor::decision::decided;
use compliance_executor::undo::{Undoing, Undone, undo};

use super::*;

/// Time that passes only by waiting, or by being let pass.
#[derive(Default)]
struct Clock(Cell<i64>);

impl Clock {
    fn pass(&self, span: Duration) {
        self.0.set(self.0.get() + i64::try_from(span.as_millis()).unwrap());
    }

    fn undo(&self, order: &Undoing, site: &Site) -> Undone {
        let uptime = || Span::from_millis(self.0.get());
        undo(order, &*site.rig.host, &uptime, &mut |span| self.pass(span))
    }
}

fn undoing(site: &Site) -> Undoing {
    Undoing {
        activation: Id::new(T0, [3; 10]),
        before: OLD.parse().unwrap(),
        next: NEXT.parse().unwrap(),
        class: Class::Live,
        systemd_run: "/old/systemd-run".parse().unwrap(),
        systemctl: "/old/systemctl".parse().unwrap(),
        switch_s: 900,
        folder: site.folder.path().to_str().unwrap().parse().unwrap(),
    }
}

#[test]
fn the_dead_man_goes_back_and_a_second_time_does_no_harm() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", NEXT, T0);
    let order = undoing(&site);
    for _ in 0..2 {
        assert_eq!(Clock::default().undo(&order, &site), Undone::Back);
        assert_eq!(site.links(), [OLD, OLD, OLD]);
    }
    assert_eq!(decided(site.folder.path(), order.activation).unwrap(), Some(Decision::Undo));
}

#[test]
fn the_dead_man_leaves_what_is_proven_and_what_somebody_else_chose() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-x", T0);
    let order = undoing(&site);
    assert_eq!(Clock::default().undo(&order, &site), Undone::Left);
    site.rig.host.link("/run/current-system", NEXT, T0);
    let proven = Undoing { activation: Id::new(T0, [4; 10]), ..order };
    decide(site.folder.path(), proven.activation, Decision::Proven).unwrap();
    assert_eq!(Clock::default().undo(&proven, &site), Undone::Left);
    assert_eq!(site.links()[0], NEXT);
}

#[test]
fn the_dead_man_tries_again_while_somebody_switches() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", NEXT, T0);
    let refused = Arc::new(Mutex::new(3));
    let left = Arc::clone(&refused);
    site.rig.host.install_deed(
        "/old/systemd-run",
        Box::new(move |host, arguments| {
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return Ok(Output { code: Some(1), ..said("") });
            }
            assert!(arguments.iter().any(|part| part == "test"));
            host.link("/run/current-system", OLD, T0);
            Ok(said(""))
        }),
    );
    let clock = Clock::default();
    assert_eq!(clock.undo(&undoing(&site), &site), Undone::Back);
    assert_eq!(clock.0.get(), 30_000, "ten seconds between attempts");
    assert_eq!(restarts(&site), [] as [Vec<String>; 0]);
}

#[test]
fn what_the_dead_man_is_armed_with_reads_back() {
    let order = undoing(&Site::new());
    assert_eq!(Undoing::parse(&order.arguments()).unwrap(), order);
    let error = Undoing::parse(&order.arguments()[1..]).unwrap_err().to_string();
    assert!(error.contains("--activation=VALUE"), "{error}");
}

#[test]
fn where_no_switch_leads_back_it_restarts_the_machine_and_the_harder_the_longer_that_takes() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", NEXT, T0);
    let refused = |_: &FakeHost, _: &[String]| Ok(Output { code: Some(1), ..said("") });
    site.rig.host.install_deed("/old/systemd-run", Box::new(refused));
    let clock = Clock::default();
    assert_eq!(clock.undo(&undoing(&site), &site), Undone::Failed, "the fake one stays up");
    let verbs = [
        &["reboot", "--check-inhibitors=no"][..],
        &["reboot", "--force"],
        &["reboot", "--force", "--force"],
    ];
    assert_eq!(restarts(&site).iter().map(|argv| &argv[1..]).collect::<Vec<_>>(), verbs);
    // Twice the limit of a switch and twenty minutes; then five for each restart.
    assert_eq!(clock.0.get(), (2 * 900 + 1200 + 3 * 300) * 1000);
}

#[test]
fn what_always_ended_so_is_no_reason_to_restart_a_machine_that_is_back() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", NEXT, T0);
    site.rig.host.install_deed(
        "/old/systemd-run",
        Box::new(|host, _| {
            host.link("/run/current-system", OLD, T0);
            Ok(Output { code: Some(2), ..said("") })
        }),
    );
    let clock = Clock::default();
    assert_eq!(clock.undo(&undoing(&site), &site), Undone::Back);
    assert_eq!((clock.0.get(), restarts(&site).len()), (10_000, 0), "at the second attempt");
}

#[test]
fn a_trial_is_not_undone_while_somebody_switches() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", NEXT, T0);
    let switching = "nixos-rebuild-switch-to-configuration.service";
    site.rig.host.set_units(Ok(vec![unit(switching, "loaded", "active", "running")]));
    let order = Undoing { class: Class::Reboot, ..undoing(&site) };
    let clock = Clock::default();
    assert_eq!(clock.undo(&order, &site), Undone::Failed, "the fake one stays up");
    assert!(clock.0.get() > (2 * 900 + 1200) * 1000, "it waited first: {}", clock.0.get());
}

#[test]
fn a_decision_that_cannot_be_written_does_not_keep_it_from_going_back() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", NEXT, T0);
    // A file stands where the folder should be.
    let folder = site.folder.path().join("file");
    std::fs::write(&folder, "").unwrap();
    let order = Undoing { folder: folder.to_str().unwrap().parse().unwrap(), ..undoing(&site) };
    let clock = Clock::default();
    assert_eq!(clock.undo(&order, &site), Undone::Back);
    assert_eq!(clock.0.get(), 20_000, "it asked three times");
    assert!(decided(Path::new(order.folder.as_str()), order.activation).is_err());
}

#[test]
fn what_was_booted_is_undone_by_a_boot() {
    let site = Site::new();
    let order = Undoing { class: Class::Reboot, ..undoing(&site) };
    assert_eq!(Clock::default().undo(&order, &site), Undone::Back, "the old one runs already");
    assert_eq!(restarts(&site), [] as [Vec<String>; 0]);
    site.rig.host.link("/run/current-system", NEXT, T0);
    assert_eq!(Clock::default().undo(&order, &site), Undone::Failed, "the fake one stays up");
    assert_eq!(restarts(&site).len(), 3);
    assert_eq!(ran(&site, "systemd-run"), 0, "nothing is switched");
}
