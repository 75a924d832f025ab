//! A machine whose journald does what a test says.

use std::sync::Mutex;

use compliance_checks::command::{Command, Output};
use compliance_checks::host::{FileStat, Hashing, RulesetChange, UnitState};
use compliance_checks::{Host, HostError};
use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Timestamp;
use compliance_testkit::host::FakeHost;

/// What journald does with entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// Stores them on disk.
    #[default]
    Works,
    /// Stores them on disk once it is asked to catch up.
    Late,
    /// Takes them and stores none.
    Drops,
    /// Takes them, and stores them when it works again.
    Hung,
    /// Is not there.
    Gone,
    /// Stores them in memory.
    Volatile,
}

#[derive(Default)]
struct Journald {
    state: State,
    waiting: Vec<String>,
    stored: Vec<(String, bool)>,
    entries: Vec<Vec<(String, String)>>,
    runs: Vec<Vec<String>>,
    answer: Option<Result<Output, HostError>>,
}

/// A fake host with this journald.
pub(crate) struct Machine {
    pub(crate) fake: FakeHost,
    journald: Mutex<Journald>,
}

impl Default for Machine {
    fn default() -> Self {
        let fake = FakeHost::default();
        fake.write("/usr/bin/journalctl", "");
        fake.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        fake.write("/var/log/journal/0123456789abcdef0123456789abcdef/system.journal", "");
        fake.set_synchronised(true);
        Self { fake, journald: Mutex::default() }
    }
}

impl Machine {
    pub(crate) fn set(&self, state: State) {
        let mut journald = self.journald.lock().unwrap();
        journald.state = state;
        if state == State::Works {
            journald.catch_up();
        }
    }

    /// Makes journalctl answer so whatever it is asked.
    pub(crate) fn answer_with(&self, answer: Option<Result<Output, HostError>>) {
        self.journald.lock().unwrap().answer = answer;
    }

    pub(crate) fn entries(&self) -> Vec<Vec<(String, String)>> {
        self.journald.lock().unwrap().entries.clone()
    }

    /// The numbers of all canaries.
    pub(crate) fn written(&self) -> Vec<String> {
        self.entries().into_iter().map(|mut entry| entry.pop().unwrap().1).collect()
    }

    pub(crate) fn is_on_disk(&self, id: &str) -> bool {
        let journald = self.journald.lock().unwrap();
        journald.stored.iter().any(|(stored, on_disk)| stored == id && *on_disk)
    }

    pub(crate) fn runs(&self) -> Vec<Vec<String>> {
        self.journald.lock().unwrap().runs.clone()
    }
}

impl Journald {
    fn catch_up(&mut self) {
        let on_disk = self.state != State::Volatile;
        self.stored.extend(self.waiting.drain(..).map(|id| (id, on_disk)));
    }

    fn take(&mut self, id: String) -> Result<(), HostError> {
        match self.state {
            State::Gone => return Err(HostError::ToolMissing("journald".to_owned())),
            State::Drops => {}
            State::Late | State::Hung => self.waiting.push(id),
            State::Works | State::Volatile => {
                self.waiting.push(id);
                self.catch_up();
            }
        }
        Ok(())
    }

    fn journalctl(&mut self, arguments: &[String], command: &Command) -> Result<Output, HostError> {
        if let Some(answer) = &self.answer {
            return answer.clone();
        }
        let done = |stdout: Vec<u8>| Ok(Output { code: Some(0), stdout, stderr: Vec::new() });
        if arguments.contains(&"--sync".to_owned()) {
            if matches!(self.state, State::Hung | State::Gone) {
                let what = "/usr/bin/journalctl".to_owned();
                return Err(HostError::TimedOut { what, limit: command.limit });
            }
            self.catch_up();
            return done(Vec::new());
        }
        let on_disk = arguments.contains(&"--directory=/var/log/journal".to_owned());
        let id = arguments.last().unwrap().strip_prefix("COMPLIANCE_CANARY=").unwrap();
        let found = self.stored.iter().any(|(stored, disk)| stored == id && (*disk || !on_disk));
        let recorded = include_str!("../fixtures/logging/found.json");
        let entry = recorded.replace("0123456789abcdef0123456789abcdef", id);
        done(if found { entry.into() } else { Vec::new() })
    }
}

impl Host for Machine {
    fn log(&self, fields: &[(&str, &str)]) -> Result<(), HostError> {
        let mut journald = self.journald.lock().unwrap();
        let id = fields.iter().find(|(key, _)| *key == "COMPLIANCE_CANARY").unwrap().1;
        journald.take(id.to_owned())?;
        let entry = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        journald.entries.push(entry.collect());
        Ok(())
    }

    fn run(&self, command: &Command) -> Result<Output, HostError> {
        let argv: Vec<String> = command.argv.clone().into();
        let mut journald = self.journald.lock().unwrap();
        journald.runs.push(argv.clone());
        assert_eq!(argv[0], "/usr/bin/journalctl");
        journald.journalctl(&argv[1..], command)
    }

    fn stat(&self, path: &AbsPath) -> Result<FileStat, HostError> {
        self.fake.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
        self.fake.read(path, limit)
    }

    fn read_head(&self, path: &AbsPath, length: usize) -> Result<Vec<u8>, HostError> {
        self.fake.read_head(path, length)
    }

    fn sha256(&self, path: &AbsPath, budget: &mut u64) -> Result<Hashing, HostError> {
        self.fake.sha256(path, budget)
    }

    fn resolve(&self, path: &AbsPath) -> Result<AbsPath, HostError> {
        self.fake.resolve(path)
    }

    fn link_time(&self, path: &AbsPath) -> Result<Timestamp, HostError> {
        self.fake.link_time(path)
    }

    fn read_link(&self, path: &AbsPath) -> Result<String, HostError> {
        self.fake.read_link(path)
    }

    fn list(&self, path: &AbsPath) -> Result<Vec<String>, HostError> {
        self.fake.list(path)
    }

    fn free_bytes(&self, path: &AbsPath) -> Result<u64, HostError> {
        self.fake.free_bytes(path)
    }

    fn units(&self, named: &[UnitName]) -> Result<Vec<UnitState>, HostError> {
        self.fake.units(named)
    }

    fn ruleset_generation(&self) -> Result<u32, HostError> {
        self.fake.ruleset_generation()
    }

    fn ruleset_changes(&self) -> Vec<RulesetChange> {
        self.fake.ruleset_changes()
    }

    fn clock_synchronised(&self) -> bool {
        self.fake.clock_synchronised()
    }
}
