//! An order that breaks two rules gets the reason of the earlier one, for every pair of rules.

use compliance_executor::ledger::{Ledger, LedgerError, StoredBundle};
use compliance_protocol::envelope::MAX_ENVELOPE;
use compliance_protocol::key::KeySet;
use compliance_protocol::name::Id;
use compliance_protocol::time::{Span, Timestamp};
use compliance_signing::PrivateKey;
use compliance_testkit::{Keys, OrderForm};
use serde_json::{Value, json};

use crate::common::{Rig, run_checks};

/// An order about to be handed in.
struct Attempt {
    form: OrderForm,
    now: Timestamp,
    used_id: Id,
    signers: Signers,
    listed: bool,
    extra_field: bool,
    padded: bool,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Signers {
    Enough,
    TooFew,
    None,
}

type Break = fn(&mut Attempt);

/// The rules in their order, each with a way to break it that leaves the others as they are.
const RULES: [(&str, Break); 15] = [
    ("size", |a| a.padded = true),
    ("malformed", |a| a.extra_field = true),
    ("bad_signature", |a| a.signers = Signers::None),
    ("threshold", |a| {
        a.signers = if a.signers < Signers::TooFew { Signers::TooFew } else { a.signers }
    }),
    ("wrong_tenant", |a| set(a, "tenant", "acme2")),
    ("wrong_site", |a| set(a, "site", "clinic-043")),
    ("wrong_epoch", |a| set(a, "epoch", 2)),
    ("sequence_reused", |a| set(a, "previous_sha256", "0".repeat(64))),
    ("replayed", |a| set(a, "id", a.used_id.to_string())),
    ("not_listed", |a| a.listed = false),
    ("not_yet_valid", |a| set(a, "not_before", a.now.plus(Span::from_hours(1)).to_string())),
    ("expired", |a| set(a, "expires_at", a.now.plus(Span::from_hours(-1)).to_string())),
    ("unknown_action", |a| a.form.0["action"]["type"] = "dance".into()),
    ("bad_parameter", |a| set(a, "reason", "x".repeat(1001))),
    ("policy", |a| set(a, "when", "now")),
];

fn set(attempt: &mut Attempt, field: &str, value: impl Into<Value>) {
    attempt.form.0[field] = value.into();
}

/// One appliance, to which one order after the other is handed: two of three keys sign an order, all three
/// one that overrides the window.
struct Bench {
    rig: Rig,
    first: OrderForm,
    last: OrderForm,
}

impl Bench {
    fn new() -> Self {
        let keys = Keys::default();
        let third = PrivateKey::from_seed(&[30; 32]).unwrap();
        let mut rig = Rig::with(|setup| {
            let orders = &mut setup.trust.roles.orders;
            let all = [keys.orders[0].public(), keys.orders[1].public(), third.public()];
            orders.any = KeySet::new(all.to_vec(), 2).unwrap();
            orders.threshold_now = 3;
        });
        let first = OrderForm::new(1, &run_checks());
        rig.plane.open.push((first.clone(), first.sign(&rig.plane.both_order_keys())));
        rig.poll();
        assert_eq!(rig.about(&first).len(), 1);
        Self { rig, last: first.clone(), first }
    }

    /// The reason for which the next order is refused when it is broken in all these ways.
    fn reason(&mut self, breaks: &[Break]) -> String {
        // Not more than ten an hour, which would be counted and not recorded.
        self.rig.pass(Span::from_secs(400));
        self.rig.settle();
        let now = self.rig.reading.wall;
        let form = OrderForm::new(self.rig.ticket().after + 1, &run_checks()).after(&self.last);
        let mut attempt = Attempt {
            form: form.issued(now),
            now,
            used_id: self.first.id(),
            signers: Signers::Enough,
            listed: true,
            extra_field: false,
            padded: false,
        };
        for change in breaks {
            change(&mut attempt);
        }
        self.hand_in(&attempt)
    }

    fn hand_in(&mut self, attempt: &Attempt) -> String {
        let before = count(&self.rig);
        let bytes = attempt.bytes();
        self.rig.plane.open = vec![(attempt.form.clone(), bytes.clone())];
        assert!(self.rig.poll_changed(vec![bytes], |head| {
            if !attempt.listed {
                head.open.clear();
            }
        }));
        if self.rig.ticket().after > self.last.sequence() {
            self.last = attempt.form.clone();
        }
        let mut new = bundles_from(&self.rig, before);
        new.retain(|bundle| bundle["reason"] != "order_gap");
        assert_eq!(new.len(), 1, "{new:?}");
        new[0]["reason"].as_str().unwrap().to_owned()
    }
}

impl Attempt {
    fn bytes(&self) -> Vec<u8> {
        let keys = Keys::default();
        let signers = match self.signers {
            Signers::Enough => 2,
            Signers::TooFew => 1,
            Signers::None => 0,
        };
        let both = [&keys.orders[0], &keys.orders[1]];
        let signed = self.form.sign(&both[..signers]);
        let mut envelope: Value = serde_json::from_slice(&signed).unwrap();
        if self.extra_field {
            envelope["note"] = json!("urgent");
        }
        let mut bytes = serde_json::to_vec(&envelope).unwrap();
        if self.padded {
            bytes.resize(MAX_ENVELOPE + 1, b' ');
        }
        bytes
    }
}

fn count(rig: &Rig) -> usize {
    bundles_from(rig, 0).len()
}

/// The bundles from the `n`th on, summaries of rounds left out. The whole chain is verified at the end.
fn bundles_from(rig: &Rig, n: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let each = |stored: StoredBundle| {
        all.push(serde_json::from_slice(stored.signed.json.as_slice()).unwrap());
        Ok::<_, LedgerError>(())
    };
    Ledger::read(&rig.ledger_path()).unwrap().each_bundle(each).unwrap();
    all.retain(|bundle: &Value| bundle["reason"] != "round");
    all.split_off(n)
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.rig.evidence();
        }
    }
}

#[test]
fn an_order_broken_in_one_way_gets_that_reason_and_an_unbroken_one_is_carried_out() {
    let mut bench = Bench::new();
    for (rule, change) in RULES {
        assert_eq!(bench.reason(&[]), "checked");
        assert_eq!(bench.reason(&[change]), rule);
    }
}

#[test]
fn an_order_broken_in_two_ways_gets_the_earlier_reason() {
    let mut bench = Bench::new();
    for (i, (earlier, one)) in RULES.iter().enumerate() {
        for (later, other) in &RULES[i + 1..] {
            assert_eq!(bench.reason(&[*one, *other]), *earlier, "{earlier} and {later}");
        }
    }
}

#[test]
fn an_order_broken_in_every_way_gets_the_first_reason_that_is_left() {
    let mut bench = Bench::new();
    for (i, (rule, _)) in RULES.iter().enumerate() {
        let rest: Vec<_> = RULES[i..].iter().map(|(_, change)| *change).collect();
        assert_eq!(bench.reason(&rest), *rule);
    }
}

/// What the signed parameters name is judged before what the site allows, though both are the site's.
#[test]
fn what_the_baseline_does_not_list_comes_before_what_the_policy_forbids() {
    let mut bench = Bench::new();
    let unlisted: Break =
        |a| a.form.0["action"] = json!({ "type": "run_backup", "job": "reports" });
    let no_envelope: Break =
        |a| a.form.0["action"] = json!({ "type": "update_baseline", "envelope": {} });
    let (_, policy) = RULES[14];
    for change in [unlisted, no_envelope] {
        assert_eq!(bench.reason(&[change, policy]), "bad_parameter");
    }
}

/// A jump is a rule about the sequence: it comes after the other ones about it and, since it consumes
/// nothing, before those that do.
#[test]
fn a_jump_is_judged_with_the_sequence() {
    let mut bench = Bench::new();
    let jump: Break = |a| a.form.0["sequence"] = (a.form.sequence() + 1000).into();
    for (i, (rule, change)) in RULES.iter().enumerate() {
        // The order before it was never here, so there is no predecessor to contradict.
        let expected = if i <= 8 && *rule != "sequence_reused" { rule } else { "policy" };
        assert_eq!(bench.reason(&[*change, jump]), expected, "{rule} and a jump");
    }
}
