//! `listen`: many sockets, printed or echoed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use steadfast_tokio::{
    BindError, Change, CloseReason, Listener, Received, SendErrorKind, ServerConfig, Socket, TlsError, TlsServer,
};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::args::Listen;
use crate::exchange::{exchange, print};
use crate::failure::Failure;
use crate::input::Lines;
use crate::output::{Notes, Output};
use crate::signals::Signals;
use crate::story::Story;

pub(crate) async fn run(args: Listen, output: Output, notes: Notes) -> Result<(), Failure> {
    let mut config = ServerConfig::default();
    config.socket = args.pulse.config();
    let limit = config.socket.max_message;
    let mut builder = Listener::builder(args.url.to_string()).config(config);
    if let Some((cert, key)) = args.tls()? {
        builder = builder.tls(certificate(cert, key)?);
    }
    let mut signals = Signals::new()?;
    let listener = builder.bind().await.map_err(|error| match error {
        BindError::Url(_) | BindError::NoCertificate(_) | BindError::Config(_) | BindError::Durable => {
            Failure::usage(error)
        }
        error => Failure::new(error),
    })?;
    output.write(format!("{}\n", listener.local_url()).into_bytes()).await?;

    let crowd =
        Arc::new(Crowd { output, notes, sockets: watch::Sender::default(), input_ended: watch::Sender::new(false) });
    let mut serving = JoinSet::new();
    let mut result = {
        let mut input = std::pin::pin!(async {
            match args.echo {
                true => Ok(()),
                false => crowd.send_to_all(Lines::of_stdin(limit)?).await,
            }
        });
        let mut numbers = 1..;
        loop {
            tokio::select! {
                Some(incoming) = listener.accept() => {
                    // A client that has gone again meanwhile may come back.
                    let Ok(socket) = incoming.accept() else { continue };
                    serving.spawn(crowd.clone().serve(socket, numbers.next().unwrap_or(0), args.echo));
                }
                Some(served) = serving.join_next() => {
                    if let Err(failure) = outcome(served) {
                        break Err(failure);
                    }
                }
                result = &mut input, if !*crowd.input_ended.borrow() => {
                    crowd.input_ended.send_replace(true);
                    if result.is_err() {
                        break result;
                    }
                }
                () = signals.next() => break Ok(()),
            }
        }
    };
    tokio::select! {
        () = listener.close(CloseReason::app(0, "the listener is shutting down")) => {}
        () = signals.next() => return Err(Failure::new("interrupted")),
    }
    while let Some(served) = serving.join_next().await {
        result = result.and(outcome(served));
    }
    result
}

/// How the task that served a socket ended.
fn outcome(served: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    served.map_err(Failure::new)?
}

/// What all sockets share.
struct Crowd {
    output: Output,
    notes: Notes,
    /// Those that live, by their numbers.
    sockets: watch::Sender<BTreeMap<u64, Socket>>,
    /// Nothing more goes to any socket.
    input_ended: watch::Sender<bool>,
}

impl Crowd {
    /// Sends each line to all sockets there are then, at the pace of the slowest; waits for the first one.
    async fn send_to_all(&self, mut lines: Lines) -> Result<(), Failure> {
        let mut present = self.sockets.subscribe();
        while let Some(line) = lines.next().await {
            let line = line.map_err(Failure::new)?;
            let sockets = present.wait_for(|sockets| !sockets.is_empty()).await.map_err(Failure::new)?.clone();
            for (number, socket) in sockets {
                match socket.send(line.clone()).await.map_err(|error| error.kind) {
                    // One that is ending says so itself.
                    Ok(()) | Err(SendErrorKind::Closed | SendErrorKind::Lost) => {}
                    Err(error) => self.notes.line(format_args!("socket {number}: not sent: {error}")),
                }
            }
        }
        Ok(())
    }

    /// Serves one socket to its end.
    async fn serve(self: Arc<Self>, socket: Socket, number: u64, echoing: bool) -> Result<(), Failure> {
        let mut story = Story::new(self.notes.clone(), format!("socket {number}: "));
        let mut changes = socket.changes();
        // What came before the changes were looked at.
        story.tell(&Change::State(socket.state()));
        let life = async {
            while let Some(change) = changes.next().await {
                story.tell(&change);
            }
        };
        if echoing {
            exchange(&socket, life, std::future::ready(()), echo(&socket)).await?;
            return Ok(());
        }
        self.sockets.send_modify(|sockets| drop(sockets.insert(number, socket.clone())));
        let finish = async {
            // The sender lives as long as this future.
            let _ = self.input_ended.subscribe().wait_for(|ended| *ended).await;
            socket.finish().await
        };
        let result = exchange(&socket, life, finish, print(&socket, &self.output)).await;
        self.sockets.send_modify(|sockets| drop(sockets.remove(&number)));
        result.map(drop)
    }
}

/// Sends every message back and answers every ask with what it asks, until the peer has finished; then finishes too.
async fn echo(socket: &Socket) -> Result<(), Failure> {
    while let Some(received) = socket.recv().await {
        let sent = match received {
            Received::Message(message) => socket.send(message).await,
            Received::Ask(ask) => {
                let message = ask.message.clone();
                ask.reply(message).await
            }
        };
        if sent.is_err() {
            break;
        }
    }
    // The socket's end says whether all was confirmed.
    let _ = socket.finish().await;
    Ok(())
}

fn certificate(cert: &Path, key: &Path) -> Result<TlsServer, Failure> {
    let in_file =
        |path: &Path, error: &dyn std::fmt::Display| Failure::new(format_args!("{}: {error}", path.display()));
    let chain = std::fs::read(cert).map_err(|error| in_file(cert, &error))?;
    let private = std::fs::read(key).map_err(|error| in_file(key, &error))?;
    TlsServer::from_pem(&chain, &private).map_err(|error| match error {
        TlsError::Key(_) => in_file(key, &error),
        error => in_file(cert, &error),
    })
}
