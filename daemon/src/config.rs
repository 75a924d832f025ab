//! What people write in TOML, configuration and baselines: unknown keys are refused, with the nearest
//! valid name.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// The largest file that is read, in bytes.
const MAX_CONFIG: usize = 1024 * 1024;

/// Why what a person wrote is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file says something that it cannot say.
    #[error("{path} is not valid: {detail}")]
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

/// Reads `text`; the error is a sentence, with the place and, for an unknown name, the nearest valid one.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let said = error.to_string();
        let said = match suggestion(error.message()) {
            Some(suggestion) => said.replace(error.message(), &suggestion),
            None => said,
        };
        said.trim_end().to_owned()
    })
}

/// From serde's "unknown field `x`, expected one of `a`, `b`" a question about the name that is nearest to
/// `x`, if one is near.
fn suggestion(message: &str) -> Option<String> {
    let (unknown, expected) = message.split_once(", expected ")?;
    let kinds = ["unknown field ", "unknown variant "];
    let given = kinds.into_iter().find_map(|kind| unknown.strip_prefix(kind))?.trim_matches('`');
    let names = expected.split('`').skip(1).step_by(2);
    let (_, nearest) = names
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(given.len()) / 2)
        .min()?;
    Some(format!("{unknown}, did you mean `{nearest}`?"))
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
        #[serde(default)]
        log: Vec<Log>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Log {
        level: Level,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Level {
        Info,
        Warn,
    }

    fn refused(more: &str) -> String {
        let text = format!("socket = \"/x\"\npoll_interval_s = 60\n{more}");
        parse::<Sample>(&text).unwrap_err()
    }

    #[test]
    fn an_unknown_name_is_refused_with_its_line_and_the_nearest_one() {
        for (text, line, said) in [
            ("sokket = \"/x\"", 3, "unknown field `sokket`, did you mean `socket`?"),
            ("poll_intervall_s = 6", 3, "did you mean `poll_interval_s`?"),
            ("[[log]]\nlevl = \"info\"", 4, "unknown field `levl`, did you mean `level`?"),
            ("log = [{ levle = \"info\" }]", 3, "unknown field `levle`, did you mean `level`?"),
            ("[[log]]\nlevel = \"wran\"", 4, "unknown variant `wran`, did you mean `warn`?"),
        ] {
            let error = refused(text);
            assert!(error.ends_with(said), "{error}");
            assert!(error.contains(&format!("line {line}")), "{error}");
        }
    }

    #[test]
    fn a_name_that_is_near_to_none_gets_the_list_and_no_guess() {
        let error = refused("zzzzzzzz = 60");
        assert!(!error.contains("did you mean"), "{error}");
        assert!(error.contains("expected one of `poll_interval_s`, `socket`, `log`"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read::<Sample>(Path::new("/nonexistent/x.toml")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x.toml"), "{error}");
    }
}
