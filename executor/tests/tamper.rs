//! No change to the unsigned outside of an envelope has an effect: whatever is done to it, what happens is
//! either nothing or exactly what the untouched envelope makes happen. The whole engine is driven; what it
//! did to the host and what it left as evidence are compared.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::cell::RefCell;

use common::{Rig, outcome, restart_frontdesk, run_backup, run_checks};
use compliance_protocol::bytes::Bytes;
use compliance_protocol::evidence::{Bundle, Outcome};
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::time::Span;
use compliance_signing::sign;
use compliance_testkit::{Keys, OrderForm};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// One way to change an envelope without its signers.
#[derive(Debug, Clone)]
enum Tamper {
    /// Flips a bit at this part of the whole.
    Flip(u32, u8),
    /// Puts a byte in.
    Insert(u32, u8),
    /// Leaves a byte out.
    Leave(u32),
    /// Cuts the end off.
    Cut(u32),
    /// Adds a field, to the envelope or to its first signature.
    Add(bool, String, Value),
    /// Removes the `n`th field.
    Remove(bool, usize),
    /// Renames the `n`th field.
    Rename(bool, usize, String),
    /// Writes the `n`th field a second time, with its own or another value, in front or behind.
    Duplicate(bool, usize, Option<Value>, bool),
    /// Gives the `n`th field another value.
    Replace(bool, usize, Value),
    /// Writes the same JSON with other spacing.
    Pretty,
    /// Writes each text in the url-safe alphabet.
    UrlSafe,
    /// Repeats the signatures, or reverses them.
    Signatures(bool),
}

use Tamper::{
    Add, Cut, Duplicate, Flip, Insert, Leave, Pretty, Remove, Rename, Replace, Signatures, UrlSafe,
};

impl Tamper {
    fn apply(&self, envelope: &[u8]) -> Vec<u8> {
        let mut bytes = envelope.to_vec();
        let at =
            |part: u32, len: usize| usize::try_from((u64::from(part) * len as u64) >> 32).unwrap();
        match self {
            Flip(part, bit) => bytes[at(*part, envelope.len())] ^= 1 << bit,
            Insert(part, byte) => bytes.insert(at(*part, envelope.len() + 1), *byte),
            Leave(part) => drop(bytes.remove(at(*part, envelope.len()))),
            Cut(part) => bytes.truncate(at(*part, envelope.len())),
            Pretty => return serde_json::to_vec_pretty(&parse(envelope)).unwrap(),
            UrlSafe => {
                let text = String::from_utf8(bytes).unwrap();
                return text
                    .replace('+', "-")
                    .replace("/vnd", "\0")
                    .replace('/', "_")
                    .replace('\0', "/vnd")
                    .into_bytes();
            }
            Signatures(twice) => {
                let mut value = parse(envelope);
                let all = value["signatures"].as_array_mut().unwrap();
                if *twice {
                    all.extend(all.clone());
                } else {
                    all.reverse();
                }
                return serde_json::to_vec(&value).unwrap();
            }
            Add(inner, ..)
            | Remove(inner, _)
            | Rename(inner, ..)
            | Duplicate(inner, ..)
            | Replace(inner, ..) => return self.apply_to_fields(*inner, &parse(envelope)),
        }
        bytes
    }

    fn apply_to_fields(&self, inner: bool, envelope: &Value) -> Vec<u8> {
        let object = if inner { &envelope["signatures"][0] } else { envelope };
        let mut fields: Vec<(String, Value)> =
            object.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let n = |n: usize| n % fields.len();
        match self {
            Add(_, name, value) => fields.push((name.clone(), value.clone())),
            Remove(_, i) => drop(fields.remove(n(*i))),
            Rename(_, i, name) => {
                let i = n(*i);
                fields[i].0.clone_from(name);
            }
            Replace(_, i, value) => {
                let i = n(*i);
                fields[i].1 = value.clone();
            }
            Duplicate(_, i, value, front) => {
                let (name, own) = fields[n(*i)].clone();
                let field = (name, value.clone().unwrap_or(own));
                fields.insert(if *front { 0 } else { fields.len() }, field);
            }
            _ => {}
        }
        let text = write(&fields);
        if !inner {
            return text.into_bytes();
        }
        let outer =
            json!({ "payload": envelope["payload"], "payloadType": envelope["payloadType"] });
        let outer = outer.to_string();
        let rest = envelope["signatures"].as_array().unwrap()[1..].iter().map(|s| format!(",{s}"));
        format!(
            "{},\"signatures\":[{text}{}]}}",
            &outer[..outer.len() - 1],
            rest.collect::<String>()
        )
        .into_bytes()
    }
}

fn parse(envelope: &[u8]) -> Value {
    serde_json::from_slice(envelope).unwrap()
}

/// An object with these fields in this order, however often each.
fn write(fields: &[(String, Value)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    format!("{{{}}}", fields.join(","))
}

fn any_tamper() -> impl Strategy<Value = Tamper> {
    let name = prop::sample::select(vec![
        "payload",
        "payloadType",
        "signatures",
        "keyid",
        "sig",
        "Payload",
        "payloadtype",
        "cert",
        "note",
        "",
    ]);
    let name = name.prop_map(str::to_owned).boxed();
    // Among the values there are what an attacker would like to be read instead.
    let value = prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!(1)),
        "[a-zA-Z0-9+/=]{0,12}".prop_map(Value::from),
        Just(Keys::default().orders[1].public().id().to_string().into()),
        Just("application/vnd.compliance.order.v2+json".into()),
        Just(String::from(Bytes::from(OrderForm::new(9, &run_backup()).payload())).into()),
        Just(parse(&OrderForm::new(9, &run_backup()).sign(&[&Keys::default().evidence]))["signatures"].clone()),
    ]
    .boxed();
    let which = 0..3_usize;
    prop_oneof![
        6 => (any::<u32>(), 0..8_u8).prop_map(|(at, bit)| Flip(at, bit)),
        2 => (any::<u32>(), any::<u8>()).prop_map(|(at, byte)| Insert(at, byte)),
        2 => any::<u32>().prop_map(Leave),
        1 => any::<u32>().prop_map(Cut),
        2 => (any::<bool>(), name.clone(), value.clone()).prop_map(|(i, n, v)| Add(i, n, v)),
        1 => (any::<bool>(), which.clone()).prop_map(|(i, n)| Remove(i, n)),
        2 => (any::<bool>(), which.clone(), name).prop_map(|(i, n, to)| Rename(i, n, to)),
        2 => (any::<bool>(), which.clone(), prop::option::of(value.clone()), any::<bool>())
            .prop_map(|(i, n, v, front)| Duplicate(i, n, v, front)),
        3 => (any::<bool>(), which, value).prop_map(|(i, n, v)| Replace(i, n, v)),
        1 => Just(Pretty),
        1 => Just(UrlSafe),
        1 => any::<bool>().prop_map(Signatures),
    ]
}

/// One appliance, to which tampered envelopes are handed, each with an order of its own.
struct Bench {
    rig: Rig,
    last: Option<OrderForm>,
}

impl Bench {
    fn new() -> RefCell<Self> {
        let mut rig = Rig::new();
        rig.settle();
        RefCell::new(Self { rig, last: None })
    }

    /// The next order, a good one, with which the backup is run; not yet handed in.
    fn next(&mut self) -> OrderForm {
        // Refusals are recorded, not counted: less than ten of them an hour.
        self.rig.pass(Span::from_secs(401));
        self.rig.settle();
        self.rig.backup_does(self.rig.reading.wall, true);
        let form = OrderForm::new(self.rig.ticket().after + 1, &run_backup());
        let form = form.issued(self.rig.reading.wall);
        self.last.iter().fold(form, OrderForm::after)
    }

    /// What there is beside the summaries of rounds.
    fn evidence(&self) -> Vec<Bundle> {
        let mut all = self.rig.evidence();
        all.retain(|bundle| bundle.reason != "round");
        all
    }

    /// A new appliance now and then: all evidence is verified at each step.
    fn renew(&mut self) {
        if self.rig.status().evidence_head.is_some_and(|head| head.sequence > 40) {
            *self = Self::new().into_inner();
        }
    }
}

/// That no refusal among `new` names an order, and that nothing else is among them.
fn assert_only_refused(new: &[Bundle]) -> Result<(), TestCaseError> {
    for bundle in new {
        let refused = [Outcome::Rejected, Outcome::Alert].contains(&bundle.outcome);
        prop_assert!(refused && bundle.trigger.order_id.is_none(), "{bundle:?}");
        prop_assert!(bundle.actions.is_empty());
    }
    Ok(())
}

fn check(cases: u32, test: impl Fn(Vec<Tamper>) -> Result<(), TestCaseError>) {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let some = prop::collection::vec(any_tamper(), 1..3);
    TestRunner::new(config).run(&some, test).unwrap_or_else(|error| panic!("{error}"));
}

fn tampered(with: &[Tamper], envelope: &[u8]) -> Vec<u8> {
    let readable = |bytes: &[u8]| {
        serde_json::from_slice::<Value>(bytes).is_ok_and(|v| v["signatures"][0].is_object())
    };
    with.iter().fold(envelope.to_vec(), |bytes, tamper| match tamper {
        Flip(..) | Insert(..) => tamper.apply(&bytes),
        Leave(_) | Cut(_) if !bytes.is_empty() => tamper.apply(&bytes),
        Leave(_) | Cut(_) => bytes,
        _ if readable(&bytes) => tamper.apply(&bytes),
        _ => bytes,
    })
}

/// First the tampered envelope is handed in, then the untouched one: the effect is started once in all, and
/// there is one terminal outcome, about the very order that was signed.
#[test]
fn a_tampered_order_is_nothing_or_the_order_itself() {
    let bench = Bench::new();
    check(150, |with| {
        let mut bench = bench.borrow_mut();
        bench.renew();
        let form = bench.next();
        let envelope = form.sign(&[&bench.rig.plane.keys.orders[0]]);
        bench.rig.plane.open = vec![(form.clone(), envelope.clone())];
        let (before, runs) = (bench.evidence(), bench.rig.backups_run());
        bench.rig.poll_with(vec![tampered(&with, &envelope)]);
        let new = bench.evidence().split_off(before.len());
        let done = [outcome(Outcome::Success, "done")];
        match bench.rig.backups_run() - runs {
            0 => assert_only_refused(&new)?,
            started => {
                prop_assert_eq!(started, 1);
                prop_assert_eq!(bench.rig.about(&form), done.clone());
            }
        }
        bench.rig.poll_with(vec![envelope]);
        prop_assert_eq!(bench.rig.backups_run() - runs, 1);
        prop_assert_eq!(bench.rig.about(&form), done);
        bench.last = Some(form);
        Ok(())
    });
}

/// Orders that are refused as they are, for a reason that stands in the signed payload.
#[test]
fn no_tampering_makes_a_refused_order_start() {
    let bench = Bench::new();
    let kinds: [fn(&OrderForm) -> OrderForm; 5] = [
        |form| form.clone().with("site", "clinic-043"),
        |form| form.clone().with("epoch", 2),
        |form| form.clone().with("sequence", 1),
        |form| form.clone().with("expires_at", "2026-11-20T09:41:11.000Z"),
        |form| form.clone().with("action", restart_frontdesk()).with("when", "now"),
    ];
    let turn = RefCell::new(kinds.iter().cycle());
    check(100, |with| {
        let mut bench = bench.borrow_mut();
        if bench.last.is_none() || bench.rig.status().evidence_head.is_some_and(|h| h.sequence > 40)
        {
            *bench = Bench::new().into_inner();
            // One order is past, so that there is something to replay.
            let first = OrderForm::new(1, &run_checks());
            bench.rig.plane.issue(first.clone());
            bench.rig.poll();
            bench.last = Some(first);
        }
        let form = turn.borrow_mut().next().unwrap()(&bench.next());
        let envelope = form.sign(&[&bench.rig.plane.keys.orders[0]]);
        bench.rig.plane.open = vec![(form.clone(), envelope.clone())];
        let runs = bench.rig.host.runs().len();
        bench.rig.poll_with(vec![tampered(&with, &envelope), envelope]);
        prop_assert_eq!(bench.rig.host.runs().len(), runs);
        let about = bench.rig.about(&form);
        prop_assert!(
            about.len() <= 2 && !about.iter().any(|(o, _)| *o == Outcome::Success),
            "{:?}",
            about
        );
        if bench.rig.ticket().after == form.sequence() && form.sequence() > 1 {
            bench.last = Some(form);
        }
        Ok(())
    });
}

/// A tampered head is refused, uses no ticket up, and carries no order; or it is the head itself.
#[test]
fn a_tampered_feed_head_is_nothing_or_the_head_itself() {
    let bench = Bench::new();
    check(150, |with| {
        let mut bench = bench.borrow_mut();
        bench.renew();
        let form = bench.next();
        let rig = &mut bench.rig;
        let envelope = form.sign(&[&rig.plane.keys.orders[0]]);
        rig.plane.open = vec![(form.clone(), envelope.clone())];
        let (before, runs) = (rig.evidence().len(), rig.backups_run());
        let ticket = rig.ticket();
        let head =
            sign(&rig.plane.head(&ticket, rig.reading.wall), &[&rig.plane.keys.feed]).unwrap();
        let Request::Feed { checkpoint, consistency, .. } =
            rig.plane.answer(&ticket, rig.reading.wall)
        else {
            panic!("the plane answers a poll")
        };
        let answer = |head: Vec<u8>| {
            let orders = vec![envelope.clone().into()];
            let (checkpoint, consistency) = (checkpoint.clone(), consistency.clone());
            Request::Feed { head: head.into(), orders, checkpoint, consistency }
        };
        let marked = rig.status().last_head_at;
        if matches!(rig.handle(answer(tampered(&with, &head))), Answer::Feed { fresh: false, .. }) {
            rig.settle();
            prop_assert_eq!(rig.status().last_head_at, marked);
            assert_only_refused(&rig.evidence().split_off(before))?;
            let taken = matches!(rig.handle(answer(head)), Answer::Feed { fresh: true, .. });
            prop_assert!(taken);
        }
        rig.settle();
        prop_assert_eq!(rig.status().last_head_at, Some(rig.reading.wall));
        prop_assert_eq!(rig.backups_run() - runs, 1);
        prop_assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
        bench.last = Some(form);
        Ok(())
    });
}
