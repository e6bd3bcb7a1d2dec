//! Asks and replies.

use std::time::Duration;

use steadfast::{
    AskError, AskId, AskRef, CloseReason, Config, Event, Fate, LaneId, LaneOptions, Message, OnLoss, Received, Reply,
    SendErrorKind, ServerConfig,
};
use steadfast_sim::{ADDRESS, Break, End, World};

const SECOND: Duration = Duration::from_secs(1);

fn ask(world: &mut World, end: End, text: &'static str, timeout: Option<Duration>) -> AskId {
    world.with(end, |socket, now| socket.ask(now, LaneId::MAIN, text.into(), timeout)).expect("accepted")
}

/// Runs a moment and takes an ask.
fn take_ask(world: &mut World, end: End) -> (AskRef, Message) {
    world.run_for(SECOND);
    match world.recv(end) {
        Some(Received::Ask(reference, message)) => (reference, message),
        other => panic!("{other:?} instead of an ask"),
    }
}

fn reply(world: &mut World, end: End, ask: AskRef, text: &'static str, more: bool) {
    world.with(end, |socket, now| socket.reply(now, ask, text.into(), more)).expect("accepted");
}

/// Runs a moment and takes all that an ask has.
fn replies(world: &mut World, end: End, ask: AskId) -> Vec<Reply> {
    world.run_for(SECOND);
    let mut replies = Vec::new();
    while let Some(reply) = world.with(end, |socket, now| socket.recv_reply(now, ask)) {
        replies.push(reply);
    }
    replies
}

fn answer(text: &'static str, more: bool) -> Reply {
    Reply::Answer { message: text.into(), more }
}

#[test]
fn asks_are_answered_in_both_directions() {
    let (mut world, client, server) = World::pair(1);
    for (asker, handler) in [(client, server), (server, client)] {
        let question = ask(&mut world, asker, "question", None);
        let (reference, message) = take_ask(&mut world, handler);
        assert_eq!(message, Message::new("question"));
        reply(&mut world, handler, reference, "answer", false);
        assert_eq!(replies(&mut world, asker, question), [answer("answer", false)]);
        assert_eq!(replies(&mut world, asker, question), []);
    }
}

#[test]
fn many_replies_to_one_ask_come_in_order_through_cuts() {
    let (mut world, client, server) = World::pair(1);
    let question = ask(&mut world, client, "all of them", None);
    let (reference, _) = take_ask(&mut world, server);
    let mut seen = Vec::new();
    for number in 0..200 {
        let text = format!("{number}");
        let more = number < 199;
        world.with(server, |socket, now| socket.reply(now, reference, text.clone().into(), more)).unwrap();
        if number % 20 == 7 {
            if let Some(link) = world.link_of(client) {
                world.break_link(link, Break::Reset);
            }
            seen.extend(replies(&mut world, client, question));
        }
    }
    seen.extend(replies(&mut world, client, question));
    let expected: Vec<Reply> =
        (0..200).map(|number| Reply::Answer { message: format!("{number}").into(), more: number < 199 }).collect();
    assert_eq!(seen, expected);
}

#[test]
fn all_sockets_of_a_server_are_asked_and_every_answer_comes() {
    let mut world = World::new(1);
    world.serve(ADDRESS, ServerConfig::default());
    let pairs: Vec<(End, End)> = (0..5).map(|_| world.connected(Config::default())).collect();
    let asks: Vec<(End, AskId)> =
        world.server_ends().into_iter().map(|end| (end, ask(&mut world, end, "who", None))).collect();
    for (client, _) in &pairs {
        let (reference, _) = take_ask(&mut world, *client);
        reply(&mut world, *client, reference, "me", false);
    }
    for (end, question) in asks {
        assert_eq!(replies(&mut world, end, question), [answer("me", false)]);
    }
}

#[test]
fn an_ask_that_nobody_answers_times_out_and_a_late_answer_is_dropped() {
    let (mut world, client, server) = World::pair(1);
    let question = ask(&mut world, client, "anybody", Some(5 * SECOND));
    let (reference, _) = take_ask(&mut world, server);
    assert!(world.socket(server).is_ask_open(reference));
    world.run_for(4 * SECOND - Duration::from_millis(10));
    assert!(!world.events(client).contains(&Event::ReplyReadable(question)), "not before its time");
    world.run_for(Duration::from_millis(20));
    assert!(world.events(client).contains(&Event::ReplyReadable(question)));
    assert_eq!(replies(&mut world, client, question), [Reply::Failed(AskError::TimedOut)]);
    assert!(!world.socket(server).is_ask_open(reference), "the handler's side knows");
    assert!(world.with(server, |socket, now| socket.reply(now, reference, "late".into(), false)).is_err());
    assert_eq!(replies(&mut world, client, question), []);
}

#[test]
fn an_ask_times_out_while_there_is_no_server_and_is_never_handled() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    let question = ask(&mut world, client, "anybody", Some(SECOND));
    assert_eq!(replies(&mut world, client, question), [Reply::Failed(AskError::TimedOut)]);
    world.serve(ADDRESS, ServerConfig::default());
    let server = world.wait_for_peer(client, 20 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.recv(server), None);
}

#[test]
fn the_answer_to_a_cancelled_ask_is_dropped() {
    let (mut world, client, server) = World::pair(1);
    let question = ask(&mut world, client, "never mind", None);
    let (reference, _) = take_ask(&mut world, server);
    reply(&mut world, server, reference, "crossing", false);
    world.with(client, |socket, now| socket.cancel_ask(now, question));
    assert_eq!(replies(&mut world, client, question), [Reply::Failed(AskError::Cancelled)]);
    assert_eq!(replies(&mut world, client, question), []);
    // The dropped answer holds nothing up.
    world.send(server, "next").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(client), ["next"]);
    assert!(
        world.socket(server).is_confirmed(LaneId::MAIN) || {
            world.run_for(SECOND);
            true
        }
    );
    assert!(world.socket(server).is_confirmed(LaneId::MAIN));
}

#[test]
fn answers_that_nobody_has_taken_are_dropped_with_their_ask_and_count_as_taken() {
    let (mut world, client, server) = World::pair(1);
    let question = ask(&mut world, client, "question", None);
    let (reference, _) = take_ask(&mut world, server);
    for text in ["one", "two", "three"] {
        reply(&mut world, server, reference, text, true);
    }
    world.run_for(SECOND);
    assert!(!world.socket(server).is_confirmed(LaneId::MAIN), "nobody has taken them");
    assert!(world.socket(client).stats().recv_queue_bytes > 0);
    world.events(client);
    world.with(client, |socket, now| socket.cancel_ask(now, question));
    assert_eq!(replies(&mut world, client, question), [Reply::Failed(AskError::Cancelled)]);
    assert!(world.socket(server).is_confirmed(LaneId::MAIN));
    assert_eq!(world.socket(client).stats().recv_queue_bytes, 0);
    let refused = world.with(server, |socket, now| socket.reply(now, reference, "late".into(), false)).unwrap_err();
    assert_eq!(refused.kind, SendErrorKind::Misuse("the ask is not open any more"));
    world.send(server, "on").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(client), ["on"]);
}

#[test]
fn an_ask_can_be_refused_or_dropped() {
    let (mut world, client, server) = World::pair(1);
    let refused = ask(&mut world, client, "may I", None);
    let (reference, _) = take_ask(&mut world, server);
    world.with(server, |socket, now| socket.refuse(now, reference, 403, "you may not")).unwrap();
    let expected = Reply::Failed(AskError::Refused(CloseReason::app(403, "you may not")));
    assert_eq!(replies(&mut world, client, refused), [expected]);
    let dropped = ask(&mut world, client, "hello", None);
    let (reference, _) = take_ask(&mut world, server);
    world.with(server, |socket, now| socket.drop_ask(now, reference));
    assert_eq!(replies(&mut world, client, dropped), [Reply::Failed(AskError::NoReply)]);
    let unfinished = ask(&mut world, client, "tell me more", None);
    let (reference, _) = take_ask(&mut world, server);
    reply(&mut world, server, reference, "once", true);
    world.with(server, |socket, now| socket.drop_ask(now, reference));
    let all = replies(&mut world, client, unfinished);
    assert_eq!(all, [answer("once", true), Reply::Failed(AskError::NoReply)]);
}

#[test]
fn a_finished_lane_ends_the_asks_on_it() {
    let (mut world, client, server) = World::pair(1);
    let question = ask(&mut world, client, "hello", None);
    let (reference, _) = take_ask(&mut world, server);
    world.with(server, |socket, now| socket.finish(now, LaneId::MAIN));
    let late = world.with(server, |socket, now| socket.reply(now, reference, "late".into(), false)).unwrap_err();
    assert_eq!(late.kind, SendErrorKind::Closed);
    assert_eq!(replies(&mut world, client, question), [Reply::Failed(AskError::NoReply)]);
}

#[test]
fn an_ask_that_nobody_has_taken_ends_with_the_lane_too() {
    let (mut world, client, server) = World::pair(1);
    let question = ask(&mut world, client, "hello", None);
    world.run_for(SECOND);
    world.with(server, |socket, now| socket.finish(now, LaneId::MAIN));
    assert_eq!(replies(&mut world, client, question), [Reply::Failed(AskError::NoReply)]);
}

#[test]
fn on_a_lane_that_the_peer_has_finished_an_ask_is_not_sent_and_gets_no_answer() {
    let (mut world, client, server) = World::pair(1);
    // The first has room made for it; the others wait for their credit, and the ask behind them.
    for _ in 0..3 {
        world.send(client, vec![b'x'; 10_000_000]).unwrap();
    }
    let waits = ask(&mut world, client, "before the end", None);
    world.run_for(SECOND);
    world.with(server, |socket, now| socket.finish(now, LaneId::MAIN));
    assert_eq!(replies(&mut world, client, waits), [Reply::Failed(AskError::NoReply)]);
    let late = ask(&mut world, client, "behind the end", None);
    assert_eq!(replies(&mut world, client, late), [Reply::Failed(AskError::NoReply)]);
    world.send(client, "last").unwrap();
    let mut read = Vec::new();
    for _ in 0..4 {
        read.extend(world.texts(server));
        world.run_for(SECOND);
    }
    assert_eq!(read.len(), 4);
    assert_eq!(read[3], "last");
}

#[test]
fn answers_that_wait_for_room_come_as_the_ones_before_them_are_taken_or_dropped() {
    for drop_others in [false, true] {
        let (mut world, client, server) = World::pair(1);
        let [first, second] = ["first", "second"].map(|text| {
            let question = ask(&mut world, client, text, None);
            (question, take_ask(&mut world, server).0)
        });
        for number in 0..3_000 {
            reply(&mut world, server, first.1, "of many", number < 2_999);
        }
        reply(&mut world, server, second.1, "behind them", false);
        world.run_for(SECOND);
        world.events(client);
        if drop_others {
            world.with(client, |socket, now| socket.cancel_ask(now, first.0));
        } else {
            let mut taken = 0;
            while world.with(client, |socket, now| socket.recv_reply(now, first.0)).is_some() {
                taken += 1;
            }
            assert_eq!(taken, 3_000);
        }
        assert!(world.events(client).contains(&Event::ReplyReadable(second.0)));
        let answered = world.with(client, |socket, now| socket.recv_reply(now, second.0));
        assert_eq!(answered, Some(answer("behind them", false)));
    }
}

#[test]
fn an_ask_that_is_cancelled_before_it_is_taken_is_passed_over() {
    let (mut world, client, server) = World::pair(1);
    let question = ask(&mut world, client, "never mind", None);
    world.send(client, "next").unwrap();
    world.run_for(SECOND);
    world.with(client, |socket, now| socket.cancel_ask(now, question));
    world.run_for(SECOND);
    assert_eq!(world.recv(server), Some(Received::Message("next".into())));
}

#[test]
fn on_a_discarded_lane_messages_are_taken_as_they_arrive_and_asks_end() {
    let (mut world, client, server) = World::pair(1);
    let taken = ask(&mut world, client, "taken", None);
    take_ask(&mut world, server);
    let unread = ask(&mut world, client, "unread", None);
    world.send(client, "before").unwrap();
    world.run_for(SECOND);
    world.with(server, |socket, now| socket.discard(now, LaneId::MAIN));
    world.send(client, "after").unwrap();
    let late = ask(&mut world, client, "late", None);
    for question in [taken, unread, late] {
        assert_eq!(replies(&mut world, client, question), [Reply::Failed(AskError::NoReply)]);
    }
    assert_eq!(world.recv(server), None);
    assert!(world.socket(client).is_confirmed(LaneId::MAIN));
    assert_eq!(world.socket(server).stats().recv_queue_bytes, 0);
    world.with(client, |socket, now| socket.finish(now, LaneId::MAIN));
    world.run_for(SECOND);
    assert_eq!(world.recv(server), Some(Received::Finished));
}

#[test]
fn a_handler_sees_an_ask_once_however_often_the_link_breaks() {
    for bytes in 1..400 {
        let (mut world, client, server) = World::pair(bytes);
        let link = world.link_of(client).unwrap();
        let how = Break::ALL[bytes as usize % 4];
        world.break_link_after(link, bytes, how);
        let question = ask(&mut world, client, "once?", None);
        world.run_for(60 * SECOND);
        let Some(Received::Ask(reference, _)) = world.recv(server) else { panic!("{how:?} after {bytes} bytes") };
        if let Some(link) = world.link_of(client) {
            world.break_link_after(link, bytes, how);
        }
        reply(&mut world, server, reference, "once!", false);
        world.run_for(60 * SECOND);
        assert_eq!(world.recv(server), None, "{how:?} after {bytes} bytes");
        assert_eq!(replies(&mut world, client, question), [answer("once!", false)], "{how:?} after {bytes} bytes");
    }
}

#[test]
fn the_order_of_messages_and_asks_on_a_lane_is_kept() {
    let (mut world, client, server) = World::pair(1);
    for number in 0..10 {
        world.send(client, format!("message {number}")).unwrap();
        let text = format!("ask {number}");
        world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, text.clone().into(), None)).unwrap();
    }
    world.break_link_after(world.link_of(client).unwrap(), 70, Break::Reset);
    world.run_for(SECOND);
    let expected: Vec<String> = (0..10).flat_map(|n| [format!("message {n}"), format!("ask {n}")]).collect();
    assert_eq!(world.texts(server), expected);
}

#[test]
fn answers_overtake_unread_messages() {
    let (mut world, client, server) = World::pair(1);
    let question = ask(&mut world, client, "quick", None);
    let (reference, _) = take_ask(&mut world, server);
    for _ in 0..10 {
        world.send(server, "unread").unwrap();
    }
    reply(&mut world, server, reference, "quick", false);
    assert_eq!(replies(&mut world, client, question), [answer("quick", false)]);
    assert_eq!(world.texts(client).len(), 10);
}

#[test]
fn an_ask_on_a_lane_is_answered_on_that_lane() {
    let (mut world, client, server) = World::pair(1);
    let lane = world.with(client, |socket, now| socket.open_lane(now, LaneOptions::default())).unwrap();
    let question = world.with(client, |socket, now| socket.ask(now, lane, "here".into(), None)).unwrap();
    world.run_for(SECOND);
    assert_eq!(world.recv(server), None);
    let theirs = world.socket(server).lanes().last().unwrap();
    let Some(Received::Ask(reference, _)) = world.with(server, |socket, now| socket.recv(now, theirs)) else {
        panic!("no ask")
    };
    assert_eq!(reference.lane().number(), lane.number());
    reply(&mut world, server, reference, "there", false);
    assert_eq!(replies(&mut world, client, question), [answer("there", false)]);
}

#[test]
fn too_many_open_asks_are_refused_and_the_others_are_served() {
    let mut config = ServerConfig::default();
    config.socket.max_open_asks = 3;
    let (mut world, client, server) = World::pair_with(1, Config::default(), config);
    let asks: Vec<AskId> = (0..5).map(|_| ask(&mut world, client, "me", None)).collect();
    world.run_for(SECOND);
    let mut taken = Vec::new();
    while let Some(Received::Ask(reference, _)) = world.recv(server) {
        taken.push(reference);
    }
    assert_eq!(taken.len(), 3);
    for reference in taken {
        reply(&mut world, server, reference, "served", false);
    }
    for (number, question) in asks.into_iter().enumerate() {
        match &replies(&mut world, client, question)[..] {
            [Reply::Answer { .. }] if number < 3 => {}
            [Reply::Failed(AskError::Refused(_))] if number >= 3 => {}
            other => panic!("ask {number}: {other:?}"),
        }
    }
}

#[test]
fn asks_of_a_lost_session_take_no_place_in_the_next() {
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    config.max_open_asks = 1;
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    let (client, end) = world.connected(config);
    ask(&mut world, end, "old", None);
    let (old, _) = take_ask(&mut world, client);
    world.stop(server, Break::Reset);
    world.serve(ADDRESS, ServerConfig::default());
    world.run_for(20 * SECOND);
    world.with(client, |socket, now| socket.take_unconfirmed(now));
    let end = world.wait_for_peer(client, 20 * SECOND);
    ask(&mut world, end, "new", None);
    let (new, _) = take_ask(&mut world, client);
    assert!(world.socket(client).is_ask_open(new) && !world.socket(client).is_ask_open(old));
}

#[test]
fn a_lost_session_tells_whether_an_ask_was_sent() {
    let mut world = World::new(1);
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    let server = world.serve(ADDRESS, ServerConfig::default());
    let (client, end) = world.connected(config);
    let sent = ask(&mut world, client, "sent", None);
    take_ask(&mut world, end);
    // What fits into the window leaves; the rest waits for its credit.
    world.send(client, vec![0; 1_000_000]).unwrap();
    world.run_for(Duration::from_millis(20));
    world.stop(server, Break::Reset);
    world.run_for(Duration::from_millis(20));
    let unsent = ask(&mut world, client, "unsent", None);
    world.send(client, "unsent, too").unwrap();
    world.serve(ADDRESS, ServerConfig::default());
    world.run_for(20 * SECOND);
    assert_eq!(replies(&mut world, client, sent), [Reply::Failed(AskError::InDoubt)]);
    assert_eq!(replies(&mut world, client, unsent), [Reply::Failed(AskError::Unsent)]);
    let unconfirmed = world.with(client, |socket, now| socket.take_unconfirmed(now));
    let fates: Vec<Fate> = unconfirmed.iter().map(|item| item.fate).collect();
    assert_eq!(fates, [Fate::InDoubt, Fate::Unsent], "asks end by themselves");
}
