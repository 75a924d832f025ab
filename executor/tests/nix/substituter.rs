//! A substituter: a folder of closures, some signed, served over HTTP on the machine's loopback interface. Its
//! address is what the machine's configuration of Nix names.

use std::fs;
use std::io::{BufRead as _, BufReader, Result, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::machine::run;

const ADDRESS: &str = "127.0.0.1:8099";
const FOLDER: &str = "/var/cache/systems";
const NIX: &str = "/usr/bin/nix";

/// Serves until the test ends.
pub(crate) fn serve() {
    fs::create_dir_all(FOLDER).unwrap();
    let listener = TcpListener::bind(ADDRESS).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&stream));
        }
    });
}

/// Takes what is at `path` out of the store and into the substituter, signed by this key.
pub(crate) fn take(path: &str, signed_by: Option<&Key>) {
    let key = signed_by.map(|key| format!("?secret-key={}", key.secret.display()));
    let to = format!("file://{FOLDER}{}", key.unwrap_or_default());
    run(NIX, &["copy", "--to", &to, path]);
    run("/usr/bin/nix-store", &["--delete", path]);
}

/// Copies what is at `path` into the store as somebody does who asks for no signature.
pub(crate) fn bring_unsigned(path: &str) {
    let from = format!("file://{FOLDER}");
    run(NIX, &["copy", "--no-check-sigs", "--from", &from, path]);
}

/// Lets the substituter claim that what is at `path` unpacks to so many bytes.
pub(crate) fn claim_size(path: &str, bytes: u64) {
    let hash = path.strip_prefix("/nix/store/").unwrap().split('-').next().unwrap();
    let about = Path::new(FOLDER).join(format!("{hash}.narinfo"));
    let text = fs::read_to_string(&about).unwrap();
    let size = text.lines().find(|line| line.starts_with("NarSize: ")).unwrap();
    fs::write(&about, text.replace(size, &format!("NarSize: {bytes}"))).unwrap();
}

/// A key that signs what is in a substituter.
pub(crate) struct Key {
    secret: PathBuf,
    pub(crate) public: String,
}

impl Key {
    pub(crate) fn generate(name: &str) -> Self {
        let secret = Path::new("/root").join(name);
        fs::write(&secret, run(NIX, &["key", "generate-secret", "--key-name", name]).stdout)
            .unwrap();
        let public = Command::new(NIX)
            .args(["key", "convert-secret-to-public"])
            .stdin(fs::File::open(&secret).unwrap())
            .output()
            .unwrap();
        Self { secret, public: String::from_utf8(public.stdout).unwrap() }
    }
}

/// One request a connection.
fn answer(mut stream: &TcpStream) -> Result<()> {
    let mut request = String::new();
    let mut lines = BufReader::new(stream);
    lines.read_line(&mut request)?;
    let mut header = String::new();
    while lines.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = Path::new(path.trim_start_matches('/'));
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let (status, body) = match fs::read(Path::new(FOLDER).join(path)) {
        Ok(body) if plain => ("200 OK", body),
        _ => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    if method == "GET" { stream.write_all(&body) } else { Ok(()) }
}
