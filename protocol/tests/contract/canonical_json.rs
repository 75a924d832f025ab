//! RFC 8785, as far as our narrowing lets it in, and what the narrowing keeps out.

use compliance_protocol::json::{JsonError, from_canonical, to_canonical};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn canonical(text: &str) -> Result<String, JsonError> {
    let value: Value = serde_json::from_str(text).unwrap();
    to_canonical(&value).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// RFC 8785 §3.2.3, the object whose keys sort by UTF-16 code units.
#[test]
fn the_rfcs_sorting_example_comes_out_as_published() {
    let input = r#"{
        "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let expected = concat!(
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",",
        "\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",",
        "\"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
    );
    assert_eq!(canonical(input).unwrap(), expected);
}

/// RFC 8785 §3.2.2, its sample object without the floats, which we do not sign.
#[test]
fn the_rfcs_serialisation_example_comes_out_as_published_less_its_floats() {
    let input = r#"{
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected =
        "{\"literals\":[null,true,false],\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    assert_eq!(canonical(input).unwrap(), expected);
}

/// RFC 8785 §3.2.2.2: the five short escapes, lower-case \u00xx for other controls, nothing else.
#[test]
fn every_ascii_character_is_escaped_as_the_rfc_says() {
    for byte in 0..0x80_u8 {
        let character = char::from(byte);
        let expected = match character {
            '\u{8}' => "\\b".to_owned(),
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\r' => "\\r".to_owned(),
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if byte < 0x20 => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        let bytes = to_canonical(&character.to_string()).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("\"{expected}\""));
    }
}

/// RFC 8785 appendix B, the rows that are integers within ±(2^53 − 1), and those that are not.
#[test]
fn of_the_rfcs_numbers_only_safe_integers_are_signed() {
    for (text, taken) in [
        ("0", true),
        ("9007199254740991", true),
        ("-9007199254740991", true),
        ("9007199254740992", false),
        ("-9007199254740992", false),
        ("9007199254740994", false),
        ("295147905179352830000", false),
        ("5e-324", false),
        ("-5e-324", false),
        ("1.7976931348623157e308", false),
        ("333333333.3333332", false),
        ("-0.0000033333333333333333", false),
        ("1424953923781206.2", false),
        ("-0", false),
        ("0.0", false),
        ("1E2", false),
    ] {
        let read = from_canonical::<Value>(text.as_bytes());
        assert_eq!(read.is_ok(), taken, "{text}: {read:?}");
    }
}

#[test]
fn a_lone_surrogate_a_bad_escape_or_bad_utf_8_is_refused() {
    for bad in [
        &b"\"\\ud800\""[..],
        b"\"\\udc00\"",
        b"\"\\x41\"",
        b"\"\xff\"",
        b"\"\xc0\x80\"",
        b"\"\x01\"",
    ] {
        assert!(from_canonical::<Value>(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn texts_that_look_alike_stay_different() {
    // RFC 8785 §3.1: strings are kept as they are, never normalised.
    assert_ne!(to_canonical(&"\u{c5}").unwrap(), to_canonical(&"A\u{30a}").unwrap());
}

#[test]
fn something_after_the_value_or_nothing_at_all_is_refused() {
    for bad in [
        "",
        " ",
        "1 ",
        "1\n",
        "{}{}",
        "1,",
        "\u{feff}1",
        "nul",
        "NaN",
        "Infinity",
        "'a'",
        "{a:1}",
        "[1,]",
    ] {
        assert!(from_canonical::<Value>(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    const SAFE: i64 = (1 << 53) - 1;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-SAFE..=SAFE).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same_and_is_its_own_canonical_form(value in any_json()) {
        let bytes = to_canonical(&value).unwrap();
        prop_assert_eq!(from_canonical::<Value>(&bytes).unwrap(), value);
    }

    #[test]
    fn no_other_bytes_read_as_the_same_value(value in any_json(), i in any::<prop::sample::Index>(), byte: u8) {
        let good = to_canonical(&value).unwrap();
        let mut bad = good.clone();
        let i = i.index(bad.len());
        bad[i] = byte;
        if let Ok(read) = from_canonical::<Value>(&bad) {
            prop_assert_eq!(read == value, bad == good);
        }
        let spaced = [b" ", good.as_slice()].concat();
        prop_assert!(from_canonical::<Value>(&spaced).is_err());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth(
        key in any::<String>(), one in any_json(), two in any_json(), depth in 0..4_usize,
    ) {
        let (one, two) = (canonical(&one.to_string()).unwrap(), canonical(&two.to_string()).unwrap());
        let key = canonical(&json!(key).to_string()).unwrap();
        let mut text = format!("{{{key}:{one},{key}:{two}}}");
        for _ in 0..depth {
            text = format!("{{\"in\":[{text}]}}");
        }
        prop_assert!(from_canonical::<Value>(text.as_bytes()).is_err());
    }
}
