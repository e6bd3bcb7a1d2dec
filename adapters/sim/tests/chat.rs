//! A small chat, as an application of its own inside the simulation: its server and its users know nothing of links, and
//! the links are cut all the time.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast::{CloseReason, Config, Event, LaneId, Received, ServerConfig, Time};
use steadfast_sim::net::{Bottleneck, Delay, Partition};
use steadfast_sim::{ADDRESS, Application, Break, Divergence, End, Rng, Side, Trace, Wires, World};

const SECOND: Duration = Duration::from_secs(1);

/// The chat's server and its users. A user's first line is a nickname, every other goes to all who have one.
#[derive(Default)]
struct Chat {
    /// By the server's end of their sockets.
    nicknames: BTreeMap<End, String>,
    /// What each user has read.
    screens: BTreeMap<End, Vec<String>>,
    /// What users will say, and when.
    script: BTreeMap<(Time, End), String>,
}

impl Chat {
    /// A server has read a line of a user.
    fn serve(&mut self, world: &mut World, from: End, line: String) {
        match self.nicknames.get(&from) {
            Some(nickname) => self.broadcast(world, format!("{nickname}: {line}")),
            None if self.nicknames.values().any(|taken| *taken == line) => {
                world.close(from, 1, "this nickname is taken");
            }
            None => {
                self.nicknames.insert(from, line.clone());
                self.broadcast(world, format!("* {line} has come"));
            }
        }
    }

    fn broadcast(&self, world: &mut World, line: String) {
        for user in self.nicknames.keys() {
            world.send(*user, line.clone()).expect("users read faster than others write");
        }
    }
}

impl Application for Chat {
    fn event(&mut self, world: &mut World, end: End, event: Event) {
        match event {
            Event::Readable(LaneId::MAIN) => {
                while let Some(Received::Message(message)) = world.recv(end) {
                    let line = String::from_utf8(message.payload.to_vec()).expect("a text");
                    match end.side() {
                        Side::Server => self.serve(world, end, line),
                        Side::Client => self.screens.entry(end).or_default().push(line),
                    }
                }
            }
            Event::Closed(closed) => {
                if let Some(nickname) = self.nicknames.remove(&end) {
                    self.broadcast(world, format!("* {nickname} has gone"));
                }
                if let (Side::Client, Some(reason)) = (end.side(), closed.reason()) {
                    self.screens.entry(end).or_default().push(format!("! {}", reason.reason));
                }
            }
            _ => {}
        }
    }

    fn next_timer(&self) -> Option<Time> {
        self.script.keys().next().map(|(at, _)| *at)
    }

    fn timer(&mut self, world: &mut World) {
        if let Some(((_, user), line)) = self.script.pop_first() {
            world.send(user, line).expect("room");
        }
    }
}

/// Users who get into a chat, one after the other.
fn enter(world: &mut World, chat: &mut Chat, nicknames: &[&'static str]) -> Vec<End> {
    let mut users = Vec::new();
    for nickname in nicknames {
        let user = world.client(Config::default());
        world.send(user, *nickname).expect("room");
        world.run_app(chat, SECOND);
        users.push(user);
    }
    users
}

/// Three users talk for two minutes while their links are cut every few seconds.
fn talk(mut world: World) -> (Vec<Vec<String>>, u64, Result<Trace, Box<Divergence>>) {
    world.serve(ADDRESS, ServerConfig::default());
    let mut chat = Chat::default();
    let users = enter(&mut world, &mut chat, &["ada", "grace", "edsger"]);
    world.conditions.age = Some((SECOND..=5 * SECOND, Break::ALL.to_vec()));
    world.conditions.latency = Duration::from_millis(5)..=Duration::from_millis(80);
    for user in &users {
        let link = world.link_of(*user).expect("a link");
        world.break_link(link, Break::Reset);
    }
    let mut rng = Rng::new(5);
    for number in 0..100 {
        let at = world.now() + rng.duration(&(Duration::ZERO..=120 * SECOND));
        chat.script.insert((at, *rng.pick(&users)), format!("line {number}"));
    }
    world.run_app(&mut chat, 120 * SECOND);
    world.calm_down();
    world.run_app(&mut chat, 60 * SECOND);
    (chat.screens.into_values().collect(), world.cuts(), world.take_trace())
}

#[test]
fn everybody_reads_every_line_once_and_in_the_same_order_while_links_are_cut() {
    let mut world = World::new(3);
    world.record();
    let (screens, cuts, _) = talk(world);
    assert!(cuts > 30, "{cuts} cuts");
    // Who comes later has missed who came before.
    let [ada, grace, edsger] = &screens[..] else { panic!("three users: {screens:?}") };
    assert_eq!(ada[..3], ["* ada has come", "* grace has come", "* edsger has come"]);
    assert_eq!((&ada[1..], &ada[2..]), (&grace[..], &edsger[..]));
    assert_eq!(ada.len(), 3 + 100);
}

#[test]
fn a_run_is_written_down_and_replayed() {
    let mut world = World::new(3);
    world.record();
    let (screens, cuts, trace) = talk(world);
    let trace = trace.expect("nothing to differ from");
    let read: Trace = trace.to_string().parse().expect("what was written");
    assert_eq!(read, trace);
    assert_eq!(talk(World::follow(&read)), (screens, cuts, Ok(trace)));

    // What is said to every world does not end the comparison.
    let mut other = World::follow(&read);
    other.record();
    other.rng().u64();
    let (.., divergence) = talk(other);
    assert!(divergence.is_err());
}

#[test]
fn a_nickname_is_given_once() {
    let mut world = World::new(3);
    world.serve(ADDRESS, ServerConfig::default());
    let mut chat = Chat::default();
    let users = enter(&mut world, &mut chat, &["ada", "ada"]);
    world.run_app(&mut chat, 5 * SECOND);
    assert_eq!(chat.screens[&users[1]], ["! this nickname is taken"]);
    world.with(users[0], |socket, now| socket.close(now, CloseReason::app(0, "bye")));
    world.run_app(&mut chat, 5 * SECOND);
    assert!(chat.nicknames.is_empty());
}

#[test]
fn users_behind_one_slow_line_share_it_and_a_partition_ends() {
    let mut world = World::new(3);
    world.serve(ADDRESS, ServerConfig::default());
    let mut chat = Chat::default();
    let users = enter(&mut world, &mut chat, &["ada", "grace"]);
    // All come through one line of 64 kbit/s, 100 ms away; what the server says takes no time.
    let line = world.network().add(Bottleneck::new(Some(8_000), 4_000));
    let way = world.network().add(Delay::fixed(Duration::from_millis(100)));
    let gap = world.network().add(Partition::new());
    world.wire(Wires { to_server: vec![line, gap, way], to_client: vec![] });
    for user in &users {
        world.send(*user, "x".repeat(4_000)).expect("room");
    }
    world.run_app(&mut chat, Duration::from_millis(1_050));
    let lines = |chat: &Chat, user: &End| chat.screens[user].iter().filter(|line| line.len() > 4_000).count();
    assert_eq!(lines(&chat, &users[1]), 1, "four kilobytes take half a second, and the way");
    world.run_app(&mut chat, Duration::from_millis(150));
    assert_eq!((lines(&chat, &users[0]), lines(&chat, &users[1])), (2, 2));

    let from = world.now();
    world.network().node_mut::<Partition>(gap).part(from..from + 3 * SECOND);
    world.send(users[0], "still there?").expect("room");
    world.run_app(&mut chat, 2 * SECOND);
    assert_eq!(chat.screens[&users[1]].last().map(String::len), Some(4_000 + "grace: ".len()));
    world.run_app(&mut chat, 2 * SECOND);
    assert_eq!(chat.screens[&users[1]].last().map(String::as_str), Some("ada: still there?"));
}
