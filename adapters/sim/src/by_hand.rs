//! Packets, frames and records made by hand, for peers that do not keep to the protocol: nothing is checked, so that
//! anything can be said (PROTOCOL.md §3, §4.2).

pub(crate) const MAGIC: [u8; 4] = [0xD3, b's', b'f', b'd'];
/// Types of TLVs in a handshake.
const OPEN_ID: u64 = 1;
const AUTH: u64 = 2;
const PARAMS: u64 = 3;
const SESSION: u64 = 4;
const EPOCH: u64 = 5;
const NONCE: u64 = 6;
const LANES: u64 = 7;
const SECRET: u64 = 8;
const RETENTION: u64 = 9;
const MAC: u64 = 10;
const CODE: u64 = 11;
const ADDRESS: u64 = 14;

/// A datagram of the short form with these frames (PROTOCOL.md §14.1).
pub fn datagram(connection_id: [u8; 8], number: u64, frames: &[u8]) -> Vec<u8> {
    let body = [&[0][..], &connection_id, &varint(number), frames].concat();
    let checksum = !body.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    [body, checksum.to_le_bytes().to_vec()].concat()
}

/// A number in LEB128.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn numbers(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| varint(*value)).collect()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A packet of this body, with its length in front.
pub fn packet(body: &[u8]) -> Vec<u8> {
    sized(body)
}

/// The first packet of a stream, with its length in front.
///
/// # Panics
/// When it is not there.
pub fn first_packet(stream: &[u8]) -> &[u8] {
    let (len, size) = read(stream).expect("a length");
    &stream[..size + len as usize]
}

/// A varint at the beginning, and its size.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let size = 1 + bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..size].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F));
    Some((value, size))
}

// ---- handshakes ----

/// What a side announces about itself (PROTOCOL.md §3.3, PARAMS).
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// The silence that it tolerates, in milliseconds.
    pub silence: u64,
    /// The credit of the main lane at the start.
    pub main_window: u64,
    /// The credit of every other lane at the start.
    pub lane_window: u64,
    /// How many lanes the peer may open.
    pub max_lanes: u64,
}

impl Default for Announcement {
    /// Generous.
    fn default() -> Announcement {
        Announcement { silence: 15_000, main_window: 1 << 30, lane_window: 1 << 30, max_lanes: 1024 }
    }
}

impl Announcement {
    fn encode(self) -> Vec<u8> {
        numbers(&[self.silence, 1 << 30, 1 << 20, self.main_window, self.lane_window, self.max_lanes])
    }
}

/// A TLV.
pub fn tlv(kind: u64, value: &[u8]) -> Vec<u8> {
    [varint(kind), sized(value)].concat()
}

/// A HELLO packet of these TLVs.
pub fn hello(tlvs: &[u8]) -> Vec<u8> {
    packet(&[&MAGIC, &[1, 1, 1][..], tlvs].concat())
}

/// The TLVs of a HELLO that opens. The number makes its OPEN_ID and its nonce.
pub fn open(number: u64, auth: &[u8], announced: Announcement) -> Vec<u8> {
    let (nonce, open_id) = (tlv(NONCE, &id(number)), tlv(OPEN_ID, &id(number)));
    [nonce, open_id, tlv(PARAMS, &announced.encode()), tlv(AUTH, auth)].concat()
}

/// The TLVs of a HELLO that resumes, with a MAC that is wrong.
pub fn resume(number: u64, instance: u64, lanes: &[u8]) -> Vec<u8> {
    let session = [&instance.to_be_bytes()[..], &id(number)].concat();
    [tlv(NONCE, &id(number)), tlv(SESSION, &session), tlv(EPOCH, &[2]), tlv(LANES, lanes), tlv(MAC, &[9; 32])].concat()
}

fn id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

/// Where so many lanes stand that were opened by the client: the value of LANES.
pub fn lane_states(count: u64) -> Vec<u8> {
    let lanes = (0..count).flat_map(|nth| numbers(&[2 * nth, 0, 0, 8192, 0]));
    [numbers(&[count, 0, 128, count]), lanes.collect()].concat()
}

/// The WELCOME to an open with this nonce.
pub fn welcome(nonce: &[u8], announced: Announcement) -> Vec<u8> {
    let session = tlv(SESSION, &[7; 24]);
    let granted = [tlv(SECRET, &[7; 32]), tlv(RETENTION, &varint(120_000)), tlv(PARAMS, &announced.encode())].concat();
    packet(&[&MAGIC, &[2, 1][..], &tlv(NONCE, nonce), &session, &tlv(EPOCH, &[1]), &granted].concat())
}

/// A REJECT with this protocol code.
pub fn reject(nonce: &[u8], code: u32, address: &str) -> Vec<u8> {
    let code = tlv(CODE, &varint(code.into()));
    packet(&[&MAGIC, &[3, 1][..], &tlv(NONCE, nonce), &code, &tlv(ADDRESS, address.as_bytes())].concat())
}

/// The nonce of the handshake at the beginning of a stream.
pub fn nonce(stream: &[u8]) -> Option<Vec<u8>> {
    find(stream, NONCE)
}

/// The protocol code of the REJECT at the beginning of a stream.
pub fn rejection(stream: &[u8]) -> Option<u32> {
    Some(read(&find(stream, CODE)?)?.0 as u32)
}

fn find(stream: &[u8], kind: u64) -> Option<Vec<u8>> {
    let (_, size) = read(stream)?;
    Some(find_tlv(stream.get(size..)?, kind)?.to_vec())
}

/// The id of the session in a WELCOME to an open, without its length; `None` for any other packet.
pub(crate) fn new_session(packet: &[u8]) -> Option<&[u8]> {
    find_tlv(packet, SECRET)?;
    find_tlv(packet, SESSION)
}

/// The value of a TLV in a handshake packet without its length.
fn find_tlv(packet: &[u8], kind: u64) -> Option<&[u8]> {
    let body = packet.strip_prefix(&MAGIC)?;
    let mut rest = body.get(if body.first() == Some(&1) { 3 } else { 2 }..)?;
    loop {
        let (found, size) = read(rest)?;
        let (len, more) = read(&rest[size..])?;
        let value = rest.get(size + more..(size + more).checked_add(len as usize)?)?;
        if found == kind {
            return Some(value);
        }
        rest = &rest[size + more + len as usize..];
    }
}

// ---- frames ----

/// DATA.
pub fn data(lane: u64, offset: u64, payload: &[u8]) -> Vec<u8> {
    [numbers(&[0x02, lane, offset]), sized(payload)].concat()
}

/// LANE: a report of what was received, consumed, and of the limit.
pub fn report(lane: u64, received: u64, consumed: u64, limit: u64) -> Vec<u8> {
    numbers(&[0x04, lane, consumed, received - consumed, limit - consumed])
}

/// PING.
pub fn ping(token: u64) -> Vec<u8> {
    numbers(&[0x06, token])
}

/// VOLATILE with a plain record.
pub fn volatile(lane: u64, payload: &[u8]) -> Vec<u8> {
    [numbers(&[0x0A, lane]), sized(&plain(payload))].concat()
}

/// ALLOW.
pub fn allow(lanes: u64) -> Vec<u8> {
    numbers(&[0x0C, lanes])
}

/// LANE_DONE.
pub fn lane_done(lane: u64) -> Vec<u8> {
    numbers(&[0x0E, lane])
}

/// CLOSE with a code of the application's.
pub fn close(code: u64) -> Vec<u8> {
    [vec![0x10], sized(&[&[1][..], &varint(code), &[0]].concat())].concat()
}

/// CLOSED.
pub fn closed() -> Vec<u8> {
    numbers(&[0x12])
}

/// GOAWAY.
pub fn go_away(within_ms: u64) -> Vec<u8> {
    [vec![0x16], sized(&[varint(within_ms), vec![0]].concat())].concat()
}

/// PROMPT.
pub fn prompt(lane: u64, offset: u64) -> Vec<u8> {
    numbers(&[0x18, lane, offset])
}

// ---- records ----

/// A message that is nothing but a payload.
pub fn plain(payload: &[u8]) -> Vec<u8> {
    [varint(payload.len() as u64 * 2), payload.to_vec()].concat()
}

/// An extended record of this kind and the rest of its body.
pub fn extended(kind: u8, rest: &[u8]) -> Vec<u8> {
    [varint((1 + rest.len() as u64) * 2 + 1), vec![kind], rest.to_vec()].concat()
}

/// OPEN of a lane of messages.
pub fn open_lane(headers: &[u8]) -> Vec<u8> {
    extended(1, &[&[0, 0, 0, 0][..], &sized(headers)].concat())
}

/// FIN.
pub fn fin() -> Vec<u8> {
    extended(2, &[])
}

/// A message with headers.
pub fn message(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    extended(3, &[&[0][..], &sized(headers), payload].concat())
}

/// An ask without name and headers.
pub fn ask(payload: &[u8]) -> Vec<u8> {
    extended(4, &[&[0, 0], payload].concat())
}

/// An answer to the ask at this offset, after which more follow.
pub fn reply_with_more(ask: u64, payload: &[u8]) -> Vec<u8> {
    extended(5, &[&varint(ask)[..], &[1, 0, 0], payload].concat())
}

/// The end of the interest in an ask.
pub fn cancel(ask: u64) -> Vec<u8> {
    extended(7, &varint(ask))
}
