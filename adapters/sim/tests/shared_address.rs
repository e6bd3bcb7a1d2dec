//! Clients that follow one another at one address of datagrams.

use std::time::Duration;

use steadfast::{CloseReason, Config, LinkId, LinkKind, Server, ServerConfig, ServerEvent, Socket, State, Time};

const MILLISECOND: Duration = Duration::from_millis(1);

/// One client's end, and its link.
struct Side(Socket, LinkId);

const HERE: LinkId = LinkId(1);
const MTU: LinkKind = LinkKind::Datagram { mtu: 1200 };

/// Carries datagrams of two clients at one address to and fro.
fn pump(server: &mut Server, clients: &mut [Side], now: Time) {
    for _ in 0..50 {
        for Side(client, link) in clients.iter_mut() {
            while client.poll_link_action().is_some() {}
            while let Some(transmit) = client.poll_transmit(now, *link) {
                server.handle_bytes(now, HERE, transmit.segments().concat());
            }
        }
        while server.poll_link_action().is_some() {}
        while let Some(event) = server.poll_event() {
            if let ServerEvent::Open(open) = event {
                server.accept(now, open.id).unwrap();
            }
        }
        while let Some(transmit) = server.poll_transmit(now, HERE) {
            for Side(client, link) in clients.iter_mut() {
                client.handle_bytes(now, *link, transmit.segments().concat());
            }
        }
    }
}

#[test]
fn a_socket_that_was_aborted_does_not_hang_up_the_link_that_another_one_has_taken_since() {
    let mut now = Time::from_millis(1000);
    let mut server = Server::new(ServerConfig::default().into(), [9; 32], now).unwrap();
    let client = |seed: u8, link| {
        let mut socket = Socket::new(Config::default().into(), vec!["a".into()], Default::default(), [seed; 32], now);
        socket.as_mut().unwrap().connect(now);
        Side(socket.unwrap(), link)
    };
    server.handle_link_from(now, HERE, MTU, b"here");
    let mut clients = [client(1, LinkId(10)), client(2, LinkId(20))];
    clients[0].0.handle_link_up(now, LinkId(10), MTU);
    pump(&mut server, &mut clients, now);
    assert_eq!(clients[0].0.state(), State::Ready);
    // The second one has its cookie, and its HELLO comes just when the application has aborted the first one.
    clients[1].0.handle_link_up(now, LinkId(20), MTU);
    let hello = clients[1].0.poll_transmit(now, LinkId(20)).unwrap().segments().concat();
    server.handle_bytes(now, HERE, hello);
    while server.poll_link_action().is_some() {}
    let cookie = server.poll_transmit(now, HERE).unwrap().segments().concat();
    clients[1].0.handle_bytes(now, LinkId(20), cookie);
    let hello = clients[1].0.poll_transmit(now, LinkId(20)).unwrap().segments().concat();
    server.handle_bytes(now, HERE, hello);
    let open = loop {
        if let Some(ServerEvent::Open(open)) = server.poll_event() {
            break open;
        }
    };
    let first = server.sockets().next().unwrap();
    server.socket_mut(first).unwrap().abort(now, CloseReason::app(1, ""));
    let second = server.accept(now, open.id).unwrap();
    for _ in 0..20 {
        now = now + 100 * MILLISECOND;
        clients.iter_mut().for_each(|Side(client, _)| client.handle_timeout(now));
        server.handle_timeout(now);
        pump(&mut server, &mut clients, now);
    }
    assert_eq!(server.socket(second).unwrap().state(), State::Ready);
    assert_eq!(clients[1].0.state(), State::Ready);
}
