//! Any signed payload is refused or an order that is written back with the same meaning.
#![no_main]

use compliance_protocol::envelope::{Envelope, Payload as _};
use compliance_protocol::key::KeySet;
use compliance_protocol::order::Order;
use compliance_signing::{PrivateKey, seal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let key = PrivateKey::from_seed(&[1; 32]).unwrap();
    let envelope = seal(Order::TYPE, payload.to_vec(), &[&key]).unwrap();
    let Ok(envelope) = Envelope::parse(&envelope) else { return };
    let verified =
        envelope.verify(Order::TYPE, &KeySet::new(vec![key.public()], 1).unwrap()).unwrap();
    let Ok(order) = verified.order() else { return };
    let again: Order =
        serde_json::from_value(serde_json::to_value(order.value()).unwrap()).unwrap();
    assert_eq!(&again, order.value());
    let header = verified.order_header().unwrap();
    assert_eq!((header.id, header.sequence), (again.id, again.sequence));
    assert_eq!(header.action.name, again.action.name());
});
