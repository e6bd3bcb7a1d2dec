//! Measured talks: one socket writes messages, the other reads them, over a link that can be bad in many ways.

mod report;
mod run;
mod talk;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::{Config, LinkKind};

use crate::net::{Carriage, DATAGRAM_OVERHEAD, Path, PathError};
pub use report::Report;
pub use run::{Outcome, Problem};

/// A client that sends messages to a server over a link with these properties, in virtual time. Loss, rate and all the
/// rest hold for each direction alike and apart.
///
/// The handshake passes the delay and the rate, and nothing is lost in it; when both sides are ready the first message is
/// written and the harm begins. A link that is cut afterwards is dialled and resumed under that same harm.
///
/// ```
/// use steadfast_sim::scenario::Scenario;
///
/// let scenario = Scenario { messages: 1_000, size: 200, interval: 1_000, cut_every: Some(300.0), ..Scenario::default() };
/// let report = scenario.run()?.report;
/// assert_eq!((report.delivered, report.lost, report.duplicated), (1_000, 0, 0));
/// assert!(report.resumes > 0 && report.p50_ms >= 25.0);
/// # Ok::<(), steadfast_sim::scenario::ScenarioError>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// What the link is. Default: a stream.
    pub link: Link,
    /// How many messages are sent; 100 GB together, and within a million seconds, at most. Default 1,000.
    pub messages: u64,
    /// The bytes of each message, at least 1, and no more than the line carries in an hour. Default 1,024.
    pub size: usize,
    /// Microseconds between the writes of two messages; 0, the default: as fast as the socket takes them.
    pub interval: u64,
    /// Milliseconds there and back. Default 50. Dialling a stream takes one of them and the handshake another; over
    /// datagrams the handshake takes two. More than [`Config::attempt_timeout`] in all, with what the rate adds, gets
    /// nowhere.
    pub rtt: f64,
    /// Megabits (10⁶ bits) a second. Default 100.
    pub rate: f64,
    /// Bytes that wait in front of the line in each direction, and of a stream up to one segment (1,448 bytes) more. What
    /// comes then is lost if it is a datagram; a stream's writer keeps it, and loses it when the link is cut. As long as it
    /// is not, a stream is as fast with a short queue as with a long one: what is not in it waits before it. Default: as
    /// many as the line carries in one round trip, and ten of the largest datagrams at least.
    pub queue: Option<usize>,
    /// The largest datagram in bytes, without its headers: 1,200 to 65,507, as UDP over IPv4 carries. Default 1,400.
    pub mtu: Option<usize>,
    /// The share of datagrams that are lost, each for itself. Default 0.
    pub loss: f64,
    /// The share of datagrams that are lost in bursts, [`BurstLoss::BURST`](crate::net::BurstLoss::BURST) at a time in the
    /// mean. Default 0.
    pub burst_loss: f64,
    /// The share of datagrams that are held back for a time within nothing and `reorder_delay`. Default 0.
    pub reorder: f64,
    /// Milliseconds, for `reorder`. Default 5.
    pub reorder_delay: f64,
    /// The share of datagrams that arrive twice. Default 0.
    pub duplicate: f64,
    /// The share of datagrams of which some bytes are changed. Default 0.
    pub corrupt: f64,
    /// Milliseconds after which a link is cut, from when both sides have it; of what was under way a random first part
    /// arrives, and both sides notice at once. Default: never.
    pub cut_every: Option<f64>,
    /// What the sockets are configured for. Default: bulk.
    pub profile: Profile,
    /// What all chance follows from. Default 1.
    pub seed: u64,
}

/// What a link is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// Ordered and lossless until it is cut, as TCP.
    #[default]
    Stream,
    /// Datagrams, as UDP.
    Datagram,
}

/// What the sockets are configured for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Throughput.
    #[default]
    Bulk,
    /// Latency, for more bytes on the wire.
    Interactive,
}

/// A scenario that cannot be.
#[derive(Clone, PartialEq, Debug)]
pub struct ScenarioError {
    /// The field, in the words of a file or of the command line.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.problem)
    }
}

impl std::error::Error for ScenarioError {}

impl From<PathError> for ScenarioError {
    fn from(PathError { what, problem }: PathError) -> ScenarioError {
        ScenarioError { what, problem }
    }
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            link: Link::Stream,
            messages: 1_000,
            size: 1_024,
            interval: 0,
            rtt: 50.0,
            rate: 100.0,
            queue: None,
            mtu: None,
            loss: 0.0,
            burst_loss: 0.0,
            reorder: 0.0,
            reorder_delay: 5.0,
            duplicate: 0.0,
            corrupt: 0.0,
            cut_every: None,
            profile: Profile::Bulk,
            seed: 1,
        }
    }
}

/// The largest datagram where nothing else is said.
const MTU: usize = 1_400;
/// The most bytes of all messages together.
const MOST_BYTES: u64 = 100_000_000_000;
/// The most microseconds in which they are written.
const MOST_TIME: u64 = 1_000_000_000_000;
/// The longest that the line may take for one of them.
const LONGEST_MESSAGE: Duration = Duration::from_secs(3600);
/// How many of the largest datagrams a queue takes at least where nothing is said of it: fewer make a path lose what no path
/// would.
const SHORTEST_QUEUE: usize = 10;
/// How many bytes are repeated for 100 new ones, at most, where latency matters most.
const REDUNDANCY: u32 = 200;

impl Scenario {
    /// Whether it can be run.
    ///
    /// # Errors
    /// Names the first field that is out of its range, or says something that a stream link cannot have: see
    /// [`Path::check`].
    pub fn check(&self) -> Result<(), ScenarioError> {
        within("messages", self.messages, 1, 10_000_000)?;
        within("size", self.size, 1, Config::default().max_message)?;
        within("interval", self.interval, 0, 1_000_000_000)?;
        within("rtt", self.rtt, 0.0, 60_000.0)?;
        within("rate", self.rate, 0.001, 1e6)?;
        within("reorder-delay", self.reorder_delay, 0.0, 60_000.0)?;
        within("mtu", self.mtu(), 1_200, 65_507)?;
        self.ends_in_time()?;
        self.cut_every.map_or(Ok(()), |every| within("cut-every", every, 1.0, 1e9))?;
        if self.mtu.is_some() && self.link == Link::Stream {
            let problem = "is for datagram links: a stream's transport cuts it into packets as it must".into();
            return Err(ScenarioError { what: "mtu", problem });
        }
        Ok(self.path().check(self.carriage())?)
    }

    /// Whether it is no more than can be waited for.
    fn ends_in_time(&self) -> Result<(), ScenarioError> {
        let Scenario { messages, size, interval, rate, .. } = self;
        let (bytes, micros) = (messages.saturating_mul(*size as u64), messages.saturating_mul(*interval));
        let (line, longest) = (self.line_time(), LONGEST_MESSAGE.as_secs());
        let (what, problem) = if bytes > MOST_BYTES {
            let problem = format!(
                "is {messages}, of {size} bytes: {bytes} bytes, and no more than {MOST_BYTES} are sent in one run"
            );
            ("messages", problem)
        } else if micros > MOST_TIME {
            let problem =
                format!("is {messages}, every {interval} µs: {micros} µs, and no run writes for more than {MOST_TIME}");
            ("messages", problem)
        } else if line > LONGEST_MESSAGE {
            (
                "size",
                format!("is {size} bytes, for which {rate} Mbit/s need {} s: {longest} are the most", line.as_secs()),
            )
        } else {
            return Ok(());
        };
        Err(ScenarioError { what, problem })
    }

    /// How long the line takes for the bytes of one message.
    pub(crate) fn line_time(&self) -> Duration {
        Duration::from_secs_f64(self.size as f64 * 8.0 / (self.rate * 1e6))
    }

    /// One direction, when the harm has begun.
    pub(crate) fn path(&self) -> Path {
        Path {
            mtu: (self.link == Link::Datagram).then(|| self.mtu()),
            loss: self.loss,
            burst_loss: self.burst_loss,
            reorder: (self.reorder, millis(self.reorder_delay)),
            duplicate: self.duplicate,
            corrupt: self.corrupt,
            ..self.calm_path()
        }
    }

    /// One direction, before.
    pub(crate) fn calm_path(&self) -> Path {
        let rate = self.rate * 1e6 / 8.0;
        let largest = self.mtu() + DATAGRAM_OVERHEAD;
        let queue = self.queue.unwrap_or(((rate * self.rtt / 1000.0) as usize).max(SHORTEST_QUEUE * largest));
        Path { delay: millis(self.rtt / 2.0), bottleneck: Some((rate as u64, queue)), ..Path::default() }
    }

    pub(crate) fn carriage(&self) -> Carriage {
        match self.link {
            Link::Stream => Carriage::Segment,
            Link::Datagram => Carriage::Datagram,
        }
    }

    fn mtu(&self) -> usize {
        self.mtu.unwrap_or(MTU)
    }

    /// What the core is told of the link.
    pub(crate) fn kind(&self) -> LinkKind {
        match self.link {
            Link::Stream => LinkKind::Stream,
            Link::Datagram => LinkKind::Datagram { mtu: self.mtu() as u16 },
        }
    }

    /// The configuration of both sockets.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.profile = match self.profile {
            Profile::Bulk => steadfast::Profile::Bulk,
            Profile::Interactive => steadfast::Profile::Interactive { redundancy: REDUNDANCY },
        };
        config
    }
}

fn within<T: PartialOrd + Copy + fmt::Display>(
    what: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), ScenarioError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ScenarioError { what, problem: format!("is {value}, and not within {least} to {most}") })
}

pub(crate) fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1000.0)
}
