//! What an activation is about to do, for its evidence: room, and which units the switch would touch. Names only.

use std::collections::BTreeMap;

use compliance_protocol::name::UnitName;
use serde::{Deserialize, Serialize};

use super::Room;

/// So many names at most.
const MAX_NAMES: usize = 100;

/// What an activation is about to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The store, as it was before anything was fetched.
    pub store: Option<Room>,
    /// Where what boots is kept.
    pub boot: Option<Room>,
    /// What would become of units, as the new system's `dry-activate` said.
    pub units: Changes,
}

/// What would become of units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The units, by what would be done to them: `stop`, `start`, `restart`, `reload`.
    #[serde(flatten)]
    units: BTreeMap<Change, Vec<UnitName>>,
    /// How many more it named.
    #[serde(default, skip_serializing_if = "is_zero")]
    more: usize,
}

/// What would be done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Stop,
    Start,
    Restart,
    Reload,
}

const LINES: [(&str, Change); 4] = [
    ("would stop the following units: ", Change::Stop),
    ("would start the following units: ", Change::Start),
    ("would restart the following units: ", Change::Restart),
    ("would reload the following units: ", Change::Reload),
];

impl Changes {
    /// From what `switch-to-configuration dry-activate` prints. What is no unit's name is only counted.
    pub fn told(printed: &[u8]) -> Self {
        let mut changes = Self::default();
        let text = String::from_utf8_lossy(printed);
        let mut room = MAX_NAMES;
        for line in text.lines() {
            let is = |(start, change): &(&str, Change)| Some((*change, line.strip_prefix(start)?));
            let Some((change, names)) = LINES.iter().find_map(is) else { continue };
            for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                match configured(name).parse() {
                    Ok(name) if room > 0 => {
                        room -= 1;
                        changes.units.entry(change).or_default().push(name);
                    }
                    _ => changes.more += 1,
                }
            }
        }
        changes
    }
}

/// The name as the configuration has it: what stands for a template's instance may be anything.
fn configured(name: &str) -> String {
    match (name.split_once('@'), name.rsplit_once('.')) {
        (Some((template, _)), Some((_, kind))) => format!("{template}@.{kind}"),
        _ => name.to_owned(),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(text: &str) -> serde_json::Value {
        serde_json::to_value(Changes::told(text.as_bytes())).unwrap()
    }

    #[test]
    fn the_units_that_a_switch_would_touch_are_taken_from_its_dry_run_and_nothing_else() {
        let text = "\
            would stop the following units: old.service, accounts-daemon.service\n\
            would NOT stop the following changed units: user@1000.service\n\
            would activate the configuration...\n\
            a script prints the name of a patient\n\
            would restart systemd\n\
            would reload the following units: dbus.service\n\
            would restart the following units: nginx.service, sshd.service\n\
            would start the following units: accounts-daemon.service\n";
        let expected = json!({
            "stop": ["old.service", "accounts-daemon.service"],
            "reload": ["dbus.service"],
            "restart": ["nginx.service", "sshd.service"],
            "start": ["accounts-daemon.service"],
        });
        assert_eq!(told(text), expected);
        assert_eq!(told("nothing would be done\n"), json!({}));
    }

    #[test]
    fn an_instance_is_told_by_its_template() {
        let text = "would restart the following units: export@anna.service, getty@tty1.service\n";
        assert_eq!(told(text), json!({ "restart": ["export@.service", "getty@.service"] }));
    }

    #[test]
    fn names_are_bounded_and_what_is_no_name_is_only_counted() {
        let text = "would start the following units: a.service, no name at all, b.timer\n";
        assert_eq!(told(text), json!({ "start": ["a.service", "b.timer"], "more": 1 }));
        let many: Vec<_> = (0..150).map(|n| format!("u{n}.service")).collect();
        let told = told(&format!("would stop the following units: {}\n", many.join(", ")));
        assert_eq!(told["stop"].as_array().unwrap().len(), 100);
        assert_eq!(told["more"], 50);
    }

    #[test]
    fn an_outline_reads_back() {
        let units = Changes::told(b"would reload the following units: dbus.service\n");
        let outline = Outline { store: Some(Room { free: 3, needed: 2 }), boot: None, units };
        let text = serde_json::to_string(&outline).unwrap();
        assert_eq!(serde_json::from_str::<Outline>(&text).unwrap(), outline);
    }
}
