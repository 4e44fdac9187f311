//! What carries frames and records between the parent and a worker.
//!
//! Every worker has a stream. Most also have *pages* that both processes map; a worker without them
//! is *plain* (`Settings::plain`). Other files do not ask which it is. They ask the [`Carrier`] to
//! do something, or the [`CallerPath`], which is the callers' part of it.
//!
//! Pages add to the stream: gates that both sides see (`sched::progress`); results that can be read
//! before they are sent, and after a death; frames that need no system call (`shared_ring`); large
//! arrays in shared memory (`lent_arrays`); and the knowledge of which item has written what to
//! standard error. Descriptors are sent only to workers that have pages.
//!
//! Tests: `tests/process/speed.rs`, `tests/process/plain.rs`.

use std::io;
use std::sync::Arc;

use rustix::fd::{BorrowedFd, OwnedFd};

use super::settings::Settings;
use super::worker_stderr::Mark;
use crate::process::host::crash_handler;
use crate::process::host::ledger::{Front, Ledger};
use crate::process::host::lifeline::Lifeline;
use crate::process::host::shared_ring::{Posted, SharedRing};
use crate::process::host::valve::{Shut, Valve};
use crate::process::host::worker_bell::{self, WorkerBell};
use crate::process::sched::progress::Progress;
use crate::process::value::attachments::Attachment;
use crate::process::value::chunk::Chunk;
use crate::process::value::lent_arrays::{SharedBuffer, View};
use crate::process::value::memory_kept_by_worker::MemoryKeptByWorker;
use crate::sys::child::{Handle, Id};
use crate::sys::descriptor::{OwnedFile, waitable};
use crate::sys::refused::failed;
use crate::sys::sockets::Stream;
use crate::task::backtrace::Backtrace;

/// What carries frames and records between the parent and one worker.
pub(crate) enum Carrier {
    /// Pages that both map, and the stream.
    Pages(ParentPages),
    /// The stream alone: the worker is plain. The driver waits for the valve in place of the
    /// socket, if the system has valves.
    Stream(Option<Arc<Valve>>),
}

/// The parent's part of the pages.
pub(crate) struct ParentPages {
    pub(crate) ledger: Arc<Ledger>,
    /// Rung to make the worker look at its gates.
    bell: WorkerBell,
    /// The position of the next frame in the shared ring.
    tail: u64,
}

impl ParentPages {
    pub(crate) fn new() -> io::Result<Self> {
        let ledger = Ledger::new()?;
        SharedRing::new(ledger.ring()).clear();
        let bell = WorkerBell::new();
        Ok(Self {
            ledger: Arc::new(ledger),
            bell: bell.map_err(failed(worker_bell::CALL))?,
            tail: 0,
        })
    }
}

impl Carrier {
    /// The carrier for a worker whose stream is `socket`.
    pub(super) fn new(socket: &Arc<OwnedFd>, settings: &Settings) -> io::Result<Self> {
        // The one call of a `Process` is not worth a valve.
        let is_called_often = settings.own.is_none();
        Ok(match settings.plain {
            false => Self::Pages(ParentPages::new()?),
            true => Self::Stream(is_called_often.then(|| Valve::of(socket)).flatten()),
        })
    }

    fn pages(&self) -> Option<&ParentPages> {
        match self {
            Self::Pages(pages) => Some(pages),
            Self::Stream(_) => None,
        }
    }

    fn valve(&self) -> Option<&Arc<Valve>> {
        match self {
            Self::Stream(valve) => valve.as_ref(),
            Self::Pages(_) => None,
        }
    }

    /// What the worker's progress is known by.
    pub(crate) fn progress(&self) -> Progress {
        match self {
            Self::Pages(pages) => Progress::Gates((**pages.ledger).clone()),
            Self::Stream(_) => Progress::Reports(Front::own()),
        }
    }

    /// How the output of an item is distinguished from that of earlier ones.
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Pages(pages) => Mark::Ledger(pages.ledger.clone()),
            Self::Stream(_) => Mark::Own(0),
        }
    }

    /// How the worker's large results are read, if it can lend them.
    pub(super) fn view(&self) -> Option<View> {
        let (mapping, area) = self.pages()?.ledger.lent()?;
        Some(View::Mapped(mapping, area.start))
    }

    /// The list of the memory that the worker keeps: mappings, or copies.
    pub(super) fn memory_kept_by_worker(&self) -> MemoryKeptByWorker {
        MemoryKeptByWorker::new(self.is_plain())
    }

    /// A lifeline of the process, and the worker's end of it, if a descriptor can be sent there.
    pub(super) fn tie(&self, id: Id, child: &Handle) -> io::Result<Option<(Lifeline, OwnedFile)>> {
        let tied = self.pages().map(|_| Lifeline::tie(id, child));
        tied.transpose().map(Option::flatten)
    }

    /// Whether the worker gets nothing but the stream.
    pub(super) fn is_plain(&self) -> bool {
        self.pages().is_none()
    }

    /// The descriptors that the worker needs.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pages().into_iter().flat_map(|pages| {
            let memory = waitable(pages.ledger.memory());
            std::iter::once(memory).chain(pages.bell.theirs())
        })
    }

    /// The worker has the descriptors.
    pub(super) fn is_handed_over(&mut self) {
        if let Self::Pages(pages) = self {
            pages.bell.is_handed_over();
        }
    }

    /// Puts a frame, in two parts, into the shared ring, to be read after `position` bytes of the
    /// stream.
    pub(super) fn post(&mut self, position: u64, parts: [&[u8]; 2]) -> Posted {
        match self {
            Self::Pages(pages) => {
                SharedRing::new(pages.ledger.ring()).post(&mut pages.tail, position, parts)
            }
            Self::Stream(_) => Posted::No,
        }
    }

    /// Called before the worker is woken because it may sleep although it claims to be awake.
    /// False: it reads nothing but the stream, so it needs no waking.
    pub(super) fn remind(&self) -> bool {
        let Some(pages) = self.pages() else {
            return false;
        };
        SharedRing::new(pages.ledger.ring()).remind(pages.tail);
        true
    }

    /// Makes the worker look at its gates.
    pub(super) fn ring(&self) {
        if let Some(pages) = self.pages() {
            pages.bell.ring();
        }
    }

    /// Asks the worker, through the bell, for its own tree. False: it could not be asked. `None`: a
    /// plain worker has no bell.
    pub(super) fn ask_for_tree(&self) -> Option<bool> {
        Some(self.pages()?.bell.ask())
    }

    /// Where it answers that.
    pub(super) fn bell(&self) -> Option<&Arc<Stream>> {
        Some(self.pages()?.bell.answers())
    }

    /// Of these attachments, those that travel as descriptors; the others are copied.
    pub(super) fn as_descriptors(&self, attachments: Vec<Arc<Attachment>>) -> Vec<Arc<Attachment>> {
        self.pages().map_or_else(Vec::new, |_| attachments)
    }

    /// Of this memory, which is new to the worker, what is copied to it.
    pub(super) fn copied<'a>(&self, new: &'a [Arc<Attachment>]) -> &'a [Arc<Attachment>] {
        self.pages().map_or(new, |_| &[])
    }

    /// The stream has taken bytes.
    pub(super) fn has_sent(&self) {
        if let Some(pages) = self.pages() {
            pages.ledger.sent();
        }
    }

    /// Reads the records that the worker has finished and not yet sent into `rest`. `received` is
    /// how many bytes of records are known, and afterwards includes these.
    pub(super) fn read_unsent(&self, received: &mut u64, rest: &mut Vec<u8>) {
        rest.clear();
        if let Some(pages) = self.pages() {
            pages.ledger.rest(*received, rest);
            *received += rest.len() as u64;
            pages.ledger.set_known(*received);
        }
    }

    /// Where the worker, which has died by `signal`, has crashed, as far as it has noted that.
    pub(super) fn backtrace(&self, signal: Option<i32>) -> Option<Backtrace> {
        let pages = self.pages().filter(|_| crash_handler::is_noted(signal))?;
        let places = pages.ledger.crash_notes().read();
        let places = places.into_iter().map(|place| (place.module, place.offset));
        Backtrace::new(places.collect())
    }

    /// Whether the worker has finished records after the first `received` bytes. (Cheap.)
    pub(super) fn has_unsent(&self, received: u64) -> bool {
        let pages = self.pages();
        pages.is_some_and(|pages| pages.ledger.has_unsent(received))
    }

    /// Whether the worker can be prevented from beginning items, however it behaves.
    pub(super) fn can_close_gates(&self) -> bool {
        self.pages().is_some()
    }

    /// The descriptor to wait for until `socket` is readable.
    pub(super) fn readable<'a>(&'a self, socket: &'a Arc<OwnedFd>) -> &'a Arc<OwnedFd> {
        self.valve().map_or(socket, |valve| valve.front())
    }

    /// Whether a caller waits for the socket in the driver's place.
    pub(super) fn is_attended(&self) -> bool {
        self.valve().is_some_and(|valve| valve.is_shut())
    }

    /// Shuts the valve, so that a caller can wait for the socket in the driver's place.
    pub(super) fn shut(&self) -> Option<Shut> {
        self.valve()?.shut()
    }
}

/// The callers' part: what arguments travel in.
#[derive(Debug)]
pub(crate) enum CallerPath {
    /// Large arguments are lent in this memory, and a caller polls for its result.
    Pages(Arc<SharedBuffer>),
    /// All go by the stream.
    Stream,
}

impl CallerPath {
    pub(crate) fn new(settings: &Settings) -> Self {
        match settings.plain {
            false => Self::Pages(Arc::new(SharedBuffer::new())),
            true => Self::Stream,
        }
    }

    /// An empty chunk, in which arguments are encoded.
    pub(crate) fn chunk(&self) -> Chunk {
        let chunk = match self {
            Self::Pages(buffer) => Chunk::lending(buffer),
            Self::Stream => Chunk::new(true),
        };
        chunk.sending_ahead().for_one(true)
    }

    /// An empty chunk for a context, which stays with the workers.
    pub(crate) fn context(&self) -> Chunk {
        Chunk::new(matches!(self, Self::Stream))
    }
}
