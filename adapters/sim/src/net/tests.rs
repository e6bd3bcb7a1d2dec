//! What each node promises, whatever passes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use steadfast::Time;

use super::*;

const FLOW: FlowId = FlowId(1);

/// What is sent: after how many microseconds each, and how long.
type Traffic = Vec<(u64, usize)>;

fn traffic() -> impl Strategy<Value = Traffic> {
    proptest::collection::vec((0_u64..3000, 1_usize..1500), 1..200)
}

/// Everything that came of sending: when, which packet, its bytes.
#[derive(Clone, PartialEq, Debug, Default)]
struct Seen {
    arrived: Vec<(Time, u64, Vec<u8>)>,
    lost: Vec<(Time, u64, &'static str)>,
}

/// Bytes by which a packet is known.
fn content(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number + at) as u8).collect()
}

fn note(network: &Network, seen: &mut Seen, now: Time, step: Option<Step>) {
    match step {
        Some(Step::Arrived(packet)) => seen.arrived.push((now, packet.id.0, packet.bytes.to_vec())),
        Some(Step::Lost(packet, node)) => seen.lost.push((now, packet.id.0, network.name(node))),
        Some(Step::Moved) | None => {}
    }
}

/// Sends everything along a path, and looks on between.
fn run(
    network: &mut Network,
    path: &Arc<[NodeId]>,
    carriage: Carriage,
    traffic: &Traffic,
    mut look: impl FnMut(&Network, Time),
) -> Seen {
    let (mut seen, mut now) = (Seen::default(), Time::ZERO);
    for (number, (pause, len)) in traffic.iter().enumerate() {
        let sends = now + Duration::from_micros(*pause);
        while let Some(moment) = network.next_moment().filter(|moment| *moment <= sends) {
            let step = network.step(moment);
            note(network, &mut seen, moment, step);
            look(network, moment);
        }
        now = sends;
        let (_, step) = network.send(now, FLOW, path, carriage, &content(number, *len));
        note(network, &mut seen, now, step);
        look(network, now);
    }
    while let Some(moment) = network.next_moment() {
        let step = network.step(moment);
        note(network, &mut seen, moment, step);
        look(network, moment);
    }
    seen
}

/// Sends datagrams through one node.
fn through(node: impl Node, seed: u64, traffic: &Traffic) -> Seen {
    let mut network = Network::new(seed);
    let path = [network.add(node)].into();
    run(&mut network, &path, Carriage::Datagram, traffic, |_, _| {})
}

fn sent_at(traffic: &Traffic) -> Vec<Time> {
    let times = traffic.iter().scan(Time::ZERO, |now, (pause, _)| {
        *now = *now + Duration::from_micros(*pause);
        Some(*now)
    });
    times.collect()
}

proptest! {
    #[test]
    fn a_delay_keeps_every_packet_and_takes_as_long_as_its_range(
        traffic in traffic(), least in 0_u64..5000, more in 0_u64..5000, in_order: bool, seed: u64,
    ) {
        let (least, more) = (Duration::from_micros(least), Duration::from_micros(more));
        let node = if in_order { Delay::with_jitter(least, more) } else { Delay::new(least..=least + more) };
        let seen = through(node, seed, &traffic);
        let sent = sent_at(&traffic);
        prop_assert_eq!(seen.arrived.len(), traffic.len());
        for (at, id, bytes) in &seen.arrived {
            let took = at.since(sent[*id as usize]);
            prop_assert!((least..=least + more).contains(&took), "{took:?}");
            prop_assert_eq!(bytes, &content(*id as usize, traffic[*id as usize].1));
        }
        if in_order {
            prop_assert!(seen.arrived.is_sorted_by_key(|(_, id, _)| *id));
        }
    }

    #[test]
    fn a_bottleneck_keeps_order_and_bytes_and_its_rate_and_its_queue(
        traffic in traffic(), rate in 10_000_u64..10_000_000, queue in 0_usize..50_000,
    ) {
        let mut network = Network::new(0);
        let line = network.add(Bottleneck::new(Some(rate), queue));
        let mut longest = 0;
        let seen = run(&mut network, &[line].into(), Carriage::Datagram, &traffic, |network, now| {
            longest = longest.max(network.node::<Bottleneck>(line).queued(now));
        });
        prop_assert!(longest <= queue, "{longest} bytes waited, and {queue} may");
        prop_assert_eq!(seen.arrived.len() + seen.lost.len(), traffic.len());
        prop_assert!(seen.arrived.is_sorted_by_key(|(_, id, _)| *id));
        let sent = sent_at(&traffic);
        let wire = |id: u64| (traffic[id as usize].1 + DATAGRAM_OVERHEAD) as u64;
        // Over any stretch in which the line is busy it carries what its rate says, to the microsecond.
        let mut free = 0;
        for (at, id, bytes) in &seen.arrived {
            prop_assert_eq!(bytes, &content(*id as usize, traffic[*id as usize].1));
            free = free.max(sent[*id as usize].as_micros() * 1000) + wire(*id) * 1_000_000_000 / rate;
            prop_assert_eq!(at.as_micros(), free.div_ceil(1000));
        }
        // A packet that finds the line idle is never lost.
        let is_busy = |now: Time| seen.arrived.iter().any(|(at, id, _)| sent[*id as usize] <= now && *at > now);
        prop_assert!(seen.lost.iter().all(|(at, ..)| is_busy(*at)));
    }

    #[test]
    fn of_a_stream_whose_writer_asks_no_more_waits_than_the_queue_holds_and_a_segment(
        lens in proptest::collection::vec(1_usize..1500, 1..200),
        rate in 10_000_u64..10_000_000,
        queue in 0_usize..10_000,
        delay in 0_u64..1000,
    ) {
        let mut network = Network::new(0);
        let way = network.add(Delay::fixed(Duration::from_micros(delay)));
        let line = network.add(Bottleneck::new(Some(rate), queue));
        let path: Arc<[NodeId]> = [way, line].into();
        let (mut now, mut left, mut arrived) = (Time::ZERO, lens.iter(), 0);
        loop {
            while network.has_room(now, &path) {
                let Some(len) = left.next() else { break };
                network.send(now, FLOW, &path, Carriage::Segment, &content(0, *len));
            }
            let queued = network.node::<Bottleneck>(line).queued(now);
            prop_assert!(queued < queue + 1500, "{queued} bytes wait, and {queue} may");
            let Some(moment) = network.next_moment() else { break };
            now = moment;
            arrived += usize::from(matches!(network.step(now), Some(Step::Arrived(_))));
        }
        prop_assert_eq!((left.len(), arrived), (0, lens.len()));
    }

    #[test]
    fn a_bottleneck_shares_its_line_between_flows(pairs in 1_usize..50) {
        let mut network = Network::new(0);
        let path: Arc<[NodeId]> = [network.add(Bottleneck::new(Some(1_000_000), usize::MAX))].into();
        for _ in 0..pairs {
            for flow in [FlowId(1), FlowId(2)] {
                network.send(Time::ZERO, flow, &path, Carriage::Datagram, &[0; 972]);
            }
        }
        let mut last = BTreeMap::new();
        while let Some(moment) = network.next_moment() {
            if let Some(Step::Arrived(packet)) = network.step(moment) {
                last.insert(packet.flow, moment.as_micros());
            }
        }
        // A kilobyte takes a millisecond, and they take turns.
        prop_assert_eq!((last[&FlowId(1)], last[&FlowId(2)]), (2000 * pairs as u64 - 1000, 2000 * pairs as u64));
    }

    #[test]
    fn a_partition_passes_nothing_while_it_lasts(traffic in traffic(), from in 0_u64..100_000, len in 0_u64..100_000) {
        let (from, to) = (Time::from_micros(from), Time::from_micros(from + len));
        let mut node = Partition::new();
        node.part(from..to);
        let seen = through(node.clone(), 0, &traffic);
        let sent = sent_at(&traffic);
        let inside = |at: Time| (from..to).contains(&at);
        prop_assert_eq!(seen.lost.len(), sent.iter().filter(|at| inside(**at)).count());
        prop_assert!(seen.arrived.iter().all(|(at, id, _)| *at == sent[*id as usize] && !inside(*at)));

        // A stream loses nothing and waits.
        let mut network = Network::new(0);
        let path = [network.add(node)].into();
        let seen = run(&mut network, &path, Carriage::Segment, &traffic, |_, _| {});
        prop_assert!(seen.arrived.iter().map(|(_, id, _)| *id).eq(0..traffic.len() as u64));
        let passes = |sent: Time| if inside(sent) { to } else { sent };
        prop_assert!(seen.arrived.iter().all(|(at, id, _)| *at == passes(sent[*id as usize])));
    }

    #[test]
    fn an_mtu_loses_what_is_longer_and_nothing_else(traffic in traffic(), bytes in 0_usize..1600) {
        let seen = through(Mtu { bytes }, 0, &traffic);
        prop_assert!(seen.arrived.iter().all(|(_, _, packet)| packet.len() <= bytes));
        prop_assert_eq!(seen.arrived.len(), traffic.iter().filter(|(_, len)| *len <= bytes).count());
    }

    #[test]
    fn what_harms_datagrams_leaves_a_stream_as_it_is(traffic in traffic(), seed: u64) {
        let mut network = Network::new(seed);
        let path = [
            network.add(Mtu { bytes: 1 }),
            network.add(Loss { probability: 1.0 }),
            network.add(BurstLoss::new(1.0, 0.0, 1.0, 1.0)),
            network.add(Duplicate { probability: 1.0 }),
            network.add(Corrupt { probability: 1.0 }),
            network.add(Reorder { probability: 1.0, delay: Duration::from_secs(1) }),
            network.add(Bottleneck::new(Some(100_000), 0)),
        ];
        let seen = run(&mut network, &path.into(), Carriage::Segment, &traffic, |_, _| {});
        let whole = traffic.iter().enumerate().map(|(number, (_, len))| (number as u64, content(number, *len)));
        prop_assert!(seen.arrived.into_iter().map(|(_, id, bytes)| (id, bytes)).eq(whole));
    }

    #[test]
    fn the_same_seed_gives_the_same_run(traffic in traffic(), seed: u64) {
        let everything = || {
            let mut network = Network::new(seed);
            let path = Path {
                delay: Duration::from_millis(3),
                jitter: Duration::from_millis(2),
                bottleneck: Some((300_000, 5_000)),
                mtu: Some(1400),
                loss: 0.1,
                burst_loss: 0.1,
                reorder: (0.2, Duration::from_millis(9)),
                duplicate: 0.2,
                corrupt: 0.2,
            };
            let nodes = path.build(&mut network, Carriage::Datagram).expect("a path").into();
            run(&mut network, &nodes, Carriage::Datagram, &traffic, |_, _| {})
        };
        prop_assert_eq!(everything(), everything());
    }

    #[test]
    fn a_node_more_does_not_move_what_the_others_draw(traffic in traffic(), seed: u64) {
        let lost = |with_more: bool| {
            let mut network = Network::new(seed);
            let mut path = vec![network.add(Loss { probability: 0.3 })];
            if with_more {
                path.push(network.add(Reorder { probability: 0.5, delay: Duration::from_millis(5) }));
            }
            run(&mut network, &path.into(), Carriage::Datagram, &traffic, |_, _| {}).lost
        };
        prop_assert_eq!(lost(false), lost(true));
    }
}

/// So many datagrams, a millisecond apart.
fn many(count: usize) -> Traffic {
    vec![(1000, 100); count]
}

/// The share of so many cases, within five standard deviations of what is expected for independent ones.
fn assert_share(cases: usize, of: usize, expected: f64) {
    let share = cases as f64 / of as f64;
    let bound = 5.0 * (expected * (1.0 - expected) / of as f64).sqrt();
    assert!((share - expected).abs() <= bound, "{share} instead of {expected} ± {bound}");
}

#[test]
fn shares_are_as_said() {
    const COUNT: usize = 20_000;
    for (seed, probability) in [(1, 0.0), (2, 0.01), (3, 0.3), (4, 1.0)] {
        let lost = through(Loss { probability }, seed, &many(COUNT)).lost.len();
        assert_share(lost, COUNT, probability);
        let doubled = through(Duplicate { probability }, seed, &many(COUNT)).arrived.len() - COUNT;
        assert_share(doubled, COUNT, probability);
        let seen = through(Corrupt { probability }, seed, &many(COUNT));
        let changed = seen.arrived.iter().filter(|(_, id, bytes)| *bytes != content(*id as usize, 100)).count();
        // One in some thousands undoes its own change.
        assert_share(changed, COUNT, probability * 0.9999);
        assert!(seen.arrived.iter().all(|(_, _, bytes)| bytes.len() == 100), "a length never changes");
        let late = Reorder { probability, delay: Duration::from_millis(10) };
        let seen = through(late, seed, &many(COUNT));
        let held = seen.arrived.iter().filter(|(at, id, _)| *at > Time::from_millis(id + 1)).count();
        // One in ten thousand is held back for nothing.
        assert_share(held, COUNT, probability * 0.9999);
    }
}

#[test]
fn bursts_are_as_long_and_as_many_as_said() {
    const COUNT: usize = 200_000;
    for (seed, share, burst) in [(1, 0.01, 8.0), (2, 0.2, 4.0), (3, 0.5, 20.0)] {
        let lost = through(BurstLoss::with_mean(share, burst), seed, &many(COUNT)).lost;
        let found = lost.len() as f64 / COUNT as f64;
        let bursts = 1 + lost.windows(2).filter(|pair| pair[1].1 != pair[0].1 + 1).count();
        let mean = lost.len() as f64 / bursts as f64;
        // Bursts are independent of each other, the losses in one are not.
        let bound = 5.0 * (2.0 * burst / (share * COUNT as f64)).sqrt();
        assert!((found / share - 1.0).abs() < bound, "{found} instead of {share}");
        assert!((mean / burst - 1.0).abs() < bound, "bursts of {mean} instead of {burst}");
    }
    assert!(through(BurstLoss::with_mean(0.0, 8.0), 1, &many(1000)).lost.is_empty());
    assert_eq!(through(BurstLoss::with_mean(1.0, 8.0), 1, &many(1000)).lost.len(), 1000);
    // The first datagram is lost as often as any other.
    let first = (0..2_000).map(|seed| through(BurstLoss::with_mean(0.2, 8.0), seed, &many(1)).lost.len());
    assert_share(first.sum(), 2_000, 0.2);
}

#[test]
fn a_path_says_what_a_stream_cannot_have() {
    let mut network = Network::new(1);
    for (path, what) in [
        (Path { loss: 0.1, ..Path::default() }, "loss"),
        (Path { burst_loss: 0.1, ..Path::default() }, "burst-loss"),
        (Path { reorder: (0.1, Duration::ZERO), ..Path::default() }, "reorder"),
        (Path { duplicate: 0.1, ..Path::default() }, "duplicate"),
        (Path { corrupt: 0.1, ..Path::default() }, "corrupt"),
    ] {
        let error = path.build(&mut network, Carriage::Segment).expect_err("refused");
        assert_eq!(error.what, what);
        assert!(path.build(&mut network, Carriage::Datagram).is_ok());
    }
    let wrong = Path { loss: 1.5, ..Path::default() };
    assert_eq!(
        wrong.check(Carriage::Datagram).map_err(|error| error.to_string()),
        Err("loss is 1.5, and a share is within 0 to 1".into())
    );
    let none = Path { bottleneck: Some((0, 10)), ..Path::default() };
    assert_eq!(none.check(Carriage::Segment).map_err(|error| error.what), Err("rate"));
}

#[test]
fn a_healed_partition_passes_again() {
    let mut network = Network::new(1);
    let node = network.add(Partition::new());
    let path = [node].into();
    network.node_mut::<Partition>(node).part(Time::ZERO..Time::MAX);
    assert!(matches!(network.send(Time::ZERO, FLOW, &path, Carriage::Datagram, b"lost"), (_, Some(Step::Lost(..)))));
    network.node_mut::<Partition>(node).heal(Time::from_millis(5));
    network.send(Time::from_millis(5), FLOW, &path, Carriage::Datagram, b"passes");
    assert!(matches!(network.step(Time::from_millis(5)), Some(Step::Arrived(packet)) if packet.bytes == "passes"));
}

#[test]
fn who_writes_a_stream_waits_for_the_queue() {
    let mut network = Network::new(1);
    let path: Arc<[NodeId]> = [network.add(Bottleneck::new(Some(1_000_000), 1_500))].into();
    let mut rooms = Vec::new();
    for _ in 0..4 {
        rooms.push(network.has_room(Time::ZERO, &path));
        network.send(Time::ZERO, FLOW, &path, Carriage::Segment, &[0; 1000]);
    }
    // One is being sent, two wait; the third of those that wait was one too many.
    assert_eq!(rooms, [true, true, true, false]);
    assert!(!network.has_room(Time::from_millis(1), &path));
    assert!(network.has_room(Time::from_millis(2), &path));
}

#[test]
fn packets_pass_where_a_node_was_taken_away() {
    let mut network = Network::new(1);
    let (loss, delay) = (network.add(Loss { probability: 1.0 }), network.add(Delay::fixed(Duration::from_millis(1))));
    network.remove(loss);
    network.send(Time::ZERO, FLOW, &[loss, delay].into(), Carriage::Datagram, b"passes");
    assert!(matches!(network.step(Time::ZERO), Some(Step::Moved)));
    assert_eq!(network.next_moment(), Some(Time::from_millis(1)));
    assert_eq!((network.name(loss), network.name(delay), network.under_way()), ("", "delay", 1));
}
