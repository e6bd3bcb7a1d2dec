//! What survives that should not, and what is forgotten that should survive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast::{
    AskId, AskRef, CloseReason, Config, Event, Incarnation, LaneId, LaneOptions, LinkId, LinkKind, OnLoss, Received,
    Reply, SendErrorKind, Server, ServerConfig, ServerEvent, Socket, State, Time,
};
use steadfast_sim::{ADDRESS, Break, Dialling, End, ServerIx, Side, World, by_hand};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// An answer that the server owes, and for which the client waits.
#[derive(Clone, Copy)]
struct Owed(AskId, AskRef);

impl Owed {
    fn pay(self, world: &mut World, client: End, server: End) {
        world.with(server, |socket, now| socket.reply(now, self.1, "!".into(), false)).unwrap();
        world.run_for(100 * MILLISECOND);
        let answer = world.with(client, |socket, now| socket.recv_reply(now, self.0));
        assert_eq!(answer, Some(Reply::Answer { message: "!".into(), more: false }));
    }
}

fn reopening() -> Config {
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    config
}

/// A client at the first of two servers.
fn two_servers(config: Config) -> (World, ServerIx, End, End) {
    let mut world = World::new(1);
    let old = world.serve(ADDRESS, ServerConfig::default());
    world.serve("elsewhere", ServerConfig::default());
    let (client, server) = world.connected(config);
    (world, old, client, server)
}

/// A client whose server goes away within that time, and owes it an answer.
fn going_away(config: Config, within: Duration) -> (World, End, End, Owed) {
    let (mut world, old, client, server) = two_servers(config);
    let asked = world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).unwrap();
    world.run_for(SECOND);
    let Some(Received::Ask(question, _)) = world.recv(server) else { panic!("no ask") };
    world.command(old, |server, now| server.go_away(now, within, "elsewhere")).unwrap();
    world.run_for(100 * MILLISECOND);
    world.events(client);
    (world, client, server, Owed(asked, question))
}

#[test]
fn a_lost_session_does_not_dial_before_its_messages_were_taken() {
    let mut config = reopening();
    config.redial_base = 60 * SECOND;
    config.redial_max = 60 * SECOND;
    let (mut world, client, _, _) = going_away(config, 2 * SECOND);
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(3 * SECOND);
    let events = world.events(client);
    assert!(events.iter().any(|event| matches!(event, Event::SessionLost(_))), "{events:?}");
    assert_eq!(world.state(client), State::Disconnected);
    let dials = world.dials().len();
    world.conditions.dialling = Dialling::Works;
    world.run_for(120 * SECOND);
    assert_eq!(world.dials().len(), dials, "no dial for a lost session");
    world.with(client, |socket, now| socket.take_unconfirmed(now));
    world.run_for(120 * SECOND);
    assert_eq!(world.state(client), State::Ready);
}

#[test]
fn an_ask_that_is_held_moves_to_the_next_incarnation() {
    let (mut world, client, server, question) = going_away(reopening(), 20 * SECOND);
    let held = world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "held".into(), None)).unwrap();
    question.pay(&mut world, client, server);
    world.run_for(5 * SECOND);
    let next = world.wait_for_peer(client, 5 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.with(client, |socket, now| socket.recv_reply(now, held)), None, "nobody has answered it");
    assert_eq!(world.texts(next), ["held"]);
}

#[test]
fn a_drain_may_take_as_long_as_the_server_says() {
    for on_loss in [OnLoss::Reopen, OnLoss::Close] {
        let mut config = Config::default();
        config.on_loss = on_loss;
        let mut world = World::new(1);
        let old = world.serve(ADDRESS, ServerConfig::default());
        world.serve("elsewhere", ServerConfig::default());
        let (client, server) = world.connected(config);
        world.send(client, "read late").unwrap();
        world.run_for(SECOND);
        world.command(old, |server, now| server.go_away(now, 60 * SECOND, "elsewhere")).unwrap();
        world.run_for(20 * SECOND);
        assert_ne!(world.state(client), State::Closed, "{on_loss:?}");
        assert_eq!(world.texts(server), ["read late", "(finished)"]);
        world.run_for(5 * SECOND);
        assert_eq!(world.socket(client).incarnation(), Incarnation(1));
        assert_eq!(world.state(client), State::Ready);
    }
}

#[test]
fn lanes_that_became_available_by_a_resume_are_told() {
    let mut config = ServerConfig::default();
    config.socket.max_lanes = 1;
    let (mut world, client, server) = World::pair_with(1, Config::default(), config);
    let open = |world: &mut World| world.with(client, |socket, now| socket.open_lane(now, LaneOptions::default()).ok());
    let lane = open(&mut world).unwrap();
    world.with(client, |socket, now| socket.finish(now, lane));
    world.run_for(SECOND);
    world.send_on(server, lane, "m").unwrap();
    world.with(server, |socket, now| socket.finish(now, lane));
    assert_eq!(world.texts_on(server, lane), ["(finished)"]);
    world.run_for(SECOND);
    assert_eq!(open(&mut world), None);
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND);
    assert_eq!(world.texts_on(client, lane), ["m", "(finished)"]);
    world.events(client);
    world.conditions.dialling = Dialling::Works;
    world.run_for(60 * SECOND);
    assert_eq!(world.state(client), State::Ready);
    let events = world.events(client);
    let opened = open(&mut world);
    assert!(opened.is_some());
    assert!(events.contains(&Event::LanesAvailable), "{events:?}");
}

#[test]
fn a_cancelled_ask_that_is_refused_is_not_remembered() {
    let mut config = ServerConfig::default();
    config.socket.max_open_asks = 1;
    let (mut world, client, server) = World::pair_with(1, Config::default(), config);
    let ask = |world: &mut World, text: &'static str| {
        world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, text.into(), None)).unwrap()
    };
    ask(&mut world, "a");
    world.run_for(SECOND);
    let Some(Received::Ask(a, _)) = world.recv(server) else { panic!("no ask") };
    let b = ask(&mut world, "b");
    world.run_for(SECOND);
    world.with(client, |socket, now| socket.cancel_ask(now, b));
    world.run_for(SECOND);
    assert_eq!(world.recv(server), None);
    world.with(server, |socket, now| socket.reply(now, a, "!".into(), false)).unwrap();
    world.run_for(SECOND);
    let c = ask(&mut world, "c");
    world.run_for(SECOND);
    world.with(client, |socket, now| socket.cancel_ask(now, c));
    world.run_for(SECOND);
    assert_eq!(world.recv(server), None, "it was cancelled before it was taken");
}

#[test]
fn asks_of_a_lane_that_is_over_are_not_open() {
    let mut config = ServerConfig::default();
    config.socket.max_open_asks = 1;
    let (mut world, client, server) = World::pair_with(1, Config::default(), config);
    let lane = world.with(client, |socket, now| socket.open_lane(now, LaneOptions::default()).ok()).unwrap();
    world.send_on(client, lane, "m").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts_on(server, lane), ["m"]);
    world.with(server, |socket, now| socket.finish(now, lane));
    world.with(client, |socket, now| socket.ask(now, lane, "late".into(), None)).unwrap();
    world.with(client, |socket, now| socket.finish(now, lane));
    world.run_for(SECOND);
    let Some(Received::Ask(late, _)) = world.with(server, |socket, now| socket.recv(now, lane)) else {
        panic!("no ask")
    };
    let answer =
        world.with(server, |socket, now| socket.reply(now, late, "!".into(), false).map_err(|error| error.kind));
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(world.texts_on(server, lane), ["(finished)"]);
    assert_eq!(world.texts_on(client, lane), ["(finished)"]);
    world.run_for(SECOND);
    assert_eq!(world.socket(server).stats().lanes, 1);
    assert!(!world.socket(server).is_ask_open(late));
    world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "next".into(), None)).unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["next"]);
}

#[test]
fn counters_run_over_all_incarnations() {
    let config = reopening();
    let mut world = World::new(1);
    let old = world.serve(ADDRESS, ServerConfig::default());
    let (client, _) = world.connected(config);
    world.send(client, vec![7; 10_000]).unwrap();
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(5 * SECOND);
    let resent = world.socket(client).stats().bytes_resent;
    assert!(resent > 0);
    world.stop(old, Break::Reset);
    world.serve(ADDRESS, ServerConfig::default());
    world.run_for(30 * SECOND);
    world.with(client, |socket, now| socket.take_unconfirmed(now));
    assert_eq!(world.socket(client).incarnation(), Incarnation(1));
    assert!(world.socket(client).stats().bytes_resent >= resent);
}

#[test]
fn no_epoch_of_a_welcome_is_too_much() {
    let now = Time::from_millis(1000);
    let mut socket = Socket::new(Config::default().into(), vec![Arc::from("a")], Bytes::new(), [1; 32], now).unwrap();
    socket.connect(now);
    socket.handle_link_up(now, LinkId(1), LinkKind::Stream);
    let hello = socket.poll_transmit(now, LinkId(1)).unwrap().segments().concat();
    let nonce = by_hand::nonce(&hello).unwrap();
    // SESSION, EPOCH, NONCE, SECRET, RETENTION, PARAMS
    let params =
        [15_000, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 128].iter().flat_map(|n| by_hand::varint(*n)).collect::<Vec<u8>>();
    let body = [
        &[0xD3, b's', b'f', b'd', 2, 1][..],
        &by_hand::tlv(6, &nonce),
        &by_hand::tlv(4, &[7; 24]),
        &by_hand::tlv(5, &by_hand::varint(u64::MAX)),
        &by_hand::tlv(8, &[7; 32]),
        &by_hand::tlv(9, &by_hand::varint(120_000)),
        &by_hand::tlv(3, &params),
    ]
    .concat();
    socket.handle_bytes(now, LinkId(1), Bytes::from(by_hand::packet(&body)));
    socket.handle_link_down(now, LinkId(1));
    socket.handle_link_up(now, LinkId(2), LinkKind::Stream);
    let _ = socket.poll_transmit(now, LinkId(2));
}

#[test]
fn room_that_comes_from_held_asks_is_told() {
    let mut config = reopening();
    config.send_messages = 2;
    let (mut world, client, _, _) = going_away(config, 20 * SECOND);
    for _ in 0..2 {
        world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "held".into(), Some(SECOND))).unwrap();
    }
    assert!(matches!(world.send(client, "more").unwrap_err().kind, SendErrorKind::Full { .. }));
    world.run_for(3 * SECOND);
    let events = world.events(client);
    assert_eq!(world.socket(client).stats().send_queue_messages, 0);
    assert!(events.contains(&Event::Writable), "{events:?}");
}

/// A client and a server that exchange all they have over one link.
struct Hands {
    client: Socket,
    server: Server,
    now: Time,
}

impl Hands {
    fn pump(&mut self, client_link: LinkId, server_link: LinkId) {
        loop {
            let mut idle = true;
            while let Some(out) = self.client.poll_transmit(self.now, client_link) {
                self.server.handle_bytes(self.now, server_link, Bytes::from(out.segments().concat()));
                idle = false;
            }
            while let Some(event) = self.server.poll_event() {
                if let ServerEvent::Open(open) = event {
                    self.server.accept(self.now, open.id).unwrap();
                    idle = false;
                }
            }
            while let Some(out) = self.server.poll_transmit(self.now, server_link) {
                self.client.handle_bytes(self.now, client_link, Bytes::from(out.segments().concat()));
                idle = false;
            }
            if idle {
                break;
            }
        }
    }
}

#[test]
fn a_restarted_client_says_closed_whatever_its_links_are_called() {
    let now = Time::from_millis(1000);
    let config = Arc::new(Config::default());
    let client = Socket::new(config.clone(), vec![Arc::from("a")], Bytes::new(), [1; 32], now).unwrap();
    let server = Server::new(ServerConfig::default().into(), [2; 32], now).unwrap();
    let mut hands = Hands { client, server, now };
    hands.client.connect(now);
    hands.client.handle_link_up(now, LinkId(1), LinkKind::Stream);
    hands.server.handle_link_up(now, LinkId(1), LinkKind::Stream);
    hands.pump(LinkId(1), LinkId(1));
    assert_eq!(hands.client.state(), State::Ready);
    let server_socket = hands.server.sockets().next().unwrap();
    // The server does not take the end, so it does not answer.
    hands.server.socket_mut(server_socket).unwrap().send(now, LaneId::MAIN, "last".into()).unwrap();
    hands.pump(LinkId(1), LinkId(1));
    hands.client.recv(now, LaneId::MAIN);
    hands.client.close(now, CloseReason::app(1, "bye"));
    // CLOSE and FIN reach the server, and what it says reaches the client; the client's CLOSED is lost with the link.
    loop {
        let mut idle = true;
        while let Some(out) = hands.client.poll_transmit(now, LinkId(1)) {
            let bytes = out.segments().concat();
            idle = false;
            if bytes.ends_with(&[0x12]) {
                idle = true;
                break;
            }
            hands.server.handle_bytes(now, LinkId(1), Bytes::from(bytes));
        }
        hands.server.socket_mut(server_socket).unwrap().recv(now, LaneId::MAIN);
        while let Some(out) = hands.server.poll_transmit(now, LinkId(1)) {
            hands.client.handle_bytes(now, LinkId(1), Bytes::from(out.segments().concat()));
            hands.client.recv(now, LaneId::MAIN);
            idle = false;
        }
        if idle {
            break;
        }
    }
    let snapshot = hands.client.snapshot(now);
    hands.client = Socket::restore(snapshot, config, now);
    hands.client.handle_restart(now, [3; 32]);
    hands.server.handle_link_down(now, LinkId(1));
    hands.client.handle_link_up(now, LinkId(1), LinkKind::Stream);
    hands.server.handle_link_up(now, LinkId(2), LinkKind::Stream);
    hands.pump(LinkId(1), LinkId(2));
    assert_eq!(hands.client.state(), State::Closed);
}

#[test]
fn a_drain_whose_last_word_is_lost_moves_all_the_same() {
    for seed in 0..20 {
        let mut config = Config::default();
        config.on_loss = OnLoss::Reopen;
        let mut world = World::new(seed);
        let old = world.serve(ADDRESS, ServerConfig::default());
        world.serve("elsewhere", ServerConfig::default());
        let (client, server) = world.connected(config);
        world.command(old, |server, now| server.go_away(now, 20 * SECOND, "elsewhere")).unwrap();
        world.run_until("the old session has ended", 5 * SECOND, |world| world.state(server) == State::Closed);
        world.break_link(world.link_of(client).unwrap(), Break::HalfOpen(Side::Client));
        world.run_for(10 * SECOND);
        assert_eq!(world.closed(client), None, "seed {seed}");
        assert_eq!(world.socket(client).incarnation(), Incarnation(1));
        assert_eq!(world.state(client), State::Ready);
    }
}

#[test]
fn the_end_of_all_lanes_moves() {
    let (mut world, client, server, question) = going_away(reopening(), 20 * SECOND);
    world.with(client, |socket, now| socket.finish_all(now));
    question.pay(&mut world, client, server);
    world.run_for(10 * SECOND);
    assert_eq!(world.socket(client).incarnation(), Incarnation(1));
    assert!(world.with(client, |socket, now| socket.open_lane(now, LaneOptions::default()).is_err()));
}

#[test]
fn a_session_that_expired_a_moment_ago_is_lost() {
    let mut config = ServerConfig::default();
    config.socket.retention = 5 * SECOND;
    let client_config = reopening();
    let (mut world, client, _) = World::pair_with(1, client_config, config);
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(7 * SECOND);
    world.conditions.dialling = Dialling::Works;
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    let events = world.events(client);
    assert!(events.iter().any(|event| matches!(event, Event::SessionLost(_))), "{events:?}");
    world.with(client, |socket, now| socket.take_unconfirmed(now));
    world.run_for(20 * SECOND);
    assert_eq!(world.state(client), State::Ready);
}

#[test]
fn a_client_that_was_away_while_its_server_went_away_has_lost_its_session() {
    let (mut world, old, client, _) = two_servers(reopening());
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND);
    world.command(old, |server, now| server.go_away(now, 2 * SECOND, "elsewhere")).unwrap();
    world.run_for(3 * SECOND);
    world.conditions.dialling = Dialling::Works;
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    let events = world.events(client);
    assert!(events.iter().any(|event| matches!(event, Event::SessionLost(_))), "{events:?}");
}

#[test]
fn a_cancelled_ask_on_a_discarded_lane_is_not_remembered() {
    let mut config = ServerConfig::default();
    config.socket.max_open_asks = 1;
    let mut world = World::new(1);
    world.conditions.piece = 100_000..=100_000;
    let ix = world.serve(ADDRESS, config);
    let link = world.raw_link(ix);
    let hello = by_hand::hello(&by_hand::open(1, b"", by_hand::Announcement::default()));
    let say = |world: &mut World, frames: Vec<u8>| {
        world.inject(link, Side::Server, by_hand::packet(&frames));
        world.run_for(SECOND);
    };
    world.inject(link, Side::Server, hello);
    world.run_for(SECOND);
    let server = world.server_ends()[0];
    world.with(server, |socket, now| socket.discard(now, LaneId::MAIN));
    say(&mut world, by_hand::data(0, 0, &[by_hand::ask(b"a"), by_hand::cancel(0)].concat()));
    let open = by_hand::open_lane(&[]);
    let at = open.len() as u64;
    let ask = by_hand::ask(b"c");
    say(&mut world, by_hand::data(2, 0, &[open, ask.clone()].concat()));
    say(&mut world, by_hand::data(2, at + ask.len() as u64, &by_hand::cancel(at)));
    let lane = world.socket(server).lanes().nth(1).unwrap();
    assert_eq!(world.texts_on(server, lane), Vec::<String>::new(), "it was cancelled before it was taken");
}

#[test]
fn a_server_that_goes_away_at_once_loses_sessions_and_closes_no_sockets() {
    let (mut world, old, client, _) = two_servers(reopening());
    world.command(old, |server, now| server.go_away(now, Duration::ZERO, "elsewhere")).unwrap();
    world.run_for(SECOND);
    let events = world.events(client);
    assert!(events.iter().any(|event| matches!(event, Event::SessionLost(_))), "{events:?}");
}

#[test]
fn a_server_that_is_gone_before_its_last_word_arrives_closes_no_socket() {
    for seed in 0..20 {
        let mut config = Config::default();
        config.on_loss = OnLoss::Reopen;
        let mut world = World::new(seed);
        let old = world.serve(ADDRESS, ServerConfig::default());
        let (client, server) = world.connected(config);
        world.command(old, |server, now| server.go_away(now, 20 * SECOND, "")).unwrap();
        world.run_until("the old session has ended", 5 * SECOND, |world| world.state(server) == State::Closed);
        world.break_link(world.link_of(client).unwrap(), Break::HalfOpen(Side::Client));
        world.stop(old, Break::Reset);
        world.serve(ADDRESS, ServerConfig::default());
        world.run_for(10 * SECOND);
        assert_eq!(world.closed(client), None, "seed {seed}");
    }
}

#[test]
fn headers_of_a_lane_over_the_limit_of_the_server_end_the_socket() {
    let mut config = ServerConfig::default();
    config.socket.max_headers = 10;
    let mut world = World::new(1);
    world.serve(ADDRESS, config);
    let client = world.idle_client(Config::default(), &[ADDRESS], Bytes::new());
    let headers = Bytes::from_static(b"\"0123456789012345678901234567890\"");
    let options = LaneOptions { headers, ..LaneOptions::default() };
    world.with(client, |socket, now| socket.open_lane(now, options.clone())).unwrap();
    world.with(client, |socket, now| socket.connect(now));
    world.run_for(60 * SECOND);
    assert_eq!(world.state(client), State::Closed);
}

#[test]
fn what_is_written_while_the_old_session_closes_waits_for_the_next_one() {
    let (mut world, old, client, server) = two_servers(reopening());
    world.send(client, "read late").unwrap();
    world.run_for(SECOND);
    world.command(old, |server, now| server.go_away(now, 20 * SECOND, "elsewhere")).unwrap();
    world.run_for(SECOND);
    assert_eq!(world.send(client, "held").map_err(|error| error.kind), Ok(()));
    assert_eq!(world.texts(server), ["read late", "(finished)"]);
    world.run_for(5 * SECOND);
    let next = world.wait_for_peer(client, 5 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.texts(next), ["held"]);
}

#[test]
fn a_drain_that_is_over_while_its_client_is_away_and_waits_is_told_once() {
    let (mut world, client, _, _) = going_away(reopening(), 2 * SECOND);
    world.conditions.dialling = Dialling::Silent;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(3 * SECOND);
    assert_eq!(world.state(client), State::Disconnected);
    world.conditions.dialling = Dialling::Works;
    world.with(client, |socket, now| socket.take_unconfirmed(now));
    world.run_for(10 * SECOND);
    assert_eq!(world.state(client), State::Ready);
    assert_eq!(world.socket(client).incarnation(), Incarnation(1));
}

#[test]
fn a_main_lane_that_was_finished_before_is_finished_in_the_next_incarnation() {
    let (mut world, old, client, server) = two_servers(reopening());
    world.with(client, |socket, now| socket.finish(now, LaneId::MAIN));
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["(finished)"]);
    world.run_for(SECOND);
    world.command(old, |server, now| server.go_away(now, 20 * SECOND, "elsewhere")).unwrap();
    world.run_for(5 * SECOND);
    let next = world.wait_for_peer(client, 5 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.texts(next), ["(finished)"]);
    assert!(world.send(client, "after the end").is_err());
}

#[test]
fn the_end_of_a_durable_lane_waits_for_its_commit_in_a_drain() {
    let mut config = Config::default();
    config.durable = true;
    let mut world = World::new(1);
    let old = world.serve(ADDRESS, ServerConfig::default());
    let client = world.client(config);
    let commit = |world: &mut World| {
        let stage = world.with(client, |socket, now| socket.stage(now));
        world.with(client, |socket, now| socket.commit(now, stage));
    };
    world.run_for(SECOND);
    commit(&mut world);
    world.run_for(SECOND);
    assert_eq!(world.state(client), State::Ready);
    let server = world.server_ends()[0];
    for _ in 0..20 {
        world.send(client, vec![7; 100_000]).unwrap();
    }
    commit(&mut world);
    world.run_for(5 * SECOND);
    world.command(old, |server, now| server.go_away(now, 60 * SECOND, "")).unwrap();
    world.run_for(SECOND);
    for _ in 0..5 {
        let texts = world.texts(server);
        assert!(texts.iter().all(|text| text != "(finished)"), "the end was never committed");
        world.run_for(SECOND);
    }
}
