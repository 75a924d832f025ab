//! Evidence comes in: verified, placed in its chain, stored, receipted.
//!
//! Refused are only bad signatures, what is of another site, and forks. A missing predecessor is no
//! reason: the bundle is stored, and the gap shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use compliance_protocol::evidence::{Bundle, BundleError, SignedBundle, State, VerifiedBundle};
use compliance_protocol::json;
use compliance_protocol::key::PublicKey;
use compliance_protocol::name::{Id, Site};
use compliance_protocol::time::Timestamp;
use compliance_protocol::wire::{UploadAnswer, UploadResult, UploadStatus};
use serde::Deserialize;

use crate::app::{self, App};
use crate::log;
use crate::problem::Problem;
use crate::store::{LogHead, NewBundle, Nodes, Place, SiteRow, StoreError, Tx};

/// The most bundles that one upload may hold.
pub const MAX_BUNDLES: usize = 64;

/// Stores what of `bundles` is `name`'s own, and answers with receipts once it is on disk. `log` is the
/// size of the log that the appliance knows.
pub async fn ingest(
    app: &Arc<App>,
    name: &Site,
    bundles: Vec<SignedBundle>,
    log: u64,
) -> Result<UploadAnswer, Problem> {
    let site = name.clone();
    let candidates = app.blocking(move |app| Ok(verify_all(app, &site, bundles)?)).await?;
    let (name, now) = (name.clone(), app.now());
    let placed = app.store.write(move |tx| place_all(tx, &name, candidates, now)).await?;
    app.blocking(move |app| Ok(receipts(app, placed, log)?)).await
}

/// A bundle of an upload, verified or refused.
enum Candidate {
    Good { verified: Box<VerifiedBundle>, files: SignedBundle },
    Refused { id: Option<Id>, reason: &'static str },
}

/// What became of a bundle.
enum Placed {
    Stored { id: Id, leaf: u64 },
    Duplicate { id: Id, leaf: u64 },
    Refused { id: Option<Id>, reason: &'static str },
}

fn verify_all(
    app: &App,
    name: &Site,
    bundles: Vec<SignedBundle>,
) -> Result<Vec<Candidate>, StoreError> {
    let key = app.store.read(|view| {
        let site = view.site(name)?.ok_or(StoreError::Damaged("a site disappeared"))?;
        Ok::<_, StoreError>(app::trust(view, &site)?.roles.evidence)
    })?;
    Ok(bundles.into_iter().map(|files| verify(app, name, &key, files)).collect())
}

/// Everything about a bundle that can be judged without the other bundles.
fn verify(app: &App, name: &Site, key: &PublicKey, files: SignedBundle) -> Candidate {
    let verified = match files.verify(key) {
        Ok(verified) => Box::new(verified),
        Err(error) => {
            let (id, reason) = (claimed_id(&files), reason_of(&error));
            tracing::warn!(site = %name, ?id, reason, %error, "evidence refused");
            return Candidate::Refused { id, reason };
        }
    };
    let bundle = verified.bundle();
    let reason = if bundle.tenant != app.tenant {
        "wrong_tenant"
    } else if &bundle.site != name {
        "wrong_site"
    } else if (bundle.sequence == 1) != bundle.previous_sha256.is_none() || bundle.sequence == 0 {
        "malformed"
    } else {
        return Candidate::Good { verified, files };
    };
    tracing::warn!(site = %name, id = %bundle.id, reason, "evidence refused");
    Candidate::Refused { id: Some(bundle.id), reason }
}

fn place_all(
    tx: &Tx<'_>,
    name: &Site,
    candidates: Vec<Candidate>,
    now: Timestamp,
) -> Result<Vec<Placed>, StoreError> {
    let site = tx.site(name)?.ok_or(StoreError::Damaged("a site disappeared"))?;
    candidates
        .into_iter()
        .map(|candidate| match candidate {
            Candidate::Refused { id, reason } => Ok(Placed::Refused { id, reason }),
            Candidate::Good { verified, files } => place(tx, &site, &verified, &files, now),
        })
        .collect()
}

fn place(
    tx: &Tx<'_>,
    site: &SiteRow,
    verified: &VerifiedBundle,
    files: &SignedBundle,
    now: Timestamp,
) -> Result<Placed, StoreError> {
    let bundle = verified.bundle();
    let id = bundle.id;
    let refused = |reason| {
        tracing::warn!(site = %site.name, %id, reason, "evidence refused");
        Ok(Placed::Refused { id: Some(id), reason })
    };
    if bundle.epoch > site.epoch {
        return refused("wrong_epoch");
    }
    let new = NewBundle { bundle, sha256: verified.sha256(), files, states: states_of(bundle) };
    match tx.place(site, &new)? {
        Place::Free => Ok(Placed::Stored { id, leaf: tx.insert_bundle(site, &new, now)? }),
        Place::Same(leaf) => Ok(Placed::Duplicate { id, leaf }),
        Place::Fork => refused("fork"),
    }
}

/// The answer, with receipts against the log as it is now: as of the commit of these bundles, or later.
fn receipts(app: &App, placed: Vec<Placed>, log: u64) -> Result<UploadAnswer, StoreError> {
    app.store.read(|view| {
        let head = view.log_head()?;
        let nodes = view.nodes();
        let results = placed
            .into_iter()
            .map(|placed| match placed {
                Placed::Stored { id, leaf } => {
                    result(&nodes, &head, id, leaf, UploadStatus::Stored)
                }
                Placed::Duplicate { id, leaf } => {
                    result(&nodes, &head, id, leaf, UploadStatus::Duplicate)
                }
                Placed::Refused { id, reason } => Ok(UploadResult {
                    id,
                    status: UploadStatus::Refused,
                    receipt: None,
                    reason: Some(reason.to_owned()),
                }),
            })
            .collect::<Result<_, StoreError>>()?;
        let consistency = log::consistency(view, &head, log)?;
        Ok(UploadAnswer { results, checkpoint: head.checkpoint, consistency })
    })
}

fn result(
    nodes: &Nodes<'_>,
    head: &LogHead,
    id: Id,
    leaf: u64,
    status: UploadStatus,
) -> Result<UploadResult, StoreError> {
    let receipt = Some(log::receipt(nodes, head, leaf)?);
    Ok(UploadResult { id: Some(id), status, receipt, reason: None })
}

/// What a bundle says about checks: about its own, and in the summary of a round about all.
fn states_of(bundle: &Bundle) -> BTreeMap<&str, State> {
    let own = bundle.check.as_deref().zip(bundle.state);
    let round = (bundle.reason == "round").then(|| bundle.post.get("states")).flatten();
    let round = round.and_then(serde_json::Value::as_object).into_iter().flatten();
    let round = round.map(|(check, state)| {
        // A state that this release does not know is unknown, never green.
        (check.as_str(), State::deserialize(state).unwrap_or(State::Unknown))
    });
    round.chain(own).filter(|(check, _)| is_check(check)).collect()
}

/// Whether this can be the name of a check.
pub(crate) fn is_check(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// The id that refused bytes claim, so that the appliance can say which of its bundles it was.
fn claimed_id(files: &SignedBundle) -> Option<Id> {
    #[derive(Deserialize)]
    struct Claim {
        id: Id,
    }
    json::from_canonical::<Claim>(files.json.as_slice()).ok().map(|claim| claim.id)
}

fn reason_of(error: &BundleError) -> &'static str {
    match error {
        BundleError::BadSignature | BundleError::EnvelopeSignature(_) => "bad_signature",
        BundleError::Size(_) => "size",
        BundleError::Shape(_)
        | BundleError::Key(_)
        | BundleError::Envelope(_)
        | BundleError::OtherSubject => "malformed",
    }
}
