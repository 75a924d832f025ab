//! The ruleset's generation and who changed it, over netlink.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use netlink_packet_core::{
    ErrorBuffer, ErrorMessage, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NlasIterator,
    Parseable as _,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use crate::host::{HostError, RulesetChange};

/// Two sockets to `nf_tables`: one asks, the other is told of each change. Opened when first asked, and
/// again after an error.
#[derive(Debug, Default)]
pub(super) struct Netfilter(Mutex<Sockets>);

#[derive(Default)]
struct Sockets {
    questions: Option<Socket>,
    notices: Option<Socket>,
    asked: u32,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Netfilter {
    /// The generation of the ruleset of this network namespace. Needs `CAP_NET_ADMIN`.
    pub(super) fn generation(&self) -> Result<u32, HostError> {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Listening starts with the first question, so that no change after its answer is missed.
        if sockets.notices.is_none() {
            sockets.notices = listen().ok();
        }
        sockets.asked = sockets.asked.wrapping_add(1);
        let number = sockets.asked;
        let questions = match sockets.questions.take() {
            Some(questions) => questions,
            None => open().map_err(|error| HostError::from_io(WHAT, &error))?,
        };
        let generation = ask(&questions, number)?;
        sockets.questions = Some(questions);
        Ok(generation)
    }

    /// The changes that the kernel told of since this was last asked. One with pid 0 stands for those whose
    /// notices were lost.
    pub(super) fn changes(&self) -> Vec<RulesetChange> {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(notices) = &sockets.notices else { return Vec::new() };
        let (changes, ended) = drain(notices);
        if ended.is_err() {
            sockets.notices = None;
        }
        changes
    }
}

const WHAT: &str = "the ruleset's generation";

/// The group that is told of changes to `nf_tables` (`NFNLGRP_NFTABLES`).
const NFTABLES_GROUP: u32 = 7;

/// Messages to and from `nf_tables` have this as the upper byte of their type (`NFNL_SUBSYS_NFTABLES`).
const NFTABLES_SUBSYSTEM: u16 = 10;

/// `NFT_MSG_NEWGEN`: it answers the question, and ends the notices of each transaction.
const NEWGEN: u16 = (NFTABLES_SUBSYSTEM << 8) | 15;

/// `NFT_MSG_GETGEN`: the question.
const GETGEN: u16 = (NFTABLES_SUBSYSTEM << 8) | 16;

/// What a message about a generation holds: its number, and who made it (`NFTA_GEN_*`).
const GEN_ID: u16 = 1;
const GEN_PROC_PID: u16 = 2;
const GEN_PROC_NAME: u16 = 3;

/// Between the headers and the attributes stands a `struct nfgenmsg`.
const NFGENMSG: usize = 4;

/// The kernel sends at most 32 KiB at once.
const DATAGRAM: usize = 64 * 1024;

/// Room for the notices of a transaction with ten thousand rules. The kernel takes it only as needed.
const NOTICES: usize = 8 * 1024 * 1024;

/// The most datagrams that are read at one asking.
const MAX_DATAGRAMS: usize = 4096;

/// The most changes that are told at one asking.
const MAX_CHANGES: usize = 64;

const PATIENCE: Duration = Duration::from_secs(1);

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn listen() -> io::Result<Socket> {
    let socket = open()?;
    // Refused inside a user namespace; then the usual size must do, and what overflows it is not named.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &NOTICES);
    socket.add_membership(NFTABLES_GROUP)?;
    Ok(socket)
}

fn ask(socket: &Socket, number: u32) -> Result<u32, HostError> {
    let failed = |error: &io::Error| HostError::from_io(WHAT, error);
    socket.send_to(&question(number), &SocketAddr::new(0, 0), 0).map_err(|e| failed(&e))?;
    loop {
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], patience) {
            Ok(0) => {
                return Err(HostError::TimedOut { what: WHAT.to_owned(), limit: PATIENCE });
            }
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(failed(&error.into())),
        }
        let answer = receive(socket).map_err(|e| failed(&e))?;
        if let Some(result) = answer.and_then(|answer| generation_in(&answer, number)) {
            return result;
        }
    }
}

/// A request for the generation: a netlink header and an empty `struct nfgenmsg`, 20 bytes.
fn question(number: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    let mut message = NetlinkBuffer::new(&mut bytes);
    message.set_length(20);
    message.set_message_type(GETGEN);
    message.set_flags(NLM_F_REQUEST);
    message.set_sequence_number(number);
    bytes
}

/// What the answer to question `number` says, if it is in this datagram.
fn generation_in(datagram: &[u8], number: u32) -> Option<Result<u32, HostError>> {
    let garbage = || HostError::Garbage {
        what: WHAT.to_owned(),
        why: "the kernel's answer holds none".to_owned(),
    };
    let answer = messages(datagram).find(|message| message.sequence_number() == number)?;
    if answer.message_type() == NLMSG_ERROR {
        let payload = answer.payload();
        let error =
            ErrorBuffer::new_checked(&payload).and_then(|error| ErrorMessage::parse(&error));
        return Some(Err(
            error.map_or_else(|_| garbage(), |error| HostError::from_io(WHAT, &error.to_io()))
        ));
    }
    Some(attribute(&answer, GEN_ID).and_then(number_in).ok_or_else(garbage))
}

/// All notices that have come, and whether the socket can go on.
fn drain(socket: &Socket) -> (Vec<RulesetChange>, io::Result<()>) {
    let unnamed = || RulesetChange { pid: 0, comm: String::new() };
    let mut changes = Vec::new();
    let mut tell = |change: RulesetChange| {
        if changes.len() < MAX_CHANGES && !changes.contains(&change) {
            changes.push(change);
        }
    };
    for _ in 0..MAX_DATAGRAMS {
        match receive(socket) {
            Ok(Some(datagram)) => changes_in(&datagram).for_each(&mut tell),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (changes, Ok(())),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => tell(unnamed()),
            Err(error) => return (changes, Err(error)),
        }
    }
    // Somebody changes the ruleset faster than this reads; the rest stays for the next asking.
    (changes, Ok(()))
}

/// The processes that a datagram of notices names.
fn changes_in(datagram: &[u8]) -> impl Iterator<Item = RulesetChange> {
    messages(datagram).filter(|message| message.message_type() == NEWGEN).map(|message| {
        let comm = attribute(&message, GEN_PROC_NAME).unwrap_or_default();
        let comm = String::from_utf8_lossy(&comm).trim_end_matches('\0').to_owned();
        RulesetChange {
            pid: attribute(&message, GEN_PROC_PID).and_then(number_in).unwrap_or(0),
            comm,
        }
    })
}

/// The messages in a datagram; each is padded to four bytes.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(NetlinkBuffer::new_checked(rest).ok()?.length()).ok()?;
        let message = NetlinkBuffer::new_checked(rest.get(..length)?).ok()?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The value of an attribute.
fn attribute(message: &NetlinkBuffer<&[u8]>, kind: u16) -> Option<Vec<u8>> {
    let attributes = NlasIterator::new(message.payload().get(NFGENMSG..)?);
    attributes.map_while(Result::ok).find(|a| a.kind() == kind).map(|a| a.value().to_vec())
}

fn number_in(value: Vec<u8>) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// One datagram; `None` when it is not from the kernel.
fn receive(socket: &Socket) -> io::Result<Option<Vec<u8>>> {
    let mut datagram = Vec::with_capacity(DATAGRAM);
    let (_, sender) = socket.recv_from(&mut datagram, 0)?;
    Ok((sender.port_number() == 0).then_some(datagram))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `NFT_MSG_NEWGEN` as Linux 6.18 sent it when nft loaded a table: generation 2, pid 4711, `nft`.
    fn notice() -> Vec<u8> {
        let mut bytes = vec![44, 0, 0, 0, 15, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        bytes.extend([8, 0, 1, 0, 0, 0, 0, 2]);
        bytes.extend([8, 0, 2, 0, 0, 0, 0x12, 0x67]);
        bytes.extend([8, 0, 3, 0, b'n', b'f', b't', 0]);
        bytes
    }

    #[test]
    fn the_question_is_the_20_bytes_that_the_kernel_expects() {
        let header = [20, 0, 0, 0, 16, 10, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(question(7)[..], [&header[..], &[0, 0, 0, 0]].concat());
    }

    #[test]
    fn generation_pid_and_name_are_read() {
        assert_eq!(generation_in(&notice(), 7), Some(Ok(2)));
        assert_eq!(generation_in(&notice(), 8), None);
        let twice = [notice(), notice()].concat();
        let nft = RulesetChange { pid: 4711, comm: "nft".to_owned() };
        assert_eq!(changes_in(&twice).collect::<Vec<_>>(), [nft.clone(), nft]);
    }

    #[test]
    fn a_refusal_is_no_permission() {
        let mut refusal = vec![36, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        refusal.extend((-(Errno::EPERM as i32)).to_ne_bytes());
        refusal.extend(&question(7)[..16]);
        assert_eq!(generation_in(&refusal, 7), Some(Err(HostError::Denied(WHAT.to_owned()))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, cut in 0_usize..44, at in 0_usize..44, byte: u8) {
            let mut edited = notice();
            edited[at] = byte;
            for bytes in [&bytes[..], &notice()[..cut], &edited[..]] {
                let _ = generation_in(bytes, 7);
                let _ = changes_in(bytes).count();
            }
        }
    }
}
