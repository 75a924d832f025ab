//! Maintenance windows: when a site lets disruptive things happen.
//!
//! A window is a *civil start in its zone plus an elapsed length*, so a change to or from summer
//! time never shortens, lengthens or skips one. A start that falls in a spring gap moves on by the
//! gap (02:30 becomes 03:30); one that comes twice in autumn means the first.

use jiff::ToSpan as _;
use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::time::{Span, Timestamp};

/// The most windows one site may have.
pub const MAX_WINDOWS: usize = 32;

/// How far ahead [`Windows::state`] follows windows that overlap or touch: 8 days.
pub const MAX_LOOK_AHEAD: Span = Span::from_hours(8 * 24);

/// One window that comes back every week: half-open, the end is outside.
///
/// In TOML `{ days = ["mon", "tue"], start = "02:00", length_min = 120, zone = "Europe/Paris" }`.
/// `days` may be left out, which means every day; it is always written, Monday first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WindowForm", into = "WindowForm")]
pub struct Window {
    days: Vec<Weekday>, // in the order of `DAYS`, never empty
    start: Time,        // whole minutes
    length_min: u16,    // 1..=1440
    zone: TimeZone,     // from the bundled database, so it has a name
}

impl Window {
    /// Parses a window.
    ///
    /// `days` are the days it starts on, `mon` to `sun`; none means every day. `start` is civil
    /// time in `zone`, `HH:MM`. `length_min` is in elapsed minutes, 1 to 1440. `zone` is a name
    /// from the IANA time zone database that this program was built with, in upper or lower case;
    /// the system's own database is never read.
    pub fn new(
        days: &[&str],
        start: &str,
        length_min: u16,
        zone: &str,
    ) -> Result<Self, WindowError> {
        if !(1..=1440).contains(&length_min) {
            return Err(WindowError::Length(length_min.into()));
        }
        Ok(Self {
            days: parse_days(days)?,
            start: parse_start(start)?,
            length_min,
            zone: parse_zone(zone)?,
        })
    }

    /// Start and end of every occurrence that can matter to [`Windows::state`] at `now`.
    fn occurrences(&self, now: jiff::Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = self.zone.to_datetime(now).date();
        // Over a spring change, 24 elapsed hours from 23:30 end on the second day after, and the
        // 8 days of `MAX_LOOK_AHEAD` on the ninth.
        (-2..=9)
            .filter_map(move |n| today.checked_add(n.days()).ok())
            .filter(|date| self.days.contains(&date.weekday()))
            .filter_map(|date| {
                let civil = date.to_datetime(self.start);
                let start = self.zone.to_ambiguous_timestamp(civil).compatible().ok()?;
                let end = start.checked_add(i64::from(self.length_min).minutes()).ok()?;
                let ours = |at: jiff::Timestamp| Timestamp::from_millis(at.as_millisecond());
                Some((ours(start), ours(end)))
            })
    }
}

/// A site's windows, at most [`MAX_WINDOWS`]; they may overlap. None means never open.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Window>", into = "Vec<Window>")]
pub struct Windows(Vec<Window>);

impl Windows {
    /// Takes at most [`MAX_WINDOWS`] windows.
    pub fn new(windows: Vec<Window>) -> Result<Self, WindowError> {
        if windows.len() > MAX_WINDOWS {
            return Err(WindowError::TooMany(windows.len()));
        }
        Ok(Self(windows))
    }

    /// Whether any window is open at `now`.
    ///
    /// Closed, with no next opening, also in the last days of the year 9999, where time zones end.
    pub fn state(&self, now: Timestamp) -> WindowState {
        let Ok(at) = jiff::Timestamp::from_millisecond(now.as_millis()) else {
            return WindowState::Closed { next: None };
        };
        let mut occurrences: Vec<_> = self.0.iter().flat_map(|w| w.occurrences(at)).collect();
        occurrences.sort_unstable();
        let mut until = now; // everything in now..until is open
        let mut next = None;
        for (start, end) in occurrences {
            if start > until {
                next = Some(start);
                break;
            }
            until = until.max(end);
        }
        if until > now {
            WindowState::Open { until: until.min(now.plus(MAX_LOOK_AHEAD)) }
        } else {
            WindowState::Closed { next }
        }
    }
}

/// What the windows say at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowState {
    /// At least one window is open.
    Open {
        /// The first closed instant, over all windows that overlap or touch; when that is further
        /// away than [`MAX_LOOK_AHEAD`], the instant until which it was looked for.
        until: Timestamp,
    },
    /// No window is open.
    Closed {
        /// The next instant at which one opens; none when there is no window.
        next: Option<Timestamp>,
    },
}

/// Why a window or a set of windows is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// An empty list of days.
    #[error(
        "a window without days never opens: leave `days` out for every day, or drop the window"
    )]
    NoDay,
    /// Not one of the seven names.
    #[error("{0:?} is not a day: write mon, tue, wed, thu, fri, sat or sun, in lower case")]
    Day(String),
    /// The same day twice; it was probably meant to be another.
    #[error("a day is named twice in {0:?}: write each day once")]
    DayTwice(Vec<String>),
    /// Not a time of day with two digits each for hour and minute.
    #[error("{0:?} is not a start: write HH:MM, from \"00:00\" to \"23:59\"")]
    Start(String),
    /// Out of range.
    #[error("a window of {0} min is not possible: write a length_min from 1 to 1440 (24 hours)")]
    Length(i64),
    /// Not in the bundled database, or one of its two names for "no zone was set".
    #[error(
        "{0:?} is not a known time zone: write an IANA name such as \"Europe/Paris\" or \"UTC\""
    )]
    Zone(String),
    /// More than [`MAX_WINDOWS`].
    #[error("{0} windows are too many: write at most {MAX_WINDOWS}")]
    TooMany(usize),
}

/// The names of the days in the order in which they are written.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

fn parse_days(names: &[&str]) -> Result<Vec<Weekday>, WindowError> {
    if let Some(other) = names.iter().find(|name| DAYS.iter().all(|(day, _)| day != *name)) {
        return Err(WindowError::Day((*other).to_owned()));
    }
    let meant = DAYS.iter().filter(|(name, _)| names.is_empty() || names.contains(name));
    let days: Vec<_> = meant.map(|(_, day)| *day).collect();
    if names.len() > days.len() {
        return Err(WindowError::DayTwice(names.iter().map(|&name| name.to_owned()).collect()));
    }
    Ok(days)
}

fn parse_start(text: &str) -> Result<Time, WindowError> {
    // One spelling only: jiff also reads "02", "T02:00" and "02:00:00".
    let start = text.parse().ok().filter(|start| write_start(*start) == text);
    start.ok_or_else(|| WindowError::Start(text.to_owned()))
}

fn write_start(start: Time) -> String {
    format!("{:02}:{:02}", start.hour(), start.minute())
}

fn parse_zone(name: &str) -> Result<TimeZone, WindowError> {
    // jiff reads "Etc/Unknown" as a zone without a name, and the database has "Factory": both stand
    // for "not set" and behave as UTC, which nobody means.
    let is_set = |zone: &TimeZone| zone.iana_name().is_some_and(|name| name != "Factory");
    let zone = TimeZoneDatabase::bundled().get(name).ok().filter(is_set);
    zone.ok_or_else(|| WindowError::Zone(name.to_owned()))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowForm {
    #[serde(default = "every_day")]
    days: Vec<String>,
    start: String,
    length_min: i64, // wider than the range, so that what is outside gets our sentence, not serde's
    zone: String,
}

fn every_day() -> Vec<String> {
    DAYS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

impl TryFrom<WindowForm> for Window {
    type Error = WindowError;

    fn try_from(form: WindowForm) -> Result<Self, WindowError> {
        // Somebody who empties the list means to close the window, not to open it daily.
        if form.days.is_empty() {
            return Err(WindowError::NoDay);
        }
        let days: Vec<_> = form.days.iter().map(String::as_str).collect();
        let length =
            form.length_min.try_into().map_err(|_| WindowError::Length(form.length_min))?;
        Self::new(&days, &form.start, length, &form.zone)
    }
}

impl From<Window> for WindowForm {
    fn from(window: Window) -> Self {
        let named = DAYS.iter().filter(|(_, day)| window.days.contains(day));
        Self {
            days: named.map(|(name, _)| (*name).to_owned()).collect(),
            start: write_start(window.start),
            length_min: window.length_min.into(),
            zone: window.zone.iana_name().unwrap_or_default().to_owned(),
        }
    }
}

impl TryFrom<Vec<Window>> for Windows {
    type Error = WindowError;

    fn try_from(windows: Vec<Window>) -> Result<Self, WindowError> {
        Self::new(windows)
    }
}

impl From<Windows> for Vec<Window> {
    fn from(windows: Windows) -> Self {
        windows.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1440 * MINUTE;

    fn window(days: &[&str], start: &str, length_min: u16, zone: &str) -> Window {
        Window::new(days, start, length_min, zone).unwrap()
    }

    fn only(days: &[&str], start: &str, length_min: u16, zone: &str) -> Windows {
        Windows::new(vec![window(days, start, length_min, zone)]).unwrap()
    }

    /// `2026-03-29T01:30` in UTC.
    fn at(minute: &str) -> Timestamp {
        format!("{minute}:00.000Z").parse().unwrap()
    }

    fn just_before(at: Timestamp) -> Timestamp {
        at.plus(Span::from_millis(-1))
    }

    /// Claims that one stretch is open from `start` to `end`, and nothing just before and after.
    fn assert_open(windows: &Windows, start: &str, end: &str) {
        let (start, until) = (at(start), at(end));
        let opens = WindowState::Closed { next: Some(start) };
        assert_eq!(windows.state(just_before(start)), opens);
        assert_eq!(windows.state(start), WindowState::Open { until });
        assert_eq!(windows.state(just_before(until)), WindowState::Open { until });
        assert!(matches!(windows.state(until), WindowState::Closed { .. }), "{until}");
    }

    #[test]
    fn a_start_in_a_spring_gap_moves_on_by_the_gap_and_keeps_its_length() {
        let paris = only(&[], "02:30", 60, "Europe/Paris");
        assert_open(&paris, "2026-03-28T01:30", "2026-03-28T02:30");
        assert_open(&paris, "2026-03-29T01:30", "2026-03-29T02:30"); // 03:30 to 04:30
        assert_open(&paris, "2026-03-30T00:30", "2026-03-30T01:30");
        let new_york = only(&["sun"], "02:30", 60, "America/New_York");
        assert_open(&new_york, "2026-03-08T07:30", "2026-03-08T08:30"); // 03:30 to 04:30
    }

    #[test]
    fn a_start_that_comes_twice_in_autumn_is_the_first_and_keeps_its_length() {
        let paris = only(&[], "02:30", 60, "Europe/Paris");
        assert_open(&paris, "2026-10-25T00:30", "2026-10-25T01:30"); // 02:30 to the second 02:30
        assert_open(&paris, "2026-10-26T01:30", "2026-10-26T02:30");
        let new_york = only(&["sun"], "01:30", 60, "America/New_York");
        assert_open(&new_york, "2026-11-01T05:30", "2026-11-01T06:30"); // 01:30 to the second 01:30
    }

    #[test]
    fn a_change_inside_a_window_does_not_change_its_length() {
        let paris = only(&["sun"], "01:00", 180, "Europe/Paris");
        assert_open(&paris, "2026-03-29T00:00", "2026-03-29T03:00"); // 01:00 to 05:00
        assert_open(&paris, "2026-10-24T23:00", "2026-10-25T02:00"); // 01:00 to 03:00
    }

    #[test]
    fn a_day_that_a_zone_left_out_does_not_lose_its_window() {
        // Samoa had no Friday 2011-12-30: it went from -10:00 to +14:00.
        let apia = only(&["fri"], "02:00", 1440, "Pacific/Apia");
        assert_open(&apia, "2011-12-30T12:00", "2011-12-31T12:00");
    }

    #[test]
    fn a_window_runs_over_midnight_and_from_sunday_to_monday() {
        let night = only(&["tue"], "23:00", 120, "UTC");
        assert_open(&night, "2026-11-17T23:00", "2026-11-18T01:00");
        let week_end = only(&["sun"], "22:00", 360, "Europe/Paris");
        assert_open(&week_end, "2026-11-22T21:00", "2026-11-23T03:00");
    }

    #[test]
    fn a_full_day_can_end_on_the_second_day_after() {
        let paris = only(&["sat"], "23:30", 1440, "Europe/Paris");
        assert_open(&paris, "2026-03-28T22:30", "2026-03-29T22:30"); // Saturday to Monday 00:30
    }

    #[test]
    fn full_days_touch_except_on_the_day_of_25_hours() {
        let paris = only(&[], "00:00", 1440, "Europe/Paris");
        for now in [at("2026-06-10T12:00"), at("2026-03-22T22:30")] {
            let until = now.plus(MAX_LOOK_AHEAD); // the second: the ninth day, 00:30
            assert_eq!(paris.state(now), WindowState::Open { until });
        }
        let autumn = WindowState::Open { until: at("2026-10-25T22:00") };
        assert_eq!(paris.state(at("2026-10-20T12:00")), autumn);
        let next = WindowState::Closed { next: Some(at("2026-10-25T23:00")) };
        assert_eq!(paris.state(at("2026-10-25T22:00")), next);
    }

    #[test]
    fn windows_that_overlap_or_touch_are_one_and_a_minute_between_parts_them() {
        let night = |third: &str| {
            Windows::new(vec![
                window(&["wed"], third, 60, "UTC"),
                window(&["wed"], "02:00", 120, "UTC"),
                window(&["wed"], "02:15", 5, "UTC"), // within another
                window(&["wed"], "02:00", 60, "Europe/Paris"), // 01:00 to 02:00 in UTC
            ])
            .unwrap()
        };
        assert_open(&night("03:30"), "2026-11-18T01:00", "2026-11-18T04:30");
        assert_open(&night("04:00"), "2026-11-18T01:00", "2026-11-18T05:00");
        assert_open(&night("04:01"), "2026-11-18T01:00", "2026-11-18T04:00");
    }

    #[test]
    fn without_windows_it_is_never_open() {
        let never = WindowState::Closed { next: None };
        assert_eq!(Windows::default().state(at("2026-11-18T02:00")), never);
        assert_eq!(serde_json::from_str::<Windows>("[]").unwrap(), Windows::default());
    }

    #[test]
    fn the_ends_of_time_are_closed_and_do_not_panic() {
        let always = only(&[], "00:00", 1440, "UTC");
        let end = always.state(Timestamp::from_millis(i64::MAX));
        assert_eq!(end, WindowState::Closed { next: None });
        for day in 0..12 {
            always.state(Timestamp::from_millis(253_402_300_799_999 - day * DAY));
            always.state(Timestamp::from_millis(-62_167_219_200_000 + day * DAY));
        }
    }

    #[test]
    fn a_window_is_written_in_one_form() {
        let read: Window = toml::from_str(
            "days = ['sun', 'mon']\nstart = '02:00'\nlength_min = 120\nzone = 'europe/PARIS'",
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&read).unwrap(),
            r#"{"days":["mon","sun"],"start":"02:00","length_min":120,"zone":"Europe/Paris"}"#
        );
        let all = ["sun", "sat", "fri", "thu", "wed", "tue", "mon"];
        assert_eq!(window(&[], "00:00", 1, "utc"), window(&all, "00:00", 1, "UTC"));
        let every = toml::to_string(&window(&[], "23:59", 1, "UTC")).unwrap();
        assert!(every.starts_with(r#"days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]"#));
    }

    #[test]
    fn every_other_spelling_is_refused_with_what_to_write_instead() {
        let refused = |key: &str, bad: &str, sentence: &str| {
            let mut form = serde_json::to_value(window(&[], "02:00", 60, "UTC")).unwrap();
            match bad {
                "nothing" => form.as_object_mut().unwrap().remove(key),
                bad => form.as_object_mut().unwrap().insert(key.into(), bad.parse().unwrap()),
            };
            let error = serde_json::from_value::<Window>(form).unwrap_err().to_string();
            assert!(error.contains(sentence), "{key} = {bad}: {error}");
        };
        for bad in "Mon|monday||mon |1|lun".split('|') {
            refused("days", &format!("[{bad:?}]"), "write mon, tue, wed, thu, fri, sat or sun");
        }
        refused("days", r#"["mon","tue","mon"]"#, "write each day once");
        let starts = "2:00|02|0200|T02:00|02:00:00|02:00:30|02:00.5|24:00|23:60|2am|| 02:00|02:00 |\
                      -1:00|02:00Z|02.00|2026-11-20T02:00|٠٢:٠٠";
        for bad in starts.split('|') {
            refused("start", &format!("{bad:?}"), "write HH:MM");
        }
        for bad in "0|-1|1441|65536|65596|9223372036854775807".split('|') {
            refused("length_min", bad, "write a length_min from 1 to 1440");
        }
        for bad in "|Paris|CEST|+02:00|UTC+2|UTC |Etc/Unknown|factory|/etc/localtime".split('|') {
            refused("zone", &format!("{bad:?}"), "write an IANA name");
        }
        for bad in [r#""60""#, "60.5", "null"] {
            refused("length_min", bad, "expected i64");
        }
        refused("days", "null", "expected a sequence");
        refused("lenght_min", "60", "unknown field");
        for key in ["start", "length_min", "zone"] {
            refused(key, "nothing", "missing field");
        }
    }

    #[test]
    fn a_site_has_at_most_32_windows() {
        let some = |n| vec![window(&[], "02:00", 60, "UTC"); n];
        assert!(Windows::new(some(MAX_WINDOWS)).is_ok());
        assert_eq!(Windows::new(some(33)), Err(WindowError::TooMany(33)));
        let json = serde_json::to_string(&some(33)).unwrap();
        let error = serde_json::from_str::<Windows>(&json).unwrap_err().to_string();
        assert!(error.contains("write at most 32"), "{error}");
    }

    /// Zones that change by 60, 30 and 120 minutes, at odd offsets, for Ramadan, and not at all.
    const ZONES: &str = "Europe/Paris America/New_York Australia/Lord_Howe Antarctica/Troll \
                         Pacific/Chatham Africa/Casablanca Asia/Kolkata UTC";

    prop_compose! {
        fn any_window(longest: u16)(
            days in proptest::sample::subsequence(DAYS.map(|(name, _)| name).to_vec(), 0..=7),
            (hour, minute) in (0..24, 0..60),
            length_min in 1..=longest,
            zone in proptest::sample::select(ZONES.split(' ').collect::<Vec<_>>()),
        ) -> Window {
            window(&days, &format!("{hour:02}:{minute:02}"), length_min, zone)
        }
    }

    fn any_windows() -> impl Strategy<Value = Windows> {
        let short = prop::collection::vec(any_window(180), 0..5);
        let long = prop::collection::vec(any_window(1440), 0..5);
        prop_oneof![short, long].prop_map(|all| Windows::new(all).unwrap())
    }

    /// Any millisecond of 2020 to 2037, or one within two days of a change of the clocks of 2026.
    fn any_now() -> impl Strategy<Value = Timestamp> {
        let near = |change: &str| {
            let change = at(change).as_millis();
            change - 2 * DAY..change + 2 * DAY
        };
        let ms = prop_oneof![
            near("2026-03-08T07:00"), // New York
            near("2026-03-29T01:00"), // Paris and Troll
            near("2026-10-25T01:00"),
            at("2020-01-01T00:00").as_millis()..at("2038-01-01T00:00").as_millis(),
        ];
        ms.prop_map(Timestamp::from_millis)
    }

    /// The model: which minutes are open, from `first` on, for 16 days. Asks jiff for offsets only.
    ///
    /// Goes through half hours (all changes in [`ZONES`] are at such), and through the civil
    /// minutes that each is the first to pass; those that a gap leaves out count on from its end.
    fn open_minutes(windows: &Windows, first: i64) -> Vec<bool> {
        let mut open = vec![false; 16 * 1440];
        for window in &windows.0 {
            let time = i64::from(window.start.hour()) * 60 + i64::from(window.start.minute());
            let mut passed = i64::MIN;
            for minute in (first..first + 16 * 1440).step_by(30) {
                let instant = jiff::Timestamp::from_second(minute * 60).unwrap();
                let civil = minute + i64::from(window.zone.to_offset(instant).seconds()) / 60;
                passed = if passed == i64::MIN { civil } else { passed };
                for wanted in passed..civil + 30 {
                    // 1970-01-01 was a Thursday.
                    let weekday = (wanted.div_euclid(1440) + 3).rem_euclid(7);
                    let day = DAYS[usize::try_from(weekday).unwrap()].1;
                    if wanted.rem_euclid(1440) == time && window.days.contains(&day) {
                        let after = wanted - if wanted < civil { passed } else { civil };
                        let start = usize::try_from(minute - first + after).unwrap();
                        let length = usize::from(window.length_min);
                        open.iter_mut().skip(start).take(length).for_each(|open| *open = true);
                    }
                }
                passed = passed.max(civil + 30);
            }
        }
        open
    }

    proptest! {
        #[test]
        fn the_state_is_what_counting_minutes_says(
            windows in any_windows(), now in any_now(), part in 0..1000_i64,
        ) {
            let first = now.as_millis().div_euclid(30 * MINUTE) * 30 - 4 * 1440;
            let open = open_minutes(&windows, first);
            let index = usize::try_from(now.as_millis().div_euclid(MINUTE) - first).unwrap();
            let change = (index..open.len()).find(|i| open[*i] != open[index])
                .map(|i| Timestamp::from_millis((first + i64::try_from(i).unwrap()) * MINUTE));
            let limit = now.plus(MAX_LOOK_AHEAD);
            let expected = if open[index] {
                WindowState::Open { until: change.map_or(limit, |until| until.min(limit)) }
            } else {
                WindowState::Closed { next: change }
            };
            prop_assert_eq!(windows.state(now), expected);
            // And what it says holds at any instant in between, and ends when it says.
            let Some(change) = change.filter(|change| *change < limit) else { return Ok(()) };
            let part = change.since(now).as_millis() * part / 1000;
            let some = now.plus(Span::from_millis(part));
            prop_assert_eq!(windows.state(some), expected);
            prop_assert_eq!(windows.state(just_before(change)), expected);
            let opens = matches!(windows.state(change), WindowState::Open { .. });
            prop_assert_eq!(opens, !open[index]);
        }

        #[test]
        fn a_set_of_windows_reads_back_as_it_was_written(windows in any_windows()) {
            let json = serde_json::to_string(&windows).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Windows>(&json).unwrap(), &windows);
            let file = BTreeMap::from([("windows", &windows)]);
            let file = toml::to_string(&file).unwrap();
            let back: BTreeMap<String, Windows> = toml::from_str(&file).unwrap();
            prop_assert_eq!(&back["windows"], &windows);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn through_a_year_no_window_is_skipped_shortened_or_lengthened(
            window in any_window(1200), year in 2020_i16..2037, // 1200: never touches its next
        ) {
            let windows = Windows::new(vec![window.clone()]).unwrap();
            let length = Span::from_millis(i64::from(window.length_min) * MINUTE);
            let mut now = at(&format!("{}-12-29T00:00", year - 1));
            let mut started = Vec::new();
            loop {
                let start = match windows.state(now) {
                    WindowState::Closed { next } => next.unwrap(),
                    WindowState::Open { until } => {
                        prop_assert!(until > now);
                        now = until;
                        continue;
                    }
                };
                now = start.plus(length);
                prop_assert_eq!(windows.state(start), WindowState::Open { until: now });
                let instant = jiff::Timestamp::from_millisecond(start.as_millis()).unwrap();
                let date = window.zone.to_datetime(instant).date();
                if date.year() > year { break }
                if date.year() == year { started.push(date) }
            }
            let dates = jiff::civil::date(year, 1, 1).series(1.day());
            let dates = dates.take_while(|date| date.year() == year);
            let listed: Vec<_> = dates.filter(|d| window.days.contains(&d.weekday())).collect();
            prop_assert_eq!(started, listed);
        }
    }
}
