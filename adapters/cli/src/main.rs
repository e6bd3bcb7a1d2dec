//! The command line tool of steadfast: the netcat of its protocol, a demo that cuts the wire, and a
//! simulator.

mod args;
mod connect;
mod demo;
mod exchange;
mod failure;
mod input;
mod listen;
mod output;
mod signals;
mod sim;
mod story;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;
use output::{Notes, Output};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::explain(&error),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // When nobody can be told any more, the exit code still tells.
            let _ = writeln!(io::stderr(), "error: {failure}");
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let (output, notes) = (Output::new()?, Notes::new()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args, &output, &notes).await,
            Command::Sim(args) => sim::run(*args, &output).await,
            Command::Listen(args) => listen::run(args, output, notes.clone()).await,
            Command::Connect(args) => connect::run(args, output, notes.clone()).await,
        }
    });
    runtime.shutdown_background();
    notes.flush();
    result
}
