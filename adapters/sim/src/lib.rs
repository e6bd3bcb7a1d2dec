//! steadfast in virtual time: servers, clients and bad links in one thread, replayed from a seed. For tests of programs
//! that use steadfast, and of steadfast itself.
//!
//! A [`World`] holds machines of the core and carries bytes between them: in random pieces, late, over links that break
//! after any byte or stall without a word. Nothing waits: the clock jumps from one deadline to the next, so that an hour
//! of bad network passes in a moment and the same in each run. Here is a test as you would write it for a program of your
//! own. Its logic, an [`Application`], hears events and acts, as it would behind a runtime's adapter:
//!
//! ```
//! use std::time::Duration;
//! use steadfast::{Config, Event, LaneId, Received, ServerConfig};
//! use steadfast_sim::{ADDRESS, Application, Break, End, Side, World};
//!
//! /// A server that adds up what its client sends, and tells the sum.
//! #[derive(Default)]
//! struct Adder {
//!     sum: u64,
//!     told: Option<u64>,
//! }
//!
//! impl Application for Adder {
//!     fn event(&mut self, world: &mut World, end: End, event: Event) {
//!         let Event::Readable(LaneId::MAIN) = event else { return };
//!         while let Some(Received::Message(message)) = world.recv(end) {
//!             let number: u64 = String::from_utf8_lossy(&message.payload).parse().expect("a number");
//!             match end.side() {
//!                 Side::Server => {
//!                     self.sum += number;
//!                     world.send(end, self.sum.to_string()).expect("room");
//!                 }
//!                 Side::Client => self.told = Some(number),
//!             }
//!         }
//!     }
//! }
//!
//! let mut world = World::new(7); // All chance follows from this number.
//! world.serve(ADDRESS, ServerConfig::default());
//! let client = world.client(Config::default());
//!
//! // From now on links are slow, and break in every way there is, within five seconds.
//! world.conditions.latency = Duration::from_millis(5)..=Duration::from_millis(150);
//! world.conditions.age = Some((Duration::ZERO..=Duration::from_secs(5), Break::ALL.to_vec()));
//!
//! let mut adder = Adder::default();
//! for number in 1..=100 {
//!     world.send(client, number.to_string()).expect("room");
//!     world.run_app(&mut adder, Duration::from_millis(500));
//! }
//! world.calm_down();
//! world.run_app(&mut adder, Duration::from_secs(60));
//!
//! // Each number was counted once, whatever happened to the links.
//! assert_eq!((adder.sum, adder.told), (5050, Some(5050)));
//! assert!(world.cuts() > 0);
//! ```
//!
//! What else there is:
//!
//! - [`net`]: the network that carries the links, of small nodes that delay, queue, lose, double, reorder, change and part.
//!   [`World::wire`] lays links through them, alone or shared.
//! - [`World::break_link`], [`World::suspend`], [`World::stop`], [`World::restart`] and their like: what happens to links and
//!   processes, at the moment that a test chooses. [`Conditions`] let it happen by itself.
//! - [`World::record`] and [`World::follow`]: what happened as a [`Trace`] in text, and a run that has to be the same.
//! - [`scenario`]: measured talks, of which the numbers can be compared; `steadfast sim` runs and draws them.
//! - [`Contract`]: each machine is driven through one, which panics when it breaks a rule of the run loop.
//! - [`model`] and [`by_hand`]: the reference model that proves steadfast itself, and peers that keep to no protocol.

mod application;
mod bound;
pub mod by_hand;
mod conditions;
mod contract;
mod digest;
mod inspect;
mod machine;
pub mod model;
pub mod net;
mod pipe;
mod rng;
pub mod scenario;
mod trace;

mod world;

pub use application::Application;
pub use bound::{datagram_bound, memory_bound};
pub use conditions::{Break, Conditions, Dialling, Side};
pub use contract::{Contract, Rigour};
pub use digest::Digest;
pub use inspect::{Content, Traffic};
pub use machine::{Input, Machine, freeze, thaw};
pub use rng::Rng;
pub use trace::{Divergence, Entry, Happened, Party, SentPacket, Trace, TraceError};
pub use world::{ADDRESS, Admission, End, ServerIx, Wires, World};
