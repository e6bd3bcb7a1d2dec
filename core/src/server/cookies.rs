//! Cookies: what proves that a client is where its HELLO seems to come from, with nothing kept here (PROTOCOL.md §14.2).

use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::time::Time;

/// How long a cookie is good for.
const LIFETIME: Duration = Duration::from_secs(10);
const MAC: usize = 16;

/// Makes cookies and knows them again. A cookie is the time at which it was made, and a MAC over it, the handshake's id and the
/// client's address.
#[derive(Clone)]
pub(super) struct Cookies {
    key: [u8; 32],
}

/// Without the key.
impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies(..)")
    }
}

impl Cookies {
    pub(super) fn new(seed: &[u8; 32]) -> Cookies {
        Cookies { key: blake3::derive_key("steadfast 1 cookie", seed) }
    }

    pub(super) fn make(&self, now: Time, address: &[u8], id: &[u8; 16]) -> Bytes {
        let made = now.as_micros().to_le_bytes();
        Bytes::from([&made[..], &self.mac(made, address, id)].concat())
    }

    pub(super) fn holds(&self, now: Time, address: &[u8], id: &[u8; 16], cookie: &[u8]) -> bool {
        let Some((made, mac)) = cookie.split_first_chunk::<8>() else { return false };
        let made_at = Time::from_micros(u64::from_le_bytes(*made));
        let is_fresh = made_at <= now && now.since(made_at) <= LIFETIME;
        is_fresh && constant_time_eq(mac, &self.mac(*made, address, id))
    }

    fn mac(&self, made: [u8; 8], address: &[u8], id: &[u8; 16]) -> [u8; MAC] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&made).update(id).update(address);
        let mut mac = [0; MAC];
        hasher.finalize_xof().fill(&mut mac);
        mac
    }
}

/// Whether they are the same, in a time that does not tell where they differ.
fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_holds_for_its_address_and_handshake_for_a_while() {
        let (cookies, at) = (Cookies::new(&[1; 32]), Time::from_millis(5000));
        let cookie = cookies.make(at, b"address", &[2; 16]);
        assert!(cookie.len() <= 64);
        assert!(cookies.holds(at, b"address", &[2; 16], &cookie));
        assert!(cookies.holds(at + LIFETIME, b"address", &[2; 16], &cookie));
        assert!(!cookies.holds(at + LIFETIME + Duration::from_micros(1), b"address", &[2; 16], &cookie));
        assert!(!cookies.holds(at - Duration::from_micros(1), b"address", &[2; 16], &cookie));
        assert!(!cookies.holds(at, b"addresS", &[2; 16], &cookie));
        assert!(!cookies.holds(at, b"address", &[3; 16], &cookie));
        assert!(!Cookies::new(&[2; 32]).holds(at, b"address", &[2; 16], &cookie));
        for index in 0..cookie.len() {
            let mut forged = cookie.to_vec();
            forged[index] ^= 1;
            assert!(!cookies.holds(at + Duration::from_secs(1), b"address", &[2; 16], &forged), "byte {index}");
            assert!(!cookies.holds(at, b"address", &[2; 16], &cookie[..index]));
        }
    }
}
