//! How long evidence is kept. Pure.

use compliance_protocol::digest::Digest;
use compliance_protocol::time::{Span, Timestamp};

/// For how many days evidence is kept at least.
pub const LEAST_DAYS: u16 = 30;

/// For how many days evidence is kept unless said: seven years. HIPAA asks for six (45 CFR 164.316(b)(2)(i)).
pub const DEFAULT_DAYS: u16 = 2557;

/// A bundle, as far as it matters for keeping it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the chain.
    pub sequence: u64,
    /// Its digest.
    pub sha256: Digest,
    /// A receipt for it was verified and is here.
    pub has_receipt: bool,
    /// When it was made, if the time was known then.
    pub made_at: Option<Timestamp>,
}

/// Made before then, a bundle need not be kept any longer.
pub fn cutoff(days: u16, now: Timestamp) -> Timestamp {
    now.plus(Span::from_millis(-Span::from_hours(24 * i64::from(days)).as_millis()))
}

/// The last of a chain's `oldest` bundles, in their order, that is pruned together with all before it. None is
/// that has no receipt, is not old enough, or follows one of those. Of one that was made while the time was not
/// known it is only known that it is older than what follows it: it goes with that.
pub fn last_to_prune<E>(
    oldest: impl IntoIterator<Item = Result<Kept, E>>,
    cutoff: Timestamp,
) -> Result<Option<Kept>, E> {
    let mut last = None;
    for kept in oldest {
        let kept = kept?;
        match kept.made_at {
            _ if !kept.has_receipt => break,
            Some(made_at) if made_at >= cutoff => break,
            Some(_) => last = Some(kept),
            None => {}
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_167_671_000);

    fn kept(sequence: u64, has_receipt: bool, age_d: Option<i64>) -> Kept {
        let ago = |days: i64| NOW.plus(Span::from_millis(-days * 86_400_000));
        let sha256 = Digest::of(&sequence.to_le_bytes());
        Kept { sequence, sha256, has_receipt, made_at: age_d.map(ago) }
    }

    fn last(chain: &[Kept], days: u16) -> Option<u64> {
        let all = chain.iter().cloned().map(Ok::<_, Infallible>);
        last_to_prune(all, cutoff(days, NOW)).unwrap().map(|kept| kept.sequence)
    }

    #[test]
    fn a_bundle_is_kept_to_the_end_of_the_last_day() {
        assert_eq!(last(&[kept(1, true, Some(30))], 30), None);
        assert_eq!(last(&[kept(1, true, Some(31))], 30), Some(1));
    }

    #[test]
    fn one_that_was_made_while_the_time_was_not_known_goes_with_what_follows_it() {
        let made_in_1970 = kept(1, true, None);
        assert_eq!(last(std::slice::from_ref(&made_in_1970), 30), None);
        assert_eq!(last(&[made_in_1970.clone(), kept(2, true, Some(3))], 30), None);
        assert_eq!(last(&[made_in_1970, kept(2, true, Some(31))], 30), Some(2));
    }

    proptest! {
        #[test]
        fn nothing_young_or_without_receipt_is_pruned_nor_anything_after_it(
            made in prop::collection::vec((prop::bool::weighted(0.9), prop::option::weighted(0.8, 0..400_i64)), 0..40),
            days in LEAST_DAYS..400,
        ) {
            let chain: Vec<_> = (5..).zip(&made).map(|(n, (receipt, age))| kept(n, *receipt, *age)).collect();
            let end = last(&chain, days);
            let pruned = chain.iter().take_while(|kept| end.is_some_and(|end| kept.sequence <= end));
            for kept in pruned.clone() {
                prop_assert!(kept.has_receipt);
                prop_assert!(kept.made_at.is_none_or(|at| NOW.since(at) > Span::from_hours(24 * i64::from(days))));
            }
            let newest = pruned.last();
            prop_assert!(newest.is_none_or(|newest| newest.made_at.is_some()), "its age is known");
            // What stays begins with what must stay, but for what goes with it.
            let stays = chain.iter().filter(|kept| end.is_none_or(|end| kept.sequence > end));
            let first = stays.clone().find(|kept| !kept.has_receipt || kept.made_at.is_some());
            let must_stay = |kept: &Kept| !kept.has_receipt || kept.made_at.is_some_and(|at| at >= cutoff(days, NOW));
            prop_assert!(first.is_none_or(must_stay), "{first:?}");
        }
    }
}
