//! The command line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use steadfast_tokio::{Config, Url, UrlError};

use crate::failure::Failure;
use crate::sim::Sim;

/// Sockets that outlive their links.
#[derive(Parser, Debug)]
#[command(name = "steadfast", version, about, arg_required_else_help = false, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  everything was delivered and confirmed; `listen` was stopped by a signal
  1  it was not; standard error says why in one line
  2  the arguments are wrong
  3  the session was lost; standard error says how many messages are unconfirmed";

// The certificate is its own authority. Without the last extension openssl makes one that no server can show.
const URLS: &str = "\
URLs:
  tcp://host:port   TCP; `listen` takes port 0 and prints the port it got
  unix:/path        a Unix socket
  udp://host:port   UDP; not encrypted, and fit for paths that lose datagrams; the path
                    has to carry datagrams of 1200 bytes (1228 with IP and UDP headers)
  tls://host:port   TLS over TCP; `listen` needs --cert and --key

A certificate of your own, for `listen --cert cert.pem --key key.pem` and `connect --ca cert.pem`:
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost \\
    -keyout key.pem -out cert.pem -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \\
    -addext basicConstraints=critical,CA:FALSE";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Demo(Demo),
    Sim(Box<Sim>),
    Listen(Listen),
    Connect(Connect),
}

/// Carry a file and a conversation through a proxy that cuts the wire again and again
///
/// Server, proxy and client run in this process over loopback TCP. The proxy resets links, truncates them at random
/// bytes and leaves them half open. What arrives is numbered and hashed, and compared with what was sent. The exit code
/// is 1 when anything is lost, doubled or out of order.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// How long to go on; then what has been begun is finished
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seconds: u64,
    /// The mean life of a link in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(20..=3_600_000))]
    pub(crate) cut_every: u64,
    /// The file to carry, again and again until the time is up, and whole at least once; one is made from the seed
    /// without it
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// Decides about the harm and about what is said
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Listen, and print what arrives or send it back
///
/// The first line of standard output is the URL that was bound. Each message of each socket is printed as a line. Each
/// line of standard input goes as a message to all the sockets there are, at the pace of the slowest; while there is
/// none, the lines wait. At the end of input all sockets are finished, and those that come later at once. States and
/// reasons go to standard error. SIGINT or SIGTERM closes the sockets and ends with exit code 0; a second one ends at
/// once.
#[derive(Args, Debug)]
#[command(after_help = URLS)]
pub(crate) struct Listen {
    /// Where to listen
    #[arg(value_parser = url)]
    pub(crate) url: Url,
    /// Send each message back to its socket, and finish the socket when the peer has; standard input is not read
    #[arg(long, conflicts_with = "print")]
    pub(crate) echo: bool,
    /// Print each message as a line, the default
    #[arg(long)]
    pub(crate) print: bool,
    /// PEM file with the certificate chain (tls://)
    #[arg(long, value_name = "PATH", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file with the certificate's private key (tls://)
    #[arg(long, value_name = "PATH", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pulse: Pulse,
}

/// Connect, send lines and print what arrives
///
/// Each line of standard input is sent as a message, each message received is printed as a line. At the end of input the
/// socket is finished; the tool goes on reading until the peer has finished too and all is confirmed, then ends with exit
/// code 0. Whatever happens to the link meanwhile, each line arrives once and in order. States and reasons go to standard
/// error. SIGINT or SIGTERM closes the socket; a second one ends at once.
#[derive(Args, Debug)]
#[command(after_help = URLS)]
pub(crate) struct Connect {
    /// Where to connect
    #[arg(value_parser = url)]
    pub(crate) url: Url,
    /// Give up when the first attempt fails or the link is gone
    #[arg(long)]
    pub(crate) no_reconnect: bool,
    /// PEM file with certificates of authorities to trust, beside the public ones (tls://)
    #[arg(long, value_name = "PATH")]
    pub(crate) ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pulse: Pulse,
}

impl Listen {
    /// The files with certificate and key, when there is TLS.
    ///
    /// # Errors
    /// When they are missing, or not needed.
    pub(crate) fn tls(&self) -> Result<Option<(&Path, &Path)>, Failure> {
        match (&self.url, &self.cert, &self.key) {
            (Url::Tls { .. }, Some(cert), Some(key)) => Ok(Some((cert, key))),
            (url @ Url::Tls { .. }, ..) => Err(Failure::usage(format_args!("`{url}` needs --cert and --key"))),
            (_, None, None) => Ok(None),
            (url, ..) => Err(Failure::usage(format_args!("--cert and --key are for tls://, not for `{url}`"))),
        }
    }
}

impl Connect {
    /// The file with authorities to trust.
    ///
    /// # Errors
    /// When there is one, and no TLS.
    pub(crate) fn ca(&self) -> Result<Option<&Path>, Failure> {
        match (&self.url, &self.ca) {
            (Url::Tls { .. }, ca) => Ok(ca.as_deref()),
            (_, None) => Ok(None),
            (url, Some(_)) => Err(Failure::usage(format_args!("--ca is for tls://, not for `{url}`"))),
        }
    }
}

/// clap names the argument, so what is left to say is the problem.
fn url(text: &str) -> Result<Url, String> {
    text.parse().map_err(|error: UrlError| error.problem.to_string())
}

/// How often a link shows life, and how long it may fail to.
#[derive(Args, Debug)]
pub(crate) struct Pulse {
    /// Milliseconds after which this side shows life on an idle link, which the peer answers; either side does so at
    /// least every third of the other's timeout, and by default
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(4..=100_000_000))]
    heartbeat: Option<u64>,
    /// Milliseconds of silence after which a link is given up [default: three heartbeats, or 15000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=1_000_000_000))]
    timeout: Option<u64>,
}

impl Pulse {
    /// The configuration of a socket with this pulse.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        if let Some(millis) = self.heartbeat {
            config.heartbeat = Duration::from_millis(millis);
        }
        if let Some(millis) = self.timeout.or(self.heartbeat.map(|heartbeat| 3 * heartbeat)) {
            config.silence = Duration::from_millis(millis);
        }
        config.close_timeout = CLOSE_TIMEOUT;
        config.redial_max = REDIAL_MAX;
        config
    }
}

/// How long a close may take, so that ending the tool does not wait long for a peer that is away.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest pause between attempts: somebody waits for the output.
const REDIAL_MAX: Duration = Duration::from_secs(1);

/// Prints what clap has to say: help as it is, a mistake in one line.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    if error.exit_code() == 0 {
        // A reader that has gone away does not want to be helped.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let mistake = text.split("\n\nUsage").next().unwrap_or_default().trim_start_matches("error: ");
    let mistake = Failure::usage(mistake.split("\n\nFor more").next().unwrap_or_default());
    // When nobody can be told any more, the exit code still tells.
    let _ = writeln!(io::stderr(), "error: {mistake} (--help says more)");
    mistake.exit_code()
}
