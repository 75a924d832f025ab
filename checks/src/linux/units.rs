//! Unit states, over D-Bus.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use compliance_protocol::name::UnitName;
use zbus::wire::serialized::Data;
use zbus::{ObjectPath, Variant};

use super::bus::{Bus, Call, Deadline, Reply, SYSTEMD, Sockets};
use crate::host::{HostError, UnitState};

/// How long systemd may take for everything.
const LIMIT: Duration = Duration::from_secs(2);

/// systemd, with the connection to it that is kept: making one costs it some milliseconds, an answer tens of
/// microseconds. What it tells unasked meanwhile is thrown away with each answer.
#[derive(Debug)]
pub(super) struct Units {
    sockets: Sockets,
    limit: Duration,
    bus: Mutex<Option<Bus>>,
}

impl Default for Units {
    fn default() -> Self {
        Self { sockets: Sockets::default(), limit: LIMIT, bus: Mutex::new(None) }
    }
}

impl Units {
    /// All units that systemd has loaded.
    pub(super) fn all(&self) -> Result<Vec<UnitState>, HostError> {
        let units = self.with_bus(|bus, deadline| {
            let call = Call::new(MANAGER_PATH, MANAGER, "ListUnits", ("", &()))?;
            only(bus.ask(&[call], deadline)?)?.read(listed)
        })?;
        Ok(units.into_iter().map(|unit| unit.state).collect())
    }

    /// The named units, whatever their state, and all others that have failed.
    pub(super) fn ask(&self, named: &[UnitName]) -> Result<Vec<UnitState>, HostError> {
        self.with_bus(|bus, deadline| ask(bus, named, deadline))
    }

    fn with_bus<T>(
        &self,
        ask: impl Fn(&mut Bus, Deadline) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let deadline = Deadline::after(self.limit);
        let mut kept = self.bus.lock().unwrap_or_else(PoisonError::into_inner);
        let old = kept.take();
        let was_old = old.is_some();
        let mut bus = old.map_or_else(|| Bus::connect(&self.sockets, deadline), Ok)?;
        let mut answer = ask(&mut bus, deadline);
        // systemd hangs up when it executes itself anew.
        if was_old && matches!(answer, Err(HostError::Io { .. })) {
            bus = Bus::connect(&self.sockets, deadline)?;
            answer = ask(&mut bus, deadline);
        }
        if answer.is_ok() {
            *kept = Some(bus);
        }
        answer
    }
}

fn ask(bus: &mut Bus, named: &[UnitName], deadline: Deadline) -> Result<Vec<UnitState>, HostError> {
    // systemd refuses the whole question when one name in it is a template, which is no unit.
    let (templates, named): (Vec<_>, Vec<_>) =
        named.iter().map(UnitName::as_str).partition(|name| name.contains("@."));
    let calls = [
        Call::new(MANAGER_PATH, MANAGER, "ListUnitsFiltered", ("as", &vec!["failed"]))?,
        Call::new(MANAGER_PATH, MANAGER, "ListUnitsByNames", ("as", &named))?,
    ];
    let [failed, ours] =
        <[Reply; 2]>::try_from(bus.ask(&calls, deadline)?).map_err(|_| incomplete())?;
    let (mut failed, mut ours) = (failed.read(listed)?, ours.read(listed)?);
    if ours.len() != named.len() {
        return Err(incomplete());
    }
    ask_services(bus, &mut ours, deadline)?;
    failed.retain(|unit| !ours.iter().any(|ours| ours.path == unit.path));
    // The answer has the units' own names; what was asked for may be an alias.
    for (unit, name) in ours.iter_mut().zip(named) {
        name.clone_into(&mut unit.state.unit);
    }
    let templates = templates.into_iter().map(not_found);
    Ok(failed.into_iter().chain(ours).map(|unit| unit.state).chain(templates).collect())
}

/// Asks for what only services have, and of active ones only for what changes while they are.
fn ask_services(bus: &mut Bus, units: &mut [Listed], deadline: Deadline) -> Result<(), HostError> {
    let is_service = |unit: &&mut Listed| {
        unit.state.unit.ends_with(".service")
            && !matches!(&*unit.state.load, "not-found" | "masked")
    };
    let services: Vec<_> = units.iter_mut().filter(is_service).collect();
    let mut calls = Vec::new();
    for unit in &services {
        for property in properties(&unit.state) {
            let arguments = ("ss", &(SERVICE, *property));
            calls.push(Call::new(&unit.path, PROPERTIES, "Get", arguments)?);
        }
    }
    let mut replies = bus.ask(&calls, deadline)?.into_iter();
    for unit in services {
        for property in properties(&unit.state) {
            let reply = replies.next().ok_or_else(incomplete)?;
            match *property {
                TYPE => unit.state.kind = reply.read(text)?,
                RESULT => unit.state.result = reply.read(text)?,
                _ => unit.state.restarts = reply.read(number)?,
            }
        }
    }
    Ok(())
}

fn properties(unit: &UnitState) -> &'static [&'static str] {
    if unit.active == "active" { &[RESTARTS] } else { &[RESTARTS, TYPE, RESULT] }
}

/// A unit of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    state: UnitState,
    path: String,
}

/// What `ListUnits` and its kin give: `a(ssssssouso)`.
fn listed(data: &Data<'_, '_>) -> Option<Vec<Listed>> {
    type Unit<'a> = (
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        ObjectPath<'a>,
        u32,
        &'a str,
        ObjectPath<'a>,
    );
    let (units, _): (Vec<Unit<'_>>, _) = data.deserialize().ok()?;
    let one = |(name, _, load, active, sub, _, path, _, job, _): Unit<'_>| Listed {
        state: UnitState {
            load: load.to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
            job: job.to_owned(),
            ..not_found(name)
        },
        path: path.to_string(),
    };
    Some(units.into_iter().map(one).collect())
}

/// The units in a whole message, as it comes from systemd: what there is to fuzz.
pub fn decode(message: &[u8]) -> Option<Vec<UnitState>> {
    let units = Reply::parse(message)?.read(listed).ok()?;
    Some(units.into_iter().map(|unit| unit.state).collect())
}

fn text(data: &Data<'_, '_>) -> Option<String> {
    match data.deserialize::<Variant<'_>>().ok()?.0 {
        Variant::Str(text) => Some(text.to_string()),
        _ => None,
    }
}

fn number(data: &Data<'_, '_>) -> Option<u32> {
    match data.deserialize::<Variant<'_>>().ok()?.0 {
        Variant::U32(number) => Some(number),
        _ => None,
    }
}

fn not_found(name: &str) -> UnitState {
    UnitState {
        unit: name.to_owned(),
        load: "not-found".to_owned(),
        active: "inactive".to_owned(),
        sub: "dead".to_owned(),
        job: String::new(),
        kind: String::new(),
        result: String::new(),
        restarts: 0,
    }
}

fn only(replies: Vec<Reply>) -> Result<Reply, HostError> {
    replies.into_iter().next().ok_or_else(incomplete)
}

fn incomplete() -> HostError {
    HostError::Garbage { what: SYSTEMD.to_owned(), why: "the answer is incomplete".to_owned() }
}

const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const RESTARTS: &str = "NRestarts";
const RESULT: &str = "Result";
const TYPE: &str = "Type";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

#[cfg(test)]
mod tests;
