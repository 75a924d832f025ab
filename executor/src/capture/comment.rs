//! Comments in TOML, wrapped to lines that a person can read.

use std::fmt;

/// The longest line, in characters.
const WIDTH: usize = 100;

/// The most remarks of one kind that are written out.
const MOST: usize = 40;

/// A block of comment lines.
#[derive(Debug, Default)]
pub(super) struct Comment(String);

impl Comment {
    /// What the block is about.
    pub(super) fn title(&mut self, name: &str, text: &str) {
        self.wrap("# ", &format!("{}: {text}", name.to_uppercase()), "# ");
    }

    /// Running text.
    pub(super) fn line(&mut self, text: &str) {
        self.wrap("# ", text, "# ");
    }

    /// An entry of a list: a word, and what is to say about it.
    pub(super) fn item(&mut self, word: &str, text: &str) {
        let begin = if word.is_empty() { "#   ".to_owned() } else { format!("#   {word:<22} ") };
        let rest = format!("#{}", " ".repeat(begin.chars().count() - 1));
        self.wrap(&begin, text, &rest);
    }

    /// Entries of a list that all begin with the same word.
    pub(super) fn items(&mut self, word: &str, texts: &[String]) {
        for text in texts.iter().take(MOST) {
            self.item(word, text);
        }
        if let Some(more) = texts.len().checked_sub(MOST).filter(|more| *more > 0) {
            self.item(word, &format!("and {more} more"));
        }
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.0.push_str("#\n");
    }

    fn wrap(&mut self, begin: &str, text: &str, rest: &str) {
        let mut line = begin.to_owned();
        let mut is_empty = true;
        for word in harmless(text).split(' ') {
            let length = line.chars().count() + 1 + word.chars().count();
            if !is_empty && length > WIDTH {
                self.finish(&line);
                rest.clone_into(&mut line);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.finish(&line);
    }

    fn finish(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}

impl fmt::Display for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a host calls its things may hold line breaks, which would end the comment, or characters that make
/// a text look like another one.
fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_host_calls_its_things_leaves_the_comment() {
        let mut comment = Comment::default();
        comment.item("Look:", "/mnt/a\nversion = 9\r\u{202e}\u{1b}[2J is \"not\" encrypted");
        let text = comment.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(r#"a\nversion = 9\r\u{202e}\u{1b}[2J is "not" encrypted"#), "{text}");
        assert!(text.parse::<toml::Table>().unwrap().is_empty());
    }

    #[test]
    fn long_texts_are_wrapped_below_where_they_begin() {
        let mut comment = Comment::default();
        comment.item("key", &"many ".repeat(40));
        let text = comment.to_string();
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
        let rest = text.lines().nth(1).unwrap();
        assert!(rest.starts_with(&format!("#{}m", " ".repeat(26))), "{text}");
    }

    #[test]
    fn no_list_is_endless() {
        let mut comment = Comment::default();
        comment.items("Look:", &vec!["x".to_owned(); 5000]);
        assert!(comment.to_string().ends_with("and 4960 more\n"));
    }
}
