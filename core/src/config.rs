//! Limits and times of a socket and of a server.

use core::ops::RangeInclusive;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;

/// The longest event name, lane name and namespace, in bytes.
pub const MAX_NAME: usize = 256;
/// The most lanes that may be live in one socket.
pub const MAX_LANES: u32 = 1024;
/// The largest authentication payload, in bytes.
pub const MAX_AUTH: usize = 8 * 1024;
/// The longest address that a server may send a client to, in bytes.
pub const MAX_ADDRESS: usize = 1024;
/// The largest message a configuration may allow, in bytes: 1 GiB.
pub const MAX_MESSAGE: usize = 1 << 30;

/// Limits and times of one end of a socket. Sizes are in bytes.
///
/// A socket's memory is at most `send_buffer + 2 × receive_buffer + max_message + 3 × volatile_buffer + 100 × max_open_asks + 128 KiB +
/// (1 KiB + max_headers) × lanes`, also while messages wait to be handed back, and what the application itself holds or asks for:
/// receipts, asks, and the answers that it does not take, of which one on a lane costs about 160 bytes beside its own, for 1,024 of
/// them at most. While its server goes away a client has as much as `send_buffer` again for its answers, beside what it keeps for the
/// next session. On a datagram link come to it up to 66 KiB for a handshake, and about 300 bytes for each packet that may be in
/// flight, twice over: with [`Congestion::FixedWindow`] one for each 15 bytes of the window, else as many as the path seems to have
/// room for, at most 32,768, with some 50 bytes more for each further piece of a lane or word of control in one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Config {
    /// The largest message that this side takes; the peer refuses to send a larger one. Default 16 MiB.
    pub max_message: usize,
    /// The largest headers that this side takes. Default 64 KiB.
    pub max_headers: usize,
    /// How much may wait or be unconfirmed before writes answer `Full`. At least the largest message that is sent. A
    /// message counts with its headers and [`Config::MESSAGE_OVERHEAD`]. Default 32 MiB.
    pub send_buffer: usize,
    /// How many messages may wait or be unconfirmed before writes answer `Full`. Default: no limit but the bytes.
    pub send_messages: usize,
    /// The credit given to the peer over all lanes. At least `max_message + max_headers + 1 KiB`, for the largest
    /// message, and [`Config::LANE_WINDOW`] for each of `2 × max_lanes + 2` lanes. Default 32 MiB.
    pub receive_buffer: usize,
    /// How many lanes each side may have open at once, beside the main lane. Default 128, at most [`MAX_LANES`].
    pub max_lanes: u32,
    /// How many of the peer's asks may wait for an answer of this side. Further ones are refused. Default 4,096.
    pub max_open_asks: usize,
    /// How many bytes of volatile messages may wait, in each direction; further ones are dropped. Default 64 KiB.
    pub volatile_buffer: usize,
    /// The silence that this side tolerates before it gives the link up. The peer sends something at least every third of
    /// it. At least 10 ms. Default 15 s.
    pub silence: Duration,
    /// After how long without anything to send this side sends a PING, which the peer answers. A third of the silence that
    /// the peer tolerates where that is shorter, and by default. At least 1 ms.
    pub heartbeat: Duration,
    /// How long a confirmation may wait for company. Default 5 ms.
    pub ack_delay: Duration,
    /// How long a close may take before it becomes an abort. Default 10 s.
    pub close_timeout: Duration,

    /// Client: whether to dial again by itself when the link is gone. Default true.
    pub reconnect: bool,
    /// Client: how long one attempt may take, dialling and handshake together. Default 10 s.
    pub attempt_timeout: Duration,
    /// Client: the pause before the second attempt is between nothing and this; the bound doubles with each. Default 100 ms.
    pub redial_base: Duration,
    /// Client: where the doubling ends. Default 10 s.
    pub redial_max: Duration,
    /// Client: what follows a lost session.
    pub on_loss: OnLoss,

    /// Server: how long a session outlives its last link. Default 2 min.
    pub retention: Duration,

    /// Datagram links: how much may be in flight, and how fast it leaves. Default: as the path's rate shows.
    pub congestion: Congestion,
    /// Datagram links: what matters more, bytes or time. Default: bytes.
    pub profile: Profile,

    /// Nothing leaves before it was committed: see [`Socket::stage`](crate::Socket::stage). Default false.
    pub durable: bool,
}

/// What a client does when its session is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum OnLoss {
    /// The socket closes.
    #[default]
    Close,
    /// A new incarnation opens with empty buffers once the application has taken what was unconfirmed.
    Reopen,
}

/// Who decides how much may be in flight on a datagram link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Congestion {
    /// A controller that follows the rate at which the path delivers, and paces: for paths that are shared with others.
    #[default]
    RateBased,
    /// A constant, without pacing: for a private fabric of which the capacity is known.
    FixedWindow {
        /// How many bytes may be in flight. 2,400 to 1 GiB.
        bytes: usize,
    },
}

/// What a datagram link is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Profile {
    /// Nothing is sent twice before it is lost. Where the path loses one packet in 200 or more, what was lost goes twice when nothing else is to be sent.
    #[default]
    Bulk,
    /// What is not acknowledged yet is repeated in the spare room of the packets that follow, as often as the measured loss asks
    /// for and never when the path is congested: most losses then cost no round trip.
    Interactive {
        /// How many bytes are repeated at most for 100 new ones: 100 are enough for a loss of 1 %, 200 for 5 %. 1 to 1,000. What was
        /// lost goes twice as with [`Profile::Bulk`], which counts here and is not held back by it.
        redundancy: u32,
    },
}

impl Config {
    /// What each message costs in the send buffer beside its payload, name and headers.
    pub const MESSAGE_OVERHEAD: usize = 64;
    /// The credit with which a lane starts, in bytes.
    pub const LANE_WINDOW: usize = 8 * 1024;
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_message: 16 << 20,
            max_headers: 64 << 10,
            send_buffer: 32 << 20,
            send_messages: usize::MAX,
            receive_buffer: 32 << 20,
            max_lanes: 128,
            max_open_asks: 4096,
            volatile_buffer: 64 << 10,
            silence: Duration::from_secs(15),
            heartbeat: Duration::MAX,
            ack_delay: Duration::from_millis(5),
            close_timeout: Duration::from_secs(10),
            reconnect: true,
            attempt_timeout: Duration::from_secs(10),
            redial_base: Duration::from_millis(100),
            redial_max: Duration::from_secs(10),
            on_loss: OnLoss::Close,
            retention: Duration::from_secs(120),
            congestion: Congestion::RateBased,
            profile: Profile::Bulk,
            durable: false,
        }
    }
}

/// Limits and times of a server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Of each socket.
    pub socket: Config,
    /// The routing part of this server's session ids: which instance.
    pub instance: u64,
    /// The routing part of this server's session ids: which shard of the instance.
    pub shard: u16,
    /// How many sockets may live at once. Default 100,000.
    pub max_sockets: usize,
    /// How many opens may wait for a decision at once. Default 1,024.
    pub max_pending: usize,
    /// How many links may be up that have not said who they are; the oldest of them makes room for one more. As many again may
    /// wait for an answer to [`ServerEvent::Foreign`](crate::ServerEvent::Foreign). Default 1,024.
    pub max_unknown_links: usize,
    /// How long a link may take to say who it is. Default 10 s.
    pub hello_timeout: Duration,
    /// How long an open may wait for a decision; then it is rejected. Default 10 s.
    pub open_timeout: Duration,
    /// How long a socket stays at hand after something was under way on it. If it is idle at its next heartbeat, it sleeps: it
    /// takes about 200 bytes instead of 2,000, and is unpacked and packed again for each heartbeat. Nothing else tells the
    /// difference. Default 1 s; with `Duration::MAX` none sleeps.
    pub sleep_after: Duration,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            socket: Config::default(),
            instance: 0,
            shard: 0,
            max_sockets: 100_000,
            max_pending: 1024,
            max_unknown_links: 1024,
            hello_timeout: Duration::from_secs(10),
            open_timeout: Duration::from_secs(10),
            sleep_after: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// Whether this can work.
    ///
    /// # Errors
    /// Names the first field that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        rule("max_message", self.max_message as u64, 1..=MAX_MESSAGE as u64, "1 byte to 1 GiB")?;
        rule("max_headers", self.max_headers as u64, 0..=MAX_MESSAGE as u64, "at most 1 GiB")?;
        rule("max_lanes", u64::from(self.max_lanes), 0..=u64::from(MAX_LANES), "at most 1,024")?;
        let least = Config::MESSAGE_OVERHEAD as u64 + 1;
        rule(
            "send_buffer",
            self.send_buffer as u64,
            least..=u64::MAX,
            "at least 65 bytes: 64 are the overhead of a message",
        )?;
        rule("send_messages", self.send_messages as u64, 1..=u64::MAX, "at least 1")?;
        let message = self.max_message as u64 + self.max_headers as u64;
        let lanes = (2 * u64::from(self.max_lanes) + 2) * Config::LANE_WINDOW as u64;
        let least = message + 1024 + lanes;
        if !(least..=1 << 40).contains(&(self.receive_buffer as u64)) {
            let rule = format_args!(
                "at least {least} (max_message + max_headers + 1 KiB + 8 KiB × (2 × max_lanes + 2)), at most 1 TiB"
            );
            return Err(ConfigError::new("receive_buffer", &self.receive_buffer, &rule));
        }
        if let Congestion::FixedWindow { bytes } = self.congestion {
            rule("congestion.bytes", bytes as u64, 2400..=1 << 30, "2,400 bytes to 1 GiB")?;
        }
        if let Profile::Interactive { redundancy } = self.profile {
            rule("profile.redundancy", redundancy.into(), 1..=1000, "1 to 1,000")?;
        }
        rule("max_open_asks", self.max_open_asks as u64, 1..=u64::MAX, "at least 1")?;
        time_rule("silence", self.silence, MILLISECOND * 10..=MILLISECOND * u32::MAX, "10 ms to 49 days")?;
        time_rule("heartbeat", self.heartbeat, MILLISECOND..=Duration::MAX, "at least 1 ms")?;
        time_rule("redial_base", self.redial_base, MILLISECOND..=Duration::MAX, "at least 1 ms")?;
        time_rule("redial_max", self.redial_max, MILLISECOND..=Duration::MAX, "at least 1 ms")?;
        time_rule("attempt_timeout", self.attempt_timeout, MILLISECOND..=Duration::MAX, "at least 1 ms")
    }
}

impl ServerConfig {
    /// Whether this can work.
    ///
    /// # Errors
    /// Names the first field that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.socket.check()?;
        rule("max_sockets", self.max_sockets as u64, 1..=u64::from(u32::MAX), "1 to 4,294,967,295")?;
        rule("max_pending", self.max_pending as u64, 1..=u64::from(u32::MAX), "1 to 4,294,967,295")?;
        rule("max_unknown_links", self.max_unknown_links as u64, 1..=u64::from(u32::MAX), "1 to 4,294,967,295")?;
        time_rule("hello_timeout", self.hello_timeout, MILLISECOND..=Duration::MAX, "at least 1 ms")?;
        time_rule("open_timeout", self.open_timeout, MILLISECOND..=Duration::MAX, "at least 1 ms")
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

fn rule(field: &'static str, value: u64, range: RangeInclusive<u64>, rule: &str) -> Result<(), ConfigError> {
    if range.contains(&value) { Ok(()) } else { Err(ConfigError::new(field, &value, &rule)) }
}

fn time_rule(
    field: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
    rule: &str,
) -> Result<(), ConfigError> {
    if range.contains(&value) { Ok(()) } else { Err(ConfigError::new(field, &format_args!("{value:?}"), &rule)) }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    fn complaint(change: impl FnOnce(&mut ServerConfig)) -> alloc::string::String {
        let mut config = ServerConfig::default();
        change(&mut config);
        config.check().expect_err("a rule is broken").to_string()
    }

    #[test]
    fn the_defaults_work() {
        assert_eq!(ServerConfig::default().check(), Ok(()));
    }

    #[test]
    fn the_receive_buffer_holds_the_largest_message_and_a_window_for_each_lane() {
        let config = Config { max_message: 1000, max_headers: 200, max_lanes: 3, ..Config::default() };
        let least = 1000 + 200 + 1024 + 8 * 8192;
        for (receive_buffer, works) in [(least - 1, false), (least, true), (1 << 40, true), ((1 << 40) + 1, false)] {
            let checked = Config { receive_buffer, ..config.clone() }.check();
            assert_eq!(checked.is_ok(), works, "{receive_buffer}: {checked:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_named_with_its_value_and_its_rule() {
        let huge = usize::MAX as u64;
        for (told, expected) in [
            (complaint(|config| config.socket.max_message = usize::MAX), format!("max_message is {huge}: ")),
            (complaint(|config| config.socket.max_headers = usize::MAX), format!("max_headers is {huge}: ")),
            (complaint(|config| config.socket.max_lanes = 1025), "max_lanes is 1025: it must be at most 1,024".into()),
            (complaint(|config| config.socket.max_lanes = u32::MAX), format!("max_lanes is {}: ", u32::MAX)),
            (
                complaint(|config| config.socket.silence = Duration::from_millis(9)),
                "silence is 9ms: it must be 10 ms to 49 days".into(),
            ),
            (
                complaint(|config| config.socket.send_buffer = Config::MESSAGE_OVERHEAD),
                "send_buffer is 64: it must be at least 65 bytes: ".into(),
            ),
            (complaint(|config| config.socket.receive_buffer = 1), "receive_buffer is 1: it must be at least ".into()),
            (complaint(|config| config.socket.redial_max = Duration::ZERO), "redial_max is 0ns: ".into()),
            (
                complaint(|config| config.socket.congestion = Congestion::FixedWindow { bytes: 1000 }),
                "congestion.bytes is 1000: it must be 2,400 bytes to 1 GiB".into(),
            ),
            (
                complaint(|config| config.socket.profile = Profile::Interactive { redundancy: 0 }),
                "profile.redundancy is 0: it must be 1 to 1,000".into(),
            ),
            (complaint(|config| config.hello_timeout = Duration::ZERO), "hello_timeout is 0ns: ".into()),
            (complaint(|config| config.max_sockets = 0), "max_sockets is 0: ".into()),
        ] {
            assert!(told.starts_with(&expected), "{told}");
        }
    }
}
