//! Datagrams of protocols that hand them out by themselves, until they are asked for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

/// A queue of datagrams, which its clones share. Each write is a datagram.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing(Rc<RefCell<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    taken: usize,
    lens: VecDeque<usize>,
}

impl Outgoing {
    /// Appends the first one to `out`; `false` when there is none.
    pub(super) fn transmit(&self, out: &mut Vec<u8>) -> bool {
        let mut queue = self.0.borrow_mut();
        let Some(len) = queue.lens.pop_front() else { return false };
        let end = queue.taken + len;
        out.extend_from_slice(&queue.bytes[queue.taken..end]);
        queue.taken = end;
        if queue.lens.is_empty() {
            queue.bytes.clear();
            queue.taken = 0;
        }
        true
    }
}

impl io::Write for Outgoing {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.borrow_mut();
        queue.bytes.extend_from_slice(datagram);
        queue.lens.push_back(datagram.len());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
