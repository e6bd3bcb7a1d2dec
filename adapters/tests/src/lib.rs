//! What the tests of the adapters share: the runtimes, two ends that are connected, a proxy that harms.
//!
//! A test is one generic function, run by [`on_every_runtime`] on tokio (both kinds) and on smol. It is bounded in time
//! and waits for events, never for a time to pass in the hope that something has happened.

mod certificates;
mod ends;
mod lossy;
mod meddling;
mod proxy;
mod reserved;
mod runtimes;
mod transport;

pub use certificates::{Authority, own_certificate};
pub use ends::{Ends, accept, config, connect, ends, ends_with, listen, recv, serve_at, serve_with, text};
pub use lossy::{Harm, LossyProxy};
pub use meddling::{Meddled, Meddling, Meter};
pub use proxy::Proxy;
pub use reserved::Reserved;
pub use runtimes::{LIMIT, pass, run_on_smol, run_on_tokio_current, run_on_tokio_multi, within};
pub use transport::over_udp;
