//! Where a worker looks for work, and in which order.
//!
//! **Order.** It looks into 1. its own deques, 2. those of workers that will not look there
//! soon (*unattended* ones: their threads wait, sleep, or have been in one task for long), 3. the
//! injector, 4. the other workers' deques, beginning with a random one. The first three can each
//! have something for ever, and its own deques return the newest. So that nothing is starved, every
//! [`FAIRNESS`]th search begins elsewhere: every other time with the injector, otherwise with an
//! unattended deque, or, every [`ROUND`], with the oldest entry of some deque, one deque after the
//! other, its own included. (Not more often: the oldest entry of a deque may be the root of a tree,
//! and whoever takes it leaves the present tree unfinished, so that more entries lie in the
//! deques.) And every [`STEAL_FIRST`]th search of a worker without own work steals before it looks
//! into the injector.
//!
//! Tests: `tests/thread/starved.rs`; the search from many seeds, `search/simulated.rs`.

use std::cell::{Cell, RefCell, RefMut};
use std::sync::Arc;

use crossbeam_deque::Steal;

use super::Worker;
use crate::chaos;
use crate::events;
use crate::loom::atomic::Ordering;
use crate::loom::hint;
use crate::sys::ticks;
use crate::thread::engine::config::ROUND;
use crate::thread::engine::lent::raw_scope_counter::ErasedEntry;
use crate::thread::engine::queue::{DEQUES, Mode, Slots, Work};
use crate::thread::engine::slot::{NO_PLACE, Slot};

/// One search in this many does not begin with the worker's own deques.
const FAIRNESS: u32 = 61;

/// After this many fair searches a round is due even if the clock stands still.
const LATEST: u32 = 1024;

/// One search in this many, of a worker without work of its own, steals before it looks into the
/// injector.
const STEAL_FIRST: u32 = 16;

/// How often a thief looks again where it has stolen a task before it looks elsewhere, and how many
/// spin hints are between: a microsecond in all, as long as a theft by another takes.
const LOOKS_AGAIN: u32 = 4;
const SPINS: u32 = 8;

/// In a wider pool thieves do not stay: too many would wait at the same deque.
const WIDEST: usize = 32;

/// What a worker remembers of its searches.
pub(super) struct Search {
    /// The pool's slots as this worker last saw them, and the version of the list.
    seen: RefCell<Option<(usize, Slots<Slot>)>>,
    random: Cell<u32>,
    /// How many times this thread has looked for work.
    searches: Cell<u32>,
    /// Whether the last search began with its mailbox, and found a share there.
    had_share: Cell<bool>,
    fairness: Cell<Fairness>,
    /// Where in the list of slots this thread has stolen a task last.
    victim: Cell<Option<usize>>,
}

impl Search {
    /// For the worker in the slot with this number.
    pub(super) fn new(slot: usize) -> Self {
        Self {
            seen: RefCell::new(None),
            random: Cell::new((slot as u32).wrapping_mul(0x9E37_79B9) ^ chaos::victims(slot) | 1),
            searches: Cell::new(0),
            had_share: Cell::new(false),
            fairness: Cell::default(),
            victim: Cell::new(None),
        }
    }
}

/// Which queue a search in [`FAIRNESS`] begins with.
#[derive(Clone, Copy, Default)]
struct Fairness {
    /// How many such searches there were.
    turn: u32,
    /// The deque that the next [`ROUND`] begins with, in the order of the slots.
    next: usize,
    /// When the last round was, and in which turn.
    last: (u64, u32),
}

impl Fairness {
    fn round_is_due(&self) -> bool {
        let (time, turn) = self.last;
        ticks::since(time) >= ROUND || self.turn.wrapping_sub(turn) >= LATEST
    }
}

impl Worker {
    pub(in crate::thread) fn next_random(&self) -> u32 {
        let mut x = self.search.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.search.random.set(x);
        x
    }

    /// The pool's slots now. (The caller runs nothing that may ask for them again.)
    pub(in crate::thread) fn slots(&self) -> RefMut<'_, Slots<Slot>> {
        let (mut seen, now) = (self.search.seen.borrow_mut(), self.registry.slots.version());
        if !matches!(&*seen, Some((version, _)) if *version == now) {
            *seen = Some((now, self.registry.slots()));
        }
        RefMut::map(seen, |seen| &mut seen.as_mut().expect("it was read").1)
    }

    pub(in crate::thread) fn find(&self) -> Option<Work> {
        let search = self.search.searches.get().wrapping_add(1);
        self.search.searches.set(search);
        let mailbox = &self.slot().mailbox;
        // Shares may never run out, either: never two in a row, if there is something else.
        let own_share = match self.search.had_share.take() {
            true => None,
            false => mailbox.take(),
        };
        self.search.had_share.set(own_share.is_some());
        let found = match own_share {
            Some(share) => Some(share),
            None if self.registry.sleep.is_full() => self.registry.injector.pop_urgent(),
            None => self.find_next(search),
        };
        let work = found.or_else(|| mailbox.take())?;
        chaos::took(self.slot().number, || self.slot().taken_entries());
        self.stolen_halves.stop_polling(&self.registry.wake_policy);
        self.owned.slot.count_taken();
        Some(work)
    }

    /// The next work of any queue; `search`: how many searches there were.
    #[inline]
    fn find_next(&self, search: u32) -> Option<Work> {
        let fair = search.is_multiple_of(FAIRNESS);
        let odd = chaos::looks(self.slot().number, || self.slot().taken_entries());
        if let Some(place) = odd
            && let Some(work) = self.find_elsewhere(place)
        {
            return Some(work);
        }
        if fair && let Some(work) = self.find_fairly() {
            return Some(work);
        }
        if let Some(lent) = self.pop_scoped() {
            return Some(Work::Scoped(lent));
        }
        if let Some(task) = self.owned.local.tasks.pop() {
            return Some(Work::Task(task));
        }
        if let Some(work) = self.registry.injector.pop_next() {
            return Some(work);
        }
        if let Some(work) = self.take_unattended() {
            return Some(work);
        }
        let steals_first = search.is_multiple_of(STEAL_FIRST);
        if steals_first && let Some(work) = self.steal() {
            return Some(work);
        }
        match self.fetch() {
            Steal::Success(work) => Some(work),
            Steal::Empty if !steals_first => self.steal(),
            // A look at each deque takes longer than those who are before this thread.
            Steal::Empty | Steal::Retry => None,
        }
    }

    /// What a search finds that begins somewhere.
    #[cold]
    fn find_elsewhere(&self, place: u64) -> Option<Work> {
        match place % 3 {
            0 => self.registry.injector.pop(),
            1 => self.take_round(),
            _ => self.steal(),
        }
    }

    /// The oldest entry of a queue that might otherwise be passed over for ever.
    #[cold]
    fn find_fairly(&self) -> Option<Work> {
        let mut fairness = self.search.fairness.get();
        fairness.turn = fairness.turn.wrapping_add(1);
        self.search.fairness.set(fairness);
        let other_turn = !fairness.turn.is_multiple_of(2);
        if other_turn && fairness.round_is_due() {
            return self.take_round();
        }
        if other_turn && let Some(work) = self.take_unattended() {
            return Some(work);
        }
        self.registry.injector.pop()
    }

    /// The oldest entry of the next deque of any slot that has one.
    fn take_round(&self) -> Option<Work> {
        let mut fairness = self.search.fairness.get();
        fairness.last = (ticks::now(), fairness.turn);
        let slots = self.slots();
        let deques = slots.len() * DEQUES;
        let mut found = None;
        for behind in 0..deques {
            let deque = (fairness.next + behind) % deques;
            let slot = &slots[deque / DEQUES];
            found = slot.public.oldest_of(deque % DEQUES);
            if let Some(work) = &found {
                self.note_theft_of(work, slot);
                fairness.next = deque + 1;
                break;
            }
        }
        self.search.fairness.set(fairness);
        found
    }

    /// Something from the deques of a worker that will not look there soon.
    fn take_unattended(&self) -> Option<Work> {
        if !self.registry.some_unattended() {
            return None;
        }
        let slots = self.slots();
        for slot in &**slots {
            if !slot.is_unattended() {
                continue;
            }
            if let Some(found) = self.steal_from(slot) {
                drop(slots);
                return Some(self.publish_rest(found));
            }
            // Another thread may be stealing there just now.
            if !slot.public.has_tasks() {
                self.registry.attend_to_queues(slot);
            }
        }
        None
    }

    /// Something from another worker's deques, and first from where the last task was: whoever has
    /// queued many most likely has more. A look at each deque takes the lines of all that have
    /// stolen from there from them.
    fn steal(&self) -> Option<Work> {
        let last = self.search.victim.take();
        let stays = self.registry.sleep.width() <= WIDEST;
        let found = self.steal_somewhere(if stays { last } else { None });
        let (at, found) = found?;
        if matches!(found, (Work::Task(_), _)) {
            self.search.victim.set(Some(at));
        }
        Some(self.publish_rest(found))
    }

    /// Something, and from which place in the list of slots: from the place `last`, or else from
    /// any.
    fn steal_somewhere(&self, last: Option<usize>) -> Option<(usize, (Work, bool))> {
        let slots = self.slots();
        if let Some(at) = last
            && let Some(slot) = slots.get(at)
            && let Some(found) = self.steal_again(slot)
        {
            return Some((at, found));
        }
        let (start, len) = (self.next_random() as usize % slots.len(), slots.len());
        for at in start..start + len {
            let at = if at < len { at } else { at - len };
            if let Some(found) = self.steal_from(&slots[at]) {
                return Some((at, found));
            }
        }
        None
    }

    /// Something from this slot, where another thief may be at work, or the next task is about to
    /// be queued.
    fn steal_again(&self, slot: &Slot) -> Option<(Work, bool)> {
        let mut looks = 0;
        loop {
            let found = self.steal_from(slot);
            if found.is_some() || looks == LOOKS_AGAIN {
                return found;
            }
            looks += 1;
            for _ in 0..SPINS {
                hint::spin_loop();
            }
        }
    }

    /// Some work; true: more has been moved to this thread's deques. Not while the slots are
    /// borrowed: a thread that is started is named by the user's code, which may use this pool.
    #[inline]
    fn publish_rest(&self, (work, more): (Work, bool)) -> Work {
        if more {
            self.registry.published();
        }
        work
    }

    /// True: more has been moved to this thread's deques, see
    /// [`publish_rest`](Self::publish_rest).
    fn steal_from(&self, slot: &Slot) -> Option<(Work, bool)> {
        let (work, more) = match slot.public.steal_job() {
            Some(job) => (Work::Job(job), false),
            None => slot.public.steal(&self.owned.local)?,
        };
        if let (Work::Scoped(lent), true) = (&work, more) {
            self.moved_scoped(lent);
        }
        self.note_theft_of(&work, slot);
        Some((work, more))
    }

    fn note_theft_of(&self, work: &Work, slot: &Slot) {
        let task = || match work {
            Work::Task(task) | Work::Item(task) => task.id().get(),
            _ => 0,
        };
        self.note_theft(slot.number, task);
    }

    /// Each theft passes here, whoever looks for what: work, its own halves while it waits
    /// (`wait`), tasks of its scope. Recordings have it.
    pub(super) fn note_theft(&self, from: usize, task: impl FnOnce() -> u64) {
        if events::is_recording() && from != self.owned.slot.number {
            events::stolen(task(), from);
        }
    }

    /// Takes some of the injector's work: returns the first to be run now, and queues the others.
    fn fetch(&self) -> Steal<Work> {
        let width = self.registry.sleep.width();
        let injector = &self.registry.injector;
        let found = injector.pop_some(width, &self.owned.local.tasks);
        match found {
            Steal::Success(found) => Steal::Success(self.publish_rest(found)),
            Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
        }
    }

    /// A worker's slot that may hold tasks of the scope with this counter.
    fn slot_with_scoped(&self, counter: usize) -> Option<Arc<Slot>> {
        let is_it = |slot: &&Arc<Slot>| {
            slot.scope.load(Ordering::Relaxed) == counter
                && slot.place() != NO_PLACE
                && !slot.public.scoped.is_empty()
        };
        self.slots().iter().find(is_it).cloned()
    }

    /// For a thread that waits for the scope with this counter: one of its tasks, from another
    /// worker's deque.
    pub(in crate::thread) fn steal_scoped(&self, counter: usize) -> Option<ErasedEntry> {
        let registry = &self.registry;
        if registry.injector.mode() == Mode::Closed {
            return None;
        }
        let slot = self.slot_with_scoped(counter)?;
        // Until `allow_end` the pool must not end.
        registry.sleep.delay_end();
        let found = match slot.public.steal_scoped() {
            Some(stranger) if stranger.counter() != counter => {
                // Tasks of the wanted scope may be behind it. They are looked for only after that
                // worker has pushed another.
                slot.scope.store(stranger.counter(), Ordering::Relaxed);
                registry.inject_scoped(stranger);
                None
            }
            found => found,
        };
        if found.is_some() {
            self.note_theft(slot.number, || 0);
        }
        registry.sleep.allow_end();
        registry.recheck();
        found
    }
}

#[cfg(all(test, not(loom)))]
mod simulated;
