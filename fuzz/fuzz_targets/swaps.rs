//! Any bytes are no table of swap areas, or have at most one area a line.
#![no_main]

use compliance_checks::encryption::swaps;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(areas) = swaps::parse(bytes) else { return };
    assert!(areas.len() < bytes.split(|b| *b == b'\n').count());
});
