//! A tenant's keys, the same in each run.

use compliance_checks::backups::{BackupJob, BackupsBaseline, Run};
use compliance_checks::baseline::{Baseline, Binding, NotApplicable, Section};
use compliance_protocol::digest::Digest;
use compliance_protocol::key::KeySet;
use compliance_protocol::tlog::VerifierKey;
use compliance_protocol::trust::{OrderKeys, Roles, Trust};
use compliance_signing::PrivateKey;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The text that stands for the machine id in tests.
pub const MACHINE_ID: &str = "00000000000000000000000000000042";

/// Where the backup job `records` writes its status.
pub const STATUS_FILE: &str = "/var/backup/records.json";

/// Where its archive lies.
pub const ARCHIVE: &str = "/var/backup/records.tar";

/// What starts it.
pub const BACKUP_PROGRAM: &str = "/usr/bin/backup-records";

/// One key for each role, two for orders.
#[derive(Debug)]
pub struct Keys {
    /// Signs trust files.
    pub root: PrivateKey,
    /// Sign orders.
    pub orders: [PrivateKey; 2],
    /// Signs baselines.
    pub baseline: PrivateKey,
    /// Signs feed heads.
    pub feed: PrivateKey,
    /// Signs checkpoints.
    pub checkpoint: PrivateKey,
    /// Signs evidence.
    pub evidence: PrivateKey,
}

impl Default for Keys {
    fn default() -> Self {
        let key = |seed| PrivateKey::from_seed(&[seed; 32]).unwrap();
        Self {
            root: key(1),
            orders: [key(2), key(3)],
            baseline: key(4),
            feed: key(5),
            checkpoint: key(6),
            evidence: key(7),
        }
    }
}

impl Keys {
    /// The trust file of `acme/clinic-042`: one `orders` key of two signs, both for `when: now`.
    pub fn trust(&self) -> Trust {
        let one = |key: &PrivateKey| KeySet::new(vec![key.public()], 1).unwrap();
        let orders = self.orders.iter().map(PrivateKey::public).collect();
        Trust {
            version: 1,
            tenant: "acme".parse().unwrap(),
            site: "clinic-042".parse().unwrap(),
            epoch: 1,
            roles: Roles {
                root: one(&self.root),
                orders: OrderKeys { any: KeySet::new(orders, 1).unwrap(), threshold_now: 2 },
                baseline: one(&self.baseline),
                feed: one(&self.feed),
                checkpoint: self.checkpoint.public(),
                evidence: self.evidence.public(),
            },
            log: VerifierKey::new("mcp.acme.example/evidence", self.checkpoint.public()).unwrap(),
        }
    }

    /// The trust file, signed.
    pub fn signed_trust(&self) -> Vec<u8> {
        compliance_signing::sign(&self.trust(), &[&self.root]).unwrap()
    }

    /// A baseline with one backup job, `records`, and one disruptive unit, `clinic-frontdesk.service`.
    pub fn baseline(&self) -> Baseline {
        let trust = self.trust();
        Baseline {
            version: 1,
            tenant: trust.tenant,
            site: trust.site,
            bound_to: Binding::MachineIdSha256(Digest::of(MACHINE_ID.as_bytes())),
            backups: Section::Expected(BackupsBaseline {
                jobs: vec![BackupJob {
                    name: "records".parse().unwrap(),
                    status_file: STATUS_FILE.parse().unwrap(),
                    archive_dir: None,
                    max_age_h: 48,
                    restore_test_max_age_d: None,
                    run: Run::Argv(vec![BACKUP_PROGRAM.to_owned()].try_into().unwrap()),
                    max_runtime_s: 600,
                }],
            }),
            services: section(json!({
                "units": [{ "unit": "clinic-frontdesk.service", "disruptive": true }],
            })),
            patching: not_here(),
            firewall: not_here(),
            logging: not_here(),
            encryption: not_here(),
        }
    }

    /// The baseline, signed.
    pub fn signed_baseline(&self) -> Vec<u8> {
        compliance_signing::sign(&self.baseline(), &[&self.baseline]).unwrap()
    }
}

/// A part of a baseline as it is written: all that has a default may be left out.
fn section<T: DeserializeOwned>(written: Value) -> Section<T> {
    Section::Expected(serde_json::from_value(written).unwrap())
}

fn not_here<T>() -> Section<T> {
    Section::NotApplicable(NotApplicable { not_applicable: "a fake host".to_owned() })
}
