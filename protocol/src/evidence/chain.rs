//! The chain: each bundle names the one before it, so that nothing can be left out unseen.

use super::VerifiedBundle;
use crate::digest::Digest;
use crate::name::{Id, Site};

/// How far a chain was followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    last: Option<Link>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    site: Site,
    epoch: u64,
    ledger_id: Id,
    sequence: u64,
    sha256: Digest,
}

/// Where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// Bundles between two sequences are not here.
    #[error("bundles {from} to {to} are missing")]
    Missing {
        /// The first missing sequence.
        from: u64,
        /// The last missing sequence.
        to: u64,
    },
    /// Two different bundles claim one place, or a predecessor was changed.
    #[error("bundle {sequence} does not follow the bundle {before} that is here: the chain forks")]
    Fork {
        /// The bundle that does not fit.
        sequence: u64,
        /// The bundle it should follow.
        before: u64,
    },
}

impl Chain {
    /// A chain of which nothing was seen yet; a gap before its first bundle counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows one more bundle, in ascending order. On a break the bundle is taken all the same, so
    /// that each break is reported once.
    pub fn follow(&mut self, next: &VerifiedBundle) -> Result<(), ChainBreak> {
        let bundle = next.bundle();
        let same = |link: &&Link| {
            (&link.site, link.epoch, link.ledger_id)
                == (&bundle.site, bundle.epoch, bundle.ledger_id)
        };
        let before = self.last.as_ref().filter(same);
        let (place, sha256) = before.map_or((0, None), |link| (link.sequence, Some(link.sha256)));
        let verdict = if bundle.sequence <= place {
            Err(ChainBreak::Fork { sequence: bundle.sequence, before: place })
        } else if bundle.sequence - place > 1 {
            Err(ChainBreak::Missing { from: place + 1, to: bundle.sequence - 1 })
        } else if bundle.previous_sha256 != sha256 {
            Err(ChainBreak::Fork { sequence: bundle.sequence, before: place })
        } else {
            Ok(())
        };
        self.last = Some(Link {
            site: bundle.site.clone(),
            epoch: bundle.epoch,
            ledger_id: bundle.ledger_id,
            sequence: bundle.sequence,
            sha256: next.sha256(),
        });
        verdict
    }
}
