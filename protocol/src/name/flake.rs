//! References to flakes that cannot move: what they name today is what they name for ever.

use super::{is_nar_hash, is_plain};

/// What a flake reference has to be.
pub(super) const RULE: &str = "one that cannot move, at most 512 characters without % or blanks: \
    github:OWNER/REPO/REV, github:OWNER/REPO?rev=REV, git+https://… or git+file://… with ?rev=REV, where REV is 40 \
    lower-case hexadecimal digits, or https://….tar.gz?narHash=sha256-…; besides these only dir=, \
    and #NAME at the end";

/// Whether `text` is such a reference. Everything that is not known to be pinned is refused: a parameter that
/// Nix reads and this does not may be the one that moves it.
pub(super) fn is_pinned(text: &str) -> bool {
    let printable = |b: u8| b.is_ascii_graphic() && b != b'%';
    if text.len() > 512 || !text.bytes().all(printable) {
        return false;
    }
    let (url, name) = text.split_once('#').map_or((text, None), |(url, name)| (url, Some(name)));
    if name.is_some_and(|name| !is_plain(name, "-_")) {
        return false;
    }
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let Some(query) = Query::parse(query) else { return false };
    if let Some(place) = place.strip_prefix("github:") {
        return is_github(place, &query);
    }
    match place.split_once("://") {
        Some(("git+https", rest)) => is_web_place(rest) && query.rev.is_some(),
        Some(("git+file", rest)) => {
            rest.strip_prefix('/').is_some_and(is_path) && query.rev.is_some()
        }
        Some(("https", rest)) => is_web_place(rest) && is_archive(rest) && query.pins_contents(),
        Some(("tarball+https", rest)) => is_web_place(rest) && query.pins_contents(),
        _ => false,
    }
}

/// The parameters, each at most once.
#[derive(Default)]
struct Query<'a> {
    rev: Option<&'a str>,
    nar_hash: Option<&'a str>,
    dir: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// `None` if there is one that is unknown, given twice, or not of its form.
    fn parse(text: &'a str) -> Option<Self> {
        let mut query = Self::default();
        for parameter in text.split('&').filter(|_| !text.is_empty()) {
            let (key, value) = parameter.split_once('=')?;
            let (place, fits) = match key {
                "rev" => (&mut query.rev, is_rev(value)),
                "narHash" => (&mut query.nar_hash, is_nar_hash(value)),
                "dir" => (&mut query.dir, is_path(value)),
                _ => return None,
            };
            if !fits || place.replace(value).is_some() {
                return None;
            }
        }
        Some(query)
    }

    /// An archive has no revision that anybody checks: only its hash pins it.
    fn pins_contents(&self) -> bool {
        self.nar_hash.is_some() && self.rev.is_none()
    }
}

/// `OWNER/REPO/REV`, or `OWNER/REPO` with the revision as a parameter; not both.
fn is_github(place: &str, query: &Query<'_>) -> bool {
    let mut parts = place.split('/');
    let named = [parts.next(), parts.next()].iter().all(|part| part.is_some_and(is_part));
    let pinned = match (parts.next(), query.rev) {
        (Some(rev), None) => is_rev(rev),
        (None, Some(_)) => true,
        _ => false,
    };
    named && pinned && parts.next().is_none()
}

/// `HOST/PATH` or `HOST:PORT/PATH`, without a user.
fn is_web_place(text: &str) -> bool {
    let Some((server, path)) = text.split_once('/') else { return false };
    let (host, port) = server.split_once(':').map_or((server, None), |(h, p)| (h, Some(p)));
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok() && is_plain(port, ""));
    is_plain(host, "-.") && !host.starts_with(['-', '.']) && port_fits && is_path(path)
}

/// Nix takes an `https` reference for an archive by the end of its name.
fn is_archive(place: &str) -> bool {
    const ENDS: [&str; 7] = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip"];
    ENDS.iter().any(|end| place.ends_with(end))
}

/// Parts that do not walk, not starting or ending with a slash.
fn is_path(text: &str) -> bool {
    text.split('/').all(is_part)
}

fn is_part(part: &str) -> bool {
    is_plain(part, "-_.~+") && !matches!(part, "." | "..") && !part.starts_with('-')
}

/// A commit of Git by its whole SHA-1, in one spelling.
fn is_rev(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REV: &str = "0123456789abcdef0123456789abcdef01234567";
    const HASH: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn assert_all(expected: bool, templates: &[&str]) {
        for template in templates {
            let text = template.replace("REV", REV).replace("HASH", HASH);
            assert_eq!(is_pinned(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_names_a_commit_or_the_hash_of_its_contents_is_pinned() {
        assert_all(
            true,
            &[
                "github:acme/clinics/REV",
                "github:acme/clinics/REV#clinic-042",
                "github:acme/clinics?rev=REV#clinic_042",
                "github:acme/clinics?dir=sites/north&rev=REV#x",
                "github:acme/clinics?rev=REV&narHash=HASH#x",
                "git+https://git.example/acme/clinics.git?rev=REV#x",
                "git+https://git.example:8443/acme/clinics?rev=REV&dir=nix",
                "git+file:///etc/clinics?rev=REV#x",
                "https://example.org/clinics.tar.gz?narHash=HASH#x",
                "tarball+https://example.org/clinics?narHash=HASH",
            ],
        );
    }

    #[test]
    fn what_can_move_is_not_pinned() {
        assert_all(
            false,
            &[
                "github:acme/clinics",
                "github:acme/clinics/main",
                "github:acme/clinics?ref=main",
                "github:acme/clinics/0123456",
                "github:acme/clinics?rev=0123456",
                "git+https://git.example/clinics?ref=main",
                "https://example.org/clinics.tar.gz",
                "https://example.org/clinics.tar.gz?rev=REV",
                "https://example.org/clinics?narHash=HASH",
                "tarball+https://example.org/clinics?rev=REV",
                "git+https://git.example/clinics?narHash=HASH",
                "path:/etc/nixos?rev=REV",
                "/etc/nixos?rev=REV",
                ".?rev=REV",
                "nixpkgs?rev=REV",
                "nixpkgs/REV",
                "flake:nixpkgs/REV",
                "git+ssh://git@example.org/x?rev=REV",
                "git+http://git.example/x?rev=REV",
                "http://example.org/x.tar.gz?narHash=HASH",
                "git:acme/clinics?rev=REV",
                "",
            ],
        );
    }

    #[test]
    fn a_pin_that_something_beside_it_takes_back_is_none() {
        assert_all(
            false,
            &[
                "github:acme/clinics?rev=REV&ref=main",
                "github:acme/clinics?rev=REV&rev=REV",
                "github:acme/clinics/REV?rev=REV",
                "github:acme/clinics/main?rev=REV",
                "github:acme/clinics/REV/main",
                "github:acme/clinics?rev=REV&host=git.example",
                "github:acme/clinics?rev=REV&",
                "github:acme/clinics?rev=REV&&dir=x",
                "github:acme/clinics?rev",
                "github:acme/clinics?rev=REV?ref=main",
                "github:acme/clinics??rev=REV",
                "git+https://git.example/x?rev=REV&allRefs=1",
                "git+https://user@git.example/x?rev=REV",
                "git+https://git.example:x/x?rev=REV",
                "git+https://git.example?rev=REV",
                "git+file://etc/x?rev=REV",
                "https://example.org/x.tar.gz?narHash=HASH&narHash=HASH",
                "https://example.org/x.tar.gz?narHash=sha256-AAAA",
            ],
        );
    }

    #[test]
    fn a_pin_in_the_name_or_in_another_spelling_is_none() {
        let upper = REV.to_uppercase();
        for text in [
            format!("github:acme/clinics?rev={upper}"),
            format!("github:acme/clinics/{upper}"),
            format!("GitHub:acme/clinics/{REV}"),
            format!("github:acme/clinics?REV={REV}"),
            format!("github:acme/clinics#x?rev={REV}"),
            format!("github:acme/clinics#?rev={REV}"),
            format!("github:acme/clinics?rev={REV}#x#y"),
            format!("github:acme/clinics?rev={REV}#"),
            format!("github:acme/clinics?rev={REV}#x.y"),
            format!("github:acme#/clinics?rev={REV}"),
            format!("#github:acme/clinics?rev={REV}"),
            format!("github:acme/clinics?re%76={REV}"),
            format!("github:acme/clinics?rev={REV}%26ref=main"),
            format!("github:acme/clinics%2fmain?rev={REV}"),
            format!("github:acme/clinics?rev={REV}\n"),
            format!(" github:acme/clinics?rev={REV}"),
            format!("--impure?rev={REV}"),
            format!("github:acme/clinics?rev={REV}&dir={}", "x".repeat(512)),
        ] {
            assert!(!is_pinned(&text), "{text}");
        }
    }

    #[test]
    fn a_folder_in_it_does_not_walk() {
        for dir in ["../..", "a/../b", ".", "/etc", "a/", "a//b", "", "-x", "a b"] {
            assert!(!is_pinned(&format!("github:acme/clinics?rev={REV}&dir={dir}")), "{dir}");
        }
        for place in ["../clinics", "acme/..", "acme/", "/clinics", "acme", "-o/clinics"] {
            assert!(!is_pinned(&format!("github:{place}?rev={REV}")), "{place}");
        }
    }
}
