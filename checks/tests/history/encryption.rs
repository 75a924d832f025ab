//! A machine with LVM on LUKS2, an encrypted btrfs, removable disks and swap.

use compliance_checks::encryption::Encryption;
use compliance_checks::{Check, Host};
use compliance_protocol::digest::Digest;
use compliance_protocol::time::Timestamp;
use compliance_testkit::host::FakeHost;
use nix::sys::stat::makedev;
use serde_json::{Value, json};

use super::{Event, Machine};

#[derive(Clone)]
pub(super) struct Volumes {
    /// Where the numbers of the device mapper start: another at each boot.
    first: u32,
    /// How often the header was written; cryptsetup counts.
    sequence: u64,
    keyslots: u32,
    cipher: &'static str,
    key_bytes: u32,
    format: &'static str,
    /// What is mounted besides, from below to above: mount point, device, type.
    others: Vec<(&'static str, String, &'static str)>,
    root_is_mounted: bool,
    swaps: Vec<Swap>,
    /// The volume group and the btrfs each stand on a plain disk, too.
    plain_in_group: bool,
    plain_in_btrfs: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Swap {
    Logical,
    File,
    Zram,
    PlainPartition,
    RandomKey,
}

/// The plain disk.
const SDB: &str = "8:16";

impl Default for Volumes {
    fn default() -> Self {
        Self {
            first: 0,
            sequence: 3,
            keyslots: 1,
            cipher: "aes-xts-plain64",
            key_bytes: 64,
            format: "LUKS2",
            others: Vec::new(),
            root_is_mounted: true,
            swaps: Vec::new(),
            plain_in_group: false,
            plain_in_btrfs: false,
        }
    }
}

impl Machine for Volumes {
    const HARMS: usize = 11;

    fn check() -> impl Check {
        Encryption::default()
    }

    fn baseline() -> Value {
        json!({ "encryption": { "mounts": ["/", "/srv", "/home"] } })
    }

    fn live(&mut self, event: Event) {
        let dm = |n: u32| format!("254:{}", self.first + n);
        let root = dm(1);
        match event.one_of(9) {
            0 => self.first = event.below(40),
            1 => (self.sequence, self.keyslots) = (self.sequence + 1, 1 + event.below(7)),
            2 => self.others.push(("/run/media/stick", SDB.to_owned(), "vfat")),
            3 => self.others.push((
                "/var/lib/docker/overlay2/x/merged",
                "0:77".to_owned(),
                "overlay",
            )),
            4 => self.others.push(("/tmp", "0:50".to_owned(), "tmpfs")),
            5 => self.others.push(("/nix/store", root, "ext4")),
            6 => self.others.clear(),
            7 => self.swaps.clear(),
            _ => self.swaps.push([Swap::Logical, Swap::File, Swap::Zram][event.below(3) as usize]),
        }
        // Numbers of the device mapper are of one boot.
        if event.one_of(9) == 0 {
            self.others.clear();
        }
    }

    fn harm(&mut self, kind: usize, event: Event) {
        match kind {
            0 => self.root_is_mounted = false,
            1 => self.others.push(("/srv", SDB.to_owned(), "ext4")),
            2 => self.others.push(("/", SDB.to_owned(), "ext4")),
            3 => self.plain_in_group = true,
            4 => self.plain_in_btrfs = true,
            5 => self.swaps.insert(event.below(1) as usize, Swap::PlainPartition),
            6 => self.swaps.push(Swap::RandomKey),
            7 => (self.cipher, self.sequence) = ("aes-cbc-essiv:sha256", self.sequence + 1),
            8 => (self.key_bytes, self.sequence) = (32, self.sequence + 1),
            9 => self.format = "LUKS1",
            _ => (self.cipher, self.sequence) = ("cipher_null-ecb", self.sequence + 1),
        }
    }

    fn show(&self, look: &mut dyn FnMut(&dyn Host)) {
        let host = FakeHost::default();
        self.write_tables(&host);
        self.write_sysfs(&host);
        host.write("/dev/sda2", self.header());
        look(&host);
    }
}

impl Volumes {
    fn dm(&self, n: u32) -> String {
        format!("dm-{}", self.first + n)
    }

    fn write_tables(&self, host: &FakeHost) {
        let dm = |n: u32| format!("254:{}", self.first + n);
        let mut mounts =
            format!("21 1 {} / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n", dm(1));
        if self.root_is_mounted {
            mounts += &format!("22 21 {} / /srv rw - ext4 /dev/mapper/vg-srv rw\n", dm(2));
        }
        mounts += "23 21 0:33 /@home /home rw - btrfs /dev/mapper/data rw,subvol=/@home\n";
        mounts += "24 21 0:21 / /proc rw - proc proc rw\n";
        let mut top = [("/", 21), ("/srv", 22)];
        for (id, (at, device, fs)) in (30..).zip(&self.others) {
            let parent = top.iter_mut().find(|(place, _)| place == at);
            let below = parent.map_or(21, |(_, top)| std::mem::replace(top, id));
            mounts += &format!("{id} {below} {device} / {at} rw - {fs} x rw\n");
        }
        host.write("/proc/1/mountinfo", mounts);
        let mut swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_owned();
        for swap in &self.swaps {
            let (node, kind) = match swap {
                Swap::Logical => (format!("/dev/{}", self.dm(3)), "partition"),
                Swap::File => ("/srv/swap\\040file".to_owned(), "file"),
                Swap::Zram => ("/dev/zram0".to_owned(), "partition"),
                Swap::PlainPartition => ("/dev/sdb1".to_owned(), "partition"),
                Swap::RandomKey => (format!("/dev/{}", self.dm(5)), "partition"),
            };
            swaps += &format!("{node}\t{kind}\t65532\t0\t-2\n");
        }
        host.write("/proc/swaps", swaps);
    }

    fn write_sysfs(&self, host: &FakeHost) {
        let disks = "../../devices/pci0000:00/0000:00:1f.2/ata1/host0/block";
        for (name, number, place) in [
            ("sda", 0, "sda"),
            ("sda2", 2, "sda/sda2"),
            ("sdb", 16, "sdb"),
            ("sdb1", 17, "sdb/sdb1"),
        ] {
            let slaves: &[String] = &[];
            device(host, name, (8, number), &format!("{disks}/{place}"), slaves);
            if place.contains('/') {
                host.write(&format!("/sys/class/block/{name}/partition"), "1\n");
            }
        }
        device(host, "zram0", (252, 0), "../../devices/virtual/block/zram0", &[]);
        let crypt = self.dm(0);
        let mut group = vec![crypt.clone()];
        group.extend(self.plain_in_group.then(|| "sdb1".to_owned()));
        let uuid = format!("CRYPT-{}-59af8d8f8a6d49ff80ebfb8a6773f012-cryptroot", self.format);
        self.mapped(host, 0, &uuid, &["sda2".to_owned()]);
        for n in 1..=4 {
            self.mapped(host, n, &format!("LVM-8dHeOscdK3rcjgDPeKZy{n}"), &group);
        }
        self.mapped(host, 5, "CRYPT-PLAIN-swap", &["sdb1".to_owned()]);
        host.set_device("/dev/mapper/data", makedev(254, u64::from(self.first + 4)));
        let devices = "/sys/fs/btrfs/03999b56-47fd-41d2-931c-f2a38dd34888/devices";
        host.link(&format!("{devices}/{}", self.dm(4)), "x", Timestamp::from_millis(0));
        if self.plain_in_btrfs {
            host.link(&format!("{devices}/sdb"), "x", Timestamp::from_millis(0));
        }
        host.write("/sys/fs/btrfs/features/supported_checksums", "crc32c\n");
    }

    fn mapped(&self, host: &FakeHost, n: u32, uuid: &str, slaves: &[String]) {
        let name = self.dm(n);
        let place = format!("../../devices/virtual/block/{name}");
        device(host, &name, (254, self.first + n), &place, slaves);
        host.write(&format!("/sys/class/block/{name}/dm/uuid"), format!("{uuid}\n"));
    }

    fn header(&self) -> Vec<u8> {
        let slots: serde_json::Map<_, _> = (0..self.keyslots)
            .map(|n| (n.to_string(), json!({ "type": "luks2", "key_size": self.key_bytes })))
            .collect();
        let ids: Vec<_> = slots.keys().cloned().collect();
        let json = json!({
            "keyslots": slots,
            "segments": { "0": { "type": "crypt", "offset": "16777216", "encryption": self.cipher } },
            "digests": { "0": { "type": "pbkdf2", "keyslots": ids, "segments": ["0"] } },
            "tokens": {},
            "config": { "json_size": "4096" },
        });
        let mut header = vec![0; 8192];
        header[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
        header[8..16].copy_from_slice(&8192_u64.to_be_bytes());
        header[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        header[72..78].copy_from_slice(b"sha256");
        header[168..204].copy_from_slice(b"59af8d8f-8a6d-49ff-80eb-fb8a6773f012");
        let json = json.to_string();
        header[4096..4096 + json.len()].copy_from_slice(json.as_bytes());
        let sum = Digest::of(&header);
        header[448..480].copy_from_slice(sum.as_bytes());
        header
    }
}

fn device(host: &FakeHost, name: &str, (major, minor): (u32, u32), place: &str, slaves: &[String]) {
    let at = Timestamp::from_millis(0);
    host.link(&format!("/sys/class/block/{name}"), place, at);
    host.link(&format!("/sys/dev/block/{major}:{minor}"), place, at);
    host.write(&format!("/sys/class/block/{name}/uevent"), format!("DEVNAME={name}\n"));
    host.set_device(&format!("/dev/{name}"), makedev(u64::from(major), u64::from(minor)));
    for slave in slaves {
        host.link(&format!("/sys/class/block/{name}/slaves/{slave}"), "x", at);
    }
}
