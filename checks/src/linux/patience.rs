//! Files on a network file system or a failing disk may hang for ever, and what reads them cannot be
//! stopped. They are read by a thread of their own, which nobody waits for beyond a limit.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use compliance_protocol::name::AbsPath;

use crate::host::HostError;

/// How long a file may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Where the kernel and the system itself answer: what hangs there hangs everything.
const PROMPT: [&str; 12] = [
    "/bin/",
    "/dev/",
    "/etc/",
    "/nix/",
    "/proc/",
    "/run/booted-system",
    "/run/current-system",
    "/run/systemd/",
    "/sbin/",
    "/sys/",
    "/usr/",
    "/var/log/journal",
];

/// Looks at files without being held up by them.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// What a thread is reading now. One that hangs is asked nothing more, so that threads do not pile up.
    busy: Arc<Busy>,
}

#[derive(Debug, Default)]
struct Busy(Mutex<HashSet<AbsPath>>);

impl Patience {
    /// What `look` says of `path`, if it says so in time.
    pub(super) fn with<T: Send + 'static>(
        &self,
        path: &AbsPath,
        look: impl FnOnce(&AbsPath) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        if PROMPT.iter().any(|place| path.as_str().starts_with(place)) {
            return look(path);
        }
        let late = || HostError::TimedOut { what: path.to_string(), limit: LIMIT };
        if !self.busy.lock().insert(path.clone()) {
            return Err(late());
        }
        let (sender, answer) = mpsc::sync_channel(1);
        let (busy, subject) = (Arc::clone(&self.busy), path.clone());
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            let seen = look(&subject);
            busy.lock().remove(&subject);
            let _ = sender.send(seen);
        });
        if let Err(error) = thread {
            self.busy.lock().remove(path);
            return Err(HostError::from_io(path.as_str(), &error));
        }
        answer.recv_timeout(LIMIT).unwrap_or_else(|_| Err(late()))
    }
}

/// Enough to read and hash with a buffer on the heap.
const STACK: usize = 256 * 1024;

impl Busy {
    fn lock(&self) -> MutexGuard<'_, HashSet<AbsPath>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_hangs_holds_up_nobody_and_is_asked_again_only_when_it_answers() {
        let patience = Patience::default();
        let path: AbsPath = "/mnt/gone/archive".parse().unwrap();
        let (release, released) = mpsc::channel::<()>();
        let hang = move |_: &AbsPath| {
            let _ = released.recv();
            Ok(())
        };
        let late = HostError::TimedOut { what: path.to_string(), limit: LIMIT };
        assert_eq!(patience.with(&path, hang), Err(late.clone()));
        assert_eq!(patience.with(&path, |_| -> Result<(), _> { panic!("asked again") }), Err(late));
        assert_eq!(patience.with(&"/mnt/other".parse().unwrap(), |_| Ok(1)), Ok(1));
        drop(release);
        // The thread that hung ends some time after this.
        while patience.with(&path, |_| Ok(2)) != Ok(2) {
            thread::yield_now();
        }
    }
}
