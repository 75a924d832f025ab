//! How pages write gates.

use compliance_protocol::gate::{self, GateName, GateState};
use compliance_protocol::time::Timestamp;

use super::view::{self, Mark, When};

pub(super) struct Gate {
    pub(super) name: &'static str,
    pub(super) mark: Mark,
    pub(super) why: String,
    pub(super) until: Option<When>,
}

/// The gates as a table shows them: those first that let nothing through.
pub(super) fn all(gates: &[gate::Gate], now: Timestamp) -> Vec<Gate> {
    let mut gates: Vec<_> = gates.iter().collect();
    gates.sort_by_key(|gate| gate.is_open());
    gates.into_iter().map(|gate| one(gate, now)).collect()
}

fn one(gate: &gate::Gate, now: Timestamp) -> Gate {
    Gate {
        name: name(gate.gate),
        mark: view::gate(gate.state),
        why: gate.why.clone(),
        until: gate.until.filter(|_| gate.state != GateState::Open).map(|at| view::when(at, now)),
    }
}

const fn name(gate: GateName) -> &'static str {
    match gate {
        GateName::Busy => "nobody else acts",
        GateName::Clock => "clock",
        GateName::Head => "control plane heard of",
        GateName::Pause => "not paused",
        GateName::Policy => "policy",
        GateName::Quarantine => "not in quarantine",
        GateName::Rate => "rate",
        GateName::Shutdown => "no shutdown scheduled",
        GateName::Space => "space",
        GateName::Switch => "nobody else switches",
        GateName::Window => "window",
    }
}
