//! Which controls each check bears on, and how strongly. Data, with a version.
//!
//! HIPAA: 45 CFR part 164 subpart C. NIST: SP 800-53 revision 5. CIS: Controls version 8.
//! `direct` is claimed only where the check shows what the control itself asks for.

use compliance_protocol::evidence::Control;
use compliance_protocol::evidence::Strength::{self, Direct, Supports};

use crate::CheckId;

/// Grows with each change of the table below.
pub const MAPPING_VERSION: u32 = 1;

/// The controls that `check` bears on.
pub fn controls(check: CheckId) -> Vec<Control> {
    let rows = match check {
        CheckId::Patching => PATCHING,
        CheckId::Services => SERVICES,
        CheckId::Backups => BACKUPS,
        CheckId::Firewall => FIREWALL,
        CheckId::Logging => LOGGING,
        CheckId::Encryption => ENCRYPTION,
    };
    rows.iter()
        .flat_map(|(framework, strength, ids)| {
            ids.iter().map(|id| Control {
                id: (*id).to_owned(),
                framework: (*framework).to_owned(),
                strength: *strength,
            })
        })
        .collect()
}

type Rows = &'static [(&'static str, Strength, &'static [&'static str])];

const PATCHING: Rows = &[
    ("hipaa", Direct, &["164.308(a)(1)(ii)(B)"]),
    ("hipaa", Supports, &["164.308(a)(5)(ii)(B)"]),
    ("nist-800-53r5", Direct, &["SI-2", "SI-2(2)", "CM-6"]),
    ("nist-800-53r5", Supports, &["RA-5", "SI-2(5)"]),
    ("cis-v8", Direct, &["7.3", "7.4"]),
];

const SERVICES: Rows = &[
    ("hipaa", Direct, &["164.308(a)(1)(ii)(B)"]),
    ("hipaa", Supports, &["164.312(a)(1)"]),
    ("nist-800-53r5", Direct, &["CM-6", "CM-7"]),
    ("nist-800-53r5", Supports, &["CM-7(1)", "SI-7"]),
    ("cis-v8", Direct, &["4.8"]),
    ("cis-v8", Supports, &["4.1", "2.5"]),
];

const BACKUPS: Rows = &[
    ("hipaa", Direct, &["164.308(a)(7)(ii)(A)"]),
    ("hipaa", Supports, &["164.310(d)(2)(iv)", "164.308(a)(7)(ii)(B)", "164.308(a)(7)(ii)(D)"]),
    ("nist-800-53r5", Direct, &["CP-9", "CP-9(1)"]),
    ("nist-800-53r5", Supports, &["CP-9(8)", "CP-10", "CP-4"]),
    ("cis-v8", Direct, &["11.2"]),
    ("cis-v8", Supports, &["11.1", "11.3", "11.4", "11.5"]),
];

const FIREWALL: Rows = &[
    ("hipaa", Direct, &["164.312(a)(1)"]),
    ("hipaa", Supports, &["164.312(e)(1)"]),
    ("nist-800-53r5", Direct, &["SC-7", "SC-7(5)"]),
    ("nist-800-53r5", Supports, &["AC-4", "CM-7"]),
    ("cis-v8", Direct, &["4.4", "4.5"]),
    ("cis-v8", Supports, &["12.2"]),
];

const LOGGING: Rows = &[
    ("hipaa", Direct, &["164.312(b)"]),
    ("hipaa", Supports, &["164.308(a)(1)(ii)(D)"]),
    ("nist-800-53r5", Direct, &["AU-12", "AU-5"]),
    ("nist-800-53r5", Supports, &["AU-4(1)", "AU-6", "AU-8", "AU-9(2)", "AU-11", "SI-4"]),
    ("cis-v8", Direct, &["8.2"]),
    ("cis-v8", Supports, &["8.3", "8.4", "8.5", "8.9", "8.10", "8.11"]),
];

const ENCRYPTION: Rows = &[
    ("hipaa", Direct, &["164.312(a)(2)(iv)"]),
    ("hipaa", Supports, &["164.310(d)(1)"]),
    ("nist-800-53r5", Direct, &["SC-28", "SC-28(1)"]),
    ("nist-800-53r5", Supports, &["SC-12", "SC-13", "AU-9(3)"]),
    ("cis-v8", Direct, &["3.6", "3.11"]),
];
