//! The operator: signs and pushes orders, and reads what the control plane holds.

use std::collections::BTreeMap;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Bundle, VerifiedBundle};
use compliance_protocol::name::{Id, Site};
use compliance_protocol::order::{Action, Order, When};
use compliance_protocol::time::Span;
use compliance_protocol::tlog::TlogProof;
use compliance_protocol::trust::Trust;
use compliance_signing::PrivateKey;

use super::failure::Failure;
use super::spawn::Cast;
use super::wait;
use crate::api::{EvidenceSummary, Link, NextOrder};
use crate::config::Endpoint;
use crate::connect::ControlPlane;
use crate::order::sign::seal;
use crate::verify::Head;
use crate::{Error, entropy, evidence};

/// The operator of one site.
#[derive(Debug)]
pub(super) struct Operator {
    plane: ControlPlane,
    key: PrivateKey,
    trust: Trust,
}

/// An order as it was signed.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) order: Order,
    /// The envelope.
    pub(super) bytes: Vec<u8>,
    pub(super) payload_sha256: Digest,
}

impl Operator {
    /// An operator with an orders key.
    pub(super) fn new(endpoint: &Endpoint, key: PrivateKey, trust: Trust) -> Result<Self, Error> {
        Ok(Self { plane: ControlPlane::connect(endpoint)?, key, trust })
    }

    /// Tells the control plane of the site.
    pub(super) async fn register(&self, trust: Vec<u8>) -> Result<(), Error> {
        self.plane.put(&format!("/api/v1/sites/{}", self.trust.site), trust).await
    }

    /// Signs the next order and pushes it.
    pub(super) async fn issue(
        &self,
        action: Action,
        ttl: Span,
        start_before: Option<Span>,
    ) -> Result<Signed, Error> {
        let next = self.next().await?;
        let signed = self.sign(&self.draft(action, &next, ttl, start_before)?, &self.key)?;
        self.plane.push(&self.trust.site, signed.bytes.clone()).await?;
        Ok(signed)
    }

    /// The place of the next order.
    pub(super) async fn next(&self) -> Result<NextOrder, Error> {
        self.plane.get(&format!("/api/v1/sites/{}/next-order", self.trust.site)).await
    }

    /// An order that is issued now and is neither signed nor pushed.
    pub(super) fn draft(
        &self,
        action: Action,
        next: &NextOrder,
        ttl: Span,
        start_before: Option<Span>,
    ) -> Result<Order, Error> {
        let now = compliance_clock::wall();
        Ok(Order {
            id: Id::new(now, entropy::random()?),
            tenant: self.trust.tenant.clone(),
            site: self.trust.site.clone(),
            epoch: next.epoch,
            sequence: next.sequence,
            previous_sha256: next.previous_sha256,
            issued_at: now,
            not_before: None,
            expires_at: now.plus(ttl),
            start_before: start_before.map(|span| now.plus(span)),
            action,
            when: When::Window,
            max_runtime_s: 60,
            reason: "demonstration".to_owned(),
            ticket: None,
            approvals: Vec::new(),
        })
    }

    /// Signs an order of this site as an operator does, who refuses what the appliance would refuse.
    pub(super) fn sign(&self, order: &Order, key: &PrivateKey) -> Result<Signed, Error> {
        let bytes = seal(order, &[key], &self.trust)?;
        let payload_sha256 = Digest::of(&compliance_protocol::json::to_canonical(order)?);
        Ok(Signed { order: order.clone(), bytes, payload_sha256 })
    }

    /// Signs whatever it is, with the orders key: for another site too.
    pub(super) fn sign_unchecked(&self, order: &Order) -> Result<Vec<u8>, Error> {
        Ok(compliance_signing::sign(order, &[&self.key])?)
    }

    pub(super) async fn withdraw(&self, sequence: u64) -> Result<(), Error> {
        self.plane.delete(&format!("/api/v1/sites/{}/orders/{sequence}", self.trust.site)).await
    }

    /// A one-time link to the console.
    pub(super) async fn link(&self) -> Result<Link, Error> {
        self.plane.post("/api/v1/links", b"{}".to_vec()).await
    }

    /// Everything that the control plane holds of the site.
    pub(super) async fn evidence(&self) -> Result<Vec<EvidenceSummary>, Error> {
        evidence::all(&self.plane, self.site()).await
    }

    /// The newest bundle of each chain that the control plane holds.
    pub(super) async fn heads(&self) -> Result<Vec<Head>, Error> {
        let mut newest: BTreeMap<(u64, Id), Head> = BTreeMap::new();
        for EvidenceSummary { epoch, ledger_id, sequence, sha256, .. } in self.evidence().await? {
            let head = Head { sequence, sha256 };
            let chain = newest.entry((epoch, ledger_id)).or_insert(head);
            *chain = head.max(*chain);
        }
        Ok(newest.into_values().collect())
    }

    /// Waits for evidence at the control plane, and verifies its signatures and its receipt.
    pub(super) async fn await_evidence(
        &self,
        what: &str,
        cast: &Cast,
        wanted: impl Fn(&EvidenceSummary) -> bool,
    ) -> Result<Bundle, Failure> {
        let summary = wait::until(what, cast, async || {
            Ok(self.evidence().await?.into_iter().find(|summary| wanted(summary)))
        })
        .await?;
        Ok(self.bundle(&summary).await?.bundle().clone())
    }

    /// One bundle, its signatures and its receipt verified.
    pub(super) async fn bundle(&self, of: &EvidenceSummary) -> Result<VerifiedBundle, Failure> {
        let detail = evidence::one(&self.plane, of).await?;
        let refused = |why: &dyn std::fmt::Display| {
            Failure::Unexpected(format!("bundle {} at the control plane: {why}", of.sequence))
        };
        let signed = detail.signed();
        let bundle = signed.verify(&self.trust.roles.evidence).map_err(|error| refused(&error))?;
        let receipt = detail.receipt.ok_or_else(|| refused(&"there is no receipt"))?;
        let log = &self.trust.log;
        TlogProof::parse(&receipt)
            .and_then(|proof| proof.verify(signed.json.as_slice(), log, log.name()))
            .map_err(|error| refused(&error))?;
        Ok(bundle)
    }

    fn site(&self) -> &Site {
        &self.trust.site
    }
}
