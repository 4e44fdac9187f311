//! The events of the last seconds: a ring of blocks of events, in bounded memory.
//!
//! **Job.** While a ring is kept, events go there as they go into a recording (`session`). Its
//! memory is allocated when it is made: events in blocks of [`EACH`], and room for names.
//!
//! **Protocol.**
//! 1. A thread with an event has a block, which it writes under the block's own lock: uncontended,
//!    unless a copy is made at that moment.
//! 2. A full block goes to the others, in the order in which they were filled. The thread takes a
//!    free block, or else the one that was filled first, whose events are dropped and counted. The
//!    first event of a block is the thread's role, because earlier ones are dropped.
//! 3. A thread that ends leaves its block to the others.
//! 4. A copy takes the full blocks one by one, so that no thread waits longer than for one, then
//!    those that are being filled, then those of these that were filled meanwhile. Blocks have
//!    numbers: the last copy of one counts. What is dropped meanwhile is missing, and counted.
//!    Younger blocks are left out: threads may fill them faster than they are copied. Nor does the
//!    thread that copies write events: a user's allocator may cause some under the locks.
//!
//! The events of a thread that are kept are its last ones, without a gap.
//!
//! Names are in two generations: one that is asked for again is in the younger one; when that is
//! full, the older one is dropped.
//!
//! Rejected: one buffer for all threads (its lock would be taken for each event); a ring for each
//! thread (how many there will be is not known, so their memory has no bound).
//!
//! Tests: below, `tests/trace/keep.rs`.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::AtomicU64; // counters: no protocol
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::session::Log;
use crate::clock::Clock;
use crate::event::{Event, What};
use crate::loom::{Mutex, per_thread, thread};
use crate::role;
use crate::switch::{self, Listeners};
use crate::sys::fork::PerProcess;
use crate::sys::thread_id;

/// The ring of this process.
static CURRENT: PerProcess<Mutex<Option<Arc<Ring>>>> = PerProcess::new();

/// The number of the ring that is kept; 0: none.
static NUMBER: AtomicU64 = AtomicU64::new(0); // no protocol

/// How many events a block has: 4 KiB.
const EACH: usize = 128;

/// Of so much memory, one part is for names.
const NAMES: usize = 8;

/// The most memory that a ring takes.
const LARGEST_RING_BYTES: usize = 1 << 30;

/// What a name takes besides its letters: its places in a table that is half full.
const NAME: usize = 64;

/// A ring.
pub(crate) struct Ring {
    number: u64,
    window: Duration,
    clock: Clock,
    blocks: Mutex<Blocks>,
    /// What threads are filling.
    filling: Mutex<Vec<Arc<Mutex<Block>>>>,
    names: Mutex<Names>,
    /// How many events had no block, because all were being filled.
    lost: AtomicU64, // no protocol
}

#[derive(Default)]
struct Blocks {
    free: Vec<Vec<Event>>,
    /// Those that were filled, the first one in front.
    full: VecDeque<Block>,
    next: u64,
    /// How many full blocks were taken from the front.
    removed: u64,
    /// How many events were dropped.
    dropped: u64,
}

/// A block of a thread's events; without room until the thread has its first one.
struct Block {
    number: u64,
    thread: Arc<Label>,
    events: Vec<Event>,
}

/// A thread.
struct Label {
    name: Option<String>,
    os_id: u32,
}

/// Names of tasks, in so much memory at most.
#[derive(Default)]
struct Names {
    young: HashMap<u64, Box<str>>,
    old: HashMap<u64, Box<str>>,
    /// How much memory the younger ones take.
    size: usize,
    /// How much they may take.
    room: usize,
}

/// A copy of a ring.
#[derive(Default)]
pub(crate) struct Kept {
    /// With times in nanoseconds from the beginning of the window.
    pub(crate) logs: Vec<Log>,
    /// How long the window is, in nanoseconds.
    pub(crate) length: u64,
    /// How many events were dropped since the ring was made, the youngest at most as long ago as
    /// the window is.
    pub(crate) dropped: u64,
}

/// Begins to keep the events of the last `window` in so many bytes. `None`: a ring is kept already.
pub(crate) fn keep(window: Duration, bytes: usize) -> Option<Arc<Ring>> {
    let mut current = CURRENT.get_or_init(|| Mutex::new(None)).lock();
    if current.is_some() {
        return None;
    }
    let ring = Arc::new(Ring::new(window, bytes));
    *current = Some(Arc::clone(&ring));
    NUMBER.store(ring.number, Relaxed);
    switch::keep(true);
    Some(ring)
}

/// Writes an event into the ring.
pub(crate) fn write_event(what: What) {
    write(|own| own.write(what));
}

/// Writes a task's name into the ring.
pub(super) fn write_name(task: u64, name: &str) {
    write(|own| own.ring.names.lock().add(task, name));
}

impl Ring {
    fn new(window: Duration, bytes: usize) -> Self {
        // A forked child's rings have other numbers than its parent's.
        static NEXT: AtomicU64 = AtomicU64::new(1); // no protocol
        let bytes = bytes.min(LARGEST_RING_BYTES);
        let names = bytes / NAMES;
        let blocks = ((bytes - names) / (EACH * size_of::<Event>())).max(1);
        let free = (0..blocks).map(|_| Vec::with_capacity(EACH));
        Self {
            number: NEXT.fetch_add(1, Relaxed),
            window,
            clock: Clock::start(),
            blocks: Mutex::new(Blocks {
                free: free.collect(),
                full: VecDeque::with_capacity(blocks),
                ..Blocks::default()
            }),
            filling: Mutex::new(Vec::new()),
            names: Mutex::new(Names {
                room: names / 2,
                ..Names::default()
            }),
            lost: AtomicU64::new(0),
        }
    }

    /// Whether this is the ring of this process. In a forked child its locks may be held for ever.
    pub(crate) fn is_kept(&self) -> bool {
        Listeners::now().kept() && NUMBER.load(Relaxed) == self.number
    }

    /// Ends the keeping.
    pub(crate) fn stop(&self) {
        if self.is_kept() {
            switch::keep(false);
            NUMBER.store(0, Relaxed);
            *CURRENT.get_or_init(|| Mutex::new(None)).lock() = None;
            // Threads refer to the ring until they write to another one.
            let filling = take(&mut *self.filling.lock());
            for filling in filling {
                filling.lock().events = Vec::new();
            }
            drop(take(&mut *self.blocks.lock()));
            drop(take(&mut *self.names.lock()));
        }
    }

    /// Leaves a block to the others (2, 3); what is left has no room.
    fn leave(&self, block: &mut Block) {
        let mut blocks = self.blocks.lock();
        let events = take(&mut block.events);
        if events.capacity() > 0 {
            blocks.full.push_back(Block {
                number: block.number,
                thread: Arc::clone(&block.thread),
                events,
            });
        }
    }

    /// Gives this block room, unless all blocks are being filled (2).
    fn give_room(&self, block: &mut Block) {
        let mut blocks = self.blocks.lock();
        let mut events = blocks.free.pop();
        if events.is_none()
            && let Some(first) = blocks.full.pop_front()
        {
            blocks.removed += 1;
            blocks.dropped += first.events.len() as u64;
            events = Some(first.events);
        }
        if let Some(mut events) = events {
            events.clear();
            block.events = events;
            block.number = blocks.next;
            blocks.next += 1;
        }
    }

    /// A copy of the events of the window (4).
    pub(crate) fn copy(&self) -> Kept {
        if !self.is_kept() {
            return Kept::default();
        }
        let copied = HERE.try_with(|here| {
            let _writes_none = here.try_borrow_mut();
            self.snapshot()
        });
        copied.unwrap_or_else(|_| self.snapshot()) // while a thread ends, it writes none
    }

    fn snapshot(&self) -> Kept {
        let mut copied: BTreeMap<u64, (Arc<Label>, Vec<Event>)> = BTreeMap::new();
        let mut copy = |block: &Block| {
            let copy = (Arc::clone(&block.thread), block.events.clone());
            if !block.events.is_empty() {
                copied.insert(block.number, copy);
            }
        };
        let mut next = 0;
        let mut copy_full = |copy: &mut dyn FnMut(&Block)| {
            let end = self.blocks.lock().end();
            while next < end && self.with_full(&mut next, &mut *copy).is_some() {}
        };
        copy_full(&mut copy);
        let filling = self.filling.lock().clone();
        for filling in filling {
            copy(&filling.lock());
        }
        copy_full(&mut copy);
        let (now, nanos) = self.clock.elapsed();
        let window = u64::try_from(self.window.as_nanos()).unwrap_or(u64::MAX);
        let length = now.min(window);
        let begin = now - length;
        let mut logs: BTreeMap<*const Label, Log> = BTreeMap::new();
        for (thread, events) in copied.into_values() {
            let log = logs.entry(Arc::as_ptr(&thread)).or_insert_with(|| Log {
                name: thread.name.clone(),
                os_id: thread.os_id,
                ..Log::default()
            });
            log.add(events, |at| nanos(at).checked_sub(begin));
        }
        let mut logs: Vec<Log> = logs.into_values().collect();
        if let Some(first) = logs.first_mut() {
            first.names = self.names.lock().all();
        }
        let dropped = self.blocks.lock().dropped + self.lost.load(Relaxed);
        Kept {
            logs,
            length,
            dropped,
        }
    }

    /// Calls `f` with the full block at this place, counted from the first one that ever was, or
    /// with the next that is left. `None`: there is none.
    fn with_full<R>(&self, place: &mut u64, f: impl FnOnce(&Block) -> R) -> Option<R> {
        let blocks = self.blocks.lock();
        *place = blocks.removed.max(*place);
        let block = blocks.full.get((*place - blocks.removed) as usize)?;
        *place += 1;
        Some(f(block))
    }
}

impl Blocks {
    /// How many blocks were ever filled.
    fn end(&self) -> u64 {
        self.removed + self.full.len() as u64
    }
}

impl Names {
    fn add(&mut self, task: u64, name: &str) {
        if self.young.contains_key(&task) {
            return;
        }
        let size = name.len() + NAME;
        if self.size + size > self.room {
            self.old = take(&mut self.young);
            self.size = 0;
        }
        if size <= self.room {
            let name = self.old.remove(&task).unwrap_or_else(|| name.into());
            self.young.insert(task, name);
            self.size += size;
        }
    }

    fn all(&self) -> HashMap<u64, Box<str>> {
        let all = self.old.iter().chain(&self.young);
        all.map(|(task, name)| (*task, name.clone())).collect()
    }
}

/// The thread's part in the latest ring that it has written to.
struct Own {
    ring: Arc<Ring>,
    filling: Arc<Mutex<Block>>,
}

per_thread! {
    /// The thread's part in the latest ring that it has written to.
    static HERE: RefCell<Option<Own>> = RefCell::new(None);
}

fn write(write: impl FnOnce(&mut Own)) {
    // While the thread is ending, nothing is written.
    let _ = HERE.try_with(|here| {
        // A user's allocator may cause an event while one is being written.
        let Ok(mut own) = here.try_borrow_mut() else {
            return;
        };
        let number = NUMBER.load(Relaxed);
        if own.as_ref().is_none_or(|own| own.ring.number != number) {
            *own = Own::enter(number);
        }
        if let Some(own) = &mut *own {
            write(own);
        }
    });
}

impl Own {
    /// Takes part in the ring, if it is still kept.
    #[cold]
    fn enter(number: u64) -> Option<Self> {
        let ring = CURRENT.get()?.lock().clone()?;
        if ring.number != number {
            return None;
        }
        Some(Self::of(ring))
    }

    fn of(ring: Arc<Ring>) -> Self {
        let filling = Arc::new(Mutex::new(Block {
            number: 0,
            thread: Arc::new(Label {
                name: thread::current().name().map(str::to_owned),
                os_id: thread_id::mine() as u32,
            }),
            events: Vec::new(),
        }));
        ring.filling.lock().push(Arc::clone(&filling));
        Self { ring, filling }
    }

    #[inline]
    fn write(&mut self, what: What) {
        let at = self.ring.clock.now();
        let mut block = self.filling.lock();
        if block.events.len() == block.events.capacity() {
            self.ring.leave(&mut block);
            self.ring.give_room(&mut block);
            if block.events.capacity() == 0 {
                self.ring.lost.fetch_add(1, Relaxed);
                return;
            }
            let what = What::Is {
                role: role::current(),
            };
            block.events.push(Event { at, what });
        }
        block.events.push(Event { at, what });
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if !self.ring.is_kept() {
            return;
        }
        let is_own = |filling: &Arc<Mutex<Block>>| Arc::ptr_eq(filling, &self.filling);
        self.ring.filling.lock().retain(|filling| !is_own(filling));
        self.ring.leave(&mut self.filling.lock());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn ring(bytes: usize) -> Arc<Ring> {
        Arc::new(Ring::new(Duration::from_secs(3600), bytes))
    }

    fn part(ring: &Arc<Ring>) -> Own {
        Own::of(Arc::clone(ring))
    }

    #[test]
    fn the_oldest_events_are_dropped_and_counted() {
        // Seven blocks, and 4 KiB for names.
        let ring = ring(32 << 10);
        let mut own = part(&ring);
        for n in 0..2000 {
            own.write(What::Woken { task: n });
        }
        let kept = ring.snapshot();
        let [log] = &kept.logs[..] else {
            panic!("one thread")
        };
        let tasks: Vec<u64> = log
            .events
            .iter()
            .filter_map(|event| match event.what {
                What::Woken { task } => Some(task),
                _ => None,
            })
            .collect();
        assert!(tasks.is_sorted_by(|a, b| a + 1 == *b), "without a gap");
        assert_eq!(tasks.last(), Some(&1999));
        assert!(log.events.len() <= 7 * EACH && log.events.len() > 5 * EACH);
        let roles = (2000_u64).div_ceil(EACH as u64 - 1);
        assert_eq!(kept.dropped + log.events.len() as u64, 2000 + roles);
    }

    #[test]
    fn what_an_ended_thread_has_written_stays_until_it_is_the_oldest() {
        let ring = ring(32 << 10);
        let mut short = part(&ring);
        short.write(What::Waits);
        ring.leave(&mut short.filling.lock());
        ring.filling.lock().clear();
        let mut own = part(&ring);
        own.write(What::Sleeps);
        let events = |kept: &Kept| kept.logs.iter().map(|log| log.events.len()).sum::<usize>();
        assert_eq!(events(&ring.snapshot()), 4, "with the roles");
        for _ in 0..7 * EACH {
            own.write(What::Sleeps);
        }
        let kept = ring.snapshot();
        assert_eq!(kept.logs.len(), 1);
        assert!(kept.dropped >= 2);
        std::mem::forget(short);
    }

    #[test]
    fn more_threads_than_blocks_lose_events_and_count_them() {
        let ring = ring(8 << 10);
        let mut parts = [part(&ring), part(&ring), part(&ring)];
        for own in &mut parts {
            own.write(What::Waits);
        }
        let kept = ring.snapshot();
        assert_eq!(
            kept.logs
                .iter()
                .filter(|log| !log.events.is_empty())
                .count(),
            1
        );
        assert_eq!(kept.dropped, 2);
    }

    #[test]
    fn names_take_no_more_than_their_room() {
        let mut names = Names {
            room: 10 * (NAME + 4),
            ..Names::default()
        };
        for task in 0..1000 {
            names.add(0, "used");
            names.add(task, "name");
        }
        let all = names.all();
        assert!(all.len() <= 20 && all.contains_key(&0) && all.contains_key(&999));
        names.add(5, &"x".repeat(10_000));
        assert!(!names.all().contains_key(&5));
    }
}
