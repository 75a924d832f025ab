//! Files on a network file system or a failing disk may hang for ever, and what reads them cannot be
//! stopped. They are read by a thread of their own, which nobody waits for beyond a limit. One that was in
//! time is kept for the next file: to start one costs more than most files do.

use std::collections::HashSet;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    busy: Arc<Mutex<HashSet<AbsPath>>>,
    idle: Mutex<Vec<Sender<Job>>>,
}

type Job = Box<dyn FnOnce() + Send>;

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
        let held = Held::new(&self.busy, path).ok_or_else(late)?;
        let reader = lock(&self.idle).pop();
        let reader = reader.map_or_else(start, Ok);
        let reader = reader.map_err(|error| HostError::from_io(path.as_str(), &error))?;
        let (sender, answer) = mpsc::sync_channel(1);
        let job = move || {
            let seen = look(&held.path);
            drop(held);
            let _ = sender.send(seen);
        };
        let _ = reader.send(Box::new(job));
        let seen = answer.recv_timeout(LIMIT).map_err(|_| late())?;
        lock(&self.idle).push(reader);
        seen
    }
}

/// A path that is being looked at, until this is dropped.
struct Held {
    busy: Arc<Mutex<HashSet<AbsPath>>>,
    path: AbsPath,
}

impl Held {
    /// None if it already is.
    fn new(busy: &Arc<Mutex<HashSet<AbsPath>>>, path: &AbsPath) -> Option<Self> {
        let is_new = lock(busy).insert(path.clone());
        is_new.then(|| Self { busy: Arc::clone(busy), path: path.clone() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.busy).remove(&self.path);
    }
}

/// Starts a thread that ends when nobody keeps what it is asked by.
fn start() -> std::io::Result<Sender<Job>> {
    let (jobs, asked) = mpsc::channel::<Job>();
    thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || asked.into_iter().for_each(|job| job()))?;
    Ok(jobs)
}

/// Enough to read and hash with a buffer on the heap.
const STACK: usize = 256 * 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn one_thread_reads_what_is_read_in_turn() {
        let patience = Patience::default();
        let read = |path: &str| {
            patience.with(&path.parse().unwrap(), |_| Ok(thread::current().id())).unwrap()
        };
        let first = read("/srv/one");
        assert_eq!((read("/srv/two"), read("/srv/one")), (first, first));
        assert_ne!(first, thread::current().id());
    }

    #[test]
    fn a_look_that_crashes_costs_its_thread_and_no_more() {
        let patience = Patience::default();
        let path: AbsPath = "/srv/one".parse().unwrap();
        patience.with(&path, |_| -> Result<(), _> { panic!("crashed") }).unwrap_err();
        assert_eq!(patience.with(&path, |_| Ok(1)), Ok(1));
    }
}
