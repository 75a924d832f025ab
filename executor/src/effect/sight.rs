//! What is seen of the machine during an activation.

use std::path::Path;

use compliance_checks::services;
use compliance_protocol::name::{AbsPath, StorePath};

use super::activation::Hands;
use super::bystanders::{self, deadman};
use crate::activation::{DeadMan, Health, Phase, Sight, Wanted};
use crate::{decision, switched};

impl Hands<'_> {
    pub(super) fn link(&self, path: &str) -> Option<StorePath> {
        let path: AbsPath = path.parse().ok()?;
        self.host.resolve(&path).ok()?.as_str().parse().ok()
    }

    pub(super) fn sight(&mut self, health: bool) -> Sight {
        let folder = Path::new(self.switching.folder.as_str());
        let profile = self.switching.profile.to_string();
        // Asked before and after the rest, or else a switch that ends meanwhile would seem to have ended without
        // the new system.
        let began = self.is_switching();
        let sight = Sight {
            running: self.link("/run/current-system"),
            profile: self.link(&profile),
            default: self.boot_default(),
            once: self.once().ok(),
            switching: None,
            deadman: self.deadman(),
            ended: switched::read(folder, self.activation.id).ok(),
            decision: decision::decided(folder, self.activation.id).ok(),
            health: health.then(|| self.units_health()).flatten(),
        };
        let probes = sight.health.is_some() && began == Some(false) && self.asks_probes(&sight);
        let probes = if probes { self.probes() } else { Health::default() };
        let health = sight.health.map(|health| health.and(probes));
        let switching = began.zip(self.is_switching()).map(|(began, ended)| began || ended);
        Sight { switching, health, ..sight }
    }

    /// Whether the probes count. On the way back from a system they do not, and would only hold that up.
    fn asks_probes(&self, sight: &Sight) -> bool {
        let before = self.activation.before.as_ref().map(|before| &before.system);
        !matches!(self.activation.phase, Phase::Undoing(_)) || sight.running.as_ref() == before
    }

    fn is_switching(&self) -> Option<bool> {
        bystanders::is_switching(self.host)
    }

    fn unit(&self, name: &str) -> Option<String> {
        bystanders::unit(self.host, name)
    }

    fn deadman(&self) -> Option<DeadMan> {
        let unit = deadman(self.activation.id);
        let service = self.unit(&format!("{unit}.service"))?;
        let timer = self.unit(&format!("{unit}.timer"))?;
        Some(match (service.as_str(), timer.as_str()) {
            ("active" | "activating" | "deactivating" | "reloading", _) => DeadMan::AtWork,
            (_, "active" | "activating") => DeadMan::Armed,
            _ => DeadMan::Absent,
        })
    }

    fn units_health(&self) -> Option<Health> {
        let said = |unit: &str| services::said(self.host, unit);
        let units = self.host.all_units().ok()?;
        let health = Health::of_units(&units, &self.wanted()?, &said);
        let running = health.running().filter_map(|unit| unit.parse().ok()).collect::<Vec<_>>();
        let counted = self.host.units(&running).ok()?;
        Some(health.with_restarts(&counted))
    }

    /// The units that the running system wants to be started, and by which targets.
    fn wanted(&self) -> Option<Wanted> {
        let folder = "/run/current-system/etc/systemd/system";
        let names = |folder: &str| self.host.list(&folder.parse().ok()?).ok();
        let mut wanted = Wanted::new();
        for name in names(folder)? {
            let by = [".wants", ".requires"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let Some(by) = by else { continue };
            for unit in names(&format!("{folder}/{name}"))? {
                wanted.entry(unit).or_default().insert(by.to_owned());
            }
        }
        Some(wanted)
    }
}
