//! What a socket promises, over datagrams that are lost, doubled, late and changed, between addresses that change.

mod addresses;

use std::time::Duration;

use steadfast::{Code, Config, Event, Fate, LaneId, LinkKind, OnLoss, ProtocolCode, SendOptions, ServerConfig, State};
use steadfast_sim::by_hand::{data, datagram};
use steadfast_sim::net::{Carriage, NodeId, Partition, Path};
use steadfast_sim::{ADDRESS, Break, End, ServerIx, Side, Wires, World};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// There and back.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// A socket over datagrams, and what may stand in their way.
struct Scene {
    world: World,
    client: End,
    server: End,
    partitions: [NodeId; 2],
}

impl Scene {
    /// Both ends are ready, and nothing is lost.
    fn new(seed: u64, config: ServerConfig) -> Scene {
        let mut world = World::new(seed);
        world.conditions.kind = LinkKind::Datagram { mtu: 1200 };
        world.conditions.latency = ROUND_TRIP / 2..=ROUND_TRIP / 2;
        world.serve(ADDRESS, config.clone());
        let (client, server) = world.connected(config.socket);
        world.run_for(SECOND);
        let partitions = [0, 1].map(|_| world.network().add(Partition::new()));
        let mut scene = Scene { world, client, server, partitions };
        scene.lay(&Path::default());
        scene
    }

    fn pair(seed: u64) -> Scene {
        Scene::new(seed, ServerConfig::default())
    }

    /// From now on both directions are like this.
    fn lay(&mut self, path: &Path) {
        let [to_server, to_client] = self.partitions.map(|partition| {
            let path = path.build(self.world.network(), Carriage::Datagram).expect("a path for datagrams");
            std::iter::once(partition).chain(path).collect()
        });
        self.world.wire(Wires { to_server, to_client });
    }

    /// What is written to this side in the time that follows is lost.
    fn silence(&mut self, reader: Side, time: Duration) {
        let now = self.world.now();
        let partition = self.partitions[usize::from(reader == Side::Client)];
        self.world.network().node_mut::<Partition>(partition).part(now..now + time);
    }

    fn silence_both(&mut self, time: Duration) {
        Side::BOTH.into_iter().for_each(|side| self.silence(side, time));
    }

    /// All that both ends can read, the server's first.
    fn texts(&mut self) -> [Vec<String>; 2] {
        [self.world.texts(self.server), self.world.texts(self.client)]
    }

    fn run_for(&mut self, time: Duration) {
        self.world.run_for(time);
    }

    fn server_ix(&self) -> ServerIx {
        let End::Server(ix, _) = self.server else { panic!("{:?} is a server's", self.server) };
        ix
    }
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix} {number}")).collect()
}

/// Both sides tolerate this silence.
fn tolerating(silence: Duration) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.socket.silence = silence;
    config
}

fn losses(world: &mut World, end: End) -> Vec<Code> {
    let code = |event| if let Event::LinkLost(loss) = event { Some(loss.reason.code) } else { None };
    world.events(end).into_iter().filter_map(code).collect()
}

#[test]
fn datagrams_that_are_lost_doubled_late_or_changed_change_nothing_that_is_seen() {
    let harmless = Path::default();
    let late = (0.3, 50 * MILLISECOND);
    for (seed, path) in [
        Path { loss: 0.2, ..harmless.clone() },
        Path { burst_loss: 0.2, ..harmless.clone() },
        Path { duplicate: 0.5, ..harmless.clone() },
        Path { reorder: late, ..harmless.clone() },
        Path { corrupt: 0.2, ..harmless.clone() },
        Path { loss: 0.1, burst_loss: 0.05, duplicate: 0.2, reorder: late, corrupt: 0.1, ..harmless },
    ]
    .into_iter()
    .enumerate()
    {
        let mut scene = Scene::pair(seed as u64);
        scene.lay(&path);
        let mut seen = [Vec::new(), Vec::new()];
        for number in 0..200 {
            scene.world.send(scene.client, format!("up {number}")).unwrap();
            scene.world.send(scene.server, format!("down {number}")).unwrap();
            scene.run_for(5 * MILLISECOND);
            seen.iter_mut().zip(scene.texts()).for_each(|(seen, texts)| seen.extend(texts));
        }
        scene.run_for(5 * SECOND);
        seen.iter_mut().zip(scene.texts()).for_each(|(seen, texts)| seen.extend(texts));
        assert_eq!(seen, [numbered("up", 200), numbered("down", 200)], "{path:?}");
        assert_eq!(scene.world.socket(scene.client).stats().resumes, 0, "{path:?}");
    }
}

#[test]
fn a_lost_last_datagram_and_its_lost_repairs_are_repaired_without_another_write() {
    for lost in [0, 30, 100, 300, 1000] {
        for side in Side::BOTH {
            let mut scene = Scene::pair(lost);
            let (writer, reader) = if side == Side::Server { (0, 0) } else { (1, 1) };
            let lost = lost as u32 * MILLISECOND;
            scene.silence(side, lost);
            scene.world.send([scene.client, scene.server][writer], "last").unwrap();
            let from = scene.world.now();
            let mut seen = Vec::new();
            while seen.is_empty() && scene.world.now().since(from) < SECOND * 10 {
                scene.run_for(MILLISECOND);
                seen = std::mem::take(&mut scene.texts()[reader]);
            }
            // Pauses double, so what was silent for some time is mended after about as long again.
            let most = 3 * lost + 5 * ROUND_TRIP;
            let took = scene.world.now().since(from);
            assert!(seen == ["last"] && took < most, "{side:?}, {lost:?}: {took:?}");
            scene.run_for(SECOND);
            assert!(scene.world.socket(writer_of(&scene, side)).is_confirmed(LaneId::MAIN));
        }
    }
}

fn writer_of(scene: &Scene, reader: Side) -> End {
    if reader == Side::Server { scene.client } else { scene.server }
}

#[test]
fn a_lost_answer_is_given_again_to_a_duplicate() {
    let mut scene = Scene::pair(1);
    scene.world.count_traffic();
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    let client = scene.client;
    scene.silence(Side::Client, 200 * MILLISECOND);
    let id = scene.world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "once".into(), &options));
    let id = id.unwrap();
    scene.run_for(100 * MILLISECOND);
    assert_eq!(scene.world.texts(scene.server), ["once"]);
    assert!(scene.world.traffic(client).datagrams >= 2, "the message was sent again");
    scene.run_for(SECOND);
    assert!(scene.world.events(client).contains(&Event::Confirmed(id)));
    assert_eq!(scene.world.texts(scene.server), Vec::<String>::new());
    // Everybody knows, so nobody repeats anything.
    scene.world.restart_traffic();
    scene.run_for(3 * SECOND);
    let datagrams = scene.world.traffic(client).datagrams + scene.world.traffic(scene.server).datagrams;
    assert_eq!(datagrams, 0);
}

/// What somebody says who can write to the client's link, and knows, or does not, by which id its packets are known.
fn say(scene: &mut Scene, connection_id: Option<[u8; 8]>, number: u64, frames: &[u8]) {
    let link = scene.world.link_of(scene.client).expect("a link");
    let bytes = datagram(connection_id.unwrap_or([7; 8]), number, frames);
    scene.world.inject(link, Side::Server, bytes);
    scene.run_for(SECOND);
}

/// The id by which the client's packets are known.
fn connection_id(scene: &mut Scene) -> [u8; 8] {
    scene.world.start_tape();
    scene.world.send(scene.client, "to be overheard").unwrap();
    scene.run_for(SECOND);
    assert_eq!(scene.world.texts(scene.server), ["to be overheard"]);
    let link = scene.world.link_of(scene.client).expect("a link");
    *scene.world.tape(link, Side::Server)[1..].first_chunk().expect("a datagram")
}

#[test]
fn a_datagram_or_bytes_far_ahead_cost_nothing_and_change_nothing() {
    let mut scene = Scene::pair(1);
    let id = connection_id(&mut scene);
    let before = scene.world.socket(scene.server).stats();
    for (number, offset) in [(1 << 40, 0), (70_000, 20), (100, 5_000_000 << 10), (101, u64::MAX - 100)] {
        say(&mut scene, Some(id), number, &data(0, offset, b"far ahead"));
    }
    let after = scene.world.socket(scene.server).stats();
    assert_eq!((after.recv_queue_bytes, after.resumes), (0, before.resumes));
    scene.world.send(scene.client, "still here").unwrap();
    scene.run_for(SECOND);
    assert_eq!(scene.world.texts(scene.server), ["still here"]);
    assert_eq!(scene.world.socket(scene.client).stats().resumes, 0);
}

#[test]
fn a_forged_datagram_needs_the_connection_id() {
    let mut scene = Scene::pair(1);
    let id = connection_id(&mut scene);
    let forged = data(0, 16, &[14, b'f', b'o', b'r', b'g', b'e', b'd', b'!']);
    say(&mut scene, None, 1_000, &forged);
    let inverted = id.map(|byte| !byte);
    say(&mut scene, Some(inverted), 1_001, &forged);
    // With the id, but from another address.
    let attacker = scene.world.raw_link(scene.server_ix());
    scene.world.inject(attacker, Side::Server, datagram(id, 1_002, &forged));
    scene.run_for(SECOND);
    scene.world.send(scene.client, "real").unwrap();
    scene.run_for(SECOND);
    assert_eq!(scene.world.texts(scene.server), ["real"]);
}

#[test]
fn heartbeats_are_sent_when_idle_alone_and_silence_ends_the_link_on_both_sides_in_time() {
    let silence = 3 * SECOND;
    let mut scene = Scene::new(1, tolerating(silence));
    scene.lay(&Path { loss: 0.1, ..Path::default() });
    scene.world.count_traffic();
    scene.run_for(300 * SECOND);
    let idle = scene.world.traffic(scene.client).datagrams;
    assert_eq!(scene.world.socket(scene.client).stats().resumes, 0, "a lost heartbeat is not silence");
    // At most a second of pause: each side says something, and acknowledges the other.
    assert!((300..1_500).contains(&idle), "{idle} datagrams of the client in 300 s");
    // Traffic takes their place.
    scene.lay(&Path::default());
    scene.world.restart_traffic();
    for _ in 0..300 {
        scene.world.send(scene.client, "busy").unwrap();
        scene.run_for(900 * MILLISECOND);
        scene.world.texts(scene.server);
    }
    let busy = scene.world.traffic(scene.client);
    assert!(busy.datagrams - busy.bare_datagrams >= 300 && busy.bare_datagrams <= 620, "{busy:?}");
    let from = scene.world.now();
    scene.silence_both(60 * SECOND);
    for end in [scene.client, scene.server] {
        losses(&mut scene.world, end);
    }
    let mut gone = [None, None];
    while gone.contains(&None) && scene.world.now().since(from) < 2 * silence {
        scene.run_for(10 * MILLISECOND);
        for (gone, end) in gone.iter_mut().zip([scene.client, scene.server]) {
            if gone.is_none() && scene.world.state(end) != State::Ready {
                *gone = Some(scene.world.now().since(from));
                assert_eq!(losses(&mut scene.world, end)[0], Code::Protocol(ProtocolCode::Silence));
            }
        }
    }
    // What was heard last is up to 900 ms old. A client whose probes are not answered gives up after a second already, for its
    // address may have changed (PROTOCOL.md §14.5).
    for (gone, least) in gone.into_iter().zip([100 * MILLISECOND, silence - SECOND]) {
        let gone = gone.expect("both sides notice");
        assert!(gone > least && gone <= silence + 10 * MILLISECOND, "{gone:?}");
    }
}

#[test]
fn an_expired_session_hands_back_and_its_late_datagrams_do_not_mix_with_the_next_one() {
    let mut config = tolerating(SECOND);
    config.socket.retention = SECOND;
    config.socket.on_loss = OnLoss::Reopen;
    let mut scene = Scene::new(1, config);
    scene.world.send(scene.client, "taken").unwrap();
    scene.run_for(SECOND);
    assert_eq!(scene.world.texts(scene.server), ["taken"]);
    scene.run_for(SECOND);
    scene.world.start_tape();
    let old = scene.world.link_of(scene.client).unwrap();
    scene.silence_both(10 * SECOND);
    let client = scene.client;
    for text in ["in doubt", "in doubt, too"] {
        scene.world.send(client, text).unwrap();
    }
    let overheard = scene.world.tape(old, Side::Server).to_vec();
    scene.run_for(3 * SECOND);
    scene.world.send(client, "written while away").unwrap();
    scene.run_for(30 * SECOND);
    let told = scene.world.events(client);
    assert!(told.iter().any(|event| matches!(event, Event::SessionLost(lost) if lost.unconfirmed == 3)), "{told:?}");
    let back = scene.world.with(client, |socket, now| socket.take_unconfirmed(now));
    assert!(back[..2].iter().all(|item| item.fate == Fate::InDoubt));
    for item in back {
        scene.world.send(client, item.message).unwrap();
    }
    let server = scene.world.wait_for_peer(client, 20 * SECOND);
    assert_ne!(server, scene.server);
    let link = scene.world.link_of(client).unwrap();
    scene.world.inject(link, Side::Server, overheard);
    scene.run_for(2 * SECOND);
    assert_eq!(scene.world.texts(server), ["in doubt", "in doubt, too", "written while away"]);
}

#[test]
fn messages_are_not_stop_and_wait_on_a_long_and_lossy_way() {
    let mut scene = Scene::pair(1);
    scene.lay(&Path { delay: 15 * MILLISECOND, loss: 0.05, ..Path::default() });
    for text in numbered("m", 1000) {
        scene.world.send(scene.client, text).unwrap();
    }
    scene.run_for(400 * MILLISECOND);
    assert_eq!(scene.world.texts(scene.server).len(), 1000, "within a few round trips of 50 ms");
}

#[test]
fn a_server_that_is_killed_without_a_word_and_comes_back_empty_leaves_nothing_unsaid() {
    for seed in 0..10 {
        let mut config = tolerating(SECOND);
        config.socket.on_loss = OnLoss::Reopen;
        let mut scene = Scene::new(seed, config.clone());
        scene.lay(&Path { loss: 0.1, ..Path::default() });
        let client = scene.client;
        scene.world.send(client, "taken").unwrap();
        scene.run_for(2 * SECOND);
        assert_eq!(scene.world.texts(scene.server), ["taken"]);
        scene.run_for(2 * SECOND);
        scene.world.send(client, "in doubt").unwrap();
        scene.world.stop(scene.server_ix(), Break::Stall);
        scene.world.send(client, "written while it was gone").unwrap();
        scene.run_for(Duration::from_millis(seed * 300));
        scene.world.serve(ADDRESS, config);
        scene.run_for(60 * SECOND);
        let told = scene.world.events(client);
        let lost = told.iter().any(|event| matches!(event, Event::SessionLost(lost) if lost.unconfirmed == 2));
        assert!(lost, "seed {seed}: {told:?}");
        let back = scene.world.with(client, |socket, now| socket.take_unconfirmed(now));
        assert_eq!(back[0].fate, Fate::InDoubt);
        for item in back {
            scene.world.send(client, item.message).unwrap();
        }
        let next = scene.world.wait_for_peer(client, 20 * SECOND);
        scene.run_for(2 * SECOND);
        assert_eq!(scene.world.texts(next), ["in doubt", "written while it was gone"]);
    }
}

#[test]
fn volatile_messages_and_their_loss_do_not_disturb_recovery() {
    let mut scene = Scene::new(3, tolerating(500 * MILLISECOND));
    scene.lay(&Path { loss: 0.2, ..Path::default() });
    for round in 0..100 {
        for size in [10, 1_000, 10_000] {
            let tick = vec![round as u8; size];
            let sent = scene
                .world
                .with(scene.client, |socket, now| socket.send_volatile(now, LaneId::MAIN, tick.clone().into()));
            assert!(sent.is_ok());
        }
        scene.world.send(scene.client, format!("m {round}")).unwrap();
        if let Some(link) = scene.world.link_of(scene.client).filter(|_| round % 10 == 5) {
            scene.world.rebind(link);
        }
        scene.run_for(100 * MILLISECOND);
    }
    scene.run_for(10 * SECOND);
    assert_eq!(scene.world.texts(scene.server), numbered("m", 100));
    let is_small = |event: &Event| match event {
        Event::Volatile(_, message) => message.payload.len() <= 1_000,
        _ => false,
    };
    let arrived = scene.world.events(scene.server).iter().filter(|event| is_small(event)).count();
    assert!((50..=200).contains(&arrived), "{arrived} of 200 that fit a datagram arrived");
}

#[test]
fn volatile_messages_wait_for_the_next_datagram_and_one_that_fits_none_is_refused_at_once() {
    let mut scene = Scene::pair(1);
    let mut volatile = |sizes: &[usize]| {
        let taken = scene.world.with(scene.client, |socket, now| {
            let mut send = |size: usize| socket.send_volatile(now, LaneId::MAIN, vec![7; size].into()) == Ok(true);
            sizes.iter().copied().filter(|size| send(*size)).collect::<Vec<usize>>()
        });
        scene.run_for(100 * MILLISECOND);
        let size = |event| if let Event::Volatile(_, message) = event { Some(message.payload.len()) } else { None };
        let arrived: Vec<usize> = scene.world.events(scene.server).into_iter().filter_map(size).collect();
        assert_eq!(arrived, taken, "of {sizes:?}");
        arrived
    };
    assert_eq!(volatile(&[500; 20]), [500; 20]);
    for size in 1_100..=1_200 {
        let arrived = volatile(&[size, 1]);
        assert_eq!(arrived.last(), Some(&1), "behind one of {size} bytes");
        assert!(arrived[0] == size || size > 1_150, "{size} bytes");
    }
}

#[test]
fn an_open_of_which_all_answers_were_lost_until_its_session_expired_is_answered_in_the_end() {
    let mut config = tolerating(500 * MILLISECOND);
    config.socket.retention = 500 * MILLISECOND;
    config.socket.attempt_timeout = 300 * MILLISECOND;
    let mut scene = Scene::new(1, config.clone());
    let ix = scene.server_ix();
    let client = scene.world.client(config.socket);
    scene.world.send(client, "hello").unwrap();
    scene.world.run_until("accepted", SECOND, |world| world.server(ix).len() == 2);
    scene.silence(Side::Client, 5 * SECOND);
    let server = scene.world.wait_for_peer(client, 30 * SECOND);
    scene.run_for(SECOND);
    assert_eq!(scene.world.texts(server), ["hello"]);
}

#[test]
fn a_lazy_driver_is_told_of_a_links_output_once() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.conditions.kind = LinkKind::Datagram { mtu: 1200 };
        world.conditions.laziness = 80;
        world.conditions.lateness = Duration::ZERO..=5 * MILLISECOND;
        world.serve(ADDRESS, ServerConfig::default());
        // The world's contract looks on.
        let (client, server) = world.connected(Config::default());
        world.send(client, "heard").unwrap();
        world.run_for(SECOND);
        assert_eq!(world.texts(server), ["heard"]);
    }
}

/// 4 MiB over 100 Mbit/s, which are a third of a second.
#[test]
fn a_trickle_says_nothing_of_what_the_path_carries() {
    for messages in [0, 1, 3, 20] {
        let mut scene = Scene::pair(messages);
        scene.lay(&Path { bottleneck: Some((12_500_000, 250_000)), ..Path::default() });
        for _ in 0..30 {
            (0..messages).for_each(|_| scene.world.send(scene.client, "little").unwrap());
            scene.run_for(SECOND);
        }
        scene.texts();
        let from = scene.world.now();
        let (mut written, mut read) = (0, 0);
        while read < 256 {
            while written < 256 && scene.world.send(scene.client, vec![b'x'; 16 << 10]).is_ok() {
                written += 1;
            }
            scene.run_for(MILLISECOND);
            read += scene.texts()[0].len();
        }
        let took = scene.world.now().since(from);
        assert!(took < 420 * MILLISECOND, "{took:?} after {messages} messages each second");
    }
}
