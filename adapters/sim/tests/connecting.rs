//! Connecting and states.

use std::time::Duration;

use steadfast::{
    Bytes, CloseReason, Code, Config, Event, LaneId, Message, OnLoss, ProtocolCode, Received, Reply, ServerConfig,
    ServerEvent, State, Time,
};
use steadfast_sim::{ADDRESS, Admission, Break, Dialling, End, Side, World};

const SECOND: Duration = Duration::from_secs(1);

fn lost(world: &mut World, end: End) -> Vec<Code> {
    let code = |event| match event {
        Event::LinkLost(loss) => Some(loss.reason.code),
        _ => None,
    };
    world.events(end).into_iter().filter_map(code).collect()
}

#[test]
fn every_change_of_state_is_told_on_both_sides() {
    let (mut world, client, server) = World::pair(1);
    assert_eq!(world.states(client), [State::Connecting, State::Ready]);
    assert_eq!(world.states(server), [State::Connecting, State::Ready]);
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND);
    let again = [State::Disconnected, State::Connecting, State::Ready];
    assert_eq!(world.states(client), again);
    assert_eq!(world.states(server), again);
    world.close(client, 1, "bye");
    world.run_for(SECOND);
    assert_eq!((world.state(client), world.state(server)), (State::Closed, State::Closed));
}

#[test]
fn disconnect_leads_back_to_ready_and_a_write_made_meanwhile_arrives() {
    let (mut world, client, server) = World::pair(1);
    world.events(client);
    world.with(client, |socket, now| socket.disconnect(now));
    assert_eq!(world.state(client), State::Disconnected);
    world.send(client, "meanwhile").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.states(client), [State::Disconnected, State::Connecting, State::Ready]);
    assert_eq!(world.texts(server), ["meanwhile"]);
}

#[test]
fn with_reconnect_off_it_stays_disconnected_until_it_is_told_to_connect() {
    let mut config = Config::default();
    config.reconnect = false;
    let (mut world, client, server) = World::pair_with(1, config, ServerConfig::default());
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(60 * SECOND);
    assert_eq!(world.state(client), State::Disconnected);
    world.send(client, "waited").unwrap();
    world.with(client, |socket, now| socket.connect(now));
    world.run_for(SECOND);
    assert_eq!(world.state(client), State::Ready);
    assert_eq!(world.texts(server), ["waited"]);
}

#[test]
fn a_client_started_before_the_server_connects_when_it_appears() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    let message = Message::new("early").with_name("greeting").with_headers("{\"a\":[1,null,\"x\"]}");
    world.send(client, message.clone()).unwrap();
    world.run_for(30 * SECOND);
    assert_ne!(world.state(client), State::Ready);
    world.serve(ADDRESS, ServerConfig::default());
    let server = world.wait_for_peer(client, 20 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.recv(server), Some(Received::Message(message)), "with its headers and no others");
}

#[test]
fn an_ask_made_before_the_server_exists_is_answered_with_headers_both_ways() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    let question = Message::new("?").with_headers("{\"q\":1}");
    let ask = world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, question.clone(), None)).unwrap();
    world.run_for(5 * SECOND);
    world.serve(ADDRESS, ServerConfig::default());
    let server = world.wait_for_peer(client, 20 * SECOND);
    world.run_for(SECOND);
    let Some(Received::Ask(reference, message)) = world.recv(server) else { panic!("no ask") };
    assert_eq!(message, question);
    let answer = Message::new("!").with_headers("{\"a\":2}");
    world.with(server, |socket, now| socket.reply(now, reference, answer.clone(), false)).unwrap();
    world.run_for(SECOND);
    let reply = world.with(client, |socket, now| socket.recv_reply(now, ask));
    assert_eq!(reply, Some(Reply::Answer { message: answer, more: false }));
}

#[test]
fn a_client_that_never_completes_its_handshake_delays_nobody() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    let silent = world.raw_link(server);
    let slow = world.raw_link(server);
    world.run_for(Duration::from_millis(10));
    world.inject(slow, Side::Server, vec![200, 1, 0xD3, b's']);
    let start = world.now();
    world.connected(Config::default());
    assert!(world.now().since(start) < Duration::from_millis(50));
    world.run_for(ServerConfig::default().hello_timeout + SECOND);
    assert!(world.is_link_down(silent, Side::Server) && world.is_link_down(slow, Side::Server));
}

#[test]
fn an_attempt_that_nobody_answers_is_given_up_at_its_deadline_and_repeated() {
    let mut world = World::new(1);
    world.conditions.dialling = Dialling::Silent;
    let mut config = Config::default();
    config.attempt_timeout = 3 * SECOND;
    let client = world.client(config);
    world.run_for(Duration::from_millis(2_900));
    assert_eq!(world.states(client), [State::Connecting]);
    world.run_for(Duration::from_millis(200));
    assert_eq!(lost(&mut world, client), [Code::Protocol(ProtocolCode::Deadline)]);
    world.serve(ADDRESS, ServerConfig::default());
    world.conditions.dialling = Dialling::Works;
    world.wait_for_peer(client, 10 * SECOND);
}

#[test]
fn an_attempt_that_connects_and_hears_no_welcome_is_given_up_at_its_deadline() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    world.admit(server, Admission::Manual);
    let mut config = Config::default();
    config.attempt_timeout = 3 * SECOND;
    let client = world.client(config);
    world.run_for(Duration::from_millis(3_100));
    assert_eq!(lost(&mut world, client), [Code::Protocol(ProtocolCode::Deadline)]);
}

#[test]
fn closing_while_it_connects_does_not_come_back_to_life() {
    for moment in 0..6 {
        let mut world = World::new(moment);
        let server = world.serve(ADDRESS, ServerConfig::default());
        let client = world.client(Config::default());
        world.run_for(Duration::from_micros(700 * moment));
        world.close(client, 3, "changed my mind");
        world.run_for(60 * SECOND);
        assert_eq!(world.state(client), State::Closed, "closed at {moment}");
        assert_eq!(world.server(server).len(), 0, "closed at {moment}");
        world.with(client, |socket, now| socket.connect(now));
        world.with(client, |socket, now| socket.reconnect_now(now));
        world.run_for(60 * SECOND);
        assert_eq!(world.state(client), State::Closed);
    }
}

#[test]
fn pauses_between_attempts_double_up_to_their_cap_with_full_jitter() {
    let mut firsts = Vec::new();
    let mut lates = Vec::new();
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.client(Config::default());
        world.run_for(300 * SECOND);
        let times: Vec<Time> = world.dials().iter().map(|(at, ..)| *at).collect();
        let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        for (attempt, pause) in pauses.iter().enumerate() {
            let bound = Duration::from_millis(100 << attempt.min(10)).min(10 * SECOND) + Duration::from_millis(5);
            assert!(*pause <= bound, "pause {attempt} of {pause:?} is over {bound:?}");
        }
        firsts.push(pauses[0]);
        lates.extend(pauses[8..].iter().copied());
    }
    let spread = |pauses: &[Duration]| (*pauses.iter().min().unwrap(), *pauses.iter().max().unwrap());
    let (shortest, longest) = spread(&lates);
    assert!(shortest < SECOND && longest > 9 * SECOND, "jitter over the whole range: {shortest:?} to {longest:?}");
    assert!(spread(&firsts).0 < Duration::from_millis(30), "the first ones, too");
    let mean = lates.iter().sum::<Duration>() / lates.len() as u32;
    assert!((4 * SECOND..6 * SECOND).contains(&mean), "{mean:?}");
}

#[test]
fn a_server_that_restarts_is_not_stormed() {
    let mut world = World::new(1);
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    let server = world.serve(ADDRESS, ServerConfig::default());
    let clients: Vec<End> = (0..200).map(|_| world.client(config.clone())).collect();
    world.run_until("all are ready", 5 * SECOND, |world| world.server(server).len() == 200);
    world.stop(server, Break::Reset);
    let down = world.now();
    world.run_for(60 * SECOND);
    let late = world.dials().iter().filter(|(at, ..)| at.since(down) > 30 * SECOND).count();
    assert!(late < 200 * 30 / 3, "{late} dials in 30 s: at most about one in 5 s each");
    let server = world.serve(ADDRESS, ServerConfig::default());
    for client in &clients {
        // What a lost session leaves is taken, so that the next one can open.
        world.with(*client, |socket, now| socket.take_unconfirmed(now));
    }
    let from = world.now();
    world.run_for(15 * SECOND);
    for client in &clients {
        world.with(*client, |socket, now| socket.take_unconfirmed(now));
    }
    world.run_until("all are back", 30 * SECOND, |world| world.server(server).len() == 200);
    let times: Vec<Time> = world.dials().iter().map(|(at, ..)| *at).filter(|at| *at > from).collect();
    let busiest = times.iter().map(|at| times.iter().filter(|other| other.since(*at) < SECOND && *other >= at).count());
    assert!(busiest.max().unwrap() < 120, "200 clients do not come in one second");
}

#[test]
fn the_next_incarnations_are_not_opened_all_at_once() {
    let mut world = World::new(1);
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    let server = world.serve(ADDRESS, ServerConfig::default());
    let clients: Vec<End> = (0..20).map(|_| world.client(config.clone())).collect();
    world.run_until("all are ready", 5 * SECOND, |world| world.server(server).len() == 20);
    for client in &clients {
        world.send(*client, "this makes the session one that can be lost").unwrap();
    }
    world.run_for(SECOND);
    world.stop(server, Break::Reset);
    world.serve(ADDRESS, ServerConfig::default());
    world.run_for(30 * SECOND);
    let (from, before) = (world.now(), world.dials().len());
    for client in clients {
        world.with(client, |socket, now| socket.take_unconfirmed(now));
    }
    world.run_for(5 * SECOND);
    let pauses: Vec<Duration> = world.dials()[before..].iter().map(|(at, ..)| at.since(from)).collect();
    assert_eq!(pauses.len(), 20);
    let late = pauses.iter().filter(|pause| **pause > Duration::from_millis(10)).count();
    assert!(late > 10, "{pauses:?}");
}

#[test]
fn a_rejection_tells_code_and_reason_and_closes() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    world.admit(server, Admission::Reject(CloseReason::app(403, "not you"), None));
    let client = world.client(Config::default());
    world.send(client, "hello").unwrap();
    world.run_for(60 * SECOND);
    let closed = world.closed(client).expect("closed");
    assert_eq!(closed.remote, Some(CloseReason::app(403, "not you")));
    let unconfirmed = world.with(client, |socket, now| socket.take_unconfirmed(now));
    assert_eq!((unconfirmed.len(), closed.unconfirmed), (1, 1));
    assert_eq!(world.dials().len(), 1, "it does not try again");
}

#[test]
fn a_rejection_with_a_time_to_retry_is_followed() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    world.admit(server, Admission::Reject(CloseReason::app(503, "busy"), Some(7 * SECOND)));
    let client = world.client(Config::default());
    world.run_for(SECOND);
    world.admit(server, Admission::Accept);
    world.run_for(5 * SECOND);
    assert_eq!(world.dials().len(), 1, "not before its time");
    let events = world.events(client);
    let told =
        events.iter().find_map(|event| if let Event::LinkLost(loss) = event { loss.retry_in_micros } else { None });
    assert!((7_000_000..8_000_000).contains(&told.expect("another attempt")), "{told:?}");
    world.wait_for_peer(client, 12 * SECOND);
}

#[test]
fn without_a_decision_the_answer_is_no() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    world.admit(server, Admission::Manual);
    let mut config = Config::default();
    config.attempt_timeout = 60 * SECOND;
    let client = world.client(config);
    world.run_for(11 * SECOND);
    let events = world.server_events(server);
    let [ServerEvent::Open(request), ServerEvent::OpenGone(gone)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(request.id, *gone);
    assert!(world.accept(server, request).is_none(), "too late");
    let codes = lost(&mut world, client);
    let closed = world.closed(client).and_then(|closed| closed.remote.clone()).map(|reason| reason.code);
    let no_decision = Code::Protocol(ProtocolCode::NoDecision);
    assert!(codes.contains(&no_decision) || closed == Some(no_decision), "{codes:?} {closed:?}");
}

#[test]
fn a_late_decision_takes_the_client_in_once_whatever_its_links_do_meanwhile() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    world.admit(server, Admission::Manual);
    let client = world.client(Config::default());
    for _ in 0..3 {
        world.run_for(SECOND);
        world.break_link(world.link_of(client).expect("a link"), Break::Reset);
    }
    world.run_for(2 * SECOND);
    let events = world.server_events(server);
    let [ServerEvent::Open(request)] = &events[..] else { panic!("asked more than once: {events:?}") };
    world.accept(server, request).expect("it waits");
    world.run_until("ready", 10 * SECOND, |world| world.state(client) == State::Ready);
    assert_eq!(world.server(server).len(), 1, "no ghost sockets");
    assert_eq!(world.server_events(server), []);
}

#[test]
fn a_handshake_cut_after_any_byte_ends_in_one_socket() {
    for how in Break::ALL {
        for bytes in 1..=900 {
            let mut world = World::new(bytes);
            let server = world.serve(ADDRESS, ServerConfig::default());
            world.conditions.life = Some((bytes..=bytes, vec![how]));
            let client = world.client(Config::default());
            world.send(client, "first").unwrap();
            world.run_for(Duration::from_millis(5));
            world.conditions.life = None;
            let end = world.wait_for_peer(client, 120 * SECOND);
            world.send(end, "back").unwrap();
            world.run_for(120 * SECOND);
            assert_eq!(world.server(server).len(), 1, "{how:?} after {bytes} bytes: ghost sockets");
            assert_eq!(world.texts(end), ["first"], "{how:?} after {bytes} bytes");
            assert_eq!(world.texts(client), ["back"], "{how:?} after {bytes} bytes");
        }
    }
}

#[test]
fn several_addresses_are_tried_in_order() {
    let mut world = World::new(1);
    world.serve("third", ServerConfig::default());
    let client = world.idle_client(Config::default(), &["first", "second", "third"], Bytes::new());
    world.with(client, |socket, now| socket.connect(now));
    world.wait_for_peer(client, 10 * SECOND);
    let tried: Vec<&str> = world.dials().iter().map(|(.., address)| &**address).collect();
    assert_eq!(tried, ["first", "second", "third"]);
}

#[test]
fn two_clients_are_told_apart_by_what_they_show() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    world.admit(server, Admission::Manual);
    for name in ["alice", "mallory"] {
        let client = world.idle_client(Config::default(), &[ADDRESS], Bytes::from(name));
        world.with(client, |socket, now| socket.connect(now));
    }
    world.run_for(SECOND);
    for event in world.server_events(server) {
        let ServerEvent::Open(request) = event else { panic!("{event:?}") };
        if request.auth == "alice" {
            world.accept(server, &request).expect("it waits");
        } else {
            let reason = CloseReason::app(1, "no");
            world.command(server, |server, now| server.reject(now, request.id, reason.clone(), None)).unwrap();
        }
    }
    world.run_for(SECOND);
    let states = world.client_ends().iter().map(|end| world.state(*end)).collect::<Vec<_>>();
    assert_eq!(states, [State::Ready, State::Closed]);
}

#[test]
fn an_open_that_waits_for_its_decision_takes_a_place() {
    let (mut full, mut busy) = (ServerConfig::default(), ServerConfig::default());
    full.max_sockets = 2;
    busy.max_pending = 2;
    for (config, code) in [(full, ProtocolCode::ServerFull), (busy, ProtocolCode::TryLater)] {
        let mut world = World::new(1);
        let server = world.serve(ADDRESS, config);
        world.admit(server, Admission::Manual);
        let clients: Vec<End> = (0..3).map(|_| world.client(Config::default())).collect();
        world.run_for(SECOND / 2);
        let opens = world.server_events(server);
        assert_eq!(opens.len(), 2, "{opens:?}");
        let lost: Vec<Code> = clients.iter().flat_map(|client| lost(&mut world, *client)).collect();
        assert_eq!(lost, [Code::Protocol(code)]);
        assert!(clients.iter().all(|client| world.state(*client) != State::Closed), "it tries again");
    }
}

#[test]
fn a_full_server_refuses_and_evicts_nobody() {
    let mut config = ServerConfig::default();
    config.max_sockets = 2;
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, config);
    let clients: Vec<End> = (0..3).map(|_| world.client(Config::default())).collect();
    world.run_for(5 * SECOND);
    assert_eq!(world.server(server).len(), 2);
    let ready = clients.iter().filter(|client| world.state(**client) == State::Ready).count();
    assert_eq!(ready, 2);
    let waiting = *clients.iter().find(|client| world.state(**client) != State::Ready).unwrap();
    assert!(!matches!(world.state(waiting), State::Closed), "it waits for a place");
    let leaving = *clients.iter().find(|client| world.state(**client) == State::Ready).unwrap();
    let left = world.peer(leaving).unwrap();
    world.close(leaving, 1, "bye");
    world.run_for(SECOND);
    world.remove(left);
    world.run_until("the third has the place", 30 * SECOND, |world| world.state(waiting) == State::Ready);
}

#[test]
fn fresh_authentication_at_a_resume_is_told_and_none_is_not() {
    let (mut world, client, server) = World::pair(1);
    let End::Server(ix, id) = server else { panic!("{server:?} is not a server's") };
    for auth in ["", "renewed"] {
        world.with(client, |socket, _| socket.set_auth(Bytes::from(auth))).unwrap();
        world.with(client, |socket, now| socket.reconnect_now(now));
        world.run_for(SECOND);
        let expected = (!auth.is_empty()).then(|| ServerEvent::Reauthenticated(id, Bytes::from(auth)));
        assert_eq!(world.server_events(ix), Vec::from_iter(expected));
    }
}
