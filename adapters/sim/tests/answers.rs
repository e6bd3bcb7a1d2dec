//! What a client makes of the answers to its HELLO, the server's played by hand.

use std::time::Duration;

use steadfast::{
    Bytes, CloseReason, Code, Config, Event, LinkAction, LinkId, LinkKind, MAX_AUTH, ProtocolCode, Socket, State, Time,
};
use steadfast_sim::by_hand::{Announcement, nonce, packet, reject, tlv, varint, volatile, welcome};

const SECOND: Duration = Duration::from_secs(1);

/// A client and the time.
struct Client {
    socket: Socket,
    now: Time,
    link: u64,
}

impl Client {
    /// One that has said HELLO.
    fn new() -> Client {
        let now = Time::from_millis(1_000_000);
        let addresses = vec!["home".into()];
        let socket = Socket::new(Config::default().into(), addresses, Bytes::new(), [7; 32], now);
        let mut client = Client { socket: socket.expect("a configuration that works"), now, link: 0 };
        client.socket.connect(now);
        client
    }

    /// One that is ready.
    fn ready() -> Client {
        let mut client = Client::new();
        let nonce = client.dials().1;
        client.hears(welcome(&nonce, Announcement::default()));
        client.events();
        client.actions();
        assert_eq!(client.socket.state(), State::Ready);
        client
    }

    /// One that has a session and says HELLO again.
    fn resuming() -> Client {
        let mut client = Client::ready();
        client.socket.reconnect_now(client.now);
        client.events();
        client
    }

    /// The address that it dials next, and the nonce of its HELLO there.
    fn dials(&mut self) -> (String, Vec<u8>) {
        loop {
            while let Some(action) = self.socket.poll_link_action() {
                if let LinkAction::Dial(address) = action {
                    self.link += 1;
                    let link = LinkId(self.link);
                    self.socket.handle_link_up(self.now, link, LinkKind::Stream);
                    let hello = self.socket.poll_transmit(self.now, link).expect("a HELLO").segments().concat();
                    return (address.to_string(), nonce(&hello).expect("its nonce"));
                }
            }
            self.events();
            self.now = self.socket.poll_timeout().expect("another attempt").at;
            self.socket.handle_timeout(self.now);
        }
    }

    fn hears(&mut self, bytes: Vec<u8>) {
        self.socket.handle_bytes(self.now, LinkId(self.link), Bytes::from(bytes));
    }

    /// The protocol code with which it has closed.
    fn closed(&self) -> Option<ProtocolCode> {
        match self.socket.closed()?.remote.as_ref()?.code {
            Code::Protocol(code) => Some(code),
            Code::App(_) => None,
        }
    }

    fn actions(&mut self) -> Vec<LinkAction> {
        std::iter::from_fn(|| self.socket.poll_link_action()).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.socket.poll_event()).collect()
    }
}

const CODES: [ProtocolCode; 7] = [
    ProtocolCode::UnknownSession,
    ProtocolCode::StateMismatch,
    ProtocolCode::Ended,
    ProtocolCode::Fenced,
    ProtocolCode::Rejected,
    ProtocolCode::NoDecision,
    ProtocolCode::Version,
];

#[test]
fn an_answer_to_another_hello_is_not_believed() {
    for opened in [true, false] {
        let mut client = Client::new();
        let (_, mut nonce) = client.dials();
        nonce[0] ^= 1;
        let rejected = reject(&nonce, ProtocolCode::Rejected.number(), "");
        client.hears(if opened { welcome(&nonce, Announcement::default()) } else { rejected });
        assert_eq!(client.socket.state(), State::Disconnected);
        let (_, nonce) = client.dials();
        client.hears(welcome(&nonce, Announcement::default()));
        assert_eq!(client.socket.state(), State::Ready);
    }
}

#[test]
fn a_refused_open_ends_the_socket_and_no_session_is_lost() {
    for code in CODES {
        let mut client = Client::new();
        let (_, nonce) = client.dials();
        client.hears(reject(&nonce, code.number(), ""));
        assert_eq!(client.closed(), Some(code));
        let events = client.events();
        assert!(!events.iter().any(|event| matches!(event, Event::SessionLost(_))), "{code:?}: {events:?}");
    }
}

#[test]
fn without_proof_a_refused_resume_costs_the_attempt_unless_the_session_is_unknown() {
    for code in CODES {
        let mut client = Client::resuming();
        let (_, nonce) = client.dials();
        client.hears(reject(&nonce, code.number(), ""));
        if code == ProtocolCode::UnknownSession {
            assert_eq!(client.closed(), Some(code));
        } else {
            assert_eq!(client.socket.state(), State::Disconnected, "{code:?}");
            client.dials();
        }
    }
}

#[test]
fn a_stranger_can_neither_replace_a_session_nor_say_that_it_was_taken_over() {
    let fenced = |nonce: &[u8]| {
        let reject = reject(nonce, ProtocolCode::Fenced.number(), "");
        let current_epoch = tlv(15, &varint(1000));
        packet(&[&reject[1..], &current_epoch].concat())
    };
    for opened in [true, false] {
        let mut client = Client::resuming();
        let (_, nonce) = client.dials();
        client.hears(if opened { welcome(&nonce, Announcement::default()) } else { fenced(&nonce) });
        assert_eq!(client.socket.state(), State::Disconnected);
        client.dials();
    }
}

#[test]
fn a_redirection_is_followed_once_and_not_without_a_pause() {
    for (address, followed) in [("elsewhere", "elsewhere"), ("", "home")] {
        let mut client = Client::new();
        let start = client.now;
        for round in 0..10 {
            let (dialled, nonce) = client.dials();
            assert_eq!(dialled, if round == 0 { "home" } else { followed });
            client.hears(reject(&nonce, ProtocolCode::Redirect.number(), address));
        }
        assert!(client.now.since(start) > SECOND, "a circle of servers is no storm");
        client.dials();
        client.hears(vec![0xFF; 12]);
        assert_eq!(client.dials().0, "home");
    }
}

#[test]
fn a_link_beside_the_one_in_use_is_refused_and_changes_nothing() {
    let mut greeting = Client::new();
    greeting.dials();
    for mut client in [greeting, Client::ready()] {
        client.events();
        client.actions();
        let before = client.socket.snapshot(client.now);
        client.socket.handle_link_up(client.now, LinkId(99), LinkKind::Stream);
        assert_eq!(client.actions(), [LinkAction::HangUp(LinkId(99))]);
        client.socket.handle_link_down(client.now, LinkId(99));
        assert_eq!(client.socket.snapshot(client.now), before);
    }
}

#[test]
fn the_last_words_are_for_their_link_and_gone_with_it() {
    for down in [false, true] {
        let mut client = Client::ready();
        let sent = client.socket.stats().bytes_sent;
        client.socket.abort(client.now, CloseReason::app(6, "enough"));
        client.socket.handle_link_down(client.now, LinkId(99));
        assert!(client.socket.poll_transmit(client.now, LinkId(99)).is_none());
        if down {
            client.socket.handle_link_down(client.now, LinkId(1));
        }
        let words = client.socket.poll_transmit(client.now, LinkId(1)).map_or(0, |words| words.len() as u64);
        assert_eq!(words == 0, down);
        assert_eq!(client.socket.stats().bytes_sent, sent + words);
        assert!(client.socket.poll_transmit(client.now, LinkId(1)).is_none());
    }
}

#[test]
fn a_dial_that_failed_needs_no_cancelling_and_the_pauses_start_over_when_told_to() {
    let mut client = Client::new();
    for round in 0..30 {
        if round > 10 {
            client.socket.reconnect_now(client.now);
        }
        client.events();
        client.actions();
        client.socket.handle_dial_failed(client.now, "refused");
        assert_eq!(client.actions(), []);
        let told = client.events().into_iter().find_map(|event| match event {
            Event::LinkLost(loss) => loss.retry_in_micros,
            _ => None,
        });
        let pause = Duration::from_micros(told.expect("another attempt"));
        assert!(round <= 10 || pause <= Config::default().redial_base, "{pause:?}");
        client.now = client.now + pause;
        client.socket.handle_timeout(client.now);
    }
}

#[test]
fn volatile_messages_that_nobody_takes_are_bounded_and_make_room_when_taken() {
    let mut client = Client::ready();
    let fits = Config::default().volatile_buffer / 1000;
    for _ in 0..3 {
        for _ in 0..2 * fits {
            client.hears(packet(&volatile(0, &[7; 1000])));
        }
        let taken = client.events().iter().filter(|event| matches!(event, Event::Volatile(..))).count();
        assert!((fits / 2..=fits).contains(&taken), "{taken}");
    }
    client.hears(packet(&volatile(1, b"of a lane that is not there")));
    assert_eq!(client.events(), []);
}

#[test]
fn connecting_again_changes_nothing_for_one_that_is_ready() {
    let mut client = Client::ready();
    let before = client.socket.snapshot(client.now);
    client.socket.connect(client.now);
    assert_eq!(client.socket.snapshot(client.now), before);
}

#[test]
fn what_a_client_shows_is_limited() {
    let auth = |size: usize| Bytes::from(vec![7; size]);
    let new = |size| Socket::new(Config::default().into(), vec![], auth(size), [7; 32], Time::from_millis(1)).is_ok();
    assert_eq!([MAX_AUTH, MAX_AUTH + 1, MAX_AUTH + 2].map(new), [true, false, false]);
    let mut client = Client::new();
    assert_eq!([MAX_AUTH, MAX_AUTH + 1].map(|size| client.socket.set_auth(auth(size)).is_ok()), [true, false]);
}
