//! Whole transfers in virtual time.

mod flow;
mod goals;
mod network;
mod oracle;
mod rival;
