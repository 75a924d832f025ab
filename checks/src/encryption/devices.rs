//! What a mount or a swap area stands on, from sysfs: a tree of devices down to the disks.

use std::collections::HashMap;
use std::rc::Rc;

use compliance_protocol::name::AbsPath;

use super::luks::{Header, MAX_HEADER, PREFIX, Prefix};
use super::mountinfo::{Mount, Mounts};
use super::number::DeviceNumber;
use super::swaps::Swap;
use crate::{Host, HostError};

/// What a mount or a swap area stands on, or why that cannot be said.
pub type StandsOn = Result<Rc<Device>, HostError>;

/// A device, or a file system that spans several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What it is.
    pub kind: Kind,
    /// What it stands on; empty where nothing was looked for.
    pub below: Vec<Rc<Self>>,
}

/// What a device is, as far as encryption is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A disk: below it is hardware.
    Disk,
    /// It writes what it is given to the devices below: a partition, LVM, md, btrfs.
    Layer,
    /// dm-crypt with a LUKS2 header, and what that says, or why it could not be read.
    Luks2(Result<Header, HostError>),
    /// dm-crypt without a LUKS2 header: which kind.
    OtherCrypt(&'static str),
    /// It keeps everything in memory.
    Memory,
    /// Something whose depth we do not see: what.
    Strange(String),
}

/// Headers that were read before, by the volume's device-mapper UUID, with the state they were in.
pub(super) type Headers = HashMap<String, ((u64, [u8; 64]), Header)>;

/// Looks devices up, each once.
pub(super) struct Devices<'a> {
    host: &'a dyn Host,
    headers: &'a mut Headers,
    known: HashMap<String, Rc<Device>>,
}

impl<'a> Devices<'a> {
    pub(super) fn new(host: &'a dyn Host, headers: &'a mut Headers) -> Self {
        Self { host, headers, known: HashMap::new() }
    }

    /// What a mount stands on.
    pub(super) fn of_mount(&mut self, mount: &Mount<'_>) -> StandsOn {
        self.below_mount(mount).map_err(|error| error.about(UNNAMED))
    }

    /// What a swap area stands on.
    pub(super) fn of_swap(&mut self, swap: &Swap<'_>, mounts: &Mounts<'_>) -> StandsOn {
        match swap {
            Swap::Device(node) => self.by_node(node).map_err(|error| error.about(UNNAMED)),
            Swap::File(path) => match mounts.holding(path) {
                Some(mount) => self.of_mount(mount),
                None => Ok(strange("file on no mount")),
            },
            Swap::Deleted => Ok(strange("deleted file")),
        }
    }

    fn below_mount(&mut self, mount: &Mount<'_>) -> StandsOn {
        if mount.device.major == 0 {
            return match mount.fs {
                "btrfs" => self.of_btrfs(mount),
                fs => Ok(strange(fs)),
            };
        }
        if mount.has_second_device() {
            return Ok(strange("file system with a second device"));
        }
        self.by_number(mount.device)
    }

    /// A btrfs may have several devices, of which its mount names one.
    fn of_btrfs(&mut self, mount: &Mount<'_>) -> StandsOn {
        let one = self.name_of_node(&mount.source)?;
        let all = "/sys/fs/btrfs";
        for id in self.host.list(&path(all)?)? {
            let devices = format!("{all}/{id}/devices");
            let names = match self.host.list(&path(&devices)?) {
                Ok(names) => names,
                Err(HostError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            if names.contains(&one) {
                return self.layer(&names, 0).map(Rc::new);
            }
        }
        Ok(strange("btrfs that the kernel does not list"))
    }

    fn by_node(&mut self, node: &[u8]) -> StandsOn {
        let name = self.name_of_node(node)?;
        self.by_name(&name, 0)
    }

    fn name_of_node(&self, node: &[u8]) -> Result<String, HostError> {
        let node = std::str::from_utf8(node).map_err(|_| garbage("its name is not UTF-8"))?;
        let rdev = self.host.stat(&path(node)?)?.rdev;
        let number = DeviceNumber::of_rdev(rdev).filter(|number| number.major != 0);
        self.name_of(number.ok_or_else(|| garbage("it is not a device"))?)
    }

    fn by_number(&mut self, number: DeviceNumber) -> StandsOn {
        let name = self.name_of(number)?;
        self.by_name(&name, 0)
    }

    fn name_of(&self, number: DeviceNumber) -> Result<String, HostError> {
        let link = self.host.read_link(&path(&format!("/sys/dev/block/{number}"))?)?;
        Ok(link.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// The device of that name in sysfs.
    fn by_name(&mut self, name: &str, depth: usize) -> StandsOn {
        if let Some(known) = self.known.get(name) {
            return Ok(Rc::clone(known));
        }
        if depth > MAX_DEPTH || self.known.len() > MAX_DEVICES {
            return Err(garbage("there are too many devices below each other"));
        }
        let device = Rc::new(self.look(name, depth)?);
        self.known.insert(name.to_owned(), Rc::clone(&device));
        Ok(device)
    }

    fn look(&mut self, name: &str, depth: usize) -> Result<Device, HostError> {
        let place = self.host.read_link(&attribute(name, "")?)?;
        let is_virtual = place.contains("/virtual/block/");
        if is_virtual && name.starts_with("dm-") {
            return self.look_at_mapper(name, depth);
        }
        if self.read(name, "partition").is_ok() {
            let parent =
                place.rsplit('/').nth(1).ok_or_else(|| garbage("it has no place in sysfs"))?;
            return self.layer(&[parent.to_owned()], depth);
        }
        match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            _ if !is_virtual => Ok(Device { kind: Kind::Disk, below: Vec::new() }),
            "md" => self.layer(&self.slaves(name)?, depth),
            "zram" => self.look_at_zram(name),
            stem => Ok(Device { kind: Kind::Strange(stem.to_owned()), below: Vec::new() }),
        }
    }

    fn look_at_mapper(&mut self, name: &str, depth: usize) -> Result<Device, HostError> {
        let uuid = self.read(name, "dm/uuid")?;
        let slaves = self.slaves(name)?;
        let (subsystem, rest) = uuid.split_once('-').unwrap_or((&uuid, ""));
        let kind = match subsystem {
            "CRYPT" if rest.starts_with("LUKS2-") => {
                // What is below does not matter, but to read the header.
                let header =
                    self.header(&uuid, &slaves).map_err(|error| error.about("its LUKS header"));
                return Ok(Device { kind: Kind::Luks2(header), below: Vec::new() });
            }
            "CRYPT" => match rest.split('-').next() {
                Some("LUKS1") => Kind::OtherCrypt("LUKS1"),
                Some("PLAIN") => Kind::OtherCrypt("dm-crypt without a LUKS header"),
                Some("VERITY" | "INTEGRITY") => Kind::Layer,
                _ => Kind::OtherCrypt("dm-crypt of another format"),
            },
            "LVM" => Kind::Layer,
            // kpartx(8) maps partitions.
            part if part.starts_with("part") && !rest.is_empty() => Kind::Layer,
            _ => Kind::Strange(mapper_kind(subsystem)),
        };
        let Device { below, .. } = self.layer(&slaves, depth)?;
        Ok(Device { kind, below })
    }

    /// zram can be told to write idle pages to a disk.
    fn look_at_zram(&self, name: &str) -> Result<Device, HostError> {
        let kind = match self.read(name, "backing_dev") {
            Ok(device) if device == "none" => Kind::Memory,
            Ok(_) => Kind::Strange("zram with a backing device".to_owned()),
            Err(HostError::NotFound(_)) => Kind::Memory,
            Err(error) => return Err(error),
        };
        Ok(Device { kind, below: Vec::new() })
    }

    fn layer(&mut self, names: &[String], depth: usize) -> Result<Device, HostError> {
        let below: Result<_, _> = names.iter().map(|name| self.by_name(name, depth + 1)).collect();
        Ok(Device { kind: Kind::Layer, below: below? })
    }

    fn slaves(&self, name: &str) -> Result<Vec<String>, HostError> {
        self.host.list(&attribute(name, "/slaves")?)
    }

    /// The header of the LUKS2 volume `uuid`, from the one device below it.
    fn header(&mut self, uuid: &str, slaves: &[String]) -> Result<Header, HostError> {
        let [slave] = slaves else {
            return Err(garbage("the volume does not stand on one device"));
        };
        let node = self.node(slave)?;
        let bad = |error: super::luks::NotLuks2| garbage(&error.to_string());
        let prefix = Prefix::parse(&self.host.read_head(&node, PREFIX)?).map_err(bad)?;
        // `CRYPT-LUKS2-<UUID without hyphens>-<name>`.
        let mapped = uuid.split('-').nth(2).unwrap_or_default();
        if prefix.uuid.replace('-', "") != mapped {
            return Err(garbage("the header below is another volume's"));
        }
        if let Some((_, header)) =
            self.headers.get(uuid).filter(|(state, _)| *state == prefix.state)
        {
            return Ok(header.clone());
        }
        let bytes = self.host.read_head(&node, prefix.length.min(MAX_HEADER))?;
        let header = Header::parse(&bytes).map_err(bad)?;
        self.headers.insert(uuid.to_owned(), (prefix.state, header.clone()));
        Ok(header)
    }

    /// The node of the device of that name in sysfs.
    fn node(&self, name: &str) -> Result<AbsPath, HostError> {
        let event = self.read(name, "uevent")?;
        let node = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        path(&format!("/dev/{}", node.ok_or_else(|| garbage("the device has no node"))?))
    }

    fn read(&self, name: &str, what: &str) -> Result<String, HostError> {
        let bytes = self.host.read(&attribute(name, &format!("/{what}"))?, MAX_ATTRIBUTE)?;
        let text = String::from_utf8(bytes).map_err(|_| garbage("it is not UTF-8"))?;
        Ok(text.trim_end().to_owned())
    }
}

/// How many devices may stand on each other.
const MAX_DEPTH: usize = 16;

/// How many devices are looked at in one round.
const MAX_DEVICES: usize = 512;

/// An attribute in sysfs has at most a page.
const MAX_ATTRIBUTE: usize = 4096;

fn attribute(name: &str, what: &str) -> Result<AbsPath, HostError> {
    path(&format!("/sys/class/block/{name}{what}"))
}

fn path(text: &str) -> Result<AbsPath, HostError> {
    text.parse().map_err(|_| garbage("its name is not a plain path"))
}

/// Devices are called so in evidence, which names nothing that the baseline does not name.
pub(super) const UNNAMED: &str = "what it stands on";

fn garbage(why: &str) -> HostError {
    HostError::Garbage { what: UNNAMED.to_owned(), why: why.to_owned() }
}

fn strange(what: &str) -> Rc<Device> {
    Rc::new(Device { kind: Kind::Strange(what.to_owned()), below: Vec::new() })
}

/// Other subsystems than those above that are known by name; the rest of a UUID may hold anything.
fn mapper_kind(subsystem: &str) -> String {
    match subsystem {
        "mpath" | "DMRAID" | "STRATIS" | "VDO" => format!("device-mapper volume of {subsystem}"),
        "" => "device-mapper volume without a UUID".to_owned(),
        _ => "device-mapper volume of a kind that is not known here".to_owned(),
    }
}
