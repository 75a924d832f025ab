//! What we tell systemd (`sd_notify(3)`). Outside systemd each of these does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The process is ready.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The process is about to end.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// The process is alive; to be said at least every [`watchdog`].
pub fn alive() {
    tell(NotifyState::Watchdog);
}

/// One line about what the process is doing, shown by `systemctl status`.
pub fn status(line: &str) {
    tell(NotifyState::Status(&one_line(line)));
}

/// How often [`alive`] is to be said, if systemd watches: half of what it allows.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be notified");
    }
}

/// A further line would be a message of its own. What a peer answered is in it, and no peer tells systemd anything.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_answered_is_no_message_to_systemd() {
        assert_eq!(one_line("refused: no\nWATCHDOG_USEC=0\r\0"), "refused: no WATCHDOG_USEC=0  ");
        assert_eq!(one_line("der Zähler läuft"), "der Zähler läuft");
    }
}
