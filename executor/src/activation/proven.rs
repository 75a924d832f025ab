//! Systems that have proven themselves here: what can be gone back to by order.

use std::str::FromStr;

use compliance_protocol::name::StorePath;
use serde::{Deserialize, Serialize};

/// So many are remembered: more than a boot loader keeps.
const MAX: usize = 32;

/// The systems that were activated and proven, or adopted at the first start; the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proven(Vec<StorePath>);

impl FromStr for Proven {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(json)
    }
}

impl Proven {
    /// With `system` as the newest.
    #[must_use]
    pub fn with(self, system: &StorePath) -> Self {
        let others = self.0.into_iter().filter(|it| it != system);
        Self(std::iter::once(system.clone()).chain(others).take(MAX).collect())
    }

    /// Whether `system` is one of them.
    pub fn contains(&self, system: &StorePath) -> bool {
        self.0.contains(system)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_what_is_activated_again_is_not() {
        let system = |n: usize| -> StorePath {
            format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-s{n}").parse().unwrap()
        };
        let proven = (0..MAX).fold(Proven::default(), |proven, n| proven.with(&system(n)));
        let proven = proven.with(&system(0)).with(&system(MAX));
        assert!(proven.contains(&system(0)) && proven.contains(&system(MAX)));
        assert!(!proven.contains(&system(1)));
        let json = serde_json::to_string(&proven).unwrap();
        assert_eq!(json.parse::<Proven>().unwrap(), proven);
    }
}
