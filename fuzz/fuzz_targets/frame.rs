//! Any bytes on the local socket are refused or a request or answer that is framed back the same.
#![no_main]

use compliance_protocol::local::{Answer, MAX_FRAME, Request, decode, encode, frame_size};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((prefix, json)) = bytes.split_first_chunk() else { return };
    if let Ok(size) = frame_size(*prefix) {
        assert!(size <= MAX_FRAME);
    }
    if let Ok(request) = decode::<Request>(json) {
        let frame = encode(&request).unwrap();
        assert_eq!(decode::<Request>(&frame[4..]).unwrap(), request);
    }
    if let Ok(answer) = decode::<Answer>(json) {
        let frame = encode(&answer).unwrap();
        assert_eq!(decode::<Answer>(&frame[4..]).unwrap(), answer);
    }
});
