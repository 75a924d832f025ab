//! Configuration in TOML: unknown keys are refused, with the nearest valid name.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// The largest configuration file that is read, in bytes.
const MAX_CONFIG: usize = 1024 * 1024;

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file says something that it cannot say.
    #[error("{path} is not a valid configuration: {detail}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and the nearest valid name.
        detail: String,
    },
}

/// Reads the file at `path`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = crate::files::read_text(path, MAX_CONFIG)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|detail| ConfigError::Invalid { path: path.to_owned(), detail })
}

/// Reads `text`; the error is a sentence, with the place and, for an unknown key, the nearest valid one.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let message = error.to_string();
        match nearest_name(error.message()) {
            Some(name) => format!("{}\ndid you mean `{name}`?", message.trim_end()),
            None => message.trim_end().to_owned(),
        }
    })
}

/// From serde's "unknown field `x`, expected one of `a`, `b`" the expected name that is nearest to `x`.
fn nearest_name(message: &str) -> Option<String> {
    let (unknown, expected) = message.strip_prefix("unknown field ")?.split_once(", expected ")?;
    let quoted = |text: &str| text.trim_matches('`').to_owned();
    let given = quoted(unknown);
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|name| (strsim::damerau_levenshtein(&given, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(given.len()) / 2)
        .min()
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        poll_interval_s: u32,
        socket: String,
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let error = parse::<Sample>("poll_intervall_s = 60\nsocket = \"/x\"\n").unwrap_err();
        assert!(error.contains("did you mean `poll_interval_s`?"), "{error}");
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_name_that_is_near_to_none_gets_no_guess() {
        let error = parse::<Sample>("zzzzzzzz = 60\n").unwrap_err();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read::<Sample>(Path::new("/nonexistent/x.toml")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x.toml"), "{error}");
    }
}
