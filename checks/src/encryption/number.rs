//! Device numbers.

use std::fmt;
use std::str::FromStr;

/// The number of a block device, as the kernel writes it: `253:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// Which driver; 0 is none.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// The text is not two numbers with a colon between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a device number is written as major:minor")]
pub struct NotADeviceNumber;

impl DeviceNumber {
    /// Takes apart what stat(2) gives.
    pub fn of_rdev(rdev: u64) -> Option<Self> {
        let part = |n: u64| u32::try_from(n).ok();
        Some(Self {
            major: part(nix::sys::stat::major(rdev))?,
            minor: part(nix::sys::stat::minor(rdev))?,
        })
    }
}

impl FromStr for DeviceNumber {
    type Err = NotADeviceNumber;

    fn from_str(text: &str) -> Result<Self, NotADeviceNumber> {
        let (major, minor) = text.split_once(':').ok_or(NotADeviceNumber)?;
        match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) => Ok(Self { major, minor }),
            _ => Err(NotADeviceNumber),
        }
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}
