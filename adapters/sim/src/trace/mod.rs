//! What happened in a world: to be written down, looked at, and compared with a run that should be the same.

mod recorder;
mod text;

use std::fmt;

use steadfast::{LinkId, State, Time};

use crate::conditions::{Break, Side};
use crate::inspect::{Content, Contents};
use crate::net::{Carriage, PacketId};
pub(crate) use recorder::Recorder;
pub use text::TraceError;

/// All that happened on a world's links, and how the sockets' states changed, in the order in which it happened.
///
/// It is text when it is printed, a line for each thing, and can be read back. A run is the same as another when its
/// trace is: a world that [follows](crate::World::follow) the trace of another says where it first differs.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Config, ServerConfig};
/// use steadfast_sim::{ADDRESS, Trace, World};
///
/// fn run(mut world: World, text: &'static str) -> Result<Trace, steadfast_sim::Divergence> {
///     world.serve(ADDRESS, ServerConfig::default());
///     let (client, _) = world.connected(Config::default());
///     world.send(client, text).expect("room");
///     world.run_for(Duration::from_secs(1));
///     world.take_trace()
/// }
///
/// let mut world = World::new(7);
/// world.record();
/// let written = run(world, "hello").unwrap().to_string();
///
/// let trace: Trace = written.parse()?;
/// assert_eq!(run(World::follow(&trace), "hello"), Ok(trace.clone()));
/// let divergence = run(World::follow(&trace), "other").unwrap_err();
/// assert!(divergence.expected.unwrap().to_string().contains("DATA 0+6"));
/// # Ok::<(), steadfast_sim::TraceError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The seed of the world.
    pub seed: u64,
    /// What happened.
    pub entries: Vec<Entry>,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When.
    pub at: Time,
    /// What.
    pub what: Happened,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// A packet was put into the network.
    Sent(SentPacket),
    /// A packet, or a copy of it, was lost in a node of this name.
    Lost(PacketId, String),
    /// A packet, or a copy of it, has come out of the network; whether with other bytes than it was sent with.
    Arrived(PacketId, bool),
    /// This side has got the link.
    Up(LinkId, Side),
    /// This side has the link no more.
    Down(LinkId, Side),
    /// The link broke.
    Broken(LinkId, Break),
    /// A socket's state has changed.
    State(Party, State),
}

/// A packet that was put into the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentPacket {
    /// Its number.
    pub packet: PacketId,
    /// On which link.
    pub link: LinkId,
    /// To which side of it.
    pub to: Side,
    /// What it takes on the wire, in bytes.
    pub wire_len: usize,
    /// A hash over its bytes (FNV-1a, 64 bits).
    pub digest: u64,
    /// What it is for; of a stream's segment, what the write is for that it is a piece of.
    pub content: Content,
    /// The same in a few words.
    pub label: String,
}

impl SentPacket {
    pub(crate) fn new(
        packet: PacketId,
        link: LinkId,
        to: Side,
        carriage: Carriage,
        bytes: &[u8],
        contents: &Contents,
    ) -> SentPacket {
        let digest = bytes
            .iter()
            .fold(0xCBF2_9CE4_8422_2325, |digest: u64, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3));
        let (wire_len, label) = (carriage.wire_len(bytes.len()), contents.label.clone());
        SentPacket { packet, link, to, wire_len, digest, content: contents.content, label }
    }
}

/// A socket of a world, in the words of a trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Party {
    /// The client of this number.
    Client(usize),
    /// The socket that the server of this number holds for this client; `None` when a test plays the client.
    Server(usize, Option<usize>),
}

/// Where a run is not the one that it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// After how many entries that were as they should be.
    pub after: usize,
    /// What should have happened; `None`: nothing more.
    pub expected: Option<Entry>,
    /// What happened; `None`: nothing more.
    pub found: Option<Entry>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |entry: &Option<Entry>| entry.as_ref().map_or("nothing more".into(), Entry::to_string);
        write!(f, "after {} entries: `{}` instead of `{}`", self.after, show(&self.found), show(&self.expected))
    }
}

impl std::error::Error for Divergence {}
