//! `/proc/1/mountinfo`, as `proc_pid_mountinfo(5)` says: what is mounted where, and from which device.

use std::borrow::Cow;

use super::number::DeviceNumber;

/// The text is not what the kernel writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMountinfo {
    /// A line that cannot be read, from 1.
    #[error("line {0} is not an entry of mountinfo")]
    Line(usize),
    /// No process is without a root.
    #[error("no root is mounted in it")]
    NoRoot,
}

/// All mounts that a process has, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounts<'a>(Vec<Mount<'a>>);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount<'a> {
    id: u32,
    parent: u32,
    /// The device of its files; major 0 when the file system has no single block device.
    pub device: DeviceNumber,
    /// What of the file system is mounted: `/`, a subvolume, or the origin of a bind mount.
    pub root: Cow<'a, [u8]>,
    /// Where it is mounted.
    pub mount_point: Cow<'a, [u8]>,
    /// The type of the file system.
    pub fs: &'a str,
    /// What was mounted, as the file system tells it: often a device node.
    pub source: Cow<'a, [u8]>,
    /// The options of the file system.
    pub options: &'a [u8],
}

impl<'a> Mounts<'a> {
    /// Reads the whole text. One line that cannot be read fails all of it: it might be the mount that
    /// covers another one.
    pub fn parse(text: &'a [u8]) -> Result<Self, NotMountinfo> {
        let lines = text.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        let mount = |(i, line)| mount(line).ok_or(NotMountinfo::Line(i + 1));
        let mounts = Self(lines.map(mount).collect::<Result<_, _>>()?);
        mounts.root().is_some().then_some(mounts).ok_or(NotMountinfo::NoRoot)
    }

    /// The mount that is seen at `path` itself; one that another mount covers is not seen.
    pub fn at(&self, path: &[u8]) -> Option<&Mount<'a>> {
        self.holding(path).filter(|mount| *mount.mount_point == *path)
    }

    /// The mount that the file at `path` lies on, found as the kernel walks a path: at each mount, the
    /// shallowest of those mounted on it comes first.
    pub fn holding(&self, path: &[u8]) -> Option<&Mount<'a>> {
        let mut at = self.root()?;
        for _ in &self.0 {
            let on_it = |next: &&Mount<'_>| next.parent == at.id && next.id != at.id;
            let covers = |next: &&Mount<'_>| is_above(&next.mount_point, path);
            let next = self.0.iter().rev().filter(on_it).filter(covers);
            match next.min_by_key(|next| next.mount_point.len()) {
                Some(next) => at = next,
                None => return Some(at),
            }
        }
        None
    }

    /// The mounts that are seen at their mount point.
    pub fn seen(&self) -> impl Iterator<Item = &Mount<'a>> {
        self.0
            .iter()
            .filter(|mount| self.at(&mount.mount_point).is_some_and(|at| at.id == mount.id))
    }

    /// At `/`, and not on any other mount of this process.
    fn root(&self) -> Option<&Mount<'a>> {
        let is_root = |mount: &&Mount<'_>| {
            let parent = |other: &Mount<'_>| other.id == mount.parent && other.id != mount.id;
            *mount.mount_point == *b"/" && !self.0.iter().any(parent)
        };
        self.0.iter().find(is_root)
    }
}

impl Mount<'_> {
    /// Part of a file system that is itself mounted as a whole, or a file, bound to a second place.
    pub fn is_bind(&self) -> bool {
        match self.options.split(|b| *b == b',').find_map(|option| option.strip_prefix(b"subvol="))
        {
            Some(subvolume) => *unescape(subvolume) != *self.root,
            None => *self.root != *b"/",
        }
    }

    /// Whether its options name another device that it writes to: a journal or a real-time volume.
    pub fn has_second_device(&self) -> bool {
        const NAMES: [&[u8]; 4] = [b"logdev=", b"rtdev=", b"journal_dev=", b"journal_path="];
        let mut options = self.options.split(|b| *b == b',');
        options.any(|option| NAMES.iter().any(|name| option.starts_with(name)))
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|b| *b == b' ');
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let device = text(fields.next()?)?.parse().ok()?;
    let (root, mount_point) = (unescape(fields.next()?), unescape(fields.next()?));
    let _mount_options = fields.next()?;
    // Any number of optional fields, up to a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let (fs, source) = (text(fields.next()?)?, unescape(fields.next()?));
    let options = fields.next()?;
    let whole = mount_point.starts_with(b"/") && fields.next().is_none();
    whole.then_some(Mount { id, parent, device, root, mount_point, fs, source, options })
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

fn number(field: &[u8]) -> Option<u32> {
    text(field)?.parse().ok()
}

/// Whether `path` is `folder` or lies below it.
fn is_above(folder: &[u8], path: &[u8]) -> bool {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    path.strip_prefix(folder).is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
}

/// Space, tab, line feed, backslash and `#` are written as a backslash and three octal digits.
pub(super) fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, more @ ..] = rest {
        rest = more;
        match rest {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', more @ ..] if *first == b'\\' => {
                plain.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = more;
            }
            _ => plain.push(*first),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"\
        23 21 254:0 / / rw,relatime - ext4 /dev/mapper/one rw\n\
        28 23 254:1 / /srv rw,relatime shared:7 master:1 - ext4 /dev/mapper/data rw\n\
        29 28 254:2 / /srv/deep rw - ext4 /dev/mapper/deep rw\n\
        30 28 98:16 / /srv rw - ext4 /dev/ubdb rw\n\
        31 23 0:40 /@home/a /patient\\040files rw - btrfs /dev/mapper/c rw,subvolid=257,subvol=/@home\n";

    #[test]
    fn a_mount_is_found_where_a_path_leads_and_not_where_another_covers_it() {
        let mounts = Mounts::parse(TEXT).unwrap();
        let device = |path: &[u8]| mounts.at(path).map(|m| m.device.to_string());
        assert_eq!(device(b"/").unwrap(), "254:0");
        assert_eq!(device(b"/srv").unwrap(), "98:16");
        assert_eq!(device(b"/srv/deep"), None);
        assert_eq!(device(b"/srv/other"), None);
        assert_eq!(device(b"/srvx"), None);
        assert_eq!(mounts.holding(b"/srv/deep/x").unwrap().device.to_string(), "98:16");
        assert_eq!(mounts.holding(b"/srvx").unwrap().device.to_string(), "254:0");
        let seen: Vec<_> = mounts.seen().map(|m| m.device.to_string()).collect();
        assert_eq!(seen, ["254:0", "98:16", "0:40"]);
    }

    #[test]
    fn escapes_are_undone_and_a_bind_mount_of_part_of_a_subvolume_is_told_from_the_subvolume() {
        let mounts = Mounts::parse(TEXT).unwrap();
        let bound = mounts.at(b"/patient files").unwrap();
        assert!(bound.is_bind());
        assert!(!mounts.at(b"/srv").unwrap().is_bind());
        let subvolume = b"31 23 0:40 /@home /h rw - btrfs x rw,subvol=/@home";
        let text = [b"1 0 8:1 / / rw - ext4 x rw\n".as_slice(), subvolume].concat();
        let text = String::from_utf8(text).unwrap().replace("31 23", "31 1");
        assert!(!Mounts::parse(text.as_bytes()).unwrap().at(b"/h").unwrap().is_bind());
        assert_eq!(*unescape(b"a\\040b\\134\\0"), *b"a b\\\\0");
        assert_eq!(*unescape(b"\\777"), *b"\\777");
    }

    #[test]
    fn one_line_that_cannot_be_read_fails_the_whole_text() {
        for bad in [
            "1 0 8:1 / / rw ext4 x rw",
            "1 0 8 / / rw - ext4 x rw",
            "1 0 8:1 / / rw -",
            "x 0 8:1 / / rw - ext4 x rw",
            "1 0 8:1 / relative rw - ext4 x rw",
            "1 0 8:1 / / rw - ext4 x rw more",
        ] {
            let text = format!("1 0 8:1 / / rw - ext4 x rw\n{bad}\n");
            assert_eq!(Mounts::parse(text.as_bytes()), Err(NotMountinfo::Line(2)), "{bad}");
        }
        assert_eq!(Mounts::parse(b""), Err(NotMountinfo::NoRoot));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Mounts::parse(&bytes).map(|mounts| mounts.seen().count());
        }

        #[test]
        fn any_tree_of_mounts_even_a_circle_gives_an_answer(
            rows in proptest::collection::vec((0..6_u32, 0..6_u32, "(/[ab]){1,3}|/"), 0..8),
            path in "(/[ab]){1,4}",
        ) {
            let line = |(id, parent, at): &(u32, u32, String)| format!("{id} {parent} 8:{id} / {at} rw - ext4 x rw\n");
            let text: String = rows.iter().map(line).collect();
            if let Ok(mounts) = Mounts::parse(text.as_bytes()) {
                let at = mounts.holding(path.as_bytes());
                prop_assert!(at.is_none_or(|at| is_above(&at.mount_point, path.as_bytes())));
            }
        }
    }
}
