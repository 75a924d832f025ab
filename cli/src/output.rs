//! Results: text for people, or one JSON document.

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
        if self.colour && !code.is_empty() && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A table for people. One column is folded, so that lines stay readable.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<(Tone, String)>>,
    folds: usize,
}

/// How long a line should be at most.
const WIDTH: usize = 110;

/// A folded column is not narrower than this.
const MIN_FOLDED: usize = 30;

impl Table {
    /// A table with these column heads; the last column is the one that is folded.
    pub fn new(heads: &[&str]) -> Self {
        let heads: Vec<_> = heads.iter().map(|head| (Tone::Quiet, (*head).to_owned())).collect();
        Self { folds: heads.len().saturating_sub(1), rows: vec![heads] }
    }

    /// The same with another folded column, counted from 0.
    #[must_use]
    pub fn folding(self, column: usize) -> Self {
        Self { folds: column, ..self }
    }

    /// Adds a row. Control characters, which a terminal would obey, are replaced.
    pub fn row(&mut self, cells: Vec<(Tone, String)>) {
        let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let cells = cells.into_iter().map(|(tone, text)| (tone, text.chars().map(clean).collect()));
        self.rows.push(cells.collect());
    }

    /// The table as text, each line indented by two.
    pub fn render(&self, paint: Paint) -> String {
        let widths = self.widths();
        self.rows.iter().flat_map(|row| self.lines(row, &widths, paint)).collect()
    }

    /// The width of each column, the folded one narrowed to what is left.
    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |n: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(n));
            cells.map(|(_, text)| text.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<_> = (0..columns).map(width).collect();
        let total: usize = widths.iter().map(|width| width + 2).sum();
        if let Some(folded) = widths.get_mut(self.folds) {
            let others = total - *folded;
            *folded = (*folded).min(WIDTH.saturating_sub(others).max(MIN_FOLDED));
        }
        widths
    }

    /// One row, as many lines as its folded cell has.
    fn lines(&self, row: &[(Tone, String)], widths: &[usize], paint: Paint) -> Vec<String> {
        let fold_at = widths.get(self.folds).copied().unwrap_or(WIDTH);
        let folded = row.get(self.folds).map(|(_, text)| fold(text, fold_at)).unwrap_or_default();
        let line = |k: usize| {
            let cells = row.iter().zip(widths).enumerate().map(|(n, ((tone, text), width))| {
                let text = match (n == self.folds, k) {
                    (true, _) => folded.get(k).map_or("", String::as_str),
                    (false, 0) => text,
                    (false, _) => "",
                };
                let gap = " ".repeat(width.saturating_sub(text.chars().count()) + 2);
                format!("{}{gap}", paint.tone(*tone, text))
            });
            format!("  {}\n", cells.collect::<String>().trim_end())
        };
        (0..folded.len().max(1)).map(line).collect()
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
    fn the_other_columns_stay_beside_the_first_line_of_the_folded_one() {
        let mut table = Table::new(&["check", "actual", "verdict"]).folding(1);
        table.row(
            ["backups", &"x ".repeat(60), "unknown"].map(|t| (Tone::Plain, t.to_owned())).to_vec(),
        );
        let text = table.render(PLAIN);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].ends_with("  unknown") && lines.len() == 3, "{text}");
        assert!(
            lines[0].ends_with("  verdict") && lines[0].find("verdict") == lines[1].find("unknown")
        );
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
    }

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
