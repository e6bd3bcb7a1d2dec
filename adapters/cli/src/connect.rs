//! `connect`: lines to messages, messages to lines, until both sides have finished.

use std::path::Path;

use steadfast_tokio::{
    Change, Changes, CloseReason, Closed, Connector, LinkLoss, SendErrorKind, SessionLost, Socket, State, TlsClient,
    is_certificate_refused,
};

use crate::args::Connect;
use crate::exchange::{exchange, print};
use crate::failure::Failure;
use crate::input::Lines;
use crate::output::{Notes, Output};
use crate::signals::Signals;
use crate::story::{Story, how_closed, unconfirmed};

pub(crate) async fn run(args: Connect, output: Output, notes: Notes) -> Result<(), Failure> {
    let mut config = args.pulse.config()?;
    config.reconnect = !args.no_reconnect;
    let limit = config.max_message;
    let mut connector = Connector::new(&args.url).config(config);
    if let Some(path) = &args.ca {
        connector = connector.tls(trusting(path)?);
    }
    let socket = connector.connect().map_err(Failure::new)?;
    let lines = Lines::of_stdin(limit)?;
    converse(&socket, lines, &output, Story::new(notes, ""), &args.url).await
}

fn trusting(path: &Path) -> Result<TlsClient, Failure> {
    let in_file = |error: &dyn std::fmt::Display| Failure::new(format_args!("{}: {error}", path.display()));
    let pem = std::fs::read(path).map_err(|error| in_file(&error))?;
    TlsClient::with_ca_pem(&pem).map_err(|error| in_file(&error))
}

async fn converse(socket: &Socket, lines: Lines, output: &Output, story: Story, url: &str) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let life = live(socket, socket.changes(), story);
    let mut conversation = std::pin::pin!(exchange(socket, life, speak(socket, lines), print(socket, output)));
    let mut interrupted = false;
    loop {
        tokio::select! {
            ended = &mut conversation => {
                let (end, spoken) = ended?;
                return judge(&end, spoken, interrupted, url);
            }
            () = signals.next() => {
                if std::mem::replace(&mut interrupted, true) {
                    return Err(Failure::new("interrupted"));
                }
                drop(socket.close(CloseReason::app(0, "interrupted")));
            }
        }
    }
}

/// What the end of the socket means for the exit code.
fn judge(end: &End, spoken: Option<Result<(), Failure>>, interrupted: bool, url: &str) -> Result<(), Failure> {
    let left = unconfirmed(end.unconfirmed());
    if let Some(lost) = &end.session_lost {
        return Err(Failure::session_lost(format_args!("session lost: {left} ({})", lost.reason)));
    }
    match (&end.given_up, spoken) {
        (Some(loss), _) if !end.was_ready => {
            Err(Failure::new(format_args!("cannot connect to {url}: {}", loss.reason)))
        }
        (Some(loss), _) => Err(Failure::new(format_args!("the link is gone: {}; {left}", loss.reason))),
        (None, Some(result)) if end.unconfirmed() == 0 => result,
        (None, None) if end.unconfirmed() == 0 && interrupted => Ok(()),
        (None, None) if end.unconfirmed() == 0 => {
            Err(Failure::new(format_args!("closed {} before the end of input", how_closed(&end.closed))))
        }
        (None, _) => Err(Failure::new(format_args!("closed {}; {left}", how_closed(&end.closed)))),
    }
}

/// How the socket's life ended.
struct End {
    closed: Closed,
    session_lost: Option<SessionLost>,
    /// The last link or attempt, when no further one is to be made.
    given_up: Option<LinkLoss>,
    was_ready: bool,
}

impl End {
    fn unconfirmed(&self) -> usize {
        self.session_lost.as_ref().map_or(self.closed.unconfirmed, |lost| lost.unconfirmed)
    }
}

/// Follows the socket to its end, which it brings about when connecting again is of no use or not wanted.
///
/// The first attempt is told of only once it has led to something: when it fails for good, that is the one thing to say.
async fn live(socket: &Socket, mut changes: Changes, story: Story) -> End {
    let (mut session_lost, mut given_up, mut was_ready) = (None, None, false);
    let mut untold = Some(Change::State(State::Connecting));
    while let Some(change) = changes.next().await {
        match &change {
            Change::State(State::Connecting) if untold.is_some() => continue,
            Change::State(State::Ready) => was_ready = true,
            Change::LinkLost(loss) if loss.retry_in_micros.is_none() || is_certificate_refused(loss) => {
                given_up = Some(loss.clone());
                socket.abort(loss.reason.clone());
                if was_ready {
                    story.tell(&change);
                }
                continue;
            }
            Change::SessionLost(lost) => session_lost = Some(lost.clone()),
            _ => {}
        }
        if given_up.is_none() {
            if let Some(first) = untold.take() {
                story.tell(&first);
            }
            story.tell(&change);
        }
    }
    End { closed: socket.closed().await, session_lost, given_up, was_ready }
}

/// Sends every line, then finishes; ends when all is confirmed.
async fn speak(socket: &Socket, mut lines: Lines) -> Result<(), Failure> {
    let mut result = Ok(());
    while let Some(line) = lines.next().await {
        let sent = match line {
            Ok(line) => socket.send(line).await,
            Err(error) => {
                result = Err(Failure::new(error));
                break;
            }
        };
        match sent.map_err(|error| error.kind) {
            Ok(()) => {}
            // How the socket ended says why.
            Err(SendErrorKind::Closed | SendErrorKind::Lost) => std::future::pending().await,
            Err(error) => {
                result = Err(Failure::new(error));
                break;
            }
        }
    }
    match socket.finish().await {
        Ok(()) => result,
        Err(_) => std::future::pending().await,
    }
}
