//! Which systems the boot loader starts, as its own configuration and the firmware's variables say. Pure.

use compliance_protocol::name::StorePath;
use serde_json::Value;

/// The entries of systemd-boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    id: String,
    system: Option<StorePath>,
    is_default: bool,
}

impl Entries {
    /// What `bootctl list --json=short` prints.
    pub fn parse(listed: &[u8]) -> Option<Self> {
        let entries: Vec<Value> = serde_json::from_slice(listed).ok()?;
        let entry = |entry: &Value| Entry {
            id: entry.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            system: match entry.get("options") {
                Some(Value::String(options)) => booted_with(options),
                Some(Value::Array(options)) => {
                    options.iter().filter_map(Value::as_str).find_map(booted_with)
                }
                _ => None,
            },
            is_default: entry.get("isDefault") == Some(&true.into()),
        };
        Some(Self(entries.iter().map(entry).collect()))
    }

    /// The system that is started by default; or once, if that was asked for.
    pub fn default(&self) -> Option<StorePath> {
        only(self.0.iter().filter(|entry| entry.is_default))?.system.clone()
    }

    /// The system of the one entry that `pattern` names, in which `*` stands for anything.
    pub fn called(&self, pattern: &str) -> Option<StorePath> {
        let is_called = |entry: &&Entry| match pattern.split_once('*') {
            None => entry.id == pattern,
            Some((start, end)) => {
                entry.id.strip_prefix(start).is_some_and(|rest| rest.ends_with(end))
            }
        };
        only(self.0.iter().filter(is_called))?.system.clone()
    }

    /// The id of the first entry of `system`.
    pub fn of(&self, system: &StorePath) -> Option<String> {
        let mut of_it = self.0.iter().filter(|entry| entry.system.as_ref() == Some(system));
        of_it.next().map(|entry| entry.id.clone())
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    all.next().filter(|_| all.next().is_none())
}

/// What `loader.conf` calls the default.
pub fn configured(configuration: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(configuration).ok()?;
    let words = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut values = words.filter_map(|words| match words[..] {
        ["default", value] => Some(value.to_owned()),
        _ => None,
    });
    values.next()
}

/// The text in a variable of the firmware: UTF-16, little-endian, ended by a zero.
pub fn text_of(variable: &[u8]) -> Option<String> {
    let units = variable.chunks(2).map(|pair| pair.try_into().map(u16::from_le_bytes));
    let units = units.collect::<Result<Vec<_>, _>>().ok()?;
    let text = units.split(|unit| *unit == 0).next()?;
    String::from_utf16(text).ok()
}

/// The system of the first entry of a `grub.cfg`, if that is the default: where another one is, or the one that was
/// chosen last, the file does not say which system that is.
pub fn of_grub(configuration: &[u8]) -> Option<StorePath> {
    let text = std::str::from_utf8(configuration).ok()?;
    let opens = |line: &&str| line.starts_with("menuentry ") || line.starts_with("submenu ");
    let head = text.lines().take_while(|line| !opens(line));
    // `grub-reboot` chooses an entry for one boot by `next_entry`, and the default stays what it is.
    let mut set = head
        .filter_map(|line| line.trim().strip_prefix("set default="))
        .filter(|value| *value != "\"${next_entry}\"");
    let is_first = set.next().is_some_and(|value| matches!(value, "0" | "\"0\""));
    if !is_first || set.next().is_some() {
        return None;
    }
    let mut entry = text.lines().skip_while(|line| !opens(line));
    entry.next().filter(|line| line.starts_with("menuentry "))?;
    let mut lines = entry.take_while(|line| *line != "}");
    lines.find(|line| line.trim_start().starts_with("linux")).and_then(booted_with)
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

    fn entry(name: &str, default: bool) -> String {
        format!(
            r#"{{"type":"type1","id":"{name}.conf","options":"init={SYSTEM}{name}/init loglevel=4","isDefault":{default}}}"#
        )
    }

    fn entries(entries: &[String]) -> Entries {
        Entries::parse(format!("[{}]", entries.join(",")).as_bytes()).unwrap()
    }

    fn system(name: &str) -> StorePath {
        format!("{SYSTEM}{name}").parse().unwrap()
    }

    #[test]
    fn systemd_boots_default_is_the_one_entry_that_says_so() {
        assert_eq!(entries(&[entry("a", false), entry("b", true)]).default(), Some(system("b")));
        assert_eq!(entries(&[entry("a", false)]).default(), None);
        assert_eq!(entries(&[entry("a", true), entry("b", true)]).default(), None);
        assert_eq!(Entries::parse(b"no json"), None);
    }

    #[test]
    fn an_entry_is_found_by_its_name_or_a_pattern_that_only_it_has() {
        let all = entries(&[entry("-1", false), entry("-2", true), entry("-21", false)]);
        assert_eq!(all.called("-1.conf"), Some(system("-1")));
        assert_eq!(all.called("-1*.conf"), Some(system("-1")));
        assert_eq!(all.called("-2*.conf"), None, "two are called that");
        assert_eq!(all.called("-3.conf"), None);
        assert_eq!(all.of(&system("-21")).unwrap(), "-21.conf");
        assert_eq!(all.of(&system("-3")), None);
    }

    #[test]
    fn what_the_loader_is_configured_with_and_what_a_variable_holds_are_names_of_entries() {
        let text = b"timeout 5\ndefault nixos-7.conf\nconsole-mode keep\n";
        assert_eq!(configured(text).unwrap(), "nixos-7.conf");
        assert_eq!(configured(b"timeout 5\n"), None);
        assert_eq!(text_of(b"a\0.\0b\0\0\0").unwrap(), "a.b");
        assert_eq!(text_of(b"a\0."), None, "half a character");
    }

    /// As NixOS writes it, with this default and this in place of the first entry's `menuentry`.
    fn grub(default: &str, first: &str) -> Option<StorePath> {
        let text = format!(
            "\
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ \"${{next_entry}}\" ]; then
  set default=\"${{next_entry}}\"
  set next_entry=
  save_env next_entry
else
  {default}
  set timeout=5
fi
{first} \"NixOS\" --class nixos --unrestricted {{
  search --set=drive1 --fs-uuid 0000-0000
  linux ($drive1)//kernels/k init={SYSTEM}/init quiet
  initrd ($drive1)//kernels/i
}}
submenu \"NixOS - All configurations\" --class submenu {{
menuentry \"older\" {{
  linux x init={SYSTEM}-old/init
}}
}}
"
        );
        of_grub(text.as_bytes())
    }

    #[test]
    fn grubs_default_is_its_first_entry_if_the_configuration_says_so() {
        for first in ["set default=0", "set default=\"0\""] {
            assert_eq!(grub(first, "menuentry"), Some(SYSTEM.parse().unwrap()), "{first}");
        }
    }

    #[test]
    fn which_system_is_grubs_default_is_unknown_where_that_is_chosen_elsewhere() {
        for other in [
            "set default=\"${saved_entry}\"",
            "set default=saved",
            "set default=1",
            "set default=\"1>2\"",
            "set default=\"NixOS\"",
            "set default=0\n  set default=1",
            "",
        ] {
            assert_eq!(grub(other, "menuentry"), None, "{other}");
        }
        assert_eq!(grub("set default=0", "submenu"), None, "a menu comes first");
        assert_eq!(grub("set default=0", "menuentry \"BIOS\" {\n}\nmenuentry"), None);
        assert_eq!(of_grub(b"set default=0\n"), None, "there is no entry");
    }
}
