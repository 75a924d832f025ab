//! Logs for journald, handed over by a thread of their own: journald may hang, and then nothing else may
//! wait for it.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// So many lines wait for journald at most; what comes while it hangs is lost.
const QUEUE: usize = 1024;

/// How long the last lines of a process may take.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Takes events, and waits for nobody.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    queue: SyncSender<Work>,
}

/// Waits, when it goes, until what was logged before has been handed over; not for long.
#[derive(Debug)]
pub struct Flush(Option<Journal>);

#[derive(Debug)]
struct Line {
    level: Level,
    text: String,
}

#[derive(Debug)]
enum Work {
    Line(Line),
    Flush(SyncSender<()>),
}

impl Journal {
    /// Hands events over to journald.
    pub(crate) fn new(identifier: &str) -> io::Result<Self> {
        let journald = tracing_journald::layer()?.with_syslog_identifier(identifier.to_owned());
        let subscriber = tracing_subscriber::registry().with(journald);
        let dispatch = tracing::Dispatch::new(subscriber);
        Self::to(move |line| tracing::dispatcher::with_default(&dispatch, || say(&line)))
    }

    fn to(mut hand_over: impl FnMut(Line) + Send + 'static) -> io::Result<Self> {
        let (queue, waiting) = mpsc::sync_channel(QUEUE);
        let work = move || {
            for work in waiting {
                match work {
                    Work::Line(line) => hand_over(line),
                    Work::Flush(done) => drop(done.try_send(())),
                }
            }
        };
        thread::Builder::new().name("journal".to_owned()).spawn(work)?;
        Ok(Self { queue })
    }
}

impl Flush {
    /// For what goes to `journal`, or elsewhere at once.
    pub(crate) fn of(journal: Option<&Journal>) -> Self {
        Self(journal.cloned())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let Some(journal) = &self.0 else { return };
        let (done, flushed) = mpsc::sync_channel(1);
        if journal.queue.try_send(Work::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(LAST_WORDS);
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let line = Line { level: *event.metadata().level(), text: text.0 };
        let _ = self.queue.try_send(Work::Line(line));
    }
}

/// An event as one line: its message, and its fields after that.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{rest}")
        } else {
            write!(self.0, " {field}={value:?}")
        };
    }
}

/// Says it again, at its own level.
fn say(line: &Line) {
    match line.level {
        Level::ERROR => tracing::error!("{}", line.text),
        Level::WARN => tracing::warn!("{}", line.text),
        Level::INFO => tracing::info!("{}", line.text),
        _ => tracing::debug!("{}", line.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journald_that_hangs_holds_nobody_up_and_what_it_has_no_room_for_is_lost() {
        let (release, gate) = mpsc::channel::<()>();
        let (seen, lines) = mpsc::channel();
        let journal = Journal::to(move |line| {
            let _ = gate.recv();
            let _ = seen.send(line.text);
        })
        .unwrap();
        let flush = Flush::of(Some(&journal));
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..2 * QUEUE {
                tracing::info!(n, other = "x y", "the line");
            }
        });
        drop(flush);
        drop(release);
        let lines: Vec<_> = lines.iter().collect();
        assert_eq!(lines[0], "the line n=0 other=\"x y\"");
        assert!((QUEUE..=QUEUE + 2).contains(&lines.len()), "{}", lines.len());
    }

    #[test]
    fn the_last_words_of_a_process_are_handed_over() {
        let (seen, lines) = mpsc::channel();
        let journal = Journal::to(move |line| drop(seen.send(line.text))).unwrap();
        let flush = Flush::of(Some(&journal));
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || tracing::warn!("the end"));
        drop(flush);
        assert_eq!(lines.try_recv().as_deref(), Ok("the end"));
    }
}
