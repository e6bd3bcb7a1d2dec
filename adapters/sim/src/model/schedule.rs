//! One random schedule: a world, its applications, the harm done to it, and its end.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast::{CloseReason, Config, Congestion, OnLoss, Profile, ServerConfig};

use crate::conditions::Break;
use crate::contract::Rigour;
use crate::model::app::App;
use crate::model::ledger::Ledger;
use crate::model::way::{Links, Way};
use crate::rng::Rng;
use crate::world::{ADDRESS, End, ServerIx, World};

/// A random schedule, step by step: a few clients and a server write, ask, read, open lanes and close, while links break,
/// clocks jump and processes restart. Everything that comes out is compared with queues that are always right.
pub struct Schedule {
    pub(super) world: World,
    pub(super) ledger: Ledger,
    pub(super) apps: BTreeMap<End, App>,
    pub(super) rng: Rng,
    pub(super) server: ServerIx,
    pub(super) server_config: ServerConfig,
    client_config: Config,
    way: Way,
    steps_left: u64,
    saved: Option<Saved>,
}

/// An older state of a client.
struct Saved {
    client: End,
    state: Vec<u8>,
    app: App,
    /// How far each stream was read.
    read: Vec<(usize, usize, u64)>,
}

/// What a schedule did, to see that it did something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// A hash over all outputs: equal for equal seeds.
    pub digest: u64,
    /// Messages, and bytes of byte lanes, that were delivered.
    pub delivered: u64,
    /// Links that took up a session again.
    pub resumes: u64,
    /// Asks that were made.
    pub asks: u64,
    /// Sessions that a server accepted.
    pub sessions: u64,
}

impl Schedule {
    /// The schedule of a seed, over links of this kind.
    pub fn new(seed: u64, links: Links) -> Schedule {
        Schedule::with(seed, links, |_| ())
    }

    /// The schedule of a seed, with another configuration of the server.
    pub fn with(seed: u64, links: Links, change: impl Fn(&mut ServerConfig)) -> Schedule {
        let mut rng = Rng::new(seed);
        let mut world = World::new(rng.u64());
        world.rigour = Rigour { twins: rng.percent(60), noise: rng.percent(50) };
        let mut way = Way::new(links);
        way.worsen(&mut world, &mut rng);
        let mut client_config = random_config(&mut rng);
        let mut server_config = ServerConfig::default();
        server_config.socket = client_config.clone();
        server_config.socket.retention = Duration::from_millis(rng.number(500..=20_000));
        if links != Links::Streams {
            // Each side may do as it likes.
            server_config.socket.durable = rng.one_in(6);
            client_config.durable = rng.one_in(8);
            vary_datagrams(&mut client_config, &mut rng);
            vary_datagrams(&mut server_config.socket, &mut rng);
        }
        change(&mut server_config);
        let server = world.serve(ADDRESS, server_config.clone());
        let steps_left = rng.number(5..=150);
        let (ledger, apps) = (Ledger::default(), BTreeMap::new());
        let mut schedule =
            Schedule { world, ledger, apps, rng, server, server_config, client_config, way, steps_left, saved: None };
        for _ in 0..*schedule.rng.pick(&[1, 1, 1, 2, 3]) {
            schedule.add_client();
        }
        schedule
    }

    /// Prints on standard error what happens.
    pub fn be_loud(&mut self) {
        self.world.is_loud = true;
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// When something comes out that must not, or something does not that must.
    pub fn run(mut self) -> Outcome {
        while self.step() {}
        self.calm_down();
        self.close();
        self.outcome()
    }

    /// One random step of the bad times. False when they are over.
    pub fn step(&mut self) -> bool {
        if self.steps_left == 0 {
            return false;
        }
        self.steps_left -= 1;
        if self.way.links != Links::Streams && self.rng.one_in(10) {
            self.way.trouble(&mut self.world, &mut self.rng);
        }
        match self.rng.below(100) {
            0..=59 => self.act(),
            60..=79 => self.read(),
            80..=87 => self.break_a_link(),
            88..=89 => self.way.worsen(&mut self.world, &mut self.rng),
            90..=91 => self.suspend(),
            92..=95 => self.restart_a_client(),
            96 if self.rng.one_in(2) => self.restart_the_server(),
            97 if self.rng.one_in(2) => self.close_one(),
            97 if self.rng.one_in(4) => self.move_the_server(),
            98 if self.apps.len() < 8 => self.add_client(),
            _ => {}
        }
        self.commit(30);
        self.pass_time();
        self.hear();
        true
    }

    /// Of the durable sockets so many in 100 may let go of what they have done.
    pub(super) fn commit(&mut self, percent: u64) {
        if !(self.client_config.durable || self.server_config.socket.durable) {
            return;
        }
        for end in self.world.server_ends().into_iter().chain(self.world.client_ends()) {
            if self.world.socket(end).config().durable && self.rng.percent(percent) {
                let stage = self.world.with(end, |socket, now| socket.stage(now));
                self.world.with(end, |socket, now| socket.commit(now, stage));
            }
        }
    }

    /// The world, to look at its machines when the schedule is cut off here.
    pub fn into_world(self) -> World {
        self.world
    }

    fn add_client(&mut self) {
        let config = self.client_config.clone();
        let client = self.world.client(config);
        self.apps.insert(client, App::new(client, None, &mut self.ledger));
    }

    fn pass_time(&mut self) {
        match self.rng.below(8) {
            0 => {}
            1..=5 => {
                // A datagram takes a step for each node of its way.
                let most = if self.way.links == Links::Streams { 60 } else { 300 };
                for _ in 0..self.rng.below(most) {
                    self.world.step();
                }
            }
            _ => self.world.run_for(Duration::from_micros(self.rng.number(0..=300_000))),
        }
    }

    /// Every application hears what it was told.
    pub(super) fn hear(&mut self) {
        for end in self.world.server_ends() {
            if !self.apps.contains_key(&end) {
                let client = self.world.peer(end).expect("a client of this world");
                let (incoming, is_closing) = (self.apps[&client].main(), self.apps[&client].is_closing);
                let mut app = App::new(end, Some(incoming), &mut self.ledger);
                if is_closing {
                    app.closes(&self.world, &mut self.ledger);
                }
                self.apps.insert(end, app);
            }
        }
        for app in self.apps.values_mut() {
            app.hear(&mut self.world, &mut self.ledger);
            if self.rng.one_in(64) {
                app.check_edges(&self.world);
            }
        }
    }

    fn any_app(&mut self) -> Option<App> {
        let living: Vec<End> = self.apps.values().filter(|app| !app.is_over).map(|app| app.end).collect();
        (!living.is_empty()).then(|| self.apps.remove(self.rng.pick(&living)).expect("an application"))
    }

    fn act(&mut self) {
        if let Some(mut app) = self.any_app() {
            app.act(&mut self.world, &mut self.ledger, &mut self.rng);
            self.apps.insert(app.end, app);
        }
    }

    fn read(&mut self) {
        if let Some(mut app) = self.any_app() {
            let limit = *self.rng.pick(&[1, 2, 10, usize::MAX]);
            app.read(limit, &mut self.world, &mut self.ledger, &mut self.rng);
            self.apps.insert(app.end, app);
        }
    }

    fn break_a_link(&mut self) {
        let links = self.world.live_links();
        if !links.is_empty() {
            let link = *self.rng.pick(&links);
            let how = *self.rng.pick(&Break::ALL);
            if self.rng.one_in(2) {
                self.world.break_link(link, how);
            } else {
                let bytes = self.rng.number(1..=3000);
                self.world.break_link_after(link, bytes, how);
            }
        }
    }

    fn suspend(&mut self) {
        let longest = *self.rng.pick(&[100, 5_000, 60_000]);
        self.world.suspend(Duration::from_millis(self.rng.number(0..=longest)));
    }

    pub(super) fn clients(&self) -> Vec<End> {
        self.apps.keys().copied().filter(|end| matches!(end, End::Client(_))).collect()
    }

    /// A client's process ends and starts again: with the state it had at this moment, or, rarely, with an older one.
    fn restart_a_client(&mut self) {
        let clients = self.clients();
        let client = *self.rng.pick(&clients);
        let how = *self.rng.pick(&[Break::Reset, Break::Stall]);
        match self.rng.below(8) {
            0 => self.save(client),
            1 => {
                if let Some(saved) = self.saved.take() {
                    self.go_back(saved, how);
                }
            }
            _ => {
                let state = self.world.freeze(client);
                self.world.restart(client, &state, how);
            }
        }
    }

    fn save(&mut self, client: End) {
        self.world.freeze(client);
        self.hear();
        let state = self.world.freeze(client);
        let read = self.ledger.positions(client);
        let app = self.apps[&client].clone();
        // What it is told and has not heard would be missing when it goes back.
        if !app.is_over && !self.world.has_events(client) {
            self.saved = Some(Saved { client, state, app, read });
        }
    }

    fn go_back(&mut self, saved: Saved, how: Break) {
        let client = saved.client;
        self.ledger.asks.loosen(client);
        self.ledger.go_back(client, &saved.read);
        self.world.events(client);
        self.apps.insert(client, saved.app);
        self.world.restart(client, &saved.state, how);
    }

    fn restart_the_server(&mut self) {
        let how = *self.rng.pick(&[Break::Reset, Break::Stall]);
        let gone = self.server;
        let is_of_gone = |end: &End| matches!(end, End::Server(server, _) if *server == gone);
        self.world.stop(gone, how);
        for end in self.apps.keys().copied().filter(is_of_gone) {
            self.ledger.asks.abandon(end);
        }
        self.apps.retain(|end, _| !is_of_gone(end));
        for stream in &mut self.ledger.streams {
            stream.is_forgotten |= is_of_gone(&stream.writer);
        }
        self.world.run_for(Duration::from_millis(self.rng.number(0..=2000)));
        self.server = self.world.serve(ADDRESS, self.server_config.clone());
    }

    /// The server goes away, and another one has its address already.
    fn move_the_server(&mut self) {
        let within = Duration::from_millis(self.rng.number(0..=20_000));
        for app in self.apps.values() {
            self.ledger.moving(app.end);
        }
        self.world.command(self.server, |server, now| server.go_away(now, within, "")).expect("a short address");
        self.server = self.world.serve(ADDRESS, self.server_config.clone());
    }

    fn close_one(&mut self) {
        if let Some(mut app) = self.any_app() {
            let reason = CloseReason::app(self.rng.below(100) as u32, "enough");
            if self.rng.one_in(4) {
                self.world.with(app.end, |socket, now| socket.abort(now, reason.clone()));
            } else {
                self.world.with(app.end, |socket, now| socket.close(now, reason.clone()));
            }
            app.closes(&self.world, &mut self.ledger);
            self.apps.insert(app.end, app);
        }
    }
}

/// How a side uses datagram links.
fn vary_datagrams(config: &mut Config, rng: &mut Rng) {
    if rng.one_in(3) {
        let most = *rng.pick(&[3_000, 60_000, 1 << 20]);
        config.congestion = Congestion::FixedWindow { bytes: rng.size(2_400..=most) };
    }
    if rng.one_in(2) {
        config.profile = Profile::Interactive { redundancy: *rng.pick(&[1, 100, 200, 1_000]) };
    }
}

fn random_config(rng: &mut Rng) -> Config {
    let mut config = Config::default();
    config.max_message = *rng.pick(&[600, 5_000, 70_000]);
    config.max_headers = 1024;
    config.max_lanes = *rng.pick(&[0, 1, 4, 16]);
    let least = config.max_message + config.max_headers;
    config.send_buffer = (least + 1024) * rng.size(1..=3);
    config.send_messages = *rng.pick(&[usize::MAX, usize::MAX, 3, 20]);
    let windows = (2 * config.max_lanes as usize + 2) * Config::LANE_WINDOW;
    config.receive_buffer = least + 1024 + windows + rng.size(0..=200_000);
    config.max_open_asks = *rng.pick(&[2, 4096]);
    config.volatile_buffer = 16 << 10;
    config.silence = Duration::from_millis(rng.number(100..=5_000));
    config.ack_delay = Duration::from_micros(rng.number(0..=20_000));
    config.close_timeout = Duration::from_millis(rng.number(500..=5_000));
    config.reconnect = rng.percent(85);
    config.attempt_timeout = Duration::from_millis(rng.number(200..=5_000));
    config.redial_max = Duration::from_millis(rng.number(100..=3_000));
    config.on_loss = *rng.pick(&[OnLoss::Close, OnLoss::Reopen]);
    config
}
