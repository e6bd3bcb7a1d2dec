//! What arrives on a datagram link.

use core::time::Duration;

use super::super::Socket;
use super::super::attached::Phase;
use super::carried::Word;
use crate::code::{CloseReason, ProtocolCode};
use crate::ids::LinkId;
use crate::link::RecvBytes;
use crate::recovery::Asks;
use crate::time::Time;
use crate::wire::{Ack, Datagram, DatagramFrame, Frame, Piece, ShortPacket, decode_handshake};

/// How far above the next one that is expected a packet number may be.
const FAR_AHEAD: u64 = 1 << 16;

impl Socket {
    /// A datagram has arrived on the socket's link, which is a datagram link.
    pub(in super::super) fn receive_datagram(&mut self, link: LinkId, bytes: &RecvBytes) {
        let size = bytes.bytes.len();
        match Datagram::decode(&bytes.bytes) {
            Some(Datagram::Short(packet)) => self.receive_short(link, packet, size, bytes.capacity),
            Some(Datagram::Greeting(piece)) if self.is_client() => self.receive_piece(&piece, size),
            Some(Datagram::Cookie { id, cookie }) => {
                let link = self.link.as_mut().filter(|link| !link.is_ready());
                let datagram = link.and_then(|link| link.datagram.as_mut()).filter(|datagram| datagram.is_of(&id));
                if let Some(greeting) = datagram.and_then(|datagram| datagram.greeting.as_mut()) {
                    greeting.on_cookie(&cookie);
                }
            }
            Some(Datagram::Greeting(_)) | None => {}
        }
    }

    fn receive_short(&mut self, link: LinkId, packet: ShortPacket, size: usize, capacity: usize) {
        let now = self.now;
        let Some(attached) = self.link.as_mut().filter(|attached| attached.is_ready()) else { return };
        let Some(datagram) = &mut attached.datagram else { return };
        let is_ours = datagram.peers_id() == Some(packet.connection_id);
        let number = packet.number;
        if !is_ours || number >= datagram.arrivals.expected() + FAR_AHEAD || datagram.arrivals.is_duplicate(number) {
            return;
        }
        attached.heartbeat.on_heard(now);
        self.counters.bytes_received += size as u64;
        if let Some(path) = &mut datagram.path {
            path.on_heard(size);
        }
        datagram.faulty = false;
        let (mut rest, mut asks) = (packet.frames, Asks::Nothing);
        loop {
            match DatagramFrame::decode(&mut rest) {
                Ok(Some(frame)) => {
                    if !matches!(frame, DatagramFrame::Ack(_)) {
                        asks = if packet.ack_soon { Asks::AckSoon } else { Asks::Ack };
                    }
                    self.receive_datagram_frame(frame, capacity);
                }
                Ok(None) => break,
                Err(error) => self.violate(error.code(), &alloc::format!("{error}")),
            }
            // A frame may end the link, or be a violation.
            if self.datagram_on(link).is_none_or(|datagram| datagram.faulty) {
                return;
            }
        }
        if let Some(datagram) = self.datagram_on(link) {
            let local = datagram.local(now);
            datagram.arrivals.on_received(local, number, asks);
        }
    }

    fn datagram_on(&mut self, link: LinkId) -> Option<&mut super::DatagramLink> {
        self.link.as_mut().filter(|attached| attached.id == link && attached.is_ready())?.datagram.as_deref_mut()
    }

    fn receive_datagram_frame(&mut self, frame: DatagramFrame, capacity: usize) {
        let is_early = matches!(&frame, DatagramFrame::Common(Frame::Data { .. } | Frame::Prompt { .. }));
        if !is_early {
            self.answer_has_arrived();
        }
        match frame {
            DatagramFrame::Common(frame) => self.receive_frame(frame, capacity),
            DatagramFrame::Ack(ack) => self.receive_ack(&ack),
            DatagramFrame::Challenge(bytes) => {
                if let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) {
                    datagram.response = Some(bytes);
                    datagram.last_challenge = bytes;
                }
            }
            DatagramFrame::Response(bytes) => {
                if let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) {
                    datagram.path.take_if(|path| path.challenge == bytes);
                }
            }
        }
    }

    /// The client shows that it has the WELCOME: it need not be repeated.
    fn answer_has_arrived(&mut self) {
        if self.is_client() {
            return;
        }
        if let Some(session) = &mut self.session {
            session.heard = true;
        }
        if let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) {
            datagram.greeting = None;
        }
    }

    fn receive_ack(&mut self, ack: &Ack) {
        let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) else { return };
        let local = datagram.local(self.now);
        let (outstanding, lanes) = (&mut datagram.outstanding, &self.lanes);
        let received = |lane| lanes.get(lane).map_or(0, |lane| lane.send.acked());
        let acked = datagram
            .recovery
            .on_ack(local, ack.delay, ack.ranges(), |fate, carried| outstanding.on_fate(fate, carried, received));
        if let (Some(redundancy), Ok(Some(rtt))) = (&mut datagram.redundancy, &acked) {
            redundancy.on_rtt(local, *rtt, datagram.recovery.least_rtt());
        }
        outstanding.tidy(lanes.len(), |lane| lanes.get(lane).is_some());
        self.counters.rtt = datagram.rtt().or(self.counters.rtt);
        if acked.is_err() {
            return self.violate(ProtocolCode::StateMismatch, "an acknowledgement of what was never sent");
        }
        self.repeat_words();
    }

    /// The deadlines of the datagram link.
    pub(in super::super) fn check_datagrams(&mut self) {
        let now = self.now;
        if let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) {
            datagram.on_timeout(now);
            self.repeat_words();
            self.check_path();
        }
    }

    /// A client whose probes are not answered dials again before the peer's silence is too long: its address may have changed
    /// on the way, and only a HELLO moves it.
    fn check_path(&mut self) {
        if self.path_deadline().is_some_and(|at| at <= self.now) {
            let text = "probe after probe was not answered";
            self.drop_link(CloseReason::protocol(ProtocolCode::Silence, text), true);
        }
    }

    /// When the path is taken for dead unless something is heard before.
    pub(in super::super) fn path_deadline(&self) -> Option<Time> {
        let link = self.link.as_ref().filter(|link| link.is_ready() && self.dialer.is_some())?;
        Some(link.heartbeat.silence_deadline(link.datagram.as_ref()?.dead_after()?))
    }

    /// State that was lost is told again, as far as it holds.
    fn repeat_words(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some(datagram) = &mut link.datagram else { return };
        for word in datagram.outstanding.take_words() {
            match word {
                Word::Allow => self.lanes.repeat_allowance(),
                Word::Close => link.pending.close |= self.ending.as_ref().is_some_and(|ending| ending.said().is_some()),
                Word::Closed => link.pending.closed |= self.ending.is_some(),
                Word::GoAway => link.pending.go_away |= self.drain.is_some() && self.dialer.is_none(),
                Word::Challenge => datagram.path.iter_mut().for_each(|path| path.due = true),
                Word::Response => datagram.response = Some(datagram.last_challenge),
                Word::Report(lane) if self.lanes.repeat_report(lane) => self.report_now = true,
                Word::Report(lane) | Word::LaneDone(lane) => link.pending.lane_done(lane),
                Word::Prompt(lane) => self.lanes.prompt(lane),
            }
        }
    }

    fn receive_piece(&mut self, piece: &Piece, size: usize) {
        let Some(link) = self.link.as_mut().filter(|link| matches!(link.phase, Phase::Greeting { .. })) else { return };
        let Some(datagram) = link.datagram.as_mut().filter(|datagram| datagram.is_of(&piece.id)) else { return };
        link.heartbeat.on_heard(self.now);
        self.counters.bytes_received += size as u64;
        let Some(packet) = datagram.answer.get_or_insert_default().add(piece) else { return };
        datagram.answer = None;
        if let Ok((answer, covered)) = decode_handshake(&packet) {
            self.on_answer(&packet, covered, answer);
        }
    }

    /// The handshake is done on a datagram link: its packets have their names now.
    pub(in super::super) fn name_datagrams(&mut self) {
        let (now, is_server) = (self.now, self.dialer.is_none());
        let Some((link, session)) = self.link.as_mut().zip(self.session.as_ref()) else { return };
        let Some(datagram) = &mut link.datagram else { return };
        datagram.name(&session.secret, session.epoch, is_server);
        if !is_server {
            datagram.greeted(now, &self.config);
            link.pending.ping = true;
        }
    }

    /// When the datagram link wants something done, and when its path takes the next packet if one waits of which the adapter was
    /// not told: its time may come with a call that has nothing to do with it.
    pub(in super::super) fn datagram_deadlines(&self) -> ([Option<Time>; 3], Option<Time>) {
        let Some(link) = &self.link else { return ([None; 3], None) };
        let Some(datagram) = &link.datagram else { return ([None; 3], None) };
        let may_leave = self.gate.is_open(link.gate) && datagram.room() > 0;
        let waits = may_leave && self.has_datagram_content(link, datagram);
        let paced = waits.then(|| datagram.paced_until(self.now)).flatten();
        (datagram.deadlines(self.now), paced.filter(|at| *at > self.now || !link.flush_told))
    }

    /// The round trip of the present datagram link, for the first HELLO on the next one.
    pub(in super::super) fn known_rtt(&self) -> Option<Duration> {
        self.counters.rtt
    }
}
