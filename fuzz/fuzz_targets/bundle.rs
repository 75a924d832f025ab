//! Any signed bytes are refused or a bundle that is its own canonical form and has a safe path.
#![no_main]

use compliance_protocol::evidence::export::Part;
use compliance_protocol::evidence::{Bundle, STATEMENT_TYPE, SignedBundle, statement};
use compliance_protocol::json;
use compliance_signing::{PrivateKey, seal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(bundle) = json::from_canonical::<Bundle>(bytes) else { return };
    let key = PrivateKey::from_seed(&[1; 32]).unwrap();
    let Ok(statement) = statement(&bundle, bytes) else { return };
    let signed = SignedBundle {
        json: bytes.to_vec().into(),
        sig: key.sign(bytes).to_vec().into(),
        dsse: seal(STATEMENT_TYPE, statement, &[&key]).unwrap().into(),
    };
    assert_eq!(signed.verify(&key.public()).unwrap().bundle(), &bundle);
    let path = bundle.export_path(Part::Json);
    assert!(!path.contains("..") && path.split('/').count() == 4, "{path}");
});
