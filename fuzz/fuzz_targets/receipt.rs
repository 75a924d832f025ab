//! Any text is refused or a receipt, a checkpoint or a vkey that is written back the same.
#![no_main]

use compliance_protocol::tlog::{SignedCheckpoint, TlogProof, VerifierKey};
use compliance_signing::PrivateKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let origin = "mcp.example/evidence-log/2026";
    let key = PrivateKey::from_seed(&[1; 32]).unwrap().public();
    let key = VerifierKey::new(origin, key).unwrap();
    if let Ok(receipt) = TlogProof::parse(text) {
        assert_eq!(TlogProof::parse(&receipt.to_string()).as_ref(), Ok(&receipt));
        assert!(receipt.verify(b"entry", &key, origin).is_err());
    }
    if let Ok(checkpoint) = SignedCheckpoint::parse(text) {
        assert!(checkpoint.verify(&key, origin).is_err());
    }
    if let Ok(vkey) = text.parse::<VerifierKey>() {
        assert_eq!(vkey.to_string().parse(), Ok(vkey));
    }
});
