//! Taking down the ruleset that is there, as a baseline for a person to review.

use super::limits::dynamic_accepts;
use super::look::{Seen, look, nft};
use super::{ChainOutline, FirewallBaseline, Outline};
use crate::capture::Captured;
use crate::{Host, HostError};

/// The baseline by which this host's firewall is compliant. Without any table there is none: whether a
/// machine needs no firewall is for a person to say.
pub fn capture(host: &dyn Host) -> Captured<FirewallBaseline> {
    let (seen, expected) = match take_down(host) {
        Ok(taken) => taken,
        Err(error) => return Captured::nothing(&error),
    };
    let timed = expected.dynamic_accepts.iter().map(|set| {
        format!(
            "{set} is filled while packets pass, or its elements end, and a rule accepts by it: who gets \
             into it is let in, and its elements are not in the digest"
        )
    });
    let unseen = seen.unseen.iter().map(|what| {
        format!(
            "nft {} does not print {what}: nobody can say whether it changes, and the ruleset here lacks it",
            seen.nft
        )
    });
    let remarks = open_hooks(&expected.tables).into_iter().chain(timed).chain(unseen).collect();
    Captured { expected: Ok(expected), remarks }
}

fn take_down(host: &dyn Host) -> Result<(Seen, FirewallBaseline), HostError> {
    let before = host.ruleset_generation();
    let (generation, ruleset) = look(host, before);
    let ruleset = ruleset?;
    if ruleset.tables().is_empty() {
        return Err(HostError::NotFound("a ruleset".to_owned()));
    }
    let text = nft(host, &["-s", "list", "ruleset"])?;
    if generation.is_ok() && host.ruleset_generation() != generation {
        let why = "it changed while it was read; try again".to_owned();
        return Err(HostError::Io { what: "the ruleset".to_owned(), why });
    }
    let text = String::from_utf8(text).map_err(|_| HostError::Garbage {
        what: "nft's listing".to_owned(),
        why: "it is not UTF-8".to_owned(),
    })?;
    let seen = Seen::of(&ruleset, |_| true);
    let baseline = FirewallBaseline {
        sha256: seen.sha256,
        exclusive: false,
        dynamic_accepts: dynamic_accepts(&ruleset),
        ruleset: without_dynamic_elements(&text),
        tables: seen.tables.clone(),
    };
    Ok((seen, baseline))
}

/// Where what no rule decides is let in: no chain that drops by its policy looks at incoming packets.
fn open_hooks(tables: &Outline) -> Option<String> {
    let drops = |chain: &ChainOutline| {
        let at_input = |base: &String| base.contains(" hook input ");
        chain.base.as_ref().is_some_and(at_input) && chain.policy.as_deref() == Some("drop")
    };
    let closed = tables.values().flat_map(|table| table.chains.values()).any(drops);
    let remark = "no chain at the hook input has the policy drop: what no rule decides is let in";
    (!closed).then(|| remark.to_owned())
}

/// nft's text without the elements of dynamic and timed sets: loading it must not bring back what was
/// banned or let in long ago. Its tabs become spaces, which TOML shows as they are.
fn without_dynamic_elements(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut block = Block::default();
    for line in text.lines() {
        // What is indented once begins or ends a block of the table.
        if !line.starts_with("\t\t") {
            block = Block::default();
        }
        if !block.drops(line) {
            let text = line.trim_start_matches('\t');
            kept.push_str(&"    ".repeat(line.len() - text.len()));
            kept.push_str(text);
            kept.push('\n');
        }
    }
    kept
}

/// The block of one set, as its lines go by.
#[derive(Default)]
struct Block {
    dynamic: bool,
    in_elements: bool,
}

impl Block {
    /// Whether this line holds elements of a dynamic or timed set; nft prints flags and times before them.
    fn drops(&mut self, line: &str) -> bool {
        if let Some(flags) = line.strip_prefix("\t\tflags ") {
            self.dynamic |=
                flags.split(',').any(|flag| matches!(flag.trim(), "dynamic" | "timeout"));
        }
        self.dynamic |= line.starts_with("\t\ttimeout ");
        let elements = self.in_elements || line.starts_with("\t\telements = {");
        self.in_elements = elements && !line.ends_with('}');
        elements && self.dynamic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_elements_of_dynamic_and_timed_sets_are_left_out() {
        let text = "table inet f {\n\tset a {\n\t\ttype ipv4_addr\n\t\telements = { 1.1.1.1,\n\t\t\t     1.1.1.2 }\n\t}\n\n\tset b {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t\telements = { 2.2.2.2,\n\t\t\t     2.2.2.3 comment \"x }\",\n\t\t\t     2.2.2.4 }\n\t}\n\n\tmap c {\n\t\ttype ipv4_addr : verdict\n\t\ttimeout 1h\n\t\telements = { 3.3.3.3 : accept }\n\t}\n\n\tchain d {\n\t\taccept\n\t}\n}\n";
        let expected = "table inet f {\n\tset a {\n\t\ttype ipv4_addr\n\t\telements = { 1.1.1.1,\n\t\t\t     1.1.1.2 }\n\t}\n\n\tset b {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t}\n\n\tmap c {\n\t\ttype ipv4_addr : verdict\n\t\ttimeout 1h\n\t}\n\n\tchain d {\n\t\taccept\n\t}\n}\n";
        assert_eq!(without_dynamic_elements(text), expected.replace('\t', "    "));
    }
}
