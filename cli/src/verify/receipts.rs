//! Which bundles have no receipt. None may lack one, but the newest of a chain where the user allows it, for
//! which the control plane has perhaps not answered yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::bundle::{Checked, Receipt};
use super::report::{ChainName, Report, chain_name};

/// The receipts of each chain.
#[derive(Debug, Default)]
pub(super) struct Receipts(BTreeMap<ChainName, OfChain>);

#[derive(Debug, Default)]
struct OfChain {
    /// The newest bundle that has a receipt; 0 if none has.
    answered: u64,
    /// Where the missing ones should be, by sequence.
    missing: BTreeMap<u64, PathBuf>,
}

impl Receipts {
    /// A bundle verified.
    pub(super) fn take(&mut self, checked: &Checked) {
        let bundle = checked.verified.bundle();
        let chain = self.0.entry(chain_name(bundle)).or_default();
        match &checked.receipt {
            Receipt::Here => chain.answered = chain.answered.max(bundle.sequence),
            Receipt::Absent(path) => {
                chain.missing.insert(bundle.sequence, path.clone());
            }
        }
    }

    /// Reports what is missing: one problem for all of a chain that has the same reason.
    pub(super) fn judge(mut self, pending_ok: bool, report: &mut Report) {
        for chain in self.0.values_mut() {
            let newest = chain.missing.split_off(&chain.answered);
            let answered = format!(", although bundle {} has one", chain.answered);
            fail(&chain.missing, &answered, report);
            if !pending_ok {
                let later =
                    "; verify again when the control plane has answered, or pass --pending-ok";
                fail(&newest, later, report);
            }
        }
    }
}

fn fail(missing: &BTreeMap<u64, PathBuf>, why: &str, report: &mut Report) {
    let Some((_, first)) = missing.first_key_value() else { return };
    let others = match missing.len() {
        1 => String::new(),
        count => format!(", and so are {} more of its chain", count - 1),
    };
    report.fails(first, format!("is missing{others}{why}"));
}
