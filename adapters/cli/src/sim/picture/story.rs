//! A trace as what a picture is made of: packets with their fates, cuts, states. Times are milliseconds since its beginning.

use std::collections::BTreeMap;

use steadfast::{LinkId, State};
use steadfast_sim::net::PacketId;
use steadfast_sim::{Break, Content, Happened, Party, SentPacket, Side, Trace};

/// What happened.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) packets: Vec<Packet>,
    pub(super) cuts: Vec<Cut>,
    /// By side: from when on it is in which state.
    pub(super) states: [Vec<(f64, State)>; 2],
    /// By side: from when to when it had a link.
    pub(super) links: [Vec<(f64, f64)>; 2],
    /// When both sides were ready for the first time.
    pub(super) ready: Option<f64>,
    pub(super) end: f64,
}

/// A packet and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) from: Side,
    pub(super) link: LinkId,
    pub(super) sent: f64,
    pub(super) content: Content,
    pub(super) label: String,
    pub(super) wire_len: usize,
    /// When it and its copies arrived, and whether changed.
    pub(super) arrivals: Vec<(f64, bool)>,
    /// When it was lost, and in which node.
    pub(super) lost: Option<(f64, String)>,
}

impl Packet {
    /// The last moment at which something of it is seen.
    pub(super) fn last(&self) -> f64 {
        let arrived = self.arrivals.iter().map(|(at, _)| *at);
        arrived.chain(self.lost.as_ref().map(|(at, _)| *at)).fold(self.sent, f64::max)
    }
}

/// A link that broke.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub(super) at: f64,
    pub(super) link: LinkId,
    pub(super) what: String,
}

impl Story {
    pub(super) fn new(trace: &Trace) -> Story {
        let start = trace.entries.first().map(|entry| entry.at).unwrap_or_default();
        let end = trace.entries.last().map(|entry| entry.at.since(start)).unwrap_or_default();
        let mut story = Story {
            packets: Vec::new(),
            cuts: Vec::new(),
            states: [vec![(0.0, State::Disconnected)], vec![(0.0, State::Disconnected)]],
            links: [Vec::new(), Vec::new()],
            ready: None,
            end: end.as_secs_f64() * 1000.0,
        };
        let mut places = BTreeMap::new();
        for entry in &trace.entries {
            story.add(entry.at.since(start).as_secs_f64() * 1000.0, &entry.what, &mut places);
        }
        story
    }

    /// When the link of a packet that was lost with it was cut.
    pub(super) fn cut_of(&self, packet: &Packet) -> Option<f64> {
        let is_cut = packet.lost.as_ref().is_some_and(|(_, node)| node == "cut");
        self.cuts.iter().find(|cut| is_cut && cut.link == packet.link).map(|cut| cut.at.max(packet.sent))
    }

    fn add(&mut self, at: f64, what: &Happened, places: &mut BTreeMap<PacketId, usize>) {
        match what {
            Happened::Sent(sent) => {
                places.insert(sent.packet, self.packets.len());
                let SentPacket { to, link, content, label, wire_len, .. } = sent.clone();
                let (from, arrivals) = (to.other(), Vec::new());
                self.packets.push(Packet { from, link, sent: at, content, label, wire_len, arrivals, lost: None });
            }
            Happened::Arrived(packet, is_changed) => {
                if let Some(packet) = places.get(packet).and_then(|place| self.packets.get_mut(*place)) {
                    packet.arrivals.push((at, *is_changed));
                }
            }
            Happened::Lost(packet, node) => {
                if let Some(packet) = places.get(packet).and_then(|place| self.packets.get_mut(*place)) {
                    packet.lost = Some((at, node.clone()));
                }
            }
            Happened::Up(_, side) => self.links[*side as usize].push((at, f64::INFINITY)),
            Happened::Down(_, side) => {
                if let Some(last) = self.links[*side as usize].last_mut() {
                    last.1 = last.1.min(at);
                }
            }
            Happened::Broken(link, how) => {
                let how = match how {
                    Break::Reset => "both sides are told".into(),
                    Break::HalfOpen(side) => format!("only the {} is told", name(*side)),
                    Break::Stall => "nobody is told".into(),
                };
                self.cuts.push(Cut { at, link: *link, what: format!("link {} is cut: {how}", link.0) });
            }
            Happened::State(party, state) => {
                let side = match party {
                    Party::Client(_) => Side::Client,
                    Party::Server(..) => Side::Server,
                };
                self.states[side as usize].push((at, *state));
                let is_ready = |states: &Vec<(f64, State)>| states.last().is_some_and(|last| last.1 == State::Ready);
                if self.states.iter().all(is_ready) {
                    self.ready.get_or_insert(at);
                }
            }
        }
    }
}

/// What a side is called.
pub(super) fn name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}
