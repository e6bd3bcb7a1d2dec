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
    /// By side: which link it had from when to when.
    pub(super) links: [Vec<(LinkId, f64, f64)>; 2],
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

    /// Why nothing of it was of use, if so: it was lost, or came otherwise than it was sent.
    pub(super) fn harm(&self) -> Option<&'static str> {
        match &self.lost {
            Some((_, node)) => Some(match node.as_str() {
                "queue" => "queue is full",
                "burst-loss" => "lost in a burst",
                "mtu" => "too long",
                "cut" => "cut off",
                _ => "lost",
            }),
            None => (!self.arrivals.is_empty() && self.arrivals.iter().all(|(_, is_changed)| *is_changed))
                .then_some("changed"),
        }
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
            Happened::Up(link, side) => self.links[*side as usize].push((*link, at, f64::INFINITY)),
            Happened::Down(link, side) => {
                // A side may have the next link before the end of the last one comes.
                let links = self.links[*side as usize].iter_mut();
                links.filter(|(down, ..)| down == link).for_each(|(.., until)| *until = until.min(at));
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

#[cfg(test)]
mod tests {
    use steadfast::Time;
    use steadfast_sim::Entry;

    use super::*;

    #[test]
    fn a_link_that_ends_late_does_not_end_the_next_one() {
        let (first, second) = (LinkId(1), LinkId(2));
        let happened = [
            Happened::Up(first, Side::Server),
            Happened::Up(second, Side::Server),
            Happened::Down(first, Side::Server),
        ];
        let at = |millis: usize| Time::from_millis(millis as u64);
        let entries = happened.into_iter().enumerate().map(|(number, what)| Entry { at: at(number), what }).collect();
        let story = Story::new(&Trace { seed: 1, entries });
        let expected = vec![(first, 0.0, 2.0), (second, 1.0, f64::INFINITY)];
        assert_eq!(story.links[Side::Server as usize], expected);
    }
}
