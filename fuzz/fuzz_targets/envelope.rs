//! Any bytes are an error or an envelope that is written and read back the same, and nobody signed them.
#![no_main]

use compliance_protocol::envelope::{Envelope, Payload as _};
use compliance_protocol::key::KeySet;
use compliance_protocol::order::Order;
use compliance_signing::PrivateKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = Envelope::parse(bytes) else { return };
    let again = Envelope::parse(&envelope.to_json().unwrap()).unwrap();
    assert_eq!(again, envelope);
    let key = PrivateKey::from_seed(&[1; 32]).unwrap().public();
    assert!(envelope.verify(Order::TYPE, &KeySet::new(vec![key], 1).unwrap()).is_err());
});
