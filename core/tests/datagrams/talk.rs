//! Both sides talk over a bad network: what is accepted arrives once and in order.

use std::time::Duration;

use proptest::prelude::*;
use steadfast::{
    Bytes, CloseReason, Config, Congestion, Event, LaneId, LaneOptions, Message, Profile, Received, Socket,
};

use crate::world::{Conditions, World};

/// What one side writes and reads.
#[derive(Default)]
struct Side {
    lanes: Vec<LaneId>,
    /// By position in `lanes`: how many were written, and which one is read next.
    written: Vec<u64>,
    read: Vec<u64>,
}

fn message(lane: usize, number: u64, size: usize) -> Message {
    let head = [(lane as u64).to_le_bytes(), number.to_le_bytes()].concat();
    let body = (0..size).map(|at| (at as u64 + number) as u8);
    Message::new(head.into_iter().chain(body).collect::<Bytes>())
}

impl Side {
    fn write(&mut self, now: steadfast::Time, socket: &mut Socket, lane: usize, size: usize) {
        if let Some(id) = self.lanes.get(lane) {
            if socket.send(now, *id, message(lane, self.written[lane], size)).is_ok() {
                self.written[lane] += 1;
            }
        }
    }

    /// Reads all that there is on all lanes of the socket.
    fn read(&mut self, now: steadfast::Time, socket: &mut Socket) -> Result<(), TestCaseError> {
        for id in socket.lanes().collect::<Vec<_>>() {
            while let Some(received) = socket.recv(now, id) {
                let Received::Message(message) = received else { break };
                let number = |at: usize| u64::from_le_bytes(message.payload[at..at + 8].try_into().unwrap());
                let (lane, at) = (number(0) as usize, number(8));
                self.read.resize(self.read.len().max(lane + 1), 0);
                prop_assert_eq!(at, self.read[lane], "lane {}", lane);
                let expected = self::message(lane, at, message.payload.len() - 16);
                prop_assert_eq!(&message.payload, &expected.payload);
                self.read[lane] += 1;
            }
        }
        Ok(())
    }

    fn open(&mut self, id: LaneId) {
        self.lanes.push(id);
        self.written.push(0);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write { server: bool, lane: usize, size: usize, count: usize },
    Open { server: bool },
    Wait(u64),
    Cut,
    Rebind,
    Reconnect,
    Restart,
    Copy,
    Blackout(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![8 => 0..300_usize, 2 => 0..4000_usize, 1 => 0..100_000_usize];
    prop_oneof![
        10 => (any::<bool>(), 0..4_usize, size, 1..30_usize)
            .prop_map(|(server, lane, size, count)| Act::Write { server, lane, size, count }),
        1 => any::<bool>().prop_map(|server| Act::Open { server }),
        8 => (0..300_000_u64).prop_map(Act::Wait),
        1 => Just(Act::Cut),
        1 => Just(Act::Rebind),
        1 => Just(Act::Reconnect),
        1 => Just(Act::Restart),
        1 => Just(Act::Copy),
        1 => (0..3_000_000_u64).prop_map(Act::Blackout),
    ]
}

fn conditions() -> impl Strategy<Value = Conditions> {
    (prop_oneof![Just(0), 0..300_u64], 0..200_u64, 0..100_u64, 100..100_000_u64, prop_oneof![Just(0), 0..60_000_u64])
        .prop_map(|(loss, doubled, corrupted, delay, jitter)| Conditions { loss, doubled, corrupted, delay, jitter })
}

fn config() -> impl Strategy<Value = Config> {
    (0..3_u8, any::<bool>(), 1..5_u64).prop_map(|(congestion, interactive, silence)| {
        let mut config = Config::default();
        config.silence = Duration::from_secs(silence);
        config.attempt_timeout = Duration::from_secs(5);
        config.redial_max = Duration::from_secs(1);
        config.close_timeout = Duration::from_secs(120);
        if congestion == 0 {
            config.congestion = Congestion::FixedWindow { bytes: 60_000 };
        }
        if interactive {
            config.profile = Profile::Interactive { redundancy: 150 };
        }
        config
    })
}

struct Talk {
    world: World,
    sides: [Side; 2],
}

impl Talk {
    /// Both sides have done these acts, from the first attempt on.
    fn after(mut world: World, acts: &[Act]) -> Result<Talk, TestCaseError> {
        world.client.connect(world.now);
        world.drain();
        let mut talk = Talk { world, sides: Default::default() };
        talk.sides.iter_mut().for_each(|side| side.open(LaneId::MAIN));
        acts.iter().try_for_each(|act| talk.act(act))?;
        Ok(talk)
    }

    fn read(&mut self) -> Result<(), TestCaseError> {
        let now = self.world.now;
        self.sides[0].read(now, &mut self.world.client)?;
        if self.world.socket.is_some() {
            self.sides[1].read(now, self.world.server_socket())?;
        }
        self.world.drain();
        Ok(())
    }

    fn run(&mut self, duration: Duration) -> Result<(), TestCaseError> {
        let end = self.world.now + duration;
        self.world.drain();
        self.read()?;
        while self.world.step(end) {
            self.read()?;
        }
        Ok(())
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        let now = self.world.now;
        match act {
            Act::Write { server, lane, size, count } => {
                for _ in 0..*count {
                    match server {
                        false => self.sides[0].write(now, &mut self.world.client, *lane, *size),
                        true if self.world.socket.is_some() => {
                            self.sides[1].write(now, self.world.server_socket(), *lane, *size);
                        }
                        true => {}
                    }
                }
            }
            Act::Open { server: false } => {
                if let Ok(id) = self.world.client.open_lane(now, LaneOptions::default()) {
                    self.sides[0].open(id);
                }
            }
            Act::Open { server: true } if self.world.socket.is_some() => {
                if let Ok(id) = self.world.server_socket().open_lane(now, LaneOptions::default()) {
                    self.sides[1].open(id);
                }
            }
            Act::Open { .. } => {}
            Act::Wait(micros) => return self.run(Duration::from_micros(*micros)),
            Act::Cut => self.world.cut(),
            Act::Rebind => self.world.rebind(),
            Act::Reconnect => self.world.client.reconnect_now(now),
            Act::Restart => self.world.restart(),
            Act::Copy => self.world.copy(),
            Act::Blackout(micros) => {
                let before = self.world.conditions;
                self.world.conditions.loss = 1000;
                self.run(Duration::from_micros(*micros))?;
                self.world.conditions = before;
            }
        }
        self.world.drain();
        Ok(())
    }

    fn all_read(&self) -> bool {
        let read = |reader: &Side, writer: &Side| {
            let read = |lane: usize| reader.read.get(lane).copied().unwrap_or(0);
            writer.written.iter().enumerate().all(|(lane, count)| read(lane) == *count)
        };
        read(&self.sides[0], &self.sides[1]) && read(&self.sides[1], &self.sides[0])
    }
}

proptest! {
    #[test]
    fn what_is_accepted_arrives_once_and_in_order_and_a_close_drains_it(
        seed in any::<u64>(), conditions in conditions(), config in config(),
        acts in proptest::collection::vec(act(), 1..60), server_closes in any::<bool>(), early in any::<bool>(),
    ) {
        let mut talk = Talk::after(World::new(seed, conditions, config), &acts)?;
        // The network becomes bearable.
        talk.world.conditions.loss = talk.world.conditions.loss.min(100);
        talk.world.conditions.corrupted = 0;
        // A client that has no answer yet, and nothing to say, may close without one.
        let open = |talk: &Talk| talk.world.client.session_id().is_some() && talk.world.socket.is_some();
        if !early || !open(&talk) {
            let mut rounds = 0;
            while !(talk.all_read() && open(&talk)) {
                talk.run(Duration::from_secs(1))?;
                rounds += 1;
                prop_assert!(rounds < 300, "not all is read: {:?} {:?}", talk.sides[0].written, talk.sides[1].read);
            }
        }
        let now = talk.world.now;
        let reason = CloseReason::app(7, "done");
        if server_closes {
            talk.world.server_socket().close(now, reason);
        } else {
            talk.world.client.close(now, reason);
        }
        let both = |talk: &Talk| {
            World::closed(&talk.world.client_events).cloned().zip(World::closed(&talk.world.server_events).cloned())
        };
        let mut rounds = 0;
        while both(&talk).is_none() {
            talk.run(Duration::from_secs(1))?;
            rounds += 1;
            prop_assert!(rounds < 130, "the close does not end: {:?} {:?}", talk.world.client.closed(), talk.world.client.state());
        }
        prop_assert!(talk.all_read());
        let (client, server) = both(&talk).unwrap();
        prop_assert!(client.clean && server.clean, "{:?} {:?}", client, server);
        let lost = |events: &[Event]| events.iter().any(|event| matches!(event, Event::SessionLost(_)));
        prop_assert!(!lost(&talk.world.client_events) && !lost(&talk.world.server_events));
    }

    #[test]
    fn what_is_accepted_before_an_abort_has_arrived_or_is_handed_back(
        seed in any::<u64>(), conditions in conditions(), config in config(),
        acts in proptest::collection::vec(act(), 1..40), server_aborts in any::<bool>(),
    ) {
        let mut talk = Talk::after(World::new(seed, conditions, config), &acts)?;
        talk.world.conditions = Conditions { loss: conditions.loss.min(100), ..conditions };
        let (now, reason) = (talk.world.now, CloseReason::app(8, "no more"));
        // A client that has no answer yet would open another session.
        if server_aborts && talk.world.socket.is_some() && talk.world.client.session_id().is_some() {
            talk.world.server_socket().abort(now, reason);
        } else {
            talk.world.client.abort(now, reason);
        }
        // The server's session may last as long as it is kept for a client that does not come back.
        talk.run(Duration::from_secs(150))?;
        let now = talk.world.now;
        let mut handed_back = [talk.world.client.take_unconfirmed(now).len(), 0];
        if talk.world.socket.is_some() {
            handed_back[1] = talk.world.server_socket().take_unconfirmed(now).len();
        }
        for side in 0..2 {
            let written: u64 = talk.sides[side].written.iter().sum();
            let read: u64 = talk.sides[1 - side].read.iter().sum();
            prop_assert!(read + handed_back[side] as u64 >= written, "{read} of {written}, {handed_back:?}");
        }
        prop_assert!(World::closed(&talk.world.client_events).is_some());
        prop_assert!(talk.world.socket.is_none() || World::closed(&talk.world.server_events).is_some());
    }
}
