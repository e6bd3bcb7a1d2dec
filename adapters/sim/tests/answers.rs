//! What a client makes of the answers to its HELLO, the server's played by hand.

use std::time::Duration;

use steadfast::{Bytes, Code, Config, Event, LinkAction, LinkId, LinkKind, ProtocolCode, Socket, State, Time};
use steadfast_sim::by_hand::{Announcement, nonce, reject, welcome};

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

    /// One that has a session and says HELLO again.
    fn resuming() -> Client {
        let mut client = Client::new();
        let nonce = client.dials().1;
        client.hears(welcome(&nonce, Announcement::default()));
        assert_eq!(client.socket.state(), State::Ready);
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
    let answers: [fn(&[u8]) -> Vec<u8>; 2] =
        [|nonce| welcome(nonce, Announcement::default()), |nonce| reject(nonce, ProtocolCode::Rejected.number(), "")];
    for answer in answers {
        let mut client = Client::new();
        let (_, mut nonce) = client.dials();
        nonce[0] ^= 1;
        client.hears(answer(&nonce));
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
