//! Act 2: the six checks look at this machine.

use compliance_checks::CheckId;
use compliance_protocol::evidence::State;
use compliance_protocol::status::CheckStatus;

use super::super::failure::Failure;
use super::super::job;
use super::super::stage::{Scene, Stage};
use super::super::story::{Row, Story};
use super::super::wait;
use crate::fleet::state_cell;
use crate::output::Tone;

pub(in super::super) async fn play(
    stage: &Stage,
    scene: &Scene,
    story: &mut Story,
) -> Result<(), Failure> {
    let mut step = story
        .step(2, "The six checks look at this machine; what they cannot see is never green")?;
    // The backup's age can be judged once the time is trusted, so from the round after the first head on.
    let seen = wait::until("a round of checks", &stage.cast, async || {
        let checks = scene.courier.status().await?.checks;
        let judged = |check: &CheckStatus| {
            check.check == CheckId::Backups.name() && check.state != State::Unknown
        };
        Ok(checks.iter().any(judged).then_some(checks))
    })
    .await?;
    for check in CheckId::ALL {
        let id = check;
        step.row(match seen.iter().find(|status| status.check == id.name()) {
            Some(status) => Row::finding(
                id.name(),
                expected(id),
                actual(status),
                state_cell(Some(status.state)),
            ),
            None => Row::finding(
                id.name(),
                expected(id),
                "no answer",
                (Tone::Open, "no data".to_owned()),
            ),
        });
    }
    Ok(story.done(step)?)
}

fn expected(check: CheckId) -> String {
    match check {
        CheckId::Patching => "the expected system runs".to_owned(),
        CheckId::Services => "the baseline's units are active".to_owned(),
        CheckId::Backups => format!("{}: a backup not older than {} h", job::NAME, job::MAX_AGE_H),
        CheckId::Firewall => "the baseline's ruleset is loaded".to_owned(),
        CheckId::Logging => "the journal records".to_owned(),
        CheckId::Encryption => "the required volumes are encrypted".to_owned(),
    }
}

fn actual(status: &CheckStatus) -> String {
    let findings: Vec<_> =
        status.findings.iter().map(|f| format!("{}: {}", f.subject, f.actual)).collect();
    match (status.state, findings.is_empty()) {
        (State::Compliant, _) => "as expected".to_owned(),
        (_, false) => findings.join("; "),
        (_, true) => status.why.clone(),
    }
}
