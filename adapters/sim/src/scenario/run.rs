//! Runs a scenario.

use std::fmt;
use std::time::Duration;

use steadfast::{Code, Config, Event, ProtocolCode, ServerConfig, State, Time};

use crate::conditions::Break;
use crate::contract::Rigour;
use crate::net::Path;
use crate::scenario::report::percentile;
use crate::scenario::talk::Talk;
use crate::scenario::{Report, Scenario, ScenarioError, millis};
use crate::trace::Trace;
use crate::world::{ADDRESS, End, Wires, World};

/// How long nothing may come before a run is given up, in virtual time, beside twice what the line needs for a message.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many bytes of a stream arrive at once: what TCP puts into a packet on an Ethernet.
const SEGMENT: usize = 1_448;
/// How many bytes a stream's writer may be ahead of its reader, beside what the queue says.
const ROOM: usize = 1 << 30;

/// What came of a scenario.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// What was measured.
    pub report: Report,
    /// Why it ended before all was delivered.
    pub problem: Option<Problem>,
    /// Everything that happened, if it was to be recorded.
    pub trace: Option<Trace>,
}

/// Why a scenario ended early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The sockets did not become ready: what came of the last attempt, if one has ended.
    NotReady(Option<String>),
    /// Nothing was delivered for so long: two minutes, and twice what the line needs for a message.
    Stuck(Duration),
    /// The session was lost, or expired on one side: why, and how many messages were unconfirmed.
    SessionLost(String, usize),
    /// A socket has closed.
    Closed(String),
    /// A message was refused.
    Refused(String),
    /// A message was delivered that nobody had sent, after so many right ones.
    WrongBytes(u64),
    /// The messages were delivered, and the sender was not told for two minutes.
    Unconfirmed,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotReady(last) => {
                f.write_str("the sockets did not become ready within two minutes")?;
                last.as_ref().map_or(Ok(()), |last| write!(f, "; the last attempt: {last}"))
            }
            Problem::Stuck(time) => write!(f, "nothing was delivered for {} s", time.as_secs()),
            Problem::SessionLost(reason, count) => {
                write!(f, "session lost: {reason}; {count} messages are unconfirmed")
            }
            Problem::Closed(reason) => write!(f, "a socket has closed: {reason}"),
            Problem::Refused(why) => write!(f, "a message was refused: {why}"),
            Problem::WrongBytes(after) => write!(f, "after {after} messages came one that nobody had sent"),
            Problem::Unconfirmed => f.write_str("all is delivered, and not confirmed within two minutes"),
        }
    }
}

impl Scenario {
    /// Runs to the end. The same scenario gives the same outcome, for ever and on every machine.
    ///
    /// # Errors
    /// As [`Scenario::check`].
    pub fn run(&self) -> Result<Outcome, ScenarioError> {
        self.run_in(World::new(self.seed))
    }

    /// As [`Scenario::run`], and records everything that happens from the first dial on.
    ///
    /// # Errors
    /// As [`Scenario::check`].
    pub fn run_recorded(&self) -> Result<Outcome, ScenarioError> {
        let mut world = World::new(self.seed);
        world.record();
        self.run_in(world)
    }

    fn run_in(&self, mut world: World) -> Result<Outcome, ScenarioError> {
        self.check()?;
        let is_recorded = world.is_recording();
        let mut run = Run::new(self, &mut world)?;
        let problem = run.play(self, &mut world);
        let report = run.report(self, &world);
        let trace = if is_recorded { world.take_trace().ok() } else { None };
        Ok(Outcome { report, problem, trace })
    }
}

struct Run {
    client: End,
    talk: Talk,
}

impl Run {
    fn new(scenario: &Scenario, world: &mut World) -> Result<Run, ScenarioError> {
        let config = scenario.config();
        world.rigour = Rigour::OFF;
        world.count_traffic();
        world.conditions.kind = scenario.kind();
        world.conditions.latency = Duration::ZERO..=Duration::ZERO;
        world.conditions.dial = millis(scenario.rtt)..=millis(scenario.rtt);
        world.conditions.piece = SEGMENT..=SEGMENT;
        world.conditions.room = ROOM;
        wire(world, scenario, &scenario.calm_path())?;
        let mut server = ServerConfig::default();
        server.socket = config.clone();
        world.serve(ADDRESS, server);
        let client = world.client(config);
        Ok(Run { client, talk: Talk::new(scenario, client, world.now()) })
    }

    /// Everything from the handshake to the last confirmation.
    fn play(&mut self, scenario: &Scenario, world: &mut World) -> Option<Problem> {
        // Nobody writes yet, and what is told is of no interest to the talk.
        let is_ready = |world: &World, end: End| world.state(end) == State::Ready;
        let both = |world: &World| {
            is_ready(world, self.client) && world.peer(self.client).is_some_and(|peer| is_ready(world, peer))
        };
        let end = world.now() + PATIENCE;
        while !both(world) {
            match world.next_moment() {
                Some(moment) if moment <= end => world.step(),
                _ => {
                    // Nothing was written, so nothing of what was sent is counted.
                    world.restart_traffic();
                    return Some(Problem::NotReady(last_loss(world, self.client, &scenario.config())));
                }
            };
        }
        // The paths were checked.
        let _ = wire(world, scenario, &scenario.path());
        if let Some(every) = scenario.cut_every.map(millis) {
            world.conditions.age = Some((every..=every, vec![Break::Reset]));
            world.age_links();
        }
        world.restart_traffic();
        self.talk = Talk::new(scenario, self.client, world.now());
        let patience = PATIENCE + 2 * scenario.line_time();
        let mut limit = world.now() + patience;
        while !self.talk.is_over() {
            let before = self.talk.books.delivered;
            world.run_app_until(&mut self.talk, limit, |_, talk| talk.is_over() || talk.books.delivered > before);
            if self.talk.books.delivered == before && self.talk.problem.is_none() {
                return Some(Problem::Stuck(patience));
            }
            limit = world.now().max(self.waits_until(world)) + patience;
        }
        if self.talk.problem.is_some() {
            return self.talk.problem.clone();
        }
        let client = self.client;
        let end = world.now() + PATIENCE;
        let is_confirmed = |world: &World, _: &Talk| world.socket(client).stats().send_queue_messages == 0;
        let is_confirmed = world.run_app_until(&mut self.talk, end, is_confirmed);
        (!is_confirmed).then_some(Problem::Unconfirmed)
    }

    /// When the sender writes next.
    fn waits_until(&self, world: &World) -> Time {
        crate::Application::next_timer(&self.talk).unwrap_or(world.now())
    }

    fn report(self, scenario: &Scenario, world: &World) -> Report {
        let (start, books) = (self.talk.start, self.talk.books);
        let mut latencies = books.latencies;
        latencies.sort_unstable();
        let sent = world.traffic(self.client);
        let answered = world.peer(self.client).map(|peer| world.traffic(peer)).unwrap_or_default();
        Report {
            delivered: books.delivered,
            lost: scenario.messages - books.delivered,
            duplicated: books.duplicated,
            reordered: books.reordered,
            seconds: books.last_delivery.since(start).as_micros() as f64 / 1e6,
            p50_ms: percentile(&latencies, 0.5),
            p99_ms: percentile(&latencies, 0.99),
            p999_ms: percentile(&latencies, 0.999),
            payload_bytes: books.delivered * scenario.size as u64,
            wire_bytes: sent.wire_bytes,
            datagrams: sent.datagrams + answered.datagrams,
            ack_datagrams: sent.bare_datagrams + answered.bare_datagrams,
            retransmitted_bytes: sent.resent_bytes,
            cuts: world.cuts(),
            resumes: world.socket(self.client).stats().resumes,
        }
    }
}

/// Why a client's last link, or attempt to get one, ended.
fn last_loss(world: &mut World, client: End, config: &Config) -> Option<String> {
    const DEADLINE: Code = Code::Protocol(ProtocolCode::Deadline);
    let losses = world.events(client).into_iter().filter_map(|event| match event {
        Event::LinkLost(loss) if loss.reason.code == DEADLINE => {
            let limit = config.attempt_timeout.as_millis();
            Some(format!("it took longer than the {limit} ms that dialling and handshake may take"))
        }
        Event::LinkLost(loss) => Some(loss.reason.to_string()),
        _ => None,
    });
    losses.last()
}

/// Lays both directions alike, each with nodes of its own.
fn wire(world: &mut World, scenario: &Scenario, path: &Path) -> Result<(), ScenarioError> {
    let carriage = scenario.carriage();
    let to_server = path.build(world.network(), carriage)?;
    let to_client = path.build(world.network(), carriage)?;
    world.wire(Wires { to_server, to_client });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_to_be_sent_again_is_what_the_socket_counts() {
        let mut resent = 0;
        for seed in 0..20 {
            let scenario = Scenario {
                messages: 3_000,
                cut_every: Some(150.0),
                interval: 100,
                // What the socket has written has left.
                queue: Some(1 << 30),
                seed,
                ..Scenario::default()
            };
            let mut world = World::new(seed);
            let mut run = Run::new(&scenario, &mut world).expect("a scenario that can be");
            assert_eq!(run.play(&scenario, &mut world), None);
            let counted = world.socket(run.client).stats().bytes_resent;
            assert_eq!(world.traffic(run.client).resent_bytes, counted, "seed {seed}");
            resent += counted;
        }
        assert!(resent > 0);
    }
}
