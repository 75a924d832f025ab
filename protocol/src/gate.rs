//! Gates: what must hold, all at once, before something is done to the host.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// One gate's answer. The conjunction of all decides: only [`GateState::Open`] lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Which gate.
    pub gate: GateName,
    /// Its answer.
    pub state: GateState,
    /// Why, in one sentence.
    pub why: String,
    /// When a closed gate opens, if that is known.
    pub until: Option<Timestamp>,
}

/// The gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateName {
    /// Nobody else is acting on the host.
    Busy,
    /// The time is trusted.
    Clock,
    /// The control plane was heard of lately.
    Head,
    /// Healing is not paused.
    Pause,
    /// The policy allows this check to heal, and the breaker has not tripped.
    Policy,
    /// The system did not fail lately.
    Quarantine,
    /// Not more often than the limit.
    Rate,
    /// The machine is not about to go down.
    Shutdown,
    /// There is room for what is to come.
    Space,
    /// Nobody is switching to another system, and what runs and boots can be seen.
    Switch,
    /// The maintenance window is open.
    Window,
}

/// A gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// Lets through.
    Open,
    /// Does not.
    Closed,
    /// Could not be asked, which counts as closed.
    Unknown,
}

impl Gate {
    /// An open gate.
    pub fn open(gate: GateName, why: impl Into<String>) -> Self {
        Self { gate, state: GateState::Open, why: why.into(), until: None }
    }

    /// A closed gate, with the time when it opens if that is known.
    pub fn closed(gate: GateName, why: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self { gate, state: GateState::Closed, why: why.into(), until }
    }

    /// A gate that could not be asked.
    pub fn unknown(gate: GateName, why: impl Into<String>) -> Self {
        Self { gate, state: GateState::Unknown, why: why.into(), until: None }
    }

    /// Whether it lets through.
    pub fn is_open(&self) -> bool {
        self.state == GateState::Open
    }
}
