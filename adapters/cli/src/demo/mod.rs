//! A server, a harmful proxy and a client over loopback TCP: a file and a conversation pass while the wire is cut.

mod carry;
mod plan;
mod proxy;
mod report;
mod source;
mod talk;
mod tally;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{try_join, try_join3};
use steadfast_tokio::{Change, Changes, CloseReason, Config, Connector, LinkLoss, Listener, ServerConfig, Socket};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::args::Demo;
use crate::failure::Failure;
use crate::output::{Notes, Output};
use carry::Arrived;
use plan::Schedule;
use proxy::Proxy;
use report::{Progress, Standing, Summary};
use source::Source;
use talk::{Account, Voice};

/// The demo has failed when nothing at all has arrived for so long.
const STUCK: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: Demo, output: &Output, notes: &Notes) -> Result<(), Failure> {
    let source = match &args.file {
        None => Source::Made(args.seed),
        Some(path) => {
            let unreadable = |error| Failure::new(format_args!("{}: {error}", path.display()));
            Source::file(path).await.map_err(unreadable)?
        }
    };
    let stage = Stage::set(&args).await?;
    let result = tokio::select! {
        result = stage.play(&source, Duration::from_secs(args.seconds)) => result,
        stuck = stage.watch(Progress::new(notes)) => Err(stuck),
    };
    let standing = stage.standing();
    let summary = Summary::new(&standing);
    let text =
        if args.json { serde_json::to_string(&summary).map_err(Failure::new)? } else { report::for_people(&standing) };
    output.write(format!("{text}\n").into_bytes()).await?;
    result?;
    if summary.is_clean() { Ok(()) } else { Err(Failure::new("messages were lost, doubled or out of order")) }
}

/// All that takes part.
struct Stage {
    client: Socket,
    server: Socket,
    listener: Listener,
    proxy: Proxy,
    client_voice: Voice,
    server_voice: Voice,
    arrived: Arrived,
    start: Instant,
}

impl Stage {
    async fn set(args: &Demo) -> Result<Stage, Failure> {
        let start = Instant::now();
        let mean = Duration::from_millis(args.cut_every);
        let config = config(mean);
        let mut server_config = ServerConfig::default();
        server_config.socket = config.clone();
        let builder = Listener::builder("tcp://127.0.0.1:0").config(server_config);
        let listener = builder.bind().await.map_err(Failure::new)?;
        let address: SocketAddr = listener.local_url().trim_start_matches("tcp://").parse().map_err(Failure::new)?;
        // What is stalled stays so for longer than either side bears it.
        let proxy = Proxy::start(address, Schedule::new(args.seed, mean), 3 * config.silence).await?;
        let connector = Connector::new(format!("tcp://{}", proxy.address())).config(config);
        let client = connector.connect().map_err(Failure::new)?;
        tokio::spawn(hurry(client.clone(), client.changes(), mean / 8));
        let incoming = listener.accept().await.ok_or_else(|| Failure::new("the listener has closed"))?;
        let server = incoming.accept().map_err(Failure::new)?;
        Ok(Stage {
            client,
            server,
            listener,
            proxy,
            client_voice: Voice::new(mix(args.seed, 1)),
            server_voice: Voice::new(mix(args.seed, 2)),
            arrived: Arrived::default(),
            start,
        })
    }

    /// Everything that passes, from the first message to the orderly end of both sides.
    async fn play(&self, source: &Source, time: Duration) -> Result<(), Failure> {
        let until = self.start + time;
        let (to_compare, arriving) = mpsc::channel(1);
        let client = async {
            let carrying = carry::send(&self.client, source, until, arriving, &self.arrived);
            side(&self.client, &self.client_voice, &self.server_voice, until, carrying).await?;
            let closed = self.client.close(CloseReason::app(0, "the demo is over")).await;
            if closed.clean { Ok(()) } else { Err(Failure::new(format_args!("the end was not clean: {closed:?}"))) }
        };
        let server = side(&self.server, &self.server_voice, &self.client_voice, until, std::future::ready(Ok(())));
        try_join3(client, server, carry::receive(&self.server, to_compare, &self.arrived)).await?;
        self.listener.close(CloseReason::app(0, "the demo is over")).await;
        Ok(())
    }

    /// Shows the progress; ends when there is none.
    async fn watch(&self, mut progress: Progress) -> Failure {
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut moved) = ((0, 0), Instant::now());
        loop {
            let now = ticks.tick().await;
            let standing = self.standing();
            progress.show(&standing);
            let arrived = (standing.file_bytes, standing.messages.received);
            if arrived != last {
                (last, moved) = (arrived, now);
            } else if now - moved > STUCK {
                return Failure::new(format_args!("nothing has arrived for {} s: {standing}", STUCK.as_secs()));
            }
        }
    }

    fn standing(&self) -> Standing {
        let mut messages = Account::default();
        self.client_voice.add_to(&mut messages);
        self.server_voice.add_to(&mut messages);
        let (client, server) = (self.client.stats(), self.server.stats());
        Standing {
            elapsed: self.start.elapsed(),
            messages,
            file_bytes: self.arrived.bytes.load(Ordering::Relaxed),
            files: self.arrived.files.load(Ordering::Relaxed),
            cuts: self.proxy.cuts(),
            resumes: client.resumes,
            unconfirmed: (client.send_queue_bytes + server.send_queue_bytes) as u64,
        }
    }
}

/// Limits and times for links that live for `mean`: silence is noticed and the next link is made early enough that harm
/// does not come rarer than every three lives.
fn config(mean: Duration) -> Config {
    let mut config = Config::default();
    config.silence = (mean / 2).clamp(Duration::from_millis(25), Duration::from_secs(5));
    config.attempt_timeout = config.silence;
    config.redial_base = mean / 8;
    config.redial_max = mean / 8;
    config
}

/// Makes the next attempt at once when the pause before it is long, measured by the life of a link.
async fn hurry(client: Socket, mut changes: Changes, long: Duration) {
    while let Some(change) = changes.next().await {
        if let Change::LinkLost(LinkLoss { retry_in_micros: Some(micros), .. }) = change {
            if Duration::from_micros(micros) > long {
                client.reconnect_now();
            }
        }
    }
}

/// One side's part of the conversation, and what else it has to carry, until both sides have finished.
async fn side(
    socket: &Socket,
    own: &Voice,
    peer: &Voice,
    until: Instant,
    carrying: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let (all_answered, answered) = oneshot::channel();
    let speaking = async {
        try_join(talk::speak(socket, own, peer, until), carrying).await?;
        answered.await.map_err(|_| Failure::new("the peer has ended the conversation early"))?;
        socket.finish().await.map_err(Failure::new)
    };
    try_join(speaking, talk::listen(socket, own, peer, all_answered)).await?;
    Ok(())
}

/// A number that follows from the seed and another number.
fn mix(seed: u64, number: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&number.to_le_bytes());
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
