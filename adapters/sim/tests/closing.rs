//! Finish, close, abort.

use std::time::Duration;

use steadfast::{
    CloseReason, Closed, Code, Config, Event, Fate, LaneId, MAX_REASON, ProtocolCode, Received, SendErrorKind,
    ServerConfig, Socket, State,
};
use steadfast_sim::by_hand::{self, first_packet};
use steadfast_sim::{ADDRESS, Admission, Break, Dialling, End, Side, World};

const SECOND: Duration = Duration::from_secs(1);

fn twenty() -> Vec<String> {
    (0..20).map(|number| format!("{number}")).collect()
}

/// Reads on both sides until both are closed, and gives the moments at which they were.
fn until_closed(world: &mut World, ends: [End; 2]) -> [Vec<String>; 2] {
    let mut read = [Vec::new(), Vec::new()];
    let limit = world.now() + 30 * SECOND;
    while ends.iter().any(|end| world.state(*end) != State::Closed) {
        assert!(world.now() < limit, "not closed\n{}", world.describe());
        world.run_for(Duration::from_millis(1));
        for (end, read) in ends.iter().zip(&mut read) {
            read.extend(world.texts(*end).into_iter().filter(|text| text != "(finished)").take(100));
        }
    }
    read
}

#[test]
fn close_by_either_side_delivers_what_was_written_before_and_closes_both_at_once() {
    for closer in ["client", "server"] {
        let (mut world, client, server) = World::pair(1);
        let (closer, other) = if closer == "client" { (client, server) } else { (server, client) };
        for text in twenty() {
            world.send(closer, text).unwrap();
        }
        world.close(closer, 42, "done");
        let start = world.now();
        assert_eq!(until_closed(&mut world, [closer, other])[1], twenty());
        assert!(world.now().since(start) < Duration::from_millis(100));
        let said = CloseReason::app(42, "done");
        let expected = Closed { local: Some(said.clone()), remote: None, clean: true, unconfirmed: 0 };
        assert_eq!(world.closed(closer), Some(expected));
        let seen = world.closed(other).unwrap();
        assert_eq!((seen.remote.as_ref(), seen.clean), (Some(&said), true));
        let events = world.events(other);
        assert!(events.contains(&Event::Closing(Box::new(said))), "{events:?}");
        assert!(matches!(events.last(), Some(Event::Closed(_))));
        let End::Server(ix, _) = (if matches!(closer, End::Server(..)) { closer } else { other }) else { panic!() };
        assert_eq!(world.server(ix).len(), 0);
    }
}

#[test]
fn a_lane_that_was_opened_before_the_close_was_heard_is_delivered_and_holds_nothing_up() {
    for closer in ["client", "server"] {
        let (mut world, client, server) = World::pair(1);
        let (closer, other) = if closer == "client" { (client, server) } else { (server, client) };
        world.run_for(SECOND);
        let lane = world.with(other, |socket, now| socket.open_lane(now, Default::default())).unwrap();
        world.send_on(other, lane, "on a new lane").unwrap();
        world.close(closer, 42, "done");
        let start = world.now();
        let mut read = Vec::new();
        while world.state(closer) != State::Closed && world.now() < start + 2 * SECOND {
            world.run_for(Duration::from_millis(1));
            for end in [closer, other] {
                world.texts(end);
            }
            read.extend(world.texts_on(closer, lane).into_iter().filter(|text| text != "(finished)"));
        }
        assert_eq!(read, ["on a new lane"]);
        assert!(world.closed(closer).is_some_and(|closed| closed.clean), "{}", world.describe());
    }
}

#[test]
fn a_close_does_not_wait_for_delayed_reports() {
    let mut config = ServerConfig::default();
    config.socket.ack_delay = SECOND;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    for end in [client, server] {
        world.send(end, "last").unwrap();
    }
    world.close(client, 1, "bye");
    let start = world.now();
    until_closed(&mut world, [client, server]);
    assert!(world.now().since(start) < SECOND / 10);
}

#[test]
fn both_sides_may_close_at_the_same_moment() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "from the client").unwrap();
    world.send(server, "from the server").unwrap();
    world.close(client, 1, "client");
    world.close(server, 2, "server");
    let [from_server, from_client] = until_closed(&mut world, [client, server]);
    assert_eq!((from_server, from_client), (vec!["from the server".into()], vec!["from the client".into()]));
    for (end, local, remote) in [(client, (1, "client"), (2, "server")), (server, (2, "server"), (1, "client"))] {
        let closed = world.closed(end).unwrap();
        assert_eq!(closed.local, Some(CloseReason::app(local.0, local.1)));
        assert_eq!(closed.remote, Some(CloseReason::app(remote.0, remote.1)));
        assert!(closed.clean);
    }
}

#[test]
fn close_is_idempotent_and_the_first_reason_stands() {
    let (mut world, client, server) = World::pair(1);
    world.close(client, 1, "first");
    world.close(client, 2, "second");
    until_closed(&mut world, [client, server]);
    world.close(client, 3, "third");
    assert_eq!(world.closed(server).unwrap().remote, Some(CloseReason::app(1, "first")));
    assert_eq!(world.closed(client).unwrap().local, Some(CloseReason::app(1, "first")));
}

#[test]
fn a_reason_that_is_too_long_is_cut_where_it_is_given_and_both_sides_have_the_same() {
    let long = || CloseReason { code: Code::App(1), reason: "é".repeat(50_000).into() };
    let cut = CloseReason::app(1, "é".repeat(MAX_REASON / 2));
    for end in [Socket::close, Socket::abort] {
        let (mut world, client, server) = World::pair(1);
        world.with(client, |socket, now| end(socket, now, long()));
        until_closed(&mut world, [client, server]);
        assert_eq!(world.closed(client).unwrap().local.as_ref(), Some(&cut));
        assert_eq!(world.closed(server).unwrap().remote.as_ref(), Some(&cut));
    }
    let (mut world, client, server) = World::pair(1);
    let End::Server(ix, _) = server else { panic!("{server:?} is not a server's") };
    world.command(ix, |server, now| server.close(now, long()));
    until_closed(&mut world, [client, server]);
    assert_eq!(world.closed(server).unwrap().local.as_ref(), Some(&cut));
    let late = world.client(Config::default());
    world.run_for(SECOND);
    assert_eq!(world.closed(late).unwrap().remote.as_ref(), Some(&cut));
}

#[test]
fn a_close_is_said_once_on_each_link() {
    let mut config = ServerConfig::default();
    config.socket.silence = SECOND;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    world.start_tape();
    let first = world.link_of(client).unwrap();
    world.send(client, "unread, so that it stays open").unwrap();
    world.close(client, 42, "");
    world.run_for(3 * SECOND);
    world.break_link(first, Break::Reset);
    world.run_for(3 * SECOND);
    let said = by_hand::close(42);
    for link in [first, world.link_of(client).expect("a second link")] {
        let tape = world.tape(link, Side::Server);
        assert_eq!(tape.windows(said.len()).filter(|bytes| *bytes == said).count(), 1, "{tape:?}");
    }
    until_closed(&mut world, [client, server]);
}

#[test]
fn writes_before_ready_and_then_close_arrive() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    for text in twenty() {
        world.send(client, text).unwrap();
    }
    world.close(client, 1, "written");
    assert_ne!(world.state(client), State::Closed);
    let ix = world.serve(ADDRESS, ServerConfig::default());
    world.run_until("accepted", 9 * SECOND, |world| world.server(ix).sockets().next().is_some());
    let server = world.server_ends()[0];
    assert_eq!(until_closed(&mut world, [client, server])[1], twenty());
    assert!(world.closed(client).unwrap().clean);
}

#[test]
fn a_close_is_finished_over_later_links() {
    for bytes in 1..300 {
        for how in Break::ALL {
            let mut config = ServerConfig::default();
            config.socket.silence = SECOND;
            let (mut world, client, server) = World::pair_with(bytes, config.socket.clone(), config);
            let closer = if bytes % 2 == 0 { client } else { server };
            world.break_link_after(world.link_of(client).unwrap(), bytes, how);
            world.send(client, "from the client").unwrap();
            world.send(server, "from the server").unwrap();
            world.close(closer, 5, "closing");
            let [from_server, from_client] = until_closed(&mut world, [client, server]);
            let context = format!("{how:?} after {bytes} bytes");
            assert_eq!(from_server, ["from the server"], "{context}");
            assert_eq!(from_client, ["from the client"], "{context}");
            assert!(world.closed(client).unwrap().clean && world.closed(server).unwrap().clean, "{context}");
            let other = if closer == client { server } else { client };
            assert_eq!(world.closed(other).unwrap().remote, Some(CloseReason::app(5, "closing")), "{context}");
        }
    }
}

#[test]
fn the_last_answer_of_a_close_may_be_lost_too() {
    let mut config = ServerConfig::default();
    config.socket.silence = SECOND;
    for bytes in 1..200 {
        let (mut world, client, server) = World::pair_with(bytes, config.socket.clone(), config.clone());
        let End::Server(ix, _) = server else { panic!() };
        world.break_link_after(world.link_of(client).unwrap(), bytes, Break::Stall);
        world.close(client, 5, "closing");
        world.run_until("the server has closed", 30 * SECOND, |world| world.state(server) == State::Closed);
        world.remove(server);
        world.run_until("and the client", 30 * SECOND, |world| world.state(client) == State::Closed);
        assert!(world.closed(client).unwrap().clean, "a tombstone answers after {bytes} bytes");
        assert_eq!(world.server(ix).len(), 0);
    }
}

#[test]
fn an_end_that_nothing_drained_is_not_clean() {
    let (mut world, client, server) = World::pair(1);
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND / 2);
    world.send(server, "never arrives").unwrap();
    world.with(server, |socket, now| socket.abort(now, CloseReason::app(5, "")));
    world.conditions.dialling = Dialling::Works;
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_until("the tombstone has answered", SECOND / 2, |world| world.state(client) == State::Closed);
    let closed = world.closed(client).unwrap();
    assert_eq!(closed.remote.as_ref().map(|reason| reason.code), Some(Code::App(5)));
    assert!(!closed.clean, "what the server wrote has not arrived");
}

#[test]
fn a_close_that_cannot_be_finished_becomes_an_abort_at_its_deadline() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "never taken").unwrap();
    world.close(client, 1, "now");
    world.run_for(9 * SECOND);
    assert_ne!(world.state(client), State::Closed, "the server's application has not read");
    world.run_for(2 * SECOND);
    let closed = world.closed(client).unwrap();
    assert_eq!((closed.clean, closed.unconfirmed), (false, 1));
    let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
    assert_eq!((back[0].message.clone(), back[0].fate), ("never taken".into(), Fate::InDoubt));
    world.run_for(SECOND);
    assert_eq!(world.state(server), State::Closed);
}

#[test]
fn a_close_without_a_link_ends_at_its_deadline_and_hands_back() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    world.send(client, "unsent").unwrap();
    world.close(client, 1, "now");
    world.run_for(11 * SECOND);
    let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
    assert_eq!((back[0].message.clone(), back[0].fate), ("unsent".into(), Fate::Unsent));
}

#[test]
fn closing_the_server_closes_its_clients_in_well_under_a_second() {
    let mut world = World::new(1);
    let ix = world.serve(ADDRESS, ServerConfig::default());
    let clients: Vec<End> = (0..10).map(|_| world.connected(Config::default()).0).collect();
    world.command(ix, |server, now| server.close(now, CloseReason::app(9, "maintenance")));
    world.run_for(Duration::from_millis(50));
    for client in clients {
        let closed = world.closed(client).expect("closed");
        assert_eq!(closed.remote, Some(CloseReason::app(9, "maintenance")));
        assert!(closed.clean);
    }
    assert_eq!(world.server(ix).len(), 0);
    let late = world.client(Config::default());
    world.run_for(30 * SECOND);
    assert_ne!(world.state(late), State::Ready, "no new ones are taken");
}

#[test]
fn a_close_ends_at_once_when_there_is_nothing_to_wait_for() {
    // Nothing was written, and no server knows of it.
    let mut world = World::new(1);
    world.conditions.dialling = Dialling::Silent;
    let (idle, writer) = (world.client(Config::default()), world.client(Config::default()));
    world.send(writer, "on its way").unwrap();
    for end in [idle, writer] {
        world.close(end, 1, "bye");
    }
    assert_eq!((world.state(idle), world.state(writer)), (State::Closed, State::Connecting));
    assert!(world.closed(idle).unwrap().clean);

    // No link will come by itself.
    let mut config = Config::default();
    config.reconnect = false;
    let (mut world, client, _) = World::pair_with(1, config, ServerConfig::default());
    world.with(client, |socket, now| socket.disconnect(now));
    world.send(client, "never sent").unwrap();
    world.close(client, 1, "bye");
    assert_eq!(world.closed(client).map(|closed| (closed.clean, closed.unconfirmed)), Some((false, 1)));
}

#[test]
fn an_abort_before_the_handshakes_end_says_no_more() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    world.admit(server, Admission::Manual);
    world.start_tape();
    let client = world.client(Config::default());
    world.run_for(SECOND);
    let link = world.link_of(client).unwrap();
    world.with(client, |socket, now| socket.abort(now, CloseReason::app(6, "enough")));
    world.run_for(SECOND);
    let said = world.tape(link, Side::Server);
    assert_eq!(first_packet(said), said);
}

#[test]
fn readers_see_the_end_on_close() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "last").unwrap();
    world.close(client, 1, "bye");
    world.run_for(SECOND);
    assert!(world.recv(server).is_some());
    world.run_for(SECOND);
    assert_eq!(world.recv(server), Some(Received::Finished));
    assert_eq!((world.state(client), world.state(server)), (State::Closed, State::Closed));
}

#[test]
fn after_close_writes_are_refused_on_both_sides() {
    let (mut world, client, server) = World::pair(1);
    world.send(server, "unread, so that it stays open").unwrap();
    world.run_for(SECOND);
    world.close(client, 1, "bye");
    assert_eq!(world.send(client, "late").unwrap_err().kind, SendErrorKind::Closed);
    world.run_for(SECOND);
    assert_eq!(world.send(server, "late").unwrap_err().kind, SendErrorKind::Closed);
    assert_ne!(world.state(client), State::Closed);
    assert_eq!(until_closed(&mut world, [client, server])[0], ["unread, so that it stays open"]);
}

#[test]
fn finish_is_a_half_close() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "last").unwrap();
    world.with(client, |socket, now| socket.finish(now, LaneId::MAIN));
    assert_eq!(world.send(client, "late").unwrap_err().kind, SendErrorKind::Closed);
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["last", "(finished)"]);
    world.run_for(SECOND);
    assert!(world.events(client).contains(&Event::LaneFinished(LaneId::MAIN)));
    for text in twenty() {
        world.send(server, text).unwrap();
    }
    world.run_for(SECOND);
    let answers: Vec<String> = world.texts(client);
    assert_eq!(answers, twenty(), "the other direction goes on");
    assert_eq!(world.state(client), State::Ready);
}

#[test]
fn an_end_that_was_taken_while_there_was_no_link_is_told_after_the_resume() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "last").unwrap();
    world.with(client, |socket, now| socket.finish(now, LaneId::MAIN));
    world.run_for(SECOND);
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["last", "(finished)"]);
    assert!(!world.events(client).contains(&Event::LaneFinished(LaneId::MAIN)));
    world.conditions.dialling = Dialling::Works;
    world.run_for(20 * SECOND);
    assert!(world.events(client).contains(&Event::LaneFinished(LaneId::MAIN)));
}

#[test]
fn abort_returns_what_is_unconfirmed_and_tells_the_peer_at_once() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "taken").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["taken"]);
    world.run_for(SECOND);
    world.send(client, "sent").unwrap();
    world.run_for(Duration::from_millis(10));
    world.with(client, |socket, now| socket.disconnect(now));
    world.send(client, "unsent").unwrap();
    world.run_for(Duration::from_micros(10));
    world.with(client, |socket, now| socket.abort(now, CloseReason::app(6, "enough")));
    let closed = world.closed(client).unwrap();
    assert_eq!((closed.clean, closed.unconfirmed), (false, 2));
    let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
    let back: Vec<_> = back.iter().map(|item| (&item.message.payload[..], item.fate)).collect();
    assert_eq!(back, [(&b"sent"[..], Fate::InDoubt), (&b"unsent"[..], Fate::Unsent)]);

    let (mut world, client, server) = World::pair(2);
    world.with(server, |socket, now| socket.abort(now, CloseReason::app(6, "enough")));
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.closed(client).unwrap().remote, Some(CloseReason::app(6, "enough")));
}

#[test]
fn an_aborted_session_answers_its_returning_client_that_it_has_ended() {
    let (mut world, client, server) = World::pair(1);
    world.break_link(world.link_of(client).unwrap(), Break::Stall);
    world.with(server, |socket, now| socket.abort(now, CloseReason::app(6, "enough")));
    world.remove(server);
    world.run_for(60 * SECOND);
    let closed = world.closed(client).expect("closed");
    let code = closed.remote.as_ref().unwrap().code;
    assert!([Code::App(6), Code::Protocol(ProtocolCode::Ended)].contains(&code), "{code:?}");
}

#[test]
fn a_removed_live_socket_is_aborted() {
    let (mut world, client, server) = World::pair(1);
    world.remove(server);
    world.run_for(Duration::from_millis(5));
    let closed = world.closed(client).expect("its last words");
    assert_eq!(closed.remote.as_ref().map(|reason| reason.code), Some(Code::Protocol(ProtocolCode::Normal)));
    assert!(!world.exists(server));
}
