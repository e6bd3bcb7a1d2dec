//! Many idle sessions cost memory and nothing else.

use std::sync::Arc;
use std::time::Duration;

use steadfast::{
    Bytes, Config, Event, LaneId, LinkAction, LinkId, LinkKind, Message, Received, Server, ServerConfig, ServerEvent,
    Socket, SocketId, Time,
};

const SESSIONS: u64 = 100_000;
const SILENCE: Duration = Duration::from_secs(3600);

/// Carries what both have to say to each other over their link, which takes no time. Answers the server's events.
fn exchange(now: Time, link: LinkId, client: &mut Socket, server: &mut Server) -> Vec<(SocketId, Event)> {
    let mut events = Vec::new();
    loop {
        let mut quiet = true;
        while let Some(action) = client.poll_link_action() {
            quiet = false;
            if let LinkAction::Dial(_) = action {
                server.handle_link_up(now, link, LinkKind::Stream);
                client.handle_link_up(now, link, LinkKind::Stream);
            }
        }
        while let Some(action) = server.poll_link_action() {
            quiet = false;
            assert_eq!(action, LinkAction::Flush(link), "only this link has anything to do");
        }
        while let Some(bytes) = client.poll_transmit(now, link) {
            quiet = false;
            bytes.segments().iter().for_each(|segment| server.handle_bytes(now, link, segment.clone()));
        }
        while let Some(bytes) = server.poll_transmit(now, link) {
            quiet = false;
            bytes.segments().iter().for_each(|segment| client.handle_bytes(now, link, segment.clone()));
        }
        while let Some(event) = server.poll_event() {
            quiet = false;
            match event {
                ServerEvent::Open(request) => drop(server.accept(now, request.id).expect("it waits")),
                ServerEvent::Socket(id, event) => events.push((id, event)),
                other => panic!("{other:?}"),
            }
        }
        while client.poll_event().is_some() {}
        if quiet {
            return events;
        }
    }
}

#[test]
fn a_hundred_thousand_idle_sessions_cost_no_scanning() {
    let mut config = ServerConfig::default();
    config.socket.silence = SILENCE;
    config.max_sockets = SESSIONS as usize;
    let mut client_config = Config::default();
    client_config.silence = SILENCE;
    let client_config = Arc::new(client_config);
    let mut now = Time::ZERO;
    let mut server = Server::new(Arc::new(config), [1; 32], now).expect("a good configuration");
    let mut speaker = None;
    for number in 0..SESSIONS {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let mut client = Socket::new(client_config.clone(), vec!["server".into()], Bytes::new(), seed, now)
            .expect("a good configuration");
        client.connect(now);
        exchange(now, LinkId(number), &mut client, &mut server);
        speaker = speaker.or(Some(client));
    }
    assert_eq!(server.len(), SESSIONS as usize);

    // Nobody has anything to do before the first keep-alive, a third of the tolerated silence away.
    let due = server.poll_timeout().expect("keep-alives").at;
    assert_eq!(due, now + SILENCE / 3);
    now = now + Duration::from_secs(600);
    server.handle_timeout(now);
    assert!(server.poll_link_action().is_none() && server.poll_event().is_none());
    assert_eq!(server.poll_timeout().map(|deadline| deadline.at), Some(due));

    // One client speaks: only its socket and its link are heard of.
    let mut client = speaker.expect("the first client");
    for number in 0..1000 {
        client.send(now, LaneId::MAIN, Message::new(number.to_string())).expect("room");
        let events = exchange(now, LinkId(0), &mut client, &mut server);
        let [(id, Event::Readable(lane))] = events[..] else { panic!("{events:?}") };
        let received = server.socket_mut(id).and_then(|socket| socket.recv(now, lane));
        assert_eq!(received, Some(Received::Message(Message::new(number.to_string()))));
    }
}
