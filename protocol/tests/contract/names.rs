//! Names are parsed once, have one spelling, and cannot become an option, a path or a pattern.

use std::fmt::Display;
use std::str::FromStr;

use compliance_protocol::digest::Digest;
use compliance_protocol::feed::Nonce;
use compliance_protocol::name::{
    AbsPath, BootId, FlakeRef, Id, JobName, NarHash, Site, StorePath, Tenant, UnitName,
};
use compliance_protocol::time::Timestamp;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Whether `text` is taken; if so, it must come back as it was, from text and from JSON.
fn taken<T>(text: &str) -> bool
where
    T: FromStr + Display + Serialize + DeserializeOwned,
{
    let json = serde_json::Value::from(text);
    let from_json = serde_json::from_value::<T>(json.clone());
    let Ok(name) = text.parse::<T>() else {
        assert!(from_json.is_err(), "{text:?} is taken from JSON only");
        return false;
    };
    assert_eq!(name.to_string(), text);
    assert_eq!(serde_json::to_value(from_json.unwrap()).unwrap(), json);
    assert_eq!(serde_json::to_value(name).unwrap(), json);
    true
}

fn taken_by_any(text: &str) -> bool {
    // No `any(…)`, which would stop at the first.
    [
        taken::<Tenant>(text),
        taken::<Site>(text),
        taken::<JobName>(text),
        taken::<UnitName>(text),
        taken::<StorePath>(text),
        taken::<NarHash>(text),
        taken::<FlakeRef>(text),
        taken::<AbsPath>(text),
        taken::<BootId>(text),
        taken::<Id>(text),
        taken::<Digest>(text),
        taken::<Nonce>(text),
        taken::<Timestamp>(text),
    ]
    .contains(&true)
}

/// Texts near the edge: pieces of good names and what an attacker would put between them.
fn near_names() -> impl Strategy<Value = String> {
    const PIECES: [&str; 26] = [
        "",
        "a",
        "Z",
        "0",
        "-",
        "--",
        "_",
        ".",
        "..",
        "/",
        "//",
        "@",
        ":",
        "\\",
        "\n",
        "\0",
        " ",
        "é",
        "clinic-042",
        ".service",
        ".timer",
        "/nix/store/",
        "0c5b7zk0hfjzvn8xlmlg0mmcmbp3vbcb",
        "?rev=",
        "sha256-",
        "2026-11-20T09:41:11.000Z",
    ];
    prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..6).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_taken_comes_back_as_it_was(text in prop_oneof![near_names(), any::<String>(), "[ -~]{0,80}"]) {
        taken_by_any(&text);
    }

    #[test]
    fn tenants_sites_and_jobs_are_exactly_the_pattern(
        text in prop_oneof!["[a-z0-9-]{0,66}", "[a-zA-Z0-9_.-]{0,5}", any::<String>()],
    ) {
        let inner = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
        let expected = (1..=63).contains(&text.len())
            && text.chars().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        prop_assert_eq!(taken::<Tenant>(&text), expected);
        prop_assert_eq!(taken::<Site>(&text), expected);
        prop_assert_eq!(taken::<JobName>(&text), expected);
    }

    #[test]
    fn no_unit_that_is_taken_can_be_an_option_a_path_or_a_pattern(text in near_names()) {
        if taken::<UnitName>(&text) {
            prop_assert!(!text.starts_with('-') && !text.contains(['/', '*', '?', '[', ' ', '\n', '\0']));
        }
    }

    #[test]
    fn no_path_that_is_taken_leaves_its_folder(text in near_names()) {
        if taken::<AbsPath>(&text) {
            let walked = std::path::Path::new(&text).components();
            prop_assert!(walked.skip(1).all(|part| matches!(part, std::path::Component::Normal(_))));
        }
        if taken::<StorePath>(&text) {
            prop_assert!(taken::<AbsPath>(&text));
            prop_assert_eq!(text.matches('/').count(), 3);
        }
    }

    #[test]
    fn every_id_reads_back_and_sorts_by_its_time(a in 0..1_i64 << 46, b in 0..1_i64 << 46, random: [u8; 10]) {
        let id = |ms| Id::new(Timestamp::from_millis(ms), random);
        prop_assert!(taken::<Id>(&id(a).to_string()));
        prop_assert_eq!(id(a).cmp(&id(b)), Timestamp::from_millis(a).cmp(&Timestamp::from_millis(b)));
    }

    #[test]
    fn every_time_that_can_be_written_reads_back(ms: i64) {
        let at = Timestamp::from_millis(ms);
        prop_assert_eq!(at.to_string().len(), 24);
        prop_assert!(taken::<Timestamp>(&at.to_string()));
        prop_assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
    }
}

#[test]
fn a_message_about_a_bad_name_is_short_and_shows_no_control_character() {
    let text = "\u{1b}[2J\n".repeat(10_000);
    for message in [
        text.parse::<Site>().unwrap_err().to_string(),
        text.parse::<UnitName>().unwrap_err().to_string(),
        text.parse::<Id>().unwrap_err().to_string(),
    ] {
        assert!(message.len() < 1000, "{}", message.len());
        assert!(!message.chars().any(char::is_control), "{message}");
    }
}
