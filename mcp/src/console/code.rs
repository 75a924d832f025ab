//! The code of an invitation: short enough to be typed.

use std::fmt;

use compliance_protocol::digest::Digest;

/// Crockford's base 32: no letter is mistaken for another, or for a digit.
const ALPHABET: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J',
    'K', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];

/// Twelve symbols of five bits.
const SYMBOLS: usize = 12;

/// A code without its dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code(String);

impl Code {
    /// The code of the invitation with this secret, which the code does not tell.
    pub(super) fn of(token: &str) -> Self {
        let digest = Digest::of(format!("code of {token}").as_bytes());
        let symbols = digest.as_bytes().iter().take(SYMBOLS);
        Self(symbols.filter_map(|byte| ALPHABET.get(usize::from(byte % 32))).collect())
    }

    /// What somebody typed: in small letters or capitals, with or without dashes.
    pub(super) fn typed(text: &str) -> Self {
        let symbols = text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(SYMBOLS + 1);
        let symbols = symbols.map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        });
        Self(symbols.collect())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// In groups of four.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, symbol) in self.0.chars().enumerate() {
            if at > 0 && at % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{symbol}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_recognised_however_it_is_typed() {
        let code = Code::of("a secret");
        let shown = code.to_string();
        assert_eq!(shown.len(), 14);
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', ""),
            shown.replace('-', " "),
            format!(" {shown}\n"),
            shown.replace('0', "o").replace('1', "l"),
        ] {
            assert_eq!(Code::typed(&typed), code, "{typed}");
        }
        assert_ne!(Code::typed(&format!("{shown}0")), code);
        assert_ne!(Code::typed(""), code);
        assert_ne!(Code::of("another secret"), code);
    }
}
