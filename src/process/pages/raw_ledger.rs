//! A few pages that a worker process and its parent share.
//!
//! **Job.** When a worker was killed, between whichever two instructions, the parent must know
//! exactly what the worker had begun and finished. That must cost almost nothing while the worker
//! lives. So all of this is in memory that outlives the worker:
//!
//! ```text
//!        0            64            4096     4104     4160                  8192    28672         ROOM more
//!        ┌────────────┬─────────────┬────────┬────────┬─────────────────────┬───────┬─────────────┬──────┐
//!        │ gate 0     │ gate 1 ...  │ base   │ length │ caller, sent, known │ ring  │ results ... │ area │
//!        └────────────┴─────────────┴────────┴────────┴─────────────────────┴───────┴─────────────┴──────┘
//! ```
//!
//! *Gates*: which items of each frame have begun ([`gate`](crate::process::pages::gate)). *Results*:
//! the bytes that the worker has not yet sent; `base` is the position of the first of them in the
//! stream of all bytes it ever sent. *Words* of the parent (`caller_word`, `sent`, `known`): from
//! them a worker learns that sending can wait, and how much of its standard error was read
//! (`process::parent::worker_stderr`). Behind these words are what a fork server notes of its
//! copies ([`CopyNote`]), and the notes of a crash (`crash_notes`). *Ring*: small frames
//! (`shared_ring`).
//! *Area*: room for large results (`process::value::lent_arrays`); it is sparse, and missing
//! where files may not be so long.
//!
//! 1. The worker writes a record after the first `length` bytes, then raises `length`.
//! 2. To flush, the worker sends `length` bytes, sets `length` to 0, then adds to `base`. If it
//!    dies between the last two steps, there is nothing to take.
//! 3. After the worker is gone: `received - base` of the `length` bytes have arrived at the parent,
//!    the rest is in the pages.
//! 4. While the worker lives and takes long, the parent does the same, and reads `base` once more
//!    afterwards. If that has not moved, nothing was overwritten meanwhile, and what was read is
//!    what will be sent; the parent skips it when it arrives.
//!
//! **Invariants.**
//! - **W24** The results are accessed as bytes by the worker alone, through the one `Pages` that it
//!   has. The parent copies them out through a mapping of its own, as atomics, and believes them
//!   only if the worker is gone or `base` has not moved.
//! - **W84** The area is written by the worker alone, through the one `Arena` that it has (W81).
//!   The parent copies out of it as atomics.
//!
//! Tests: below; `tests/process/pool.rs::{chaos_runs_no_item_twice, killed_from_outside}`.
//! Rejected: sending after every item (a system call of about a microsecond for items of ten
//! nanoseconds); a ring for all results (a second transport, with wake-ups of its own).
#![allow(unsafe_code)]
#![allow(clippy::disallowed_types)] // other processes use them: never loom's

use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;
// Words shared with another process: no protocol that loom could see.
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use crate::loom::atomic::AtomicU64 as Word;
use crate::process::pages::caller_word::CallerWord;
use crate::process::pages::gate::{GATES, Gate};
use crate::process::pages::raw_arena::Arena;
use crate::sys::descriptor::{AsFile, BorrowedFile, OwnedFile};
#[cfg(not(loom))]
use crate::sys::futex;
use crate::sys::processors;
#[cfg(feature = "backtrace")]
use trefoil_os::host::crash_notes::{CrashNotes, CrashPages};
use trefoil_os::host::mapping::{Access, Mapping};
use trefoil_os::host::{free_memory, memory_file};

/// How many bytes of results fit before the worker must send.
pub(crate) const ROOM: usize = 124 << 10;

const HEAD: usize = 8192;
const RING: usize = 20 << 10;
/// Where the results begin.
const RESULTS: usize = HEAD + RING;
const SIZE: usize = RESULTS + ROOM;

/// How many bytes of large results fit into the area, where there is one.
pub(crate) const AREA: usize = 64 << 20;

/// Where the parent writes how much it has processed: the last words of the ring's pages.
const TAKEN: usize = RESULTS - 64;

/// Where the notes of a crash begin, which end at the ring.
const NOTES: usize = HEAD - 3840;

/// The words of the first pages.
#[repr(C)]
struct LedgerHead {
    gates: [Gate; GATES],
    base: AtomicU64,
    length: AtomicU64,
    marked: AtomicU64,
    ran_on: AtomicU32,
    parent: Words,
    copy: CopyNote,
}

/// What a fork server writes before, and the kernel while, it makes a copy of itself: which of its
/// parent's requests that is for, and the number of the copy. So the parent knows its child even if
/// the server is killed before it can say so.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct CopyNote {
    request: AtomicU64,
    number: AtomicU32,
}

impl CopyNote {
    /// A copy will be made now for this request. Returns where its number is to be stored.
    pub(crate) fn begin(&self, request: u64) -> &AtomicU32 {
        // In this order: no number counts for another request, whenever this process is killed.
        self.number.store(0, Ordering::Release);
        self.request.store(request, Ordering::Release);
        &self.number
    }

    /// The number of the copy that was made for this request, if it was made and is the last one.
    /// (The server is gone.)
    #[must_use]
    pub(crate) fn of(&self, request: u64) -> Option<u32> {
        let number = self.number.load(Ordering::Acquire);
        (self.request.load(Ordering::Acquire) == request && number != 0).then_some(number)
    }
}

/// The words that the parent writes besides the gates.
#[repr(C, align(64))]
struct Words {
    caller: CallerWord,
    sent: AtomicU64,
    known: AtomicU64,
    read: AtomicU64,
    wakes: AtomicU32,
    polls_on: AtomicU32,
}

/// A processor as a word: that on which this thread runs, if the system says so. Never 0.
fn this_processor() -> u32 {
    processors::current().map_or(u32::MAX, |number| number as u32 + 1)
}

/// Whether a thread that was on that processor was on this one.
fn is_here(processor: u32) -> bool {
    processor != u32::MAX && processor == this_processor()
}

/// A flag of `read`: the parent is reading more.
const READING: u64 = 1 << 63;

const _: () = assert!(size_of::<LedgerHead>() <= NOTES);

/// All pages except the area, as memory.
#[repr(C, align(64))]
struct Whole([u8; SIZE]);

/// What both sides use: the gates and the shared ring, in a mapping of all of the file, or of all
/// except the area.
#[derive(Clone, Debug)]
pub(crate) struct Front(Arc<Mapping>);

impl Front {
    fn map(file: BorrowedFile<'_>, length: usize) -> io::Result<Self> {
        let mapping = Mapping::new(file, 0..length, Access::Write)?;
        Ok(Self(Arc::new(mapping)))
    }

    /// Gates that only this process sees: those of a plain worker, in its parent.
    pub(crate) fn own() -> Self {
        Self(Arc::new(Mapping::own::<LedgerHead>()))
    }

    #[inline]
    fn head(&self) -> &LedgerHead {
        let head = self.0.at(0).cast::<LedgerHead>();
        // SAFETY: H22, H23: a `LedgerHead` at least (`map`, `own`), aligned, zeroed at first,
        // atomics only.
        unsafe { &*head }
    }

    /// What a fork server notes of its copies.
    #[must_use]
    pub(crate) fn copy_note(&self) -> &CopyNote {
        &self.head().copy
    }

    /// The gate with this number.
    #[inline]
    pub(crate) fn gate(&self, index: usize) -> &Gate {
        &self.head().gates[index % GATES]
    }

    /// The ring, for small frames.
    #[inline]
    pub(crate) fn ring(&self) -> &[Word] {
        self.0.words(HEAD, TAKEN - HEAD).unwrap_or_default()
    }

    /// The area for the worker's large results, if there is one.
    pub(crate) fn lent(&self) -> Option<(Arc<Mapping>, Range<usize>)> {
        let range = SIZE..SIZE + AREA;
        (self.0.length() >= range.end).then(|| (self.0.clone(), range))
    }

    /// How often the parent has sent something.
    #[inline]
    pub(crate) fn deliveries(&self) -> u64 {
        self.head().parent.sent.load(Ordering::Acquire)
    }

    /// How often the worker was woken: what it sleeps on.
    #[inline]
    pub(crate) fn wakes(&self) -> u32 {
        self.head().parent.wakes.load(Ordering::Acquire)
    }

    /// Whether the last caller polled. (A hint.)
    #[inline]
    pub(crate) fn caller_polls(&self) -> bool {
        self.head().parent.polls_on.load(Ordering::Relaxed) != 0
    }

    /// Whether that was on this thread's processor. (A hint.)
    #[inline]
    pub(crate) fn caller_polls_here(&self) -> bool {
        is_here(self.head().parent.polls_on.load(Ordering::Relaxed))
    }

    /// The worker sleeps until it is woken once more than `wakes` times, or for this long.
    pub(crate) fn sleep(&self, wakes: u32, limit: Option<Duration>) {
        let word = &self.head().parent.wakes;
        #[cfg(not(loom))]
        futex::wait(word, wakes, limit);
        #[cfg(loom)]
        let _ = (word, wakes, limit); // no model has a ledger
    }

    /// The caller that waits for the worker.
    #[inline]
    pub(crate) fn caller(&self) -> &CallerWord {
        &self.head().parent.caller
    }

    /// How many bytes the worker has ever written, sent or not.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        let head = self.head();
        let base = head.base.load(Ordering::Acquire);
        base.wrapping_add(head.length.load(Ordering::Acquire))
    }

    /// Up to which position in the worker's stream the parent has processed everything: see
    /// `process::value::lent_arrays`.
    #[inline]
    pub(crate) fn taken(&self) -> Option<&Word> {
        self.0.words(TAKEN, 8)?.first()
    }
}

/// What the worker notes when it crashes.
#[cfg(feature = "backtrace")]
impl CrashPages for Front {
    fn crash_notes(&self) -> CrashNotes<'_> {
        CrashNotes::of(self.0.words(NOTES, HEAD - NOTES).unwrap_or_default())
    }

    fn position(&self) -> u64 {
        Self::position(self)
    }
}

/// The parent's side.
#[derive(Debug)]
pub(crate) struct Ledger {
    memory: OwnedFile,
    front: Front,
}

impl Deref for Ledger {
    type Target = Front;

    #[inline]
    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Ledger {
    /// Makes the pages, in memory of their own.
    pub(crate) fn new() -> io::Result<Self> {
        let make = |length| {
            let memory = memory_file::create_sealed("trefoil-ledger", length)?;
            // All of the file: the worker lends from the area, which this process must read.
            let front = Front::map(memory.as_file(), length)?;
            Ok(Self { memory, front })
        };
        make(SIZE + AREA).or_else(|_: io::Error| {
            free_memory::check(SIZE)?;
            make(SIZE)
        })
    }

    /// The file that the worker maps.
    pub(crate) fn memory(&self) -> BorrowedFile<'_> {
        self.memory.as_file()
    }

    /// Appends to `rest` the results after the first `known` bytes of the worker's stream, up to
    /// now; nothing if the worker was sending at that moment. Whatever a misbehaving worker has
    /// written, this appends at most [`ROOM`] bytes.
    pub(crate) fn rest(&self, known: u64, rest: &mut Vec<u8>) {
        let head = self.head();
        let base = head.base.load(Ordering::Acquire);
        let length = head.length.load(Ordering::Acquire).min(ROOM as u64);
        let Some(arrived) = known.checked_sub(base).filter(|first| *first < length) else {
            return;
        };
        let before = rest.len();
        let (from, to) = (
            arrived as usize / 8 * 8,
            length.next_multiple_of(8) as usize,
        );
        let skipped = arrived as usize - from;
        let words = self.0.words(RESULTS + from, to - from);
        let words = words.unwrap_or_default().iter();
        let mut words = words.map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        rest.extend_from_slice(&words.next().unwrap_or_default()[skipped..]);
        words.for_each(|bytes| rest.extend_from_slice(&bytes));
        rest.truncate(before + (length - arrived) as usize);
        // Pairs with the fence in `sent`: if bytes of a later round were read, `base` is seen to
        // have moved.
        fence(Ordering::Acquire);
        if head.base.load(Ordering::Relaxed) != base {
            rest.truncate(before);
        }
    }

    /// Whether the worker ended its last frame on this thread's processor. (A hint.)
    #[inline]
    pub(crate) fn worker_ran_here(&self) -> bool {
        is_here(self.head().ran_on.load(Ordering::Relaxed))
    }

    /// Counts something that was sent to the worker.
    #[inline]
    pub(crate) fn sent(&self) {
        self.head().parent.sent.fetch_add(1, Ordering::Release);
    }

    /// Records whether the caller polls, and on which processor.
    #[inline]
    pub(crate) fn set_caller_polls(&self, polls: bool) {
        let processor = if polls { this_processor() } else { 0 };
        let word = &self.head().parent.polls_on;
        word.store(processor, Ordering::Relaxed); // a hint
    }

    /// Wakes the worker, if it sleeps. What it is to find was written before.
    #[inline]
    pub(crate) fn wake_worker(&self) {
        let word = &self.head().parent.wakes;
        word.fetch_add(1, Ordering::AcqRel);
        #[cfg(not(loom))]
        futex::wake(word, 1);
    }

    /// Records that the first `position` bytes of the worker's stream are known.
    #[inline]
    pub(crate) fn set_known(&self, position: u64) {
        let known = &self.head().parent.known;
        known.store(position, Ordering::Release);
    }

    /// Records how much of the worker's standard error has been read, and whether the parent
    /// `is_reading` more now.
    #[inline]
    pub(crate) fn reads(&self, bytes: u64, is_reading: bool) {
        let word = bytes | if is_reading { READING } else { 0 };
        // SeqCst, and the fence: so that the store stays on its side of the system call that reads.
        fence(Ordering::SeqCst);
        self.head().parent.read.store(word, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// How much was in the worker's standard error when its last item ended.
    #[inline]
    pub(crate) fn marked(&self) -> u64 {
        self.head().marked.load(Ordering::Acquire)
    }

    /// Whether the pages contain more than the first `known` bytes of the worker's stream.
    #[inline]
    pub(crate) fn has_unsent(&self, known: u64) -> bool {
        self.position() > known
    }

    /// Whether the worker has sent more than the first `known` bytes of its stream.
    #[inline]
    pub(crate) fn has_sent(&self, known: u64) -> bool {
        self.head().base.load(Ordering::Acquire) > known
    }
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Pages(Front);

impl Deref for Pages {
    type Target = Front;

    #[inline]
    fn deref(&self) -> &Front {
        &self.0
    }
}

impl Pages {
    /// Maps the pages that the parent has made.
    pub(crate) fn map(memory: impl AsFile) -> io::Result<Self> {
        let map = |length| Front::map(memory.as_file(), length);
        map(SIZE + AREA).or_else(|_| map(SIZE)).map(Self)
    }

    /// The pages of a plain worker, which shares none.
    pub(crate) fn own() -> Self {
        Self(Front(Arc::new(Mapping::own::<Whole>())))
    }

    /// The arena for large results, if there is an area. To be called once (W84).
    pub(crate) fn arena(&self) -> Option<Arena> {
        self.lent().map(|(map, range)| Arena::over(map, range))
    }

    /// The room for results.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let start = self.0.0.at(RESULTS);
        // SAFETY: H22, W24: within the mapping, which has `SIZE` bytes at least, and no other code
        // of this process touches these bytes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(start, ROOM) }
    }

    /// The first `length` bytes of the results are complete.
    #[inline]
    pub(crate) fn commit(&self, length: usize) {
        // Release: the bytes are written before they count, at any instant.
        self.head().length.store(length as u64, Ordering::Release);
    }

    /// A frame ends on this processor.
    #[inline]
    pub(crate) fn runs_here(&self) {
        let ran_on = &self.head().ran_on;
        ran_on.store(this_processor(), Ordering::Relaxed); // a hint
    }

    /// Whether the parent knows all complete results, sent or not.
    #[inline]
    pub(crate) fn is_known(&self) -> bool {
        let all = self.position();
        self.head().parent.known.load(Ordering::Acquire) >= all
    }

    /// Records that the present contents of standard error were written by items that have ended:
    /// the bytes that the parent has read, and those that are `waiting`. False: the parent is
    /// reading now; try again.
    #[inline]
    pub(crate) fn mark(&self, waiting: impl FnOnce() -> u64) -> bool {
        let head = self.head();
        let read = head.parent.read.load(Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let all = read + waiting();
        fence(Ordering::SeqCst);
        let is_quiet = read & READING == 0 && head.parent.read.load(Ordering::SeqCst) == read;
        if is_quiet {
            head.marked.store(all, Ordering::Release);
        }
        is_quiet
    }

    /// `bytes` more have been sent, and nothing is committed now.
    #[inline]
    pub(crate) fn sent(&self, bytes: u64) {
        let head = self.head();
        head.length.store(0, Ordering::Release);
        // Release: `length` is 0 before `base` moves, at any instant.
        let base = head.base.load(Ordering::Relaxed);
        head.base.store(base + bytes, Ordering::Release);
        // For `rest`: what is written from now on comes after this.
        fence(Ordering::Release);
    }
}

#[cfg(all(test, target_os = "linux", not(trefoil_port)))]
mod tests {
    use super::*;
    use crate::process::pages::caller_word::Answered;

    fn pair() -> (Ledger, Pages) {
        let ledger = Ledger::new().unwrap();
        let memory = ledger.memory().try_clone_to_owned().unwrap();
        let pages = Pages::map(&memory).unwrap();
        (ledger, pages)
    }

    #[test]
    fn the_area_is_copied_and_shrinks() {
        let (ledger, pages) = pair();
        let memory = ledger.memory().try_clone_to_owned().unwrap();
        let resident = || rustix::fs::fstat(&memory).unwrap().st_blocks as usize * 512;
        let area = Arc::new(pages.arena().unwrap());
        let bytes: Vec<u8> = (0..3_000_001u32).map(|n| n as u8).collect();
        let front = area.lend(b"front").unwrap();
        let block = area.lend(&bytes).unwrap();
        let (seen, at) = ledger.lent().unwrap();
        let words = seen.words(at.start + block.offset(), 3_000_001).unwrap();
        let copy = words
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        assert_eq!(copy.take(bytes.len()).collect::<Vec<u8>>(), bytes);
        let rest = area.lend(&vec![1; AREA - (4 << 20)]).unwrap();
        assert!(area.lend(&bytes).is_none(), "there is no more room");
        assert!(resident() > AREA - (4 << 20));
        drop((front, block, rest));
        assert!(resident() < AREA / 2 + (1 << 20));
        assert_eq!(area.lend(&vec![2; AREA]).unwrap().offset(), 0);
        pages.taken().unwrap().store(7, Ordering::Release);
        assert_eq!(ledger.taken().unwrap().load(Ordering::Acquire), 7);
    }

    fn rest(ledger: &Ledger, known: u64) -> Vec<u8> {
        let mut rest = vec![9];
        ledger.rest(known, &mut rest);
        assert_eq!(rest.remove(0), 9, "it appends");
        rest
    }

    #[test]
    fn what_is_disowned_is_a_frame() {
        let (ledger, pages) = pair();
        let gates = (*pages).clone();
        ledger.gate(0).open(5, 9);
        ledger.gate(0).disown();
        assert!(gates.gate(0).is_unwanted() && pages.gate(0).is_unwanted());
        assert!(!gates.gate(1).is_unwanted());
        ledger.gate(GATES).open(5, 9);
        assert!(!gates.gate(0).is_unwanted(), "the next frame is another");
    }

    #[test]
    fn a_race_for_the_items_loses_none() {
        let (ledger, mut pages) = pair();
        const COUNT: u32 = 20_000;
        for round in 0..100 {
            ledger.gate(0).open(COUNT, 9);
            let worker = crate::loom::thread::Builder::new().spawn(move || {
                let taken = std::iter::from_fn(|| pages.gate(0).pass()).count();
                (taken as u32, pages)
            });
            let worker = worker.unwrap();
            let mut end = COUNT;
            for from in (round..COUNT).rev().step_by(977) {
                end = ledger.gate(0).recall(from, 9);
            }
            let (taken, back) = worker.join().unwrap();
            assert_eq!(taken, end);
            pages = back;
        }
    }

    #[test]
    fn the_rest_is_what_was_not_received() {
        let (ledger, mut pages) = pair();
        pages.room()[..6].copy_from_slice(b"abcdef");
        assert_eq!(rest(&ledger, 0), b"");
        pages.commit(6);
        assert_eq!(rest(&ledger, 0), b"abcdef");
        assert_eq!(rest(&ledger, 4), b"ef");
        assert_eq!(rest(&ledger, 6), b"");
        assert_eq!(
            rest(&ledger, 900),
            b"",
            "a large record went past the pages"
        );
        pages.sent(6);
        assert_eq!(rest(&ledger, 6), b"");
        pages.room()[..2].copy_from_slice(b"gh");
        pages.commit(2);
        assert_eq!(rest(&ledger, 6), b"gh");
        assert_eq!(
            rest(&ledger, 3),
            b"",
            "less than was sent before: nothing to be had"
        );
    }

    #[test]
    fn what_is_read_early_is_what_is_sent() {
        let (ledger, mut pages) = pair();
        let (tell, told) = std::sync::mpsc::channel();
        let (let_go, go) = std::sync::mpsc::channel();
        let worker = crate::loom::thread::Builder::new().spawn(move || {
            let mut next = 0u64;
            for round in 0..20_000usize {
                let mut length = 0;
                for _ in 0..round % 9 + 1 {
                    pages.room()[length..][..8].copy_from_slice(&next.to_ne_bytes());
                    next += 1;
                    length += 8;
                    pages.commit(length);
                }
                let _ = tell.send(length as u64);
                if round % 50 == 0 {
                    // Waits until the reader has looked.
                    while go.recv().is_ok_and(|seen: usize| seen < round) {}
                }
                pages.sent(length as u64);
            }
        });
        let (mut received, mut early, mut round) = (0, 0, 0);
        while let Ok(length) = told.recv() {
            for _ in 0..3 {
                let rest = rest(&ledger, received);
                for (place, number) in rest.chunks_exact(8).enumerate() {
                    let expected = received / 8 + place as u64;
                    assert_eq!(number, expected.to_ne_bytes(), "of another round");
                    early += 1;
                }
            }
            received += length;
            let _ = let_go.send(round);
            round += 1;
        }
        drop(let_go);
        worker.unwrap().join().unwrap();
        assert!(early > 0, "nothing was read early");
    }

    #[test]
    fn the_rest_begins_and_ends_anywhere() {
        let (ledger, mut pages) = pair();
        let bytes: Vec<u8> = (0..ROOM).map(|at| (at * 7 + at / 251) as u8).collect();
        pages.room().copy_from_slice(&bytes);
        for length in (0..40).chain(ROOM - 9..=ROOM) {
            pages.commit(length);
            for known in (0..length.min(20)).chain(length.saturating_sub(20)..length) {
                assert!(
                    rest(&ledger, known as u64) == bytes[known..length],
                    "{known}..{length}"
                );
            }
        }
    }

    #[test]
    fn the_ring_is_where_both_see_it_and_nothing_else_is() {
        let (ledger, mut pages) = pair();
        let front = (*pages).clone();
        assert_eq!(front.ring().len(), (RING - 64) / 8);
        for (at, word) in ledger.ring().iter().enumerate() {
            word.store(at as u64, Ordering::Relaxed);
        }
        pages.room().fill(1);
        ledger.gate(GATES - 1).open(5, 9);
        ledger.caller().announce(u64::MAX);
        for (at, word) in front.ring().iter().enumerate() {
            assert_eq!(word.load(Ordering::Relaxed), at as u64);
        }
    }

    #[test]
    fn a_wild_worker_is_bounded() {
        let (ledger, pages) = pair();
        pages.commit(usize::MAX);
        assert_eq!(rest(&ledger, 0).len(), ROOM);
        assert!(rustix::fs::ftruncate(ledger.memory(), 0).is_err(), "sealed");
    }

    #[test]
    fn a_mark_is_behind_what_was_read_and_what_waits() {
        let (ledger, pages) = pair();
        assert!(ledger.marked() == 0 && pages.mark(|| 5) && ledger.marked() == 5);
        ledger.reads(0, true);
        assert!(!pages.mark(|| 0) && ledger.marked() == 5, "it is reading");
        ledger.reads(5, false);
        assert!(pages.mark(|| 2) && ledger.marked() == 7);
        let reads = || {
            ledger.reads(5, true);
            ledger.reads(7, false);
            0
        };
        assert!(
            !pages.mark(reads) && ledger.marked() == 7,
            "it has read meanwhile"
        );
    }

    #[test]
    fn what_the_parent_knows_need_not_be_sent() {
        let (ledger, mut pages) = pair();
        assert!(pages.is_known() && !ledger.has_unsent(0));
        pages.room()[..3].copy_from_slice(b"abc");
        pages.commit(3);
        assert!(!pages.is_known() && ledger.has_unsent(0) && ledger.has_unsent(2));
        ledger.set_known(2);
        assert!(!pages.is_known());
        ledger.set_known(3);
        assert!(pages.is_known() && !ledger.has_unsent(3));
        assert!(!ledger.has_sent(0));
        pages.sent(3);
        assert!(pages.is_known() && !ledger.has_unsent(3));
        assert!(ledger.has_sent(2) && !ledger.has_sent(3));
        ledger.caller().announce(7);
        assert_eq!(pages.caller().answer(|_| ()), Answered::Taken);
        let before = pages.deliveries();
        ledger.sent();
        assert_eq!(pages.deliveries(), before + 1);
    }
}
