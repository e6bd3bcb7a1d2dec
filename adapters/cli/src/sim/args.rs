//! The scenario that a command line says.

use std::path::PathBuf;

use clap::Args;
use steadfast_sim::scenario::{Link, Profile, Scenario};

use crate::failure::Failure;

const RESULT: &str = "\
Fields of --json, in virtual time:
  delivered, lost, duplicated, reordered  messages; `lost`: not delivered
  seconds                 from the first write to the last delivery
  p50_ms, p99_ms, p999_ms from write to delivery: half of all messages, 99 %, 99.9 % within this
  payload_bytes           of the messages delivered
  wire_bytes              that the sender sent, with 28 for the headers of each datagram, lost ones included
  datagrams               in both directions; 0 on a stream link
  ack_datagrams           those of them without message bytes, handshakes included
  retransmitted_bytes     of messages, that the sender sent again
  cuts, resumes           how often the link was cut and the session resumed";

/// Run two sockets over a simulated link, in virtual time
///
/// A client sends messages to a server over a link with the properties given, the same in each direction. The first
/// message is written when both sides are ready; the handshake before it sees the delay, and no harm. The same scenario
/// gives the same result, whenever and wherever it is run. A share is a number from 0 to 1. The exit code is 1 when a
/// message is lost, doubled or out of order, and 3 when the session was lost or has expired.
///
/// A stream link is ordered and lossless until it is cut; --mtu, --loss, --burst-loss, --reorder,
/// --duplicate and --corrupt are for datagram links.
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true, after_help = RESULT)]
pub(crate) struct Sim {
    /// A TOML file with the scenario, in which each option below but --json and --svg may stand without its dashes
    /// (`cut-every = 300`); options go before what it says
    pub(crate) file: Option<PathBuf>,
    /// stream: ordered and lossless until it is cut, as TCP; datagram: as UDP [default: stream]
    #[arg(long, value_name = "KIND", value_parser = ["stream", "datagram"])]
    link: Option<String>,
    /// How many messages are sent [default: 1000]
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Bytes of each message [default: 1024]
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,
    /// Microseconds between writes; 0: as fast as possible [default: 0]
    #[arg(long, value_name = "US")]
    interval: Option<u64>,
    /// Milliseconds there and back [default: 50]
    #[arg(long, value_name = "MS")]
    rtt: Option<f64>,
    /// Megabits a second [default: 100]
    #[arg(long, value_name = "MBIT")]
    rate: Option<f64>,
    /// Bytes that may wait before the line: then a datagram is lost, and the writer of a stream waits; of a stream
    /// up to one segment of 1448 bytes more [default: what the line carries in one round trip, and ten datagrams at least]
    #[arg(long, value_name = "BYTES")]
    queue: Option<usize>,
    /// The largest datagram, without the 28 bytes of its headers [default: 1400]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<usize>,
    /// The share of datagrams that are lost, each for itself [default: 0]
    #[arg(long, value_name = "P")]
    loss: Option<f64>,
    /// The share of datagrams that are lost in bursts, of 8 in the mean [default: 0]
    #[arg(long, value_name = "P")]
    burst_loss: Option<f64>,
    /// The share of datagrams that are held back [default: 0]
    #[arg(long, value_name = "P")]
    reorder: Option<f64>,
    /// With --reorder: how long they are, in milliseconds, evenly from 0 to this [default: 5]
    #[arg(long, value_name = "MS")]
    reorder_delay: Option<f64>,
    /// The share of datagrams that arrive twice [default: 0]
    #[arg(long, value_name = "P")]
    duplicate: Option<f64>,
    /// The share of datagrams of which some bytes are changed [default: 0]
    #[arg(long, value_name = "P")]
    corrupt: Option<f64>,
    /// Cut each link so many milliseconds after both sides have it [default: never]
    #[arg(long, value_name = "MS")]
    cut_every: Option<f64>,
    /// What the sockets are configured for: throughput, or latency at the price of more bytes [default: bulk]
    #[arg(long, value_name = "PROFILE", value_parser = ["bulk", "interactive"])]
    profile: Option<String>,
    /// What all chance follows from [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the result as one line with one JSON object, of the fields below
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw what happened as a time-sequence diagram; of up to a million messages, two gigabytes
    /// and about ten thousand cuts
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

impl Sim {
    /// The scenario of the file, if there is one, and of the options.
    ///
    /// # Errors
    /// When the file cannot be read, or the scenario cannot be.
    pub(crate) fn scenario(&self) -> Result<Scenario, Failure> {
        let said = match &self.file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure::new(format_args!("{}: {error}", path.display())))?;
                toml::from_str(&text).map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))?
            }
            None => Scenario::default(),
        };
        let mut scenario = said.clone();
        if let Some(link) = &self.link {
            scenario.link = if link == "stream" { Link::Stream } else { Link::Datagram };
        }
        if let Some(profile) = &self.profile {
            scenario.profile = if profile == "bulk" { Profile::Bulk } else { Profile::Interactive };
        }
        set(&mut scenario.messages, self.messages);
        set(&mut scenario.size, self.size);
        set(&mut scenario.interval, self.interval);
        set(&mut scenario.rtt, self.rtt);
        set(&mut scenario.rate, self.rate);
        set(&mut scenario.queue, self.queue.map(Some));
        set(&mut scenario.mtu, self.mtu.map(Some));
        set(&mut scenario.loss, self.loss);
        set(&mut scenario.burst_loss, self.burst_loss);
        set(&mut scenario.reorder, self.reorder);
        set(&mut scenario.reorder_delay, self.reorder_delay);
        set(&mut scenario.duplicate, self.duplicate);
        set(&mut scenario.corrupt, self.corrupt);
        set(&mut scenario.cut_every, self.cut_every.map(Some));
        set(&mut scenario.seed, self.seed);
        scenario.check().map_err(|error| match &self.file {
            Some(path) if said.check() == Err(error.clone()) => {
                Failure::usage(format_args!("{}: {error}", path.display()))
            }
            _ => Failure::usage(format_args!("--{error}")),
        })?;
        if self.svg.is_some() {
            can_be_drawn(&scenario)?;
        }
        Ok(scenario)
    }
}

/// Everything that happens is kept for a picture.
fn can_be_drawn(scenario: &Scenario) -> Result<(), Failure> {
    const MESSAGES: u64 = 1_000_000;
    const BYTES: u64 = 2_000_000_000;
    const CUTS: u64 = 10_000;
    let Scenario { messages, interval, rate, .. } = scenario;
    let bytes = messages.saturating_mul(scenario.size as u64);
    // It takes no less than the writing, and the line.
    let millis = (messages.saturating_mul(*interval) as f64 / 1e3).max(bytes as f64 * 8.0 / (rate * 1e3));
    let cuts = scenario.cut_every.map_or(0, |every| (millis / every) as u64);
    for (count, what, limit) in [(*messages, "messages", MESSAGES), (bytes, "bytes", BYTES), (cuts, "cuts", CUTS)] {
        if count > limit {
            return Err(Failure::usage(format_args!("--svg draws no run of {count} {what}: {limit} are the most")));
        }
    }
    Ok(())
}

fn set<T>(field: &mut T, option: Option<T>) {
    if let Some(value) = option {
        *field = value;
    }
}
