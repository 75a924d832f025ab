//! `compliancectl status SITE`.

use compliance_checks::CheckId;
use compliance_protocol::evidence::State;
use compliance_protocol::name::Site;

use crate::api::{SiteSummary, Sites};
use crate::fleet::state_cell;
use crate::output::{Paint, Table, Tone};
use crate::{Context, Error, Verdict};

/// Shows one site. It holds if every check is compliant or declared not applicable, and no evidence is
/// missing.
pub async fn run(context: &Context, site: &Site) -> Result<Verdict, Error> {
    let sites: Sites = context.control_plane()?.get("/api/v1/sites").await?;
    let Some(summary) = sites.sites.into_iter().find(|summary| summary.site == *site) else {
        return Err(Error::Usage(format!(
            "the control plane knows no site {site}: see `compliancectl sites`, or register it"
        )));
    };
    context.output.show(&summary, describe)?;
    Ok(verdict(&summary))
}

fn verdict(summary: &SiteSummary) -> Verdict {
    let fits = |name: &str| {
        let state = summary.states.get(name).map(|state| state.state);
        matches!(state, Some(State::Compliant | State::NotApplicable))
    };
    let whole = summary.gaps.is_empty();
    if whole && CheckId::ALL.iter().all(|check| fits(check.name())) {
        Verdict::Holds
    } else {
        Verdict::Fails
    }
}

fn describe(summary: &SiteSummary, paint: Paint) -> String {
    let mut checks = Table::new(&["check", "state", "reported at"]);
    for check in CheckId::ALL {
        let state = summary.states.get(check.name());
        checks.row(vec![
            (Tone::Strong, check.name().to_owned()),
            state_cell(state.map(|state| state.state)),
            (Tone::Plain, state.map_or_else(|| "-".to_owned(), |state| state.at.to_string())),
        ]);
    }
    let seen = summary.last_seen.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let head = summary
        .evidence_head
        .as_ref()
        .map_or_else(|| "none".to_owned(), |h| h.sequence.to_string());
    format!(
        "{}, epoch {}\n{}  last poll {seen} · {} bundles, newest {head}, {} gaps · {} open orders\n",
        summary.site,
        summary.epoch,
        checks.render(paint),
        summary.bundles,
        summary.gaps.len(),
        summary.open_orders
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(states: &str) -> SiteSummary {
        let text = format!(
            r#"{{"site":"a","epoch":1,"registered_at":"2026-11-20T09:41:11.000Z","last_seen":null,
                "last_head_at":null,"states":{states},"evidence_head":null,"bundles":0,"open_orders":0}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_site_without_data_does_not_hold_and_shows_no_green() {
        let site = site("{}");
        assert_eq!(verdict(&site), Verdict::Fails);
        let text = describe(&site, crate::output::Output::new(false).paint());
        assert_eq!(text.matches("no data").count(), 6, "{text}");
    }

    #[test]
    fn one_check_that_is_unknown_keeps_a_site_from_holding() {
        let all = |state: &str| {
            let one = |check: &CheckId| {
                let state = if check.name() == "logging" { state } else { "compliant" };
                format!(
                    r#""{}":{{"state":"{state}","at":"2026-11-20T09:41:11.000Z","outcome":"success"}}"#,
                    check.name()
                )
            };
            site(&format!("{{{}}}", CheckId::ALL.iter().map(one).collect::<Vec<_>>().join(",")))
        };
        assert_eq!(verdict(&all("compliant")), Verdict::Holds);
        assert_eq!(verdict(&all("not_applicable")), Verdict::Holds);
        assert_eq!(verdict(&all("unknown")), Verdict::Fails);
        assert_eq!(verdict(&all("drifted")), Verdict::Fails);
        let gap = SiteSummary { gaps: vec![serde_json::json!({})], ..all("compliant") };
        assert_eq!(verdict(&gap), Verdict::Fails, "missing evidence");
    }
}
