//! Links that have not said who they are, and opens that wait for a decision (PROTOCOL.md §6.1).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{OpenId, OpenRequest, Server, ServerEvent, SocketId};
use crate::code::ProtocolCode;
use crate::ids::{LinkId, SessionId};
use crate::link::LinkAction;
use crate::socket::{Bearer, Refusal, Resume, reject};
use crate::time::Time;
use crate::wire::{Arrived, Deframer, Handshake, Hello, HelloKind, Params, WireError, decode_handshake, frame_packet};

/// An open that waits for a decision.
#[derive(Clone, Debug)]
pub(super) struct PendingOpen {
    pub(super) open_id: [u8; 16],
    pub(super) params: Params,
    /// The newest link that asked for it, with the nonce to answer.
    pub(super) link: Option<(LinkId, [u8; 16], Bearer)>,
    until: Time,
}

/// Where an open stands.
#[derive(Clone, Debug)]
enum Open {
    Pending(OpenId),
    Accepted(SocketId),
    Rejected(Box<Refusal>),
}

/// A link of which no socket has taken hold.
#[derive(Clone, Debug)]
enum Stranger {
    /// It has not said HELLO yet.
    Silent { deframer: Deframer, until: Time },
    /// Its open waits for a decision.
    Opening(OpenId),
    /// It asked for a session of another instance.
    Foreign { nonce: [u8; 16], until: Time },
}

/// All strangers and all opens.
#[derive(Clone, Debug, Default)]
pub(super) struct Greetings {
    strangers: BTreeMap<LinkId, Stranger>,
    /// Those that have not said HELLO, by their deadlines: the oldest first.
    silent: BTreeSet<(Time, LinkId)>,
    /// Those that asked for a session of another instance, likewise.
    foreign: BTreeSet<(Time, LinkId)>,
    opens: BTreeMap<[u8; 16], Open>,
    pending: BTreeMap<OpenId, PendingOpen>,
    /// Those that wait for a decision, by their deadlines.
    undecided: BTreeSet<(Time, OpenId)>,
    rejected: VecDeque<[u8; 16]>,
    next: u64,
}

impl Greetings {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let links = [self.silent.first(), self.foreign.first()].into_iter().flatten().map(|(at, _)| *at);
        links.chain(self.undecided.first().map(|(at, _)| *at)).min()
    }

    /// Takes an open out, to be decided.
    pub(super) fn decide(&mut self, id: OpenId) -> Option<PendingOpen> {
        let pending = self.pending.remove(&id)?;
        self.undecided.remove(&(pending.until, id));
        self.opens.remove(&pending.open_id);
        if let Some((link, ..)) = &pending.link {
            self.strangers.remove(link);
        }
        Some(pending)
    }

    pub(super) fn accepted(&mut self, open_id: [u8; 16], socket: SocketId) {
        self.opens.insert(open_id, Open::Accepted(socket));
    }

    /// Remembers a rejection, so that the same open gets the same answer; the last `limit` of them.
    pub(super) fn rejected(&mut self, open_id: [u8; 16], refusal: Refusal, limit: usize) {
        if self.rejected.len() >= limit {
            if let Some(oldest) = self.rejected.pop_front() {
                self.opens.remove(&oldest);
            }
        }
        self.rejected.push_back(open_id);
        self.opens.insert(open_id, Open::Rejected(Box::new(refusal)));
    }

    /// The socket of this open has ended.
    pub(super) fn forget(&mut self, open_id: [u8; 16]) {
        self.opens.remove(&open_id);
    }

    pub(super) fn take_foreign(&mut self, link: LinkId) -> Option<[u8; 16]> {
        let Some(Stranger::Foreign { nonce, until }) = self.strangers.get(&link) else { return None };
        let (nonce, until) = (*nonce, *until);
        self.strangers.remove(&link);
        self.foreign.remove(&(until, link));
        Some(nonce)
    }

    pub(super) fn is_known(&self, link: LinkId) -> bool {
        self.strangers.contains_key(&link)
    }

    /// Forgets a link; answers its deframer when it was still silent.
    fn remove(&mut self, link: LinkId) -> Option<Deframer> {
        match self.strangers.remove(&link)? {
            Stranger::Silent { deframer, until } => {
                self.silent.remove(&(until, link));
                Some(deframer)
            }
            Stranger::Foreign { until, .. } => {
                self.foreign.remove(&(until, link));
                None
            }
            Stranger::Opening(open) => {
                if let Some(pending) = self.pending.get_mut(&open) {
                    pending.link.take_if(|(waiting, ..)| *waiting == link);
                }
                None
            }
        }
    }
}

impl Server {
    pub(super) fn greet(&mut self, link: LinkId) {
        if self.greetings.is_known(link) || self.table.owns(link) {
            return;
        }
        // Whoever says nothing makes room for those who may.
        if self.greetings.silent.len() >= self.config.max_unknown_links {
            if let Some((_, oldest)) = self.greetings.silent.first().copied() {
                self.hang_up_stranger(oldest);
            }
        }
        let until = self.now + self.config.hello_timeout;
        self.greetings.silent.insert((until, link));
        self.greetings.strangers.insert(link, Stranger::Silent { deframer: Deframer::default(), until });
    }

    pub(super) fn stranger_left(&mut self, link: LinkId) {
        self.greetings.remove(link);
    }

    /// Bytes of a link that no socket owns.
    pub(super) fn hear_stranger(&mut self, link: LinkId, bytes: crate::link::RecvBytes) {
        match self.greetings.strangers.get_mut(&link) {
            Some(Stranger::Silent { deframer, .. }) => {
                deframer.push(bytes);
                match deframer.next() {
                    Ok(Some(Arrived::Packet(packet))) => {
                        let Some(deframer) = self.greetings.remove(link) else { return };
                        self.hear_hello(link, &packet.bytes, Bearer::Stream(deframer));
                    }
                    Ok(None) => {}
                    Ok(Some(Arrived::Data { .. })) | Err(_) => self.hang_up_stranger(link),
                }
            }
            // Nothing may follow the HELLO of an open before its answer.
            Some(Stranger::Opening(_)) => self.hang_up_stranger(link),
            // What follows a HELLO that will be refused is of no interest.
            Some(Stranger::Foreign { .. }) | None => {}
        }
    }

    fn hang_up_stranger(&mut self, link: LinkId) {
        self.greetings.remove(link);
        // At the address of a datagram link may be a session, too.
        if !self.table.owns(link) {
            self.hang_up(link);
        }
    }

    /// A whole HELLO.
    pub(super) fn hear_hello(&mut self, link: LinkId, packet: &Bytes, bearer: Bearer) {
        match decode_handshake(packet) {
            Ok((Handshake::Hello(Hello { nonce, auth, kind, .. }), covered)) => match kind {
                HelloKind::Open { open_id, params } => match &bearer {
                    Bearer::Datagrams(arrival) if arrival.id != open_id => {}
                    Bearer::Datagrams(arrival) if !arrival.proven => self.say_cookie(link, &open_id),
                    Bearer::Datagrams(_) if self.doors.has_ended(self.now, &open_id) => {}
                    _ => self.hear_open(link, bearer, nonce, auth, open_id, params),
                },
                HelloKind::Resume { session, epoch, lanes, mac } => {
                    let proof = packet.slice(..covered);
                    let hello = packet.clone();
                    let resume = Resume { link, nonce, auth, session, epoch, lanes, mac, proof, hello };
                    match &bearer {
                        Bearer::Datagrams(arrival) if arrival.id != nonce => {}
                        // Who only seems to be here must not drive another session out.
                        Bearer::Datagrams(arrival) if !arrival.proven && self.is_anothers(link, &session) => {
                            self.say_cookie(link, &nonce);
                        }
                        _ => self.hear_resume(resume, bearer),
                    }
                }
            },
            Err(WireError::Version { nonce, .. }) => {
                self.refuse(link, nonce, &Refusal::new(ProtocolCode::Version, ""), None);
            }
            Ok(_) | Err(_) if self.doors.has(link) => {}
            Ok(_) | Err(_) => self.actions.push_back(LinkAction::HangUp(link)),
        }
    }

    /// Whether another session is on the link.
    fn is_anothers(&self, link: LinkId, session: &SessionId) -> bool {
        let owner = self.table.owner(link);
        owner.is_some() && owner != self.table.find(session)
    }

    fn hear_open(
        &mut self,
        link: LinkId,
        bearer: Bearer,
        nonce: [u8; 16],
        auth: Bytes,
        open_id: [u8; 16],
        params: Params,
    ) {
        // On a datagram link another HELLO may have come before.
        self.greetings.remove(link);
        match self.greetings.opens.get(&open_id) {
            Some(Open::Pending(id)) => {
                let id = *id;
                self.doors.take(link);
                self.greetings.strangers.insert(link, Stranger::Opening(id));
                let former =
                    self.greetings.pending.get_mut(&id).and_then(|open| open.link.replace((link, nonce, bearer)));
                if let Some((former, ..)) = former.filter(|(former, ..)| *former != link) {
                    self.hang_up_stranger(former);
                }
            }
            Some(Open::Accepted(socket)) => {
                let socket = *socket;
                if !self.is_again(socket, link, &bearer, false) {
                    self.welcome(socket, link, nonce, bearer);
                }
            }
            Some(Open::Rejected(refusal)) => {
                let refusal = refusal.clone();
                self.refuse(link, nonce, &refusal, None);
            }
            None => match self.cannot_open() {
                Some(refusal) => self.refuse(link, nonce, &refusal, None),
                None => {
                    let id = OpenId(self.greetings.next);
                    self.greetings.next += 1;
                    let until = self.now + self.config.open_timeout;
                    let pending = PendingOpen { open_id, params, link: Some((link, nonce, bearer)), until };
                    self.doors.take(link);
                    self.greetings.undecided.insert((until, id));
                    self.greetings.opens.insert(open_id, Open::Pending(id));
                    self.greetings.strangers.insert(link, Stranger::Opening(id));
                    self.greetings.pending.insert(id, pending);
                    self.events.push(ServerEvent::Open(OpenRequest { id, link, auth }));
                }
            },
        }
    }

    /// Why no socket can be opened now, if so.
    fn cannot_open(&self) -> Option<Refusal> {
        let retry_after = Some(core::time::Duration::from_secs(1));
        if let Some(refusal) = &self.refusal {
            Some(refusal.clone())
        } else if self.table.len() + self.greetings.pending.len() >= self.config.max_sockets {
            let text = alloc::format!("{} sockets are open", self.config.max_sockets);
            Some(Refusal { retry_after, ..Refusal::new(ProtocolCode::ServerFull, text) })
        } else if self.greetings.pending.len() >= self.config.max_pending {
            let text = alloc::format!("{} opens wait for a decision", self.config.max_pending);
            Some(Refusal { retry_after, ..Refusal::new(ProtocolCode::TryLater, text) })
        } else {
            None
        }
    }

    /// Attaches the link to the socket, with a WELCOME to an open.
    pub(super) fn welcome(&mut self, id: SocketId, link: LinkId, nonce: [u8; 16], bearer: Bearer) {
        let now = self.now;
        let Some(socket) = self.table.get_dirty(id) else {
            return self.refuse(link, nonce, &Refusal::new(ProtocolCode::Ended, ""), None);
        };
        match socket.welcome(now, link, bearer, nonce) {
            Ok(()) => self.own(link, id),
            Err(refusal) => self.refuse(link, nonce, &refusal, None),
        }
    }

    /// The link is the socket's now.
    fn own(&mut self, link: LinkId, id: SocketId) {
        let now = self.now;
        let former = self.table.owner(link).filter(|former| *former != id);
        if let Some(former) = former.and_then(|former| self.table.get_dirty(former)) {
            former.handle_link_failed(now, link, "another session has taken it over");
        }
        self.doors.take(link);
        self.table.own(link, id);
    }

    /// Whether the HELLO is the one with which the socket's datagram link began: then it is dealt with.
    fn is_again(&mut self, id: SocketId, link: LinkId, bearer: &Bearer, resumes: bool) -> bool {
        let Bearer::Datagrams(arrival) = bearer else { return false };
        let now = self.now;
        let socket = self.table.get_dirty(id);
        socket.is_some_and(|socket| socket.hello_again(now, link, &arrival.id, arrival.size, resumes))
    }

    fn hear_resume(&mut self, resume: Resume, bearer: Bearer) {
        let (link, nonce, session) = (resume.link, resume.nonce, resume.session);
        if (session.instance(), session.shard()) != (self.config.instance, self.config.shard) {
            return self.hear_foreign(link, nonce, session);
        }
        // An unknown session and a wrong proof are answered alike.
        let unknown = Refusal::new(ProtocolCode::UnknownSession, "");
        let Some(id) = self.table.find(&session) else {
            return match self.tombstones.get(&session) {
                Some(stone) if resume.is_proven_by(&stone.secret) => {
                    let (secret, refusal) = (stone.secret, Refusal::ended(stone.reason.clone()));
                    self.refuse(link, nonce, &refusal, Some((&secret, &resume.hello)));
                }
                _ => self.refuse(link, nonce, &unknown, None),
            };
        };
        let now = self.now;
        let secret =
            self.table.get(id).and_then(|socket| socket.secret().copied()).filter(|secret| resume.is_proven_by(secret));
        if secret.is_some() && self.is_again(id, link, &bearer, true) {
            return;
        }
        let Some((socket, secret)) = self.table.get_dirty(id).zip(secret) else {
            return self.refuse(link, nonce, &unknown, None);
        };
        match socket.resume(now, bearer, &resume) {
            Ok(()) => {
                socket.hear_rest(link);
                self.greetings.remove(link);
                self.own(link, id);
                if !resume.auth.is_empty() {
                    self.events.push(ServerEvent::Reauthenticated(id, resume.auth));
                }
            }
            Err(refusal) => {
                self.refuse(link, nonce, &refusal, Some((&secret, &resume.hello)));
            }
        }
    }

    fn hear_foreign(&mut self, link: LinkId, nonce: [u8; 16], session: SessionId) {
        if matches!(self.greetings.strangers.get(&link), Some(Stranger::Foreign { nonce: known, .. }) if *known == nonce)
        {
            return;
        }
        self.greetings.remove(link);
        self.doors.take(link);
        // The application may leave them all unanswered.
        if self.greetings.foreign.len() >= self.config.max_unknown_links {
            if let Some((_, oldest)) = self.greetings.foreign.first().copied() {
                self.put_foreign_off(oldest);
            }
        }
        let until = self.now + self.config.hello_timeout;
        self.greetings.strangers.insert(link, Stranger::Foreign { nonce, until });
        self.greetings.foreign.insert((until, link));
        self.events.push(ServerEvent::Foreign(link, session));
    }

    fn put_foreign_off(&mut self, link: LinkId) {
        if let Some(nonce) = self.greetings.take_foreign(link) {
            self.refuse(link, nonce, &Refusal::new(ProtocolCode::TryLater, ""), None);
        }
    }

    /// Answers REJECT and hangs up.
    pub(super) fn refuse(
        &mut self,
        link: LinkId,
        nonce: [u8; 16],
        refusal: &Refusal,
        proof: Option<(&[u8; 32], &[u8])>,
    ) {
        if self.doors.has(link) {
            return self.refuse_datagram(link, nonce, refusal, proof);
        }
        self.table.say_farewell(link, frame_packet(&reject(refusal, nonce, proof)));
        self.actions.push_back(LinkAction::HangUp(link));
    }

    /// The server takes no new sockets: what waits is refused.
    pub(super) fn refuse_pending(&mut self) {
        let Some(refusal) = self.refusal.clone() else { return };
        let waiting: alloc::vec::Vec<OpenId> = self.greetings.pending.keys().copied().collect();
        for open in waiting {
            self.give_up_open(open, &refusal);
        }
    }

    fn give_up_open(&mut self, open: OpenId, refusal: &Refusal) {
        if let Some(pending) = self.greetings.decide(open) {
            self.events.push(ServerEvent::OpenGone(open));
            if let Some((link, nonce, _)) = pending.link {
                self.refuse(link, nonce, refusal, None);
            }
        }
    }

    /// Links that were silent for too long, opens about which nobody decided.
    pub(super) fn check_greetings(&mut self) {
        while let Some((_, link)) = self.greetings.silent.first().copied().filter(|(at, _)| *at <= self.now) {
            self.hang_up_stranger(link);
        }
        while let Some((_, link)) = self.greetings.foreign.first().copied().filter(|(at, _)| *at <= self.now) {
            self.put_foreign_off(link);
        }
        while let Some((_, open)) = self.greetings.undecided.first().copied().filter(|(at, _)| *at <= self.now) {
            self.give_up_open(open, &Refusal::new(ProtocolCode::NoDecision, ""));
        }
    }
}
