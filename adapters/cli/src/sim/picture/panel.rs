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
/// The most characters of a label.
const LONGEST: usize = 38;

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
            many => panel.band(svg, many, story, &mut labels),
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
            for (_, from, to) in &story.links[side as usize] {
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

    /// Packets that are drawn together: of one direction, kind and fate, in order, close to each other.
    fn groups<'a>(&self, packets: &[&'a Packet]) -> Vec<Vec<&'a Packet>> {
        let mut groups: Vec<Vec<&Packet>> = Vec::new();
        // By direction, of those that arrive and of those that are lost: the group that may go on. So neither parts the other.
        let mut open: [[Option<usize>; 2]; 2] = [[None; 2]; 2];
        for packet in packets {
            let fits = |last: &&Packet| {
                (last.content, last.harm()) == (packet.content, packet.harm())
                    && self.y(packet.sent) - self.y(last.sent) < CLOSE
                    && last.last() <= packet.last()
            };
            let place = is_plain(packet).then(|| &mut open[packet.from as usize][usize::from(packet.lost.is_some())]);
            let group = place.as_deref().copied().flatten().and_then(|open| groups.get_mut(open));
            match group.filter(|group| group.last().is_some_and(fits)) {
                Some(group) => group.push(packet),
                None => {
                    place.into_iter().for_each(|place| *place = Some(groups.len()));
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
        if packet.lost.is_some() {
            let end = self.end(packet, story);
            svg.line(start, end, colour, &format!(r#"stroke-width="{width}" stroke-opacity="0.75""#));
            svg.cross(end, HARM);
        } else if packet.arrivals.is_empty() {
            // Still on its way when the run ended.
            let end = (to, self.y(packet.sent + self.way.max(0.01)));
            svg.line(start, end, colour, r#"stroke-width="0.9" stroke-dasharray="1 3""#);
        }
        labels.add(packet.from, start.1, packet, 1, &packet.label);
    }

    /// Where a packet ends: at its first arrival, or where it is lost.
    fn end(&self, packet: &Packet, story: &Story) -> (f64, f64) {
        let (from, to) = (Panel::x(packet.from), Panel::x(packet.from.other()));
        let way = self.way.max(0.01);
        // Where it had got to when its link was cut, or else in the middle of its way.
        let (at, part) = match (&packet.lost, story.cut_of(packet)) {
            (Some((at, _)), Some(cut)) => (cut, ((cut - packet.sent) / (at - packet.sent).max(way)).clamp(0.0, 0.95)),
            (Some((at, _)), None) => (at + 0.45 * way, 0.45),
            (None, _) => (packet.arrivals.first().map_or(packet.sent, |first| first.0), 1.0),
        };
        (from + part * (to - from), self.y(at))
    }

    fn band(&self, svg: &mut Svg, packets: &[&Packet], story: &Story, labels: &mut Labels) {
        let (Some(first), Some(last)) = (packets.first(), packets.last()) else { return };
        let (from, to) = (Panel::x(first.from), Panel::x(first.from.other()));
        let ends = [first, last].map(|packet| ((from, self.y(packet.sent)), self.end(packet, story)));
        let [(first_start, first_end), (last_start, last_end)] = ends;
        let colour = colour(first.content);
        svg.polygon(&[first_start, first_end, last_end, last_start], colour, r#"fill-opacity="0.22""#);
        if first.lost.is_some() {
            svg.line(first_end, last_end, HARM, r#"stroke-width="1.6""#);
        }
        for (start, end) in ends {
            svg.line(start, end, colour, r#"stroke-width="1.2""#);
            match first.lost {
                Some(_) => svg.cross(end, HARM),
                None => svg.head(end, (end.1 - start.1) / (end.0 - start.0).abs(), from < to, colour),
            }
        }
        let bytes: usize = packets.iter().map(|packet| packet.wire_len).sum();
        let text = format!("{} × {}, {}", packets.len(), short(first.content), size(bytes));
        labels.add(first.from, (first_start.1 + last_start.1) / 2.0, first, packets.len(), &text);
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

/// It has arrived once, as it was, or not at all.
fn is_plain(packet: &Packet) -> bool {
    match packet.arrivals[..] {
        [(_, is_changed)] => packet.lost.is_none() && !is_changed,
        [] => packet.lost.is_some(),
        _ => false,
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
    wanted: Vec<(i32, Side, f64, String, &'static str)>,
}

impl Labels {
    /// A text about so many packets, of which this is the first.
    fn add(&mut self, side: Side, y: f64, packet: &Packet, count: usize, text: &str) {
        let harm = packet.harm().map_or(String::new(), |harm| format!(": {harm}"));
        // What became of it is always said.
        let room = LONGEST - harm.chars().count();
        let mut text: String = match text.char_indices().nth(room) {
            Some(_) => text.chars().take(room - 1).chain(['…']).collect(),
            None => text.into(),
        };
        text += &harm;
        let (gain, colour) = packet.harm().map_or((0, colour(packet.content)), |_| (2, HARM));
        let priority = priority(packet) - gain - i32::from(count > 1);
        self.wanted.push((priority, side, y, text, colour));
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
            let (x, anchor) =
                if side == Side::Client { (CLIENT - 8.0, Anchor::End) } else { (SERVER + 8.0, Anchor::Start) };
            svg.text(x, y + 3.5, anchor, 10.0, colour, &text);
        }
    }
}
