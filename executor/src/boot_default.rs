//! Which system the boot loader starts by default, as its own configuration says. Pure.

use compliance_protocol::name::StorePath;
use serde_json::Value;

/// The system that systemd-boot starts by default, from what `bootctl list --json=short` prints.
pub fn of_systemd_boot(listed: &[u8]) -> Option<StorePath> {
    let entries: Vec<Value> = serde_json::from_slice(listed).ok()?;
    let mut defaults = entries.iter().filter(|entry| entry.get("isDefault") == Some(&true.into()));
    let default = defaults.next().filter(|_| defaults.next().is_none())?;
    match default.get("options")? {
        Value::String(options) => booted_with(options),
        Value::Array(options) => options.iter().filter_map(Value::as_str).find_map(booted_with),
        _ => None,
    }
}

/// The system of the first entry of a `grub.cfg`, which is the default on NixOS.
pub fn of_grub(configuration: &[u8]) -> Option<StorePath> {
    let text = std::str::from_utf8(configuration).ok()?;
    let (_, entries) = text.split_once("\nmenuentry ")?;
    let first = entries.split("\nmenuentry ").next()?;
    first.lines().find(|line| line.trim_start().starts_with("linux")).and_then(booted_with)
}

/// The system in `init=/nix/store/…/init` of a kernel's command line.
fn booted_with(line: &str) -> Option<StorePath> {
    let init = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("init="))?;
    init.strip_suffix("/init")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-box-26.11";

    #[test]
    fn systemd_boots_default_is_the_one_entry_that_says_so() {
        let entry = |name: &str, default: bool| {
            format!(
                r#"{{"type":"type1","id":"{name}.conf","options":"init={SYSTEM}{name}/init loglevel=4","isDefault":{default}}}"#
            )
        };
        let list = |entries: &[String]| format!("[{}]", entries.join(","));
        let of = |text: String| of_systemd_boot(text.as_bytes());
        let both = list(&[entry("a", false), entry("b", true)]);
        assert_eq!(of(both), Some(format!("{SYSTEM}b").parse().unwrap()));
        assert_eq!(of(list(&[entry("a", false)])), None);
        assert_eq!(of(list(&[entry("a", true), entry("b", true)])), None);
        assert_eq!(of("no json".to_owned()), None);
    }

    #[test]
    fn grubs_default_is_its_first_entry() {
        let text = format!(
            "set default=0\nmenuentry \"NixOS\" {{\n  linux ($drive1)//kernels/k init={SYSTEM}/init quiet\n}}\nmenuentry \"older\" {{\n  linux x init={SYSTEM}-old/init\n}}\n"
        );
        assert_eq!(of_grub(text.as_bytes()), Some(SYSTEM.parse().unwrap()));
        assert_eq!(of_grub(b"set default=0\n"), None);
    }
}
