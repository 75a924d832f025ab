//! Spans on the command line: `90s`, `15m`, `1h30m`, `14d`.

use compliance_protocol::time::Span;

/// Reads a span: whole numbers with the units `d`, `h`, `m`, `s`, each at most once and in this order.
pub fn parse(text: &str) -> Result<Span, String> {
    let refused = || format!("{text:?} is not a span of time: write 90s, 15m, 1h30m or 14d");
    let (mut rest, mut total, mut found) = (text, 0_i64, false);
    for (unit, seconds) in [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(seconds));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(refused)?;
        (rest, found) = (after, true);
    }
    if found && rest.is_empty() && total > 0 { Ok(Span::from_secs(total)) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("1h30m", 5400), ("14d", 1_209_600), ("1d1h1m1s", 90_061)]
        {
            assert_eq!(parse(text), Ok(Span::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_span_is_refused() {
        for bad in
            ["", "15", "m", "-1m", "1.5h", "1m1h", "1m1m", "0s", " 1m", "1w", "99999999999999999d"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
