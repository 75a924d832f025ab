//! Entries for the journal, over its native socket
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::host::HostError;

const SOCKET: &str = "/run/systemd/journal/socket";
const JOURNALD: &str = "journald";

/// How long journald may take to have room for one more entry.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn write(fields: &[(&str, &str)]) -> Result<(), HostError> {
    send(Path::new(SOCKET), &entry(fields), LIMIT)
}

fn send(socket: &Path, entry: &[u8], limit: Duration) -> Result<(), HostError> {
    let sent = UnixDatagram::unbound().and_then(|ours| {
        ours.set_write_timeout(Some(limit))?;
        ours.send_to(entry, socket)
    });
    match sent {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            // The socket file may outlive who listened on it.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                HostError::ToolMissing(JOURNALD.to_owned())
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                HostError::TimedOut { what: JOURNALD.to_owned(), limit }
            }
            _ => HostError::from_io(JOURNALD, &error),
        }),
    }
}

/// One entry: `KEY=value` lines, and the length before a value that itself has lines.
fn entry(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut entry = Vec::new();
    for (key, value) in fields {
        entry.extend(key.bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            entry.extend(u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend(value.bytes().chain([b'\n']));
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_lines_or_lengths() {
        let fields = [("MESSAGE", "a canary"), ("TEXT", "two\nlines")];
        assert_eq!(entry(&fields), b"MESSAGE=a canary\nTEXT\n\x09\0\0\0\0\0\0\0two\nlines\n");
    }

    #[test]
    fn an_entry_arrives_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        send(&path, b"MESSAGE=x\n", LIMIT).unwrap();
        let mut received = [0; 64];
        let length = journald.recv(&mut received).unwrap();
        assert_eq!(&received[..length], b"MESSAGE=x\n");
    }

    #[test]
    fn a_journald_that_is_absent_gone_hung_or_closed_to_us_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let missing = Err(HostError::ToolMissing("journald".to_owned()));
        assert_eq!(send(&path, b"x", LIMIT), missing);
        let journald = UnixDatagram::bind(&path).unwrap();
        let hung = (0..10_000).find_map(|_| send(&path, b"x", Duration::from_millis(20)).err());
        assert!(matches!(hung, Some(HostError::TimedOut { .. })), "{hung:?}");
        drop(journald);
        assert_eq!(send(&path, b"x", LIMIT), missing);
        assert!(send(&path, &vec![0; 1 << 24], LIMIT).is_err());
    }
}
