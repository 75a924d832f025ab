//! A control plane in memory: signs feed heads, keeps evidence, gives receipts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Bundle, SignedBundle};
use compliance_protocol::feed::{EvidenceHead, FeedHead, LogState, OpenOrder, Ticket};
use compliance_protocol::local::Request;
use compliance_protocol::time::Timestamp;
use compliance_protocol::tlog::{
    Checkpoint, TlogProof, consistency_proof, inclusion_proof, leaf_hash, root, stored_hashes,
};
use compliance_protocol::trust::Trust;
use compliance_protocol::wire::{UploadResult, UploadStatus};
use compliance_signing::{PrivateKey, sign, sign_checkpoint};

use crate::evidence::verified;
use crate::{Keys, OrderForm};

/// A control plane that behaves, unless a test makes it not.
#[derive(Debug, Clone)]
pub struct FakePlane {
    /// The tenant's keys.
    pub keys: Arc<Keys>,
    /// The site's trust file.
    pub trust: Trust,
    /// The orders that are open, with their envelopes.
    pub open: Vec<(OrderForm, Vec<u8>)>,
    /// All evidence stored, in the order of its arrival.
    pub stored: Vec<Bundle>,
    entries: Vec<Vec<u8>>,
    nodes: BTreeMap<(u8, u64), Digest>,
}

impl Default for FakePlane {
    fn default() -> Self {
        let keys = Keys::default();
        Self {
            trust: keys.trust(),
            keys: Arc::new(keys),
            open: Vec::new(),
            stored: Vec::new(),
            entries: Vec::new(),
            nodes: BTreeMap::new(),
        }
    }
}

impl FakePlane {
    /// Issues an order signed by the first `orders` key.
    pub fn issue(&mut self, form: OrderForm) {
        let envelope = form.sign(&[&self.keys.orders[0]]);
        self.open.push((form, envelope));
    }

    /// The head for `ticket`.
    pub fn head(&self, ticket: &Ticket, at: Timestamp) -> FeedHead {
        let open = self.open.iter().map(|(form, _)| OpenOrder {
            sequence: form.sequence(),
            id: form.id(),
            payload_sha256: form.sha256(),
        });
        FeedHead {
            tenant: self.trust.tenant.clone(),
            site: self.trust.site.clone(),
            epoch: self.trust.epoch,
            nonce: ticket.nonce,
            issued_at: at,
            highest_sequence: self.open.iter().map(|(form, _)| form.sequence()).max().unwrap_or(0),
            open: open.collect(),
            evidence_head: self.evidence_head(),
            log: LogState { size: self.size(), root: self.root() },
        }
    }

    /// Where the newest chain of the site's epoch stands.
    pub fn evidence_head(&self) -> Option<EvidenceHead> {
        let all = self.stored.iter().zip(&self.entries);
        let epoch: Vec<_> = all.filter(|(bundle, _)| bundle.epoch == self.trust.epoch).collect();
        let mut chains = Vec::new();
        for (bundle, _) in &epoch {
            if !chains.contains(&bundle.ledger_id) {
                chains.push(bundle.ledger_id);
            }
        }
        let newest = *chains.last()?;
        let newest = epoch.iter().filter(|(bundle, _)| bundle.ledger_id == newest);
        newest.max_by_key(|(bundle, _)| bundle.sequence).map(|(bundle, entry)| EvidenceHead {
            ledger_id: bundle.ledger_id,
            sequence: bundle.sequence,
            sha256: Digest::of(entry),
        })
    }

    /// The answer to a poll with `ticket`, as the agent hands it in.
    pub fn answer(&self, ticket: &Ticket, at: Timestamp) -> Request {
        let wanted = self.open.iter().filter(|(form, _)| form.sequence() > ticket.after);
        self.answer_with(
            &self.head(ticket, at),
            ticket,
            wanted.map(|(_, bytes)| bytes.clone()).collect(),
        )
    }

    /// The answer with this head and these orders.
    pub fn answer_with(&self, head: &FeedHead, ticket: &Ticket, orders: Vec<Vec<u8>>) -> Request {
        Request::Feed {
            head: sign(head, &[&self.keys.feed]).unwrap().into(),
            orders: orders.into_iter().map(Into::into).collect(),
            checkpoint: self.checkpoint(),
            consistency: self.consistency(ticket.log_size),
        }
    }

    /// Stores evidence and answers with receipts, as the agent hands them in. Orders whose terminal
    /// evidence came are closed.
    pub fn upload(&mut self, bundles: &[SignedBundle], log_size: u64) -> Request {
        let mut stored = Vec::new();
        for signed in bundles {
            let bundle = verified(signed).bundle().clone();
            let json = signed.json.as_slice().to_vec();
            let known = self.entries.iter().position(|entry| *entry == json);
            let index = known.unwrap_or_else(|| self.append(json));
            if known.is_none() {
                let done = bundle.trigger.order_sha256.filter(|_| bundle.outcome.is_terminal());
                self.open.retain(|(form, _)| Some(form.sha256()) != done);
                self.stored.push(bundle.clone());
            }
            stored.push((bundle.id, index, known.is_some()));
        }
        let results = stored.into_iter().map(|(id, index, known)| UploadResult {
            id: Some(id),
            status: if known { UploadStatus::Duplicate } else { UploadStatus::Stored },
            receipt: Some(self.receipt(index)),
            reason: None,
        });
        Request::Receipts {
            results: results.collect(),
            checkpoint: self.checkpoint(),
            consistency: self.consistency(log_size),
        }
    }

    /// The log's signed checkpoint.
    pub fn checkpoint(&self) -> String {
        let root = self.root();
        let origin = self.trust.log.name().to_owned();
        let checkpoint = Checkpoint::new(&origin, self.size(), root).unwrap();
        sign_checkpoint(&checkpoint, &self.keys.checkpoint).unwrap()
    }

    /// A second `orders` key's signature, for thresholds.
    pub fn both_order_keys(&self) -> [&PrivateKey; 2] {
        [&self.keys.orders[0], &self.keys.orders[1]]
    }

    fn receipt(&self, index: usize) -> String {
        let index = index as u64;
        let path = inclusion_proof(index, self.size(), self.node()).unwrap();
        TlogProof { index, path, checkpoint: self.checkpoint() }.to_string()
    }

    fn consistency(&self, from: u64) -> Vec<Digest> {
        if from == 0 || from >= self.size() {
            return Vec::new();
        }
        consistency_proof(from, self.size(), self.node()).unwrap()
    }

    fn append(&mut self, entry: Vec<u8>) -> usize {
        let new = stored_hashes(self.size(), leaf_hash(&entry), self.node()).unwrap();
        self.nodes.extend(new.into_iter().map(|(level, index, hash)| ((level, index), hash)));
        self.entries.push(entry);
        self.entries.len() - 1
    }

    fn root(&self) -> Digest {
        root(self.size(), self.node()).unwrap()
    }

    fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    fn node(&self) -> impl Fn(u8, u64) -> Result<Digest, Infallible> {
        |level, index| Ok(self.nodes[&(level, index)])
    }
}
