//! What a person at the box can do beside the resident executor, which sees it at its next tick. Each
//! leaves evidence.

use compliance_clock as clock;
use compliance_protocol::clock::{stepped_back, trusted_now};
use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::time::{Span, Timestamp};

use crate::config::Config;
use crate::documents::trust_in_force;
use crate::engine::Random;
use crate::evidence::{Author, Draft, Moment};
use crate::ledger::{Fact, Ledger};
use crate::load::{self, LoadError};

/// Heals nothing until then.
pub fn pause(config: &Config, length: Span, random: Random) -> Result<Timestamp, LoadError> {
    let (mut ledger, author, at, random) = here(config, random)?;
    let high_water: Option<Timestamp> = ledger.fact(Fact::HighWater)?;
    // A clock that starts in the past must not make a pause that is over already.
    let until = high_water.into_iter().fold(at.stamp(), Timestamp::max).plus(length);
    let detail = format!("paused at the box: nothing is healed without an order until {until}");
    let trigger = Trigger::of(TriggerKind::Event);
    let draft = Draft::new(trigger, Outcome::Alert, "paused", detail, at, random);
    ledger.commit(|tx| {
        tx.set_fact(Fact::PauseUntil, &until.to_string())?;
        tx.append(&author, draft)
    })?;
    Ok(until)
}

/// Forgets the latest time ever trusted: for a box whose only source is ahead of it by more than a day,
/// or that once believed a time to come. The next source is believed.
pub fn reset_clock(config: &Config, random: Random) -> Result<Option<Timestamp>, LoadError> {
    let (mut ledger, author, at, random) = here(config, random)?;
    let forgotten: Option<Timestamp> = ledger.fact(Fact::HighWater)?;
    let mark = forgotten.map_or_else(|| "no time".to_owned(), |mark| mark.to_string());
    let detail = format!("reset at the box: {mark} is no longer the latest time ever trusted");
    let trigger = Trigger::of(TriggerKind::Event);
    let draft = Draft::new(trigger, Outcome::Alert, "clock_reset", detail, at, random);
    ledger.commit(|tx| {
        tx.clear_fact(Fact::HighWater)?;
        tx.append(&author, draft)
    })?;
    Ok(forgotten)
}

fn here(
    config: &Config,
    mut random: Random,
) -> Result<(Ledger, Author, Moment, [u8; 10]), LoadError> {
    let ledger = Ledger::join(&config.ledger())?;
    let trust = trust_in_force(load::trust(config)?, &ledger)?;
    let author = load::author(config, load::evidence_key(config)?, &trust)?;
    let mut bytes = [0; 10];
    random(&mut bytes);
    let reading = clock::read();
    let high_water = ledger.fact(Fact::HighWater)?;
    let at = Moment {
        reading,
        now: trusted_now(reading, None, high_water),
        stepped_back: stepped_back(reading, high_water),
    };
    Ok((ledger, author, at, bytes))
}
