//! What only those can send who know the session: packets made by hand.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::carried::{Carried, LaneBytes};
use super::{AMPLIFICATION, LEAST_ROOM, Path};
use crate::code::CloseReason;
use crate::config::Config;
use crate::ids::{LaneId, LinkId, LinkKind};
use crate::link::LinkAction;
use crate::message::{Message, Received, SendOptions};
use crate::recovery::{Asks, Fate, MAX_ACK_RANGES};
use crate::server::{Server, ServerEvent, SocketId};
use crate::socket::{Socket, State};
use crate::time::Time;
use crate::wire::{Datagram, DatagramFrame, Frame, seal, write_short_header};

const LINK: LinkId = LinkId(1);

/// A client and a server on one link that loses nothing, without time.
struct Pair {
    now: Time,
    client: Socket,
    server: Server,
    socket: SocketId,
}

impl Pair {
    fn new() -> Pair {
        let now = Time::from_millis(1);
        let mut client = Socket::new(Arc::default(), vec!["server".into()], Bytes::new(), [1; 32], now).unwrap();
        client.connect(now);
        let mut pair =
            Pair { now, client, server: Server::new(Arc::default(), [2; 32], now).unwrap(), socket: SocketId(0) };
        let kind = LinkKind::Datagram { mtu: 1200 };
        pair.client.handle_link_up(now, LINK, kind);
        pair.server.handle_link_up(now, LINK, kind);
        pair.exchange();
        assert_eq!(pair.client.state(), State::Ready);
        pair
    }

    fn exchange(&mut self) {
        loop {
            let mut busy = false;
            while let Some(datagram) = self.client.poll_transmit(self.now, LINK) {
                self.server.handle_bytes(self.now, LINK, datagram.segments().concat());
                busy = true;
            }
            while let Some(datagram) = self.server.poll_transmit(self.now, LINK) {
                self.client.handle_bytes(self.now, LINK, datagram.segments().concat());
                busy = true;
            }
            while let Some(event) = self.server.poll_event() {
                if let ServerEvent::Open(request) = event {
                    self.socket = self.server.accept(self.now, request.id).unwrap();
                    busy = true;
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn server_socket(&self) -> Socket {
        self.server.socket(self.socket).unwrap().into_owned()
    }

    /// A packet to the server with the right connection id.
    fn forged(&self, number: u64, write: impl Fn(&mut BytesMut)) -> Bytes {
        let link = self.client.link.as_ref().unwrap();
        let ids = link.datagram.as_ref().unwrap().ids.unwrap();
        let mut bytes = BytesMut::new();
        write_short_header(ids.send, number, false, &mut bytes);
        write(&mut bytes);
        seal(&mut bytes);
        bytes.freeze()
    }

    fn send_forged(&mut self, number: u64, write: impl Fn(&mut BytesMut)) {
        let bytes = self.forged(number, write);
        self.server.handle_bytes(self.now, LINK, bytes);
    }

    /// What the server has acknowledged of late.
    fn received(&self) -> Vec<Range<u64>> {
        let socket = self.server_socket();
        let link = socket.link.as_ref().unwrap();
        link.datagram.as_ref().unwrap().arrivals.ranges().collect()
    }
}

fn ping(out: &mut BytesMut) {
    Frame::Ping(7).encode(out);
}

/// All that the client has to send now.
fn flight(client: &mut Socket, now: Time, link: LinkId) -> Vec<Bytes> {
    while client.poll_link_action().is_some() || client.poll_event().is_some() {}
    core::iter::from_fn(|| client.poll_transmit(now, link))
        .map(|datagram| datagram.segments().concat().into())
        .collect()
}

/// What a datagram of the short form carries.
fn frames(datagram: &Bytes) -> Vec<DatagramFrame> {
    let Some(Datagram::Short(packet)) = Datagram::decode(datagram) else { return Vec::new() };
    let mut rest = packet.frames;
    core::iter::from_fn(|| DatagramFrame::decode(&mut rest).unwrap()).collect()
}

#[test]
fn a_packet_number_far_ahead_is_dropped() {
    let mut pair = Pair::new();
    let next = pair.received()[0].end;
    pair.send_forged(next + (1 << 16), ping);
    assert_eq!(pair.received()[0].end, next);
    pair.send_forged(next + (1 << 16) - 1, ping);
    assert_eq!(pair.received()[0].end, next + (1 << 16));
}

#[test]
fn a_violation_drops_its_datagram_and_many_in_a_row_the_link() {
    let mut pair = Pair::new();
    for number in 0..7 {
        let before = pair.received();
        match number % 3 {
            0 => pair.send_forged(100 + number, |out| {
                Frame::Data { lane: 0, offset: 1 << 40, payload: "x".into() }.encode(out)
            }),
            1 => pair.send_forged(100 + number, |out| out.extend_from_slice(&[0x20])),
            _ => pair.send_forged(100 + number, |out| {
                DatagramFrame::encode_ack(Duration::ZERO, core::iter::once(900..901), out);
            }),
        }
        assert_eq!((pair.received(), pair.server_socket().state()), (before, State::Ready), "after {number}");
    }
    pair.send_forged(200, |out| out.extend_from_slice(&[0x20]));
    assert_eq!(pair.server_socket().state(), State::Disconnected);
}

#[test]
fn progress_lets_violations_be_forgotten() {
    let mut pair = Pair::new();
    for number in 0..20_u64 {
        pair.send_forged(100 + 2 * number, |out| out.extend_from_slice(&[0x20]));
        let lane_bytes = Bytes::from_static(b"\x02x");
        pair.send_forged(101 + 2 * number, |out| {
            Frame::Data { lane: 0, offset: 2 * number, payload: lane_bytes.clone() }.encode(out);
        });
    }
    assert_eq!(pair.server_socket().state(), State::Ready);
}

#[test]
fn packets_of_a_former_epoch_are_dropped() {
    let mut pair = Pair::new();
    let former = pair.forged(5, ping);
    pair.client.reconnect_now(pair.now);
    let kind = LinkKind::Datagram { mtu: 1200 };
    pair.client.handle_link_up(pair.now, LinkId(2), kind);
    // The same address, and so the same link of the server.
    while let Some(datagram) = pair.client.poll_transmit(pair.now, LinkId(2)) {
        pair.server.handle_bytes(pair.now, LINK, datagram.segments().concat());
    }
    assert_eq!(pair.server_socket().stats().resumes, 1);
    while let Some(action) = pair.server.poll_link_action() {
        assert!(matches!(action, LinkAction::Flush(_)), "{action:?}");
    }
    let before = pair.server_socket().snapshot(pair.now);
    pair.server.handle_bytes(pair.now, LINK, former);
    assert_eq!(pair.server_socket().snapshot(pair.now), before);
}

#[test]
fn a_snapshot_on_another_clock_goes_on_alike() {
    let mut pair = Pair::new();
    for number in 0..100_u8 {
        pair.client.send(pair.now, LaneId::MAIN, Message::new(vec![number; 500])).unwrap();
    }
    let later = pair.now + Duration::from_secs(5);
    let mut copy = Socket::restore(pair.client.snapshot(pair.now), Arc::new(Config::default()), Time::from_millis(7));
    let offset = |now: Time| Time::from_millis(7) + now.since(pair.now);
    let mut now = pair.now;
    while now < later {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        while let Some(datagram) = pair.client.poll_transmit(now, LINK) {
            one.push(datagram.segments().concat());
        }
        while let Some(datagram) = copy.poll_transmit(offset(now), LINK) {
            two.push(datagram.segments().concat());
        }
        assert_eq!(one, two);
        now = now + Duration::from_millis(1);
        pair.client.handle_timeout(now);
        copy.handle_timeout(offset(now));
    }
    let bytes = postcard::to_allocvec(&pair.client.snapshot(now)).unwrap();
    assert_eq!(postcard::from_bytes::<crate::socket::Snapshot>(&bytes).unwrap(), pair.client.snapshot(now));
}

#[test]
fn a_hello_on_a_link_that_the_socket_has_just_left_does_not_bring_it_back() {
    let mut pair = Pair::new();
    pair.client.reconnect_now(pair.now);
    pair.client.handle_link_up(pair.now, LinkId(2), LinkKind::Datagram { mtu: 1200 });
    while pair.server.poll_link_action().is_some() {}
    pair.server.socket_mut(pair.socket).unwrap().disconnect(pair.now);
    // The same address, and so the same link of the server.
    while let Some(datagram) = pair.client.poll_transmit(pair.now, LinkId(2)) {
        pair.server.handle_bytes(pair.now, LINK, datagram.segments().concat());
    }
    assert_eq!(pair.server.poll_link_action(), Some(LinkAction::HangUp(LINK)));
    assert_eq!(pair.server.poll_link_action(), None);
    assert_eq!(pair.server_socket().state(), State::Disconnected);
}

/// Time alone lets what is paced leave, and whoever sends when it has come needs no timer's help.
#[test]
fn what_was_sent_while_the_pacer_kept_all_back_is_flushed_with_what_is_sent_later() {
    let mut pair = Pair::new();
    let send = |socket: &mut Socket, now| socket.send(now, LaneId::MAIN, Message::new(vec![1; 500])).unwrap();
    (0..10).for_each(|_| send(&mut pair.client, pair.now));
    while pair.client.poll_transmit(pair.now, LINK).is_some() {}
    while pair.client.poll_link_action().is_some() {}
    while pair.client.poll_event().is_some() {}
    send(&mut pair.client, pair.now);
    assert_eq!(pair.client.poll_link_action(), None);
    let later = pair.client.poll_timeout().unwrap().at;
    assert!(later > pair.now);
    let mut copy = Socket::restore(pair.client.snapshot(pair.now), Arc::new(Config::default()), pair.now);
    for socket in [&mut pair.client, &mut copy] {
        send(socket, later);
        assert_eq!(socket.poll_link_action(), Some(LinkAction::Flush(LINK)));
    }
}

#[test]
fn a_message_in_one_datagram_is_not_kept_with_its_buffer_when_that_is_much_larger() {
    let mut pair = Pair::new();
    pair.client.send(pair.now, LaneId::MAIN, Message::new("small")).unwrap();
    let datagram = pair.client.poll_transmit(pair.now, LINK).unwrap().segments().concat();
    assert!(matches!(Datagram::decode(&datagram.clone().into()), Some(Datagram::Short(_))));
    let mut large = Vec::with_capacity(1 << 16);
    large.extend_from_slice(&datagram);
    pair.server.handle_bytes(pair.now, LINK, large);
    let now = pair.now;
    let received = pair.server.socket_mut(pair.socket).unwrap().recv(now, LaneId::MAIN);
    assert_eq!(received, Some(Received::Message(Message::new("small"))));
}

#[test]
fn a_response_to_another_challenge_proves_no_path() {
    let mut pair = Pair::new();
    let (kind, there) = (LinkKind::Datagram { mtu: 1200 }, LinkId(2));
    pair.client.reconnect_now(pair.now);
    pair.client.handle_link_up(pair.now, there, kind);
    pair.server.handle_link_up(pair.now, there, kind);
    let hello = pair.client.poll_transmit(pair.now, there).unwrap().segments().concat();
    pair.server.handle_bytes(pair.now, there, hello);
    let proven = |pair: &Pair| pair.server_socket().link.unwrap().datagram.unwrap().path.is_none();
    assert!(!proven(&pair));
    let mut told = Vec::new();
    while let Some(datagram) = pair.server.poll_transmit(pair.now, there) {
        told.push(datagram.segments().concat());
    }
    let forged = pair.forged(50, |out| DatagramFrame::encode_response(&[9; 8], out));
    pair.server.handle_bytes(pair.now, there, forged);
    assert!(!proven(&pair));
    told.into_iter().for_each(|datagram| pair.client.handle_bytes(pair.now, there, datagram));
    while let Some(datagram) = pair.client.poll_transmit(pair.now, there) {
        pair.server.handle_bytes(pair.now, there, datagram.segments().concat());
    }
    assert!(proven(&pair));
}

#[test]
fn a_hello_that_was_repeated_measures_no_round_trip() {
    for repeated in [false, true] {
        let mut pair = Pair::new();
        pair.client.reconnect_now(pair.now);
        pair.client.handle_link_up(pair.now, LINK, LinkKind::Datagram { mtu: 1200 });
        let mut hello = pair.client.poll_transmit(pair.now, LINK).unwrap().segments().concat();
        pair.now = pair.now + Duration::from_secs(1);
        if repeated {
            pair.client.handle_timeout(pair.now);
            hello = pair.client.poll_transmit(pair.now, LINK).unwrap().segments().concat();
        }
        pair.server.handle_bytes(pair.now, LINK, hello);
        while let Some(datagram) = pair.server.poll_transmit(pair.now, LINK) {
            pair.client.handle_bytes(pair.now, LINK, datagram.segments().concat());
        }
        assert_eq!(pair.client.state(), State::Ready);
        let datagram = pair.client.link.as_ref().unwrap().datagram.as_ref().unwrap();
        assert_eq!(datagram.recovery.rtt().smoothed() == Duration::from_secs(1), !repeated);
    }
}

#[test]
fn who_has_only_copies_left_that_are_of_no_use_has_nothing_to_send() {
    let mut pair = Pair::new();
    pair.client.send(pair.now, LaneId::MAIN, "under way".into()).unwrap();
    let link = pair.client.link.as_mut().unwrap().datagram.as_mut().unwrap();
    // Of a lane that is over.
    link.outstanding.copy_later(LaneBytes { lane: 2, range: 0..1 });
    assert!(pair.client.poll_transmit(pair.now, LINK).is_some());
    assert!(pair.client.poll_transmit(pair.now, LINK).is_none());
    assert!(pair.client.link.as_ref().unwrap().datagram.as_ref().unwrap().recovery.is_app_limited());
}

#[test]
fn an_address_that_is_not_proven_is_asked_once_and_gets_three_times_what_came() {
    let mut pair = Pair::new();
    let (kind, there, now) = (LinkKind::Datagram { mtu: 1200 }, LinkId(2), pair.now);
    for _ in 0..100 {
        pair.server.socket_mut(pair.socket).unwrap().send(now, LaneId::MAIN, Message::new(vec![1; 500])).unwrap();
    }
    pair.client.reconnect_now(now);
    pair.client.handle_link_up(now, there, kind);
    pair.server.handle_link_up(now, there, kind);
    let hello = flight(&mut pair.client, now, there).remove(0);
    let most = AMPLIFICATION * hello.len();
    pair.server.handle_bytes(now, there, hello);
    let mut told: Vec<Bytes> = Vec::new();
    while let Some(datagram) = pair.server.poll_transmit(now, there) {
        told.push(datagram.segments().concat().into());
    }
    let sent: usize = told.iter().map(Bytes::len).sum();
    assert!(sent <= most && sent + LEAST_ROOM > most, "{sent} of {most}");
    let asked = told.iter().flat_map(frames).filter(|frame| matches!(frame, DatagramFrame::Challenge(_))).count();
    assert_eq!(asked, 1);
    // What is left waits for room alone: nobody is to call for it.
    let socket = pair.server_socket();
    let link = socket.link.as_ref().unwrap();
    let datagram = link.datagram.as_ref().unwrap();
    assert!(socket.has_datagram_content(link, datagram) && datagram.may_send(now) && datagram.room() == 0);
    assert!(!socket.has_output());
}

#[test]
fn while_the_pacer_keeps_all_back_only_acknowledgements_leave() {
    let mut pair = Pair::new();
    let now = pair.now;
    (0..20).for_each(|_| pair.client.send(now, LaneId::MAIN, Message::new(vec![1; 500])).unwrap());
    flight(&mut pair.client, now, LINK);
    pair.client.send_volatile(now, LaneId::MAIN, "now or never".into()).unwrap();
    assert_eq!(flight(&mut pair.client, now, LINK), Vec::<Bytes>::new());
    pair.server.socket_mut(pair.socket).unwrap().send(now, LaneId::MAIN, "news".into()).unwrap();
    let datagram = pair.server.poll_transmit(now, LINK).unwrap().segments().concat();
    pair.client.handle_bytes(now, LINK, datagram);
    let link = pair.client.link.as_mut().unwrap();
    link.pending.closed = true;
    link.datagram.as_mut().unwrap().ack_now = true;
    let told: Vec<DatagramFrame> = flight(&mut pair.client, now, LINK).iter().flat_map(frames).collect();
    assert!(matches!(&told[..], [DatagramFrame::Ack(_)]), "{told:?}");
}

#[test]
fn before_the_answer_nothing_is_probed_but_the_hello() {
    let mut pair = Pair::new();
    let there = LinkId(2);
    pair.client.reconnect_now(pair.now);
    pair.client.handle_link_up(pair.now, there, LinkKind::Datagram { mtu: 1200 });
    pair.client.send(pair.now, LaneId::MAIN, "early".into()).unwrap();
    let first = flight(&mut pair.client, pair.now, there);
    assert_eq!(first.iter().flat_map(frames).count(), 1, "{first:?}");
    let mut repeated = 0;
    while pair.client.state() == State::Connecting && repeated < 3 {
        pair.now = pair.client.poll_timeout().unwrap().at;
        pair.client.handle_timeout(pair.now);
        let said = flight(&mut pair.client, pair.now, there);
        assert!(said.iter().all(|datagram| frames(datagram).is_empty()), "{said:?}");
        repeated += said.len();
    }
    assert_eq!(repeated, 3);
}

#[test]
fn a_prompt_never_makes_a_datagram_larger_than_the_link_takes() {
    let mut pair = Pair::new();
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    for size in 1100..1200 {
        pair.client.send_with(pair.now, LaneId::MAIN, Message::new(vec![1; size]), &options).unwrap();
        let mut prompts = 0;
        for datagram in flight(&mut pair.client, pair.now, LINK) {
            assert!(datagram.len() <= 1200, "{} bytes", datagram.len());
            let frames = frames(&datagram).into_iter();
            prompts += frames.filter(|frame| matches!(frame, DatagramFrame::Common(Frame::Prompt { .. }))).count();
            pair.server.handle_bytes(pair.now, LINK, datagram);
        }
        assert_eq!(prompts, 1, "{size}");
        let received = pair.server.socket_mut(pair.socket).unwrap().recv(pair.now, LaneId::MAIN);
        assert!(matches!(received, Some(Received::Message(_))), "{received:?}");
        pair.exchange();
        pair.now = pair.now + Duration::from_millis(100);
    }
}

#[test]
fn an_ack_names_as_many_ranges_as_there_is_room_for() {
    for (received, named) in [(400, MAX_ACK_RANGES), (50, 18)] {
        let mut pair = Pair::new();
        let now = pair.now;
        let datagram = pair.client.link.as_mut().unwrap().datagram.as_mut().unwrap();
        datagram.path = Some(Path { challenge: [0; 8], due: false, received, sent: 0, is_full: false });
        for number in 1..=40 {
            datagram.arrivals.on_received(datagram.local(now), 300 * number, Asks::Ack);
        }
        datagram.ack_now = true;
        let packet = pair.client.poll_transmit(now, LINK).unwrap().segments().concat().into();
        let [DatagramFrame::Ack(ack)] = &frames(&packet)[..] else { panic!("{packet:?}") };
        assert_eq!(ack.ranges().count(), named);
        assert!(packet.len() <= AMPLIFICATION * received, "{} bytes", packet.len());
    }
}

#[test]
fn a_farewell_leaves_where_there_is_room_for_it() {
    let room = 150;
    let mut sizes = Vec::new();
    for length in 100..150 {
        let mut pair = Pair::new();
        let datagram = pair.client.link.as_mut().unwrap().datagram.as_mut().unwrap();
        datagram.path =
            Some(Path { challenge: [0; 8], due: false, received: room / AMPLIFICATION, sent: 0, is_full: false });
        let reason = CloseReason::app(7, "x".repeat(length));
        pair.client.abort(pair.now, reason.clone());
        let said = flight(&mut pair.client, pair.now, LINK);
        sizes.extend(said.iter().map(Bytes::len));
        let leaves = !said.is_empty();
        said.into_iter().for_each(|datagram| pair.server.handle_bytes(pair.now, LINK, datagram));
        let closed = pair.server_socket().closed().map(|closed| closed.remote.clone());
        assert_eq!(closed, leaves.then_some(Some(reason)));
    }
    assert!((1..50).contains(&sizes.len()), "{sizes:?}");
    assert_eq!(sizes.last(), Some(&room));
}

#[test]
fn what_was_lost_goes_once_again_where_little_is_lost() {
    let mut pair = Pair::new();
    pair.client.send(pair.now, LaneId::MAIN, "lost".into()).unwrap();
    let lost = frames(&flight(&mut pair.client, pair.now, LINK)[0]);
    let [.., DatagramFrame::Common(Frame::Data { payload, .. })] = &lost[..] else { panic!("{lost:?}") };
    let mut carried = Carried::default();
    carried.add_piece(0, 0..payload.len() as u64);
    let datagram = pair.client.link.as_mut().unwrap().datagram.as_mut().unwrap();
    datagram.outstanding.on_fate(Fate::Lost, &carried, |_| 0);
    let again: Vec<DatagramFrame> = flight(&mut pair.client, pair.now, LINK).iter().flat_map(frames).collect();
    assert_eq!(again[..], lost[lost.len() - 1..]);
}
