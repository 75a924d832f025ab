//! The baseline's ruleset: loaded in one transaction, after the one that was there was put on disk.

use std::path::PathBuf;

use compliance_checks::firewall::{self, FirewallBaseline};
use compliance_daemon::files;

use super::Tools;
use super::steps::Run;
use super::units;

/// The steps of loading.
pub(super) const LOAD: [&str; 4] = ["keep_ruleset", "check_undo", "check_ruleset", "load_ruleset"];

/// What follows where a unit fills the ruleset's sets.
const FILL: &str = "fill_sets";

/// The step of going back.
pub(super) const UNDO: [&str; 1] = ["undo_ruleset"];

/// The largest ruleset that is kept, in bytes.
const MAX_RULESET: usize = 16 * 1024 * 1024;

/// Loads the ruleset of `expected`.
pub(super) fn load(
    run: &mut Run<'_>,
    tools: &Tools,
    expected: &FirewallBaseline,
) -> Result<(), String> {
    let [keep, check_undo, check, load] = LOAD;
    let before = nft(run, keep, &["-s", "list", "ruleset"], Vec::new())?;
    let before = text(before)?;
    let path = kept(tools);
    files::replace(&path, before.as_bytes(), 0o600).map_err(|error| {
        format!("the ruleset of before cannot be kept: {}: {error}", path.display())
    })?;
    // What could not be taken back is not begun.
    let undo = firewall::undo_script(expected, &before).map_err(|error| error.to_string())?;
    nft(run, check_undo, &["-c", "-f", "-"], undo.into_bytes())?;
    let script = firewall::load_script(expected, &before).map_err(|error| error.to_string())?;
    nft(run, check, &["-c", "-f", "-"], script.clone().into_bytes())?;
    nft(run, load, &["-f", "-"], script.into_bytes())?;
    if let Some(unit) = &tools.fills_sets {
        // Whether it can or not, the ruleset is loaded; by itself it would come later.
        units::begin(run, tools, FILL, unit);
    }
    Ok(())
}

/// Puts back what [`load`] replaced.
pub(super) fn undo(
    run: &mut Run<'_>,
    tools: &Tools,
    expected: &FirewallBaseline,
) -> Result<(), String> {
    let [undo] = UNDO;
    let path = kept(tools);
    let before = files::read_text(&path, MAX_RULESET).map_err(|error| {
        format!("the ruleset of before cannot be read: {}: {error}", path.display())
    })?;
    let script = firewall::undo_script(expected, &before).map_err(|error| error.to_string())?;
    nft(run, undo, &["-f", "-"], script.into_bytes()).map(drop)
}

fn nft(
    run: &mut Run<'_>,
    name: &str,
    arguments: &[&str],
    input: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let command = firewall::nft_command(run.host(), arguments, input);
    run.step(name, firewall::RULESET, command.map_err(|error| error.to_string()))
}

fn text(listing: Vec<u8>) -> Result<String, String> {
    String::from_utf8(listing).map_err(|_| "nft's listing is not UTF-8".to_owned())
}

/// Where the ruleset of before is kept.
fn kept(tools: &Tools) -> PathBuf {
    tools.undo_dir.join("firewall-before.nft")
}
