//! The bodies of the fuzz targets, as functions of bytes: `cargo fuzz` calls them, and so does the replay of the committed
//! corpora.
//!
//! A target is a module with a function `run`, whose documentation says what must hold; it panics when that does not. They
//! share a [`Scene`](scene::Scene), two machines and the bytes or datagrams between them, and some of them the applications
//! of a [`Talk`](talk::Talk) with their [`Books`](books::Books).

use std::sync::LazyLock;

mod books;
pub mod cookies;
pub mod datagrams;
pub mod lossy;
mod memory;
pub mod mitm;
pub mod packets;
pub mod pair;
mod scene;
pub mod server;
mod talk;
mod wire;

/// A target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 7] = [
    ("packets", packets::run),
    ("pair", pair::run),
    ("server", server::run),
    ("mitm", mitm::run),
    ("lossy", lossy::run),
    ("datagrams", datagrams::run),
    ("cookies", cookies::run),
];

/// Prints on standard error what happens, when the environment variable `STEADFAST_LOUD` is set.
fn say(what: impl FnOnce() -> String) {
    static IS_LOUD: LazyLock<bool> = LazyLock::new(|| std::env::var_os("STEADFAST_LOUD").is_some());
    if *IS_LOUD {
        eprintln!("{}", what());
    }
}
