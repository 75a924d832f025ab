//! Act 7: the evidence leaves the appliance, and others check it.

use std::path::{Path, PathBuf};

use compliance_protocol::evidence::Outcome;
use compliance_protocol::evidence::export::{EVIDENCE_KEY_FILE, Part};

use super::super::failure::Failure;
use super::super::spawn;
use super::super::stage::{Scene, Stage};
use super::super::story::{Proof, Row, Story};
use crate::Verdict;
use crate::verify::{Demands, Keys, verify};

pub(in super::super) async fn play(
    stage: &Stage,
    scene: &Scene,
    story: &mut Story,
) -> Result<(), Failure> {
    let mut step =
        story.step(7, "The evidence is exported, and verified by our verifier and by openssl")?;
    stage.all_receipted(&scene.courier).await?;
    // What the control plane holds now, the export must hold.
    let heads = scene.operator.heads().await?;
    let evidence = stage.dir.evidence();
    let config = stage.dir.executor_config().display().to_string();
    let arguments = ["export", &evidence.display().to_string(), "--config", &config];
    spawn::run_well(&stage.binaries.executor, &arguments, stage.dir.root())?;

    let keys = Keys::new(Vec::new(), Some(scene.trust.clone()), None)?;
    let demands = Demands { heads, pending_ok: false };
    let report = verify(std::slice::from_ref(&evidence), &keys, &demands);
    step.row(Row::claim("compliancectl verify", word(Verdict::Holds), word(report.verdict())));
    step.note(format!("{} bundles, {} receipts verified", report.bundles, report.receipts));
    for head in &demands.heads {
        step.note(format!("demanded: --head {head}"));
    }

    let arguments = openssl_arguments(&evidence, &newest_success(scene).await?);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The user's own openssl, wherever it is installed.
    let ran = spawn::run(Path::new("openssl"), &arguments, stage.dir.root())?;
    let openssl_said = ran.map(|done| format!("{}{}", done.stdout, done.stderr).trim().to_owned());
    match &openssl_said {
        Some(said) => {
            step.row(Row::claim("openssl pkeyutl", "Signature Verified Successfully", said));
        }
        None => step.note("there is no openssl on this machine, so it was not asked"),
    }
    let link = scene.operator.link().await?;
    story.done(step)?;
    story.prove(Proof {
        bundles: report.bundles,
        receipts: report.receipts,
        openssl: std::iter::once("openssl")
            .chain(arguments)
            .map(shell_word)
            .collect::<Vec<_>>()
            .join(" "),
        openssl_said,
        console: link.url,
        config: stage.dir.root().join("compliancectl.toml"),
        evidence,
        heads: demands.heads,
    });
    Ok(())
}

/// The path of the newest bundle that ended in success, within the export.
async fn newest_success(scene: &Scene) -> Result<String, Failure> {
    let held = scene.operator.evidence().await?;
    let newest = held.iter().rev().find(|summary| summary.outcome == Outcome::Success);
    let newest =
        newest.ok_or_else(|| Failure::Unexpected("nothing ended in success".to_owned()))?;
    Ok(scene.operator.bundle(newest).await?.bundle().export_path(Part::Json))
}

fn openssl_arguments(evidence: &Path, bundle: &str) -> Vec<String> {
    let text = |path: PathBuf| path.display().to_string();
    let json = text(evidence.join(bundle));
    let signature = format!("{json}.sig");
    let key = text(evidence.join(EVIDENCE_KEY_FILE));
    ["pkeyutl", "-verify", "-pubin", "-inkey", &key, "-rawin", "-in", &json, "-sigfile", &signature]
        .map(str::to_owned)
        .to_vec()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "it holds",
        Verdict::Fails => "it does not hold",
        Verdict::Unchecked => "it could not all be checked",
    }
}

/// A word as a shell takes it.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=,@".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_is_one_word_of_the_command() {
        assert_eq!(shell_word("/tmp/x-1/a.json"), "/tmp/x-1/a.json");
        assert_eq!(shell_word("/tmp/it's a dir"), r"'/tmp/it'\''s a dir'");
    }
}
