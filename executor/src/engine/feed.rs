//! Tickets, feed heads, and the orders that come with them.

use std::collections::BTreeSet;

use compliance_protocol::bytes::Bytes;
use compliance_protocol::clock::HeadMark;
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Envelope;
use compliance_protocol::evidence::{Finding, Outcome, Trigger, TriggerKind};
use compliance_protocol::feed::{
    FeedHead, LogState, MAX_OPEN, Nonce, OpenOrder, TICKET_LIFE, Ticket,
};
use compliance_protocol::local::Answer;
use compliance_protocol::order::Refusal;
use compliance_protocol::time::Timestamp;

use super::{Engine, Outstanding};
use crate::admit::{self, Place, Rejection};
use crate::evidence::Moment;
use crate::ledger::{Fact, LedgerError, Source};

/// So many an hour are recorded one by one from each source; then their number.
const MAX_NOTICES: u64 = 10;

/// Something that is put into evidence once for its digest, and with others a few times an hour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notice<'a> {
    source: Source,
    reason: &'a str,
    detail: &'a str,
    digest: Digest,
    outcome: Outcome,
}

impl<'a> Notice<'a> {
    /// An alert about what the agent handed over.
    pub(super) fn handed(reason: &'a str, detail: &'a str, digest: Digest) -> Self {
        Self { source: Source::Handed, reason, detail, digest, outcome: Outcome::Alert }
    }

    /// An alert about what a verified head shows.
    pub(super) fn head(reason: &'a str, detail: &'a str, digest: Digest) -> Self {
        Self { source: Source::Head, ..Self::handed(reason, detail, digest) }
    }
}

impl Engine {
    /// Gives a ticket for one poll; the one before is worth nothing any more.
    pub(super) fn give_ticket(&mut self, moment: Moment) -> Result<Answer, LedgerError> {
        let mut nonce = [0; 16];
        (self.random)(&mut nonce);
        let nonce = Nonce::from_random(nonce);
        self.ticket = Some(Outstanding { nonce, given: moment.reading.boottime });
        self.note_ticket(moment);
        // When nobody knows the time, the latest one ever trusted is nearer to it than a clock that may
        // say any year.
        let wall = moment.reading.wall;
        let time = moment.now.at().or(self.high_water).unwrap_or(wall);
        let time = self.high_water.into_iter().fold(time, Timestamp::max);
        Ok(Answer::Ticket {
            ticket: Ticket {
                nonce,
                after: self.ledger.last_sequence(self.trust.epoch)?,
                log_size: self.log_size()?,
                pending: self.ledger.pending_count()?,
                time,
            },
        })
    }

    /// Takes a head if it verifies and answers the outstanding ticket, and then the orders. Where it says
    /// that the evidence log stands; nothing if it is not taken.
    pub(super) fn take_feed(
        &mut self,
        head: &[u8],
        orders: &[Bytes],
        moment: Moment,
    ) -> Result<Option<LogState>, LedgerError> {
        let head = match self.verify_head(head, moment) {
            Ok(head) => head,
            Err(detail) => {
                tracing::warn!(detail, "the feed head is refused");
                let digest = Digest::of(head);
                self.notice(Notice::handed("feed_refused", &detail, digest), moment)?;
                return Ok(None);
            }
        };
        // The head tells the time from here on, unless it shows that the ledger was set back.
        self.notice_rollback(head.evidence_head.as_ref(), self.moment(moment.reading))?;
        let moment = self.moment(moment.reading);
        if let Some(mark) = self.head {
            self.activation_hears(mark.ticket_boottime, moment)?;
        }
        self.settle_doubt(moment)?;
        self.withdraw_unlisted(&head, moment)?;
        self.report_gaps(&head, moment)?;
        self.take_orders(&head, orders.iter().take(MAX_OPEN), moment)?;
        self.consider_orders(moment)?;
        Ok(Some(head.log))
    }

    fn verify_head(&mut self, bytes: &[u8], moment: Moment) -> Result<FeedHead, String> {
        let envelope = Envelope::parse(bytes).map_err(|error| error.to_string())?;
        let verified =
            envelope.open::<FeedHead>(&self.trust.roles.feed).map_err(|error| error.to_string())?;
        let head = verified.into_value();
        let ours = (&head.tenant, &head.site, head.epoch)
            == (&self.trust.tenant, &self.trust.site, self.trust.epoch);
        if !ours {
            return Err("the feed head is for another appliance".to_owned());
        }
        let ascending =
            head.open.iter().zip(head.open.iter().skip(1)).all(|(a, b)| a.sequence < b.sequence);
        if !ascending || head.open.len() > MAX_OPEN {
            return Err("the feed head's list is not in ascending order, or too long".to_owned());
        }
        let Some(ticket) = &self.ticket else {
            return Err("no ticket is outstanding for the feed head".to_owned());
        };
        let age = moment.reading.boottime.as_millis() - ticket.given.as_millis();
        if head.nonce != ticket.nonce || age > TICKET_LIFE.as_millis() {
            return Err("the feed head does not answer the outstanding ticket".to_owned());
        }
        self.head = Some(HeadMark { issued_at: head.issued_at, ticket_boottime: ticket.given });
        self.note_head(ticket.given);
        self.ticket = None;
        Ok(head)
    }

    fn take_orders<'a>(
        &mut self,
        head: &FeedHead,
        orders: impl Iterator<Item = &'a Bytes>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let mut ours = Vec::new();
        let mut handed = BTreeSet::new();
        for bytes in orders {
            // A refusal's digest is the payload's only where the signature held: an envelope that was
            // garbled on the way is one that did not come.
            match admit::identify(bytes.as_slice(), &self.trust) {
                Ok(order) => {
                    handed.insert(order.payload_sha256());
                    ours.push(order);
                }
                Err(rejection) => {
                    handed.insert(rejection.digest);
                    self.reject(&rejection, moment)?;
                }
            }
        }
        if let Some(withheld) = self.withheld(head, &handed)? {
            let detail = format!(
                "the feed head lists order {withheld}, and it was not handed over: none after it is taken"
            );
            let digest = Digest::of(format!("withheld {withheld}").as_bytes());
            self.notice(Notice::handed("incomplete_handover", &detail, digest), moment)?;
            ours.clear();
        }
        ours.sort_by_key(|order| order.header().sequence);
        for order in ours {
            let place = admit::place(&order, &self.ledger.seen(self.trust.epoch)?)?;
            match place {
                Place::Known => {}
                Place::Refused(rejection) => self.reject(&rejection, moment)?,
                Place::Free if order.header().sequence > head.highest_sequence => {
                    let rejection = Rejection {
                        refusal: Refusal::NotListed,
                        digest: order.payload_sha256(),
                        detail: "the feed head is older than the order".to_owned(),
                    };
                    self.reject(&rejection, moment)?;
                }
                Place::Free => self.consume(&order, head, moment)?,
            }
        }
        Ok(())
    }

    /// The lowest order that the head lists as open, that is not consumed, and that was not handed over
    /// although a higher one was.
    fn withheld(
        &self,
        head: &FeedHead,
        handed: &BTreeSet<Digest>,
    ) -> Result<Option<u64>, LedgerError> {
        let last = self.ledger.last_sequence(self.trust.epoch)?;
        let wanted: Vec<_> = head.open.iter().filter(|open| open.sequence > last).collect();
        let brought = |open: &&&OpenOrder| handed.contains(&open.payload_sha256);
        let highest = wanted.iter().rev().find(brought).map(|open| open.sequence);
        let missing = wanted.iter().find(|open| !brought(open)).map(|open| open.sequence);
        Ok(missing.filter(|missing| highest.is_some_and(|highest| *missing < highest)))
    }

    /// Reports the sequences that were issued, that the head does not list, and that were never seen here.
    fn report_gaps(&mut self, head: &FeedHead, moment: Moment) -> Result<(), LedgerError> {
        let mut next = self.ledger.last_sequence(self.trust.epoch)?.saturating_add(1);
        let mut gaps = Vec::new();
        let listed =
            head.open.iter().map(|open| open.sequence).filter(|sequence| *sequence >= next);
        for sequence in listed.chain([head.highest_sequence.saturating_add(1)]).collect::<Vec<_>>()
        {
            if sequence > next {
                gaps.push((next, sequence - 1));
            }
            next = next.max(sequence.saturating_add(1));
        }
        for (from, to) in gaps {
            let digest = Digest::of(format!("gap {} {from} {to}", self.trust.epoch).as_bytes());
            let detail =
                format!("orders {from} to {to} were issued, and the feed head does not list them");
            self.notice(Notice::head("order_gap", &detail, digest), moment)?;
        }
        Ok(())
    }

    fn reject(&mut self, rejection: &Rejection, moment: Moment) -> Result<(), LedgerError> {
        let Rejection { refusal, digest, detail } = rejection;
        let notice = Notice::handed(refusal.code(), detail, *digest);
        self.notice(Notice { outcome: Outcome::Rejected, ..notice }, moment)
    }

    /// Records what consumes nothing: the same once, and a few an hour; beyond that they are counted.
    pub(super) fn notice(&mut self, notice: Notice<'_>, moment: Moment) -> Result<(), LedgerError> {
        let Notice { source, reason, detail, digest, outcome } = notice;
        let now = self.limits_now(moment);
        if self.ledger.is_recorded(digest)? {
            return Ok(());
        }
        if self.ledger.recorded(source, now)? >= MAX_NOTICES {
            let suppressed: u64 = self.ledger.fact(Fact::Suppressed)?.unwrap_or(0);
            return self.record(moment, |tx, _| {
                tx.set_fact(Fact::Suppressed, &(suppressed + 1).to_string())
            });
        }
        let mut trigger = Trigger::of(TriggerKind::Order);
        if outcome == Outcome::Rejected {
            trigger.order_sha256 = Some(digest);
        }
        let draft = self.draft(trigger, outcome, reason, detail, moment);
        self.record(moment, |tx, author| {
            tx.count_refusal(digest, source, now)?;
            tx.append(author, draft)
        })
    }

    /// Once the hour has room again, how many refusals were only counted.
    pub(super) fn report_suppressed(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let Some(count) = self.ledger.fact::<u64>(Fact::Suppressed)? else { return Ok(()) };
        for source in Source::ALL {
            if self.ledger.recorded(source, self.limits_now(moment))? >= MAX_NOTICES {
                return Ok(());
            }
        }
        let detail = format!("{count} more refusals within an hour were not recorded one by one");
        let finding = Finding {
            subject: "refusals".to_owned(),
            expected: format!("at most {MAX_NOTICES} an hour"),
            actual: format!("{count} more"),
        };
        let trigger = Trigger::of(TriggerKind::Event);
        let draft = self
            .draft(trigger, Outcome::Alert, "rejections_suppressed", detail, moment)
            .findings(vec![finding]);
        self.record(moment, |tx, author| {
            tx.clear_fact(Fact::Suppressed)?;
            tx.append(author, draft)
        })
    }

    /// The refusal of a consumed order, by code.
    pub(super) fn outcome_of(refusal: Refusal) -> Outcome {
        if refusal == Refusal::Expired { Outcome::Expired } else { Outcome::Rejected }
    }
}
