//! What each check's `capture` gives: its part of a baseline as this host is now, for a person to review.

/// One check's part of a baseline as this host is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured<T> {
    /// What to expect; or why that cannot be taken from this host, in a sentence.
    pub expected: Result<T, String>,
    /// What a person should know before signing it, in a sentence each: what is weak, what was left out.
    pub remarks: Vec<String>,
}

impl<T> Captured<T> {
    /// Nothing could be taken from this host, and why.
    pub fn nothing(why: &(impl ToString + ?Sized)) -> Self {
        Self { expected: Err(why.to_string()), remarks: Vec::new() }
    }
}
