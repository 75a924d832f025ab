//! The links of a NixOS machine in a folder, for a machine that is none.

use std::fs::create_dir_all;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::OnceLock;

use compliance_protocol::name::AbsPath;

static ROOT: OnceLock<String> = OnceLock::new();

const CLOSURE: &str = "/nix/store/00000000000000000000000000000000-nixos-system-clinic-26.05";

/// Makes the links in `root`, where all hosts look for them from now on.
pub(crate) fn install(root: &Path) {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    for folder in ["/run", "/nix/var/nix/profiles", CLOSURE] {
        create_dir_all(at(folder)).unwrap();
    }
    symlink(CLOSURE, at("/run/current-system")).unwrap();
    symlink(CLOSURE, at("/run/booted-system")).unwrap();
    symlink("system-1-link", at("/nix/var/nix/profiles/system")).unwrap();
    let from_profiles = format!("../../../..{CLOSURE}");
    symlink(from_profiles, at("/nix/var/nix/profiles/system-1-link")).unwrap();
    ROOT.set(root.to_str().unwrap().to_owned()).unwrap();
}

/// Where a path really is.
pub(crate) fn placed(path: &AbsPath) -> AbsPath {
    let text = path.as_str();
    let is_nixos =
        text.starts_with("/nix/") || matches!(text, "/run/current-system" | "/run/booted-system");
    match ROOT.get() {
        Some(root) if is_nixos => format!("{root}{text}").parse().unwrap(),
        _ => path.clone(),
    }
}

/// The path by which a check knows what is at `path`.
pub(crate) fn known(path: AbsPath) -> AbsPath {
    let inside = ROOT.get().and_then(|root| path.as_str().strip_prefix(root));
    match inside {
        Some(inside) if inside.starts_with("/nix/") => inside.parse().unwrap(),
        _ => path,
    }
}
