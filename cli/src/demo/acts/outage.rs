//! Act 5: the control plane goes away; the appliance goes on, queues its evidence, and delivers it later.

use compliance_checks::CheckId;
use compliance_protocol::evidence::{Outcome, VerifiedBundle};
use compliance_protocol::time::Span;

use super::super::failure::Failure;
use super::super::stage::{Scene, Stage};
use super::super::story::{Row, Story};
use super::super::wait;

pub(in super::super) async fn play(
    stage: &mut Stage,
    scene: &Scene,
    story: &mut Story,
) -> Result<(), Failure> {
    let title = "The control plane goes away; evidence queues, and arrives once it is back";
    let mut step = story.step(5, title)?;
    if let Some(mcp) = stage.cast.mcp.take() {
        mcp.stop().await?;
    }
    scene.job.set_back(compliance_clock::wall().plus(Span::from_hours(-100)))?;
    let queued = wait::until("evidence in the queue", &stage.cast, async || {
        let pending = scene.courier.pending(&scene.trust.roles.evidence).await?;
        let noticed = pending.iter().any(|bundle| bundle.bundle().reason == "connectivity_lost");
        Ok((noticed && pending.iter().any(is_heal)).then_some(pending))
    })
    .await?;
    step.row(Row::claim("healed meanwhile", Outcome::Success.code(), healed(&queued)));

    stage.start_mcp(scene.listening).await?;
    stage.all_receipted(&scene.courier).await?;
    let count = queued.len();
    step.row(Row::claim(
        "the queue",
        format!("{count} arrived once, in order, with receipts"),
        arrived(scene, &queued).await?,
    ));
    Ok(story.done(step)?)
}

fn is_heal(bundle: &VerifiedBundle) -> bool {
    let bundle = bundle.bundle();
    bundle.check.as_deref() == Some(CheckId::Backups.name())
        && matches!(bundle.outcome, Outcome::Success | Outcome::Failed)
}

fn healed(queued: &[VerifiedBundle]) -> &'static str {
    queued
        .iter()
        .find(|bundle| is_heal(bundle))
        .map_or("nothing", |heal| heal.bundle().outcome.code())
}

/// What the control plane holds of what was queued.
async fn arrived(scene: &Scene, queued: &[VerifiedBundle]) -> Result<String, Failure> {
    let held = scene.operator.evidence().await?;
    let mut places = Vec::new();
    for bundle in queued {
        let is_it = |held: &&crate::api::EvidenceSummary| held.sha256 == bundle.sha256();
        let copies: Vec<_> = held.iter().filter(is_it).collect();
        let [copy] = copies.as_slice() else {
            let sequence = bundle.bundle().sequence;
            return Ok(format!("bundle {sequence} is there {} times", copies.len()));
        };
        scene.operator.bundle(copy).await?; // Its receipt too.
        places.push(held.iter().position(|held| held.id == copy.id));
    }
    let order = if places.is_sorted() { "in order" } else { "in another order" };
    Ok(format!("{} arrived once, {order}, with receipts", places.len()))
}
