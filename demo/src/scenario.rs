//! The scenarios: what is done, and what the site is expected to make of it.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::order::When;

/// The site at which they play.
pub(crate) const SITE: &str = "site-a";

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its name in addresses.
    pub(crate) id: &'static str,
    /// What the button says.
    pub(crate) title: &'static str,
    /// What is done and what should come of it, for people.
    pub(crate) story: &'static str,
    /// Who does it.
    pub(crate) who: Who,
    /// What is done.
    pub(crate) deed: Deed,
    /// The evidence that must come of it, in this order.
    pub(crate) expected: &'static [Expected],
    /// How long all of it may take, in seconds, beside what the viewer chose.
    pub(crate) limit_s: u64,
}

/// Who does what a scenario does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody or something at the clinic.
    Clinic,
    /// Whoever broke into the control plane.
    Attacker,
    /// The operator.
    Operator,
}

impl Who {
    /// All, in the page's order.
    pub(crate) const ALL: [Self; 3] = [Self::Clinic, Self::Attacker, Self::Operator];

    /// The heading.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Clinic => "At the clinic",
            Self::Attacker => "By an attacker who owns the control plane",
            Self::Operator => "By the operator",
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A hand at the site does it.
    Hand(&'static str),
    /// The same, for as many seconds as the viewer chose, or until the hand `undo` ends it before its time.
    HandFor {
        /// Breaks it, and mends it after its time.
        hand: &'static str,
        /// Mends it now.
        undo: &'static str,
    },
    /// A forged order is handed out.
    Forge,
    /// An order is handed out after its time.
    HoldBack,
    /// An order that was withheld and taken back is handed out after a later one.
    Replay,
    /// A restart is ordered that disrupts, for the window or for now.
    Restart(&'static str, When),
    /// The system is activated that does not run, of those that work.
    Update,
    /// A system is activated that does not work.
    UpdateTo(&'static str),
}

/// Evidence that must come.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The check it is about; any if none is named.
    pub(crate) check: Option<&'static str>,
    /// How it ends and why; one of these.
    pub(crate) ends: &'static [(Outcome, &'static str)],
}

const fn healed(check: &'static str) -> Expected {
    Expected { check: Some(check), ends: &[(Outcome::Success, "done")] }
}

const fn told(ends: &'static [(Outcome, &'static str)]) -> Expected {
    Expected { check: None, ends }
}

/// The one of that name.
pub(crate) fn called(id: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.id == id)
}

/// All of them.
pub(crate) static ALL: [Scenario; 14] = [
    Scenario {
        id: "stop-service",
        title: "Stop a service",
        story: "front-desk.service is stopped. The services check sees it within a round, restarts it, and watches that it stays up.",
        who: Who::Clinic,
        deed: Deed::Hand("stop-service"),
        expected: &[healed("services")],
        limit_s: 60,
    },
    Scenario {
        id: "stop-imaging",
        title: "Stop a service that has to wait",
        story: "imaging.service is stopped, which nobody restarts during consultations. The board turns red; the site's page says why it is not healed, and when it will be.",
        who: Who::Clinic,
        deed: Deed::Hand("stop-imaging"),
        expected: &[Expected {
            check: Some("services"),
            ends: &[(Outcome::Deferred, "drift"), (Outcome::Deferred, "outside_window")],
        }],
        limit_s: 60,
    },
    Scenario {
        id: "stale-backup",
        title: "Let the backup go stale",
        story: "The last backup becomes three days old. The backups check runs the job, and looks at what it left.",
        who: Who::Clinic,
        deed: Deed::Hand("age-backup"),
        expected: &[healed("backups")],
        limit_s: 60,
    },
    Scenario {
        id: "firewall",
        title: "Open a port in the firewall",
        story: "A rule lets telnet in. The kernel says who did it; the signed baseline's ruleset is loaded again, in one transaction.",
        who: Who::Clinic,
        deed: Deed::Hand("open-port"),
        expected: &[healed("firewall")],
        limit_s: 60,
    },
    Scenario {
        id: "journal",
        title: "Break the journal",
        story: "journald takes entries and keeps none. Its canary, written once a minute, is not found again; journald is restarted.",
        who: Who::Clinic,
        deed: Deed::Hand("deafen-journal"),
        expected: &[healed("logging")],
        limit_s: 150,
    },
    Scenario {
        id: "network",
        title: "Cut the control plane off",
        story: "The site's cable is pulled. Checks and healing go on, evidence queues on the appliance; when the cable is back all of it arrives, once, and nothing is missing.",
        who: Who::Clinic,
        deed: Deed::HandFor { hand: "cut-network", undo: "mend-network" },
        expected: &[
            told(&[(Outcome::Alert, "connectivity_lost")]),
            told(&[(Outcome::Alert, "connectivity_restored")]),
        ],
        limit_s: 120,
    },
    Scenario {
        id: "dns",
        title: "Break name resolution",
        story: "The clinic's resolver stops, and the agent has to ask it anew. It reaches nobody, lives on, and says so once names resolve again.",
        who: Who::Clinic,
        deed: Deed::HandFor { hand: "break-dns", undo: "mend-dns" },
        expected: &[
            told(&[(Outcome::Alert, "connectivity_lost")]),
            told(&[(Outcome::Alert, "connectivity_restored")]),
        ],
        limit_s: 120,
    },
    Scenario {
        id: "forged",
        title: "Send a forged order",
        story: "A perfect order, signed by a key that nobody trusts. It is refused by its signature, and the refusal is evidence.",
        who: Who::Attacker,
        deed: Deed::Forge,
        expected: &[told(&[(Outcome::Rejected, "bad_signature")])],
        limit_s: 60,
    },
    Scenario {
        id: "expired",
        title: "Send an expired order",
        story: "The operator's own order, held back for twenty minutes. It is refused by its time.",
        who: Who::Attacker,
        deed: Deed::HoldBack,
        expected: &[told(&[(Outcome::Expired, "expired")])],
        limit_s: 60,
    },
    Scenario {
        id: "replayed",
        title: "Replay an order",
        story: "The operator's own order, withheld and taken back, is brought after a later one. It is refused by its sequence.",
        who: Who::Attacker,
        deed: Deed::Replay,
        expected: &[told(&[(Outcome::Rejected, "replayed")])],
        limit_s: 90,
    },
    Scenario {
        id: "update",
        title: "Update to a good generation",
        story: "The next generation is tested, proven over a soak with the six checks and two polls, and only then what boots.",
        who: Who::Operator,
        deed: Deed::Update,
        expected: &[told(&[(Outcome::Success, "activated")])],
        limit_s: 180,
    },
    Scenario {
        id: "bad-update",
        title: "Update to one that is sick",
        story: "A unit of this generation cannot start. It never becomes what boots: the one of before is put back, and this one is left alone for a day.",
        who: Who::Operator,
        deed: Deed::UpdateTo("sick"),
        expected: &[told(&[
            (Outcome::Reverted, "worse_than_before"),
            (Outcome::Deferred, "quarantined"),
        ])],
        limit_s: 180,
    },
    Scenario {
        id: "window",
        title: "Act outside the window",
        story: "A restart of imaging.service is ordered, which nobody restarts during consultations. It waits, and says until when.",
        who: Who::Operator,
        deed: Deed::Restart("imaging.service", When::Window),
        expected: &[told(&[(Outcome::Deferred, "outside_window")])],
        limit_s: 60,
    },
    Scenario {
        id: "now",
        title: "Act now all the same",
        story: "The same restart is ordered for now. It needs as many signers as the trust file asks for; here that is one.",
        who: Who::Operator,
        deed: Deed::Restart("imaging.service", When::Now),
        expected: &[told(&[(Outcome::Success, "done")])],
        limit_s: 60,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_expects_something() {
        let names: BTreeSet<_> = ALL.iter().map(|scenario| scenario.id).collect();
        assert_eq!(names.len(), ALL.len());
        for scenario in &ALL {
            assert!(!scenario.expected.is_empty(), "{}", scenario.id);
            assert!(scenario.expected.iter().all(|expected| !expected.ends.is_empty()));
            assert_eq!(called(scenario.id).map(|found| found.id), Some(scenario.id));
        }
    }

    #[test]
    fn every_hand_has_its_script() {
        let hands = Path::new(env!("CARGO_MANIFEST_DIR")).join("site/hands");
        for scenario in &ALL {
            let named = match scenario.deed {
                Deed::Hand(name) => vec![name],
                Deed::HandFor { hand, undo } => vec![hand, undo],
                _ => Vec::new(),
            };
            for name in named {
                let script = std::fs::read_to_string(hands.join(name)).unwrap();
                assert_eq!(crate::hand::script_of(name), script, "{name}");
            }
        }
    }
}
