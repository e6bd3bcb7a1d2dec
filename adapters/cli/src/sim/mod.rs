//! Two sockets over a simulated link: what was measured, and a picture of what happened.

mod args;
mod picture;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use steadfast_sim::scenario::{Link, Problem, Profile, Report, Scenario};

pub(crate) use args::Sim;

use crate::failure::Failure;
use crate::output::Output;

pub(crate) async fn run(args: Sim, output: &Output) -> Result<(), Failure> {
    let scenario = args.scenario()?;
    let cannot = |path: &Path, error: io::Error| Failure::new(format_args!("{}: {error}", path.display()));
    // Before the run, which may take its time.
    let picture =
        args.svg.as_deref().map(|path| File::create(path).map_err(|error| cannot(path, error))).transpose()?;
    let outcome = if picture.is_some() { scenario.run_recorded() } else { scenario.run() };
    let outcome = outcome.map_err(Failure::usage)?;
    let report = outcome.report;
    if let (Some(path), Some(mut file), Some(trace)) = (&args.svg, picture, &outcome.trace) {
        let picture = picture::draw(&scenario, &report, outcome.problem.as_ref(), trace);
        file.write_all(picture.as_bytes()).map_err(|error| cannot(path, error))?;
    }
    let text = if args.json { serde_json::to_string(&report).map_err(Failure::new)? } else { for_people(&report) };
    output.write(format!("{text}\n").into_bytes()).await?;
    match outcome.problem {
        Some(problem @ Problem::SessionLost(..)) => Err(Failure::session_lost(problem)),
        Some(problem) => Err(Failure::new(problem)),
        None if report.is_clean() => Ok(()),
        None => Err(Failure::new("messages were lost, doubled or out of order")),
    }
}

/// The link in words.
fn describe(scenario: &Scenario) -> String {
    let Scenario { rtt, rate, messages, size, seed, .. } = scenario;
    let kind = match scenario.link {
        Link::Stream => "stream",
        Link::Datagram => "datagram",
    };
    let mut text = format!("{messages} messages of {size} bytes");
    match scenario.interval {
        0 => text += " as fast as possible",
        interval => text += &format!(" every {interval} µs"),
    }
    text += &format!(" over a {kind} link: RTT {rtt} ms, {rate} Mbit/s");
    if let Some(queue) = scenario.queue {
        text += &format!(" behind a queue of {queue} bytes");
    }
    if let Some(mtu) = scenario.mtu {
        text += &format!(", MTU {mtu}");
    }
    for (name, share) in [
        ("loss", scenario.loss),
        ("burst loss", scenario.burst_loss),
        (&format!("held back for up to {} ms", scenario.reorder_delay), scenario.reorder),
        ("doubled", scenario.duplicate),
        ("corrupted", scenario.corrupt),
    ] {
        if share > 0.0 {
            text += &format!(", {} % {name}", (share * 1e4).round() / 100.0);
        }
    }
    if let Some(every) = scenario.cut_every {
        text += &format!(", cut every {every} ms");
    }
    if scenario.profile == Profile::Interactive {
        text += ", interactive profile";
    }
    text + &format!(", seed {seed}")
}

fn for_people(report: &Report) -> String {
    let Report { delivered, lost, duplicated, reordered, seconds, p50_ms, p99_ms, p999_ms, .. } = report;
    let Report { payload_bytes, wire_bytes, datagrams, ack_datagrams, retransmitted_bytes, cuts, resumes, .. } = report;
    let (messages, overhead) = match delivered {
        0 => (format!("nothing was delivered, {lost} undelivered"), String::new()),
        _ => (
            format!(
                "\
{delivered} delivered, {lost} undelivered, {duplicated} duplicated, {reordered} out of order
time       {seconds:.3} s from the first write to the last delivery
latency    {p50_ms:.3} ms (half of all), {p99_ms:.3} ms (99 %), {p999_ms:.3} ms (99.9 %)"
            ),
            format!(" ({:+.1} %)", 100.0 * (*wire_bytes as f64 / (*payload_bytes).max(1) as f64 - 1.0)),
        ),
    };
    format!(
        "\
messages   {messages}
bytes      {payload_bytes} of messages, {wire_bytes} on the wire{overhead}, {retransmitted_bytes} sent again
datagrams  {datagrams}, {ack_datagrams} of them without message bytes
link       cut {cuts} times, resumed {resumes} times"
    )
}
