//! Any bytes are no header of LUKS2; any metadata under a right checksum is refused, or says which cipher.
#![no_main]

use compliance_checks::encryption::luks::{Header, Prefix};
use compliance_protocol::digest::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = (Prefix::parse(bytes), Header::parse(bytes));
    let mut header = vec![0; 16 * 1024];
    header[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
    header[8..16].copy_from_slice(&(16 * 1024_u64).to_be_bytes());
    header[72..78].copy_from_slice(b"sha256");
    let length = bytes.len().min(12 * 1024);
    header[4096..4096 + length].copy_from_slice(&bytes[..length]);
    let sum = Digest::of(&header);
    header[448..480].copy_from_slice(sum.as_bytes());
    let Ok(read) = Header::parse(&header) else { return };
    assert!(!read.ciphers.is_empty());
    assert!(read.ciphers.iter().all(|cipher| (1..=66).contains(&cipher.len())));
});
