//! A run as a time-sequence diagram, in SVG.
//!
//! Above, the whole run: what passed in each direction over time, losses, cuts, and the states of both sides. Below,
//! stretches of it as diagrams in which time goes downwards and each packet is a line from one side to the other: the
//! beginning, the first trouble, and the end.

mod key;
mod overview;
mod panel;
mod story;
mod stretches;
mod svg;

use steadfast_sim::Trace;
use steadfast_sim::scenario::{Problem, Report, Scenario};

use key::HARM;
use story::Story;
use svg::{Anchor, Svg};

/// In pixels.
const WIDTH: f64 = 1000.0;

/// The most characters of a line of the head.
const CHARACTERS: usize = 128;

/// Draws a run.
pub(super) fn draw(scenario: &Scenario, report: &Report, problem: Option<&Problem>, trace: &Trace) -> String {
    let story = Story::new(trace);
    let stretches = stretches::choose(&story, scenario.rtt.max(1.0));
    let mut svg = Svg::default();
    let mut y = head(&mut svg, scenario, report, problem);
    y = overview::draw(&mut svg, y + 14.0, &story, &stretches);
    y = key::draw(&mut svg, y + 18.0);
    for (stretch, letter) in stretches.iter().zip('A'..) {
        y = panel::draw(&mut svg, y + 22.0, &story, stretch, letter, scenario.rtt / 2.0);
    }
    svg.finish(WIDTH, y + 16.0)
}

/// What was run and measured; gives where it ends.
fn head(svg: &mut Svg, scenario: &Scenario, report: &Report, problem: Option<&Problem>) -> f64 {
    svg.text(20.0, 28.0, Anchor::Start, 17.0, "#111", "A steadfast socket, and what became of its packets");
    let Report { delivered, lost, duplicated, reordered, seconds, p50_ms, p99_ms, cuts, resumes, .. } = report;
    let mut result = format!("{delivered} delivered in {seconds:.3} s, {lost} undelivered, {duplicated} duplicated, ");
    result += &format!("{reordered} out of order; latency {p50_ms:.1} ms (median), {p99_ms:.1} ms (99 %)");
    let Report { payload_bytes, wire_bytes, retransmitted_bytes, .. } = report;
    let mut cost = format!("{payload_bytes} bytes of messages, {wire_bytes} on the wire, ");
    cost += &format!("{retransmitted_bytes} sent again; cut {cuts} times, resumed {resumes} times");
    let problem = problem.map(|problem| format!("It ended early: {problem}"));
    let said = [super::describe(scenario), result, cost].map(|text| (text, "#333"));
    let mut y = 31.0;
    for (text, colour) in said.into_iter().chain(problem.map(|problem| (problem, HARM))) {
        for line in lines(&text, CHARACTERS) {
            y += 17.0;
            svg.text(20.0, y, Anchor::Start, 12.0, colour, &line);
        }
    }
    y
}

/// A text in lines of at most so many characters, as far as its words allow.
fn lines(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => *line += &format!(" {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Milliseconds, as short as they can be told apart.
fn time_label(millis: f64, step: f64) -> String {
    if step >= 1000.0 {
        format!("{} s", millis / 1000.0)
    } else if step >= 1.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{millis:.2} ms")
    }
}

/// A round step with which this many are about the number wanted.
fn round_step(range: f64, wanted: f64) -> f64 {
    let rough = (range / wanted).max(1e-3);
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(rough)
}

#[cfg(test)]
mod tests {
    use steadfast_sim::scenario::Link;

    use super::*;

    #[test]
    fn marks_are_round_and_about_as_many_as_wanted() {
        for range in [0.3, 1.0, 7.0, 99.0, 1234.0, 600_000.0] {
            let step = round_step(range, 8.0);
            let marks = range / step;
            assert!((3.0..=8.0).contains(&marks), "{marks} marks of {step} in {range}");
        }
    }

    #[test]
    fn a_long_description_is_broken_into_lines() {
        let text = "one, two, three, four";
        assert_eq!(lines(text, 9), ["one, two,", "three,", "four"]);
        assert_eq!(lines(text, 3), ["one,", "two,", "three,", "four"]);
        assert_eq!(lines(text, 100), [text]);
    }

    #[test]
    fn a_picture_of_a_run_that_ended_early_says_why() {
        let scenario = Scenario { messages: 20, loss: 1.0, link: Link::Datagram, ..Scenario::default() };
        let outcome = scenario.run_recorded().expect("a scenario that can be");
        let picture = draw(&scenario, &outcome.report, outcome.problem.as_ref(), &outcome.trace.expect("recorded"));
        for part in ["nothing was delivered for 120 s", "the link is given up, and what follows"] {
            assert!(picture.contains(part), "`{part}` is missing");
        }
    }

    #[test]
    fn what_was_changed_on_its_way_is_named() {
        let scenario = Scenario { messages: 20, corrupt: 0.5, link: Link::Datagram, ..Scenario::default() };
        let outcome = scenario.run_recorded().expect("a scenario that can be");
        let picture = draw(&scenario, &outcome.report, None, &outcome.trace.expect("recorded"));
        assert!(picture.contains(": changed</text>"));
    }

    #[test]
    fn a_picture_is_well_formed_whatever_happens() {
        for scenario in [
            Scenario::default(),
            Scenario { messages: 1, rtt: 0.0, ..Scenario::default() },
            Scenario { messages: 5_000, interval: 300, cut_every: Some(200.0), ..Scenario::default() },
            Scenario { messages: 100_000, cut_every: Some(1.0), ..Scenario::default() },
            // Thousands of packets are lost with each link.
            Scenario { messages: 8_000, queue: Some(100_000_000), cut_every: Some(200.0), ..Scenario::default() },
            Scenario { messages: 3_000, queue: Some(3_000), loss: 0.3, link: Link::Datagram, ..Scenario::default() },
        ] {
            let outcome = scenario.run_recorded().expect("a scenario that can be");
            let picture = draw(&scenario, &outcome.report, outcome.problem.as_ref(), &outcome.trace.expect("recorded"));
            assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
            assert_eq!(picture.matches("<g").count(), picture.matches("</g>").count());
            assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
            assert!(!picture.contains("NaN") && !picture.contains("inf"), "a place that is none");
            assert!(picture.len() < 1 << 18, "{} bytes", picture.len());
        }
    }
}
