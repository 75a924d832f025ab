//! This host as a baseline for a person to review: what each check captured, what is weak about it, and
//! what the check finds when it looks again at once.

mod comment;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use compliance_checks::backups::{self, BackupsBaseline};
use compliance_checks::baseline::{Baseline, Binding, Section};
use compliance_checks::capture::Captured;
use compliance_checks::encryption::{self, EncryptionBaseline};
use compliance_checks::firewall::{self, FirewallBaseline, Outline};
use compliance_checks::logging::{self, LoggingBaseline};
use compliance_checks::patching::{self, PatchingBaseline};
use compliance_checks::services::{self, ServicesBaseline};
use compliance_checks::{CheckId, Circumstances, Host, Verdict};
use compliance_protocol::digest::Digest;
use compliance_protocol::name::{Site, Tenant};
use serde::Serialize;

use crate::observe::{Observed, Observer};
use comment::Comment;
use words::words;

/// Whose baseline it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// The tenant.
    pub tenant: Tenant,
    /// The site.
    pub site: Site,
    /// What it belongs to.
    pub bound_to: Binding,
    /// The newest version that is known of the site's baseline.
    pub newest_version: Option<u64>,
}

/// The baseline that makes this host compliant, in TOML, with comments. What a check could not take from
/// the host is put so that the check finds *unknown*, never compliant, until a person decides. Changes
/// nothing, but writes one canary to the journal, as each round may.
pub fn capture(
    host: &Arc<dyn Host>,
    whose: &Whose,
    about: &Circumstances,
) -> Result<String, toml::ser::Error> {
    let (patching, on_patching) = split(patching::capture(&**host), PatchingBaseline::default());
    let (services, on_services) =
        split(services::capture(&**host), ServicesBaseline::new(Vec::new()));
    let (backups, on_backups) =
        split(backups::capture(&**host), BackupsBaseline { jobs: Vec::new() });
    let (firewall, on_firewall) = split(firewall::capture(&**host), no_ruleset());
    let (logging, on_logging) = split(logging::capture(&**host), LoggingBaseline::default());
    let (encryption, on_encryption) =
        split(encryption::capture(&**host), EncryptionBaseline::new(Vec::new()));
    let baseline = Arc::new(Baseline {
        version: whose.newest_version.unwrap_or(0).saturating_add(1),
        tenant: whose.tenant.clone(),
        site: whose.site.clone(),
        bound_to: whose.bound_to.clone(),
        patching,
        services,
        backups,
        firewall,
        logging,
        encryption,
    });
    let found = Observer::default().observe(host, Ok(&baseline), about);
    Ok([
        head(&baseline, whose, about)?,
        section(CheckId::Patching, &baseline.patching, &on_patching, &found)?,
        section(CheckId::Services, &baseline.services, &on_services, &found)?,
        section(CheckId::Backups, &baseline.backups, &on_backups, &found)?,
        section(CheckId::Firewall, &baseline.firewall, &on_firewall, &found)?,
        section(CheckId::Logging, &baseline.logging, &on_logging, &found)?,
        section(CheckId::Encryption, &baseline.encryption, &on_encryption, &found)?,
    ]
    .join("\n"))
}

/// What a person should know of a section.
struct Notes {
    /// Why nothing was captured for it.
    missing: Option<String>,
    remarks: Vec<String>,
}

/// `undecided`: what is put where nothing was captured.
fn split<T>(captured: Captured<T>, undecided: T) -> (Section<T>, Notes) {
    let Captured { expected, remarks } = captured;
    let (expected, missing) = match expected {
        Ok(expected) => (expected, None),
        Err(why) => (undecided, Some(why)),
    };
    (Section::Expected(expected), Notes { missing, remarks })
}

/// No table is named, so nothing is judged: whether a machine needs no firewall is for a person to say.
fn no_ruleset() -> FirewallBaseline {
    FirewallBaseline {
        sha256: Digest::of(b"[]"),
        exclusive: false,
        dynamic_accepts: Vec::new(),
        ruleset: String::new(),
        tables: Outline::new(),
    }
}

fn head(
    baseline: &Baseline,
    whose: &Whose,
    about: &Circumstances,
) -> Result<String, toml::ser::Error> {
    let mut comment = Comment::default();
    let when = match about.now.at() {
        Some(at) => format!("at {at}"),
        None => "at a time that nobody here knows for certain".to_owned(),
    };
    comment
        .line(&format!("{}/{} as this machine is now, captured {when}.", whose.tenant, whose.site));
    comment.line(
        "It is a proposal, and what is wrong with this machine today is in it too. Read each section, \
         change what should be otherwise, and then sign it:",
    );
    comment
        .item("", "compliancectl baseline sign FILE --key baseline.key --out baseline.dsse.json");
    comment.line(
        "\"Now\" says what the check finds when it judges this machine by the section as it stands here.",
    );
    comment.gap();
    comment.item("version", match whose.newest_version {
        Some(_) => "one more than the newest that is known here",
        None => {
            "no signed baseline is known here; it must be higher than any that was signed for this site"
        }
    });
    comment.item(
        "bound_to",
        match whose.bound_to {
            Binding::System(_) => "this NixOS system; the next one brings a baseline of its own",
            Binding::MachineIdSha256(_) => {
                "this machine, which is not NixOS, by the SHA-256 of its machine id"
            }
        },
    );
    let Baseline { version, tenant, site, bound_to, .. } = baseline;
    let head = toml::to_string_pretty(&Head { version: *version, tenant, site, bound_to })?;
    Ok(format!("{comment}{head}"))
}

#[derive(Serialize)]
struct Head<'a> {
    version: u64,
    tenant: &'a Tenant,
    site: &'a Site,
    bound_to: &'a Binding,
}

fn section<T: Serialize>(
    check: CheckId,
    section: &Section<T>,
    notes: &Notes,
    found: &[Observed],
) -> Result<String, toml::ser::Error> {
    let words = words(check);
    let mut comment = Comment::default();
    comment.title(check.name(), words.title);
    for (key, meaning) in words.keys {
        comment.item(key, meaning);
    }
    comment.gap();
    if let Some(why) = &notes.missing {
        comment.item("Not captured:", why);
    }
    let report = found.iter().map(Observed::report).find(|report| report.check == check);
    match report.map(|report| &report.verdict) {
        Some(Verdict::Compliant) => comment.item("Now:", "compliant"),
        Some(Verdict::Drifted(findings)) => {
            for finding in findings {
                let subject = &finding.subject;
                let (expected, actual) = (&finding.expected, &finding.actual);
                comment
                    .item("Now:", &format!("DRIFTED: {subject}: {actual}; expected: {expected}"));
            }
        }
        Some(Verdict::Unknown(why) | Verdict::NotApplicable(why)) => {
            comment.item("Now:", &format!("UNKNOWN: {why}"));
        }
        None => comment.item("Now:", "UNKNOWN: the check did not run"),
    }
    comment.items("Look:", &notes.remarks);
    if notes.missing.is_some() {
        comment.line("If this does not apply here, put these two lines in the section's place:");
        comment.item("", &format!("[{check}]"));
        comment.item("", &format!("not_applicable = {:?}", words.not_applicable));
    }
    let body = toml::to_string_pretty(&BTreeMap::from([(check.name(), section)]))?;
    Ok(format!("{comment}{body}"))
}
