//! Any bytes are no answer of systemd's, or name no more units than they can hold.
#![no_main]

use compliance_checks::linux::units::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(units) = decode(bytes) else { return };
    assert!(units.len() < bytes.len());
});
