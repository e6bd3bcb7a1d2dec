//! What a path takes of a stream, and what is left with its writer.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast::{Config, LinkId, ServerConfig, Time};
use steadfast_sim::net::{Bottleneck, NodeId, PacketId};
use steadfast_sim::scenario::{Outcome, Scenario};
use steadfast_sim::{ADDRESS, Break, End, Happened, Side, Trace, Wires, World};

/// What a scenario's streams are cut into.
const SEGMENT: u64 = 1_448;

/// What one link carried to the server.
#[derive(Default)]
struct Carried {
    sent: u64,
    arrived: u64,
    begun: Option<Time>,
    last_arrival: Option<Time>,
    broken: Option<Time>,
}

fn by_link(trace: &Trace) -> BTreeMap<LinkId, Carried> {
    let mut links: BTreeMap<LinkId, Carried> = BTreeMap::new();
    let mut packets: BTreeMap<PacketId, (LinkId, u64)> = BTreeMap::new();
    for entry in &trace.entries {
        match &entry.what {
            Happened::Sent(sent) if sent.to == Side::Server => {
                let link = links.entry(sent.link).or_default();
                link.begun.get_or_insert(entry.at);
                link.sent += sent.wire_len as u64;
                packets.insert(sent.packet, (sent.link, sent.wire_len as u64));
            }
            Happened::Arrived(packet, _) => {
                let Some((link, len)) = packets.get(packet) else { continue };
                let link = links.get_mut(link).expect("a link on which something was sent");
                link.arrived += len;
                link.last_arrival = Some(entry.at);
            }
            Happened::Broken(id, _) => links.entry(*id).or_default().broken = Some(entry.at),
            _ => {}
        }
    }
    links
}

/// Runs it, and looks whether each link that was cut has carried what its line can.
fn check_lines(scenario: &Scenario) -> Outcome {
    let outcome = scenario.run_recorded().expect("a scenario that can be");
    let rate = scenario.rate * 1e6 / 8.0;
    let queue = scenario.queue.expect("a queue") as u64;
    // Beside what has passed the line: what waits, with the segment too much, and the one that is being sent.
    let on_its_way = queue + 2 * SEGMENT;
    for (id, link) in by_link(outcome.trace.as_ref().expect("it was recorded")) {
        let (Some(begun), Some(broken)) = (link.begun, link.broken) else { continue };
        let most = (rate * broken.since(begun).as_secs_f64()) as u64 + on_its_way;
        assert!(link.sent <= most, "{id:?}: {} bytes were sent, and {most} can be: {scenario:?}", link.sent);
        assert!(link.arrived <= link.sent);
        let line_and_way = Duration::from_secs_f64(on_its_way as f64 / rate + scenario.rtt / 2000.0 + 1e-4);
        let last = link.last_arrival.map_or(Duration::ZERO, |last| last.since(broken));
        assert!(last <= line_and_way, "{id:?}: something came {last:?} after the cut: {scenario:?}");
    }
    outcome
}

#[test]
fn a_link_that_is_cut_has_carried_what_its_line_can_and_no_more() {
    for queue in [0, 1_000, 20_000, 200_000] {
        for (rate, rtt, cut_every, seed) in
            [(100.0, 50.0, 2.0, 1), (100.0, 50.0, 150.0, 2), (0.1, 0.0, 100.0, 3), (10.0, 20.0, 300.0, 4)]
        {
            let queue = Some(queue);
            let cut_every = Some(cut_every);
            let scenario = Scenario { messages: 300, rate, rtt, queue, cut_every, seed, ..Scenario::default() };
            let outcome = check_lines(&scenario);
            assert_eq!(scenario.run_recorded(), Ok(outcome), "the same seed");
        }
    }
}

#[test]
fn what_the_line_has_not_taken_is_not_on_the_wire() {
    // The link lives for 2 ms: 25,000 bytes on the line, and what waits.
    let scenario = Scenario { messages: 2_000, queue: Some(1_000), cut_every: Some(2.0), ..Scenario::default() };
    let report = check_lines(&scenario).report;
    assert!(report.payload_bytes + report.retransmitted_bytes <= report.wire_bytes, "{report:?}");
    let most = (report.cuts + 1) * (25_000 + 1_000 + 2 * SEGMENT);
    assert!(report.wire_bytes <= most, "{report:?}: no more than {most}");
}

fn line(world: &mut World, rate: u64, queue: usize) -> NodeId {
    let line = world.network().add(Bottleneck::new(Some(rate), queue));
    world.wire(Wires { to_server: vec![line], to_client: Vec::new() });
    line
}

#[test]
fn a_write_that_is_larger_than_the_room_goes_on_when_there_is_some() {
    let (mut world, client, server) = World::pair(1);
    world.conditions.piece = 1_000..=1_000;
    let line = line(&mut world, 100_000, 5_000);
    let messages: Vec<String> = (0..50).map(|number| format!("{number:04000}")).collect();
    messages.iter().for_each(|message| world.send(client, message.clone()).expect("room"));
    let (start, mut received) = (world.now(), Vec::new());
    while received.len() < messages.len() {
        assert!(world.step(), "all is delivered");
        let now = world.now();
        let queued = world.network().node::<Bottleneck>(line).queued(now);
        assert!(queued < 6_000, "{queued} bytes wait");
        received.extend(world.texts(server));
    }
    assert_eq!(received, messages);
    // The line is never idle, and the bytes of the protocol are few.
    assert!(world.now().since(start) < Duration::from_millis(2_040), "{:?}", world.now().since(start));
}

#[test]
fn a_link_that_breaks_after_so_many_bytes_carries_them_through_a_queue_too() {
    for bytes in [0, 1, 999, 1_000, 1_001, 12_345] {
        for queue in [0, 3_000, 1 << 20] {
            let (mut world, client, _) = World::pair(bytes as u64);
            world.record();
            world.conditions.piece = 1..=1_448;
            line(&mut world, 100_000, queue);
            world.break_link_after(world.live_links()[0], bytes as u64, Break::Reset);
            world.send(client, vec![0; 20_000]).expect("room");
            world.run_for(Duration::from_secs(1));
            let trace = world.take_trace().expect("nothing to compare with");
            let events = trace.entries.into_iter().map(|entry| entry.what);
            let until = events.take_while(|what| !matches!(what, Happened::Broken(..)));
            let sent =
                until.filter_map(|what| if let Happened::Sent(sent) = what { Some(sent.wire_len) } else { None });
            assert_eq!(sent.sum::<usize>(), bytes, "queue of {queue}");
        }
    }
}

#[test]
fn streams_that_share_a_line_take_turns() {
    let mut world = World::new(1);
    world.serve(ADDRESS, ServerConfig::default());
    let ends = [(); 3].map(|()| world.connected(Config::default()));
    world.conditions.piece = 1_000..=1_000;
    line(&mut world, 100_000, 2_000);
    for (client, _) in ends {
        world.send(client, vec![7; 200_000]).expect("room");
    }
    let carried = |world: &World, (_, server): (End, End)| world.socket(server).stats().bytes_received;
    let before = ends.map(|end| carried(&world, end));
    world.run_for(Duration::from_secs(3));
    for (end, before) in ends.into_iter().zip(before) {
        let share = carried(&world, end) - before;
        assert!((90_000..110_000).contains(&share), "{share} of 300,000 bytes: {end:?}");
    }
}
