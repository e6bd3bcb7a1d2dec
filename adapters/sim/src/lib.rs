//! steadfast in virtual time: servers, clients and bad links in one thread, replayed from a seed.
//!
//! A [`World`] holds machines of the core and carries bytes between them: in random pieces, late, over links that break
//! after any byte or stall without a word. Nothing waits: the clock jumps from one deadline to the next. Each machine is
//! driven through a [`Contract`], which panics when the machine breaks a rule of the run loop.
//!
//! ```
//! use std::time::Duration;
//! use steadfast::{Config, ServerConfig};
//! use steadfast_sim::{ADDRESS, Break, World};
//!
//! let mut world = World::new(7);
//! world.serve(ADDRESS, ServerConfig::default());
//! let (client, server) = world.connected(Config::default());
//!
//! let link = world.link_of(client).expect("a link");
//! world.send(client, "before the cut")?;
//! world.break_link(link, Break::Stall);
//! world.send(client, "after it")?;
//!
//! // The client notices the silence, dials again and takes the session over.
//! world.run_for(Duration::from_secs(60));
//! assert_eq!(world.texts(server), ["before the cut", "after it"]);
//! # Ok::<(), steadfast::SendError>(())
//! ```

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
pub use bound::memory_bound;
pub use conditions::{Break, Conditions, Dialling, Side};
pub use contract::{Contract, Rigour};
pub use digest::Digest;
pub use inspect::{Content, Traffic};
pub use machine::{Input, Machine, freeze, thaw};
pub use rng::Rng;
pub use trace::{Divergence, Entry, Happened, Party, SentPacket, Trace, TraceError};
pub use world::{ADDRESS, Admission, End, ServerIx, Wires, World};
