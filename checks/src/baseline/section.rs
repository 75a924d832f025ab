//! One check's part of the baseline: what should be, or why there is nothing to check.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// One check's part of the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Section<T> {
    /// There is nothing to check on this machine, and why.
    NotApplicable(NotApplicable),
    /// What should be.
    Expected(T),
}

/// Why a check does not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    /// The reason, for the auditor.
    pub not_applicable: String,
}

impl<T> Section<T> {
    /// What should be, if the check applies.
    pub fn expected(&self) -> Option<&T> {
        match self {
            Self::Expected(expected) => Some(expected),
            Self::NotApplicable(_) => None,
        }
    }
}

/// serde's `untagged` would try one after the other and say only that neither fits. The first key decides
/// here, so that an error is about what was written.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByFirstKey(PhantomData))
    }
}

struct ByFirstKey<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ByFirstKey<T> {
    type Value = Section<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what should be, or `not_applicable` with the reason")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Section<T>, A::Error> {
        let first: Option<String> = map.next_key()?;
        let key = first.clone().unwrap_or_default();
        let whole = MapAccessDeserializer::new(Replayed { first, rest: map });
        if key == "not_applicable" {
            return NotApplicable::deserialize(whole).map(Section::NotApplicable);
        }
        T::deserialize(whole).map(Section::Expected).map_err(|error| {
            let said = error.to_string();
            if said.starts_with(&format!("unknown field `{key}`")) {
                // It may have been meant to be the one key that is not a field of `T`.
                A::Error::custom(format!("{} or `not_applicable`", said.trim_end()))
            } else {
                error
            }
        })
    }
}

/// A map whose first key was read already.
struct Replayed<A> {
    first: Option<String>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Replayed<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(first) => seed.deserialize(first.into_deserializer()).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patching::PatchingBaseline;
    use serde_json::json;

    fn read(json: serde_json::Value) -> Result<Section<PatchingBaseline>, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_is_what_should_be_or_why_there_is_nothing() {
        let expected = PatchingBaseline { max_age_d: 9, max_reboot_pending_d: 7 };
        let why = NotApplicable { not_applicable: "a printer".to_owned() };
        for (section, written) in [
            (Section::Expected(expected), json!({ "max_age_d": 9, "max_reboot_pending_d": 7 })),
            (Section::NotApplicable(why), json!({ "not_applicable": "a printer" })),
        ] {
            assert_eq!(serde_json::to_value(&section).unwrap(), written);
            assert_eq!(read(written), Ok(section));
        }
        assert_eq!(read(json!({})), Ok(Section::Expected(PatchingBaseline::default())));
    }

    #[test]
    fn a_section_that_says_both_or_something_else_is_refused_for_what_it_says() {
        for (written, said) in [
            (json!({ "max_age": 9 }), "unknown field `max_age`, expected `max_age_d` or"),
            (json!({ "not_aplicable": "x" }), "or `max_reboot_pending_d` or `not_applicable`"),
            (json!({ "max_age_d": "9" }), "invalid type: string"),
            (json!({ "max_age_d": 9, "not_applicable": "x" }), "unknown field `not_applicable`"),
            (json!({ "not_applicable": "x", "zeal": 9 }), "unknown field `zeal`"),
            (json!("x"), "expected what should be, or `not_applicable`"),
        ] {
            let error = read(written).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
