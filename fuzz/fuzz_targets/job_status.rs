//! Any bytes are no status of a backup job, or one that survives being written again.
#![no_main]

use compliance_checks::backups::JobStatus;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(status) = serde_json::from_slice::<JobStatus>(bytes) else { return };
    let again = serde_json::to_vec(&status).unwrap();
    assert_eq!(serde_json::from_slice::<JobStatus>(&again).unwrap(), status);
});
