//! The conversation: numbered messages and asks both ways, and what became of them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{try_join, try_join_all};
use steadfast_tokio::{Message, Received, Socket};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::mix;
use super::tally::{Faults, Tally};
use crate::failure::Failure;

/// A side says and asks something this often.
const TICK: Duration = Duration::from_millis(5);
/// It says up to so many messages each time.
const BURST: u64 = 16;
/// The strand of plain messages; the others are strands of asks, each of which waits for an answer before the next.
const TELLING: u8 = 0;
/// How many strands there are.
const STRANDS: u8 = 5;

/// Names a message of a voice: messages are in order within a strand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Name {
    kind: Kind,
    strand: u8,
    number: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A message or an ask.
    Said,
    /// An answer to the peer's ask of this strand and number.
    Answer,
    /// All has been asked and answered: the last message.
    Last,
}

/// What one side says and what the other one hears of it.
pub(crate) struct Voice {
    seed: u64,
    record: Mutex<Record>,
}

/// Counts of one voice.
#[derive(Default)]
struct Record {
    /// All that was said, answers included.
    sent: u64,
    /// All that was heard.
    received: u64,
    /// Bytes heard.
    bytes: u64,
    strands: [Strand; STRANDS as usize],
}

#[derive(Default)]
struct Strand {
    said: u64,
    heard: Tally,
    /// Asks to which the right answer has come.
    answered: u64,
}

/// All that is known of the messages of some voices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Account {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Bytes received.
    pub(crate) bytes: u64,
    pub(crate) faults: Faults,
}

impl Voice {
    /// The seed decides about all that is said.
    pub(crate) fn new(seed: u64) -> Voice {
        Voice { seed, record: Mutex::default() }
    }

    fn record<R>(&self, change: impl FnOnce(&mut Record) -> R) -> R {
        change(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The message of this name: the name, and bytes that follow from it.
    fn message(&self, name: Name) -> Bytes {
        let Name { kind, strand, number } = name;
        let mut rng = fastrand::Rng::with_seed(mix(self.seed, number << 16 | u64::from(strand) << 8 | kind as u64));
        // Most are small, some are larger than what a link takes at once.
        let length = if rng.u8(..) == 0 { rng.usize(..200_000) } else { rng.usize(..600) };
        let mut message = Vec::with_capacity(10 + length);
        message.extend_from_slice(&number.to_le_bytes());
        message.extend_from_slice(&[strand, kind as u8]);
        message.resize(10 + length, 0);
        rng.fill(&mut message[10..]);
        message.into()
    }

    /// The name of a message, if this voice has such a one.
    fn recognise(&self, message: &Bytes) -> Option<Name> {
        let (number, rest) = message.split_first_chunk()?;
        let (&[strand, kind], _) = rest.split_first_chunk()?;
        let kind = [Kind::Said, Kind::Answer, Kind::Last].into_iter().find(|known| *known as u8 == kind)?;
        let name = Name { kind, strand, number: u64::from_le_bytes(*number) };
        (strand < STRANDS && self.message(name) == message).then_some(name)
    }

    /// The next message of a strand.
    fn say(&self, strand: u8, kind: Kind) -> (u64, Message) {
        let number = self.record(|record| {
            record.sent += 1;
            let strand = &mut record.strands[usize::from(strand)];
            strand.said += 1;
            strand.said - 1
        });
        (number, self.message(Name { kind, strand, number }).into())
    }

    /// The answer to this ask of the peer.
    fn answer(&self, ask: Name) -> Message {
        self.record(|record| record.sent += 1);
        self.message(Name { kind: Kind::Answer, ..ask }).into()
    }

    /// Takes note of a message of this voice that has arrived. One that it never had is received all the same, and the
    /// one in whose place it stands will be missing.
    fn hear(&self, message: &Bytes) -> Option<Name> {
        let name = self.recognise(message);
        self.record(|record| {
            record.received += 1;
            record.bytes += message.len() as u64;
            if let Some(Name { kind: Kind::Said | Kind::Last, strand, number }) = name {
                record.strands[usize::from(strand)].heard.arrived(number);
            }
        });
        name
    }

    /// Adds up what is known of this voice.
    pub(crate) fn add_to(&self, account: &mut Account) {
        self.record(|record| {
            account.sent += record.sent;
            account.received += record.received;
            account.bytes += record.bytes;
            for (index, strand) in record.strands.iter().enumerate() {
                account.faults.add(strand.heard.faults(strand.said));
                if index != usize::from(TELLING) {
                    account.faults.lost += strand.said - strand.answered;
                }
            }
        });
    }
}

/// Speaks until the time is up and all answers have come.
///
/// # Errors
/// When something cannot be sent, or an ask ends without its answer.
pub(crate) async fn speak(socket: &Socket, own: &Voice, peer: &Voice, until: Instant) -> Result<(), Failure> {
    let asking = (0..STRANDS).filter(|strand| *strand != TELLING).map(|strand| ask(socket, own, peer, strand, until));
    try_join(tell(socket, own, until), try_join_all(asking)).await?;
    socket.send(own.say(TELLING, Kind::Last).1).await.map_err(Failure::new)
}

async fn tell(socket: &Socket, own: &Voice, until: Instant) -> Result<(), Failure> {
    let mut rng = fastrand::Rng::with_seed(own.seed);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while ticks.tick().await < until {
        for _ in 0..rng.u64(..=BURST) {
            socket.send(own.say(TELLING, Kind::Said).1).await.map_err(Failure::new)?;
        }
    }
    Ok(())
}

async fn ask(socket: &Socket, own: &Voice, peer: &Voice, strand: u8, until: Instant) -> Result<(), Failure> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while ticks.tick().await < until {
        let (number, message) = own.say(strand, Kind::Said);
        let answer = socket.ask(message).await.map_err(Failure::new)?;
        if peer.hear(&answer.payload) == Some(Name { kind: Kind::Answer, strand, number }) {
            own.record(|record| record.strands[usize::from(strand)].answered += 1);
        }
    }
    Ok(())
}

/// Listens to the peer and answers it until it has finished; tells when nothing more has to be answered.
///
/// # Errors
/// When an answer cannot be given.
pub(crate) async fn listen(
    socket: &Socket,
    own: &Voice,
    peer: &Voice,
    all_answered: oneshot::Sender<()>,
) -> Result<(), Failure> {
    let mut all_answered = Some(all_answered);
    while let Some(received) = socket.recv().await {
        let name = peer.hear(&received.message().payload);
        match (received, name) {
            (Received::Ask(ask), Some(name)) => ask.reply(own.answer(name)).await.map_err(Failure::new)?,
            (Received::Message(_), Some(Name { kind: Kind::Last, .. })) => {
                // Whoever waits may have given up.
                all_answered.take().map(|all_answered| all_answered.send(()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_is_counted_and_a_changed_byte_is_a_loss() {
        let voice = Voice::new(1);
        let messages: Vec<Bytes> = (0..3).map(|_| voice.say(TELLING, Kind::Said).1.payload).collect();
        let mut changed = messages[1].to_vec();
        *changed.last_mut().unwrap() ^= 1;
        for message in [messages[0].clone(), changed.into(), messages[2].clone()] {
            voice.hear(&message);
        }
        let mut account = Account::default();
        voice.add_to(&mut account);
        assert_eq!((account.sent, account.received, account.faults.lost), (3, 3, 1));
    }

    #[test]
    fn an_ask_without_its_answer_is_a_loss() {
        let voice = Voice::new(1);
        let (_, ask) = voice.say(1, Kind::Said);
        assert_eq!(voice.hear(&ask.payload), Some(Name { kind: Kind::Said, strand: 1, number: 0 }));
        let mut account = Account::default();
        voice.add_to(&mut account);
        assert_eq!(account.faults.lost, 1);
    }
}
