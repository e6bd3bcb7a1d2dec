//! The memory of a machine, counted by the allocator, against the bound that its configuration states.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use steadfast::{
    Bytes, CloseReason, Config, Congestion, LaneId, LinkId, LinkKind, Message, Server, ServerConfig, ServerEvent,
    Socket, State, Time,
};
use steadfast_sim::model::{Links, Replay, Schedule, seeds};
use steadfast_sim::net::Loss;
use steadfast_sim::{ADDRESS, Rigour, Wires, World, datagram_bound, memory_bound};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SECOND: Duration = Duration::from_secs(1);
/// What a message, an ask or a receipt that the application asked for may cost beside the buffers: an entry in a map.
const ENTRY: usize = 400;

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// The bytes that come free with a value: those that nothing else holds.
fn memory_of<T>(value: T) -> usize {
    let before = allocated();
    drop(value);
    before - allocated()
}

fn bound_of(socket: &Socket) -> usize {
    let stats = socket.stats();
    memory_bound(socket.config(), stats.lanes) + ENTRY * (stats.messages_sent + stats.messages_received) as usize
}

/// Of its sockets, and of a few links that have not said who they are.
fn bound_of_server(server: &Server) -> usize {
    let sockets: usize = server.sockets().filter_map(|id| server.socket(id)).map(|socket| bound_of(&socket)).sum();
    sockets + 8 * (66 << 10)
}

/// One test function: what another one allocated meanwhile would be counted.
#[test]
fn memory_stays_within_the_bound_of_the_configuration() {
    schedules_stopped_anywhere(Links::Streams, 400);
    schedules_stopped_anywhere(Links::Datagrams, 100);
    tiny_messages_in_large_buffers_that_nobody_reads();
    datagrams_that_are_lost();
    what_is_handed_back_takes_no_more_than_before();
    an_idle_session_is_small();
}

fn schedules_stopped_anywhere(links: Links, count: u64) {
    for seed in seeds(count) {
        let _replay = Replay::new("memory", seed);
        let mut schedule = Schedule::new(seed, links);
        for _ in 0..seed % 97 {
            schedule.step();
        }
        let (clients, servers) = schedule.into_world().into_machines();
        for client in clients {
            let bound = bound_of(&client);
            let memory = memory_of(client);
            assert!(memory <= bound, "a client of {memory} bytes, and the bound is {bound}");
        }
        for server in servers {
            let bound = bound_of_server(&server);
            let memory = memory_of(server);
            assert!(memory <= bound, "a server of {memory} bytes, and the bound is {bound}");
        }
    }
}

fn tiny_messages_in_large_buffers_that_nobody_reads() {
    let mut config = ServerConfig::default();
    config.socket.max_message = 100_000;
    config.socket.max_headers = 1000;
    config.socket.max_lanes = 2;
    config.socket.send_buffer = 1 << 20;
    config.socket.receive_buffer = 1 << 20;
    for (size, piece) in [(0, 1), (1, 40), (20, 7), (700, 1000), (100_000, 64 << 10), (100_000, 33_000)] {
        let mut world = World::new(size as u64);
        world.rigour = Rigour::OFF;
        world.conditions.piece = piece..=piece;
        // Each piece comes in a buffer of 64 KiB, as a careless adapter would read it.
        world.conditions.buffer = 64 << 10..=64 << 10;
        world.serve(ADDRESS, config.clone());
        let (client, _) = world.connected(config.socket.clone());
        let lane = world.with(client, |socket, now| socket.open_lane(now, Default::default())).expect("a lane");
        for _ in 0..100 {
            while world.send(client, vec![7; size]).is_ok() {
                world.send_on(client, lane, vec![7; size]).ok();
            }
            world.run_for(Duration::from_millis(50));
        }
        let (clients, servers) = world.into_machines();
        // Here nobody asked for anything: the bound of the configuration is all that there may be.
        let bound = memory_bound(&config.socket, 2);
        for client in clients {
            let memory = memory_of(client);
            assert!(memory <= bound, "messages of {size}: a writer of {memory} bytes, and the bound is {bound}");
        }
        for server in servers {
            let memory = memory_of(server);
            assert!(memory <= bound, "messages of {size} in pieces of {piece}: a reader of {memory} bytes of {bound}");
        }
    }
}

/// Packets that carry much and little, for lanes that are read and one that is not, on paths that lose many of them.
fn datagrams_that_are_lost() {
    for (size, window, probability) in
        [(0, 20_000, 0.3), (0, 500_000, 0.6), (20, 100_000, 0.5), (700, 500_000, 0.2), (50_000, 100_000, 0.4)]
    {
        let mut config = ServerConfig::default();
        config.socket.max_message = 100_000;
        config.socket.max_headers = 1000;
        config.socket.max_lanes = 20;
        config.socket.send_buffer = 1 << 20;
        config.socket.receive_buffer = 1 << 20;
        config.socket.congestion = Congestion::FixedWindow { bytes: window };
        let mut world = World::new(size as u64);
        world.rigour = Rigour::OFF;
        world.conditions.kind = LinkKind::Datagram { mtu: 1200 };
        world.conditions.latency = Duration::from_millis(40)..=Duration::from_millis(60);
        world.serve(ADDRESS, config.clone());
        let (client, server) = world.connected(config.socket.clone());
        let loss = world.network().add(Loss { probability });
        world.wire(Wires { to_server: vec![loss], to_client: vec![loss] });
        let open = |world: &mut World| world.with(client, |socket, now| socket.open_lane(now, Default::default()));
        let lanes: Vec<_> = (0..20).map(|_| open(&mut world).expect("a lane")).collect();
        for round in 0..100_u64 {
            for lane in &lanes[..1 + (round % 20) as usize] {
                world.send_on(client, *lane, vec![7; size]).ok();
            }
            while round % 10 == 0 && world.send(client, vec![7; size]).is_ok() {}
            world.send(server, vec![7; size]).ok();
            world.run_for(Duration::from_millis(20));
            while world.recv(server).is_some() {}
        }
        let bound = memory_bound(&config.socket, 21) + datagram_bound(&config.socket);
        let (clients, servers) = world.into_machines();
        for memory in clients.into_iter().map(memory_of).chain(servers.into_iter().map(memory_of)) {
            assert!(
                memory <= bound,
                "messages of {size}, a window of {window}: {memory} bytes, and the bound is {bound}"
            );
        }
    }
}

/// What ends a session with a full send buffer.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    /// The application gives the socket up.
    OwnAbort,
    /// The peer does.
    PeersAbort,
    /// The server that answers first takes smaller messages than one of those that wait.
    SmallLimits,
}

fn what_is_handed_back_takes_no_more_than_before() {
    for end in [End::OwnAbort, End::PeersAbort, End::SmallLimits] {
        for size in [0, 1, 20, 2000] {
            a_full_buffer_is_handed_back(size, end);
        }
    }
}

fn a_full_buffer_is_handed_back(size: usize, end: End) {
    let (now, link) = (Time::from_millis(1000), LinkId(1));
    let mut config = Config::default();
    (config.max_message, config.max_headers, config.max_lanes) = (5000, 0, 0);
    (config.send_buffer, config.receive_buffer, config.volatile_buffer) = (4 << 20, 5000 + 1024 + 2 * 8192, 0);
    let bound = memory_bound(&config, 1);
    let mut of_server = ServerConfig::default();
    of_server.socket = config.clone();
    if end == End::SmallLimits {
        of_server.socket.max_message = 4999;
    }
    let mut server = Server::new(Arc::new(of_server), [2; 32], now).expect("a server");
    let mut client = Socket::new(Arc::new(config), vec![ADDRESS.into()], Bytes::new(), [1; 32], now).expect("a client");

    let send = |client: &mut Socket, size| client.send(now, LaneId::MAIN, Message::new(vec![7; size])).is_ok();
    let mut sent = 0;
    let mut fill = |client: &mut Socket| {
        while send(client, size) {
            sent += 1;
        }
    };
    if end == End::SmallLimits {
        assert!(send(&mut client, 5000));
        fill(&mut client);
    }
    client.connect(now);
    server.handle_link_up(now, link, LinkKind::Stream);
    client.handle_link_up(now, link, LinkKind::Stream);
    while let Some(said) = client.poll_transmit(now, link) {
        said.segments().iter().for_each(|bytes| server.handle_bytes(now, link, bytes.clone()));
    }
    let Some(ServerEvent::Open(open)) = server.poll_event() else { panic!("no open") };
    let id = server.accept(now, open.id).expect("an open that waits");
    let say = |server: &mut Server| {
        let said = std::iter::from_fn(|| server.poll_transmit(now, link));
        said.flat_map(|said| said.segments().concat()).collect::<Vec<u8>>()
    };
    let mut said = say(&mut server);
    if end != End::SmallLimits {
        client.handle_bytes(now, link, said);
        assert_eq!(client.state(), State::Ready);
        fill(&mut client);
        server.remove(now, id);
        said = say(&mut server);
    }

    let before = ALLOCATOR.stats().bytes_deallocated;
    match end {
        End::OwnAbort => client.abort(now, CloseReason::app(1, "")),
        End::PeersAbort | End::SmallLimits => client.handle_bytes(now, link, said),
    }
    // No less than what lived at once within the call: what lives now, and all that has come free in it.
    let freed = ALLOCATOR.stats().bytes_deallocated - before;
    let closed = client.closed().expect("the end");
    assert!(sent > 2000 && closed.unconfirmed == sent + usize::from(end == End::SmallLimits), "{closed:?}");
    let held = memory_of(client);
    assert!(held + freed <= bound, "{sent} of {size}, {end:?}: {held} bytes held, {freed} freed, the bound is {bound}");
    assert!(freed < 64 << 10, "{sent} of {size}, {end:?}: {freed} bytes freed in a call that only hands over");
}

fn an_idle_session_is_small() {
    const SESSIONS: usize = 1000;
    let mut world = World::new(1);
    world.rigour = Rigour::OFF;
    world.serve(ADDRESS, ServerConfig::default());
    let pairs: Vec<_> = (0..SESSIONS).map(|_| world.connected(Config::default())).collect();
    for (client, server) in pairs {
        world.send(client, "hello").expect("room");
        world.run_for(Duration::from_millis(5));
        assert_eq!(world.texts(server), ["hello"]);
    }
    // Everybody is heard of once more.
    world.run_for(10 * SECOND);
    let (_, servers) = world.into_machines();
    let each = memory_of(servers) / SESSIONS;
    eprintln!("an idle session of a server: {each} bytes");
    assert!(each < 600, "an idle session takes {each} bytes");
}
