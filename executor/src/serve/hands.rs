//! The threads that do what the engine asks for, other than looking: one acts on the host, one at a time; one
//! only prepares activations, since fetching a system may take hours in which other things have to be healed.

use std::sync::{Arc, mpsc};
use std::thread;

use compliance_checks::Host;
use compliance_protocol::gate::Gate;

use crate::authorise::Permit;
use crate::effect::{Performed, Tools, look_around, perform};

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Effect(Performed),
    LookAround(Vec<Gate>),
}

enum Task {
    Effect(Permit),
    LookAround,
}

/// Both threads. They end with the process: nothing waits for them.
pub(super) struct Hands {
    acts: mpsc::Sender<Task>,
    prepares: mpsc::Sender<Task>,
}

impl Hands {
    /// Starts them; each hands what it has done to `done`, which tells whether anybody still listens.
    pub(super) fn start(
        host: &Arc<dyn Host>,
        tools: &Tools,
        done: impl Fn(Done) -> bool + Clone + Send + 'static,
    ) -> Self {
        let start = || hand(Arc::clone(host), tools.clone(), done.clone());
        Self { acts: start(), prepares: start() }
    }

    /// Has this done. A thread that is gone has panicked, and then this process has ended.
    pub(super) fn perform(&self, permit: Permit) {
        let hand = if permit.effect().prepares() { &self.prepares } else { &self.acts };
        let _ = hand.send(Task::Effect(permit));
    }

    /// Has somebody look around.
    pub(super) fn look_around(&self) {
        let _ = self.acts.send(Task::LookAround);
    }
}

fn hand(
    host: Arc<dyn Host>,
    tools: Tools,
    done: impl Fn(Done) -> bool + Send + 'static,
) -> mpsc::Sender<Task> {
    let (sender, tasks) = mpsc::channel();
    thread::spawn(move || {
        for task in tasks {
            let came_of_it = match task {
                Task::Effect(permit) => {
                    Done::Effect(perform(permit, &*host, &tools, &compliance_clock::boottime))
                }
                Task::LookAround => Done::LookAround(look_around(&*host)),
            };
            if !done(came_of_it) {
                break;
            }
        }
    });
    sender
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::{Action, Activation, Event, Limits, Target};
    use crate::authorise::next_step;
    use crate::config::{BootLoader, Source, Switching};
    use crate::ledger::Ledger;
    use compliance_checks::command::Output;
    use compliance_protocol::name::Id;
    use compliance_protocol::time::{Span, Timestamp};
    use compliance_testkit::FakeHost;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_mins(1);

    fn tools() -> Tools {
        let path = |name: &str| format!("/bin/{name}").parse().unwrap();
        let switching = Switching {
            systemctl: path("systemctl"),
            systemd_run: path("systemd-run"),
            nix_store: path("nix-store"),
            nix_env: path("nix-env"),
            nix: path("nix"),
            helper: path("helper"),
            roots: path("roots"),
            boot: path("boot"),
            boot_loader: BootLoader::SystemdBoot { bootctl: path("bootctl") },
            profile: path("profile"),
            source: Source::default(),
            folder: path("folder"),
            probes: Vec::new(),
            limits: Limits::default(),
        };
        Tools {
            systemctl: None,
            switching: Some(switching),
            fills_sets: None,
            undo_dir: "/undo".into(),
        }
    }

    /// Permission for a step of an activation.
    fn permit(action: Action) -> Permit {
        let dir = tempfile::TempDir::new().unwrap();
        let id = Id::new(Timestamp::from_millis(1), [1; 10]);
        let system = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-next".parse().unwrap();
        let target = Target { system, nar_hash: None, flake: None, baseline_sha256: None };
        let activation = Activation::new(id, target, Limits::default(), Span::ZERO);
        let intent = serde_json::json!({
            "effect": null, "trigger": "Drift", "check": null, "subject": "", "findings": [], "pre": {}, "gates": [],
            "started_at": "2026-11-20T09:00:00.000Z", "boot_id": "00000000-0000-4000-8000-000000000001",
            "activation": activation,
        });
        let intent = serde_json::from_value(intent).unwrap();
        let (mut ledger, _) = Ledger::open(&dir.path().join("ledger"), id, Span::ZERO).unwrap();
        next_step(&ledger.record_activation(1, &intent).unwrap().unwrap(), action)
    }

    #[test]
    fn a_system_that_is_fetched_for_hours_holds_up_no_other_effect() {
        let host = FakeHost::default();
        let said = || Ok(Output { code: Some(0), stdout: Vec::new(), stderr: Vec::new() });
        let (release, hours) = mpsc::channel::<()>();
        host.install_deed(
            "/bin/nix-store",
            Box::new(move |_, _| {
                hours.recv_timeout(PATIENCE).expect("it is let go");
                said()
            }),
        );
        host.install_deed("/bin/systemctl", Box::new(move |_, _| said()));
        let host: Arc<dyn Host> = Arc::new(host);
        let (sender, all) = mpsc::channel();
        let hands = Hands::start(&host, &tools(), move |done| sender.send(done).is_ok());
        hands.perform(permit(Action::Realise));
        hands.perform(permit(Action::Disarm));
        hands.look_around();
        let event = || match all.recv_timeout(PATIENCE).unwrap() {
            Done::Effect(performed) => performed.event,
            Done::LookAround(_) => None,
        };
        assert_eq!(event(), Some(Event::Done));
        assert_eq!(event(), None, "nor a look around");
        release.send(()).unwrap();
        assert!(matches!(event(), Some(Event::Realised(Ok(_)))));
    }
}
