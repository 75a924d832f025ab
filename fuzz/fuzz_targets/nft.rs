//! Any bytes are no listing of nft's, or have a canonical form that does not depend on how they are spaced.
#![no_main]

use compliance_checks::firewall::{Ruleset, canonical, dynamic_accepts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(form) = canonical(bytes) else { return };
    let ruleset = Ruleset::parse(bytes).unwrap();
    let _ = (ruleset.tables(), dynamic_accepts(&ruleset));
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(canonical(&serde_json::to_vec_pretty(&value).unwrap()), Ok(form));
});
