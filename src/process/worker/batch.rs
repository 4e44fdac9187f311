//! In the worker: the items of one frame, and where their results go.
//!
//! **Protocol.** For each item: note when it starts, if its time is limited; take it through
//! the gate; decode, call, encode; commit the result to the ledger. Nothing of this is a system
//! call. The ledger is sent when it is full and at the end of each frame ([`Outlet::flush`]).
//!
//! Where memory is limited, a worker that holds too much after an item takes no further one: it
//! closes the gate of its frame itself, as the parent would to take items back, and says
//! `RETIRE`.
//!
//! **Invariants.**
//! - **W8** Every item that was taken is answered by exactly one record before the
//!   next is taken: a value, a codec error or a panic. (`open` says that one is due.)
//!
//! Tests: `tests/process/pool.rs`; `tests/forks/process.rs`.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Call, Calls};
use super::context::Contexts;
use super::memory::Memory;
use crate::loom::{Mutex, thread};
use crate::process::payload::attachments::{self, Attachment};
use crate::process::payload::codec::encode;
use crate::process::payload::scope::{self, Encoding};
use crate::process::payload::shared_buffer::{Due, SharedBuffer};
use crate::process::wire::clock;
use crate::process::wire::{self, BatchHead, CodecOf, Reader, Record};
use crate::sys::arena::Block;
use crate::sys::fork;
use crate::sys::ledger::{Pages, ROOM};
use crate::sys::refused::refused;
use crate::sys::ticks;
use crate::sys::worker::ends;
use crate::task::panic::Panic;

/// What is shorter has one byte for its length.
const SHORT: usize = 255;
/// What is shorter is copied byte by byte: a call of `memcpy` costs more.
const TINY: usize = 32;
/// How much memory for results is kept while there are none.
const KEPT: usize = 1 << 20;

/// What takes less, in nanoseconds, has not written to a pipe.
pub(crate) const QUICK: u64 = 250;

/// In frames of more items than that each takes less than a microsecond, and standard error is marked at the end only.
const FEW: u64 = 1000;

/// How long to wait while the kernel takes nothing or no descriptors, and how often for the latter.
const CROWDED: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};
const PATIENCE: u32 = 1000;

/// What a worker says, on its way.
#[derive(Debug)]
pub(crate) struct Outlet {
    socket: OwnedFd,
    pub(crate) pages: Pages,
    /// A plain worker's: nobody else sees the pages, and whoever says something holds this until it is whole.
    plain: Option<Arc<Mutex<()>>>,
    /// Large results that the parent may not have copied yet.
    lent: Due<Block>,
    encoding: Option<Box<Encoding>>,
    /// Where results are encoded.
    scratch: Vec<u8>,
    /// How many bytes are committed and not sent.
    length: usize,
}

impl Outlet {
    pub(crate) fn new(socket: OwnedFd, pages: Pages, plain: Option<Arc<Mutex<()>>>) -> Self {
        let encoding = match &plain {
            Some(_) => Encoding::plain(),
            None => Encoding::lending(Arc::new(SharedBuffer::over(pages.area()))),
        };
        Self {
            socket,
            pages,
            plain,
            lent: Due::new(),
            encoding,
            scratch: Vec::new(),
            length: 0,
        }
    }

    /// Takes back what the parent has copied of what was lent.
    #[inline]
    pub(crate) fn release(&mut self) {
        if !self.lent.is_empty()
            && let Some(taken) = self.pages.taken()
        {
            self.lent.release(taken);
        }
    }

    /// Sends everything.
    pub(crate) fn flush(&mut self) {
        let _whole = self.plain.as_ref().map(|plain| plain.lock());
        // (Without attachments nothing is refused.)
        let _ = send(&self.socket, &self.pages.room()[..self.length], &[]);
        self.pages.sent(self.length as u64);
        self.length = 0;
    }

    /// Says of a plain worker that it begins an item, together with all results before it: the parent knows nothing else.
    #[cold]
    fn begins(&mut self) {
        self.record(&Record::Begun.bytes());
        self.flush();
    }

    /// What is in standard error now is of items that have ended (`forward`).
    #[cold]
    pub(crate) fn mark(&self) {
        if self.plain.is_some() {
            return;
        }
        let waiting = || rustix::io::ioctl_fionread(std::io::stderr()).unwrap_or(0);
        for _ in 0..PATIENCE {
            if self.pages.mark(waiting) {
                return;
            }
            thread::yield_now();
        }
    }

    /// A caller looks for results in the ledger.
    pub(crate) fn is_watched(&self) -> bool {
        let (until, _) = self.pages.watched();
        until != 0 && clock::now() <= until
    }

    /// It is time to send.
    pub(crate) fn is_half_full(&self) -> bool {
        self.length > ROOM / 2
    }

    /// Some whole records, through the ledger if they fit.
    pub(crate) fn record(&mut self, records: &[u8]) {
        if records.len() > ROOM - self.length {
            self.flush();
        }
        if records.len() > ROOM {
            let _ = self.around(&[], [records, &[]]);
            return;
        }
        self.pages.room()[self.length..][..records.len()].copy_from_slice(records);
        self.commit(self.length + records.len());
    }

    #[inline]
    fn commit(&mut self, length: usize) {
        self.length = length;
        self.pages.commit(length);
    }

    /// Sends what does not fit into the ledger, which is empty, and `attachments` with its first byte. A death in here leaves
    /// a part of a record, which counts as none. After an error nothing was said.
    fn around(
        &mut self,
        attachments: &[Arc<Attachment>],
        [first, second]: [&[u8]; 2],
    ) -> Result<(), postcard::Error> {
        let _whole = self.plain.as_ref().map(|plain| plain.lock());
        send(&self.socket, first, attachments)?;
        send(&self.socket, second, &[])?;
        self.pages.sent((first.len() + second.len()) as u64);
        Ok(())
    }

    /// A value record, through the ledger if it fits; around it if it brings descriptors along. After an error nothing was said.
    #[inline]
    fn value<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        self.release();
        let Self {
            encoding, scratch, ..
        } = self;
        scratch.clear();
        let encoded = encode(value, scratch, encoding);
        let is_plain = self.encoding.as_ref().is_none_or(|own| own.is_empty());
        if encoded.is_ok() && is_plain && self.scratch.len() < SHORT {
            self.short_value();
            return Ok(());
        }
        self.other_value(encoded)
    }

    #[inline]
    fn short_value(&mut self) {
        let length = self.scratch.len();
        if ROOM - self.length < length + 2 {
            self.flush();
        }
        let room = &mut self.pages.room()[self.length..][..length + 2];
        room[0] = wire::VALUE_KIND;
        room[1] = length as u8;
        if length < TINY {
            for (to, from) in room[2..].iter_mut().zip(&self.scratch) {
                *to = *from;
            }
        } else {
            room[2..].copy_from_slice(&self.scratch);
        }
        self.commit(self.length + length + 2);
    }

    #[cold]
    fn other_value(&mut self, encoded: Result<(), postcard::Error>) -> Result<(), postcard::Error> {
        let mut own = self.encoding.take().unwrap_or_default();
        let mut bytes = std::mem::take(&mut self.scratch);
        let said = encoded.and_then(|()| self.long_value(&own, &bytes));
        if said.is_ok() {
            let position = self.pages.position();
            let blocks = own.lent.drain(..).map(|lent| lent.block);
            blocks.for_each(|block| self.lent.push(position, block));
        }
        own.clear();
        self.encoding = Some(own);
        if bytes.capacity() <= KEPT {
            bytes.clear();
            self.scratch = bytes;
        }
        said
    }

    /// A value and what is beside it.
    fn long_value(&mut self, beside: &Encoding, bytes: &[u8]) -> Result<(), postcard::Error> {
        let mut head = Vec::new();
        let attachments = &beside.attachments;
        if !attachments.is_empty() {
            let numbers = attachments.iter().map(|attachment| attachment.id());
            head.extend(Record::Descriptors(numbers.collect()).bytes());
        }
        if !beside.lent.is_empty() {
            let lent = beside.lent.iter().map(|lent| lent.numbers(0));
            head.extend(Record::Lent(lent.collect()).bytes());
        }
        head.extend(wire::value_head(bytes.len()));
        if attachments.is_empty() && head.len() + bytes.len() <= ROOM {
            self.record(&[&head, bytes].concat());
            return Ok(());
        }
        self.flush();
        self.around(attachments, [&head, bytes])
    }

    /// What the last encoding has attached and lent does not travel.
    fn abandon(&mut self) {
        if let Some(own) = &mut self.encoding {
            own.clear();
        }
    }
}

/// Sends all of `bytes`, and `attachments` with the first of them, waiting as long as it takes: the parent always reads. An error:
/// the kernel takes no descriptors, and nothing was sent.
pub(crate) fn send(
    socket: &OwnedFd,
    mut bytes: &[u8],
    mut attachments: &[Arc<Attachment>],
) -> Result<(), postcard::Error> {
    let mut patience = PATIENCE;
    while !bytes.is_empty() {
        let flags = SendFlags::NOSIGNAL;
        let sent = match attachments {
            [] => rustix::net::send(socket, bytes, flags),
            _ => attachments::send(socket, &[IoSlice::new(bytes)], attachments, flags),
        };
        match sent {
            Ok(sent) => (bytes, attachments) = (&bytes[sent..], &[]),
            Err(Errno::INTR) => {}
            // Until others have taken theirs, or the kernel has memory again: nothing tells when. (The watcher of the socket
            // ends this if the parent ends.)
            Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => {
                let _ = rustix::thread::nanosleep(&CROWDED);
                patience = patience.saturating_sub(1);
                if patience == 0 && !attachments.is_empty() {
                    scope::said(
                        "too many descriptors are on their way between processes (RLIMIT_NOFILE), or the system is out of memory",
                    );
                    return Err(postcard::Error::SerdeSerCustom);
                }
            }
            Err(error @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS)) => {
                ends("answer", &refused("sendto")(error))
            }
            // The parent is gone.
            Err(_) => std::process::exit(1),
        }
    }
    Ok(())
}

/// What a worker keeps from frame to frame.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) outlet: Outlet,
    pub(crate) calls: Calls,
    pub(crate) contexts: Contexts,
    pub(crate) memory: Option<Memory>,
    /// It has asked to be replaced.
    retiring: bool,
    /// Of which generation of forks it is.
    born: u32,
}

impl Desk {
    pub(crate) fn new(outlet: Outlet, calls: Calls, memory: Option<Memory>) -> Self {
        Self {
            outlet,
            calls,
            contexts: Contexts::default(),
            memory,
            retiring: false,
            born: fork::generation(),
        }
    }
}

/// The items of one frame.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    items: Reader<'a>,
    head: BatchHead,
    desk: &'a mut Desk,
    begun: u64,
    open: bool,
    /// When the last item began, in ticks.
    since: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(head: BatchHead, items: &'a [u8], desk: &'a mut Desk) -> Self {
        let index = head.sequence as usize;
        let gate = desk.outlet.pages.gate(index);
        if desk.retiring {
            gate.close();
        }
        desk.calls.begin(index, gate);
        Self {
            items: Reader(items),
            head,
            desk,
            begun: 0,
            open: false,
            since: 0,
        }
    }

    /// How many items have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// What the next items run as. An item that asks for its token is the last of its call.
    pub(crate) fn call(&mut self) -> Call {
        let gate = self.desk.outlet.pages.gate(self.head.sequence as usize);
        self.desk.calls.next(gate)
    }

    /// The bytes of the next argument, which is herewith begun.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        if self.desk.memory.is_some() {
            self.weigh();
        }
        let gate = self.desk.outlet.pages.gate(self.head.sequence as usize);
        if self.head.timed {
            gate.starts(clock::now());
        }
        gate.take()?;
        let argument = self.items.bytes()?;
        if self.head.count <= FEW {
            self.mark();
        }
        if self.desk.outlet.plain.is_some() {
            self.desk.outlet.begins();
        }
        self.begun += 1;
        self.open = true;
        Some(argument)
    }

    /// Standard error up to here is not of the next item.
    #[inline]
    fn mark(&mut self) {
        let now = ticks::now();
        if self.begun > 0 && now.saturating_sub(self.since) >= QUICK * ticks::MICROSECOND / 1000 {
            self.desk.outlet.mark();
        }
        self.since = now;
    }

    /// The argument has been decoded; after the last one no attachment of the frame is kept.
    #[inline]
    pub(crate) fn decoded(&mut self) {
        if self.begun == self.head.count {
            scope::leave();
        }
        if self.head.ends {
            self.taken();
        }
    }

    /// Says so at once: another process may wait until the parent has closed its copies (W26).
    #[cold]
    fn taken(&mut self) {
        self.desk.outlet.record(&Record::Taken.bytes());
        self.desk.outlet.flush();
    }

    /// Asks to be replaced if this process has become too large.
    #[cold]
    fn weigh(&mut self) {
        let fits = self.desk.memory.as_mut().is_none_or(Memory::fits);
        if !fits && !std::mem::replace(&mut self.desk.retiring, true) {
            let gate = self.desk.outlet.pages.gate(self.head.sequence as usize);
            gate.close();
            self.desk.outlet.record(&Record::Retire.bytes());
        }
    }

    /// What the items of this frame have in common.
    pub(crate) fn context<C: DeserializeOwned + 'static>(&mut self) -> Result<&C, String> {
        self.desk.contexts.get(self.head.context)
    }

    /// The item's result. After an error nothing has been said.
    #[inline]
    pub(crate) fn value<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        self.end_child();
        self.desk.outlet.value(value)?;
        self.open = false;
        Ok(())
    }

    /// The item's argument, context or result cannot be decoded or encoded.
    #[cold]
    pub(crate) fn codec(&mut self, of: CodecOf, detail: &str) {
        let detail = detail.to_owned();
        self.answer(&Record::Codec { of, detail }.bytes());
    }

    /// The item, or the destructor of its result, has panicked.
    #[cold]
    pub(crate) fn panicked(&mut self, panic: &Panic) {
        let place = panic
            .location()
            .map(|place| (place.file().to_owned(), place.line(), place.column()));
        self.desk.outlet.abandon(); // what a `Serialize` has left behind
        let message = panic.message().to_owned();
        self.answer(&Record::Panic { message, place }.bytes());
    }

    /// An item may have forked, and have returned in the child, too. There is nothing to return to: the conversation
    /// with the parent is the worker's.
    #[inline]
    fn end_child(&self) {
        if self.desk.born != fork::generation() {
            std::process::exit(0);
        }
    }

    fn answer(&mut self, record: &[u8]) {
        self.end_child();
        if std::mem::take(&mut self.open) {
            self.desk.outlet.record(record);
        }
    }
}
