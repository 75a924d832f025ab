//! How many connections each client has.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compliance_pki::Identity;

/// As many connections one client has at once. An appliance has one, an operator a few.
const MOST: usize = 8;

/// The clients of a listener, each with the number of its connections: one that opens many takes no
/// other's place.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<HashMap<Identity, usize>>);

/// A connection that counts for as long as this lives.
#[derive(Debug)]
pub(super) struct Place<'a> {
    crowd: &'a Crowd,
    identity: Identity,
}

impl Crowd {
    /// Counts one more connection of this client; `None` if it has too many.
    pub(super) fn enter(&self, identity: &Identity) -> Option<Place<'_>> {
        let mut clients = self.lock();
        let count = clients.entry(identity.clone()).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self, identity: identity.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut clients = self.crowd.lock();
        if let Some(count) = clients.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_eight_connections_at_once_and_takes_no_other_ones_place() {
        let identity = |text: &str| -> Identity { text.parse().unwrap() };
        let (greedy, other) =
            (identity("spiffe://acme/site/one"), identity("spiffe://acme/site/two"));
        let crowd = Crowd::default();
        let mut places: Vec<_> = (0..MOST).map(|_| crowd.enter(&greedy).unwrap()).collect();
        assert!(crowd.enter(&greedy).is_none());
        assert!(crowd.enter(&other).is_some());
        places.pop();
        assert!(crowd.enter(&greedy).is_some());
        drop(places);
        assert!(crowd.lock().is_empty());
    }
}
