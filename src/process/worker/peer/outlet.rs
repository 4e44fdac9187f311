//! What a worker sends to its parent: records, which wait in the ledger and leave by the stream.
//!
//! The ledger is sent when it is full and at the end of each frame ([`Outlet::flush`]). Where its
//! pages are mapped by the parent, too, a record counts as soon as it is committed. Where they are
//! not (a plain worker), the worker must say what it begins, its attachments are copied, and two
//! threads send to the stream.
//!
//! Tests: `tests/process/pool.rs::{four_accidents_cost_four_items, chaos_in_batches}`,
//! `tests/process/plain.rs`.

use std::io;
use std::sync::Arc;

use postcard_described::is_number;
use serde::Serialize;

use crate::loom::{Mutex, thread};
use crate::process::pages::caller_word::{self, Answered};
use crate::process::pages::raw_arena::Block;
use crate::process::pages::raw_ledger::{Pages, ROOM};
use crate::process::value::attachments::AttachedFile;
use crate::process::value::codec::{NUMBER, encode_own, write_number};
use crate::process::value::copies::CopySource;
use crate::process::value::lent_arrays::{ArrayPlace, Due, Lent, SharedBuffer};
use crate::process::value::reason;
use crate::process::value::scope::Encoding;
use crate::process::wire::{self, Record};
use crate::process::worker::parent_stream::{ParentStream, send};
use crate::sys::stdio;

/// The length of shorter values is one byte.
const SHORT: usize = 255;
/// Shorter values are copied byte by byte, because a call of `memcpy` costs more.
const MEMCPY_FROM_BYTES: usize = 32;
/// How many bytes of the buffer for results are kept from one result to the next.
const KEPT: usize = 1 << 20;

/// How often to try to mark standard error.
const ATTEMPTS: u32 = 1000;

/// Where an encoded value is.
pub(crate) enum Encoded {
    /// Behind the records that wait, with its head: so many bytes.
    InPlace(usize),
    /// In the buffer for results.
    Apart,
}

/// What a worker sends to its parent: the stream, and the records that wait to be sent.
pub(crate) struct Outlet {
    stream: ParentStream,
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
    /// The outlet of a worker with these pages, which its parent sees, too. A plain worker has
    /// pages of its own; others that send to the stream hold the lock `plain`.
    pub(super) fn new(stream: ParentStream, pages: Pages, plain: Option<Arc<Mutex<()>>>) -> Self {
        let mut encoding = match plain {
            Some(_) => Encoding::bytes(),
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

    /// An item begins: the parent may have no other way to know.
    #[inline]
    pub(crate) fn begins(&mut self) {
        if self.is_plain() {
            self.record(&wire::BEGUN);
            self.flush();
        }
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

    /// A frame has ended: wakes the caller that waits for its results, if there is one.
    #[inline]
    pub(crate) fn answer(&self) -> Answered {
        self.pages.runs_here();
        self.pages.caller().answer(caller_word::wake)
    }

    /// Whether there is room for the results of more frames.
    pub(crate) fn has_room(&self) -> bool {
        self.length <= ROOM / 2
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
        attachments: &[Arc<AttachedFile>],
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

    /// Encodes the next value, which is not needed any more. Nothing of it is used afterwards.
    #[inline]
    pub(crate) fn encode<R: Serialize + 'static>(
        &mut self,
        value: &mut R,
    ) -> Result<Encoded, postcard::Error> {
        if is_number::<R>()
            && let room = &mut self.pages.room()[self.length..]
            && let Some([kind, width, number @ ..]) = room.first_chunk_mut::<{ 2 + NUMBER }>()
        {
            let length = write_number(value, number)?;
            (*kind, *width) = (wire::VALUE_KIND, length as u8);
            return Ok(Encoded::InPlace(2 + length));
        }
        self.release();
        let Self {
            encoding, scratch, ..
        } = self;
        scratch.clear();
        encode_own(value, scratch, encoding)?;
        Ok(Encoded::Apart)
    }

    /// Adds the record of the value that was encoded last. After an error nothing was added.
    #[inline]
    pub(crate) fn value(
        &mut self,
        encoded: Result<Encoded, postcard::Error>,
    ) -> Result<(), postcard::Error> {
        match encoded? {
            Encoded::InPlace(length) => self.commit(self.length + length),
            Encoded::Apart => {
                let brings_nothing = self.encoding.as_ref().is_none_or(|own| own.is_empty());
                if brings_nothing && self.scratch.len() < SHORT {
                    self.short_value();
                } else {
                    self.other_value()?;
                }
            }
        }
        Ok(())
    }

    /// The value that was encoded last is not sent.
    pub(crate) fn forget_value(&mut self) {
        if let Some(own) = &mut self.encoding {
            own.clear();
        }
        self.scratch.clear();
        self.scratch.shrink_to(KEPT);
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
        if length < MEMCPY_FROM_BYTES {
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
        let copied = if self.is_plain() {
            &own.attachments[..]
        } else {
            &[]
        };
        let memory = copied.iter().map(|one| Ok((one.id, CopySource::of(one)?)));
        let memory: Vec<_> = memory.collect::<io::Result<_>>().map_err(|error| {
            reason::set(&format!("a copy of it could not be sent: {error}"));
            postcard::Error::SerdeSerCustom
        })?;
        let arrays = own.lent.iter().filter_map(Lent::sent_ahead);
        for (id, source) in memory.into_iter().chain(arrays) {
            let (of, bytes) = (source.head(id), &[][..]);
            let copy = Record::Copy { of, bytes };
            for part in source.parts() {
                let head = copy.head(part.bytes().len());
                self.put([&head, part.bytes()], &[])?;
            }
        }
        Ok(())
    }

    #[cold]
    fn other_value(&mut self) -> Result<(), postcard::Error> {
        let mut own = self.encoding.take().unwrap_or_default();
        let bytes = std::mem::take(&mut self.scratch);
        let attachments = if self.is_plain() {
            &[]
        } else {
            &own.attachments[..]
        };
        let head = value_head(&own, bytes.len());
        let sent = self.copy(&own);
        let sent = sent.and_then(|()| self.put([&head, &bytes], attachments));
        if sent.is_ok() {
            let position = self.pages.position();
            for lent in own.lent.drain(..) {
                if let ArrayPlace::Block(block, _) = lent.place {
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
