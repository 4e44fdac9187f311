//! Pages that both processes map, besides the stream: frames come by both.
//!
//! A second thread watches the socket and the bell ([`watch`]): the gates say what is not wanted.

use std::process::exit;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::RecvFlags;

use super::outlet::Outlet;
#[cfg(feature = "inspect")]
use crate::process::observe::trees;
use crate::process::pages::caller_word::Answered;
use crate::process::pages::poll_policy::PollPolicy;
use crate::process::pages::raw_ledger::Front;
use crate::process::pages::shared_ring::SharedRing;
use crate::process::value::attachments::AttachedFile;
use crate::process::wire::Frame;
use crate::process::worker::cancel::Canceller;
use crate::process::worker::parent_stream::{Received, die};
use crate::sys::poll::poll_patiently;
use crate::sys::sockets::{ENDS, RECEIVE};
use crate::sys::transfer;
#[cfg(feature = "inspect")]
use trefoil_os::host::worker_bell::QUESTION;

/// How long the worker waits for a caller that will probably take the results, before it sends
/// them.
const NAP: Duration = Duration::from_micros(50);
/// The same for a caller that it has answered: more than such a caller sleeps for (`SLEEP_FOR`).
const LONG_NAP: Duration = Duration::from_millis(20);

/// Frames that come on the stream and, while this process is awake, through the shared ring.
pub(super) struct PagesInlet {
    pub(super) received: Received,
    /// The parent's count of sends, when this was last read.
    deliveries: u64,
    /// Nothing is in the socket, unless that count has changed.
    is_drained: bool,
    /// The pages with the shared ring.
    front: Front,
    /// A frame that was copied out of the shared ring; and whether it is the next frame.
    copied: Vec<u8>,
    has_frame: bool,
    /// The position of the next frame in the shared ring.
    head: u64,
    poll_policy: PollPolicy,
    /// Its parent wakes it by a word of the ledger. (A watcher notices its parent's end.)
    sleeps_on_word: bool,
}

impl PagesInlet {
    pub(super) fn new(received: Received, front: Front, sleeps_on_word: bool) -> Self {
        Self {
            received,
            deliveries: 0,
            is_drained: false,
            front,
            copied: Vec::new(),
            has_frame: false,
            head: 0,
            poll_policy: PollPolicy::new(),
            sleeps_on_word,
        }
    }

    /// A frame has ended. Whether the records that wait need not be sent now: a caller takes them,
    /// or the next frame is here and is a brief batch.
    pub(super) fn has_more(&mut self, outlet: &Outlet) -> bool {
        let answered = outlet.answer();
        if self.has_brief() {
            return true;
        }
        if answered == Answered::No {
            return false;
        }
        let has_polled = self.polls();
        if !outlet.has_room() {
            return false;
        }
        let pages = &outlet.pages;
        let is_taken = || pages.is_known() || outlet.answer() == Answered::Taken;
        if answered == Answered::Soon && !is_taken() {
            if !has_polled {
                self.naps(NAP);
            }
            if !is_taken() {
                pages.caller().give_up();
                return false;
            }
        }
        if !pages.is_known() {
            self.naps(LONG_NAP);
        }
        pages.is_known() || self.finds_frame()
    }

    /// Sleeps until something is sent or written, for so long at most.
    fn naps(&mut self, limit: Duration) {
        if self.received.tidy() {
            self.sleeps(Some(limit));
        }
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

    /// Looks for the next frame for a moment, if that pays.
    fn polls(&mut self) -> bool {
        let mut polling = self.poll_policy.begin();
        let polls = polling.polls(|| self.front.caller_polls_here()) && self.front.caller_polls();
        let mut is_empty = self.received.tidy();
        while polls && is_empty && !self.finds_frame() && polling.goes_on(&self.poll_policy) {
            is_empty = !self.receives();
        }
        polls
    }

    /// Receives what is in the socket, if anything may be there. False: nothing is.
    fn receives(&mut self) -> bool {
        let deliveries = self.front.deliveries();
        if deliveries != self.deliveries {
            (self.deliveries, self.is_drained) = (deliveries, false);
        }
        if !self.is_drained {
            self.is_drained = !self.received.receive_or_end(RECEIVE);
        }
        !self.is_drained
    }

    /// Sleeps on the word until the parent has written or sent something. False: there is a frame
    /// in the shared ring. (Nothing else is here.)
    fn sleeps(&mut self, limit: Option<Duration>) -> bool {
        let wakes = self.front.wakes(); // before the last looks
        let sleeps = self.ring().falls_asleep(self.head);
        if sleeps {
            if self.front.deliveries() == self.deliveries {
                self.front.sleep(wakes, limit);
            }
            self.ring().wakes();
        }
        sleeps
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
        if is_empty && self.sleeps_on_word && (self.receives() || self.sleeps(None)) {
            return;
        }
        // The worker does not sleep in the middle of a frame, because the rest is on its way.
        let sleeps = is_empty && !self.sleeps_on_word && self.ring().falls_asleep(self.head);
        let mut flags = RecvFlags::empty();
        if is_empty && !sleeps {
            if self.finds_frame() {
                return;
            }
            // A frame in the shared ring whose turn has not come follows bytes that have already
            // been sent.
            flags = RECEIVE;
        }
        self.is_drained = false;
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
        if transfer::receive(bell.as_fd(), true, &mut heard[..]) == Ok(0) {
            die(); // the parent is gone
        }
        canceller.look();
        #[cfg(feature = "inspect")]
        if heard.contains(&QUESTION) {
            trees::answer_to(bell);
        }
    }
}
