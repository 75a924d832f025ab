//! Act 3: a backup goes stale, and the appliance heals it by really running the job.

use compliance_checks::CheckId;
use compliance_protocol::evidence::{Bundle, Outcome, State};
use compliance_protocol::time::Span;

use super::super::failure::Failure;
use super::super::job;
use super::super::stage::{Scene, Stage};
use super::super::story::{Row, Story};
use crate::fleet::state_cell;

/// How long ago the stale backup ended.
const STALE: Span = Span::from_hours(76);

pub(in super::super) async fn play(
    stage: &Stage,
    scene: &Scene,
    story: &mut Story,
) -> Result<(), Failure> {
    let mut step = story
        .step(3, "A backup goes stale; its job is run, looked at again, and evidence is left")?;
    let bundle = go_stale(stage, scene).await?;
    for finding in &bundle.findings {
        let drifted = state_cell(Some(State::Drifted));
        step.row(Row::finding("before", &finding.expected, &finding.actual, drifted));
    }
    let actions: Vec<_> = bundle
        .actions
        .iter()
        .map(|a| format!("{} {} {:?}", a.name, a.target, a.result).to_lowercase())
        .collect();
    step.row(Row::claim("remedy", format!("run_backup {} done", job::NAME), actions.join("; ")));
    let after = state_cell(bundle.state).1;
    step.row(Row::claim("after", state_cell(Some(State::Compliant)).1, after));
    step.row(Row::claim("evidence", Outcome::Success.code(), bundle.outcome.code()));
    Ok(story.done(step)?)
}

/// Makes the backup stale and waits for the evidence of its healing at the control plane.
async fn go_stale(stage: &Stage, scene: &Scene) -> Result<Bundle, Failure> {
    let head = scene.courier.status().await?.evidence_head.map_or(0, |head| head.sequence);
    scene.job.set_back(compliance_clock::wall().plus(Span::from_millis(-STALE.as_millis())))?;
    let healed = |summary: &crate::api::EvidenceSummary| {
        summary.sequence > head
            && summary.check.as_deref() == Some(CheckId::Backups.name())
            && matches!(summary.outcome, Outcome::Success | Outcome::Failed)
    };
    scene.operator.await_evidence("evidence of the heal", &stage.cast, healed).await
}
