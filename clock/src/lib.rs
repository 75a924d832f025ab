//! The kernel's clocks. Everything else in this workspace is given the time.

use compliance_protocol::clock::ClockReading;
use compliance_protocol::time::{Span, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// `CLOCK_REALTIME`: the time of day, as far as this machine knows it.
pub fn wall() -> Timestamp {
    Timestamp::from_millis(millis(ClockId::CLOCK_REALTIME))
}

/// `CLOCK_BOOTTIME`: time since boot, suspend included; it never steps.
pub fn boottime() -> Span {
    Span::from_millis(millis(ClockId::CLOCK_BOOTTIME))
}

/// All of it at one moment, with what the kernel says of its synchronisation.
pub fn read() -> ClockReading {
    let (synchronised, offset_ms, max_error_ms) = discipline();
    ClockReading { wall: wall(), boottime: boottime(), synchronised, offset_ms, max_error_ms }
}

/// A clock that Linux always has; an error would mean that we run on something else, and then the
/// epoch is as far from any trusted time as can be.
fn millis(clock: ClockId) -> i64 {
    clock_gettime(clock).map_or(0, |t| t.tv_sec() * 1000 + t.tv_nsec() / 1_000_000)
}

/// adjtimex(2) with no mode set, which needs no privilege: synchronised or not, offset and maximum
/// error in milliseconds.
#[allow(unsafe_code)]
fn discipline() -> (bool, i64, i64) {
    // SAFETY: `timex` is plain integers, for which all zeroes is a valid value; `modes` 0 only reads.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, writable `timex` for the length of the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    let synchronised =
        (0..libc::TIME_ERROR).contains(&state) && timex.status & libc::STA_UNSYNC == 0;
    let per_ms = if timex.status & libc::STA_NANO == 0 { 1_000 } else { 1_000_000 };
    (synchronised, timex.offset / per_ms, timex.maxerror / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run_forward_and_the_kernel_answers() {
        let (first, second) = (read(), read());
        assert!(second.boottime >= first.boottime && first.boottime > Span::ZERO);
        assert!(first.wall > Timestamp::from_millis(1_700_000_000_000));
        assert!(first.max_error_ms >= 0);
    }
}
