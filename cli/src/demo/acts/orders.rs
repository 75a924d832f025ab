//! Act 4: a good order is executed; then a hostile courier has its turn.

use compliance_protocol::order::{Action, DEFAULT_TTL};

use super::super::failure::Failure;
use super::super::job;
use super::super::stage::{Scene, Stage};
use super::super::story::{Row, Story};
use super::hostile::{self, ending};

pub(in super::super) async fn play(
    stage: &mut Stage,
    scene: &Scene,
    story: &mut Story,
) -> Result<(), Failure> {
    let title = "A signed order is executed; what a hostile courier brings is refused";
    let mut step = story.step(4, title)?;
    let good = scene.operator.issue(run_backup()?, DEFAULT_TTL, None).await?;
    let answers = |summary: &crate::api::EvidenceSummary| {
        summary.order_id == Some(good.order.id) && summary.outcome.is_terminal()
    };
    let what = "evidence of the good order";
    let bundle = scene.operator.await_evidence(what, &stage.cast, answers).await?;
    step.row(Row::claim("a good order", "success: done", ending(&bundle)));
    stage.all_receipted(&scene.courier).await?;
    hostile::play(stage, scene, &good, &mut step).await?;
    Ok(story.done(step)?)
}

/// The order to run the backup job.
pub(super) fn run_backup() -> Result<Action, Failure> {
    let job = job::NAME.parse();
    Ok(Action::RunBackup { job: job.map_err(|error| Failure::Unexpected(format!("{error}")))? })
}
