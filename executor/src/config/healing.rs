//! What may be healed without an order, and how often.

use compliance_checks::CheckId;
use compliance_protocol::time::Span;
use serde::Deserialize;

/// What may be healed without an order, per check.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heal {
    /// The services check.
    pub services: HealMode,
    /// The backups check.
    pub backups: HealMode,
    /// The logging check.
    pub logging: HealMode,
    /// The firewall check.
    pub firewall: HealMode,
    /// The patching check.
    pub patching: HealMode,
    /// The least time between two heals of the same thing, in seconds.
    pub min_interval_s: u32,
    /// How long a unit must stay up after a restart before that counts as healed, in seconds.
    pub settle_s: u32,
    /// What limits single checks otherwise than all.
    pub limits: HealLimits,
}

/// Who may heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealMode {
    /// The executor, on its own.
    Auto,
    /// Only an order.
    Order,
    /// Nobody.
    Never,
}

/// The limits of single checks.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealLimits {
    /// The services check.
    pub services: HealLimit,
    /// The backups check.
    pub backups: HealLimit,
    /// The logging check.
    pub logging: HealLimit,
    /// The firewall check.
    pub firewall: HealLimit,
    /// The patching check.
    pub patching: HealLimit,
}

/// How often without an order one thing is healed that one check looks at.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealLimit {
    /// The least time between two heals, in seconds; else [`Heal::min_interval_s`].
    pub min_interval_s: Option<u32>,
    /// So many failed heals within a day, and it is left alone for a day.
    pub per_day: FailuresPerDay,
}

/// A number of failures within a day: 1 to 24, and 3 unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct FailuresPerDay(u8);

impl Default for FailuresPerDay {
    fn default() -> Self {
        Self(3)
    }
}

impl TryFrom<u64> for FailuresPerDay {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(number @ 1..=24) => Ok(Self(number)),
            _ => Err(format!("`per_day` is {number}: write 1 to 24")),
        }
    }
}

/// How often one thing is healed without an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The least time between two heals; it doubles after each failure.
    pub min_interval: Span,
    /// So many failed heals within a day, and it is left alone for a day.
    pub failures_per_day: usize,
}

impl Default for Heal {
    fn default() -> Self {
        Self {
            services: HealMode::Auto,
            backups: HealMode::Auto,
            logging: HealMode::Auto,
            firewall: HealMode::Auto,
            patching: HealMode::Order,
            min_interval_s: 60,
            settle_s: 10,
            limits: HealLimits::default(),
        }
    }
}

impl Heal {
    /// Who may heal what `check` finds. Encryption is never healed: only a person can.
    pub fn mode(&self, check: CheckId) -> HealMode {
        match check {
            CheckId::Patching => self.patching,
            CheckId::Services => self.services,
            CheckId::Backups => self.backups,
            CheckId::Firewall => self.firewall,
            CheckId::Logging => self.logging,
            CheckId::Encryption => HealMode::Never,
        }
    }

    /// How often what `check` finds is healed without an order.
    pub fn limit(&self, check: CheckId) -> RateLimit {
        let own = match check {
            CheckId::Patching => self.limits.patching,
            CheckId::Services => self.limits.services,
            CheckId::Backups => self.limits.backups,
            CheckId::Firewall => self.limits.firewall,
            CheckId::Logging => self.limits.logging,
            CheckId::Encryption => HealLimit::default(),
        };
        RateLimit {
            min_interval: Span::from_secs(own.min_interval_s.unwrap_or(self.min_interval_s).into()),
            failures_per_day: own.per_day.0.into(),
        }
    }
}
