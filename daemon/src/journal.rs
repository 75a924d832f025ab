//! Log lines for journald, over its native socket (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! journald may hang, and who then waits for room in its queue hangs as well, be it the process that is to find
//! out. So a line waits for a moment only, and is lost after that.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where journald listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a line waits for room in journald's queue.
const LIMIT: Duration = Duration::from_millis(50);

/// Sends each event to journald.
#[derive(Debug)]
pub(crate) struct Journal {
    ours: UnixDatagram,
    socket: PathBuf,
    identifier: String,
}

impl Journal {
    /// The journal that listens at `socket`, for lines of the program `identifier`. An error if nobody does.
    pub(crate) fn new(socket: &Path, identifier: &str) -> io::Result<Self> {
        let ours = UnixDatagram::unbound()?;
        ours.set_write_timeout(Some(LIMIT))?;
        // journald ignores an entry without fields.
        match ours.send_to(&[], socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(Self { ours, socket: socket.to_owned(), identifier: identifier.to_owned() }),
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        entry.put("SYSLOG_IDENTIFIER", &self.identifier);
        entry.put("PRIORITY", priority(*event.metadata().level()));
        entry.put("TARGET", event.metadata().target());
        event.record(&mut entry);
        // There is nowhere to tell of a line that is lost.
        let _ = self.ours.send_to(&entry.0, &self.socket);
    }
}

/// As syslog(3) numbers them: what was done is worth a notice.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

/// An entry: each field by its name, a line end, the value's length in 64 bits and the value.
#[derive(Debug, Default)]
struct Entry(Vec<u8>);

impl Entry {
    fn put(&mut self, name: &str, value: &str) {
        let length = u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes();
        for part in [name.as_bytes(), b"\n", &length, value.as_bytes(), b"\n"] {
            self.0.extend_from_slice(part);
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.put("MESSAGE", value),
            name => self.put(&format!("F_{}", name.replace('.', "_").to_ascii_uppercase()), value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn logged(socket: &Path, log: impl FnOnce()) {
        let journal = Journal::new(socket, "test").unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
    }

    #[test]
    fn a_line_becomes_an_entry_with_its_fields() {
        let dir = tempfile::tempdir().unwrap();
        let journald = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        logged(&dir.path().join("socket"), || {
            tracing::warn!(count = 3, folder = %"/x", "two\nlines");
        });
        let mut bytes = [0; 1000];
        assert_eq!(journald.recv(&mut bytes).unwrap(), 0);
        let length = journald.recv(&mut bytes).unwrap();
        let mut expected = Entry::default();
        expected.put("SYSLOG_IDENTIFIER", "test");
        expected.put("PRIORITY", "4");
        expected.put("TARGET", module_path!());
        expected.put("MESSAGE", "two\nlines");
        expected.put("F_COUNT", "3");
        expected.put("F_FOLDER", "/x");
        assert_eq!(bytes[..length], expected.0);
        assert!(expected.0.ends_with(b"F_FOLDER\n\x02\0\0\0\0\0\0\0/x\n"));
    }

    #[test]
    fn a_journal_that_hangs_holds_nobody_up_who_logs() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let _hangs = UnixDatagram::bind(&socket).unwrap();
        // Each sender may have so much under way; together they fill the queue.
        let mut crowd = Vec::new();
        loop {
            let one = UnixDatagram::unbound().unwrap();
            one.set_nonblocking(true).unwrap();
            if one.send_to(b"MESSAGE=x\n", &socket).is_err() {
                break;
            }
            while one.send_to(b"MESSAGE=x\n", &socket).is_ok() {}
            crowd.push(one);
        }
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || {
            logged(&socket, || tracing::info!("nobody reads this"));
            let _ = done.send(());
        });
        ended.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn where_nobody_listens_there_is_no_journal() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        assert_eq!(Journal::new(&socket, "test").unwrap_err().kind(), ErrorKind::NotFound);
        drop(UnixDatagram::bind(&socket).unwrap());
        assert_eq!(Journal::new(&socket, "test").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
