//! NAR hashes as Nix prints them.

use compliance_protocol::name::NarHash;

/// Nix's base 32: it leaves out what could be mistaken.
const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The hash in `sha256:<52 characters of Nix's base 32>`.
pub(super) fn from_nix(printed: &str) -> Option<NarHash> {
    let digits = printed.strip_prefix("sha256:").filter(|digits| digits.len() == 52)?;
    let mut bytes = [0_u8; 32];
    // The last character holds the lowest five bits.
    for (n, character) in digits.bytes().rev().enumerate() {
        let digit = ALPHABET.iter().position(|known| *known == character)?;
        let wide = u16::try_from(digit).ok()? << (n * 5 % 8);
        let [low, high] = wide.to_le_bytes();
        *bytes.get_mut(n * 5 / 8)? |= low;
        match bytes.get_mut(n * 5 / 8 + 1) {
            Some(next) => *next |= high,
            None if high != 0 => return None,
            None => {}
        }
    }
    format!("sha256-{}", base64(&bytes)).parse().ok()
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|n| u32::from(three.get(n).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for n in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * n) & 63).unwrap_or(0);
            let character = BASE64.get(index).filter(|_| n <= three.len());
            text.push(character.map_or('=', |byte| char::from(*byte)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_nothing_reads_the_same_in_both_forms() {
        // SHA-256 of the empty string, as `nix hash convert` writes it.
        let printed = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        let sri = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(from_nix(printed), Some(sri.parse().unwrap()));
    }

    #[test]
    fn what_is_no_hash_is_none() {
        for bad in ["", "sha256:", "md5:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"] {
            assert_eq!(from_nix(bad), None);
        }
        let too_large = format!("sha256:{}", "z".repeat(52));
        assert_eq!(from_nix(&too_large), None);
        let not_in_it = format!("sha256:{}", "e".repeat(52));
        assert_eq!(from_nix(&not_in_it), None);
    }
}
