//! The built tool, looked at from outside.

mod demo;
mod errors;
mod harness;
mod netcat;
mod readme;
mod sim;
mod tls;
