//! Floors: the least that a protocol of the kind can do. Ours is measured against them.

pub mod floor_dgram;
pub mod hand;
pub mod seqack;
