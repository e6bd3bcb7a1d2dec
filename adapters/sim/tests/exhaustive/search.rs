//! The search: which steps a state offers, and what must hold in every one of them.

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use stateright::{Checker, Model, Property};
use steadfast::{Config, Congestion, LaneId, LinkId, ServerConfig, State, Timer};
use steadfast_sim::Side;

use crate::links::Wire;
use crate::world::World;

/// One small model: how the machines are set up, and how much may happen.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) client: Config,
    pub(crate) server: ServerConfig,
    /// Whether the search begins with the client's HELLO, and not on an open socket.
    with_open: bool,
    bounds: Bounds,
    wire: Wire,
    /// How many bytes a message has beyond the least.
    pub(crate) padding: usize,
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
    /// Datagrams that are lost.
    pub(crate) losses: u8,
    /// Datagrams that arrive, and once more at any later time.
    pub(crate) copies: u8,
    /// Datagrams that arrive behind the next one.
    pub(crate) overtakings: u8,
    /// Times at which an application over datagrams puts off what it has to do.
    pub(crate) pauses: u8,
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
    Drop(LinkId, Side),
    Double(LinkId, Side),
    DeliverCopy(LinkId, Side),
    Overtake(LinkId, Side),
}

impl Scene {
    /// Two sides that are alike. Confirmations are due at once, so that time stands still while packets are under way; they
    /// leave at any moment after.
    pub(crate) fn new(bounds: Bounds) -> Scene {
        let mut client = Config::default();
        client.ack_delay = Duration::ZERO;
        let mut server = ServerConfig::default();
        server.socket = client.clone();
        Scene {
            client,
            server,
            with_open: false,
            bounds,
            wire: Wire::Stream,
            padding: 0,
            lossy: false,
            meetings: Vec::new(),
        }
    }

    /// Two sides that are alike, over datagrams that take 10 ms and a window for two full ones. Everything comes at its time.
    pub(crate) fn over_datagrams(bounds: Bounds) -> Scene {
        let mut client = Config::default();
        client.congestion = Congestion::FixedWindow { bytes: 2400 };
        let mut server = ServerConfig::default();
        server.socket = client.clone();
        Scene { client, server, wire: Wire::Datagrams { delay: Duration::from_millis(10) }, ..Scene::new(bounds) }
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
        if self.wire != Wire::Stream {
            return self.coming(world);
        }
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

    /// [`Scene::driving`] over datagrams: what comes next by the clock.
    fn coming(&self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        for side in Side::BOTH {
            let arriving = world.links().iter().filter(|link| link.has_arrivals(side));
            steps.extend(arriving.map(|link| (link.next_arrival(side), Step::Deliver(link.id, side))));
            let deadline = world.deadline(side).map(|deadline| deadline.at.max(world.now()));
            steps.extend(deadline.map(|at| (Some(at), Step::Wake(side))));
        }
        let rests = |side| world.is_resting() && world.deadline(side).is_some_and(|deadline| is_idle(deadline.timer));
        if steps.iter().all(|(_, step)| matches!(step, Step::Wake(side) if rests(*side))) {
            return Vec::new();
        }
        let next = steps.iter().filter_map(|(at, _)| *at).min();
        steps.into_iter().filter(|(at, _)| *at == next).map(|(_, step)| step).collect()
    }

    /// What applications over datagrams do at once: they read, and write the next message when they have read as many.
    fn prompt(&self, Moment { world, left }: &Moment) -> Option<Step> {
        let reads = |side| world.books.of(side).readable.then_some(Step::Take(side));
        let awaited = |side: Side| world.books.of(side).written.min(self.bounds.messages[side.other() as usize]);
        let is_left = |side: Side| left.messages[side as usize] > 0 && world.socket(side).is_some();
        let is_next = |side: Side| is_left(side) && world.books.of(side).taken >= awaited(side);
        let writes = |side| is_next(side).then_some(Step::Send(side));
        let next = Side::BOTH.into_iter().find_map(|side| reads(side).or_else(|| writes(side)));
        next.filter(|_| self.wire != Wire::Stream)
    }

    /// Whether more will happen by itself.
    fn goes_on(&self, moment: &Moment) -> bool {
        self.prompt(moment).is_some() || !self.driving(&moment.world).is_empty()
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
            let may_write = self.wire == Wire::Stream && left.messages[side as usize] > 0;
            steps.extend(may_write.then_some(Step::Send(side)));
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
        for step in driving {
            let Step::Deliver(link, side) = *step else { continue };
            steps.extend((left.losses > 0).then_some(Step::Drop(link, side)));
            steps.extend((left.copies > 0).then_some(Step::Double(link, side)));
            steps.extend((left.overtakings > 0).then_some(Step::Overtake(link, side)));
        }
        steps.extend(world.links().iter().filter_map(|link| Some(Step::DeliverCopy(link.id, link.copy_to()?))));
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

/// Whether the timer is for what happens for ever while nothing else does, or long after.
fn is_idle(timer: Timer) -> bool {
    [Timer::Keepalive, Timer::Silence, Timer::Retention].contains(&timer)
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
        let mut world = World::new(self.client.clone(), self.server.clone(), self.wire, self.padding);
        world.connect();
        let mut moment = Moment { world, left: self.bounds };
        // Until nothing more happens by itself.
        while let Some(step) = self.driving(&moment.world).first().filter(|_| !self.with_open) {
            moment = self.next_state(&moment, *step).expect("it can happen");
        }
        vec![Moment { left: self.bounds, ..moment }]
    }

    fn actions(&self, moment: &Moment, steps: &mut Vec<Step>) {
        steps.extend(self.prompt(moment));
        if !steps.is_empty() && moment.left.pauses == 0 {
            return;
        }
        steps.extend(self.driving(&moment.world));
        let driving = steps.clone();
        self.possible(moment, &driving, steps);
    }

    fn next_state(&self, moment: &Moment, step: Step) -> Option<Moment> {
        let Moment { mut world, mut left } = moment.clone();
        let is_late = self.prompt(moment).is_some_and(|prompt| prompt != step);
        left.pauses = left.pauses.saturating_sub(is_late.into());
        match step {
            Step::Deliver(link, side) => world.deliver(link, side),
            Step::Take(side) => world.take(side),
            Step::Wake(side) => world.wake(side),
            Step::Notice(link, side) => world.lose_on(link, side),
            Step::Connect => world.connect(),
            Step::Send(side) => {
                left.messages[side as usize] -= 1;
                if !world.send(side) {
                    // Over datagrams a side may be late, as its peer has closed.
                    left.messages[side as usize] = 0;
                    return (self.wire != Wire::Stream).then_some(Moment { world, left });
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
            Step::Drop(link, side) => {
                left.losses -= 1;
                world.drop_next(link, side);
            }
            Step::Double(link, side) => {
                left.copies -= 1;
                world.double(link, side);
            }
            Step::DeliverCopy(link, side) => world.deliver_copy(link, side),
            Step::Overtake(link, side) => {
                left.overtakings -= 1;
                world.overtake(link, side);
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
                scene.goes_on(moment) || scene.is_well(&moment.world)
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
