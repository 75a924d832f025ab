//! Names that cross a boundary, each parsed once into its own type.

mod flake;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not a name of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: {rule}")]
pub struct NotAName {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

/// Defines a string type that only holds what `$accepts` accepts.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:expr, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<Self, NotAName> {
                text.to_owned().try_into()
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAName;

            fn try_from(text: String) -> Result<Self, NotAName> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(&text) {
                    Ok(Self(text))
                } else {
                    let text = text.chars().take(80).collect();
                    Err(NotAName { text, kind: $kind, rule: $rule })
                }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// Whose sites these are: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
    Tenant, "tenant", "1 to 63 of a-z, 0-9 and -, not starting or ending with -", is_label
);
name!(
    /// One site, which is one appliance; the same alphabet as [`Tenant`].
    Site, "site", "1 to 63 of a-z, 0-9 and -, not starting or ending with -", is_label
);
name!(
    /// A person or a tool of the tenant's that the control plane knows; the same alphabet as [`Tenant`].
    Operator, "operator", "1 to 63 of a-z, 0-9 and -, not starting or ending with -", is_label
);
name!(
    /// What brings the control plane's events elsewhere, such as to NATS; the same alphabet as [`Tenant`].
    Carrier, "carrier", "1 to 63 of a-z, 0-9 and -, not starting or ending with -", is_label
);
name!(
    /// A backup job that the baseline names; the same alphabet as [`Tenant`].
    JobName, "backup job", "1 to 63 of a-z, 0-9 and -, not starting or ending with -", is_label
);
name!(
    /// A systemd unit with its suffix (systemd.unit(5)), such as `nginx.service`.
    UnitName, "systemd unit", "at most 255 of A-Z, a-z, 0-9 and :-_.\\@ with a unit suffix", is_unit
);
name!(
    /// A store path of Nix: `/nix/store/`, 32 base-32 characters, `-` and a name.
    StorePath, "store path", "/nix/store/<32 base-32 characters>-<name>, nothing below it", is_store_path
);
name!(
    /// A NAR hash in SRI form: `sha256-` and 44 characters of base64.
    NarHash, "NAR hash", "sha256-<44 characters of base64>", is_nar_hash
);
name!(
    /// A pinned flake reference: it names a commit or a hash, so that what is built cannot change.
    FlakeRef, "pinned flake reference", flake::RULE, flake::is_pinned
);
name!(
    /// An absolute path without `.`, `..`, empty parts or control characters.
    AbsPath, "absolute path", "/ and parts without ., .. and control characters, at most 4,096 bytes", is_abs_path
);

name!(
    /// One boot of the machine: the kernel's `/proc/sys/kernel/random/boot_id`.
    BootId, "boot id", "a UUID, hyphenated and in lower case", is_uuid
);

/// A UUID version 7 (RFC 9562), which sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(Uuid);

impl Id {
    /// An id for the time `at` with 74 of these random bits.
    pub fn new(at: crate::time::Timestamp, random: [u8; 10]) -> Self {
        let ms = u64::try_from(at.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }
}

impl FromStr for Id {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Id {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        match Uuid::try_parse(&text) {
            // One spelling only: hyphenated, lower case.
            Ok(id) if id.get_version_num() == 7 && id.hyphenated().to_string() == text => {
                Ok(Self(id))
            }
            _ => Err(NotAName {
                text: text.chars().take(80).collect(),
                kind: "UUID version 7",
                rule: "hyphenated and in lower case",
            }),
        }
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_uuid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

fn is_unit(text: &str) -> bool {
    const SUFFIXES: [&str; 11] = [
        ".service",
        ".socket",
        ".device",
        ".mount",
        ".automount",
        ".swap",
        ".target",
        ".path",
        ".timer",
        ".slice",
        ".scope",
    ];
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let stem = SUFFIXES.iter().find_map(|suffix| text.strip_suffix(suffix));
    // A leading dash would be read as an option by whatever tool is given the name.
    text.len() <= 255
        && text.bytes().all(allowed)
        && stem.is_some_and(|stem| !stem.is_empty() && !stem.starts_with('-'))
}

fn is_store_path(text: &str) -> bool {
    let base32 = |b: u8| b"0123456789abcdfghijklmnpqrsvwxyz".contains(&b);
    let named = |b: u8| b.is_ascii_alphanumeric() || b"+-._?=".contains(&b);
    text.strip_prefix("/nix/store/").and_then(|rest| rest.split_once('-')).is_some_and(
        |(hash, name)| {
            hash.len() == 32
                && hash.bytes().all(base32)
                && (1..=211).contains(&name.len())
                && !name.starts_with('.')
                && name.bytes().all(named)
        },
    )
}

fn is_nar_hash(text: &str) -> bool {
    use base64::Engine as _;
    let decode = |b64: &str| base64::engine::general_purpose::STANDARD.decode(b64);
    text.strip_prefix("sha256-").is_some_and(|b64| decode(b64).is_ok_and(|hash| hash.len() == 32))
}

/// At least one character, all of them letters, digits and what `others` holds.
fn is_plain(text: &str, others: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || others.as_bytes().contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

fn is_abs_path(text: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    let inside = text.strip_prefix('/');
    text.len() <= 4096
        && !text.chars().any(char::is_control)
        && (text == "/" || inside.is_some_and(|rest| rest.split('/').all(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_and_sites_have_a_narrow_alphabet() {
        for good in ["acme", "clinic-042", "a", &"x".repeat(63)] {
            assert!(good.parse::<Site>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "a.b", "é", &"x".repeat(64)] {
            assert!(bad.parse::<Tenant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_unit_name_cannot_be_mistaken_for_an_option_or_a_path() {
        for good in
            ["nginx.service", "getty@tty1.service", "dev-sda.device", "system-x\\x2dy.slice"]
        {
            assert!(good.parse::<UnitName>().is_ok(), "{good}");
        }
        for bad in [
            "nginx",
            ".service",
            "-x.service",
            "a b.service",
            "../x.service",
            "x.service\n",
            "*.service",
        ] {
            assert!(bad.parse::<UnitName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_store_path_is_one_entry_of_the_store() {
        let good = "/nix/store/0c5b7zk0hfjzvn8xlmlg0mmcmbp3vbcb-nixos-system-clinic-26.05";
        assert!(good.parse::<StorePath>().is_ok());
        for bad in [
            format!("{good}/bin/x"),
            good.replace("0c5b", "0E5b"),
            good.replace("/nix/store", "/tmp"),
            "/nix/store/short-x".to_owned(),
            good.replace("nixos", ".nixos"),
        ] {
            assert!(bad.parse::<StorePath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_absolute_path_has_no_parts_that_walk() {
        for good in ["/", "/var/lib/x", "/a b"] {
            assert!(good.parse::<AbsPath>().is_ok(), "{good}");
        }
        for bad in ["", "a", "/a/", "//a", "/a/../b", "/./a", "/a\n"] {
            assert!(bad.parse::<AbsPath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flake_is_pinned_or_refused_with_what_to_write_instead() {
        let error = "github:acme/clinics#x".parse::<FlakeRef>().unwrap_err().to_string();
        assert!(error.contains("github:OWNER/REPO/REV"), "{error}");
    }

    #[test]
    fn ids_sort_by_time_and_have_one_spelling() {
        let at = crate::time::Timestamp::from_millis(1_795_167_671_000);
        let first = Id::new(at, [7; 10]);
        let later = Id::new(at.plus(crate::time::Span::from_millis(1)), [0; 10]);
        assert!(first < later && first.to_string() < later.to_string());
        assert_eq!(first.to_string().parse::<Id>(), Ok(first));
        assert!(first.to_string().to_uppercase().parse::<Id>().is_err());
        assert!("00000000-0000-4000-8000-000000000000".parse::<Id>().is_err());
    }
}
