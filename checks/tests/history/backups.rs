//! Two backup jobs.

use compliance_checks::backups::Backups;
use compliance_checks::{Check, Host};
use compliance_protocol::digest::Digest;
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::FakeHost;
use serde_json::{Value, json};

use super::{Event, Machine, START};

const MAX_AGE_H: i64 = 48;
const MAX_TEST_AGE_D: i64 = 90;

pub(super) struct Jobs {
    now: Timestamp,
    jobs: [Job; 2],
}

/// What one job left.
struct Job {
    name: &'static str,
    count: u32,
    finished_at: Timestamp,
    tested_at: Timestamp,
    archive: Option<Vec<u8>>,
    has_status: bool,
    claimed: Vec<u8>,
}

impl Job {
    fn new(name: &'static str, now: Timestamp) -> Self {
        let archive = vec![1, 2, 3];
        let (finished_at, tested_at) = (now, now);
        let claimed = archive.clone();
        Self {
            name,
            count: 0,
            finished_at,
            tested_at,
            archive: Some(archive),
            has_status: true,
            claimed,
        }
    }

    fn back_up(&mut self, now: Timestamp, size: u32) {
        self.count += 1;
        self.finished_at = now;
        self.claimed = self.count.to_le_bytes().repeat(size as usize + 1);
        self.archive = Some(self.claimed.clone());
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self { now: START, jobs: ["records", "images"].map(|name| Job::new(name, START)) }
    }
}

impl Jobs {
    /// Up to 47 hours; whoever would be too old by then does its work first.
    fn let_pass(&mut self, span: Span) {
        let later = self.now.plus(span);
        for job in &mut self.jobs {
            if later.since(job.finished_at) > Span::from_hours(MAX_AGE_H) {
                job.back_up(self.now, 7);
            }
            if later.since(job.tested_at) > Span::from_hours(24 * MAX_TEST_AGE_D) {
                job.tested_at = self.now;
            }
        }
        self.now = later;
    }
}

impl Machine for Jobs {
    const HARMS: usize = 9;

    fn check() -> impl Check {
        Backups::default()
    }

    fn baseline() -> Value {
        let job = |name: &str| {
            json!({
                "name": name,
                "status_file": format!("/var/backup/{name}.json"),
                "max_age_h": MAX_AGE_H,
                "restore_test_max_age_d": MAX_TEST_AGE_D,
                "run": { "unit": format!("{name}.service") },
            })
        };
        json!({ "backups": { "jobs": [job("records"), job("images")] } })
    }

    fn live(&mut self, event: Event) {
        let now = self.now;
        let job = &mut self.jobs[usize::from(event.kind >> 7)];
        match event.one_of(5) {
            0 => self.let_pass(Span::from_secs(i64::from(event.below(47 * 3600)))),
            1 => self.let_pass(Span::from_millis(i64::from(event.below(15_000)))),
            2 => job.back_up(now, event.below(2000)),
            // The job's clock may be a little ahead.
            3 => {
                job.back_up(now.plus(Span::from_secs(i64::from(event.below(300)))), event.below(9));
            }
            _ => job.tested_at = now,
        }
    }

    fn harm(&mut self, kind: usize, event: Event) {
        let now = self.now;
        let job = &mut self.jobs[usize::from(event.kind >> 7)];
        let size = u32::try_from(job.claimed.len()).unwrap();
        match kind {
            0 => self.now = job.finished_at.plus(Span::from_millis(MAX_AGE_H * 3_600_000 + 1)),
            1 => job.finished_at = now.plus(Span::from_secs(301)),
            2 => job.archive.as_mut().unwrap()[event.below(size) as usize] ^= 1 << (event.kind % 8),
            3 => job.archive.as_mut().unwrap().truncate(event.below(size) as usize),
            4 => job.archive.as_mut().unwrap().push(0),
            5 => job.archive = None,
            6 => job.has_status = false,
            7 => job.claimed[event.below(size) as usize] ^= 1 << (event.kind % 8),
            _ => job.tested_at = now.plus(Span::from_hours(-24 * MAX_TEST_AGE_D - 1)),
        }
    }

    fn show(&self, look: &mut dyn FnMut(&dyn Host)) {
        let host = FakeHost::default();
        for job in &self.jobs {
            let archive = format!("/var/backup/{}-{}.tar", job.name, job.count);
            let status = json!({
                "finished_at": job.finished_at,
                "artefact": archive,
                "bytes": job.claimed.len(),
                "sha256": Digest::of(&job.claimed),
                "restore_tested_at": job.tested_at,
            });
            if let Some(bytes) = &job.archive {
                host.write(&archive, bytes.clone());
            }
            if job.has_status {
                host.write(&format!("/var/backup/{}.json", job.name), status.to_string());
            }
        }
        look(&host);
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
