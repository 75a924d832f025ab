//! What the encryption check makes of what it saw.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use compliance_protocol::evidence::Finding;
use serde_json::{Value, json};

use super::devices::{Device, Kind};
use super::luks::Header;
use super::{EncryptionBaseline, EncryptionFacts};
use crate::{HostError, Verdict};

/// Any drift is drift; else any doubt is doubt; no mount at all is doubt.
pub fn judge(expected: &EncryptionBaseline, seen: &EncryptionFacts) -> Verdict {
    if expected.mounts.is_empty() {
        let why = "the baseline names no mount that must be encrypted, nor says why there is none";
        return Verdict::Unknown(why.to_owned());
    }
    let mut results: Vec<(&str, Judged)> = Vec::new();
    for (path, stands_on) in &seen.mounts {
        let judged = match stands_on {
            Some(Ok(device)) => judge_stack(expected, device),
            Some(Err(error)) => Judged::doubt(error),
            None => Judged::differs("a mount on LUKS2".to_owned(), "nothing is mounted there"),
        };
        results.push((path.as_str(), judged));
    }
    match &seen.swaps {
        Ok(swaps) => results.extend(swaps.iter().map(|stands_on| {
            let judged = stands_on.as_ref().map(|device| judge_stack(expected, device));
            ("swap", judged.unwrap_or_else(Judged::doubt))
        })),
        Err(error) => results.push(("swap", Judged::doubt(error))),
    }
    verdict(results)
}

fn verdict(results: Vec<(&str, Judged)>) -> Verdict {
    let (mut findings, mut doubts) = (Vec::new(), Vec::new());
    for (subject, judged) in results {
        let finding =
            |(expected, actual)| Finding { subject: subject.to_owned(), expected, actual };
        findings.extend(judged.differences.into_iter().map(finding));
        doubts.extend(judged.doubts.iter().map(|doubt| format!("{subject}: {doubt}")));
    }
    findings.dedup();
    doubts.dedup();
    match (findings.is_empty(), doubts.is_empty()) {
        (false, _) => Verdict::Drifted(findings),
        (true, false) => Verdict::Unknown(doubts.join("; ")),
        (true, true) => Verdict::Compliant,
    }
}

/// What one mount or swap area comes to.
#[derive(Default)]
struct Judged {
    /// Expected and actual.
    differences: Vec<(String, String)>,
    doubts: Vec<String>,
}

impl Judged {
    fn differs(expected: String, actual: impl Into<String>) -> Self {
        Self { differences: vec![(expected, actual.into())], doubts: Vec::new() }
    }

    fn doubt(error: &HostError) -> Self {
        Self { differences: Vec::new(), doubts: vec![error.to_string()] }
    }
}

fn judge_stack(expected: &EncryptionBaseline, device: &Device) -> Judged {
    let stack = Stack::of(device);
    let mut judged = Judged::default();
    for open in stack.open {
        judged
            .differences
            .push(("LUKS2 above every disk".to_owned(), format!("it stands on {open}")));
    }
    for strange in stack.strange {
        judged.doubts.push(format!("what is below it is not seen: {strange}"));
    }
    for header in stack.luks2 {
        match header {
            Ok(header) => judge_header(expected, header, &mut judged),
            Err(error) => judged.doubts.push(error.to_string()),
        }
    }
    judged
}

fn judge_header(expected: &EncryptionBaseline, header: &Header, judged: &mut Judged) {
    for cipher in header.ciphers.iter().filter(|cipher| !expected.ciphers.contains(cipher)) {
        let strong = format!("a cipher of {}", expected.ciphers.join(", "));
        judged.differences.push((strong, cipher.clone()));
    }
    match header.key_bits {
        Some(bits) if bits < expected.min_key_bits => {
            let long = format!("a key of at least {} bits", expected.min_key_bits);
            judged.differences.push((long, format!("{bits} bits")));
        }
        Some(_) => {}
        None => judged.doubts.push("no key slot tells how long the key is".to_owned()),
    }
}

/// A tree of devices, summed up: a path from the top to a disk is fine when it crosses LUKS2.
#[derive(Default)]
pub(super) struct Stack<'a> {
    luks2: Vec<Result<&'a Header, &'a HostError>>,
    in_memory: bool,
    /// What paths end on that do not cross LUKS2.
    open: BTreeSet<&'static str>,
    /// What hides the rest of a path.
    strange: BTreeSet<&'a str>,
    walked: HashSet<(*const Device, Option<&'static str>)>,
}

impl<'a> Stack<'a> {
    pub(super) fn of(device: &'a Device) -> Self {
        let mut stack = Self::default();
        stack.walk(device, None);
        stack
    }

    /// Why not every path crosses LUKS2, if so; also when a header could not be read, they do.
    pub(super) fn lack(&self) -> Option<String> {
        let open = self.open.first().map(|what| format!("it stands on {what}"));
        let strange = || Some(format!("what is below it is not seen: {}", self.strange.first()?));
        let in_memory = || self.in_memory.then(|| "it is kept in memory".to_owned());
        let nothing = || self.luks2.is_empty().then(|| "it stands on nothing".to_owned());
        open.or_else(strange).or_else(in_memory).or_else(nothing)
    }

    /// Whether nothing of it gets to a disk.
    pub(super) fn is_all_in_memory(&self) -> bool {
        self.in_memory && self.open.is_empty() && self.strange.is_empty()
    }

    pub(super) fn to_json(&self) -> Value {
        let headers = || self.luks2.iter().filter_map(|header| header.ok());
        let errors: Vec<_> = self.luks2.iter().filter_map(|header| header.err()).collect();
        json!({
            "luks2": self.luks2.len(),
            "ciphers": headers().flat_map(|header| &header.ciphers).collect::<Vec<_>>(),
            "key_bits": headers().filter_map(|header| header.key_bits).min(),
            "keyslots": headers().map(|header| header.keyslots).sum::<usize>(),
            "headers_unread": errors.len(),
            "in_memory": self.in_memory,
            "not_luks2": self.open,
            "unseen": self.strange,
        })
    }

    /// `above`: which other encryption the path has crossed.
    fn walk(&mut self, device: &'a Device, above: Option<&'static str>) {
        // Devices may share what is below them, many times over.
        if !self.walked.insert((device, above)) {
            return;
        }
        match &device.kind {
            Kind::Luks2(header) => self.luks2.push(header.as_ref()),
            Kind::Memory => self.in_memory = true,
            Kind::Strange(what) => _ = self.strange.insert(what),
            Kind::Disk => _ = self.open.insert(above.unwrap_or("a disk without encryption")),
            Kind::OtherCrypt(what) => self.walk_below(&device.below, Some(above.unwrap_or(what))),
            Kind::Layer => self.walk_below(&device.below, above),
        }
    }

    fn walk_below(&mut self, below: &'a [Rc<Device>], above: Option<&'static str>) {
        if below.is_empty() {
            self.strange.insert("a device that stands on nothing");
        }
        for device in below {
            self.walk(device, above);
        }
    }
}
