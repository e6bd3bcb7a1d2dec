//! Colours, and what they mean.

use steadfast::State;
use steadfast_sim::Content;

use super::svg::{Anchor, Svg};

/// Of something that is lost, and of cuts.
pub(super) const HARM: &str = "#d62728";

pub(super) fn colour(content: Content) -> &'static str {
    match content {
        Content::Handshake => "#17202a",
        Content::Data => "#3182bd",
        Content::Again => "#f28e2b",
        Content::Ack => "#59a14f",
        Content::Control => "#9467bd",
    }
}

pub(super) fn state_colour(state: State) -> &'static str {
    match state {
        State::Disconnected => "#c8c8c8",
        State::Connecting => "#f1ce63",
        State::Ready => "#8cd17d",
        _ => "#555555",
    }
}

pub(super) fn state_name(state: State) -> &'static str {
    match state {
        State::Disconnected => "disconnected",
        State::Connecting => "connecting",
        State::Ready => "ready",
        _ => "closed",
    }
}

const CONTENTS: [(Content, &str); 5] = [
    (Content::Handshake, "handshake"),
    (Content::Data, "message bytes"),
    (Content::Again, "message bytes sent again"),
    (Content::Ack, "acknowledgements and credit"),
    (Content::Control, "other control"),
];

const STATES: [State; 4] = [State::Disconnected, State::Connecting, State::Ready, State::Closed];

/// Draws two lines of keys and two of words; gives where they end.
pub(super) fn draw(svg: &mut Svg, y: f64) -> f64 {
    let mut x = 20.0;
    for (content, text) in CONTENTS {
        svg.line((x, y), (x + 22.0, y + 5.0), colour(content), r#"stroke-width="2""#);
        svg.text(x + 28.0, y + 6.0, Anchor::Start, 11.0, "#333", text);
        x += 44.0 + 6.2 * text.len() as f64;
    }
    svg.line((x, y), (x + 14.0, y + 3.0), "#888", r#"stroke-width="1.2""#);
    svg.cross((x + 16.0, y + 3.5), HARM);
    svg.text(x + 26.0, y + 6.0, Anchor::Start, 11.0, "#333", "lost");
    let y = y + 20.0;
    let mut x = 20.0;
    svg.text(x, y + 6.0, Anchor::Start, 11.0, "#333", "states at both edges:");
    x += 132.0;
    for state in STATES {
        svg.rect(x, y - 4.0, 12.0, 12.0, state_colour(state), "");
        svg.text(x + 17.0, y + 6.0, Anchor::Start, 11.0, "#333", state_name(state));
        x += 34.0 + 6.2 * state_name(state).len() as f64;
    }
    svg.line((x, y + 2.0), (x + 24.0, y + 2.0), HARM, r#"stroke-width="1.6" stroke-dasharray="5 3""#);
    svg.text(x + 30.0, y + 6.0, Anchor::Start, 11.0, "#333", "the link is cut");
    x += 130.0;
    svg.line((x, y + 2.0), (x + 24.0, y + 2.0), "#444", r#"stroke-width="2""#);
    svg.text(x + 30.0, y + 6.0, Anchor::Start, 11.0, "#333", "lifeline with a link,");
    svg.line((x + 156.0, y + 2.0), (x + 180.0, y + 2.0), "#999", r#"stroke-width="1.2" stroke-dasharray="2 4""#);
    svg.text(x + 186.0, y + 6.0, Anchor::Start, 11.0, "#333", "without");
    let y = y + 20.0;
    let words = "DATA 4096+1024: bytes 4096 to 5119 of the main lane · LANE 5120: bytes received so far · ACK 17: packet \
                 received · a band: many packets, one after the other";
    svg.text(20.0, y + 6.0, Anchor::Start, 11.0, "#555", words);
    let y = y + 16.0;
    let words = "≠: changed on its way, and so of no use · dashes: a second copy · dots: still on its way at the end · above, √: heights \
                 are roots of rates; red: lost or changed";
    svg.text(20.0, y + 6.0, Anchor::Start, 11.0, "#555", words);
    y + 6.0
}
