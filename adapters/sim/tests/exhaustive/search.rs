//! The search: which steps a state offers, and what must hold in every one of them.

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use stateright::{Checker, Model, Property};
use steadfast::{Config, LaneId, LinkId, ServerConfig, State, Timer};
use steadfast_sim::Side;

use crate::world::World;

/// One small model: how the machines are set up, and how much may happen.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) client: Config,
    pub(crate) server: ServerConfig,
    /// Whether the search begins with the client's HELLO, and not on an open socket.
    with_open: bool,
    bounds: Bounds,
    /// Whether a session may be lost within the bounds, and its messages be handed back.
    lossy: bool,
    /// What has to be met somewhere.
    meetings: Vec<(&'static str, Condition)>,
}

type Condition = fn(&Scene, &Moment) -> bool;

/// What may still happen, how often.
#[derive(Clone, Copy, PartialEq, Debug, Default, Hash)]
pub(crate) struct Bounds {
    /// Messages of the client and of the server.
    pub(crate) messages: [u8; 2],
    /// Links that break at a packet's boundary, and both sides notice.
    pub(crate) cuts: u8,
    /// Links that break within a packet, and both sides notice.
    pub(crate) tears: u8,
    /// Links that break, and one side notices later.
    pub(crate) half_open: u8,
    /// Links that break, and nobody notices but by the silence.
    pub(crate) stalls: u8,
    /// Closes of the client and of the server.
    pub(crate) closes: [u8; 2],
    /// Deadlines that come although packets are under way.
    pub(crate) hurries: u8,
    /// Times at which both sides sleep until long after a deadline.
    pub(crate) sleeps: u8,
}

/// One state of the search.
#[derive(Clone, PartialEq, Hash)]
pub(crate) struct Moment {
    pub(crate) world: World,
    pub(crate) left: Bounds,
}

/// One step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Step {
    Deliver(LinkId, Side),
    Take(Side),
    Wake(Side),
    Notice(LinkId, Side),
    Connect,
    Send(Side),
    Close(Side),
    Cut(LinkId),
    Tear(LinkId, Side),
    LoseOn(LinkId, Side),
    Stall(LinkId),
    Hurry(Side),
    Sleep,
}

impl Scene {
    /// Two sides that are alike. Confirmations are due at once, so that time stands still while packets are under way; they
    /// leave at any moment after.
    pub(crate) fn new(bounds: Bounds) -> Scene {
        let mut client = Config::default();
        client.ack_delay = Duration::ZERO;
        let mut server = ServerConfig::default();
        server.socket = client.clone();
        Scene { client, server, with_open: false, bounds, lossy: false, meetings: Vec::new() }
    }

    /// The search begins with the client's HELLO, and not on an open socket.
    pub(crate) fn with_open(self) -> Scene {
        Scene { with_open: true, ..self }
    }

    /// A session may be lost within the bounds, and its messages be handed back.
    pub(crate) fn lossy(self) -> Scene {
        Scene { lossy: true, ..self }
    }

    /// The search has to meet this somewhere.
    pub(crate) fn meets(mut self, name: &'static str, condition: Condition) -> Scene {
        self.meetings.push((name, condition));
        self
    }

    /// Searches the scene to its end.
    ///
    /// # Panics
    /// When something does not hold in some state, with the way there; when something is not met; when there are other
    /// than so many states.
    pub(crate) fn search(self, states: usize) {
        let start = std::time::Instant::now();
        // A fault may make them endless.
        let checker = self.checker().target_state_count(10 * states).spawn_bfs().join();
        let found = checker.unique_state_count();
        println!("{found} states, {} steps, {:?}", checker.state_count(), start.elapsed());
        checker.assert_properties();
        assert_eq!(found, states, "the number of states has changed");
    }

    /// The steps that will come sooner or later if nothing else happens.
    fn driving(&self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        for side in Side::BOTH {
            let arriving = world.links().iter().filter(|link| link.has_arrivals(side));
            steps.extend(arriving.map(|link| Step::Deliver(link.id, side)));
            let half_open = world.links().iter().filter(|link| link.is_half_open(side) && !link.is_stalled);
            steps.extend(half_open.map(|link| Step::Notice(link.id, side)));
            steps.extend(world.books.of(side).readable.then_some(Step::Take(side)));
            steps.extend(self.is_quick(world, side).then_some(Step::Wake(side)));
        }
        if !self.client.reconnect && world.state(Side::Client) == State::Disconnected {
            steps.push(Step::Connect);
        }
        if steps.is_empty() && !world.is_resting() {
            let next = Side::BOTH.into_iter().filter(|side| is_next(world, *side));
            steps.extend(next.map(Step::Wake));
        }
        steps
    }

    /// Whether the side's deadline comes before anything else has to: confirmations and redials. The others come when
    /// nothing else can happen.
    fn is_quick(&self, world: &World, side: Side) -> bool {
        let redials = world.deadline(side).is_some_and(|deadline| deadline.timer == Timer::Redial);
        world.is_due(side) || redials && is_next(world, side)
    }

    /// What may happen within the bounds.
    fn possible(&self, Moment { world, left }: &Moment, driving: &[Step], steps: &mut Vec<Step>) {
        for side in Side::BOTH {
            steps.extend((left.messages[side as usize] > 0).then_some(Step::Send(side)));
            steps.extend((left.closes[side as usize] > 0).then_some(Step::Close(side)));
            let wake = is_next(world, side) && !driving.contains(&Step::Wake(side)) && ends(world, side);
            steps.extend((left.hurries > 0 && wake).then_some(Step::Hurry(side)));
        }
        for link in world.links().iter().filter(|link| link.is_whole()) {
            steps.extend((left.cuts > 0).then_some(Step::Cut(link.id)));
            steps.extend((left.stalls > 0).then_some(Step::Stall(link.id)));
            for side in Side::BOTH {
                steps.extend((left.half_open > 0).then_some(Step::LoseOn(link.id, side)));
                steps.extend((left.tears > 0 && link.has_arrivals(side)).then_some(Step::Tear(link.id, side)));
            }
        }
        let expires = is_next(world, Side::Server) && ends(world, Side::Server);
        steps.extend((left.sleeps > 0 && expires).then_some(Step::Sleep));
    }

    /// Whether a state in which nothing more will happen by itself is a good one.
    fn is_well(&self, world: &World) -> bool {
        let books = &world.books;
        let confirmed = |side| {
            world.socket(side).is_some_and(|socket| socket.is_confirmed(LaneId::MAIN)) && books.has_arrived(side)
        };
        let has_ended = |side| books.of(side).closed.is_some() || world.socket(side).is_none();
        let ended = |side| match self.lossy {
            true => books.is_accounted_for(side) && has_ended(side),
            false => books.has_arrived(side) && books.of(side).closed == Some(true),
        };
        let goes_on = world.are(State::Ready) && !Side::BOTH.into_iter().any(|side| books.of(side).closing);
        let is_good = |side| if goes_on { confirmed(side) } else { ended(side) };
        world.is_resting() && Side::BOTH.into_iter().all(is_good)
    }
}

/// Whether no deadline comes before the side's.
fn is_next(world: &World, side: Side) -> bool {
    let (own, other) = (world.deadline(side), world.deadline(side.other()));
    own.is_some_and(|own| other.is_none_or(|other| own.at <= other.at))
}

/// Whether the side's deadline ends a session or an attempt, not only a silence.
fn ends(world: &World, side: Side) -> bool {
    let ending = [Timer::Attempt, Timer::Close, Timer::Retention];
    world.deadline(side).is_some_and(|deadline| ending.contains(&deadline.timer))
}

impl Model for Scene {
    type State = Moment;
    type Action = Step;

    fn init_states(&self) -> Vec<Moment> {
        let mut world = World::new(self.client.clone(), self.server.clone());
        world.connect();
        while !self.with_open && !world.are(State::Ready) {
            let id = world.links()[0].id;
            Side::BOTH.into_iter().for_each(|side| world.deliver(id, side));
        }
        vec![Moment { world, left: self.bounds }]
    }

    fn actions(&self, moment: &Moment, steps: &mut Vec<Step>) {
        steps.extend(self.driving(&moment.world));
        let driving = steps.clone();
        self.possible(moment, &driving, steps);
    }

    fn next_state(&self, moment: &Moment, step: Step) -> Option<Moment> {
        let Moment { mut world, mut left } = moment.clone();
        match step {
            Step::Deliver(link, side) => world.deliver(link, side),
            Step::Take(side) => world.take(side),
            Step::Wake(side) => world.wake(side),
            Step::Notice(link, side) => world.lose_on(link, side),
            Step::Connect => world.connect(),
            Step::Send(side) => {
                left.messages[side as usize] -= 1;
                if !world.send(side) {
                    return None;
                }
            }
            Step::Close(side) => {
                left.closes[side as usize] -= 1;
                world.close(side);
            }
            Step::Cut(link) => {
                left.cuts -= 1;
                world.cut(link);
            }
            Step::Tear(link, side) => {
                left.tears -= 1;
                world.tear(link, side);
            }
            Step::LoseOn(link, side) => {
                left.half_open -= 1;
                world.lose_on(link, side);
            }
            Step::Stall(link) => {
                left.stalls -= 1;
                world.stall(link);
            }
            Step::Hurry(side) => {
                left.hurries -= 1;
                world.wake(side);
            }
            Step::Sleep => {
                left.sleeps -= 1;
                let late: Duration = 2 * self.server.socket.silence;
                world.sleep(late);
                let expired =
                    Side::BOTH.into_iter().any(|side| world.books.of(side).lost != moment.world.books.of(side).lost);
                world.books.expect(!expired, "a jump of the clock expires nothing");
            }
        }
        Some(Moment { world, left })
    }

    fn properties(&self) -> Vec<Property<Scene>> {
        let mut properties = vec![
            Property::<Scene>::always("no promise is broken", |_, moment| moment.world.books.broken.is_none()),
            Property::always("confirmed means taken", |_, moment: &Moment| {
                let world = &moment.world;
                let confirmed = |side| {
                    let socket = world.socket(side).filter(|socket| socket.state() != State::Closed);
                    socket.is_some_and(|socket| socket.is_confirmed(LaneId::MAIN))
                };
                Side::BOTH.into_iter().all(|side| !confirmed(side) || world.books.has_arrived(side))
            }),
            Property::always("all is well in the end", |scene: &Scene, moment: &Moment| {
                !scene.driving(&moment.world).is_empty() || scene.is_well(&moment.world)
            }),
        ];
        properties.extend(self.meetings.iter().map(|(name, condition)| Property::sometimes(name, *condition)));
        properties
    }
}

/// Short: the way to a state says more than what is in it.
impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = Side::BOTH.map(|side| self.world.state(side));
        f.debug_struct("Moment")
            .field("states", &states)
            .field("links", &self.world.links())
            .field("books", &self.world.books)
            .field("left", &self.left)
            .finish()
    }
}
