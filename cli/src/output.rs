//! Results: text for people, or one JSON document.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::Error;

/// Where results go, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    paint: Paint,
}

impl Output {
    /// Text with colour if stdout is a terminal and `NO_COLOR` is not set, or JSON.
    pub fn new(json: bool) -> Self {
        let colour = !json && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, paint: Paint { colour } }
    }

    /// Whether results are JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// How text is coloured.
    pub fn paint(self) -> Paint {
        self.paint
    }

    /// Prints the command's result: `value` as JSON, or what `human` makes of it.
    pub fn show<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&T, Paint) -> String,
    ) -> Result<(), Error> {
        let mut text = if self.json {
            serde_json::to_string_pretty(value).map_err(io::Error::from).map_err(Error::Print)?
        } else {
            human(value, self.paint)
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        io::stdout().write_all(text.as_bytes()).map_err(Error::Print)
    }

    /// Prints text that comes before the result; with `--json` it goes to stderr.
    pub fn say(self, text: &str) -> Result<(), Error> {
        let written = if self.json {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}").and_then(|()| io::stdout().flush())
        };
        written.map_err(Error::Print)
    }
}

/// Colours text, or does not.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    colour: bool,
}

/// What a text is about, which gives it its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Nobody knows, or it waits.
    Open,
    /// In the background.
    Quiet,
    /// In the foreground.
    Strong,
    /// Nothing in particular.
    Plain,
}

impl Paint {
    /// Text in the colour of its tone.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Open => "33",
            Tone::Quiet => "2",
            Tone::Strong => "1",
            Tone::Plain => "",
        };
        if self.colour && !code.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A table for people. The last column is folded, so that lines stay readable.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<(Tone, String)>>,
}

/// Where the last column is folded.
const WIDTH: usize = 110;

impl Table {
    /// A table with these column heads.
    pub fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (Tone::Quiet, (*head).to_owned())).collect()] }
    }

    /// Adds a row. Control characters, which a terminal would obey, are replaced.
    pub fn row(&mut self, cells: Vec<(Tone, String)>) {
        let clean = |text: String| {
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
        };
        self.rows.push(cells.into_iter().map(|(tone, text)| (tone, clean(text))).collect());
    }

    /// The table as text, each line indented by two.
    pub fn render(&self, paint: Paint) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |n: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(n));
            cells.map(|(_, text)| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let before_last =
            2 + widths.iter().take(columns.saturating_sub(1)).map(|w| w + 2).sum::<usize>();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::from("  ");
            for (n, ((tone, cell), width)) in row.iter().zip(&widths).enumerate() {
                if n + 1 == columns {
                    for (k, part) in
                        fold(cell, WIDTH.saturating_sub(before_last).max(30)).iter().enumerate()
                    {
                        if k > 0 {
                            let _ = write!(line, "\n{}", " ".repeat(before_last));
                        }
                        line.push_str(&paint.tone(*tone, part));
                    }
                } else {
                    let gap = " ".repeat(width - cell.chars().count() + 2);
                    line.push_str(&paint.tone(*tone, cell));
                    line.push_str(&gap);
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Folds text between words into lines of at most `width` characters; a longer word stays whole.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint { colour: false };

    #[test]
    fn columns_line_up_and_the_last_one_folds() {
        let mut table = Table::new(&["check", "actual"]);
        table.row(vec![(Tone::Good, "backups".to_owned()), (Tone::Plain, "x ".repeat(60))]);
        let text = table.render(PLAIN);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "  check    actual");
        assert!(
            lines[1].starts_with("  backups  x x") && lines[2].starts_with("           x"),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
    }

    #[test]
    fn a_terminal_is_never_given_control_characters_of_others() {
        let mut table = Table::new(&["reason"]);
        table.row(vec![(Tone::Plain, "\x1b[2Jgone\r\n".to_owned())]);
        assert!(!table.render(PLAIN).contains(['\x1b', '\r']));
    }

    #[test]
    fn without_a_terminal_there_is_no_colour() {
        assert_eq!(PLAIN.tone(Tone::Bad, "x"), "x");
        assert_eq!(Paint { colour: true }.tone(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
