//! Whether the agent does its job, judged from its report.

use compliance_protocol::name::BootId;
use compliance_protocol::time::Span;

use crate::report::{Moment, Report};

/// How it is, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It polls, and the control plane answered not long ago.
    Healthy(String),
    /// It does not.
    Unhealthy(String),
    /// There is nothing to judge by yet.
    Unknown(String),
}

/// Failures shorter than this are weather.
const PATIENCE: Span = Span::from_secs(15 * 60);

/// How late a report may be: a cycle's questions each have their own limit, and these are a few of them.
const LATE: Span = Span::from_secs(3 * 60);

/// Judges `report` at `now` in the boot `boot_id`.
pub fn judge(report: &Report, now: Moment, boot_id: &BootId) -> Health {
    let Some(age) = report.age(now, boot_id) else {
        let written = report.written.at;
        return Health::Unhealthy(format!(
            "the agent has not run since the boot: its last report is from {written}"
        ));
    };
    let polls = &report.polls;
    let Some(next) = polls.next else {
        return Health::Unhealthy(format!("the agent was stopped {age} ago"));
    };
    let overdue = next.until(now);
    if overdue > polls.interval.max(LATE) {
        return Health::Unhealthy(format!(
            "the agent is gone or stuck: its poll is overdue by {overdue}"
        ));
    }
    let patience = Span::from_millis(polls.interval.as_millis().saturating_mul(3)).max(PATIENCE);
    let since = polls.last_success.unwrap_or(report.started).until(now);
    let why = polls.last_failure.as_ref().map_or("", |failure| failure.detail.as_str());
    match polls.last_success {
        Some(_) if since <= patience => {
            Health::Healthy(format!("the control plane answered {since} ago"))
        }
        Some(_) => {
            Health::Unhealthy(format!("the control plane has not answered for {since}: {why}"))
        }
        None if since <= patience => {
            Health::Unknown(format!("started {since} ago and not answered yet: {why}"))
        }
        None => Health::Unhealthy(format!("never answered since the start {since} ago: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Cause, Failure, Polls};
    use compliance_protocol::time::Timestamp;

    const MINUTE: i64 = 60;

    fn at(seconds: i64) -> Moment {
        Moment {
            at: Timestamp::from_millis(1_795_167_671_000).plus(Span::from_secs(seconds)),
            boottime: Span::from_secs(seconds),
        }
    }

    fn boot(digit: char) -> BootId {
        "00000000-0000-4000-8000-00000000000x".replace('x', &digit.to_string()).parse().unwrap()
    }

    /// Started at 0, reporting at `written`, the next poll a minute later.
    fn report(written: i64, last_success: Option<i64>) -> Report {
        Report {
            version: "0".to_owned(),
            mcp_url: "https://mcp".to_owned().try_into().unwrap(),
            boot_id: boot('1'),
            started: at(0),
            written: at(written),
            polls: Polls {
                interval: Span::from_secs(MINUTE),
                last: Some(at(written)),
                last_success: last_success.map(at),
                failures: 0,
                last_failure: Some(Failure::new(Cause::Connect, "no route")),
                next: Some(at(written + MINUTE)),
            },
            executor: None,
            executor_answers: false,
        }
    }

    fn judged(report: &Report, now: i64) -> Health {
        judge(report, at(now), &boot('1'))
    }

    #[test]
    fn an_answer_within_a_quarter_of_an_hour_is_healthy_and_not_after() {
        let success = |now| judged(&report(now, Some(100)), now);
        assert!(matches!(success(100 + 15 * MINUTE), Health::Healthy(_)));
        let Health::Unhealthy(why) = success(101 + 15 * MINUTE) else { panic!() };
        assert!(why.contains("no route"), "{why}");
    }

    #[test]
    fn three_intervals_count_when_they_are_longer() {
        let mut slow = report(9000, Some(0));
        slow.polls.interval = Span::from_hours(1);
        assert!(matches!(judged(&slow, 3 * 60 * MINUTE), Health::Healthy(_)));
        assert!(matches!(judged(&slow, 3 * 60 * MINUTE + 1), Health::Unhealthy(_)));
    }

    #[test]
    fn before_the_first_answer_nothing_is_known_until_patience_ends() {
        assert!(matches!(judged(&report(10, None), 15 * MINUTE), Health::Unhealthy(_)), "stale");
        assert!(matches!(judged(&report(10, None), 20), Health::Unknown(_)));
        assert!(matches!(judged(&report(901, None), 901), Health::Unhealthy(_)));
    }

    #[test]
    fn a_report_that_is_not_renewed_is_unhealthy_however_good_it_was() {
        assert!(matches!(judged(&report(100, Some(100)), 100 + 4 * MINUTE), Health::Healthy(_)));
        assert!(matches!(judged(&report(100, Some(100)), 101 + 4 * MINUTE), Health::Unhealthy(_)));
    }

    #[test]
    fn a_stopped_agent_and_one_of_another_boot_are_unhealthy() {
        let mut stopped = report(100, Some(100));
        stopped.polls.next = None;
        assert!(matches!(judged(&stopped, 101), Health::Unhealthy(_)));
        assert!(matches!(
            judge(&report(100, Some(100)), at(101), &boot('2')),
            Health::Unhealthy(_)
        ));
    }
}
