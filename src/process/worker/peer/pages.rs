//! Pages that both processes map, besides the stream: frames come by both.
//!
//! A second thread watches the socket and the bell ([`watch`]): the gates say what is not wanted.

use std::process::exit;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::RecvFlags;

use super::outlet::Outlet;
use crate::loom::{hint, thread};
use crate::process::observe::trees;
use crate::process::pages::poll_policy::POLL_FOR;
use crate::process::pages::raw_ledger::Front;
use crate::process::pages::shared_ring::SharedRing;
use crate::process::value::attachments::AttachedFile;
use crate::process::wire::Frame;
use crate::process::worker::cancel::Canceller;
use crate::process::worker::stream::{Received, die};
use crate::sys::poll::poll_patiently;
use crate::sys::sockets::{ENDS, RECEIVE};
use crate::sys::{ticks, transfer};
use trefoil_os::host::worker_bell::QUESTION;

/// Frames that come on the stream and, while this process is awake, through the shared ring.
pub(super) struct PagesInlet {
    pub(super) received: Received,
    /// The parent's count of sends, when this was last read.
    deliveries: u64,
    /// The pages with the shared ring.
    front: Front,
    /// A frame that was copied out of the shared ring; and whether it is the next frame.
    copied: Vec<u8>,
    has_frame: bool,
    /// The position of the next frame in the shared ring.
    head: u64,
}

impl PagesInlet {
    pub(super) fn new(received: Received, front: Front) -> Self {
        Self {
            received,
            deliveries: 0,
            front,
            copied: Vec::new(),
            has_frame: false,
            head: 0,
        }
    }

    /// Whether the records that wait can be sent after the next frame: it is here, and is a brief
    /// batch, or a caller has read them meanwhile.
    pub(super) fn has_more(&mut self, outlet: &Outlet) -> bool {
        self.has_brief() || self.lingers(outlet)
    }

    /// Whether the next frame is here, and is a brief batch.
    fn has_brief(&mut self) -> bool {
        let next = if self.finds_frame() {
            Frame::decode(&self.copied)
        } else {
            Frame::decode(self.received.rest())
        };
        matches!(next, Ok(Some((Frame::Batch { batch, .. }, _))) if batch.brief)
    }

    /// If a caller polls for the results: looks for the next frame for a moment. True: it is here,
    /// and the caller has read the results.
    fn lingers(&mut self, outlet: &Outlet) -> bool {
        let Some(yields) = outlet.watched() else {
            return false;
        };
        let pages = &outlet.pages;
        let mut is_empty = self.received.tidy();
        let mut looks = ticks::Looks::new(POLL_FOR);
        while is_empty && !self.finds_frame() {
            let deliveries = pages.deliveries();
            if deliveries != self.deliveries {
                self.deliveries = deliveries;
                is_empty = !self.received.receive(RECEIVE).unwrap_or_else(|_| die());
            }
            if looks.are_over() {
                break;
            }
            if yields {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
        (!is_empty || self.has_frame) && pages.is_known()
    }

    fn ring(&self) -> SharedRing<'_> {
        SharedRing::new(self.front.ring())
    }

    /// Whether the next frame is in the shared ring; then it is in `copied`.
    #[inline]
    fn finds_frame(&mut self) -> bool {
        if !self.has_frame {
            let ring = SharedRing::new(self.front.ring());
            self.has_frame = ring.read(&mut self.head, self.received.position, &mut self.copied);
        }
        self.has_frame
    }

    /// The bytes of the next complete frame.
    pub(super) fn next(&mut self) -> &[u8] {
        loop {
            if self.finds_frame() {
                self.has_frame = false;
                return &self.copied;
            }
            match self.received.whole() {
                Some(length) => return self.received.consume(length),
                None => self.receive(),
            }
        }
    }

    /// Waits for more bytes.
    fn receive(&mut self) {
        let is_empty = self.received.make_room();
        // The worker does not sleep in the middle of a frame, because the rest is on its way.
        let sleeps = is_empty && self.ring().falls_asleep(self.head);
        let mut flags = RecvFlags::empty();
        if is_empty && !sleeps {
            if self.finds_frame() {
                return;
            }
            // A frame in the shared ring whose turn has not come follows bytes that have already
            // been sent.
            flags = RECEIVE;
        }
        if !self.received.receive_or_end(flags) {
            exit(1); // an item has overwritten the shared pages
        }
        if sleeps {
            self.ring().wakes();
        }
    }
}

/// What the watcher does: it kills this process and its group as soon as the parent's
/// end of `socket` closes, and cancels unwanted items when `bell` rings.
pub(super) fn watch(socket: &OwnedFd, bell: &AttachedFile, canceller: &Canceller) {
    loop {
        let mut fds = [PollFd::new(socket, ENDS), PollFd::new(bell, PollFlags::IN)];
        poll_patiently(&mut fds, None);
        if !fds[0].revents().is_empty() || !PollFlags::IN.contains(fds[1].revents()) {
            die(); // or an item has closed our descriptor
        }
        // Listens even if nothing is known: if an item has set the limit on descriptors to
        // zero, the kernel polls none. Silences the bell before it looks, so that a later ring
        // wakes it again.
        let mut heard = [0; 64];
        let count = match transfer::receive(bell.as_fd(), true, &mut heard[..]) {
            Ok(0) => die(), // the parent is gone
            result => result.unwrap_or(0),
        };
        canceller.look();
        if heard[..count].contains(&QUESTION) {
            trees::answer_to(bell);
        }
    }
}
