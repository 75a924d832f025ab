//! When sites were last heard of: in memory, and written down now and then, so that a poll writes nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compliance_protocol::name::Site;
use compliance_protocol::time::Timestamp;

use crate::changes::{Change, Changes, What};
use crate::store::{SiteRow, Store, StoreError};

/// When one site was last heard of.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Timestamp,
    head_at: Option<Timestamp>,
    pending: Option<Pending>,
    written: bool,
}

/// What waits at an appliance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    /// How many bundles have no receipt there.
    pub(crate) bundles: u64,
    /// When its courier claimed that.
    pub(crate) at: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Presence(Mutex<HashMap<Site, Seen>>);

impl Presence {
    /// A registered site polled, and was given a feed head.
    pub(crate) fn polled(
        &self,
        changes: &Changes,
        site: &Site,
        at: Timestamp,
        pending: Option<u64>,
    ) {
        let pending = pending.map(|bundles| Pending { bundles, at });
        let seen = Seen { at, head_at: Some(at), pending, written: false };
        self.note(changes, site, at, |_| seen);
    }

    /// A registered site was heard of otherwise.
    pub(crate) fn seen(&self, changes: &Changes, site: &Site, at: Timestamp) {
        self.note(changes, site, at, |before| Seen {
            at,
            head_at: before.and_then(|seen| seen.head_at),
            pending: before.and_then(|seen| seen.pending),
            written: false,
        });
    }

    /// What waits at a site, if it was heard of since this server started.
    pub(crate) fn pending(&self, site: &Site) -> Option<Pending> {
        self.sites().get(site).and_then(|seen| seen.pending)
    }

    /// Puts what is known here into what the store said.
    pub(crate) fn complete(&self, mut row: SiteRow) -> SiteRow {
        if let Some(seen) = self.sites().get(&row.name) {
            row.last_seen = Some(seen.at);
            row.last_head_at = seen.head_at.or(row.last_head_at);
        }
        row
    }

    /// Writes down what is new.
    pub(crate) async fn write_down(&self, store: &Store) -> Result<(), StoreError> {
        let new: Vec<_> = {
            let mut sites = self.sites();
            let unwritten = sites.iter_mut().filter(|(_, seen)| !seen.written);
            unwritten
                .map(|(site, seen)| {
                    seen.written = true;
                    (site.clone(), *seen)
                })
                .collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        store
            .write(move |tx| {
                new.iter().try_for_each(|(site, seen)| tx.seen(site, seen.at, seen.head_at))
            })
            .await
    }

    fn note(
        &self,
        changes: &Changes,
        site: &Site,
        at: Timestamp,
        after: impl FnOnce(Option<Seen>) -> Seen,
    ) {
        if changes.are_watched() {
            changes.tell(Change { site: site.clone(), what: What::Seen { at } });
        }
        let mut sites = self.sites();
        let seen = after(sites.get(site).copied());
        sites.insert(site.clone(), seen);
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<Site, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
