//! Whether the system is as it should be.

use compliance_protocol::clock::TrustedNow;
use compliance_protocol::evidence::Finding;
use compliance_protocol::name::StorePath;
use compliance_protocol::time::{Span, Timestamp};

use super::PatchingBaseline;
use super::facts::{Facts, PROFILE, RUNNING};
use crate::{HostError, Verdict};

/// Judges the system: any drift is drift; else any doubt is doubt. Without an expected system, the profile
/// alone says what should run. `uptime` is how long the machine is up.
pub fn judge(
    baseline: &PatchingBaseline,
    facts: &Facts,
    expected: Option<&StorePath>,
    now: TrustedNow,
    uptime: Span,
) -> Verdict {
    let running = match &facts.running {
        Ok(running) => running,
        Err(HostError::NotFound(_)) => return Verdict::Unknown(NOT_NIXOS.to_owned()),
        Err(error) => return Verdict::Unknown(error.to_string()),
    };
    let mut findings = Vec::new();
    let mut doubts = Vec::new();
    if let Some(expected) = expected.filter(|expected| *expected != running) {
        findings.push(finding(RUNNING, expected.to_string(), running.to_string()));
    }
    match &facts.profile {
        Ok(profile) if profile == running => {}
        Ok(profile) => findings.push(finding(
            PROFILE,
            format!("the running system, {running}"),
            format!("{profile}: {}", divergence(facts)),
        )),
        Err(error) => doubts.push(error.to_string()),
    }
    for (age, expected) in [
        (
            age_of_generation(baseline, facts, now),
            format!("not older than {} d", baseline.max_age_d),
        ),
        (
            age_of_reboot(baseline, facts, now, uptime),
            format!("a reboot within {} d of being needed", baseline.max_reboot_pending_d),
        ),
    ] {
        match age {
            Age::Fine => {}
            Age::Wrong(actual) => findings.push(finding(RUNNING, expected, actual)),
            Age::Unclear(why) => doubts.push(why),
        }
    }
    doubts.dedup();
    match (findings.is_empty(), doubts.is_empty()) {
        (false, _) => Verdict::Drifted(findings),
        (true, false) => Verdict::Unknown(doubts.join("; ")),
        (true, true) => Verdict::Compliant,
    }
}

const NOT_NIXOS: &str =
    "this machine is not NixOS: declare patching not_applicable in the baseline, and why";

const NO_TIME: &str = "the time is not known, so no age is";

const SINCE_UNKNOWN: &str =
    "a reboot is pending, and nobody can say for how long: the generations since are deleted";

/// What is older than this was made by a clock that was not set: 2000-01-01.
const NOT_A_DATE: Timestamp = Timestamp::from_millis(946_684_800_000);

/// The clock that a link was made by and the trusted time may differ by a little.
const FUTURE_TOLERANCE: Span = Span::from_secs(-300);

enum Age {
    Fine,
    Wrong(String),
    Unclear(String),
}

fn age_of_generation(baseline: &PatchingBaseline, facts: &Facts, now: TrustedNow) -> Age {
    let generation = match &facts.generation {
        Ok(generation) => generation,
        Err(error) => return Age::Unclear(error.to_string()),
    };
    let what = format!("generation {}", generation.number);
    match judge_age(generation.made_at, baseline.max_age_d, now) {
        Ok(None) => Age::Fine,
        Ok(Some(age)) if age < Span::ZERO => Age::Wrong(format!("{what} is from the future")),
        Ok(Some(age)) => Age::Wrong(format!("{what} is {age} old")),
        Err(why) => Age::Unclear(why.to_owned()),
    }
}

fn age_of_reboot(baseline: &PatchingBaseline, facts: &Facts, now: TrustedNow, uptime: Span) -> Age {
    let pending = match &facts.reboot {
        Ok(Some(pending)) => pending,
        Ok(None) => return Age::Fine,
        Err(error) => return Age::Unclear(error.to_string()),
    };
    let parts = pending.parts.join(", ");
    let at_least = if pending.since_is_known { "" } else { "at least " };
    match judge_age(pending.since, baseline.max_reboot_pending_d, now) {
        // From the future means that it was not long ago.
        Ok(Some(age)) if age > Span::ZERO => {
            Age::Wrong(format!("pending for {at_least}{age}: {parts}"))
        }
        // None is pending for longer than the machine is up.
        Ok(_) if !pending.since_is_known && uptime > days(baseline.max_reboot_pending_d) => {
            Age::Unclear(SINCE_UNKNOWN.to_owned())
        }
        Ok(_) => Age::Fine,
        Err(why) => Age::Unclear(why.to_owned()),
    }
}

/// The age of what was made then, if it is too old or less than nothing.
fn judge_age(
    made_at: Timestamp,
    max_days: u32,
    now: TrustedNow,
) -> Result<Option<Span>, &'static str> {
    if made_at < NOT_A_DATE {
        return Err("the generation carries no date");
    }
    let age = now.at().ok_or(NO_TIME)?.since(made_at);
    let wrong = age < FUTURE_TOLERANCE || age > days(max_days);
    Ok(wrong.then_some(age))
}

fn days(count: u32) -> Span {
    Span::from_hours(24 * i64::from(count))
}

/// How it may have come that the profile is not what runs.
fn divergence(facts: &Facts) -> &'static str {
    let (Ok(activated), Ok(set)) = (&facts.activated_at, &facts.profile_set_at) else {
        return "installed, but not what runs";
    };
    if set > activated {
        "installed after the running system was activated: an activation that was not finished, or that waits for a boot"
    } else if facts.booted == facts.running {
        "installed, but another generation was booted"
    } else {
        "installed, but another system was activated since, without being installed (test)"
    }
}

fn finding(subject: &str, expected: String, actual: String) -> Finding {
    Finding { subject: subject.to_owned(), expected, actual }
}
