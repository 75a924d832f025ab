//! A host whose files, programs and faults a test sets.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Mutex;

use compliance_checks::command::{Command, Output};
use compliance_checks::host::{FileStat, Hashing, RulesetChange, UnitState};
use compliance_checks::{Host, HostError};
use compliance_protocol::digest::Digest;
use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Timestamp;

/// What a program does: it may change the host's files.
pub type Program = Box<dyn FnMut(&mut Files) -> Result<Output, HostError> + Send>;

/// What a program does that may change anything about the host: it is given the host and its arguments.
pub type Deed = Box<dyn FnMut(&FakeHost, &[String]) -> Result<Output, HostError> + Send>;

/// The files, by path.
pub type Files = BTreeMap<String, Result<Vec<u8>, HostError>>;

/// Entries of the journal, each with its fields.
type Entries = Vec<Vec<(String, String)>>;

/// A host in memory.
#[derive(Default)]
pub struct FakeHost {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Files,
    links: BTreeMap<String, (String, Timestamp)>,
    devices: BTreeMap<String, u64>,
    read_so_far: BTreeMap<String, (Digest, u64)>,
    free: BTreeMap<String, u64>,
    units: Option<Result<Vec<UnitState>, HostError>>,
    unloaded: Vec<UnitState>,
    generation: Option<Result<u32, HostError>>,
    generations: VecDeque<u32>,
    changes: Vec<RulesetChange>,
    journal: Option<Result<Entries, HostError>>,
    synchronised: bool,
    deeds: BTreeMap<String, Deed>,
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

    /// Makes a link.
    pub fn link(&self, path: &str, target: &str, made: Timestamp) {
        self.state.lock().unwrap().links.insert(path.to_owned(), (target.to_owned(), made));
    }

    /// Removes a link.
    pub fn unlink(&self, path: &str) {
        self.state.lock().unwrap().links.remove(path);
    }

    /// Makes a device node, with the number that stat(2) gives for it.
    pub fn set_device(&self, path: &str, rdev: u64) {
        let mut state = self.state.lock().unwrap();
        state.devices.insert(path.to_owned(), rdev);
        state.files.entry(path.to_owned()).or_insert_with(|| Ok(Vec::new()));
    }

    /// Sets how much room there is at a path; without this there is no such path.
    pub fn set_free(&self, path: &str, bytes: u64) {
        self.state.lock().unwrap().free.insert(path.to_owned(), bytes);
    }

    /// Sets what systemd says; without this there is no systemd.
    pub fn set_units(&self, units: Result<Vec<UnitState>, HostError>) {
        self.state.lock().unwrap().units = Some(units);
    }

    /// Sets the units that systemd has not loaded, and so tells of only when asked for them by name.
    pub fn set_unloaded(&self, units: Vec<UnitState>) {
        self.state.lock().unwrap().unloaded = units;
    }

    /// Sets the ruleset's generation, as of a change by these processes; without this there is no `nf_tables`.
    pub fn set_ruleset(&self, generation: Result<u32, HostError>, changes: &[RulesetChange]) {
        let mut state = self.state.lock().unwrap();
        state.generation = Some(generation);
        state.changes.extend_from_slice(changes);
    }

    /// Lets the ruleset be at these generations first, the next one at each asking.
    pub fn queue_generations(&self, generations: &[u32]) {
        self.state.lock().unwrap().generations.extend(generations);
    }

    /// Starts the journal, or makes it fail; without this there is none. Where `/usr/bin/journalctl` is
    /// there, and is no program of the test's own, it finds each entry by the last of its fields.
    pub fn set_journal(&self, failure: Option<HostError>) {
        self.state.lock().unwrap().journal = Some(failure.map_or_else(|| Ok(Vec::new()), Err));
    }

    /// What was written to the journal.
    pub fn journal(&self) -> Vec<Vec<(String, String)>> {
        self.state.lock().unwrap().journal.clone().and_then(Result::ok).unwrap_or_default()
    }

    /// Sets whether the kernel's clock is synchronised.
    pub fn set_synchronised(&self, synchronised: bool) {
        self.state.lock().unwrap().synchronised = synchronised;
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

    /// Removes a program.
    pub fn remove_program(&self, path: &str) {
        self.state.lock().unwrap().programs.remove(path);
    }

    /// Installs a program that may change anything about the host.
    pub fn install_deed(&self, path: &str, deed: Deed) {
        self.state.lock().unwrap().deeds.insert(path.to_owned(), deed);
    }

    /// Takes a program away, to be installed again later.
    pub fn take_deed(&self, path: &str) -> Deed {
        self.state.lock().unwrap().deeds.remove(path).expect("such a program is installed")
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
        let rdev = self.state.lock().unwrap().devices.get(path.as_str()).copied();
        self.with_file(path, |bytes| {
            let (size, regular, rdev) = (bytes.len() as u64, rdev.is_none(), rdev.unwrap_or(0));
            Ok(FileStat { dev: 1, ino: 1, size, mtime: at, ctime: at, regular, rdev })
        })
    }

    fn read(&self, path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
        self.with_file(path, |bytes| {
            let large = || HostError::TooLarge { what: path.to_string(), limit };
            if bytes.len() > limit { Err(large()) } else { Ok(bytes.to_vec()) }
        })
    }

    fn read_head(&self, path: &AbsPath, length: usize) -> Result<Vec<u8>, HostError> {
        self.with_file(path, |bytes| Ok(bytes.iter().copied().take(length).collect()))
    }

    fn resolve(&self, path: &AbsPath) -> Result<AbsPath, HostError> {
        let state = self.state.lock().unwrap();
        let mut at = path.to_string();
        for _ in 0..40 {
            match state.links.get(&at) {
                Some((target, _)) if target.starts_with('/') => at.clone_from(target),
                Some((target, _)) => {
                    let folder = at.rsplit_once('/').map_or("", |(folder, _)| folder);
                    at = format!("{folder}/{target}");
                }
                None => return at.parse().map_err(|_| HostError::NotFound(path.to_string())),
            }
        }
        Err(HostError::NotFound(path.to_string()))
    }

    fn link_time(&self, path: &AbsPath) -> Result<Timestamp, HostError> {
        let state = self.state.lock().unwrap();
        let link = state.links.get(path.as_str());
        link.map(|(_, made)| *made).ok_or_else(|| HostError::NotFound(path.to_string()))
    }

    fn read_link(&self, path: &AbsPath) -> Result<String, HostError> {
        let state = self.state.lock().unwrap();
        let link = state.links.get(path.as_str());
        link.map(|(to, _)| to.clone()).ok_or_else(|| HostError::NotFound(path.to_string()))
    }

    /// The names of files and links right below `path`.
    fn list(&self, path: &AbsPath) -> Result<Vec<String>, HostError> {
        let state = self.state.lock().unwrap();
        let below = format!("{}/", path.as_str().trim_end_matches('/'));
        let paths = state.files.keys().chain(state.links.keys());
        let names = paths.filter_map(|p| p.strip_prefix(&below)?.split('/').next());
        let names: std::collections::BTreeSet<_> = names.map(str::to_owned).collect();
        if names.is_empty() {
            return Err(HostError::NotFound(path.to_string()));
        }
        Ok(names.into_iter().collect())
    }

    fn free_bytes(&self, path: &AbsPath) -> Result<u64, HostError> {
        let free = self.state.lock().unwrap().free.get(path.as_str()).copied();
        free.ok_or_else(|| HostError::NotFound(path.to_string()))
    }

    fn units(&self, named: &[UnitName]) -> Result<Vec<UnitState>, HostError> {
        let absent = || Err(HostError::ToolMissing("systemd".to_owned()));
        let state = self.state.lock().unwrap();
        let mut units = state.units.clone().unwrap_or_else(absent)?;
        for name in named.iter().map(UnitName::as_str) {
            if !units.iter().any(|unit| unit.unit == name) {
                let unloaded = state.unloaded.iter().find(|unit| unit.unit == name).cloned();
                units.push(unloaded.unwrap_or_else(|| unit(name, "not-found", "inactive", "dead")));
            }
        }
        Ok(units)
    }

    fn ruleset_generation(&self) -> Result<u32, HostError> {
        let absent = || Err(HostError::ToolMissing("nf_tables".to_owned()));
        let mut state = self.state.lock().unwrap();
        let queued = state.generations.pop_front().map(Ok);
        queued.or_else(|| state.generation.clone()).unwrap_or_else(absent)
    }

    fn ruleset_changes(&self) -> Vec<RulesetChange> {
        std::mem::take(&mut self.state.lock().unwrap().changes)
    }

    fn log(&self, fields: &[(&str, &str)]) -> Result<(), HostError> {
        let mut state = self.state.lock().unwrap();
        let absent = || Err(HostError::ToolMissing("journald".to_owned()));
        let journal = state.journal.get_or_insert_with(absent);
        let entry = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        journal.as_mut().map(|entries| entries.push(entry)).map_err(|error| error.clone())
    }

    fn clock_synchronised(&self) -> bool {
        self.state.lock().unwrap().synchronised
    }

    fn sha256(&self, path: &AbsPath, budget: &mut u64) -> Result<Hashing, HostError> {
        let (digest, size) =
            self.with_file(path, |bytes| Ok((Digest::of(bytes), bytes.len() as u64)))?;
        let mut state = self.state.lock().unwrap();
        let so_far = state.read_so_far.entry(path.to_string()).or_insert((digest, 0));
        if so_far.0 != digest {
            *so_far = (digest, 0);
        }
        let now = (size - so_far.1).min(*budget);
        so_far.1 += now;
        *budget -= now;
        let percent = u8::try_from(so_far.1 * 100 / size.max(1)).unwrap();
        Ok(if so_far.1 == size { Hashing::Done(digest) } else { Hashing::Reading(percent) })
    }

    fn run(&self, command: &Command) -> Result<Output, HostError> {
        let argv: Vec<String> = command.argv.clone().into();
        let deed = self.state.lock().unwrap().deeds.remove(&argv[0]);
        if let Some(mut deed) = deed {
            self.state.lock().unwrap().runs.push(command.clone());
            let ended = deed(self, &argv[1..]);
            self.install_deed(&argv[0], deed);
            return ended;
        }
        let mut state = self.state.lock().unwrap();
        let State { files, programs, runs, journal, .. } = &mut *state;
        let output = match (programs.get_mut(&argv[0]), journal) {
            (Some(program), _) => program(files),
            (None, Some(Ok(entries))) if argv[0] == "/usr/bin/journalctl" => {
                Ok(journalctl(entries, &argv))
            }
            (None, _) => return Err(HostError::ToolMissing(argv[0].clone())),
        };
        runs.push(command.clone());
        output
    }
}

/// What journalctl prints of the entry that its last argument asks for.
fn journalctl(entries: &Entries, argv: &[String]) -> Output {
    let asked = argv.last().and_then(|last| last.split_once('='));
    let last = |entry: &Vec<(String, String)>| {
        let (key, value) = entry.last()?;
        Some(*key == asked?.0 && *value == asked?.1)
    };
    let found = entries.iter().find(|entry| last(entry) == Some(true));
    let line = found.map(|entry| {
        let mut line: BTreeMap<&str, &str> =
            entry.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        line.insert("__REALTIME_TIMESTAMP", "1795167671000000");
        serde_json::to_vec(&line).unwrap()
    });
    Output { code: Some(0), stdout: line.unwrap_or_default(), stderr: Vec::new() }
}

/// A unit in a state.
pub fn unit(name: &str, load: &str, active: &str, sub: &str) -> UnitState {
    UnitState {
        unit: name.to_owned(),
        load: load.to_owned(),
        active: active.to_owned(),
        sub: sub.to_owned(),
        job: String::new(),
        kind: "simple".to_owned(),
        result: "success".to_owned(),
        restarts: 0,
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
