//! The whole run in one chart.

use steadfast::State;
use steadfast_sim::{Content, Side};

use super::key::{HARM, colour, state_colour};
use super::story::Story;
use super::stretches::Stretch;
use super::svg::{Anchor, Svg};
use super::{round_step, time_label};

const LEFT: f64 = 96.0;
const RIGHT: f64 = 980.0;
/// Half of the chart's height: one direction.
const HALF: f64 = 62.0;
/// The width of one column.
const COLUMN: f64 = 3.0;
const BAR: f64 = 9.0;
/// What is stacked in a column, from the axis on.
const STACK: [Content; 5] = [Content::Data, Content::Again, Content::Ack, Content::Control, Content::Handshake];

/// One column: bytes sent by what they are for, and packets lost or changed.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    bytes: [f64; STACK.len()],
    lost: u32,
}

/// Draws it; gives where it ends.
pub(super) fn draw(svg: &mut Svg, top: f64, story: &Story, stretches: &[Stretch]) -> f64 {
    let end = story.end.max(0.001);
    let x = |at: f64| LEFT + (RIGHT - LEFT) * at / end;
    let axis = top + 26.0 + BAR + HALF;
    let (upper, lower) = (axis - HALF - BAR - 4.0, axis + HALF + 4.0);

    for (stretch, letter) in stretches.iter().zip('A'..) {
        let (from, to) = (x(stretch.from), x(stretch.to).max(x(stretch.from) + 2.0));
        svg.rect(from, upper - 4.0, to - from, lower - upper + BAR + 8.0, "#eef2f7", r##"stroke="#b8c4d4""##);
        svg.text((from + to) / 2.0, upper - 7.0, Anchor::Middle, 11.0, "#345", &letter.to_string());
    }
    let columns = columns(story, x(end) - LEFT, end);
    let most = columns.iter().flatten().map(|column| column.bytes.iter().sum::<f64>()).fold(1.0, f64::max);
    for (side, direction) in [(Side::Client, -1.0), (Side::Server, 1.0)] {
        for (number, column) in columns[side as usize].iter().enumerate() {
            let left = LEFT + number as f64 * COLUMN;
            let sum: f64 = column.bytes.iter().sum();
            // By its root: acknowledgements are seen beside bursts of data.
            let scale = HALF * (sum / most).sqrt() / sum.max(1.0);
            let mut at = axis;
            for (bytes, content) in column.bytes.iter().zip(STACK).filter(|(bytes, _)| **bytes > 0.0) {
                // Something is seen of whatever there is.
                let height = (scale * bytes).max(0.8);
                let from = if direction < 0.0 { at - height } else { at };
                svg.rect(left, from, COLUMN - 0.4, height, colour(content), "");
                at += direction * height;
            }
            if column.lost > 0 {
                let length = 4.0 + f64::from(column.lost.min(10));
                let from = if direction < 0.0 { axis - HALF } else { axis + HALF - length };
                svg.rect(left, from, COLUMN - 0.4, length, HARM, "");
            }
        }
    }
    svg.line((LEFT, axis), (RIGHT, axis), "#777", r#"stroke-width="0.8""#);
    for cut in &story.cuts {
        svg.line((x(cut.at), upper), (x(cut.at), lower + BAR), HARM, r#"stroke-width="1" stroke-dasharray="4 2""#);
    }
    for (side, y) in [(Side::Client, upper), (Side::Server, lower)] {
        states(svg, &story.states[side as usize], end, |from, to, colour, svg| {
            svg.rect(x(from), y, (x(to) - x(from)).max(0.6), BAR, colour, "");
        });
    }
    let label = |svg: &mut Svg, y, text: &str| svg.text(LEFT - 8.0, y, Anchor::End, 10.5, "#333", text);
    label(svg, upper + 8.5, "client's state");
    label(svg, axis - HALF / 2.0 - 4.0, "client sends");
    label(svg, axis - HALF / 2.0 + 9.0, &rate(most, end));
    label(svg, axis + HALF / 2.0 + 4.0, "server sends");
    label(svg, lower + 8.5, "server's state");
    let step = round_step(end, 9.0);
    for mark in 0..=(end / step) as usize {
        let at = mark as f64 * step;
        svg.line((x(at), lower + BAR), (x(at), lower + BAR + 5.0), "#777", "");
        svg.text(x(at), lower + BAR + 16.0, Anchor::Middle, 10.0, "#555", &time_label(at, step));
    }
    lower + BAR + 18.0
}

/// What the highest column stands for.
fn rate(bytes: f64, end: f64) -> String {
    let seconds = end / 1000.0 * COLUMN / (RIGHT - LEFT);
    let mbit = bytes * 8.0 / 1e6 / seconds;
    // As long as there is room for beside the chart.
    match mbit {
        10_000.0.. => format!("≤ {:.0} Gbit/s, √", mbit / 1000.0),
        1000.0.. => format!("≤ {:.1} Gbit/s, √", mbit / 1000.0),
        10.0.. => format!("≤ {mbit:.0} Mbit/s, √"),
        _ => format!("≤ {mbit:.2} Mbit/s, √"),
    }
}

/// By side, over time.
fn columns(story: &Story, width: f64, end: f64) -> [Vec<Column>; 2] {
    let count = (width / COLUMN).floor().max(1.0) as usize;
    let mut columns = [vec![Column::default(); count], vec![Column::default(); count]];
    for packet in &story.packets {
        let number = ((packet.sent / end * count as f64) as usize).min(count - 1);
        let column = &mut columns[packet.from as usize][number];
        let kind = STACK.iter().position(|content| *content == packet.content).unwrap_or_default();
        column.bytes[kind] += packet.wire_len as f64;
        column.lost += u32::from(packet.harm().is_some());
    }
    columns
}

/// Calls `draw` for each time in a state.
pub(super) fn states(
    svg: &mut Svg,
    states: &[(f64, State)],
    end: f64,
    mut draw: impl FnMut(f64, f64, &'static str, &mut Svg),
) {
    let ends = states.iter().skip(1).map(|(at, _)| *at).chain([end]);
    for ((from, state), to) in states.iter().zip(ends) {
        if to > *from {
            draw(*from, to, state_colour(*state), svg);
        }
    }
}
