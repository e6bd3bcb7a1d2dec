//! Open and resume, on both sides (PROTOCOL.md §5, §6).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::attached::{Attached, Phase};
use super::datagram::{Bearer, DatagramLink, Greeting};
use super::state::Change;
use super::{Peer, Session, Socket};
use crate::code::{CloseReason, Code, ProtocolCode};
use crate::config::Config;
use crate::crypto::{Mac, MacKey};
use crate::event::Event;
use crate::ids::{LinkId, LinkKind, SessionId};
use crate::link::LinkAction;
use crate::time::Time;
use crate::wire::{
    Handshake, Hello, HelloKind, LaneStates, Params, Reject, VERSION, Welcome, WelcomeKind, frame_packet,
};

/// Why a server refuses a HELLO.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) reason: CloseReason,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) address: Option<Box<str>>,
    pub(crate) current_epoch: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: ProtocolCode, reason: impl Into<String>) -> Refusal {
        Refusal::of(CloseReason::protocol(code, reason))
    }

    pub(crate) fn of(reason: CloseReason) -> Refusal {
        Refusal { reason: reason.cut(), retry_after: None, address: None, current_epoch: None }
    }

    /// The same in fewer words.
    pub(crate) fn without_text(&self) -> Refusal {
        Refusal { reason: CloseReason { reason: "".into(), ..self.reason.clone() }, ..self.clone() }
    }

    /// The session has ended, for this reason.
    pub(crate) fn ended(reason: CloseReason) -> Refusal {
        Refusal::of(match reason.code {
            Code::App(_) => reason,
            Code::Protocol(_) => CloseReason { code: Code::Protocol(ProtocolCode::Ended), ..reason },
        })
    }
}

/// The REJECT packet. `proof`: the session's secret and the HELLO packet, where the session is known.
pub(crate) fn reject(refusal: &Refusal, nonce: [u8; 16], proof: Option<(&[u8; 32], &[u8])>) -> Vec<u8> {
    let (code, app_code) = match refusal.reason.code {
        Code::Protocol(code) => (code, None),
        Code::App(code) => (if proof.is_some() { ProtocolCode::Ended } else { ProtocolCode::Rejected }, Some(code)),
    };
    let packet = Handshake::Reject(Reject {
        version: VERSION,
        nonce,
        code,
        app_code,
        reason: refusal.reason.reason.clone(),
        retry_after_ms: refusal.retry_after.map(|after| after.as_millis().min(u64::MAX as u128) as u64),
        address: refusal.address.clone(),
        current_epoch: refusal.current_epoch,
        mac: None,
    });
    match proof {
        Some((secret, hello)) => packet.encode_with_mac(&MacKey::server(secret), hello),
        None => packet.encode(),
    }
}

fn params(config: &Config, main_window: u64) -> Params {
    Params {
        silence_ms: config.silence.as_millis().min(u128::from(u32::MAX)) as u32,
        max_message: config.max_message as u64,
        max_headers: config.max_headers as u64,
        main_window,
        lane_window: Config::LANE_WINDOW as u64,
        max_lanes: config.max_lanes,
    }
}

impl Peer {
    fn new(params: &Params) -> Peer {
        Peer {
            silence: Duration::from_millis(u64::from(params.silence_ms.max(10))),
            max_message: usize::try_from(params.max_message).unwrap_or(usize::MAX),
            max_headers: usize::try_from(params.max_headers).unwrap_or(usize::MAX),
        }
    }
}

/// A HELLO that wants to resume.
pub(crate) struct Resume {
    pub(crate) link: LinkId,
    pub(crate) nonce: [u8; 16],
    pub(crate) auth: Bytes,
    pub(crate) session: SessionId,
    pub(crate) epoch: u64,
    pub(crate) lanes: LaneStates,
    pub(crate) mac: Mac,
    /// What the MAC covers.
    pub(crate) proof: Bytes,
    /// The whole packet, which the answer's MAC covers.
    pub(crate) hello: Bytes,
}

impl Resume {
    /// Whether it comes from one who knows the session's secret.
    pub(crate) fn is_proven_by(&self, secret: &[u8; 32]) -> bool {
        MacKey::client(secret).verify(&[], &self.proof, &self.mac)
    }
}

/// Both sides.
impl Socket {
    fn attach(&mut self, link: LinkId, phase: Phase, opening: Option<Bytes>) {
        let gate = self.gate.change();
        self.link = Some(Attached::new(self.now, link, phase, opening, gate));
        self.expires_at = None;
    }

    /// The handshake is done, and this side cannot live with what it said: the peer is to hear that.
    fn open_for_farewell(&mut self) {
        if let Some(link) = &mut self.link {
            link.phase = Phase::Ready;
        }
        self.name_datagrams();
    }

    /// The handshake of this epoch is done: what is told on every new link is told again.
    fn handshake_done(&mut self) {
        if let Some(link) = &mut self.link {
            link.phase = Phase::Ready;
            link.pending.close = self.ending.as_ref().is_some_and(|ending| ending.said().is_some());
            link.pending.go_away = self.drain.is_some() && self.dialer.is_none();
        }
        if let Some(dialer) = &mut self.dialer {
            dialer.redial.succeeded();
            dialer.unsure = false;
            dialer.attempt_until = None;
        }
        self.name_datagrams();
        self.report_now = self.lanes.has_reports();
        self.change(Change::HandshakeDone);
    }

    /// Takes over the peer's view of the lanes.
    fn adopt(&mut self, states: &LaneStates, rewind: bool) {
        let mut receipts = Vec::new();
        let done = self.lanes.adopt(states, rewind, &mut |id| receipts.push(id));
        receipts.into_iter().for_each(|id| self.tell(Event::Confirmed(id)));
        if let Some(link) = &mut self.link {
            done.into_iter().for_each(|lane| link.pending.lane_done(lane));
        }
        self.confirm_finishes();
        self.after_confirmation();
        if self.wants_lanes && self.lanes.may_open_more() {
            self.wants_lanes = false;
            self.tell(Event::LanesAvailable);
        }
    }
}

/// The client's side.
impl Socket {
    pub(super) fn say_hello(&mut self, link: LinkId, kind: LinkKind) {
        let resume = match &mut self.session {
            Some(session) => {
                session.epoch += 1;
                let lanes = self.lanes.states();
                let session_id = session.id;
                Some((
                    HelloKind::Resume { session: session_id, epoch: session.epoch, lanes, mac: Mac::default() },
                    session.secret,
                ))
            }
            None => None,
        };
        let (rtt, first_flight) = (self.known_rtt(), self.first_flight);
        let Some(dialer) = &mut self.dialer else { return };
        let nonce = dialer.rng.array();
        let (auth, versions) = (dialer.auth.clone(), (VERSION, VERSION));
        let id = if resume.is_some() { nonce } else { dialer.open_id };
        let packet = match resume {
            Some((kind, secret)) => {
                Handshake::Hello(Hello { versions, nonce, auth, kind }).encode_with_mac(&MacKey::client(&secret), &[])
            }
            None => {
                let params = params(&self.config, self.lanes.initial_main_window());
                let kind = HelloKind::Open { open_id: dialer.open_id, params };
                Handshake::Hello(Hello { versions, nonce, auth, kind }).encode()
            }
        };
        dialer.dialling = false;
        let opening = (kind == LinkKind::Stream).then(|| frame_packet(&packet));
        let hello = Bytes::from(packet);
        self.attach(link, Phase::Greeting { hello: hello.clone(), nonce }, opening);
        if let (LinkKind::Datagram { mtu }, Some(link)) = (kind, &mut self.link) {
            let mut datagram = DatagramLink::client(self.now, mtu.into(), id, hello, rtt, first_flight, &self.config);
            if let Some(session) = self.session.as_ref().filter(|_| datagram.may_be_early()) {
                datagram.name(&session.secret, session.epoch, false);
            }
            link.datagram = Some(Box::new(datagram));
        }
        self.lanes.rewind();
    }

    /// The server's answer. Answers that are not to this HELLO, or not proven, change nothing: the attempt goes on until
    /// its time is over.
    pub(super) fn on_answer(&mut self, packet: &Bytes, covered: usize, answer: Handshake) {
        let Some(Phase::Greeting { hello, nonce }) = self.link.as_ref().map(|link| link.phase.clone()) else {
            return self.violate(ProtocolCode::Unexpected, "a second handshake");
        };
        let proven = |mac: &Mac, session: &Option<Session>| {
            session.as_ref().is_some_and(|session| {
                MacKey::server(&session.secret).verify(&hello, packet.get(..covered).unwrap_or_default(), mac)
            })
        };
        match answer {
            Handshake::Welcome(welcome) if welcome.nonce == nonce => match welcome.kind {
                WelcomeKind::Opened { session, secret, epoch, retention_ms, params }
                    if self.session.is_none() && epoch == 1 =>
                {
                    self.on_opened(session, secret, epoch, retention_ms, &params);
                }
                WelcomeKind::Resumed { epoch, lanes, mac } if proven(&mac, &self.session) => {
                    if self.session.as_ref().is_some_and(|session| session.epoch == epoch) {
                        self.on_resumed(&lanes);
                    }
                }
                _ => self.violate(ProtocolCode::Unexpected, "a handshake answer without proof"),
            },
            Handshake::Reject(reject) if reject.nonce == nonce => {
                let proof = reject.mac.as_ref().is_some_and(|mac| proven(mac, &self.session));
                self.on_reject(reject, proof);
            }
            _ => self.violate(ProtocolCode::Unexpected, "an answer to another handshake"),
        }
    }

    fn on_opened(&mut self, id: SessionId, secret: [u8; 32], epoch: u64, retention_ms: u64, params: &Params) {
        self.session = Some(Session {
            id,
            secret,
            epoch,
            heard: true,
            retention: Duration::from_millis(retention_ms),
            peer: Peer::new(params),
        });
        self.lanes.on_params(params.main_window, params.lane_window, u64::from(params.max_lanes));
        if let Some((what, size, limit)) = self.lanes.find_over(self.max_message(), self.max_headers()) {
            let text = alloc::format!("buffered {what} of {size} bytes is over the peer's limit of {limit}");
            self.open_for_farewell();
            return self.end_now(CloseReason::protocol(ProtocolCode::TooLarge, text));
        }
        self.handshake_done();
        if self.wants_lanes {
            self.wants_lanes = false;
            self.tell(Event::LanesAvailable);
        }
    }

    fn on_resumed(&mut self, states: &LaneStates) {
        if let Err(text) = self.lanes.check(states) {
            let reason = CloseReason::protocol(ProtocolCode::StateMismatch, text);
            self.open_for_farewell();
            self.say_farewell(&reason);
            return self.lose_session(reason);
        }
        self.counters.resumes += 1;
        self.handshake_done();
        self.adopt(states, false);
    }

    fn on_reject(&mut self, reject: Reject, proven: bool) {
        let reason = CloseReason {
            code: reject.app_code.map_or(Code::Protocol(reject.code), Code::App),
            reason: reject.reason.clone(),
        };
        let resuming = self.session.is_some();
        match reject.code {
            ProtocolCode::UnknownSession if resuming => self.lose_session(reason),
            ProtocolCode::StateMismatch if resuming && proven => self.lose_session(reason),
            ProtocolCode::Ended if resuming && proven => self.on_ended_elsewhere(reason),
            ProtocolCode::Fenced if resuming && proven => {
                // Each HELLO has an epoch of its own, so this one was refused for somebody else's, or for the one before of the same HELLO.
                let issued = self.session.as_ref().map_or(0, |session| session.epoch);
                let own = u64::from(self.link.as_ref().is_some_and(|link| link.has_repeated_hello()));
                if reject.current_epoch.is_some_and(|current| current >= issued + own) {
                    let text = "another holder of this session has taken over";
                    self.lose_session(CloseReason::protocol(ProtocolCode::Superseded, text));
                } else {
                    self.drop_link(reason, true);
                }
            }
            ProtocolCode::Redirect => {
                self.drop_link(reason, true);
                if let Some(dialer) = &mut self.dialer {
                    dialer.redial.go_to(reject.address.as_deref().unwrap_or_default());
                }
            }
            ProtocolCode::TryLater | ProtocolCode::ServerFull | ProtocolCode::GoingAway => {
                self.drop_link_for(reason, true, Duration::from_millis(reject.retry_after_ms.unwrap_or(0)));
            }
            ProtocolCode::Rejected | ProtocolCode::NoDecision if !resuming && reject.retry_after_ms.is_some() => {
                self.drop_link_for(reason, true, Duration::from_millis(reject.retry_after_ms.unwrap_or(0)));
            }
            _ if resuming => self.drop_link(reason, true),
            _ => self.end_by_peer(reason),
        }
    }
}

/// The server's side.
impl Socket {
    /// The server's end of a session that was just accepted.
    pub(crate) fn accepted(config: Arc<Config>, id: SessionId, secret: [u8; 32], params: &Params, now: Time) -> Socket {
        let mut socket = Socket::with(config, None, now);
        let retention = socket.config.retention;
        socket.session = Some(Session { id, secret, epoch: 1, heard: false, retention, peer: Peer::new(params) });
        socket.lanes.on_params(params.main_window, params.lane_window, u64::from(params.max_lanes));
        socket
    }

    /// Answers an open on this link with the WELCOME: the first time, and again to a client that has not heard it.
    ///
    /// # Errors
    /// When the client has resumed since, so that this open is an old one.
    pub(crate) fn welcome(&mut self, now: Time, link: LinkId, bearer: Bearer, nonce: [u8; 16]) -> Result<(), Refusal> {
        self.tick(now);
        let main_window = self.lanes.initial_main_window();
        let Some(session) = self.session.as_ref().filter(|session| session.epoch == 1 && !session.heard) else {
            return Err(self.fenced());
        };
        let kind = WelcomeKind::Opened {
            session: session.id,
            secret: session.secret,
            epoch: session.epoch,
            retention_ms: session.retention.as_millis().min(u64::MAX as u128) as u64,
            params: params(&self.config, main_window),
        };
        let packet = Handshake::Welcome(Welcome { version: VERSION, nonce, kind }).encode();
        self.take_over(link, bearer);
        self.lanes.rewind();
        self.handshake_done();
        self.say_welcome(packet);
        self.settle();
        Ok(())
    }

    fn say_welcome(&mut self, packet: Vec<u8>) {
        let Some(link) = &mut self.link else { return };
        match &mut link.datagram {
            None => link.opening = Some(frame_packet(&packet)),
            Some(datagram) => datagram.greeting = Some(Greeting::answer(packet.into())),
        }
    }

    /// A HELLO with this id has come in a datagram of this size. If it is the one that the socket's link began with, then
    /// nothing but the same answer follows, on that link; on others it is dropped, if `resumes`. Whether it was dealt with.
    pub(crate) fn hello_again(&mut self, now: Time, link: LinkId, id: &[u8; 16], size: usize, resumes: bool) -> bool {
        self.tick(now);
        let Some(attached) = &mut self.link else { return false };
        let here = attached.id == link;
        let Some(datagram) = attached.datagram.as_mut().filter(|datagram| datagram.is_of(id)) else { return false };
        if here {
            datagram.hello_again(size);
        }
        self.settle();
        here || resumes
    }

    /// What followed a HELLO that resumed, without waiting for the answer.
    pub(crate) fn hear_rest(&mut self, link: LinkId) {
        self.receive_packets(link);
        self.settle();
    }

    /// Whether this is a server's end.
    pub(crate) fn is_servers(&self) -> bool {
        self.dialer.is_none()
    }

    /// The client's link went down before it was answered: it has the retention time to come back.
    pub(crate) fn await_client(&mut self, now: Time) {
        self.tick(now);
        self.expires_at = self.session.as_ref().map(|session| self.now + session.retention);
    }

    pub(crate) fn secret(&self) -> Option<&[u8; 32]> {
        self.session.as_ref().map(|session| &session.secret)
    }

    /// Resumes on this link, after [`Resume::is_proven_by`]: a greater epoch takes over, also from a link that looks alive.
    ///
    /// # Errors
    /// When the epoch is not greater, or the states cannot be; in the latter case the session is lost.
    pub(crate) fn resume(&mut self, now: Time, bearer: Bearer, resume: &Resume) -> Result<(), Refusal> {
        let Resume { link, nonce, epoch, lanes: states, hello, .. } = resume;
        let (link, nonce, epoch) = (*link, *nonce, *epoch);
        self.tick(now);
        if self.session.as_ref().is_none_or(|session| epoch <= session.epoch) {
            return Err(self.fenced());
        }
        if let Err(text) = self.lanes.check(states) {
            let reason = CloseReason::protocol(ProtocolCode::StateMismatch, text);
            self.lose_session(reason.clone());
            return Err(Refusal::of(reason));
        }
        let Some(session) = &mut self.session else { return Err(self.fenced()) };
        (session.epoch, session.heard) = (epoch, true);
        let secret = session.secret;
        self.take_over(link, bearer);
        self.counters.resumes += 1;
        self.handshake_done();
        self.adopt(states, true);
        let kind = WelcomeKind::Resumed { epoch, lanes: self.lanes.states(), mac: Mac::default() };
        let packet = Handshake::Welcome(Welcome { version: VERSION, nonce, kind });
        let packet = packet.encode_with_mac(&MacKey::server(&secret), hello);
        self.say_welcome(packet);
        self.settle();
        Ok(())
    }

    fn fenced(&self) -> Refusal {
        let current_epoch = self.session.as_ref().map(|session| session.epoch);
        Refusal { current_epoch, ..Refusal::new(ProtocolCode::Fenced, "") }
    }

    fn take_over(&mut self, link: LinkId, bearer: Bearer) {
        // On a datagram link a new HELLO may come from where the former one came.
        let is_new = self.link.as_ref().is_none_or(|former| former.id != link);
        self.drop_link(CloseReason::protocol(ProtocolCode::Fenced, ""), is_new);
        self.change(Change::AttemptStarted);
        self.attach(link, Phase::Ready, None);
        let Some(link) = &mut self.link else { return };
        match bearer {
            Bearer::Stream(deframer) => link.deframer = deframer,
            Bearer::Datagrams(arrival) => {
                link.datagram =
                    Some(Box::new(DatagramLink::server(self.now, &arrival, self.first_flight, &self.config)));
            }
        }
    }

    /// Tells the adapter to hang this link up.
    pub(super) fn refuse_link(&mut self, link: LinkId) {
        self.actions.push_back(LinkAction::HangUp(link));
    }
}
