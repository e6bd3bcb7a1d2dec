//! What can be wrong with bytes from the peer.

use thiserror::Error;

use crate::code::ProtocolCode;

/// Bytes that this version cannot take.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum WireError {
    /// Bytes that are not what must stand there.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A frame type that must be understood and is not.
    #[error("unknown frame type {0:#x}")]
    UnknownFrame(u64),
    /// A length over its limit.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A HELLO or a WELCOME of versions that this side does not speak.
    #[error("no protocol version in common: the peer speaks {min} to {max}")]
    Version {
        /// The lowest version that the peer speaks.
        min: u8,
        /// The highest version that the peer speaks.
        max: u8,
        /// The packet's nonce, which a REJECT has to echo; zero where there is none.
        nonce: [u8; 16],
    },
}

impl WireError {
    /// The protocol code to answer with.
    pub(crate) fn code(&self) -> ProtocolCode {
        match self {
            WireError::Malformed(_) => ProtocolCode::Malformed,
            WireError::UnknownFrame(_) => ProtocolCode::UnknownFrame,
            WireError::TooLarge { .. } => ProtocolCode::TooLarge,
            WireError::Version { .. } => ProtocolCode::Version,
        }
    }

    /// `Ok` when `size` is within `limit`.
    pub(super) fn check_size(what: &'static str, size: u64, limit: usize) -> Result<(), WireError> {
        let limit = limit as u64;
        if size <= limit { Ok(()) } else { Err(WireError::TooLarge { what, size, limit }) }
    }
}
