//! `pair`: a client and a server under a list of operations.

use arbitrary::{Arbitrary, Unstructured};
use steadfast::{CloseReason, Config, OnLoss, SendOptions, ServerConfig};
use steadfast_sim::{Rigour, Side};

use crate::books::{CLIENT, Shape, millis};

use crate::memory;
use crate::say;
use crate::scene::Scene;
use crate::talk::{Saved, Talk};

/// More than this many operations tell nothing new.
const MOST: usize = 500;

/// The first bytes of an input: who plays.
#[derive(Arbitrary, Debug)]
pub(crate) struct Setup {
    seed: u8,
    twins: bool,
    noise: bool,
    /// Begin with a session, not with nothing.
    is_ready: bool,
    /// End with the machines on the scales instead of in peace.
    is_weighed: bool,
    /// Which side closes.
    closer: u8,
    /// Sizes: the largest message, lanes, messages that may wait, the room of links.
    max_message: u8,
    lanes: u8,
    send_messages: u8,
    room: u16,
    /// Small buffers.
    is_tight: bool,
    is_reopening: bool,
    is_reconnecting: bool,
    /// Nothing leaves before it is committed.
    is_durable: bool,
}

/// What happens next. Parties, lanes, links, asks and sends are chosen by a number, of as many as there are; a byte count
/// of 0 is all there is.
#[derive(Arbitrary, Debug)]
pub(crate) enum Op {
    Send {
        party: u8,
        lane: u8,
        shape: Shape,
    },
    SendWith {
        party: u8,
        lane: u8,
        shape: Shape,
        time_to_live: Option<u16>,
        key: Option<bool>,
        receipt: bool,
    },
    Many {
        party: u8,
        lane: u8,
        count: u8,
    },
    Write {
        party: u8,
        lane: u8,
        len: u16,
    },
    Volatile {
        party: u8,
        lane: u8,
        shape: Shape,
    },
    CancelSend {
        party: u8,
        send: u8,
    },
    Ask {
        party: u8,
        lane: u8,
        shape: Shape,
        timeout: Option<u16>,
    },
    CancelAsk {
        party: u8,
        ask: u8,
    },
    Reply {
        party: u8,
        ask: u8,
        shape: Shape,
        more: bool,
    },
    Refuse {
        party: u8,
        ask: u8,
        code: Option<u8>,
    },
    OpenLane {
        party: u8,
        is_bytes: bool,
        priority: u8,
    },
    Finish {
        party: u8,
        lane: u8,
    },
    Discard {
        party: u8,
        lane: u8,
    },
    Read {
        party: u8,
        limit: u8,
    },
    Dial {
        works: bool,
    },
    Accept,
    Reject {
        again: Option<u8>,
    },
    Deliver {
        wire: u8,
        to_server: bool,
        len: u16,
    },
    DeliverAll,
    Cut {
        wire: u8,
        keep: [u16; 2],
        told: [bool; 2],
    },
    Wait {
        time: u16,
    },
    Wake {
        server: bool,
    },
    /// To the next deadline, and past it.
    Sleep {
        late: u8,
    },
    Lazy(bool),
    Connect,
    Reconnect,
    Disconnect {
        party: u8,
    },
    RestartClient {
        is_told: bool,
    },
    RestartServer {
        keep: bool,
        is_told: bool,
    },
    Save,
    GoBack,
    Close {
        party: u8,
        of_server: bool,
    },
    Abort {
        party: u8,
    },
    FinishAll {
        party: u8,
    },
    Stage {
        party: u8,
    },
    /// What was staged last, or everything so far.
    Commit {
        party: u8,
    },
    GoAway {
        within: u16,
    },
}

/// Whatever applications do, in whatever pieces bytes come, wherever links break, whenever machines are woken, and whenever
/// a process restarts:
///
/// - no panic, and the contract of the run loop holds ([`steadfast_sim::Contract`]): no busy loop, nothing after `Closed`,
///   nothing sent without a `Flush`, clones and snapshots behave as the original;
/// - each message, ask, reply, byte and volatile message comes out as it was written, in the order of its lane and once;
///   what does not come out was handed back, or dropped with notice; what was handed back as unsent never comes out; what
///   was confirmed was taken;
/// - each ask ends once, as its handler ended it;
/// - once the faults stop, everything comes to rest within bounded time, closes cleanly, and nothing is left over;
/// - the machines stay within the memory that their configuration states: when they are weighed at the end, also within each call.
///
/// After a client was restored from an older copy of itself only the first and the last of these are left.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(setup) = Setup::arbitrary(&mut u) else { return };
    let (client, server) = setup.configs();
    let mut talk = Talk::new(Scene::new(client, server.clone(), setup.rigour(), setup.seed.into()));
    if setup.is_ready {
        talk.scene.deliver_all();
    }
    talk.scene.room = usize::from(setup.room).max(1);
    let mut saved = None;
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        talk.scene.weighed = setup.is_weighed.then(|| talk.wants() + 1);
        let Ok(op) = Op::arbitrary(&mut u) else { break };
        say(|| format!("{op:?}"));
        op.perform(&mut talk, &mut saved);
        talk.hear();
    }
    if setup.is_weighed {
        let wants = talk.wants();
        let Talk { scene, books, apps, .. } = talk;
        drop((books, apps, saved));
        return memory::check(scene.into_machines(), &server, wants, 0);
    }
    if talk.books.is_loose {
        return talk.run_on();
    }
    talk.calm_down();
    let is_open = !talk.is_closing && !talk.apps[CLIENT].is_over;
    let closer = talk.party(setup.closer);
    talk.close(closer);
    talk.check_end();
    assert!(!is_open || talk.closed_cleanly(), "nothing was under way, and it did not close cleanly");
}

impl Setup {
    /// Room for everything, and a client that never gives up.
    pub(crate) fn plain() -> Setup {
        Setup {
            seed: 0,
            twins: false,
            noise: false,
            is_ready: true,
            is_weighed: false,
            closer: 0,
            max_message: 1,
            lanes: 4,
            send_messages: 0,
            room: u16::MAX,
            is_tight: false,
            is_reopening: true,
            is_reconnecting: true,
            is_durable: false,
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed.into()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub(crate) fn is_weighed(&self) -> bool {
        self.is_weighed
    }

    pub(crate) fn closer(&self) -> u8 {
        self.closer
    }

    pub(crate) fn rigour(&self) -> Rigour {
        Rigour { twins: self.twins && !self.is_weighed, noise: self.noise }
    }

    pub(crate) fn configs(&self) -> (Config, ServerConfig) {
        let mut config = Config::default();
        config.max_message = [100, 600, 5_000, 20_000][usize::from(self.max_message % 4)];
        config.max_headers = 300;
        config.max_lanes = u32::from(self.lanes % 8);
        let least = config.max_message + config.max_headers + 1024;
        config.send_buffer = match (self.is_tight, self.is_weighed) {
            (true, _) => least,
            // Large beside the rest of the bound, so that what each message costs is seen.
            (false, true) => 1_000_000,
            (false, false) => 100_000,
        };
        config.send_messages = if self.send_messages == 0 { usize::MAX } else { self.send_messages.into() };
        let windows = (2 * config.max_lanes as usize + 2) * Config::LANE_WINDOW;
        config.receive_buffer = least + windows + if self.is_tight { 0 } else { 50_000 };
        config.max_open_asks = if self.is_tight { 2 } else { 100 };
        config.volatile_buffer = 4096;
        config.silence = millis(3000);
        config.close_timeout = millis(5000);
        config.retention = millis(8000);
        config.redial_max = millis(2000);
        config.attempt_timeout = millis(4000);
        config.reconnect = self.is_reconnecting;
        config.durable = self.is_durable;
        config.on_loss = if self.is_reopening { OnLoss::Reopen } else { OnLoss::Close };
        let mut server = ServerConfig::default();
        (server.max_sockets, server.max_pending, server.max_unknown_links) = (16, 4, 4);
        server.socket = config.clone();
        (config, server)
    }
}

impl Op {
    pub(crate) fn perform(self, talk: &mut Talk, saved: &mut Option<Saved>) {
        match self {
            Op::Send { party, lane, shape } => talk.send(talk.party(party), lane, shape, &SendOptions::default()),
            Op::SendWith { party, lane, shape, time_to_live, key, receipt } => {
                let key = key.map(|key| vec![u8::from(key)].into());
                let options = SendOptions { time_to_live: time_to_live.map(millis), key, receipt };
                talk.send(talk.party(party), lane, shape, &options);
            }
            Op::Many { party, lane, count } => {
                for _ in 0..count {
                    talk.send(talk.party(party), lane, Shape::SMALL, &SendOptions::default());
                }
            }
            Op::Write { party, lane, len } => talk.write(talk.party(party), lane, len),
            Op::Volatile { party, lane, shape } => talk.volatile(talk.party(party), lane, shape),
            Op::CancelSend { party, send } => talk.cancel_send(talk.party(party), send),
            Op::Ask { party, lane, shape, timeout } => talk.ask(talk.party(party), lane, shape, timeout),
            Op::CancelAsk { party, ask } => talk.cancel_ask(talk.party(party), ask),
            Op::Reply { party, ask, shape, more } => talk.reply(talk.party(party), ask, shape, more),
            Op::Refuse { party, ask, code } => talk.refuse(talk.party(party), ask, code),
            Op::OpenLane { party, is_bytes, priority } => talk.open_lane(talk.party(party), is_bytes, priority),
            Op::Finish { party, lane } => talk.finish(talk.party(party), lane),
            Op::Discard { party, lane } => talk.discard(talk.party(party), lane),
            Op::Read { party, limit } => talk.read(talk.party(party), usize::from(limit).max(1)),
            Op::Connect => talk.with(CLIENT, |socket, now| socket.connect(now)),
            Op::Reconnect => talk.with(CLIENT, |socket, now| socket.reconnect_now(now)),
            Op::Disconnect { party } => talk.with(talk.party(party), |socket, now| socket.disconnect(now)),
            Op::RestartClient { is_told } => talk.restart_client(is_told),
            Op::RestartServer { keep, is_told } => talk.restart_server(keep, is_told),
            Op::Save => *saved = Some(talk.save()),
            Op::GoBack => {
                if let Some(saved) = saved.take() {
                    talk.go_back(saved);
                }
            }
            Op::Close { of_server: true, .. } => {
                talk.is_closing = true;
                talk.scene.command(|server, now| server.close(now, CloseReason::app(1, "all of you")));
            }
            Op::Close { party, .. } => {
                talk.is_closing = true;
                talk.with(talk.party(party), |socket, now| socket.close(now, CloseReason::app(2, "enough")));
            }
            Op::Abort { party } => {
                talk.with(talk.party(party), |socket, now| socket.abort(now, CloseReason::app(3, "at once")));
            }
            Op::FinishAll { party } => talk.with(talk.party(party), |socket, now| socket.finish_all(now)),
            Op::Stage { party } => talk.stage(talk.party(party)),
            Op::Commit { party } => talk.commit(talk.party(party)),
            Op::GoAway { within } => talk.go_away(millis(within)),
            of_the_scene => of_the_scene.befall(&mut talk.scene),
        }
    }

    fn befall(self, scene: &mut Scene) {
        let some_wire = |scene: &Scene, wire: u8| usize::from(wire).checked_rem(scene.wires.len());
        match self {
            Op::Dial { works } => scene.answer_dial(works),
            Op::Accept => drop(scene.accept_all()),
            Op::Reject { again } => scene.reject(again.map(|tenths| millis(100 * u16::from(tenths)))),
            Op::Deliver { wire, to_server, len } => {
                if let Some(wire) = some_wire(scene, wire) {
                    let reader = if to_server { Side::Server } else { Side::Client };
                    scene.deliver(wire, reader, if len == 0 { usize::MAX } else { len.into() });
                }
            }
            Op::DeliverAll => scene.deliver_all(),
            Op::Cut { wire, keep, told } => {
                if let Some(wire) = some_wire(scene, wire) {
                    scene.cut(wire, keep.map(usize::from), told);
                }
            }
            Op::Wait { time } => scene.wait(millis(time)),
            Op::Wake { server } => scene.wake(if server { Side::Server } else { Side::Client }),
            Op::Sleep { late } => {
                scene.wait(millis(late.into()));
                scene.sleep();
            }
            Op::Lazy(is_lazy) => scene.is_lazy = is_lazy,
            _ => {}
        }
    }
}
