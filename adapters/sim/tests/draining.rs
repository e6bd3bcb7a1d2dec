//! What can be done with a socket while its server goes away.

use std::time::{Duration, Instant};

use steadfast::{
    AskError, AskId, AskRef, CloseReason, Code, Config, Event, Incarnation, LaneId, Message, OnLoss, ProtocolCode,
    Received, Reply, SendErrorKind, SendId, SendOptions, ServerConfig, Socket, State,
};
use steadfast_sim::by_hand;
use steadfast_sim::{ADDRESS, Break, Dialling, End, ServerIx, Side, World};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A client at the first of two servers, of which the other is elsewhere.
fn two_servers(config: Config, server_config: ServerConfig) -> (World, [ServerIx; 2], End, End) {
    let mut world = World::new(1);
    let old = world.serve(ADDRESS, server_config);
    let next = world.serve("elsewhere", ServerConfig::default());
    let (client, server) = world.connected(config);
    (world, [old, next], client, server)
}

/// A client whose server goes away within 20 s and owes it an answer, so that the old session goes on.
struct Scene {
    world: World,
    client: End,
    server: End,
    old: ServerIx,
    next: ServerIx,
    owed: (AskId, AskRef),
}

impl Scene {
    fn new() -> Scene {
        let mut config = reopening();
        config.send_messages = 3;
        let (mut world, [old, next], client, server) = two_servers(config, ServerConfig::default());
        let asked = world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).unwrap();
        world.run_for(SECOND);
        let Some(Received::Ask(question, _)) = world.recv(server) else { panic!("no ask") };
        world.command(old, |server, now| server.go_away(now, 20 * SECOND, "elsewhere")).unwrap();
        world.run_for(100 * MILLISECOND);
        world.events(client);
        Scene { world, client, server, old, next, owed: (asked, question) }
    }

    /// The server answers; gives what reaches the next one.
    fn moved(&mut self) -> Vec<String> {
        let Scene { world, client, server, .. } = self;
        let (asked, question) = self.owed;
        world.with(*server, |socket, now| socket.reply(now, question, "!".into(), false)).unwrap();
        world.run_for(100 * MILLISECOND);
        let answer = world.with(*client, |socket, now| socket.recv_reply(now, asked));
        assert_eq!(answer, Some(Reply::Answer { message: "!".into(), more: false }));
        let next = self.next;
        world.run_until("moved", 5 * SECOND, |world| world.server(next).len() == 1);
        let next = world.wait_for_peer(*client, 5 * SECOND);
        world.run_for(SECOND);
        world.texts(next)
    }
}

#[test]
fn held_messages_take_room_and_can_be_taken_back_or_replaced() {
    let mut scene = Scene::new();
    let Scene { world, client, .. } = &mut scene;
    let client = *client;
    let send = |world: &mut World, text: &'static str, key: Option<&'static str>| {
        let options = SendOptions { key: key.map(Into::into), ..SendOptions::default() };
        world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, text.into(), &options)).unwrap()
    };
    let size = |text: &str| text.len() + Config::MESSAGE_OVERHEAD;
    let held = |world: &World| {
        let stats = world.socket(client).stats();
        (stats.send_queue_bytes, stats.send_queue_messages)
    };
    assert_eq!(held(world), (0, 0));
    assert!(world.socket(client).is_confirmed(LaneId::MAIN));
    let older = send(world, "x=1", Some("x"));
    let oops = send(world, "oops", None);
    let ask = world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "never mind".into(), None)).unwrap();
    assert_eq!(held(world), (size("x=1") + size("oops") + size("never mind"), 3));
    assert!(!world.socket(client).is_confirmed(LaneId::MAIN));
    let full = world.send(client, "more").unwrap_err().kind;
    assert_eq!(full, SendErrorKind::Full { buffered: 3, limit: 3, unit: "messages" });

    assert_eq!(world.with(client, |socket, now| socket.cancel_send(now, oops)), Some("oops".into()));
    assert_eq!(world.with(client, |socket, now| socket.cancel_send(now, oops)), None);
    world.with(client, |socket, now| socket.cancel_ask(now, ask));
    let end = world.with(client, |socket, now| socket.recv_reply(now, ask));
    assert_eq!(end, Some(Reply::Failed(AskError::Cancelled)));
    assert_eq!(held(world), (size("x=1"), 1));
    send(world, "x=22", Some("x"));
    assert!(world.events(client).contains(&Event::Replaced(older)));
    world.send(client, "last").unwrap();
    assert_eq!(held(world), (size("x=22") + size("last"), 2));
    assert_eq!(scene.moved(), ["x=22", "last"]);
}

fn send_for(world: &mut World, client: End, text: &'static str, time_to_live: Duration) -> SendId {
    let options = SendOptions { time_to_live: Some(time_to_live), ..SendOptions::default() };
    world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, text.into(), &options)).unwrap()
}

#[test]
fn held_messages_expire_at_their_time() {
    let mut scene = Scene::new();
    let Scene { world, client, .. } = &mut scene;
    let client = *client;
    let brief = send_for(world, client, "brief", 100 * MILLISECOND);
    send_for(world, client, "long", 60 * SECOND);
    let longer = send_for(world, client, "longer", 200 * MILLISECOND);
    assert!(matches!(world.send(client, "no room").unwrap_err().kind, SendErrorKind::Full { .. }));
    world.run_for(99 * MILLISECOND);
    assert_eq!(world.events(client), []);
    world.run_for(2 * MILLISECOND);
    assert_eq!(world.events(client), [Event::Expired(brief)]);
    world.run_for(SECOND);
    assert_eq!(world.events(client), [Event::Expired(longer), Event::Writable]);
    assert_eq!(scene.moved(), ["long"]);
}

#[test]
fn a_held_message_that_has_expired_is_not_handed_back() {
    let Scene { mut world, client, .. } = Scene::new();
    let brief = send_for(&mut world, client, "brief", 100 * MILLISECOND);
    world.send(client, "held").unwrap();
    // The end comes before anyone has looked at the clock.
    let (mut socket, later) = (world.socket(client).into_owned(), world.now() + SECOND);
    socket.abort(later, CloseReason::app(1, "enough"));
    let events: Vec<Event> = std::iter::from_fn(|| socket.poll_event()).collect();
    assert_eq!(events[0], Event::Expired(brief), "{events:?}");
    let back = socket.take_unconfirmed(later);
    assert_eq!(back.iter().map(|item| &item.message.payload[..]).collect::<Vec<_>>(), [b"held"]);
}

#[test]
fn much_that_is_held_makes_nothing_slow() {
    let mut reading_little = ServerConfig::default();
    (reading_little.socket.max_message, reading_little.socket.max_headers) = (1000, 0);
    (reading_little.socket.max_lanes, reading_little.socket.receive_buffer) = (0, 32 << 10);
    let mut world = World::new(1);
    let old = world.serve(ADDRESS, reading_little);
    let (client, _) = world.connected(Config::default());
    world.with(client, |socket, now| {
        (0..100_000).for_each(|_| socket.send(now, LaneId::MAIN, Message::new("")).unwrap());
    });
    world.run_for(SECOND);
    let sent = world.socket(client).stats().send_queue_messages;
    world.events(client);
    let start = Instant::now();
    world.command(old, |server, now| server.go_away(now, 20 * SECOND, "")).unwrap();
    world.run_for(SECOND);
    let events = world.events(client);
    assert!(matches!(events[0], Event::GoingAway(_)), "{events:?}");
    world.with(client, |socket, now| {
        let ask = |_| socket.ask(now, LaneId::MAIN, Message::new(""), None).unwrap();
        let asks: Vec<AskId> = (0..50_000).map(ask).collect();
        asks.into_iter().for_each(|ask| socket.cancel_ask(now, ask));
        let send = |_| socket.send_with(now, LaneId::MAIN, Message::new(""), &SendOptions::default()).unwrap();
        let sends: Vec<SendId> = (0..50_000).map(send).collect();
        sends.into_iter().for_each(|id| drop(socket.cancel_send(now, id).unwrap()));
    });
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    assert_eq!(world.socket(client).stats().send_queue_messages, sent);
}

#[test]
fn what_the_server_writes_meanwhile_is_delivered_and_new_lanes_wait() {
    let mut scene = Scene::new();
    let Scene { world, client, server, .. } = &mut scene;
    world.send(*server, "still from the old one").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(*client), ["still from the old one"]);
    assert!(world.with(*client, |socket, now| socket.open_lane(now, Default::default())).is_err());
    assert_eq!(scene.moved(), Vec::<String>::new());
}

#[test]
fn on_a_lane_that_ends_with_the_old_session_nothing_new_is_written() {
    let Scene { mut world, client, server, .. } = Scene::new();
    let lane = world.with(server, |socket, now| socket.open_lane(now, Default::default())).unwrap();
    world.run_for(SECOND);
    assert!(world.events(client).contains(&Event::LaneOpened(lane)));
    assert_eq!(world.send_on(client, lane, "more").unwrap_err().kind, SendErrorKind::Closed);
    world.send(client, "for the next one").expect("room");
}

/// The old server goes before it has said that the old session is over, and whoever takes its place knows nothing of it.
#[test]
fn an_old_session_that_is_forgotten_is_lost_unless_nothing_was_left_in_it() {
    for unread in [false, true] {
        let Scene { mut world, client, server, old, next, owed: (asked, question) } = Scene::new();
        world.start_tape();
        let link = world.link_of(client).unwrap();
        if unread {
            world.send(server, "unread").unwrap();
        }
        world.send(client, "held").unwrap();
        world.with(server, |socket, now| socket.reply(now, question, "!".into(), false)).unwrap();
        world.run_for(100 * MILLISECOND);
        world.with(client, |socket, now| socket.recv_reply(now, asked)).expect("an answer");
        if unread {
            world.run_for(SECOND);
        } else {
            world.run_until("the client says CLOSED", SECOND, |world| {
                world.tape(link, Side::Server).ends_with(&by_hand::closed())
            });
        }
        world.stop(old, Break::Reset);
        world.serve(ADDRESS, ServerConfig::default());
        world.run_for(5 * SECOND);
        let events = world.events(client);
        let is_lost = |event: &Event| matches!(event, Event::SessionLost(_));
        assert_eq!(events.iter().any(is_lost), unread, "{events:?}");
        assert_eq!(world.closed(client), None);
        if unread {
            let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
            assert_eq!(back.iter().map(|item| &item.message.payload[..]).collect::<Vec<_>>(), [b"held"]);
        } else {
            assert_eq!(world.server(next).len(), 1);
            let end = world.wait_for_peer(client, SECOND);
            assert_eq!(world.texts(end), ["held"]);
        }
    }
}

#[test]
fn a_server_goes_away_once() {
    let mut scene = Scene::new();
    scene.world.command(scene.old, |server, now| server.go_away(now, SECOND, "nowhere")).unwrap();
    scene.world.run_for(5 * SECOND);
    assert_eq!(scene.moved(), Vec::<String>::new());
    assert!(!scene.world.dials().iter().any(|(.., address)| &**address == "nowhere"));
}

#[test]
fn what_is_held_is_kept_when_a_new_link_brings_the_announcement_again() {
    let mut scene = Scene::new();
    scene.world.send(scene.client, "held").unwrap();
    scene.world.break_link(scene.world.link_of(scene.client).unwrap(), Break::Reset);
    scene.world.run_for(5 * SECOND);
    assert_eq!(scene.world.socket(scene.client).stats().resumes, 1);
    assert_eq!(scene.moved(), ["held"]);
}

#[test]
fn a_socket_that_is_closed_in_a_drain_does_not_open_again_when_the_drain_fails() {
    let mut config = reopening();
    config.close_timeout = 60 * SECOND;
    let (mut world, [old, _], client, _) = two_servers(config, ServerConfig::default());
    world.send(client, "unread").unwrap();
    world.run_for(SECOND);
    world.command(old, |server, now| server.go_away(now, 5 * SECOND, "elsewhere")).unwrap();
    world.run_for(SECOND);
    world.close(client, 7, "done");
    world.conditions.dialling = Dialling::Silent;
    world.break_link(world.link_of(client).unwrap(), Break::Stall);
    world.run_for(10 * SECOND);
    let closed = world.closed(client).expect("an end");
    assert!(!closed.clean, "{closed:?}");
    let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
    assert_eq!(back.iter().map(|item| &item.message.payload[..]).collect::<Vec<_>>(), [b"unread"]);
    assert!(!world.dials().iter().any(|(.., address)| &**address == "elsewhere"));
}

#[test]
fn the_end_of_the_main_lane_moves_with_what_stands_before_it() {
    let mut scene = Scene::new();
    let client = scene.client;
    scene.world.send(client, "held").unwrap();
    scene.world.with(client, |socket, now| socket.finish(now, LaneId::MAIN));
    assert_eq!(scene.world.send(client, "too late").unwrap_err().kind, SendErrorKind::Closed);
    assert_eq!(scene.moved(), ["held", "(finished)"]);
    assert_eq!(scene.world.send(client, "after the end").unwrap_err().kind, SendErrorKind::Closed);
}

fn reopening() -> Config {
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    config
}

#[test]
fn a_server_that_closes_as_it_goes_away_is_followed_by_a_new_session() {
    let (mut world, [old, _], client, server) = two_servers(reopening(), ServerConfig::default());
    let asked = world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).unwrap();
    world.run_for(SECOND);
    let Some(Received::Ask(..)) = world.recv(server) else { panic!("no ask") };
    world.command(old, |server, now| server.go_away(now, 20 * SECOND, "elsewhere")).unwrap();
    world.run_for(SECOND);
    world.send(client, "held").unwrap();
    let reason = CloseReason { code: Code::Protocol(ProtocolCode::GoingAway), reason: "".into() };
    world.command(old, |server, now| server.close(now, reason.clone()));
    world.run_for(5 * SECOND);
    assert_eq!(world.closed(client), None);
    assert_eq!(world.socket(client).incarnation(), Incarnation(1));
    assert!(world.events(client).contains(&Event::ReplyReadable(asked)));
    let answer = world.with(client, |socket, now| socket.recv_reply(now, asked));
    assert_eq!(answer, Some(Reply::Failed(AskError::NoReply)));
    let next = world.wait_for_peer(client, 5 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.texts(next), ["held"]);
}

#[test]
fn what_is_held_for_the_next_session_does_not_keep_answers_from_leaving() {
    let mut config = reopening();
    config.max_message = 1000;
    config.send_buffer = 10_000;
    let mut server_config = ServerConfig::default();
    server_config.socket.max_message = 1000;
    let (mut world, [old, _], client, server) = two_servers(config, server_config);
    let asked = world.with(server, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).unwrap();
    world.run_for(SECOND);
    let Some(Received::Ask(question, _)) = world.recv(client) else { panic!("no ask") };
    world.command(old, |server, now| server.go_away(now, 20 * SECOND, "elsewhere")).unwrap();
    world.run_for(SECOND);
    let full = loop {
        if let Err(error) = world.send(client, vec![7; 900]) {
            break error.kind;
        }
    };
    assert!(matches!(full, SendErrorKind::Full { .. }), "{full:?}");
    let mut answer = Err(full);
    for _ in 0..25 {
        if answer.is_err() {
            let reply = |socket: &mut Socket, now| socket.reply(now, question, vec![8; 900].into(), false);
            answer = world.with(client, reply).map_err(|error| error.kind);
        }
        world.run_for(SECOND);
        world.with(server, |socket, now| socket.recv_reply(now, asked));
        world.texts(server);
    }
    let events = world.events(client);
    assert!(!events.iter().any(|event| matches!(event, Event::SessionLost(_))), "{answer:?} {events:?}");
}

#[test]
fn an_answer_that_had_no_credit_yet_leaves_in_the_old_session_and_what_stands_around_it_in_the_next() {
    let mut server_config = ServerConfig::default();
    server_config.socket.max_message = 1000;
    server_config.socket.max_headers = 100;
    server_config.socket.max_lanes = 1;
    server_config.socket.receive_buffer = 40_000;
    let mut config = reopening();
    config.max_message = 1000;
    let (mut world, [old, next], client, server) = two_servers(config, server_config);
    let asked = world.with(server, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).unwrap();
    world.run_for(SECOND);
    let Some(Received::Ask(question, _)) = world.recv(client) else { panic!("no ask") };
    (0..100).for_each(|number| world.send(client, format!("{number:900}")).unwrap());
    world.run_for(SECOND);
    world.send(client, "before").unwrap();
    world.with(client, |socket, now| socket.reply(now, question, "!".into(), false)).unwrap();
    world.send(client, "after").unwrap();
    world.command(old, |server, now| server.go_away(now, 20 * SECOND, "elsewhere")).unwrap();
    world.run_for(SECOND);
    let (mut read, mut answer) = (Vec::new(), None);
    for _ in 0..5 {
        read.extend(world.texts(server));
        world.run_for(SECOND);
        answer = answer.or(world.with(server, |socket, now| socket.recv_reply(now, asked)));
    }
    assert_eq!(answer, Some(Reply::Answer { message: "!".into(), more: false }));
    world.run_until("moved", 5 * SECOND, |world| world.server(next).len() == 1);
    let end = world.wait_for_peer(client, 5 * SECOND);
    world.run_for(SECOND);
    read.retain(|text| text != "(finished)");
    let moved = world.texts(end);
    assert!(!read.is_empty() && moved.len() > 2, "{} and {}", read.len(), moved.len());
    let all: Vec<&str> = read.iter().chain(&moved).map(|text| text.trim_start()).collect();
    let mut written: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    written.extend(["before".into(), "after".into()]);
    assert_eq!(all, written);
}

/// A drain takes longer than a close may, and then the server's application closes for a reason of its own.
fn a_close_in_a_long_drain(server_config: ServerConfig) {
    let (mut world, [old, _], client, server) = two_servers(reopening(), server_config);
    world.send(client, "read late").unwrap();
    world.run_for(SECOND);
    world.command(old, |server, now| server.go_away(now, 60 * SECOND, "elsewhere")).unwrap();
    world.run_for(20 * SECOND);
    world.close(server, 7, "done");
    world.run_for(SECOND);
    assert_eq!((world.closed(server), world.closed(client)), (None, None), "it may take close_timeout");
    assert_eq!(world.texts(server), ["read late", "(finished)"]);
    world.run_for(5 * SECOND);
    let (server, client) = (world.closed(server).unwrap(), world.closed(client).unwrap());
    assert!(server.clean && client.clean, "{server:?} {client:?}");
    assert_eq!(client.remote, Some(CloseReason::app(7, "done")));
}

#[test]
fn a_close_of_the_server_in_a_long_drain_takes_its_time_at_the_server() {
    a_close_in_a_long_drain(ServerConfig::default());
}

#[test]
fn a_close_of_the_server_in_a_long_drain_takes_its_time_at_the_client() {
    let mut config = ServerConfig::default();
    config.socket.close_timeout = 60 * SECOND;
    a_close_in_a_long_drain(config);
}

#[test]
fn a_client_that_was_away_hears_that_its_draining_session_was_ended_for_another_reason() {
    let (mut world, [old, _], client, server) = two_servers(reopening(), ServerConfig::default());
    world.send(client, "never read").unwrap();
    world.run_for(SECOND);
    world.command(old, |server, now| server.go_away(now, 60 * SECOND, "elsewhere")).unwrap();
    world.run_for(SECOND);
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND);
    world.with(server, |socket, now| socket.abort(now, CloseReason::app(5, "banned")));
    world.run_for(SECOND);
    world.conditions.dialling = Dialling::Works;
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    assert_eq!(world.state(client), State::Closed, "{:?}", world.events(client));
    assert_eq!(world.closed(client).unwrap().remote, Some(CloseReason::app(5, "banned")));
}
