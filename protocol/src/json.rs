//! Canonical JSON: RFC 8785 (JCS), narrowed to what we sign.
//!
//! What is signed is its own canonical form, has no duplicate keys, no floats and no integer beyond
//! ±(2^53 − 1), so that two parsers can never read two things from the same signed bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Why JSON cannot be signed or, when received, is refused.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or not of the expected shape.
    #[error("the JSON does not have the expected shape: {0}")]
    Shape(#[source] serde_json::Error),
    /// A float, or an integer that a double cannot hold exactly.
    #[error("the number {0} is not an integer within ±(2^53 − 1); write such values as strings")]
    Number(serde_json::Number),
    /// The bytes differ from their own canonical form (spacing, key order, duplicate keys, escapes).
    #[error("the JSON is not in canonical form (RFC 8785)")]
    NotCanonical,
}

/// The canonical bytes of `value`.
pub fn to_canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, JsonError> {
    let value = serde_json::to_value(value).map_err(JsonError::Shape)?;
    refuse_unsafe_numbers(&value)?;
    serde_json_canonicalizer::to_vec(&value).map_err(JsonError::Shape)
}

/// Reads canonical bytes; anything that is not its own canonical form is refused.
pub fn from_canonical<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    serde_json::from_value(canonical_value(bytes)?).map_err(JsonError::Shape)
}

fn canonical_value(bytes: &[u8]) -> Result<Value, JsonError> {
    let value: Value = serde_json::from_slice(bytes).map_err(JsonError::Shape)?;
    refuse_unsafe_numbers(&value)?;
    // Of duplicate keys the parser keeps one, so they too show up as a difference here.
    let canonical = serde_json_canonicalizer::to_vec(&value).map_err(JsonError::Shape)?;
    if canonical == bytes { Ok(value) } else { Err(JsonError::NotCanonical) }
}

fn refuse_unsafe_numbers(value: &Value) -> Result<(), JsonError> {
    match value {
        Value::Number(n) => {
            let magnitude = n.as_u64().or_else(|| n.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(m) if m <= MAX_SAFE_INTEGER => Ok(()),
                _ => Err(JsonError::Number(n.clone())),
            }
        }
        Value::Array(items) => items.iter().try_for_each(refuse_unsafe_numbers),
        Value::Object(fields) => fields.values().try_for_each(refuse_unsafe_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, JsonError> {
        from_canonical(text.as_bytes())
    }

    #[test]
    fn keys_sort_by_utf16_code_units_as_rfc_8785_section_3_2_3_asks() {
        let value = serde_json::json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis",
        });
        let text = String::from_utf8(to_canonical(&value).unwrap()).unwrap();
        let order: Vec<_> =
            ["\\r", "\"1\"", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"]
                .iter()
                .map(|key| text.find(key).unwrap())
                .collect();
        assert!(order.is_sorted(), "{text}");
    }

    #[test]
    fn strings_are_escaped_as_rfc_8785_section_3_2_2_2_asks() {
        let bytes = to_canonical(&"\u{20ac}$\u{f}\nA'\u{42}\u{22}\u{5c}\\\"/").unwrap();
        assert_eq!(bytes, "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"".as_bytes());
    }

    #[test]
    fn what_is_not_its_own_canonical_form_is_refused() {
        assert!(read(r#"{"a":1,"b":[true,null,"x"]}"#).is_ok());
        for bad in [
            r#"{"b":1,"a":1}"#,
            r#"{"a": 1}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\/"}"#,
            "{\"a\":1}\n",
            "\u{feff}{}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn floats_and_integers_a_double_cannot_hold_are_refused() {
        assert!(read(r#"{"n":9007199254740991}"#).is_ok());
        assert!(read(r#"{"n":-9007199254740991}"#).is_ok());
        for bad in ["1.5", "1.0", "1e3", "-0", "9007199254740992", "-9007199254740992", "1e400"] {
            assert!(read(&format!(r#"{{"n":{bad}}}"#)).is_err(), "{bad}");
        }
        assert!(matches!(to_canonical(&1.5), Err(JsonError::Number(_))));
        assert!(matches!(to_canonical(&u64::MAX), Err(JsonError::Number(_))));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(read(&deep), Err(JsonError::Shape(_))));
    }
}
