//! Errors as a person reads them.

use std::error::Error;

/// The error and its causes in one line; a cause that was said already is not said again.
pub fn of(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        next = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Told {
        words: &'static str,
        source: Option<Box<Self>>,
    }

    fn told(words: &'static str, source: Option<Told>) -> Told {
        Told { words, source: source.map(Box::new) }
    }

    #[test]
    fn each_cause_is_said_once() {
        let gone = || told("no such file", None);
        assert_eq!(
            of(&told("cannot read x: no such file. Make it", Some(gone()))),
            "cannot read x: no such file. Make it"
        );
        assert_eq!(
            of(&told("cannot start", Some(told("cannot read x", Some(gone()))))),
            "cannot start: cannot read x: no such file"
        );
    }
}
