//! One stretch of a run as a sequence diagram: time goes downwards, and a packet is a line from one side to the other.

use steadfast_sim::{Content, Side};

use super::key::{HARM, colour};
use super::overview::states;
use super::story::{Packet, Story};
use super::stretches::Stretch;
use super::svg::{Anchor, Svg};
use super::{round_step, time_label};

const CLIENT: f64 = 315.0;
const SERVER: f64 = 705.0;
const BARS: [f64; 2] = [72.0, 934.0];
const BAR: f64 = 12.0;
/// A panel's height, by how much there is in it.
const HEIGHTS: (f64, f64) = (150.0, 560.0);
/// Packets of a kind that begin within so many pixels of each other are a band.
const CLOSE: f64 = 3.2;
/// Labels need so many pixels each.
const LINE: f64 = 11.0;

/// Draws a panel; gives where it ends.
pub(super) fn draw(svg: &mut Svg, top: f64, story: &Story, stretch: &Stretch, letter: char, way: f64) -> f64 {
    let packets: Vec<&Packet> =
        story.packets.iter().filter(|packet| packet.sent <= stretch.to && packet.last() >= stretch.from).collect();
    let height = (60.0 + 9.0 * packets.len() as f64).clamp(HEIGHTS.0, HEIGHTS.1);
    let body = top + 34.0;
    let panel = Panel { stretch: stretch.clone(), body, height, way };
    panel.frame(svg, letter, story);
    svg.begin_clipped(&format!("panel-{letter}"), 0.0, body, super::WIDTH, height);
    let mut labels = Labels::default();
    for group in panel.groups(&packets) {
        match &group[..] {
            [one] => panel.single(svg, one, story, &mut labels),
            many => panel.band(svg, many, &mut labels),
        }
    }
    panel.cuts(svg, story);
    labels.draw(svg, body, height);
    svg.end_group();
    body + height
}

struct Panel {
    stretch: Stretch,
    body: f64,
    height: f64,
    /// Milliseconds that a packet takes from one side to the other, about.
    way: f64,
}

impl Panel {
    fn y(&self, at: f64) -> f64 {
        let range = (self.stretch.to - self.stretch.from).max(1e-6);
        self.body + self.height * (at - self.stretch.from) / range
    }

    fn x(side: Side) -> f64 {
        match side {
            Side::Client => CLIENT,
            Side::Server => SERVER,
        }
    }

    /// Title, scale, lifelines and states.
    fn frame(&self, svg: &mut Svg, letter: char, story: &Story) {
        let title = format!("{letter}  {}", self.stretch.why);
        svg.text(20.0, self.body - 20.0, Anchor::Start, 13.0, "#111", &title);
        for (side, name) in [(Side::Client, "client"), (Side::Server, "server")] {
            svg.text(Panel::x(side), self.body - 6.0, Anchor::Middle, 12.0, "#111", name);
        }
        let (top, bottom) = (self.body, self.body + self.height);
        let step = round_step(self.stretch.to - self.stretch.from, self.height / 45.0);
        let first = (self.stretch.from / step).ceil() as u64;
        for mark in first..=(self.stretch.to / step).floor() as u64 {
            let at = mark as f64 * step;
            svg.line((64.0, self.y(at)), (BARS[1], self.y(at)), "#ececec", r#"stroke-width="0.8""#);
            svg.text(60.0, self.y(at) + 3.5, Anchor::End, 10.0, "#555", &time_label(at, step));
        }
        for side in Side::BOTH {
            let (x, bar) = (Panel::x(side), BARS[side as usize]);
            svg.line((x, top), (x, bottom), "#999", r#"stroke-width="1.2" stroke-dasharray="2 4""#);
            for (from, to) in &story.links[side as usize] {
                let (from, to) = (self.y(*from).max(top), self.y(*to).min(bottom));
                if from < to {
                    svg.line((x, from), (x, to), "#444", r#"stroke-width="2""#);
                }
            }
            states(svg, &story.states[side as usize], story.end, |from, to, colour, svg| {
                let (from, to) = (self.y(from).max(top), self.y(to).min(bottom));
                if from < to {
                    svg.rect(bar, from, BAR, to - from, colour, "");
                }
            });
        }
    }

    /// Packets that are drawn together: of one direction and kind, each with one arrival, in order, close to each other.
    fn groups<'a>(&self, packets: &[&'a Packet]) -> Vec<Vec<&'a Packet>> {
        let mut groups: Vec<Vec<&Packet>> = Vec::new();
        // By direction: the group that may go on.
        let mut open: [Option<usize>; 2] = [None; 2];
        for packet in packets {
            let side = packet.from as usize;
            let fits = |last: &Packet| {
                let arrives = |packet: &Packet| packet.arrivals.first().map(|first| first.0);
                is_plain(packet)
                    && is_plain(last)
                    && last.content == packet.content
                    && self.y(packet.sent) - self.y(last.sent) < CLOSE
                    && arrives(last) <= arrives(packet)
            };
            match open[side].and_then(|open| groups.get_mut(open)).filter(|group| group.last().is_some_and(|l| fits(l)))
            {
                Some(group) => group.push(packet),
                None => {
                    // What is lost between does not part what surrounds it.
                    if is_plain(packet) || open[side].is_none() {
                        open[side] = Some(groups.len());
                    }
                    groups.push(vec![packet]);
                }
            }
        }
        groups
    }

    fn single(&self, svg: &mut Svg, packet: &Packet, story: &Story, labels: &mut Labels) {
        let (from, to) = (Panel::x(packet.from), Panel::x(packet.from.other()));
        let start = (from, self.y(packet.sent));
        let (colour, width) = (colour(packet.content), if packet.content == Content::Ack { 0.9 } else { 1.3 });
        for (copy, (at, is_changed)) in packet.arrivals.iter().enumerate() {
            let end = (to, self.y(*at));
            let dashes = if copy > 0 { r#"stroke-dasharray="3 2""# } else { "" };
            svg.line(start, end, colour, &format!(r#"stroke-width="{width}" {dashes}"#));
            svg.head(end, (end.1 - start.1) / (end.0 - start.0).abs(), from < to, colour);
            if *is_changed {
                let inside = if from < to { -14.0 } else { 14.0 };
                svg.text(to + inside, end.1 - 4.0, Anchor::Middle, 12.0, HARM, "≠");
            }
        }
        let way = self.way.max(0.01);
        let Some((at, node)) = &packet.lost else {
            if packet.arrivals.is_empty() {
                // Still on its way when the run ended.
                svg.line(
                    start,
                    (to, self.y(packet.sent + way)),
                    colour,
                    r#"stroke-width="0.9" stroke-dasharray="1 3""#,
                );
            }
            labels.add(packet.from, start.1, priority(packet), &packet.label, colour);
            return;
        };
        // Where it had got to when its link was cut, or else in the middle of its way.
        let (at, part) = match story.cut_of(packet) {
            Some(cut) => (cut, ((cut - packet.sent) / (at - packet.sent).max(way)).clamp(0.0, 0.95)),
            None => (at + 0.45 * way, 0.45),
        };
        let end = (from + part * (to - from), self.y(at));
        svg.line(start, end, colour, &format!(r#"stroke-width="{width}" stroke-opacity="0.75""#));
        svg.cross(end, HARM);
        labels.add(packet.from, start.1, priority(packet) - 2, &format!("{}: {}", packet.label, fate(node)), HARM);
    }

    fn band(&self, svg: &mut Svg, packets: &[&Packet], labels: &mut Labels) {
        let (Some(first), Some(last)) = (packets.first(), packets.last()) else { return };
        let (from, to) = (Panel::x(first.from), Panel::x(first.from.other()));
        let arrival = |packet: &Packet| packet.arrivals.first().map_or(packet.sent, |first| first.0);
        let corners = [
            (from, self.y(first.sent)),
            (to, self.y(arrival(first))),
            (to, self.y(arrival(last))),
            (from, self.y(last.sent)),
        ];
        let colour = colour(first.content);
        svg.polygon(&corners, colour, r#"fill-opacity="0.22""#);
        for packet in [first, last] {
            let (start, end) = ((from, self.y(packet.sent)), (to, self.y(arrival(packet))));
            svg.line(start, end, colour, r#"stroke-width="1.2""#);
            svg.head(end, (end.1 - start.1) / (end.0 - start.0).abs(), from < to, colour);
        }
        let bytes: usize = packets.iter().map(|packet| packet.wire_len).sum();
        let text = format!("{} × {}, {}", packets.len(), short(first.content), size(bytes));
        let middle = (self.y(first.sent) + self.y(last.sent)) / 2.0;
        labels.add(first.from, middle, priority(first) - 1, &text, colour);
    }

    fn cuts(&self, svg: &mut Svg, story: &Story) {
        for cut in story.cuts.iter().filter(|cut| (self.stretch.from..=self.stretch.to).contains(&cut.at)) {
            let y = self.y(cut.at);
            let style = r#"stroke-width="1.8" stroke-dasharray="7 4""#;
            svg.line((BARS[0] + BAR + 4.0, y), (BARS[1] - 4.0, y), HARM, style);
            // Beside the middle, where packets end.
            let middle = SERVER - 110.0;
            svg.rect(middle - 112.0, y - 8.5, 224.0, 17.0, "white", &format!(r#"stroke="{HARM}""#));
            svg.text(middle, y + 4.0, Anchor::Middle, 11.0, HARM, &cut.what);
        }
    }
}

/// It has arrived once, as it was.
fn is_plain(packet: &Packet) -> bool {
    packet.lost.is_none() && matches!(packet.arrivals[..], [(_, false)])
}

/// What became of a packet that was lost in this node.
fn fate(node: &str) -> &'static str {
    match node {
        "queue" => "queue is full",
        "burst-loss" => "lost in a burst",
        "mtu" => "too long",
        "cut" => "cut off",
        _ => "lost",
    }
}

fn short(content: Content) -> &'static str {
    match content {
        Content::Handshake => "handshake",
        Content::Data => "data",
        Content::Again => "data again",
        Content::Ack => "ack",
        Content::Control => "control",
    }
}

fn size(bytes: usize) -> String {
    if bytes < 10_000 { format!("{bytes} B") } else { format!("{} kB", bytes / 1000) }
}

/// Which label is written where there is not room for all: the smallest.
fn priority(packet: &Packet) -> i32 {
    match packet.content {
        Content::Handshake => 0,
        Content::Again => 3,
        Content::Control => 5,
        Content::Data => 6,
        Content::Ack => 8,
    }
}

/// Labels beside the lifelines, of which those are written that there is room for.
#[derive(Default)]
struct Labels {
    wanted: Vec<(i32, Side, f64, String, String)>,
}

impl Labels {
    fn add(&mut self, side: Side, y: f64, priority: i32, text: &str, colour: &str) {
        self.wanted.push((priority, side, y, text.into(), colour.into()));
    }

    fn draw(mut self, svg: &mut Svg, top: f64, height: f64) {
        self.wanted
            .sort_by(|one, other| (one.0, one.2).partial_cmp(&(other.0, other.2)).unwrap_or(one.0.cmp(&other.0)));
        let mut taken: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        for (_, side, y, text, colour) in self.wanted {
            let y = y.clamp(top + 5.0, top + height - 4.0);
            let places = &mut taken[side as usize];
            if places.iter().any(|place| (place - y).abs() < LINE) {
                continue;
            }
            places.push(y);
            let text: String =
                if text.chars().count() > 38 { text.chars().take(37).chain(['…']).collect() } else { text };
            let (x, anchor) =
                if side == Side::Client { (CLIENT - 8.0, Anchor::End) } else { (SERVER + 8.0, Anchor::Start) };
            svg.text(x, y + 3.5, anchor, 10.0, &colour, &text);
        }
    }
}
