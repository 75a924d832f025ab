//! The operator, who signs orders and baselines and enrols sites.

use std::path::{Path, PathBuf};

use compliance_checks::baseline::{Baseline, Binding};
use compliance_protocol::digest::Digest;
use compliance_protocol::json::JsonError;
use compliance_protocol::name::{Id, Site, StorePath};
use compliance_protocol::order::{Action, Order, When};
use compliance_protocol::time::{Span, Timestamp};
use compliance_signing::PrivateKey;
use compliancectl::api::NextOrder;
use compliancectl::connect::ControlPlane;
use compliancectl::order::sign::seal;
use compliancectl::site::{self, AddArgs};
use compliancectl::{entropy, files};
use serde_json::Value;

use crate::plane::{Plane, tenant};

/// What an order is signed for, in the demonstration.
const REASON: &str = "demonstration";

/// How long an order may be accepted, and how long one may take that fetches nothing.
const TTL: Span = Span::from_secs(900);
const MAX_RUNTIME_S: u32 = 600;

/// Why the operator could not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    /// Keys, files, signatures, the control plane.
    #[error(transparent)]
    Tool(#[from] compliancectl::Error),
    /// The baseline of a site.
    #[error(transparent)]
    Config(#[from] compliance_daemon::config::ConfigError),
    /// It cannot be written down.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A folder of the demonstration's.
    #[error("{0} cannot be read; forget everything with `down --volumes`")]
    State(PathBuf),
}

/// The operator.
#[derive(Debug)]
pub(crate) struct Operator {
    plane: Plane,
    orders: PrivateKey,
    baseline: PrivateKey,
    control_plane: ControlPlane,
}

/// What a site gets that is enrolled.
#[derive(Debug)]
pub(crate) struct Enrolment {
    /// Which enrolment of this site it is.
    pub(crate) epoch: u64,
    /// The folder with its certificate, the authority's, and its trust file.
    pub(crate) files: PathBuf,
    /// Its signed baseline.
    pub(crate) baseline: Vec<u8>,
}

/// An order that was signed.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    /// The order.
    pub(crate) order: Order,
    /// The envelope.
    pub(crate) envelope: Vec<u8>,
}

impl Operator {
    /// An operator with the keys of `plane`.
    pub(crate) fn new(plane: Plane) -> Result<Self, OperatorError> {
        let key = |name: &str| files::private_key(&plane.path("keys").join(name));
        Ok(Self {
            orders: key("orders.key")?,
            baseline: key("baseline.key")?,
            control_plane: ControlPlane::connect(&plane.endpoint())?,
            plane,
        })
    }

    /// Enrols `site` by what it left in `request`, in the next epoch.
    pub(crate) async fn enrol(
        &self,
        site: &Site,
        request: &Path,
    ) -> Result<Enrolment, OperatorError> {
        let epoch = 1 + self.epoch(site).await?;
        let folder = self.folder(site, epoch);
        // What a start that was cut off has left is no enrolment yet.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|_| OperatorError::State(folder.clone()))?;
        }
        let (keys, mcp) = (self.plane.path("keys"), self.plane.path("mcp"));
        let arguments = AddArgs {
            site: site.clone(),
            tenant: tenant().map_err(|error| compliancectl::Error::Usage(error.to_string()))?,
            csr: request.join("tls.csr"),
            evidence_pub: request.join("evidence.pub"),
            authority: mcp.join("offline"),
            root_keys: vec![keys.join("root.key")],
            root_pubs: Vec::new(),
            root_threshold: 1,
            keys,
            log_origin: compliance_mcp::config::Config::read(&mcp.join("mcp.toml"))?.log_origin,
            epoch,
            trust_version: epoch,
            out: folder.clone(),
        };
        site::add(&arguments, compliance_clock::wall())?;
        let baseline: Baseline = compliance_daemon::config::read(&request.join("baseline.toml"))?;
        let envelope = self.sign_baseline(site, epoch, &baseline)?;
        let trust = files::envelope(&folder.join("trust.dsse.json"))?;
        self.control_plane.put(&format!("/api/v1/sites/{site}"), trust).await?;
        Ok(Enrolment { epoch, files: folder, baseline: envelope })
    }

    /// Signs the next order for `site` and pushes it.
    pub(crate) async fn order(
        &self,
        site: &Site,
        action: Action,
        when: When,
    ) -> Result<Order, OperatorError> {
        let next = self.next(site).await?;
        let order = Self::draft(site, action, when, &next, compliance_clock::wall())?;
        let signed = self.sign(order).await?;
        self.control_plane.push(site, signed.envelope).await?;
        Ok(signed.order)
    }

    /// An order of `site` in that place, issued at `now`; nobody has signed it.
    pub(crate) fn draft(
        site: &Site,
        action: Action,
        when: When,
        next: &NextOrder,
        now: Timestamp,
    ) -> Result<Order, OperatorError> {
        Ok(Order {
            id: Id::new(now, entropy::random()?),
            tenant: tenant().map_err(|error| compliancectl::Error::Usage(error.to_string()))?,
            site: site.clone(),
            epoch: next.epoch,
            sequence: next.sequence,
            previous_sha256: next.previous_sha256,
            issued_at: now,
            not_before: None,
            expires_at: now.plus(TTL),
            start_before: None,
            action,
            when,
            max_runtime_s: MAX_RUNTIME_S,
            reason: REASON.to_owned(),
            ticket: None,
            approvals: Vec::new(),
        })
    }

    /// Signs what the appliance would take.
    pub(crate) async fn sign(&self, order: Order) -> Result<Signed, OperatorError> {
        let trust = self.control_plane.trust(&order.site).await?.into_value();
        let envelope = seal(&order, &[&self.orders], &trust)?;
        Ok(Signed { order, envelope })
    }

    /// The place of a site's next order.
    pub(crate) async fn next(&self, site: &Site) -> Result<NextOrder, OperatorError> {
        Ok(self.control_plane.get(&format!("/api/v1/sites/{site}/next-order")).await?)
    }

    /// Takes an order back.
    pub(crate) async fn withdraw(&self, site: &Site, sequence: u64) -> Result<(), OperatorError> {
        Ok(self.control_plane.delete(&format!("/api/v1/sites/{site}/orders/{sequence}")).await?)
    }

    /// The site's baseline for another system, in its next version: the envelope, and its payload's digest.
    pub(crate) async fn baseline_for(
        &self,
        site: &Site,
        system: StorePath,
    ) -> Result<(Value, Digest), OperatorError> {
        let epoch = self.epoch(site).await?;
        let path = self.folder(site, epoch).join("baseline.json");
        let unreadable = |_| OperatorError::State(path.clone());
        let mut baseline: Baseline =
            serde_json::from_str(&files::text(&path)?).map_err(unreadable)?;
        baseline.version += 1;
        baseline.bound_to = Binding::System(system);
        let envelope = self.sign_baseline(site, epoch, &baseline)?;
        let digest = Digest::of(&compliance_protocol::json::to_canonical(&baseline)?);
        Ok((serde_json::from_slice(&envelope).map_err(unreadable)?, digest))
    }

    /// Signs a baseline and keeps it as the newest of its site.
    fn sign_baseline(
        &self,
        site: &Site,
        epoch: u64,
        baseline: &Baseline,
    ) -> Result<Vec<u8>, OperatorError> {
        let envelope = compliance_signing::sign(baseline, &[&self.baseline])?;
        let json = compliance_protocol::json::to_canonical(baseline)?;
        files::replace(&self.folder(site, epoch).join("baseline.json"), &json, files::PUBLIC)?;
        Ok(envelope)
    }

    /// The enrolment of `site`, as the control plane knows it; 0 before the first.
    async fn epoch(&self, site: &Site) -> Result<u64, OperatorError> {
        let known: compliancectl::api::Sites = self.control_plane.get("/api/v1/sites").await?;
        let known = known.sites.iter().find(|known| known.site == *site);
        Ok(known.map_or(0, |known| known.epoch))
    }

    fn folder(&self, site: &Site, epoch: u64) -> PathBuf {
        self.plane.path("sites").join(site.as_str()).join(epoch.to_string())
    }
}
