//! A host whose files, programs and faults a test sets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use compliance_checks::command::{Command, Output};
use compliance_checks::host::FileStat;
use compliance_checks::{Host, HostError};
use compliance_protocol::digest::Digest;
use compliance_protocol::name::AbsPath;
use compliance_protocol::time::Timestamp;

/// What a program does: it may change the host's files.
pub type Program = Box<dyn FnMut(&mut Files) -> Result<Output, HostError> + Send>;

/// The files, by path.
pub type Files = BTreeMap<String, Result<Vec<u8>, HostError>>;

/// A host in memory.
#[derive(Default)]
pub struct FakeHost {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Files,
    programs: BTreeMap<String, Program>,
    runs: Vec<Command>,
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHost").finish_non_exhaustive()
    }
}

impl FakeHost {
    /// Writes a file.
    pub fn write(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state.lock().unwrap().files.insert(path.to_owned(), Ok(bytes.into()));
    }

    /// Makes each look at a file fail.
    pub fn fail(&self, path: &str, error: HostError) {
        self.state.lock().unwrap().files.insert(path.to_owned(), Err(error));
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path);
    }

    /// All files, to be put back later with [`FakeHost::set_files`].
    pub fn files(&self) -> Files {
        self.state.lock().unwrap().files.clone()
    }

    /// Replaces all files.
    pub fn set_files(&self, files: Files) {
        self.state.lock().unwrap().files = files;
    }

    /// Installs a program.
    pub fn install(&self, path: &str, program: Program) {
        self.state.lock().unwrap().programs.insert(path.to_owned(), program);
    }

    /// The argument vectors of all programs that were run, in order.
    pub fn runs(&self) -> Vec<Vec<String>> {
        self.commands().into_iter().map(|command| command.argv.into()).collect()
    }

    /// All commands that were run, in order.
    pub fn commands(&self) -> Vec<Command> {
        self.state.lock().unwrap().runs.clone()
    }

    fn with_file<T>(
        &self,
        path: &AbsPath,
        look: impl FnOnce(&[u8]) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        match self.state.lock().unwrap().files.get(path.as_str()) {
            None => Err(HostError::NotFound(path.to_string())),
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(bytes)) => look(bytes),
        }
    }
}

impl Host for FakeHost {
    fn stat(&self, path: &AbsPath) -> Result<FileStat, HostError> {
        let at = Timestamp::from_millis(0);
        self.with_file(path, |bytes| {
            let size = bytes.len() as u64;
            Ok(FileStat { dev: 1, ino: 1, size, mtime: at, ctime: at, regular: true })
        })
    }

    fn read(&self, path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
        self.with_file(path, |bytes| {
            let large = || HostError::TooLarge { what: path.to_string(), limit };
            if bytes.len() > limit { Err(large()) } else { Ok(bytes.to_vec()) }
        })
    }

    fn sha256(&self, path: &AbsPath) -> Result<Digest, HostError> {
        self.with_file(path, |bytes| Ok(Digest::of(bytes)))
    }

    fn run(&self, command: &Command) -> Result<Output, HostError> {
        let argv: Vec<String> = command.argv.clone().into();
        let mut state = self.state.lock().unwrap();
        let State { files, programs, runs } = &mut *state;
        let program =
            programs.get_mut(&argv[0]).ok_or_else(|| HostError::ToolMissing(argv[0].clone()))?;
        runs.push(command.clone());
        program(files)
    }
}

/// The output of a program that ended well and said nothing.
pub fn silent_success() -> Result<Output, HostError> {
    Ok(Output { code: Some(0), stdout: Vec::new(), stderr: Vec::new() })
}

/// A status file for an archive, as a backup job writes it.
pub fn job_status(finished_at: Timestamp, artefact: &str, archive: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "finished_at": finished_at,
        "artefact": artefact,
        "bytes": archive.len(),
        "sha256": Digest::of(archive),
    }))
    .unwrap()
}
