//! The rules of [`Recovery`](super::Recovery) one by one, and whole transfers in virtual time.

mod controller;
mod driver;
mod flow;
mod goals;
mod longer;
mod network;
mod oracle;
mod paths;
mod rival;
#[expect(clippy::single_range_in_vec_init, reason = "acknowledgements of one range")]
mod rules;
#[expect(clippy::single_range_in_vec_init, reason = "acknowledgements of one range")]
mod samples;
