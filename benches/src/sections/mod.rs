//! The sections of the goals, each as rows of the table.

pub mod core;
pub mod datagram;
pub mod growth;
pub mod loopback;
pub mod loss;
pub mod server;
