//! What the keys of each section mean, for who reviews a captured baseline.

use compliance_checks::CheckId;

/// What is to say of a check's section.
pub(super) struct Words {
    /// What the check looks at.
    pub(super) title: &'static str,
    /// Each key, and what it means.
    pub(super) keys: &'static [(&'static str, &'static str)],
    /// A reason that the check may not apply for; a person writes the real one.
    pub(super) not_applicable: &'static str,
}

/// The words for a check's section.
pub(super) fn words(check: CheckId) -> Words {
    match check {
        CheckId::Patching => PATCHING,
        CheckId::Services => SERVICES,
        CheckId::Backups => BACKUPS,
        CheckId::Firewall => FIREWALL,
        CheckId::Logging => LOGGING,
        CheckId::Encryption => ENCRYPTION,
    }
}

const PATCHING: Words = Words {
    title: "the expected NixOS system runs, is young enough, and was booted.",
    keys: &[
        ("max_age_d", "how old the running generation may be, in days"),
        ("max_reboot_pending_d", "how long a reboot may be pending, in days"),
    ],
    not_applicable: "this machine is not NixOS; its updates are watched by ...",
};

const SERVICES: Words = Words {
    title: "critical units are active, nothing has failed, nothing restarts again and again. Listed \
            are the services that are up now, without instances of templates, transient ones, and those \
            that come and go on demand: take out what nobody needs.",
    keys: &[
        ("units", "the units that must be active; a oneshot may also have ended with success"),
        ("unit", "its name"),
        (
            "disruptive",
            "true: restarting it interrupts people, and waits for the maintenance window",
        ),
        (
            "start_limit_s",
            "how long it may be starting, in seconds; for a oneshot: how long it may run",
        ),
        ("ignore_failed", "other units that may have failed; job@.service means all its instances"),
        ("flap_restarts", "so many automatic restarts of one unit ..."),
        ("flap_minutes", "... within so many minutes are too many"),
    ],
    not_applicable: "this machine runs no service that anybody relies on, since ...",
};

const BACKUPS: Words = Words {
    title: "each job's newest backup is fresh, whole, and where its status file says.",
    keys: &[
        (
            "jobs",
            "the backup jobs; see docs/checks/backups.md for the status file that each writes",
        ),
        ("name", "its name"),
        ("status_file", "where it writes when it ended, and of what archive"),
        ("archive_dir", "the folder of its archives, if it is not the status file's"),
        ("max_age_h", "how old the newest backup may be, in hours"),
        (
            "restore_test_max_age_d",
            "how long ago a restore may last have been tested, in days; left out: not asked",
        ),
        ("run", "what starts it: { unit = \"NAME\" }, or { argv = [\"/absolute/path\", ...] }"),
        ("max_runtime_s", "how long it may run, in seconds"),
    ],
    not_applicable: "nothing on this machine needs a backup, since ...",
};

const FIREWALL: Words = Words {
    title: "the ruleset is this one. Read `ruleset`: it is what will be called right, and loaded again \
            when it is not there.",
    keys: &[
        (
            "sha256",
            "the digest of the canonical form of the tables below: captured, not written by hand",
        ),
        ("exclusive", "true: healing removes other tables too. They are drift either way"),
        ("dynamic_accepts", "the dynamic and timed sets that may decide about an accept"),
        ("ruleset", "the tables as nft loads them, without the elements of dynamic and timed sets"),
        ("tables", "what findings are worded by: captured, not written by hand"),
    ],
    not_applicable: "this machine has no firewall of its own, since it stands behind ...",
};

const LOGGING: Words = Words {
    title: "the journal records, keeps and forwards, and its clock is right.",
    keys: &[
        ("persistent", "the journal is kept on disk"),
        ("canary_minutes", "how often an entry is written to be found again, in minutes"),
        ("canary_limit_s", "after how long one that is not found is lost, in seconds"),
        ("max_gap_minutes", "how old the last one that was found may be, in minutes"),
        ("forwarders", "the units that carry the journal elsewhere; each must be active"),
        ("clock_synchronised", "the kernel's clock is synchronised"),
    ],
    not_applicable: "this machine keeps no journal; it logs to ...",
};

const ENCRYPTION: Words = Words {
    title: "required mounts, and all swap, stand on LUKS2 with a strong cipher and a long key.",
    keys: &[
        ("mounts", "the mount points that must be there and stand on LUKS2"),
        ("swap", "all swap must stand on LUKS2, or be in memory"),
        ("ciphers", "the ciphers that are strong enough, in dm-crypt's words"),
        (
            "min_key_bits",
            "the shortest key that is long enough, in bits; in XTS mode 512 is AES-256",
        ),
    ],
    not_applicable: "no patient data rests on this machine, since ...",
};
