//! The one place where this program draws randomness.

use crate::Error;

/// `N` random bytes from the kernel.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
