//! What frames are sent to one worker by, and its records are received by.
//!
//! There are two paths to a worker, and nothing outside of the `peer` directories asks on which of
//! them it is reached:
//! - [`worker_stream`], the protocol as it works everywhere: a worker that has nothing else is
//!   *plain* (`Settings::plain`).
//! - [`pages`], its optimisation on one machine: memory that both processes map, besides a stream.
//!
//! The scheduler's part is `sched::peer`, the worker's part `worker::peer`; the callers' part is
//! [`CallerPath`], and [`Mark`] says which standard error belongs to an item.
//!
//! Tests: `tests/process/speed.rs`, `tests/process/plain.rs`.

mod pages;
mod worker_stream;

use std::io::{self, PipeReader, PipeWriter};
use std::sync::Arc;

use rustix::fd::{BorrowedFd, OwnedFd};

use self::pages::Pages;
#[cfg(test)]
pub(crate) use self::worker_stream::CROWDED;
pub(crate) use self::worker_stream::Next;
use self::worker_stream::WorkerStream;
use super::settings::Settings;
use crate::process::job::reading::Extras;
use crate::process::pages::raw_ledger::Ledger;
use crate::process::sched::frame_control::FrameControl;
use crate::process::value::attachments::AttachedFile;
use crate::process::value::chunk::{Chunk, Piece};
use crate::process::value::lent_arrays::{SharedBuffer, View};
#[cfg(not(loom))]
use crate::process::value::permits::AllPermits;
use crate::process::wire::{Frame, Terms};
use crate::sys::child::{Handle, Id};
use crate::sys::descriptor::OwnedFile;
use crate::sys::refused::failed;
#[cfg(feature = "inspect")]
use crate::sys::sockets;
#[cfg(feature = "backtrace")]
use crate::task::backtrace::Backtrace;
use trefoil_os::host::image::image;
use trefoil_os::host::lifeline::Lifeline;

/// One worker, at the other end of its stream.
pub(crate) struct Peer {
    pub(super) stream: WorkerStream,
    /// `None`: the worker is plain.
    pages: Option<Pages>,
}

impl Peer {
    /// The worker whose stream is `socket`.
    pub(super) fn new(socket: &Arc<OwnedFd>, settings: &Settings) -> io::Result<Self> {
        Ok(Self {
            stream: WorkerStream::new(socket, settings.plain),
            pages: (!settings.plain)
                .then(|| Pages::new(!settings.serves_forks))
                .transpose()?,
        })
    }

    /// A test, with the pages of its peer.
    #[cfg(test)]
    pub(crate) fn with_pages(socket: &Arc<OwnedFd>) -> (Self, Arc<Ledger>) {
        let pages = Pages::new(true).unwrap();
        let ledger = pages.ledger.clone();
        let stream = WorkerStream::new(socket, false);
        let pages = Some(pages);
        (Self { stream, pages }, ledger)
    }

    /// The worker, as the scheduler knows it.
    pub(crate) fn for_sched(&self, is_forwarded: bool) -> FrameControl {
        let gates = self.pages.as_ref().map(|pages| (**pages.ledger).clone());
        gates.map_or_else(
            || FrameControl::on_stream(is_forwarded),
            FrameControl::on_pages,
        )
    }

    /// How the output of an item is distinguished from that of earlier ones.
    pub(super) fn mark(&self) -> Mark {
        Mark::new(self.pages.as_ref().map(|pages| pages.ledger.clone()))
    }

    /// How the worker's large results are read, if it can lend them.
    pub(super) fn view(&self) -> Option<View> {
        self.pages.as_ref()?.view()
    }

    /// A lifeline of the process, and the worker's end of it, if a descriptor can be sent there.
    pub(super) fn tie(&self, id: Id, child: &Handle) -> io::Result<Option<(Lifeline, OwnedFile)>> {
        let tied = self.pages.as_ref().map(|_| Lifeline::tie(id, child));
        tied.transpose().map(Option::flatten)
    }

    /// A pipe for the worker's events, if they do not come with its records.
    pub(super) fn pipe_for_events(&self) -> io::Result<Option<(PipeReader, PipeWriter)>> {
        let pipe = self.pages.as_ref().map(|_| io::pipe());
        pipe.transpose().map_err(failed("pipe2"))
    }

    /// Sends the first frame to worker `index`, which is to send events of this `level`; with it go
    /// the descriptors of the pages, `more`, and `any`, which may wait with the frame.
    pub(super) fn welcome(
        &mut self,
        (index, level): (usize, u8),
        settings: &Settings,
        more: [Option<BorrowedFd<'_>>; 3],
        any: Option<Arc<AttachedFile>>,
    ) -> io::Result<()> {
        let welcome = Frame::Welcome {
            copy: image().name().as_bytes(),
            terms: Terms {
                index: index as u64,
                memory: settings.memory.unwrap_or(0),
                cores: settings.cores,
                has_pages: self.pages.is_some(),
                events: level,
            },
        };
        let mut all = self
            .pages
            .as_ref()
            .map_or_else(Vec::new, Pages::descriptors);
        all.extend(more.into_iter().flatten());
        let sent = self.stream.welcome(welcome.head(0), &all, any);
        drop(all);
        if let Some(pages) = &mut self.pages {
            pages.bell.is_handed_over();
        }
        sent
    }

    /// Gives the worker a frame: puts it where the worker looks, or into the queue for the socket,
    /// with what goes ahead of it. True if the queue was empty and is not now: `send` it.
    pub(crate) fn post(&mut self, head: Vec<u8>, items: Option<Piece>) -> bool {
        self.queues(|stream, pages| match pages {
            None => stream.post(head, items),
            Some(pages) => pages.post(stream, head, items),
        })
    }

    /// Queues a frame that says nothing, unless others are on their way: it wakes a worker that may
    /// be asleep although it claims to be awake, and is something to pass on for what forwards the
    /// stream. True: `send` it.
    pub(super) fn nudge(&mut self) -> bool {
        self.queues(|stream, pages| {
            if !stream.is_sending() {
                pages.iter().for_each(Pages::remind);
                stream.wait_for(&Frame::Nudge);
            }
        })
    }

    /// Queues a request to a fork server, with the descriptors that go with it. (`send` it.)
    pub(super) fn ask_to_fork(&mut self, files: Vec<Arc<AttachedFile>>, request: &Frame<'_>) {
        let head = request.head(0);
        self.stream.wait(files, head, worker_stream::Body::Nothing);
    }

    /// Queues the numbers of the memory that the worker need not keep any more. True: `send` them.
    pub(super) fn forget_freed(&mut self) -> bool {
        self.queues(|stream, _| drop(stream.remember(&[])))
    }

    /// Asks the worker for its own tree: where the answer comes through the bell, at once. True:
    /// `send` the question. `None`: it could not be asked.
    #[cfg(feature = "inspect")]
    pub(super) fn ask(&mut self) -> Option<bool> {
        let mut is_asked = true;
        let sends = self.queues(|stream, pages| match pages {
            None => stream.wait_for(&Frame::Tree),
            Some(pages) => is_asked = pages.bell.ask(),
        });
        is_asked.then_some(sends)
    }

    /// True if the queue was empty before `queue`, and is not now.
    fn queues(&mut self, queue: impl FnOnce(&mut WorkerStream, &mut Option<Pages>)) -> bool {
        let was_empty = !self.stream.is_sending();
        queue(&mut self.stream, &mut self.pages);
        was_empty && self.stream.is_sending()
    }

    /// Where the answer to `ask` comes, if it is not a record.
    #[cfg(feature = "inspect")]
    pub(super) fn bell(&self) -> Option<&Arc<sockets::Stream>> {
        Some(self.pages.as_ref()?.bell.answers())
    }

    /// Sends what the socket takes. False: nothing can be sent, ever.
    pub(super) fn send(&mut self) -> bool {
        let before = self.stream.sent_bytes;
        let result = self.stream.send();
        if let Some(pages) = &self.pages
            && self.stream.sent_bytes != before
        {
            pages.has_sent();
        }
        result
    }

    /// Reads records that the worker has finished and not yet sent, as far as they can be seen.
    pub(super) fn records_ahead(&mut self, rest: &mut Vec<u8>) {
        rest.clear();
        if let Some(pages) = &self.pages {
            pages.records_ahead(&mut self.stream.known, rest);
        }
    }

    /// Whether there are such records. (Cheap.)
    pub(super) fn has_records_ahead(&self) -> bool {
        let pages = self.pages.as_ref();
        pages.is_some_and(|pages| pages.ledger.has_unsent(self.stream.known))
    }

    /// Whether the worker has sent some of its records that are not known yet, since it has pages.
    pub(super) fn has_sent(&self) -> bool {
        let pages = self.pages.as_ref();
        pages.is_some_and(|pages| pages.ledger.has_sent(self.stream.known))
    }

    /// Where a caller can wait for results.
    pub(super) fn ledger(&self) -> Option<&Arc<Ledger>> {
        Some(&self.pages.as_ref()?.ledger)
    }

    /// Makes the worker look at its gates: what it runs may be unwanted.
    pub(super) fn cancel(&self) {
        if let Some(pages) = &self.pages {
            pages.bell.ring();
        }
    }

    /// Whether the worker can be prevented from beginning items, however it behaves.
    pub(super) fn has_gates(&self) -> bool {
        self.pages.is_some()
    }

    /// All records have been processed, except for the last `partial` bytes: closes the descriptors
    /// that came with them and were not claimed, and returns to the worker the memory that it has
    /// lent with them, if no other thread reads there.
    pub(super) fn processed_all_but(&self, partial: usize, extras: &mut Extras) {
        extras.arrivals.used(partial);
        if let Some(pages) = &self.pages
            && Arc::strong_count(&extras.hold) == 1
        {
            pages.release(self.stream.known.saturating_sub(partial as u64));
        }
    }

    /// The worker, with this process id, is gone: releases the permits that it held. (A plain one
    /// can hold none, and its number may be another process's.)
    #[cfg(not(loom))]
    pub(super) fn release_permits(&self, permits: &AllPermits, pid: u32) {
        if self.pages.is_some() {
            permits.release_of(pid);
        }
    }

    /// Where the worker, which has died by `signal`, has crashed, as far as it has noted that.
    #[cfg(feature = "backtrace")]
    pub(super) fn backtrace(&self, signal: Option<i32>) -> Option<Backtrace> {
        self.pages.as_ref()?.backtrace(signal)
    }
}

/// How many bytes of its standard error a worker had written before the items that it runs. One
/// that has pages stores it there, and must know when the parent is reading. Of a plain worker it
/// is computed here, each time that it has nothing to do. (`worker_stderr` says why.)
#[derive(Debug)]
pub(in crate::process::parent) enum Mark {
    Own(u64),
    Ledger(Arc<Ledger>),
}

impl Mark {
    fn new(ledger: Option<Arc<Ledger>>) -> Self {
        ledger.map_or(Self::Own(0), Self::Ledger)
    }

    /// The worker is idle, and has `written` so much.
    pub(in crate::process::parent) fn is_idle(&mut self, written: impl FnOnce() -> u64) {
        if let Self::Own(mark) = self {
            *mark = written();
        }
    }

    /// So many bytes have been read here; and whether more are just being read.
    pub(in crate::process::parent) fn reads(&self, count: u64, is_reading: bool) {
        if let Self::Ledger(ledger) = self {
            ledger.reads(count, is_reading);
        }
    }

    /// So many bytes were written before.
    pub(in crate::process::parent) fn get(&self) -> u64 {
        match self {
            Self::Own(mark) => *mark,
            Self::Ledger(ledger) => ledger.marked(),
        }
    }
}

/// How the callers of a pool reach its workers: the memory in which large arguments are lent,
/// unless everything goes by the stream.
#[derive(Debug)]
pub(crate) struct CallerPath(Option<Arc<SharedBuffer>>);

impl CallerPath {
    pub(crate) fn new(settings: &Settings) -> Self {
        let lends = !settings.plain;
        Self(lends.then(|| Arc::new(SharedBuffer::new())))
    }

    /// An empty chunk, in which arguments are encoded.
    pub(crate) fn chunk(&self) -> Chunk {
        let lent = self.0.as_ref();
        let chunk = lent.map_or_else(|| Chunk::new(true), Chunk::lending);
        chunk.sending_ahead()
    }

    /// An empty chunk for a context, which stays with the workers.
    pub(crate) fn context(&self) -> Chunk {
        Chunk::new(self.0.is_none())
    }

    /// Whether a caller may hand out its work, which is a whole call or a part of one. (A part to
    /// pages only: otherwise the driver sends the frames while the caller encodes more.)
    pub(super) fn may_hand_out(&self, is_call: bool) -> bool {
        is_call || self.0.is_some()
    }

    /// Whether a caller can poll its worker's ledger for a moment before it sleeps.
    pub(super) fn may_poll(&self) -> bool {
        self.0.is_some()
    }
}
