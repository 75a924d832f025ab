//! A control plane that was broken into: it hands out what no honest one takes. It has every right to its database
//! and its feed key, and not the key that signs orders.

use std::sync::Arc;

use compliance_mcp::app::App;
use compliance_mcp::problem::Problem;
use compliance_mcp::store::{NewOrder, StoreError};
use compliance_protocol::digest::Digest;
use compliance_protocol::name::{JobName, NotAName, Site};
use compliance_protocol::order::{Action, Order, When};
use compliance_protocol::time::Span;
use compliance_signing::PrivateKey;
use compliancectl::entropy;

use crate::operator::{Operator, OperatorError, Signed};

/// The job that a forger would like to run.
const JOB: &str = "records";

/// How long ago the order was signed that comes too late.
const LATE: Span = Span::from_secs(20 * 60);

/// Why no harm was tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostileError {
    /// The operator's part.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The tools.
    #[error(transparent)]
    Tool(#[from] compliancectl::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key that cannot sign.
    #[error(transparent)]
    Key(#[from] compliance_signing::PrivateKeyError),
    /// What cannot be written down.
    #[error(transparent)]
    Json(#[from] compliance_protocol::json::JsonError),
    /// A name of the demonstration's own.
    #[error(transparent)]
    Name(#[from] NotAName),
    /// The site has gone.
    #[error("there is no site {0} any more")]
    NoSite(Site),
}

impl From<HostileError> for Problem {
    fn from(error: HostileError) -> Self {
        Self::unavailable(error.to_string())
    }
}

/// A perfect order, signed by a key that nobody trusts. Gives its place.
pub(crate) async fn forge(
    app: &Arc<App>,
    operator: &Operator,
    site: &Site,
) -> Result<u64, HostileError> {
    let order = order(operator, site, Span::from_secs(0)).await?;
    let key = PrivateKey::from_seed(&entropy::random()?)?;
    let envelope = compliance_signing::sign(&order, &[&key])?;
    let sequence = order.sequence;
    insert(app, Signed { order, envelope }, sequence).await?;
    Ok(sequence)
}

/// An order of the operator's that was held back until its time was over. Gives its place.
pub(crate) async fn hold_back(
    app: &Arc<App>,
    operator: &Operator,
    site: &Site,
) -> Result<u64, HostileError> {
    let signed = operator.sign(order(operator, site, LATE).await?).await?;
    let sequence = signed.order.sequence;
    insert(app, signed, sequence).await?;
    Ok(sequence)
}

/// An order of the operator's that was withheld from the site, and taken back: it is kept for later.
pub(crate) async fn withhold(
    app: &Arc<App>,
    operator: &Operator,
    site: &Site,
) -> Result<Signed, HostileError> {
    let signed = operator.sign(order(operator, site, Span::from_secs(0)).await?).await?;
    let sequence = signed.order.sequence;
    let (kept, name) = (signed.clone(), site.clone());
    let now = app.now();
    app.store
        .write(move |tx| {
            let site = tx.site(&name)?.ok_or(HostileError::NoSite(name))?;
            tx.insert_order(&site, &row(&kept, sequence)?, now)?;
            tx.withdraw_order(&site, sequence, now)?;
            Ok::<_, HostileError>(())
        })
        .await?;
    Ok(signed)
}

/// Brings an order in a new place, after later ones. Gives that place.
pub(crate) async fn replay(
    app: &Arc<App>,
    operator: &Operator,
    kept: Signed,
) -> Result<u64, HostileError> {
    let place = operator.next(&kept.order.site).await?.sequence;
    insert(app, kept, place).await?;
    Ok(place)
}

/// The next order in its place, issued so long ago.
async fn order(operator: &Operator, site: &Site, ago: Span) -> Result<Order, HostileError> {
    let next = operator.next(site).await?;
    let action = Action::RunBackup { job: JOB.parse::<JobName>()? };
    let issued = compliance_clock::wall().plus(Span::from_millis(-ago.as_millis()));
    Ok(Operator::draft(site, action, When::Window, &next, issued)?)
}

/// Hands it out in that place, unlooked at.
async fn insert(app: &Arc<App>, signed: Signed, place: u64) -> Result<(), HostileError> {
    let now = app.now();
    app.store
        .write(move |tx| {
            let name = &signed.order.site;
            let site = tx.site(name)?.ok_or_else(|| HostileError::NoSite(name.clone()))?;
            tx.insert_order(&site, &row(&signed, place)?, now)?;
            Ok(())
        })
        .await
}

fn row(signed: &Signed, sequence: u64) -> Result<NewOrder, HostileError> {
    let order = &signed.order;
    Ok(NewOrder {
        sequence,
        id: order.id,
        payload_sha256: Digest::of(&compliance_protocol::json::to_canonical(order)?),
        envelope: signed.envelope.clone(),
        action: order.action.name(),
        when: order.when,
        issued_at: order.issued_at,
        expires_at: order.expires_at,
    })
}
