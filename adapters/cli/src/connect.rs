//! `connect`: lines to messages, messages to lines, until both sides have finished.

use std::path::Path;
use std::time::Duration;

use steadfast_tokio::{
    Change, Changes, CloseReason, Closed, Code, ConnectError, Connector, LinkLoss, ProtocolCode, SendErrorKind,
    SessionLost, Socket, State, TlsClient, Url, is_certificate_refused,
};
use tokio::time::timeout;

use crate::args::Connect;
use crate::exchange::{exchange, print};
use crate::failure::Failure;
use crate::input::Lines;
use crate::output::{Notes, Output};
use crate::signals::Signals;
use crate::story::{Story, how_closed, unconfirmed, why};

/// A first attempt that takes longer is told of.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: Connect, output: Output, notes: Notes) -> Result<(), Failure> {
    let mut config = args.pulse.config();
    config.reconnect = !args.no_reconnect;
    let limit = config.max_message;
    let mut connector = Connector::new(args.url.to_string()).config(config);
    if let Some(path) = args.ca()? {
        connector = connector.tls(trusting(path)?);
    }
    let socket = connector.connect().map_err(|error| match error {
        ConnectError::Url(_) | ConnectError::PortZero(_) | ConnectError::Config(_) | ConnectError::Durable => {
            Failure::usage(error)
        }
        error => Failure::new(error),
    })?;
    let lines = Lines::of_stdin(limit)?;
    let mut signals = Signals::new()?;
    let life = live(&socket, socket.changes(), !args.no_reconnect, Story::new(notes, ""));
    let mut conversation = std::pin::pin!(exchange(&socket, life, speak(&socket, lines), print(&socket, &output)));
    let mut interrupted = false;
    loop {
        tokio::select! {
            ended = &mut conversation => {
                let failure = match ended {
                    Ok((end, spoken)) => return judge(&end, spoken, interrupted, &args.url),
                    Err(failure) => failure,
                };
                tokio::select! { _ = socket.closed() => (), () = signals.next() => () }
                return Err(failure);
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

fn trusting(path: &Path) -> Result<TlsClient, Failure> {
    let in_file = |error: &dyn std::fmt::Display| Failure::new(format_args!("{}: {error}", path.display()));
    let pem = std::fs::read(path).map_err(|error| in_file(&error))?;
    TlsClient::with_ca_pem(&pem).map_err(|error| in_file(&error))
}

/// What the end of the socket means for the exit code.
fn judge(end: &End, spoken: Option<Result<(), Failure>>, interrupted: bool, url: &Url) -> Result<(), Failure> {
    let left = unconfirmed(end.unconfirmed());
    if let Some(lost) = &end.session_lost {
        return Err(Failure::session_lost(format_args!("session lost: {left} ({})", why(&lost.reason))));
    }
    if let Some(loss) = &end.given_up {
        let unreachable = loss.reason.code == Code::Protocol(ProtocolCode::Unreachable);
        let what = if unreachable || !end.was_ready {
            cannot_connect(url, &loss.reason)
        } else {
            format!("disconnected: {}", why(&loss.reason))
        };
        // Before the first link nothing has left; how much had been read by then is chance.
        let left = if end.was_ready && end.unconfirmed() > 0 { format!("; {left}") } else { String::new() };
        return Err(Failure::new(format_args!("{what}{left}")));
    }
    match spoken {
        Some(result) if end.unconfirmed() == 0 => result,
        None if end.unconfirmed() == 0 && interrupted => Ok(()),
        None if end.unconfirmed() == 0 => {
            Err(Failure::new(format_args!("closed {} before the end of input", how_closed(&end.closed))))
        }
        _ => Err(Failure::new(format_args!("closed {}; {left}", how_closed(&end.closed)))),
    }
}

/// Which attempt failed, said once: most reasons begin with it.
fn cannot_connect(url: &Url, reason: &CloseReason) -> String {
    match why(reason) {
        text if text.starts_with("cannot connect to ") => text,
        text => format!("cannot connect to {url}: {text}"),
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

/// Follows the socket to its end, which it brings about when connecting again is not wanted or of no use.
///
/// The first attempt is told of only once it has led to something, or takes its time. How it failed for good is not told:
/// that is the tool's last line.
async fn live(socket: &Socket, mut changes: Changes, reconnect: bool, mut story: Story) -> End {
    let (mut session_lost, mut given_up, mut was_ready) = (None, None, false);
    let mut untold = Some(Change::State(State::Connecting));
    // What came before the changes were looked at: success, or a failure, which another attempt will show.
    let mut missed = (socket.state() == State::Ready).then_some(Change::State(State::Ready));
    if !reconnect {
        socket.connect();
    }
    loop {
        let next = match untold {
            _ if missed.is_some() => Ok(missed.take()),
            Some(_) => timeout(PATIENCE, changes.next()).await,
            None => Ok(changes.next().await),
        };
        let change = match next {
            Ok(Some(Change::State(State::Connecting))) if untold.is_some() => continue,
            Ok(Some(change)) => Some(change),
            Ok(None) => break,
            Err(_) => None,
        };
        match &change {
            Some(Change::State(State::Ready)) => was_ready = true,
            Some(Change::SessionLost(lost)) => session_lost = Some(lost.clone()),
            Some(Change::LinkLost(loss)) if !reconnect || is_certificate_refused(loss) => {
                given_up = Some(loss.clone());
                socket.abort(loss.reason.clone());
            }
            _ => {}
        }
        if given_up.is_none() {
            untold.take().into_iter().chain(change).for_each(|change| story.tell(&change));
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
