//! What a server does with links and opens, its machine driven by hand.

use std::sync::Arc;
use std::time::Duration;

use steadfast::{
    Bytes, CloseReason, LinkAction, LinkId, LinkKind, OpenId, ProtocolCode, Server, ServerConfig, ServerEvent, Socket,
    SocketId, State, Time,
};
use steadfast_sim::by_hand::{Announcement, hello, lane_states, nonce, open, packet, ping, rejection, resume};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A server and the time.
struct Door {
    server: Server,
    now: Time,
}

impl Door {
    fn new(config: ServerConfig) -> Door {
        let now = Time::from_millis(1_000_000);
        Door { server: Server::new(config.into(), [7; 32], now).expect("a configuration that works"), now }
    }

    fn link(&mut self, link: u64) {
        self.server.handle_link_up(self.now, LinkId(link), LinkKind::Stream);
    }

    fn says(&mut self, link: u64, bytes: Vec<u8>) {
        self.server.handle_bytes(self.now, LinkId(link), Bytes::from(bytes));
    }

    /// The open of this number comes on a new link.
    fn knock(&mut self, link: u64, number: u64) {
        self.link(link);
        self.says(link, hello(&open(number, b"", Announcement::default())));
    }

    /// A resume of this session of another instance comes on a new link.
    fn stray(&mut self, link: u64) {
        self.link(link);
        self.says(link, hello(&resume(link, 77, &lane_states(1))));
    }

    /// What the server writes to the link.
    fn answer(&mut self, link: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(transmit) = self.server.poll_transmit(self.now, LinkId(link)) {
            transmit.segments().iter().for_each(|segment| bytes.extend_from_slice(segment));
        }
        bytes
    }

    /// The opens about which the server has asked since the last call.
    fn asked(&mut self) -> Vec<OpenId> {
        let id = |event| match event {
            ServerEvent::Open(request) => Some(request.id),
            _ => None,
        };
        std::iter::from_fn(|| self.server.poll_event()).filter_map(id).collect()
    }

    fn state(&self, socket: SocketId) -> State {
        self.server.socket(socket).expect("a socket").state()
    }

    /// The links that the server has hung up since the last call.
    fn hung_up(&mut self) -> Vec<u64> {
        let link = |action| match action {
            LinkAction::HangUp(link) => Some(link.0),
            _ => None,
        };
        std::iter::from_fn(|| self.server.poll_link_action()).filter_map(link).collect()
    }
}

fn no() -> CloseReason {
    CloseReason::app(403, "no")
}

#[test]
fn an_open_that_was_rejected_gets_the_same_answer_again_without_a_question() {
    let mut config = ServerConfig::default();
    config.max_pending = 2;
    let mut door = Door::new(config);
    for number in 1..=3 {
        door.knock(number, number);
        let [id] = door.asked()[..] else { panic!("asked once about {number}") };
        door.server.reject(door.now, id, no(), None).expect("it waits");
    }
    for (link, number) in [(12, 2), (13, 3)] {
        door.knock(link, number);
        assert_eq!(door.asked(), [], "about {number}");
        let answer = door.answer(link);
        assert_eq!(rejection(&answer), Some(ProtocolCode::Rejected.number()));
        assert_eq!(nonce(&answer).map(|nonce| nonce[15]), Some(number as u8));
    }
    // As many are remembered as may wait for a decision.
    door.knock(11, 1);
    assert_eq!(door.asked().len(), 1);
}

#[test]
fn a_rejection_with_a_time_to_retry_is_asked_about_again() {
    let mut door = Door::new(ServerConfig::default());
    for link in 1..=2 {
        door.knock(link, 1);
        let [id] = door.asked()[..] else { panic!("asked again") };
        door.server.reject(door.now, id, no(), Some(SECOND)).expect("it waits");
    }
}

#[test]
fn a_link_of_which_the_server_is_told_twice_is_one_link() {
    let mut door = Door::new(ServerConfig::default());
    let start = door.now;
    door.link(1);
    door.now = door.now + SECOND;
    door.link(1);
    assert_eq!(
        door.server.poll_timeout().map(|deadline| deadline.at),
        Some(start + ServerConfig::default().hello_timeout)
    );
    door.knock(2, 1);
    let [id] = door.asked()[..] else { panic!("asked once") };
    door.link(2);
    let socket = door.server.accept(door.now, id).expect("it waits");
    door.link(2);
    assert!(!door.answer(2).is_empty());
    door.now = start + ServerConfig::default().hello_timeout + 2 * SECOND;
    door.server.handle_timeout(door.now);
    assert_eq!(door.hung_up(), [1]);
    assert_eq!(door.state(socket), State::Ready);
    assert!(!door.server.is_empty());
}

#[test]
fn an_open_is_answered_on_the_newest_link_that_asked_and_is_still_there() {
    let mut door = Door::new(ServerConfig::default());
    door.knock(1, 1);
    door.knock(2, 1);
    let [id] = door.asked()[..] else { panic!("asked once") };
    assert_eq!(door.hung_up(), [1]);
    door.server.handle_link_down(door.now, LinkId(1));
    door.server.accept(door.now, id).expect("it waits");
    assert!(!door.answer(2).is_empty());

    door.knock(3, 2);
    door.server.handle_link_down(door.now, LinkId(3));
    let [id] = door.asked()[..] else { panic!("asked once") };
    let socket = door.server.accept(door.now, id).expect("it waits");
    assert_eq!(door.state(socket), State::Disconnected);
    door.knock(4, 2);
    assert!(!door.answer(4).is_empty());
    assert_eq!((door.state(socket), door.asked()), (State::Ready, vec![]));
}

#[test]
fn a_session_whose_client_went_before_the_answer_is_kept_for_the_retention_time() {
    let mut door = Door::new(ServerConfig::default());
    door.knock(1, 1);
    let [id] = door.asked()[..] else { panic!("asked once") };
    door.server.handle_link_down(door.now, LinkId(1));
    let socket = door.server.accept(door.now, id).expect("it waits");
    door.now = door.now + (ServerConfig::default().socket.retention - MILLISECOND);
    door.server.handle_timeout(door.now);
    assert_eq!(door.state(socket), State::Disconnected);
    door.now = door.now + MILLISECOND;
    door.server.handle_timeout(door.now);
    assert_eq!(door.state(socket), State::Closed);
}

#[test]
fn an_open_is_welcomed_again_until_the_client_has_shown_that_it_knows() {
    let mut door = Door::new(ServerConfig::default());
    door.knock(1, 1);
    let [id] = door.asked()[..] else { panic!("asked once") };
    door.server.accept(door.now, id).expect("it waits");
    let first = door.answer(1);
    door.knock(2, 1);
    assert_eq!((door.hung_up(), door.answer(2)), (vec![1], first));
    door.says(2, packet(&ping(1)));
    door.knock(3, 1);
    assert_eq!(rejection(&door.answer(3)), Some(ProtocolCode::Fenced.number()));
    assert_eq!(door.hung_up(), [3]);
}

#[test]
fn of_a_link_that_went_down_without_a_word_nothing_is_left() {
    let mut door = Door::new(ServerConfig::default());
    door.link(1);
    door.server.handle_link_down(door.now, LinkId(1));
    assert_eq!(door.server.poll_timeout(), None);
}

#[test]
fn sessions_of_elsewhere_that_nobody_answers_about_are_bounded() {
    let mut config = ServerConfig::default();
    config.max_unknown_links = 2;
    let mut door = Door::new(config);
    (1..=2).for_each(|link| door.stray(link));
    assert_eq!(door.hung_up(), []);
    door.stray(3);
    assert_eq!(door.hung_up(), [1], "the oldest makes room");
    assert_eq!(rejection(&door.answer(1)), Some(ProtocolCode::TryLater.number()));
}

#[test]
fn of_fresh_authentications_that_nobody_takes_the_newest_is_told() {
    let mut door = Door::new(ServerConfig::default());
    let addresses = vec!["server".into()];
    let mut client = Socket::new(Arc::default(), addresses, Bytes::new(), [1; 32], door.now).unwrap();
    for link in 1..=100 {
        client.set_auth(Bytes::from(format!("auth {link}"))).unwrap();
        client.reconnect_now(door.now);
        client.handle_link_up(door.now, LinkId(link), LinkKind::Stream);
        door.link(link);
        for _ in 0..2 {
            while let Some(transmit) = client.poll_transmit(door.now, LinkId(link)) {
                door.says(link, transmit.segments().concat());
            }
            if link == 1 {
                for id in door.asked() {
                    door.server.accept(door.now, id).expect("an open that waits");
                }
            }
            let answer = door.answer(link);
            client.handle_bytes(door.now, LinkId(link), answer);
        }
        assert_eq!(client.state(), State::Ready);
    }
    let auth = |event| if let ServerEvent::Reauthenticated(_, auth) = event { Some(auth) } else { None };
    let told: Vec<Bytes> = std::iter::from_fn(|| door.server.poll_event()).filter_map(auth).collect();
    assert_eq!(told, ["auth 100"]);
}

#[test]
fn opens_that_wait_are_refused_when_the_server_takes_no_new_ones() {
    let close: fn(&mut Server, Time) = |server, now| server.close(now, no());
    let go_away: fn(&mut Server, Time) = |server, now| server.go_away(now, SECOND, "").expect("a short address");
    for (end, code) in [(close, ProtocolCode::Rejected), (go_away, ProtocolCode::GoingAway)] {
        let mut door = Door::new(ServerConfig::default());
        door.knock(1, 1);
        let [id] = door.asked()[..] else { panic!("asked once") };
        end(&mut door.server, door.now);
        assert_eq!(rejection(&door.answer(1)), Some(code.number()));
        assert_eq!(door.server.poll_event(), Some(ServerEvent::OpenGone(id)));
        assert!(door.server.accept(door.now, id).is_err());
    }
}
