//! steadfast measured beside floors and peers: `make bench` prints the table and makes the plots.
//!
//! Each workload stands here once; the binary `ratios` and the benches of criterion run the same ones.

pub mod counting;
pub mod fleet;
pub mod floors;
pub mod loopback;
pub mod lossy;
pub mod machines;
pub mod measure;
pub mod memory;
pub mod plots;
pub mod quic;
pub mod sections;
pub mod table;
