//! In the worker: running the items of one frame ([`Batch`]), and sending their results
//! ([`Outlet`]). (How many items a frame has is decided in `sched/frame_size.rs`.)
//!
//! **Protocol.** For each item: note when it starts, if its time is limited; take it through the
//! gate; decode, call, encode; commit the result to the ledger. None of this is a system call. The
//! ledger is sent when it is full and at the end of each frame ([`Outlet::flush`]).
//!
//! Where memory is limited, a worker that holds too much after an item takes no other: it closes
//! the gate of its frame, as the parent would to take items back, and sends `Retire`.
//!
//! **Invariants.**
//! - **W8** Every item that was taken is answered by exactly one record before the next is taken: a
//!   value, a codec error or a panic. (`open` is set while one is due.)
//!
//! Tests: `tests/process/pool.rs`; `tests/forks/process.rs`.

use std::any::Any;
use std::io;
use std::sync::Arc;

use postcard_described::is_number;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Calls, ItemTask, begin_nothing};
use super::context::Contexts;
use super::memory_limit::MemoryLimit;
use super::stream::{Stream, send};
use crate::loom::{Mutex, thread};
use crate::process::host::arena::Block;
use crate::process::host::ledger::{Pages, ROOM};
use crate::process::host::shared_clock;
use crate::process::value::attachments::Attachment;
use crate::process::value::codec::{NUMBER, encode_own, write_number};
use crate::process::value::copies::CopySource;
use crate::process::value::extras::{Encoding, PLAIN};
use crate::process::value::lent_arrays::{Due, Lent, Place, SharedBuffer};
use crate::process::value::reason;
use crate::process::value::scope;
use crate::process::wire::{self, BatchHead, CodecOf, Reader, Record};
use crate::sys::fork;
use crate::sys::stdio;
use crate::sys::ticks;
use crate::task::panic::Panic;

/// The length of shorter values is one byte.
const SHORT: usize = 255;
/// Shorter values are copied byte by byte, because a call of `memcpy` costs more.
const TINY: usize = 32;
/// How many bytes of the buffer for results are kept from one result to the next.
const KEPT: usize = 1 << 20;

/// Code that took less time than this, in nanoseconds, has not written to a pipe.
pub(crate) const QUICK: u64 = 250;

/// If this many items of a frame took less than a microsecond each, standard error is not marked
/// between the others: reading the clock would cost too much compared with such items.
const SAMPLE: u64 = 1000;

/// How often to try to mark standard error.
const ATTEMPTS: u32 = 1000;

/// What a worker sends to its parent: the stream, and the records that wait to be sent.
#[derive(Debug)]
pub(crate) struct Outlet {
    stream: Stream,
    /// The memory in which records wait. Unless the worker is plain its parent sees them, too: then
    /// a record counts as soon as it is committed.
    pub(crate) pages: Pages,
    /// The lock of a plain worker's stream, to which two threads send: each holds it until its
    /// record is complete. `None`: the worker is not plain.
    plain: Option<Arc<Mutex<()>>>,
    /// Large results that the parent may not have copied yet.
    lent: Due<Block>,
    encoding: Option<Box<Encoding>>,
    /// The buffer in which results are encoded.
    scratch: Vec<u8>,
    /// How many bytes of records are committed and not sent.
    length: usize,
}

impl Outlet {
    pub(crate) fn new(stream: Stream, pages: Pages, plain: Option<Arc<Mutex<()>>>) -> Self {
        let mut encoding = match plain {
            Some(_) => Encoding::bytes(PLAIN),
            None => Encoding::lending(Arc::new(SharedBuffer::over(pages.arena()))),
        };
        encoding.sends_ahead = true;
        Self {
            stream,
            pages,
            plain,
            lent: Due::new(),
            encoding: Some(encoding),
            scratch: Vec::new(),
            length: 0,
        }
    }

    /// Whether there is only the stream, so that the worker must report what it begins.
    #[inline]
    fn is_plain(&self) -> bool {
        self.plain.is_some()
    }

    /// Frees the lent blocks that the parent has copied.
    #[inline]
    pub(crate) fn release(&mut self) {
        if !self.lent.is_empty()
            && let Some(taken) = self.pages.taken()
        {
            self.lent.release(taken);
        }
    }

    /// Sends all records that wait.
    pub(crate) fn flush(&mut self) {
        let whole = self.plain.as_ref().map(|whole| whole.lock());
        // Without attachments there is no error.
        let _ = send(&self.stream, &self.pages.room()[..self.length], &[]);
        drop(whole);
        self.pages.sent(self.length as u64);
        self.length = 0;
    }

    /// Sends this record, and all that waited before it, at once.
    #[cold]
    pub(crate) fn announce(&mut self, record: &Record<'_>) {
        self.record(&record.bytes());
        self.flush();
    }

    /// Marks everything that standard error contains now as output of items that have ended
    /// (`parent/worker_stderr.rs`).
    #[cold]
    pub(crate) fn mark(&self) {
        let mut attempts = 0..ATTEMPTS;
        while !self.is_plain() && attempts.next().is_some() && !self.pages.mark(stdio::complaints) {
            thread::yield_now();
        }
    }

    /// `Some`: a caller polls the ledger for results, and there is room for more of them. `true`:
    /// both processes share one processor, so this one must yield.
    pub(crate) fn watched(&self) -> Option<bool> {
        let (until, yields) = self.pages.watched();
        let watched = until != 0 && shared_clock::now() <= until && self.length <= ROOM / 2;
        watched.then_some(yields)
    }

    /// Adds a complete record.
    pub(crate) fn record(&mut self, record: &[u8]) {
        let _ = self.put([record, &[]], &[]); // without attachments there is no error
    }

    #[inline]
    fn commit(&mut self, length: usize) {
        self.length = length;
        self.pages.commit(length);
    }

    /// Adds complete records, given in two parts, to the ledger if they fit. If they do not, or if
    /// `attachments` must go with their first byte, sends them directly. If the process dies
    /// meanwhile, the parent has a part of a record, which it ignores. After an error nothing was
    /// sent.
    fn put(
        &mut self,
        parts: [&[u8]; 2],
        attachments: &[Arc<Attachment>],
    ) -> Result<(), postcard::Error> {
        let length = parts[0].len() + parts[1].len();
        let fits = attachments.is_empty() && length <= ROOM;
        if !fits || length > ROOM - self.length {
            self.flush();
        }
        if fits {
            let (first, second) =
                self.pages.room()[self.length..][..length].split_at_mut(parts[0].len());
            first.copy_from_slice(parts[0]);
            second.copy_from_slice(parts[1]);
            self.commit(self.length + length);
            return Ok(());
        }
        let _whole = self.plain.as_ref().map(|whole| whole.lock());
        send(&self.stream, parts[0], attachments)?;
        send(&self.stream, parts[1], &[])?;
        self.pages.sent(length as u64);
        Ok(())
    }

    /// Adds a value record. After an error nothing was added.
    #[inline]
    fn value<R: Serialize + 'static>(&mut self, value: &mut R) -> Result<(), postcard::Error> {
        if is_number::<R>()
            && let room = &mut self.pages.room()[self.length..]
            && let Some([kind, width, number @ ..]) = room.first_chunk_mut::<{ 2 + NUMBER }>()
        {
            let length = write_number(value, number)?;
            (*kind, *width) = (wire::VALUE_KIND, length as u8);
            self.commit(self.length + 2 + length);
            return Ok(());
        }
        self.release();
        let Self {
            encoding, scratch, ..
        } = self;
        scratch.clear();
        let encoded = encode_own(value, scratch, encoding);
        let brings_nothing = self.encoding.as_ref().is_none_or(|own| own.is_empty());
        if encoded.is_ok() && brings_nothing && self.scratch.len() < SHORT {
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

    /// Sends what goes ahead of the next value: its arrays, and a plain worker's attachments. After
    /// an error nothing was sent.
    fn copy(&mut self, own: &Encoding) -> Result<(), postcard::Error> {
        let attachments = match self.is_plain() {
            true => &own.attachments[..],
            false => &[],
        };
        let memory = attachments
            .iter()
            .map(|one| Ok((one.id, CopySource::of(one)?)));
        let memory: Vec<_> = memory.collect::<io::Result<_>>().map_err(|error| {
            reason::set(&format!("a copy of it could not be sent: {error}"));
            postcard::Error::SerdeSerCustom
        })?;
        let arrays = own.lent.iter().filter_map(Lent::sent_ahead);
        for (id, source) in memory.into_iter().chain(arrays) {
            let (length, kind) = source.shape();
            let copy = Record::Copy {
                id,
                length,
                kind,
                bytes: &[],
            };
            for part in source.parts() {
                let head = copy.head(part.bytes().len());
                self.put([&head, part.bytes()], &[])?;
            }
        }
        Ok(())
    }

    #[cold]
    fn other_value(&mut self, encoded: Result<(), postcard::Error>) -> Result<(), postcard::Error> {
        let mut own = self.encoding.take().unwrap_or_default();
        let bytes = std::mem::take(&mut self.scratch);
        let sent = encoded.and_then(|()| {
            self.copy(&own)?;
            let attachments = match self.is_plain() {
                true => &[],
                false => &own.attachments[..],
            };
            let head = value_head(&own, bytes.len());
            self.put([&head, &bytes], attachments)
        });
        if sent.is_ok() {
            let position = self.pages.position();
            for lent in own.lent.drain(..) {
                if let Place::Block(block, _) = lent.place {
                    self.lent.push(position, block);
                }
            }
        }
        own.clear();
        self.encoding = Some(own);
        if bytes.capacity() <= KEPT {
            self.scratch = bytes;
        }
        sent
    }
}

/// The bytes before a value of `length` bytes: the records about its attachments and lent arrays,
/// and the head of its own record.
fn value_head(own: &Encoding, length: usize) -> Vec<u8> {
    let mut head = Vec::new();
    if !own.attachments.is_empty() {
        let numbers = own.attachments.iter().map(|attachment| attachment.id);
        head.extend(Record::Descriptors(numbers.collect()).bytes());
    }
    if !own.lent.is_empty() {
        let lent = own.lent.iter().map(|lent| lent.numbers(0));
        head.extend(Record::Lent(lent.collect()).bytes());
    }
    head.extend(wire::value_head(length));
    head
}

/// The state that a worker keeps from frame to frame.
pub(crate) struct WorkerState {
    pub(crate) outlet: Outlet,
    pub(crate) calls: Calls,
    pub(crate) contexts: Contexts,
    /// What the worker of an actor has loaded.
    pub(crate) actor: Option<Box<dyn Any>>,
    pub(crate) memory: Option<MemoryLimit>,
    /// This worker has asked to be replaced.
    pub(super) retiring: bool,
    /// This process has no parent: it runs an item of a file, and ends as that does.
    pub(super) replays: Option<fn(Failure<'_>) -> !>,
}

/// What an item gives in place of a value.
pub(super) enum Failure<'a> {
    Panic,
    Codec(CodecOf, &'a str),
}

/// The items of one frame.
pub(crate) struct Batch<'a> {
    items: Reader<'a>,
    head: BatchHead,
    /// How many bytes of arrays have come ahead of the items.
    arrived: u64,
    state: &'a mut WorkerState,
    /// How many items have begun.
    pub(super) begun: u64,
    open: bool,
    /// When the latest item started, if the time of items is limited.
    started: u64,
    /// When the first item began, and the latest one, in ticks.
    first: u64,
    since: u64,
    /// The items take less than a microsecond each.
    are_tiny: bool,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        head: BatchHead,
        items: &'a [u8],
        arrived: u64,
        state: &'a mut WorkerState,
    ) -> Self {
        Self {
            items: Reader(items),
            head,
            arrived,
            state,
            begun: 0,
            open: false,
            started: 0,
            first: 0,
            since: 0,
            are_tiny: false,
        }
    }

    /// The cell under which the next items run. If an item asks for its token, the next item gets
    /// another cell.
    pub(crate) fn call(&mut self) -> ItemTask {
        let index = self.head.sequence as usize;
        let gate = self.state.outlet.pages.gate(index);
        self.state.calls.cell(index, gate)
    }

    /// Begins the next item: returns the bytes of its argument. `None`: there is none left to take.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        if self.state.memory.is_some() {
            self.weigh();
        }
        let gate = self.state.outlet.pages.gate(self.head.sequence as usize);
        if self.head.limit != 0 {
            self.started = shared_clock::now();
            gate.starts(self.started);
        }
        gate.take()?;
        let argument = self.items.bytes()?;
        if !self.are_tiny {
            self.mark();
        }
        if self.state.outlet.is_plain() {
            self.state.outlet.record(&wire::BEGUN); // the parent has no other way to know
            self.state.outlet.flush();
        }
        self.begun += 1;
        #[cfg(feature = "tracing")]
        super::tracing_events::item_begins(self.head.sequence, self.begun);
        self.open = true;
        Some(argument)
    }

    /// Marks everything that standard error contains now as not written by the next item. (A
    /// separate function, so that `next` is small enough to be inlined.)
    #[inline(never)]
    fn mark(&mut self) {
        let mut now = ticks::now();
        if self.begun == 0 {
            self.first = now;
        } else if now.saturating_sub(self.since) >= QUICK * ticks::MICROSECOND / 1000 {
            self.state.outlet.mark();
            // A mark takes longer than a quick item. If its time counted as the next item's, that
            // one would be followed by a mark, too, and so would all items to the frame's end.
            let marked = ticks::now();
            self.first += marked.saturating_sub(now);
            now = marked;
        }
        self.since = now;
        let spent = now.saturating_sub(self.first);
        self.are_tiny = self.begun == SAMPLE && spent < SAMPLE * ticks::MICROSECOND;
    }

    /// The argument has been decoded. After the last one, no attachment of the frame is kept.
    #[inline]
    pub(crate) fn decoded(&mut self) {
        if self.begun == self.head.count {
            scope::end_decoding();
        }
        if self.head.ends {
            // Another process may wait until the parent has closed its copies (W26).
            self.state.outlet.announce(&Record::Taken);
        }
    }

    /// Asks the parent to replace this process if it uses too much memory.
    #[cold]
    fn weigh(&mut self) {
        let arrived = self.arrived;
        let memory = self.state.memory.as_mut();
        let fits = memory.is_none_or(|memory| memory.fits(arrived));
        if !fits {
            let gate = self.state.outlet.pages.gate(self.head.sequence as usize);
            gate.close();
            begin_nothing();
            self.retires(false);
        }
    }

    /// Reports, once, that no further item begins in this process. `asked`: an item has asked for
    /// that.
    #[cold]
    pub(super) fn retires(&mut self, asked: bool) {
        if !std::mem::replace(&mut self.state.retiring, true) {
            self.state.outlet.record(&Record::Retire { asked }.bytes());
        }
    }

    /// The context that the items of this frame share.
    pub(crate) fn context<C: DeserializeOwned + 'static>(&mut self) -> Result<&C, String> {
        self.state.contexts.get(self.head.context)
    }

    /// Keeps what the worker of an actor has loaded.
    pub(super) fn set_state(&mut self, state: Box<dyn Any>) {
        self.state.actor = Some(state);
    }

    /// What the worker of an actor has loaded.
    pub(super) fn state<S: 'static>(&mut self) -> Result<&mut S, String> {
        let state = self.state.actor.as_mut();
        let state = state.and_then(|state| state.downcast_mut());
        state.ok_or_else(|| "the worker has no such state".to_owned())
    }

    /// Sends the item's result, which is not needed any more. After an error nothing was sent.
    #[inline]
    pub(crate) fn value<R: Serialize + 'static>(
        &mut self,
        value: &mut R,
    ) -> Result<(), postcard::Error> {
        self.end_child();
        if self.head.limit != 0 && self.late().is_some() {
            self.answer(&[]);
            return Ok(());
        }
        self.state.outlet.value(value)?;
        self.open = false;
        Ok(())
    }

    /// The answer of the item, whatever its outcome is, if it has run for too long. (The parent may
    /// not have seen that yet; it learns the time of each item from here only.)
    fn late(&self) -> Option<Vec<u8>> {
        if self.head.limit == 0 {
            return None;
        }
        let nanos = shared_clock::now().saturating_sub(self.started);
        (nanos >= self.head.limit).then(|| Record::Late { nanos }.bytes())
    }

    /// Reports that the item's argument, context or result could not be decoded or encoded.
    #[cold]
    pub(crate) fn codec(&mut self, of: CodecOf, detail: &str) {
        if let Some(ends) = self.state.replays {
            ends(Failure::Codec(of, detail));
        }
        let detail = detail.to_owned();
        self.answer(&Record::Codec { of, detail }.bytes());
    }

    /// Reports that the item, or the destructor of its result, has panicked.
    #[cold]
    pub(crate) fn panicked(&mut self, panic: &Panic) {
        if let Some(ends) = self.state.replays {
            ends(Failure::Panic);
        }
        let place = panic
            .location()
            .map(|place| (place.file().to_owned(), place.line(), place.column()));
        let message = panic.message().to_owned();
        self.answer(&Record::Panic { message, place }.bytes());
    }

    /// Ends the process if this is a forked child: an item that forks may return in the child, too,
    /// but only the worker itself may write to the stream.
    #[inline]
    fn end_child(&self) {
        if fork::generation() != 0 {
            std::process::exit(0);
        }
    }

    fn answer(&mut self, record: &[u8]) {
        self.end_child();
        if std::mem::take(&mut self.open) {
            let late = self.late();
            self.state.outlet.record(late.as_deref().unwrap_or(record));
        }
    }
}
