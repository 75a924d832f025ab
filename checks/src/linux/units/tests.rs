//! systemd's answers, recorded and bad.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use super::super::bus::message::{ERROR, ERROR_NAME, METHOD_RETURN, REPLY_SERIAL};
use super::*;

const FAILED: &[u8] = include_bytes!("../../../tests/fixtures/services/failed.bin");
const BY_NAMES: &[u8] = include_bytes!("../../../tests/fixtures/services/by-names.bin");
const LIST: &[u8] = include_bytes!("../../../tests/fixtures/services/list-units.bin");
const REFUSED: &[u8] = include_bytes!("../../../tests/fixtures/services/refused.bin");

/// The units of the fixture `by-names.bin`, in its order.
const NAMES: [&str; 12] = [
    "clinic-web.service",
    "clinic-broken.service",
    "clinic-flappy.service",
    "clinic-once.service",
    "clinic-job.service",
    "clinic-jobfail.service",
    "clinic-slow.service",
    "clinic-runs.service",
    "clinic-masked.service",
    "clinic-gone.service",
    "dbus.socket",
    "dbus-org.freedesktop.login1.service",
];

fn named(names: &[&str]) -> Vec<UnitName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A systemd that gives recorded answers.
struct Peer {
    dir: tempfile::TempDir,
    listener: UnixListener,
}

type Answer = fn(&str) -> Option<Vec<u8>>;

impl Peer {
    fn new(socket: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(socket)).unwrap();
        Self { dir, listener }
    }

    fn units(&self, limit: Duration) -> Units {
        let [private, system] = ["private", "system"].map(|name| self.dir.path().join(name));
        Units { sockets: Sockets { private, system }, limit, bus: Mutex::new(None) }
    }

    /// Serves these connections, one after the other; each hangs up when its answer is none.
    fn serve(&self, connections: Vec<Answer>) -> JoinHandle<()> {
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || {
            for answer in connections {
                let (stream, _) = listener.accept().unwrap();
                converse(&stream, answer);
            }
        })
    }
}

fn converse(stream: &UnixStream, answer: Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let uid = nix::unistd::geteuid().to_string();
    let hex = uid.bytes().fold(String::new(), |hex, digit| format!("{hex}{digit:02x}"));
    assert_eq!(line, format!("\0AUTH EXTERNAL {hex}\r\n"));
    line.clear();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "BEGIN\r\n");
    (&*stream).write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").unwrap();
    // A signal that nobody asked for comes first.
    (&*stream).write_all(&[b'l', 4, 1, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    while let Some((serial, text)) = read_call(&mut reader) {
        let Some(mut message) = answer(&text) else { return };
        // The call's serial is the value of the first header field.
        message.splice(20..24, serial.to_le_bytes());
        if (&*stream).write_all(&message).is_err() {
            return;
        }
    }
}

/// The serial of a call, and all text in it.
fn read_call(reader: &mut impl std::io::Read) -> Option<(u32, String)> {
    let mut start = [0; 16];
    reader.read_exact(&mut start).ok()?;
    let number = |at: usize| u32::from_le_bytes(start[at..at + 4].try_into().unwrap());
    let mut rest = vec![0; (number(12).next_multiple_of(8) + number(4)) as usize];
    reader.read_exact(&mut rest).ok()?;
    Some((number(8), String::from_utf8_lossy(&rest).into_owned()))
}

fn reply(body: &[u8]) -> Vec<u8> {
    let mut message = vec![b'l', METHOD_RETURN, 1, 1];
    message.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    message.extend([7, 0, 0, 0, 8, 0, 0, 0]);
    message.extend([REPLY_SERIAL, 1, b'u', 0, 0, 0, 0, 0]);
    message.extend(body);
    message
}

fn refusal(name: &str) -> Vec<u8> {
    let mut message = vec![b'l', ERROR, 1, 1, 0, 0, 0, 0, 7, 0, 0, 0];
    message.extend(u32::try_from(8 + 8 + name.len() + 1).unwrap().to_le_bytes());
    message.extend([REPLY_SERIAL, 1, b'u', 0, 0, 0, 0, 0, ERROR_NAME, 1, b's', 0]);
    message.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
    message.extend(name.bytes().chain([0]));
    message.resize(message.len().next_multiple_of(8), 0);
    message
}

fn variant(value: &Variant<'_>) -> Vec<u8> {
    let context = zbus::wire::serialized::Context::new(zbus::wire::Endian::Little, 0);
    reply(&zbus::wire::to_bytes(context, value).unwrap())
}

#[allow(clippy::unnecessary_wraps)] // As an answer, which may also be none.
fn recorded(call: &str) -> Option<Vec<u8>> {
    Some(match call {
        _ if call.contains("ListUnitsFiltered") => reply(FAILED),
        _ if call.contains("ListUnitsByNames") => reply(BY_NAMES),
        _ if call.contains("ListUnits") => reply(LIST),
        _ if call.contains("NRestarts") && call.contains("flappy") => variant(&Variant::U32(5)),
        _ if call.contains("NRestarts") => variant(&Variant::U32(0)),
        _ if call.contains("Type") => variant(&"oneshot".into()),
        _ if call.contains("Result") && call.contains("jobfail") => variant(&"exit-code".into()),
        _ => variant(&"success".into()),
    })
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn recorded_answers_of_systemd_257_are_read() {
    let peer = Peer::new("private");
    let serving = peer.serve(vec![recorded]);
    let units = peer.units(LONG);
    let mut asked = named(&NAMES);
    asked.push("template@.service".parse().unwrap());
    let states = units.ask(&asked).unwrap();
    let state = |name: &str| {
        let mut found = states.iter().filter(|state| state.unit == name);
        let state = found.next().unwrap_or_else(|| panic!("{name} is missing"));
        assert!(found.next().is_none(), "{name} is there twice");
        (&*state.load, &*state.active, &*state.sub, &*state.result, state.restarts)
    };
    assert_eq!(state("clinic-web.service"), ("loaded", "active", "running", "", 0));
    assert_eq!(state("clinic-broken.service"), ("loaded", "failed", "failed", "success", 0));
    assert_eq!(state("clinic-jobfail.service"), ("loaded", "failed", "failed", "exit-code", 0));
    assert_eq!(state("clinic-once.service"), ("loaded", "active", "exited", "", 0));
    assert_eq!(state("clinic-flappy.service").4, 5);
    let job = |name: &str| states.iter().find(|state| state.unit == name).map(|state| &*state.job);
    assert_eq!(job("clinic-slow.service"), Some("start"));
    assert_eq!(job("clinic-web.service"), Some(""));
    assert_eq!(state("clinic-masked.service").0, "masked");
    assert_eq!(state("clinic-gone.service").0, "not-found");
    assert_eq!(state("template@.service").0, "not-found");
    assert_eq!(state("dbus.socket"), ("loaded", "active", "running", "", 0));
    // An alias is given back by the name that was asked for.
    assert_eq!(state("dbus-org.freedesktop.login1.service").0, "loaded");
    // Failed, and named by nobody.
    assert_eq!(state("clinic-patient@mueller-anna.service").1, "failed");
    assert_eq!(units.all().unwrap().len(), 175);
    drop(units);
    serving.join().unwrap();
}

#[test]
fn the_connection_is_kept_and_made_anew_once_when_systemd_hung_up() {
    let peer = Peer::new("private");
    let hangs_up_later: Answer =
        |call| if call.contains("ListUnits\0") { None } else { recorded(call) };
    let serving = peer.serve(vec![hangs_up_later, recorded]);
    let units = peer.units(LONG);
    assert!(units.ask(&named(&NAMES)).is_ok());
    assert!(units.ask(&named(&NAMES)).is_ok());
    assert!(units.all().is_ok());
    drop(units);
    serving.join().unwrap();
}

#[test]
fn without_the_private_socket_the_bus_is_asked_after_hello() {
    let peer = Peer::new("system");
    let answer: Answer = |call| match call {
        _ if call.contains("Hello") => Some(reply(&[])),
        _ if call.contains("org.freedesktop.systemd1\0") => recorded(call),
        _ => None,
    };
    let serving = peer.serve(vec![answer]);
    assert!(peer.units(LONG).ask(&named(&NAMES)).is_ok());
    serving.join().unwrap();
}

fn answered_by(answer: Answer) -> HostError {
    let peer = Peer::new("private");
    let serving = peer.serve(vec![answer]);
    let error = peer.units(LONG).ask(&named(&NAMES)).unwrap_err();
    serving.join().unwrap();
    error
}

#[test]
fn an_answer_that_is_cut_garbled_refused_or_too_long_is_an_error() {
    assert!(matches!(answered_by(|_| None), HostError::Io { .. }));
    let garbled: Answer = |_| Some(reply(&FAILED[..FAILED.len() / 2]));
    assert!(matches!(answered_by(garbled), HostError::Garbage { .. }));
    assert!(matches!(answered_by(|_| Some(vec![b'x'; 64])), HostError::Garbage { .. }));
    // Fewer units than were asked for.
    assert!(matches!(answered_by(|_| Some(reply(FAILED))), HostError::Garbage { .. }));
    let too_long: Answer = |_| {
        let mut message = reply(&[]);
        message.splice(4..8, [0, 0, 0, 0x7f]);
        Some(message)
    };
    assert!(matches!(answered_by(too_long), HostError::TooLarge { .. }));
}

#[test]
fn a_recorded_refusal_is_an_error_without_its_words() {
    let recorded: Answer = |_| Some(REFUSED.to_vec());
    let error = answered_by(recorded);
    assert!(matches!(error, HostError::Io { .. }), "{error}");
    assert!(!error.to_string().contains("foo@"), "{error}");
    let denied: Answer = |_| Some(refusal("org.freedesktop.DBus.Error.AccessDenied"));
    assert_eq!(answered_by(denied), HostError::Denied("systemd".to_owned()));
    let absent: Answer = |_| Some(refusal("org.freedesktop.DBus.Error.ServiceUnknown"));
    assert_eq!(answered_by(absent), HostError::ToolMissing("systemd".to_owned()));
}

#[test]
fn a_whole_message_is_decoded() {
    assert_eq!(decode(&reply(BY_NAMES)).unwrap().len(), NAMES.len());
    assert_eq!(decode(&refusal("org.example.No")), None);
}

#[test]
fn a_systemd_that_does_not_answer_is_given_up_at_the_limit() {
    let peer = Peer::new("private");
    let units = peer.units(Duration::from_millis(50));
    // Nobody accepts: the greeting is never answered.
    assert!(matches!(units.ask(&[]), Err(HostError::TimedOut { .. })));
}

#[test]
fn without_sockets_there_is_no_systemd() {
    let peer = Peer::new("private");
    std::fs::remove_file(peer.dir.path().join("private")).unwrap();
    assert_eq!(peer.units(LONG).ask(&[]), Err(HostError::ToolMissing("systemd".to_owned())));
}

#[test]
fn a_systemd_that_refuses_the_greeting_denies() {
    let peer = Peer::new("private");
    let listener = peer.listener.try_clone().unwrap();
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        (&stream).write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        let _ = (&stream).read(&mut [0; 1024]);
    });
    let answer = peer.units(LONG).ask(&[]);
    assert_eq!(answer, Err(HostError::Denied("systemd".to_owned())));
    serving.join().unwrap();
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(
        noise in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        at in 0_usize..2262, byte in proptest::num::u8::ANY,
    ) {
        let _ = decode(&noise);
        let mut message = reply(BY_NAMES);
        message[at] = byte;
        let _ = decode(&message);
    }
}
