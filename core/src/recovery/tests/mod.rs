//! Whole transfers in virtual time.

mod flow;
mod network;
mod oracle;
mod goals;
