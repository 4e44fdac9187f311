//! In the worker: the incoming frames, for the thread that runs the items.

use std::process::exit;
use std::sync::Arc;

use rustix::net::RecvFlags;

use super::batch::Outlet;
use super::plain_inlet::PlainInlet;
use super::received::{ParentStream, Received};
use super::replay_inlet::ReplayInlet;
use super::stream::die;
use crate::loom::{hint, thread};
use crate::process::host::ledger::Front;
use crate::process::host::poll_policy::POLL_FOR;
use crate::process::host::shared_ring::SharedRing;
use crate::process::value::attachments::{Arrivals, Descriptors};
use crate::process::wire::Frame;
use crate::sys::sockets::RECEIVE;
use crate::sys::ticks;

/// The incoming frames.
pub(super) enum Inlet {
    Fast(FastInlet),
    /// That of a plain worker, and its current frame.
    Plain(Arc<PlainInlet>, Vec<u8>),
    /// Those of a file.
    Replay(Box<ReplayInlet>),
}

impl Inlet {
    /// Whether this worker is plain: only bytes arrive.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(..) | Self::Replay(_))
    }

    /// The next complete frame.
    pub(super) fn frame(&mut self) -> Frame<'_> {
        let bytes = match self {
            Self::Fast(inlet) => inlet.next(),
            Self::Plain(inlet, frame) => {
                inlet.next(frame);
                frame
            }
            Self::Replay(inlet) => return inlet.next(),
        };
        whole(bytes)
    }

    /// The descriptors with these numbers, which came with the last frame.
    pub(super) fn claim(&mut self, numbers: &[u64]) -> Descriptors {
        match self {
            Self::Fast(inlet) => inlet.received.arrivals.claim(numbers),
            Self::Plain(..) | Self::Replay(_) => Arrivals::default().claim(numbers),
        }
    }

    /// Whether the records that wait can be sent after the next frame: it is here, and is a brief
    /// batch. (In a plain worker any batch will do: its first item is reported at once, together
    /// with everything before it.) Or a caller has read them meanwhile.
    pub(super) fn has_more(&mut self, outlet: &Outlet) -> bool {
        match self {
            Self::Fast(inlet) => inlet.has_brief() || inlet.lingers(outlet),
            Self::Plain(inlet, _) => inlet.has_batch(),
            Self::Replay(_) => false,
        }
    }
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    let Ok(Some((frame, _))) = Frame::decode(bytes) else {
        exit(1)
    };
    frame
}

/// Frames that come on the stream and, while this process is awake, through the shared ring.
pub(super) struct FastInlet {
    pub(super) received: Received,
    /// The parent's count of sends, when this was last read.
    deliveries: u64,
    /// The pages with the shared ring; `None`: they have not come yet.
    pub(super) front: Option<Front>,
    /// A frame that was copied out of the shared ring; and whether it is the next frame.
    copied: Vec<u8>,
    has_frame: bool,
    /// The position of the next frame in the shared ring.
    head: u64,
}

impl FastInlet {
    pub(super) fn new(source: ParentStream) -> Self {
        Self {
            received: Received::new(source),
            deliveries: 0,
            front: None,
            copied: Vec::new(),
            has_frame: false,
            head: 0,
        }
    }

    /// Waits for the first bytes of all. A refusal of the system can still be reported here.
    pub(super) fn begin(&mut self) -> rustix::io::Result<Frame<'_>> {
        self.received.receive(RecvFlags::empty())?;
        Ok(whole(self.next()))
    }

    /// Whether the next frame is here, and is a brief batch.
    fn has_brief(&mut self) -> bool {
        let next = match self.finds_frame() {
            true => Frame::decode(&self.copied),
            false => Frame::decode(self.received.rest()),
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
            match yields {
                true => thread::yield_now(),
                false => hint::spin_loop(),
            }
        }
        (!is_empty || self.has_frame) && pages.is_known()
    }

    fn ring(&self) -> Option<SharedRing<'_>> {
        let front = self.front.as_ref();
        front.map(|front| SharedRing::new(front.ring()))
    }

    /// Whether the next frame is in the shared ring; then it is in `copied`.
    #[inline]
    fn finds_frame(&mut self) -> bool {
        if let (false, Some(front)) = (self.has_frame, &self.front) {
            let ring = SharedRing::new(front.ring());
            self.has_frame = ring.read(&mut self.head, self.received.place, &mut self.copied);
        }
        self.has_frame
    }

    /// The bytes of the next complete frame.
    fn next(&mut self) -> &[u8] {
        loop {
            if self.finds_frame() {
                self.has_frame = false;
                return &self.copied;
            }
            match self.received.whole() {
                Some(length) => return self.received.take(length),
                None => self.receive(),
            }
        }
    }

    /// Waits for more bytes.
    fn receive(&mut self) {
        let is_empty = self.received.make_room();
        // The worker does not sleep in the middle of a frame, because the rest is on its way.
        let sleeps = is_empty && self.ring().is_none_or(|ring| ring.falls_asleep(self.head));
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
        if let (true, Some(ring)) = (sleeps, self.ring()) {
            ring.wakes();
        }
    }
}
