//! The hostile courier: the agent is stopped, and what comes in its place tampers with orders. Whatever it
//! does, the executor judges the signed bytes alone.

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Bundle, VerifiedBundle};
use compliance_protocol::order::{Action, DEFAULT_TTL, Order};
use compliance_protocol::time::Span;
use compliance_signing::PrivateKey;
use serde_json::Value;

use super::super::failure::Failure;
use super::super::operator::Signed;
use super::super::stage::{Scene, Stage};
use super::super::story::{Row, Step};
use super::super::wait;
use super::orders::run_backup;
use crate::api::NextOrder;
use crate::entropy;

/// Long enough to be pushed, short enough to wait for.
const SHORT_TTL: Span = Span::from_secs(1);

/// `executed` is an order that was executed before.
pub(super) async fn play(
    stage: &mut Stage,
    scene: &Scene,
    executed: &Signed,
    step: &mut Step,
) -> Result<(), Failure> {
    if let Some(agent) = stage.cast.agent.take() {
        agent.stop().await?;
    }
    step.row(forged(stage, scene).await?);
    step.row(expired(stage, scene).await?);
    step.row(replayed(stage, scene).await?);
    step.row(brought_again(scene, executed).await?);
    step.row(for_another_site(stage, scene).await?);
    let order = scene.operator.issue(run_backup()?, DEFAULT_TTL, None).await?;
    step.row(unknown_field(stage, scene, &order).await?);
    step.row(other_keyid(stage, scene, &order).await?);
    stage.start_agent(&scene.courier).await?;
    stage.all_receipted(&scene.courier).await
}

/// How a bundle ended, and why.
pub(super) fn ending(bundle: &Bundle) -> String {
    let outcome = bundle.outcome.code();
    if bundle.reason == outcome {
        outcome.to_owned()
    } else {
        format!("{outcome}: {}", bundle.reason)
    }
}

/// A perfect order, signed by a key that nobody trusts.
async fn forged(stage: &Stage, scene: &Scene) -> Result<Row, Failure> {
    let next = scene.operator.next().await?;
    let order = scene.operator.draft(run_backup()?, &next, DEFAULT_TTL, None)?;
    let key = PrivateKey::from_seed(&entropy::random()?).map_err(crate::Error::from)?;
    let bytes = compliance_signing::sign(&order, &[&key]).map_err(crate::Error::from)?;
    let ended = hand_in(stage, scene, bytes, payload_sha256(&order)?).await?;
    Ok(Row::claim("forged signature", "rejected: bad_signature", ended))
}

/// An order of the operator's, held back until its time is over.
async fn expired(stage: &Stage, scene: &Scene) -> Result<Row, Failure> {
    let order = scene.operator.issue(Action::RunChecks {}, SHORT_TTL, None).await?;
    wait::until("the order's expiry", &stage.cast, async || {
        Ok((compliance_clock::wall() > order.order.expires_at).then_some(()))
    })
    .await?;
    let ended = hand_in(stage, scene, order.bytes, order.payload_sha256).await?;
    Ok(Row::claim("expired", "expired", ended))
}

/// An order that was withdrawn, kept by the courier, and brought after a later one.
async fn replayed(stage: &Stage, scene: &Scene) -> Result<Row, Failure> {
    let kept = scene.operator.issue(run_backup()?, DEFAULT_TTL, None).await?;
    scene.operator.withdraw(kept.order.sequence).await?;
    let later = scene.operator.issue(Action::RunChecks {}, DEFAULT_TTL, None).await?;
    hand_in(stage, scene, later.bytes, later.payload_sha256).await?;
    let ended = hand_in(stage, scene, kept.bytes, kept.payload_sha256).await?;
    Ok(Row::claim("replayed: withdrawn, brought late", "rejected: replayed", ended))
}

/// The very bytes of an order that was executed.
async fn brought_again(scene: &Scene, executed: &Signed) -> Result<Row, Failure> {
    let before = scene.courier.status().await?;
    scene.courier.carry(|_| Ok(vec![executed.bytes.clone()])).await?;
    let after = scene.courier.status().await?;
    let idle = after.doing.is_none() && after.waiting == before.waiting;
    let actual = match (idle, after.evidence_head == before.evidence_head) {
        (true, true) => "nothing happens",
        (true, false) => "something is recorded",
        (false, _) => "something starts",
    };
    Ok(Row::claim("replayed: executed before", "nothing happens", actual))
}

/// An order of the operator's for another site.
async fn for_another_site(stage: &Stage, scene: &Scene) -> Result<Row, Failure> {
    let next = NextOrder { epoch: 1, sequence: 1, previous_sha256: None };
    let mut order = scene.operator.draft(run_backup()?, &next, DEFAULT_TTL, None)?;
    order.site = stage.names.other_site.clone();
    let bytes = scene.operator.sign_unchecked(&order)?;
    let ended = hand_in(stage, scene, bytes, payload_sha256(&order)?).await?;
    Ok(Row::claim("for another site", "rejected: wrong_site", ended))
}

/// A good order with one more field in the unsigned envelope.
async fn unknown_field(stage: &Stage, scene: &Scene, order: &Signed) -> Result<Row, Failure> {
    let bytes = tampered(&order.bytes, |envelope| {
        envelope.as_object_mut()?.insert("priority".to_owned(), "high".into());
        Some(())
    })?;
    let ended = hand_in(stage, scene, bytes, order.payload_sha256).await?;
    Ok(Row::claim("unknown field outside", "rejected: malformed", ended))
}

/// The same order with another `keyid`, which is but a hint: it is executed as if untouched.
async fn other_keyid(stage: &Stage, scene: &Scene, order: &Signed) -> Result<Row, Failure> {
    let bytes = tampered(&order.bytes, |envelope| {
        *envelope.pointer_mut("/signatures/0/keyid")? = "0".repeat(64).into();
        Some(())
    })?;
    let ended = hand_in(stage, scene, bytes, order.payload_sha256).await?;
    Ok(Row::claim("changed keyid", "success: done", ended))
}

fn payload_sha256(order: &Order) -> Result<Digest, Failure> {
    let payload = compliance_protocol::json::to_canonical(order).map_err(crate::Error::from)?;
    Ok(Digest::of(&payload))
}

fn tampered(
    bytes: &[u8],
    change: impl FnOnce(&mut Value) -> Option<()>,
) -> Result<Vec<u8>, Failure> {
    let changed = serde_json::from_slice::<Value>(bytes).ok().and_then(|mut envelope| {
        change(&mut envelope)?;
        serde_json::to_vec(&envelope).ok()
    });
    changed.ok_or_else(|| Failure::Unexpected("the order's envelope has another form".to_owned()))
}

/// Carries `bytes` to the executor instead of what came, and waits for the evidence of that: it names the
/// payload that was signed, or the bytes where nobody signed one.
async fn hand_in(
    stage: &Stage,
    scene: &Scene,
    bytes: Vec<u8>,
    payload_sha256: Digest,
) -> Result<String, Failure> {
    let before = scene.courier.status().await?.evidence_head.map_or(0, |head| head.sequence);
    let names = [payload_sha256, Digest::of(&bytes)].map(Some);
    scene.courier.carry(|_| Ok(vec![bytes])).await?;
    let about = |bundle: &&VerifiedBundle| {
        let bundle = bundle.bundle();
        bundle.sequence > before
            && names.contains(&bundle.trigger.order_sha256)
            && bundle.outcome.is_terminal()
    };
    let key = &scene.trust.roles.evidence;
    wait::until("evidence of what the courier brought", &stage.cast, async || {
        let pending = scene.courier.pending(key).await?;
        Ok(pending.iter().find(about).map(|found| ending(found.bundle())))
    })
    .await
}
