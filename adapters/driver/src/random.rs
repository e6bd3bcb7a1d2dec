//! Randomness, from which machines draw ids and secrets.

use std::io;

use crate::error::NoRandomness;

/// A seed of the system's randomness.
pub(crate) fn seed() -> Result<[u8; 32], NoRandomness> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| NoRandomness(io::Error::other(error)))?;
    Ok(seed)
}
