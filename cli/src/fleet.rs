//! `compliancectl fleet`: every site, every check.

use compliance_checks::CheckId;
use compliance_protocol::evidence::State;

use crate::api::{SiteSummary, Sites};
use crate::output::{Table, Tone};
use crate::{Context, Error, Verdict};

/// Shows every site with the state of each check.
pub async fn run(context: &Context) -> Result<Verdict, Error> {
    let sites: Sites = context.control_plane()?.get("/api/v1/sites").await?;
    context.output.show(&sites, |sites, paint| {
        let names = CheckId::ALL.iter().map(|check| check.name());
        let heads: Vec<_> =
            ["site"].into_iter().chain(names).chain(["last poll", "open orders", "gaps"]).collect();
        let mut table = Table::new(&heads);
        for site in &sites.sites {
            table.row(row(site));
        }
        table.render(paint)
    })?;
    Ok(Verdict::Holds)
}

fn row(site: &SiteSummary) -> Vec<(Tone, String)> {
    let mut cells = vec![(Tone::Strong, site.site.to_string())];
    cells.extend(
        CheckId::ALL
            .iter()
            .map(|check| state_cell(site.states.get(check.name()).map(|state| state.state))),
    );
    cells.push(
        site.last_seen
            .map_or_else(|| (Tone::Open, "never".to_owned()), |at| (Tone::Plain, at.to_string())),
    );
    cells.push((Tone::Plain, site.open_orders.to_string()));
    let gaps = if site.gaps.is_empty() { Tone::Plain } else { Tone::Bad };
    cells.push((gaps, site.gaps.len().to_string()));
    cells
}

/// A state as a table shows it. No data is not green.
pub fn state_cell(state: Option<State>) -> (Tone, String) {
    let (tone, text) = match state {
        Some(State::Compliant) => (Tone::Good, "compliant"),
        Some(State::Drifted) => (Tone::Bad, "drifted"),
        Some(State::Unknown) => (Tone::Open, "unknown"),
        Some(State::NotApplicable) => (Tone::Quiet, "not applicable"),
        None => (Tone::Open, "no data"),
    };
    (tone, text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_compliant_is_green() {
        let states = [
            Some(State::Compliant),
            Some(State::Drifted),
            Some(State::Unknown),
            Some(State::NotApplicable),
            None,
        ];
        let green: Vec<_> = states.into_iter().filter(|s| state_cell(*s).0 == Tone::Good).collect();
        assert_eq!(green, [Some(State::Compliant)]);
    }
}
