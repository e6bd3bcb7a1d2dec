//! What looks on while a world runs: a recorder, and counters of what the links carry.

use std::collections::BTreeMap;

use steadfast::Time;

use crate::conditions::Side;
use crate::inspect::{Contents, Inspector, Traffic};
use crate::net::Carriage;
use crate::trace::{Divergence, Entry, Happened, Recorder, Trace};
use crate::world::{End, World};

/// Who looks on. Nobody does, and nothing is looked into, until it is asked for.
#[derive(Debug)]
pub(super) struct Observers {
    seed: u64,
    recorder: Option<Recorder>,
    /// By client, and by who writes.
    inspectors: Option<BTreeMap<(Option<usize>, Side), Inspector>>,
}

impl Observers {
    pub(super) fn new(seed: u64) -> Observers {
        Observers { seed, recorder: None, inspectors: None }
    }

    /// Records something that happens.
    pub(super) fn note(&mut self, at: Time, what: impl FnOnce() -> Happened) {
        if let Some(recorder) = &mut self.recorder {
            recorder.add(Entry { at, what: what() });
        }
    }

    /// Looks at something that is written to a link.
    pub(super) fn look(
        &mut self,
        client: Option<usize>,
        writer: Side,
        carriage: Carriage,
        bytes: &[u8],
    ) -> Option<Contents> {
        let inspectors = self.inspectors.as_mut()?;
        let contents = inspectors.entry((client, writer)).or_default().look(carriage, bytes);
        if let Some(session) = &contents.session {
            inspectors.entry((client, writer.other())).or_default().begin(session);
        }
        Some(contents)
    }

    /// Of a write that was looked at the bytes from `at` on have not left, and are lost.
    pub(super) fn take_back(&mut self, client: Option<usize>, writer: Side, contents: &Contents, at: usize) {
        let inspector = self.inspectors.as_mut().and_then(|all| all.get_mut(&(client, writer)));
        inspector.into_iter().for_each(|inspector| inspector.take_back(contents, at));
    }

    /// The network has taken so many bytes.
    pub(super) fn count(&mut self, client: Option<usize>, writer: Side, wire_len: usize) {
        if let Some(inspectors) = &mut self.inspectors {
            inspectors.entry((client, writer)).or_default().traffic.wire_bytes += wire_len as u64;
        }
    }
}

impl World {
    /// Records all that happens from now on, for [`World::take_trace`]; a world that records already, or
    /// [follows](World::follow) a trace, goes on with that. It takes some hundred bytes for each packet.
    ///
    /// A trace that is to be followed has to begin where its world does: say this before anything else is done to it.
    pub fn record(&mut self) {
        self.observers.recorder.get_or_insert_with(|| Recorder::new(self.observers.seed, None));
        self.count_traffic();
    }

    /// A new world of the trace's seed, which records and compares with the trace as it goes. When all is done to it that
    /// was done to the other, [`World::take_trace`] gives the same trace, or says where they part.
    pub fn follow(trace: &Trace) -> World {
        let mut world = World::new(trace.seed);
        world.observers.recorder = Some(Recorder::new(trace.seed, Some(trace.clone())));
        world.count_traffic();
        world
    }

    /// Where this run has parted from the one that it [follows](World::follow), if it has.
    pub fn divergence(&self) -> Option<&Divergence> {
        self.observers.recorder.as_ref()?.divergence()
    }

    /// What was recorded; nothing more is.
    ///
    /// # Errors
    /// The first difference from the trace that was to be followed.
    ///
    /// # Panics
    /// When nothing was to be recorded.
    pub fn take_trace(&mut self) -> Result<Trace, Box<Divergence>> {
        self.observers.recorder.take().expect("a world that records").finish()
    }

    /// Counts from now on what links carry, for [`World::traffic`].
    pub fn count_traffic(&mut self) {
        self.observers.inspectors.get_or_insert_default();
    }

    /// Counts from 0 again.
    pub fn restart_traffic(&mut self) {
        let inspectors = self.observers.inspectors.iter_mut().flat_map(BTreeMap::values_mut);
        inspectors.for_each(|inspector| inspector.traffic = Traffic::default());
    }

    /// Whether it records.
    pub fn is_recording(&self) -> bool {
        self.observers.recorder.is_some()
    }

    /// What this end of a socket, or its process before, has put into the network since it is counted.
    pub fn traffic(&self, end: End) -> Traffic {
        let client = match end {
            End::Client(client) => Some(client),
            End::Server(server, id) => self.client_of(server, id).and_then(|end| match end {
                End::Client(client) => Some(client),
                End::Server(..) => None,
            }),
        };
        let inspectors = self.observers.inspectors.as_ref();
        inspectors.and_then(|all| all.get(&(client, end.side()))).map_or(Traffic::default(), |one| one.traffic)
    }
}
