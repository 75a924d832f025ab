//! The socket: who is answered, and that nobody keeps it from answering others.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use compliance_protocol::local::{Answer, MAX_FRAME, Request};

use crate::site::{Courier, Site, run_fresh, skipped};

/// Whether the executor ends the connection without an answer.
fn is_closed(courier: &mut Courier) -> bool {
    matches!(courier.0.read(&mut [0; 1]), Ok(0) | Err(_))
}

#[test]
fn the_socket_belongs_to_the_agent_and_to_nobody_else() {
    let site = Site::new();
    let _running = site.serve();
    let meta = fs::metadata(site.path("socket")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert_eq!(meta.uid(), nix::unistd::getuid().as_raw());
}

#[test]
fn garbage_is_answered_with_an_error_and_the_connection_goes_on() {
    let site = Site::new();
    let _running = site.serve();
    let mut courier = Courier::connect(&site);
    for garbage in [
        &b"hello"[..],
        b"",
        b"{\"request\":\"perform\"}",
        b"{\"request\":\"ticket\",\"x\":1}",
        b"[[[[",
        &[0xff; 100],
    ] {
        let length = u32::try_from(garbage.len()).unwrap().to_be_bytes();
        courier.0.write_all(&[&length, garbage].concat()).unwrap();
        let answer = courier.answer().unwrap();
        assert!(matches!(answer, Answer::Error { .. }), "{garbage:?}: {answer:?}");
    }
    courier.status();
}

#[test]
fn a_frame_over_the_bound_ends_the_connection_before_it_is_read() {
    let site = Site::new();
    let _running = site.serve();
    for size in [u32::try_from(MAX_FRAME).unwrap() + 1, u32::MAX] {
        let mut courier = Courier::connect(&site);
        courier.0.write_all(&size.to_be_bytes()).unwrap();
        assert!(is_closed(&mut courier));
    }
    Courier::connect(&site).status();
}

#[test]
fn half_a_frame_and_silence_keep_nobody_else_waiting() {
    let site = Site::new();
    let _running = site.serve();
    let mut others = Vec::new();
    for part in [&b"\0"[..], b"\0\0\0\x20", b"\0\0\0\x20{\"request\""] {
        let mut silent = Courier::connect(&site);
        silent.0.write_all(part).unwrap();
        Courier::connect(&site).status();
        others.push(silent);
    }
}

#[test]
fn a_hundred_connections_keep_nobody_else_out() {
    let site = Site::new();
    let _running = site.serve();
    let served = || {
        crate::site::eventually("an answer", || {
            let mut courier = Courier::try_connect(&site.path("socket")).ok()?;
            courier.try_ask(&Request::Status {}).ok()
        })
    };
    let idle: Vec<_> = (0..100).map(|_| Courier::connect(&site)).collect();
    (0..20).for_each(|_| drop(served()));
    drop(idle);
    // And a hundred that each ask something, and do not read the answer.
    let ask = compliance_protocol::local::encode(&Request::Status {}).unwrap();
    let busy: Vec<_> = (0..100)
        .map(|_| {
            let mut courier = Courier::connect(&site);
            let _ = courier.0.write_all(&ask);
            courier
        })
        .collect();
    (0..20).for_each(|_| drop(served()));
    drop(busy);
}

#[test]
fn many_requests_on_one_connection_are_answered_in_their_order() {
    let site = Site::new();
    let _running = site.serve();
    let mut courier = Courier::connect(&site);
    let requests = [Request::Ticket {}, Request::Status {}, Request::Pending { bytes: 1 }];
    for request in requests.iter().cycle().take(30) {
        courier.0.write_all(&compliance_protocol::local::encode(request).unwrap()).unwrap();
    }
    for n in 0..30 {
        let answer = courier.answer().unwrap();
        let right = match n % 3 {
            0 => matches!(answer, Answer::Ticket { .. }),
            1 => matches!(answer, Answer::Status { .. }),
            _ => matches!(answer, Answer::Pending { .. }),
        };
        assert!(right, "{n}: {answer:?}");
    }
}

#[test]
fn what_is_not_a_socket_is_not_removed_for_one() {
    let site = Site::new();
    site.write("socket", b"somebody's file");
    let output = site.run(&["serve"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read(site.path("socket")).unwrap(), b"somebody's file");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not a socket"), "{output:?}");
}

#[test]
fn a_socket_that_a_killed_process_left_is_replaced() {
    let site = Site::new();
    drop(site.serve());
    assert!(site.path("socket").exists());
    let _running = site.serve();
    Courier::connect(&site).status();
}

const SOCKET: &str = "TEST_SOCKET";

/// Not a test of its own: another user runs it to ask the executor.
#[test]
fn asked_by_another_user() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let mut courier = Courier::try_connect(socket.as_ref()).unwrap();
    courier.try_ask(&Request::Status {}).expect("the executor answers");
}

#[test]
fn only_root_and_the_agents_user_are_answered() {
    if !nix::unistd::getuid().is_root() {
        return skipped(
            "only_root_and_the_agents_user_are_answered",
            "only root can be another user",
        );
    }
    let (agent, stranger) = (65_533, 65_534);
    let site = Site::new();
    site.write("executor.toml", site.config(agent).as_bytes());
    fs::set_permissions(site.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let _running = site.serve(); // root is answered
    assert_eq!(fs::metadata(site.path("socket")).unwrap().uid(), agent);
    // The test is run again, from where others may read it, as each of the two.
    let probe = site.path("probe");
    fs::copy(std::env::current_exe().unwrap(), &probe).unwrap();
    let answered = |uid| {
        let mut command = Command::new(&probe);
        command.args(["--exact", "socket::asked_by_another_user"]);
        run_fresh(command.env(SOCKET, site.path("socket")).uid(uid))
    };
    assert!(answered(agent).status.success());
    assert!(!answered(stranger).status.success(), "the file's mode keeps a stranger out");
    // And without it, the peer's credentials do.
    fs::set_permissions(site.path("socket"), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(answered(agent).status.success());
    let refused = answered(stranger);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success() && said.contains("the executor answers"), "{said}");
}
