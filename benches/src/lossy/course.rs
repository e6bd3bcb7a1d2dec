//! Flows on one path.

use std::time::Duration;

use bytes::BytesMut;
use steadfast::{RecvBytes, Time};
use steadfast_sim::net::{Bottleneck, Carriage, Delay, FlowId, Loss, Network, NodeId, Reorder, Step};

use super::flow::Flow;
use super::{Conditions, Contender, DELAY, QUEUE, RATE, Workload, p99};

/// How long handshakes may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something may happen before time goes on.
const STEPS: usize = 1_000_000;
/// How many packets are delayed, and by how much at most.
const REORDERED: (f64, Duration) = (0.02, Duration::from_millis(5));

/// What came of a flow.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When all was delivered, from the first write on; the time that it was given when not all was.
    pub completion: Duration,
    /// Whether all was delivered.
    pub is_complete: bool,
    /// The time from write to delivery that 99 % of the messages do not exceed.
    pub p99: Duration,
    /// Bytes on the wire, both ways.
    pub wire_bytes: u64,
    /// Datagrams, both ways, that carried no part of a message.
    pub ack_datagrams: u64,
    /// When each message was delivered, from the start of the clock on.
    pub delivered: Vec<Duration>,
}

/// Flows under way.
pub struct Course {
    now: Time,
    /// When all were ready.
    start: Time,
    network: Network,
    lines: [NodeId; 2],
    flows: Vec<Flow>,
    scratch: Vec<u8>,
    /// Datagrams for which the queues had no room.
    pub overflows: u64,
}

impl Course {
    /// All are connected over a path that loses nothing; then it begins to lose, and the clock starts.
    ///
    /// # Panics
    /// When they do not become ready within a minute.
    pub fn new(conditions: Conditions, seed: u64, contenders: &[(Contender, Workload)]) -> Course {
        let now = Time::from_millis(1000);
        let flow = |(contender, workload): &(Contender, Workload)| Flow::new((contender.ends)(seed, now), *workload);
        let mut network = Network::new(seed);
        let lines = [(); 2].map(|()| network.add(Bottleneck::new(Some(RATE), QUEUE)));
        let mut course = Course {
            now,
            start: Time::from_micros(u64::MAX),
            network,
            lines,
            flows: contenders.iter().map(flow).collect(),
            scratch: Vec::new(),
            overflows: 0,
        };
        course.lay(Conditions { loss: 0.0, is_reordering: false });
        course.run(PATIENCE, |course| course.flows.iter().all(Flow::is_ready));
        assert!(course.flows.iter().all(Flow::is_ready), "not ready after {PATIENCE:?}");
        course.lay(conditions);
        for flow in &mut course.flows {
            (flow.wire_bytes, flow.ack_datagrams) = (0, 0);
        }
        course.start = course.now;
        course
    }

    /// Lays new ways behind the lines, which all flows share.
    fn lay(&mut self, conditions: Conditions) {
        let paths = self.lines.map(|line| {
            let mut nodes = vec![line];
            nodes.push(self.network.add(Loss { probability: conditions.loss }));
            nodes.push(self.network.add(Delay::fixed(DELAY)));
            if conditions.is_reordering {
                nodes.push(self.network.add(Reorder { probability: REORDERED.0, delay: REORDERED.1 }));
            }
            nodes.into()
        });
        self.flows.iter_mut().for_each(|flow| flow.paths = paths.clone());
    }

    /// Runs until everything is delivered, or so much time has passed.
    pub fn finish(&mut self, most: Duration) -> Vec<Outcome> {
        self.run(most, |course| course.flows.iter().all(Flow::is_over));
        let passed = self.now.since(self.start);
        let outcome = |flow: &Flow| {
            let begin = flow.workload.start;
            let last = if flow.is_over() { flow.delivered.last().copied() } else { None };
            let latencies = (0..).zip(&flow.delivered).map(|(number, at)| at.saturating_sub(flow.workload.due(number)));
            Outcome {
                completion: last.unwrap_or(passed).saturating_sub(begin),
                is_complete: last.is_some(),
                p99: p99(latencies.collect()),
                wire_bytes: flow.wire_bytes,
                ack_datagrams: flow.ack_datagrams,
                delivered: flow.delivered.clone(),
            }
        };
        self.flows.iter().map(outcome).collect()
    }

    fn run(&mut self, most: Duration, is_done: impl Fn(&Course) -> bool) {
        let end = self.now + most;
        let mut steps = 0;
        self.exchange();
        while !is_done(self) {
            let Some(next) = self.next_moment().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            steps = if next > self.now { 0 } else { steps + 1 };
            assert!(steps < STEPS, "time does not go on");
            self.now = self.now.max(next);
            if self.arrive() | self.handle_timeouts() | self.is_write_due() {
                self.exchange();
            }
        }
    }

    fn next_moment(&mut self) -> Option<Time> {
        let start = self.start;
        let write = self.flows.iter().filter_map(|flow| Some(start + flow.next_write()?)).filter(|at| *at > self.now);
        let write = write.min();
        let timeouts = self.flows.iter_mut().flat_map(|flow| &mut flow.ends).filter_map(|end| end.poll_timeout());
        timeouts.chain(self.network.next_moment()).chain(write).min()
    }

    /// Whether a write that waited for its time alone is due.
    fn is_write_due(&self) -> bool {
        self.flows.iter().filter_map(Flow::next_write).any(|at| self.start + at <= self.now)
    }

    /// Hands over what arrives now; whether there was anything.
    fn arrive(&mut self) -> bool {
        let mut is_any = false;
        while let Some(step) = self.network.step(self.now) {
            match step {
                Step::Arrived(packet) => {
                    let FlowId(id) = packet.flow;
                    let to = &mut self.flows[(id / 2) as usize].ends[1 - (id % 2) as usize];
                    to.receive(self.now, RecvBytes::from(packet.bytes));
                    is_any = true;
                }
                Step::Lost(_, node) => self.overflows += u64::from(self.lines.contains(&node)),
                Step::Moved => {}
            }
        }
        is_any
    }

    fn handle_timeouts(&mut self) -> bool {
        let mut is_any = false;
        for end in self.flows.iter_mut().flat_map(|flow| &mut flow.ends) {
            if end.poll_timeout().is_some_and(|at| at <= self.now) {
                end.handle_timeout(self.now);
                is_any = true;
            }
        }
        is_any
    }

    /// Writes, sends and reads until nothing is left to do.
    fn exchange(&mut self) {
        for index in 0..self.flows.len() {
            let flow = &mut self.flows[index];
            flow.write(self.start, self.now);
            flow.read(self.start, self.now);
            for from in [0, 1] {
                loop {
                    self.scratch.clear();
                    if !flow.ends[from].transmit(self.now, &mut self.scratch) {
                        break;
                    }
                    flow.count(from == 0, self.scratch.len());
                    let (id, bytes) = (FlowId((2 * index + from) as u64), BytesMut::from(&self.scratch[..]));
                    let path = &flow.paths[from];
                    let (_, step) = self.network.send_buffer(self.now, id, path, Carriage::Datagram, bytes);
                    self.overflows += u64::from(matches!(step, Some(Step::Lost(..))));
                }
            }
            flow.write(self.start, self.now);
        }
    }
}
