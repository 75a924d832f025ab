//! The carrier: reads events, publishes them, and then acknowledges them, until it is told to stop.

use std::pin::{Pin, pin};

use compliance_daemon::systemd;
use compliance_transport::IdentityError;

use crate::backoff::Backoff;
use crate::broker::{Broker, BrokerError};
use crate::config::Config;
use crate::control_plane::{ControlPlane, ControlPlaneError};

/// Why events wait.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The control plane's side.
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    /// The broker's side.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// It does not keep what it is told, or its database is an older one.
    #[error(
        "the control plane gives event {again} again, after {through} was acknowledged; was its database restored?"
    )]
    Again {
        /// The event that came again.
        again: u64,
        /// The last that was acknowledged.
        through: u64,
    },
}

/// Carries until `stop` is over. What is being published then is finished first. Only what is wrong with our own
/// certificate ends it before; all else is tried again.
pub async fn run(config: &Config, stop: impl Future<Output = ()>) -> Result<(), IdentityError> {
    let control_plane = ControlPlane::new(config)?;
    let backoff = Backoff::default();
    let mut carrier = Carrier { config, control_plane, backoff, told: None, told_of_end: false };
    let mut stop = pin!(stop);
    systemd::ready();
    loop {
        let Err(error) = carrier.session(stop.as_mut()).await else { break };
        carrier.complain(&error);
        tokio::select! {
            () = tokio::time::sleep(carrier.backoff.after_failure()) => {}
            () = stop.as_mut() => break,
        }
    }
    systemd::stopping();
    tracing::info!("asked to stop");
    Ok(())
}

struct Carrier<'a> {
    config: &'a Config,
    control_plane: ControlPlane,
    backoff: Backoff,
    /// The failure that was told last, until things go well again.
    told: Option<String>,
    /// It was told that the certificate ends soon.
    told_of_end: bool,
}

impl Carrier<'_> {
    /// Carries over one connection to the broker. Ends well only when asked to stop.
    async fn session(
        &mut self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), CarryError> {
        let broker = tokio::select! {
            broker = Broker::open(&self.config.nats) => broker?,
            () = stop.as_mut() => return Ok(()),
        };
        let mut acknowledged = 0;
        loop {
            self.look_at_certificate();
            let events = tokio::select! {
                events = self.control_plane.events() => events?,
                () = stop.as_mut() => return Ok(()),
            };
            // Not before it was seen that the first acknowledgement was kept.
            let kept = events.is_empty() || acknowledged > 0;
            if let [first, .., last] | [first @ last] = &events[..] {
                let (first, through) = (first.event, last.event);
                if first <= acknowledged {
                    return Err(CarryError::Again { again: first, through: acknowledged });
                }
                let published = broker.publish(events).await?;
                self.control_plane.acknowledge(through).await?;
                acknowledged = through;
                let (stored, duplicates) = (published.stored, published.duplicates);
                tracing::debug!(through, stored, duplicates, "events published");
                systemd::status(&format!("event {through} and all before it are in the stream"));
            }
            if kept {
                self.all_is_well();
            }
        }
    }

    fn look_at_certificate(&mut self) {
        if !self.told_of_end && self.control_plane.certificate_ends_soon() {
            tracing::warn!(
                "the carrier's certificate ends within 30 days: make another with `compliancectl carrier add`, and start this anew"
            );
            self.told_of_end = true;
        }
    }

    fn all_is_well(&mut self) {
        self.backoff = Backoff::default();
        if self.told.take().is_some() {
            tracing::info!("events are carried again");
        }
    }

    /// Once is enough for as long as nothing changes.
    fn complain(&mut self, error: &CarryError) {
        let words = compliance_daemon::words::of(error);
        systemd::status(&format!("events wait at the control plane: {words}"));
        if self.told.as_ref() == Some(&words) {
            tracing::debug!(error = words, "events still wait at the control plane");
        } else {
            tracing::warn!(error = words, "events wait at the control plane");
            self.told = Some(words);
        }
    }
}
