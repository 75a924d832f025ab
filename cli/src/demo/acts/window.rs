//! Act 6: something disruptive is ordered outside the maintenance window.

use compliance_protocol::order::{Action, DEFAULT_TTL, MAX_LIFETIME};
use compliance_protocol::window::WindowState;

use super::super::failure::Failure;
use super::super::stage::{Scene, Stage};
use super::super::story::{Row, Story};

pub(in super::super) async fn play(
    stage: &Stage,
    scene: &Scene,
    story: &mut Story,
) -> Result<(), Failure> {
    let mut step =
        story.step(6, "Something disruptive is ordered outside the maintenance window")?;
    let WindowState::Closed { next: Some(opens) } = stage.windows.state(compliance_clock::wall())
    else {
        return Err(Failure::Unexpected("the maintenance window is open".to_owned()));
    };
    let unit = stage.names.disruptive_unit.clone();
    let restart = Action::RestartService { unit };
    let order = scene.operator.issue(restart, DEFAULT_TTL, Some(MAX_LIFETIME)).await?;
    let answers = |summary: &crate::api::EvidenceSummary| summary.order_id == Some(order.order.id);
    let what = "evidence of the disruptive order";
    let bundle = scene.operator.await_evidence(what, &stage.cast, answers).await?;
    let until = bundle.retry_after.map_or_else(|| "?".to_owned(), |at| at.to_string());
    let actual = format!("{} until {until}", bundle.outcome.code());
    step.row(Row::claim("restart", format!("deferred until {opens}"), actual));
    step.note(format!("{}: {}", order.order.action.name(), bundle.detail));
    Ok(story.done(step)?)
}
