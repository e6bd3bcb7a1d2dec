//! HELLO, WELCOME and REJECT to bytes and back (PROTOCOL.md §3.3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::WireError;
use super::frame::to_postcard;
use super::lane_states::LaneStates;
use super::tlv::{Tag, TlvReader, TlvWriter};
use crate::code::{MAX_REASON, ProtocolCode};
use crate::config::{MAX_ADDRESS, MAX_AUTH};
use crate::crypto::{Mac, MacKey};
use crate::ids::SessionId;

/// The version of the protocol that this code speaks.
pub(crate) const VERSION: u8 = 1;

/// What a handshake packet begins with. As a frame type it is odd and never assigned.
const MAGIC: [u8; 4] = [0xD3, b's', b'f', b'd'];

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REJECT: u8 = 3;

/// A handshake packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Handshake {
    /// The client wants a session, new or old.
    Hello(Hello),
    /// The server grants it.
    Welcome(Welcome),
    /// The server does not.
    Reject(Reject),
}

/// What a client says first on each link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The lowest and the highest version that the client speaks.
    pub(crate) versions: (u8, u8),
    /// Random; the answer repeats it.
    pub(crate) nonce: [u8; 16],
    /// For the application of the server; at most [`MAX_AUTH`] bytes, may be empty.
    pub(crate) auth: Bytes,
    /// What the client wants.
    pub(crate) kind: HelloKind,
}

/// What a HELLO asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum HelloKind {
    /// A new session. The same `open_id` is the same open.
    Open { open_id: [u8; 16], params: Params },
    /// To go on with a session on this link.
    Resume { session: SessionId, epoch: u64, lanes: LaneStates, mac: Mac },
}

/// A server's yes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The version that both speak from now on.
    pub(crate) version: u8,
    /// The HELLO's nonce.
    pub(crate) nonce: [u8; 16],
    /// What is granted.
    pub(crate) kind: WelcomeKind,
}

/// What a WELCOME grants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum WelcomeKind {
    /// A new session.
    Opened { session: SessionId, secret: [u8; 32], epoch: u64, retention_ms: u64, params: Params },
    /// The session goes on.
    Resumed { epoch: u64, lanes: LaneStates, mac: Mac },
}

/// A server's no. Only a session that is known has a MAC in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Reject {
    /// The server's version.
    pub(crate) version: u8,
    /// The HELLO's nonce.
    pub(crate) nonce: [u8; 16],
    /// Why.
    pub(crate) code: ProtocolCode,
    /// The application's own code, where it was the application that refused or closed.
    pub(crate) app_code: Option<u32>,
    /// A text for people, at most [`MAX_REASON`] bytes.
    pub(crate) reason: Box<str>,
    /// How long to wait before the next attempt.
    pub(crate) retry_after_ms: Option<u64>,
    /// Where to go instead, at most 1,024 bytes.
    pub(crate) address: Option<Box<str>>,
    /// The newest epoch, for a client that is fenced.
    pub(crate) current_epoch: Option<u64>,
    /// The proof that it is the session's server that says so.
    pub(crate) mac: Option<Mac>,
}

/// What each side announces for a whole incarnation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Params {
    /// The silence that the sender tolerates.
    pub(crate) silence_ms: u32,
    /// The largest message that the sender takes, in bytes.
    pub(crate) max_message: u64,
    /// The largest headers that the sender takes, in bytes.
    pub(crate) max_headers: u64,
    /// The credit of the main lane at the start.
    pub(crate) main_window: u64,
    /// The credit of every other lane at the start.
    pub(crate) lane_window: u64,
    /// How many lanes the peer may open, to begin with.
    pub(crate) max_lanes: u32,
}

/// Whether a packet whose first byte this is may be a handshake packet.
pub(super) fn starts_like_handshake(first: Option<&u8>) -> bool {
    first == Some(&MAGIC[0])
}

/// Whether `packet` is a handshake packet; else it is a sequence of frames.
pub(crate) fn is_handshake(packet: &[u8]) -> bool {
    packet.starts_with(&MAGIC)
}

/// The handshake in `packet`, and how many bytes of it the MAC covers (all of them when it has none).
///
/// # Errors
/// When it is malformed, over a limit, or of a version that is not spoken here. A REJECT is read whatever its version.
pub(crate) fn decode_handshake(packet: &Bytes) -> Result<(Handshake, usize), WireError> {
    let Some([kind, head @ ..]) = packet.strip_prefix(&MAGIC) else {
        return Err(WireError::Malformed("handshake"));
    };
    let (versions, start) = match (*kind, head) {
        (HELLO, [min, max, ..]) if min <= max => ((*min, *max), MAGIC.len() + 3),
        (WELCOME | REJECT, [version, ..]) => ((*version, *version), MAGIC.len() + 2),
        _ => return Err(WireError::Malformed("handshake")),
    };
    let (mut tlvs, covered) = TlvReader::new(packet, start)?;
    if *kind != REJECT && !(versions.0..=versions.1).contains(&VERSION) {
        let nonce = tlvs.array(Tag::Nonce).unwrap_or_default();
        return Err(WireError::Version { min: versions.0, max: versions.1, nonce });
    }
    let handshake = match *kind {
        HELLO => Handshake::Hello(Hello::decode(versions, &mut tlvs)?),
        WELCOME => Handshake::Welcome(Welcome::decode(versions.0, &mut tlvs)?),
        _ => Handshake::Reject(Reject::decode(versions.0, &mut tlvs)?),
    };
    tlvs.finish()?;
    Ok((handshake, covered))
}

impl Handshake {
    /// The packet, without a MAC. A reason over its limit is cut, an address over its limit is left out.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.write().finish()
    }

    /// The packet, closed with the MAC of `transcript` and all that stands before the MAC. The `mac` in `self` is not
    /// looked at.
    pub(crate) fn encode_with_mac(&self, key: &MacKey, transcript: &[u8]) -> Vec<u8> {
        let mut packet = self.write();
        packet.mac(key, transcript);
        packet.finish()
    }

    fn write(&self) -> TlvWriter {
        match self {
            Handshake::Hello(hello) => hello.write(),
            Handshake::Welcome(welcome) => welcome.write(),
            Handshake::Reject(reject) => reject.write(),
        }
    }
}

impl Hello {
    fn decode(versions: (u8, u8), tlvs: &mut TlvReader) -> Result<Hello, WireError> {
        let nonce = tlvs.array(Tag::Nonce)?;
        let auth = tlvs.optional(Tag::Auth).unwrap_or_default();
        WireError::check_size("authentication payload", auth.len() as u64, MAX_AUTH)?;
        // It outlives the packet by far, and must not keep the packet's buffer.
        let auth = Bytes::copy_from_slice(&auth);
        let kind = if tlvs.has(Tag::Session) {
            HelloKind::Resume {
                session: SessionId::from_bytes(tlvs.array(Tag::Session)?),
                epoch: tlvs.number(Tag::Epoch)?,
                lanes: LaneStates::decode(tlvs.bytes(Tag::Lanes)?)?,
                mac: tlvs.mac()?,
            }
        } else {
            HelloKind::Open { open_id: tlvs.array(Tag::OpenId)?, params: Params::decode(tlvs)? }
        };
        Ok(Hello { versions, nonce, auth, kind })
    }

    fn write(&self) -> TlvWriter {
        let mut packet = TlvWriter::new(&[&MAGIC, &[HELLO, self.versions.0, self.versions.1]]);
        packet.bytes(Tag::Nonce, &self.nonce);
        match &self.kind {
            HelloKind::Open { open_id, params } => {
                packet.bytes(Tag::OpenId, open_id).bytes(Tag::Params, &to_postcard(params));
            }
            HelloKind::Resume { session, epoch, lanes, .. } => {
                packet.bytes(Tag::Session, session.as_bytes()).number(Tag::Epoch, *epoch);
                packet.bytes(Tag::Lanes, &lanes.encode());
            }
        }
        if !self.auth.is_empty() {
            packet.bytes(Tag::Auth, &self.auth);
        }
        packet
    }
}

impl Welcome {
    fn decode(version: u8, tlvs: &mut TlvReader) -> Result<Welcome, WireError> {
        let nonce = tlvs.array(Tag::Nonce)?;
        let epoch = tlvs.number(Tag::Epoch)?;
        let kind = if tlvs.has(Tag::Session) {
            WelcomeKind::Opened {
                session: SessionId::from_bytes(tlvs.array(Tag::Session)?),
                secret: tlvs.array(Tag::Secret)?,
                epoch,
                retention_ms: tlvs.number(Tag::Retention)?,
                params: Params::decode(tlvs)?,
            }
        } else {
            WelcomeKind::Resumed { epoch, lanes: LaneStates::decode(tlvs.bytes(Tag::Lanes)?)?, mac: tlvs.mac()? }
        };
        Ok(Welcome { version, nonce, kind })
    }

    fn write(&self) -> TlvWriter {
        let mut packet = TlvWriter::new(&[&MAGIC, &[WELCOME, self.version]]);
        packet.bytes(Tag::Nonce, &self.nonce);
        match &self.kind {
            WelcomeKind::Opened { session, secret, epoch, retention_ms, params } => {
                packet.bytes(Tag::Session, session.as_bytes()).number(Tag::Epoch, *epoch);
                packet.bytes(Tag::Secret, secret).number(Tag::Retention, *retention_ms);
                packet.bytes(Tag::Params, &to_postcard(params));
            }
            WelcomeKind::Resumed { epoch, lanes, .. } => {
                packet.number(Tag::Epoch, *epoch).bytes(Tag::Lanes, &lanes.encode());
            }
        }
        packet
    }
}

impl Reject {
    fn decode(version: u8, tlvs: &mut TlvReader) -> Result<Reject, WireError> {
        Ok(Reject {
            version,
            nonce: tlvs.array(Tag::Nonce)?,
            code: ProtocolCode::from_number(tlvs.code(Tag::Code)?),
            app_code: if tlvs.has(Tag::AppCode) { Some(tlvs.code(Tag::AppCode)?) } else { None },
            reason: tlvs.text(Tag::Reason, "reason", MAX_REASON)?.unwrap_or_default(),
            retry_after_ms: tlvs.optional_number(Tag::RetryAfter)?,
            address: tlvs.text(Tag::Address, "address", MAX_ADDRESS)?,
            current_epoch: tlvs.optional_number(Tag::CurrentEpoch)?,
            mac: if tlvs.has(Tag::Mac) { Some(tlvs.mac()?) } else { None },
        })
    }

    fn write(&self) -> TlvWriter {
        let mut packet = TlvWriter::new(&[&MAGIC, &[REJECT, self.version]]);
        packet.bytes(Tag::Nonce, &self.nonce).number(Tag::Code, u64::from(self.code.number()));
        if let Some(code) = self.app_code {
            packet.number(Tag::AppCode, u64::from(code));
        }
        if !self.reason.is_empty() {
            packet.bytes(Tag::Reason, self.reason.as_bytes());
        }
        if let Some(millis) = self.retry_after_ms {
            packet.number(Tag::RetryAfter, millis);
        }
        if let Some(address) = self.address.as_deref().filter(|address| address.len() <= MAX_ADDRESS) {
            packet.bytes(Tag::Address, address.as_bytes());
        }
        if let Some(epoch) = self.current_epoch {
            packet.number(Tag::CurrentEpoch, epoch);
        }
        packet
    }
}

impl Params {
    /// Reads what this version knows and leaves what a later one has added behind it.
    fn decode(tlvs: &mut TlvReader) -> Result<Params, WireError> {
        let value = tlvs.bytes(Tag::Params)?;
        postcard::take_from_bytes(&value).map(|(params, _)| params).map_err(|_| Tag::Params.malformed())
    }
}
