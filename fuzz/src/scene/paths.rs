//! Datagram links: a client's address, the link that each side has there, and the datagrams between them, which a target
//! moves, and harms, one by one.

use std::collections::VecDeque;

use bytes::Bytes;
use steadfast::{LinkId, LinkKind};
use steadfast_sim::{Input, Side};

use super::Scene;

/// How many datagrams are under way in one direction before those behind them are lost.
const QUEUE: usize = 2000;

/// A client's address and what is at it.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) address: u64,
    /// The link that the machine of each side has here.
    pub(crate) links: [Option<LinkId>; 2],
    /// The server has lost what it had here, without the client's knowledge.
    is_broken: bool,
    /// Datagrams that were sent and have not arrived, by the side that reads.
    pub(crate) under_way: [VecDeque<Bytes>; 2],
}

impl Path {
    pub(crate) fn new(address: u64, links: [Option<LinkId>; 2]) -> Path {
        Path { address, links, is_broken: false, under_way: Default::default() }
    }
}

impl Scene {
    /// A new address of the client's, of which the server does not know yet.
    pub(super) fn path_up(&mut self) {
        let (address, link) = (self.next_link, LinkId(self.next_link + 1));
        self.next_link += 2;
        self.paths.push(Path::new(address, [Some(link), None]));
        self.input(Side::Client, Input::LinkUp(link, self.kind));
    }

    /// A datagram leaves.
    pub(super) fn put(&mut self, side: Side, link: LinkId, bytes: &Bytes) {
        if let Some(path) = self.paths.iter_mut().find(|path| path.links[side as usize] == Some(link)) {
            let queue = &mut path.under_way[side.other() as usize];
            if queue.len() < QUEUE {
                queue.push_back(bytes.clone());
            }
        }
    }

    /// The machine of this side has given the link up: the other one is not told.
    pub(super) fn leave_path(&mut self, side: Side, link: LinkId) {
        for path in &mut self.paths {
            let is_its = path.links[side as usize].take_if(|its| *its == link).is_some();
            path.is_broken |= is_its && side == Side::Server;
        }
    }

    /// Gives the reader one of the datagrams under way. False when there is none.
    pub(crate) fn deliver_datagram(&mut self, path: usize, reader: Side, at: usize) -> bool {
        let datagram = self.paths[path].under_way[reader as usize].remove(at);
        let is_there = datagram.is_some();
        datagram.into_iter().for_each(|bytes| self.arrive(self.paths[path].address, reader, bytes));
        is_there
    }

    /// A datagram arrives, at the server from an address of which it may not have heard, or at the client.
    pub(crate) fn arrive(&mut self, address: u64, reader: Side, bytes: Bytes) {
        let Some(path) = self.paths.iter().position(|path| path.address == address) else { return };
        if reader == Side::Server && self.paths[path].links[Side::Server as usize].is_none() {
            let link = LinkId(self.next_link);
            self.next_link += 1;
            self.paths[path].links[Side::Server as usize] = Some(link);
            let kind = self.kind;
            let address = address.to_be_bytes();
            self.command(|server, now| server.handle_link_from(now, link, kind, &address));
        }
        if let Some(link) = self.paths[path].links[reader as usize] {
            self.input(reader, Input::Bytes(link, bytes.into()));
        }
    }

    /// All datagrams arrive that are under way. False when there is none.
    pub(super) fn deliver_datagrams(&mut self) -> bool {
        let mut is_busy = false;
        for path in 0..self.paths.len() {
            for side in Side::BOTH {
                is_busy |= self.deliver_datagram(path, side, 0);
            }
        }
        is_busy
    }

    /// The client's datagrams come from another address from now on, which it does not notice; what the server sends to the
    /// former one reaches nobody.
    pub(crate) fn rebind(&mut self, path: usize) {
        let former = self.paths[path].address;
        self.paths[path].address = self.next_link;
        self.next_link += 1;
        let server = self.paths[path].links[Side::Server as usize].take();
        self.paths[path].is_broken = true;
        self.paths.push(Path::new(former, [None, server]));
    }

    /// The machine of this side is told that its link is gone.
    pub(crate) fn lose_path(&mut self, path: usize, side: Side) {
        if let Some(link) = self.paths[path].links[side as usize].take() {
            self.paths[path].is_broken = true;
            self.input(side, Input::LinkDown(link));
        }
    }

    /// The client hears of the links that lead nowhere.
    pub(crate) fn show_broken_paths(&mut self) {
        for path in 0..self.paths.len() {
            if self.paths[path].is_broken {
                self.lose_path(path, Side::Client);
            }
        }
    }

    /// All links are gone, of which the machines that are `told` hear. What is under way may still arrive.
    pub(super) fn lose_paths(&mut self, told: [bool; 2]) {
        for path in 0..self.paths.len() {
            for (side, is_told) in Side::BOTH.into_iter().zip(told) {
                if is_told {
                    self.lose_path(path, side);
                } else {
                    self.paths[path].links[side as usize] = None;
                    self.paths[path].is_broken = true;
                }
            }
        }
    }

    pub(super) fn forget_paths(&mut self) {
        self.paths.retain(|path| path.links != [None; 2] || !path.under_way[Side::Server as usize].is_empty());
    }

    pub(super) fn is_of_datagrams(&self) -> bool {
        matches!(self.kind, LinkKind::Datagram { .. })
    }
}
