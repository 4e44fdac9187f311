//! One task's place in the table: words that few write, without a lock, and any thread reads.
//!
//! **Job.** An event of a task writes some words of its place, in some nanoseconds; a look at a
//! task ([`Place::read`]) gets all of them as they were at one moment.
//!
//! **Protocol.** A place is free while its `id` is 0.
//! 1. *Taken.* The thread that makes a task sets `id` from 0 to [`RESERVED`], writes the other
//!    words, then sets `id` to the task's.
//! 2. *Changed.* A writer makes `turn` odd, writes, and makes it even again, one turn on. A reader
//!    reads `turn`, then the words, then `turn`: if it was even and has not changed, nor has `id`,
//!    the words are of one moment. Otherwise it reads again.
//! 3. *Freed.* When the task ends, `id` becomes 0. `turn` goes on counting. A bit of `id`
//!    ([`MORE`]) says that the store has more about the task, which is removed then.
//!
//! **Who writes.** The code that runs the task, or has ended its poll, alone: at the begin and the
//! end of a run no other thread acts for the task, because nothing of it is left running, and each
//! step of its life acquires what the one before released (the task's own state word, and its
//! queue). These use [`Place::write`], without a locked instruction. In the middle of a run parts
//! of the task's code may run on several threads, so what is changed there goes through
//! [`Place::change`], which takes the odd turn as a lock. All parts of a run are over when it ends,
//! so no `change` meets a `write`, or the place's next task.
//!
//! Words that others write stand for themselves: `woken` (who wakes it, or drops its last waker),
//! `waiter` (who consumes it), `is_cancelled` (who cancels it, *before* the task's state says so:
//! so a thread that waits for a task that it has cancelled is seen to wait after the mark). A late
//! mark, because the task has run or ended meanwhile, can make a task that waits look queued until
//! its next turn, or cancelled until its end: a deadlock is missed, none invented.
//! So an orphan's mark has the task's id in it.
//!
//! **What two equal looks mean.** `turn` only grows. So two looks at one place that find the same
//! turn have found the same state, all the time in between. If each of several places is looked at
//! twice, one after another, and none has changed its turn, there was a moment, after all first
//! looks and before all second ones, at which all of them were as found: if a later change of one
//! came before what was found in another, the second look would have seen it, because turns are
//! released and acquired. A thread that adds an edge and then looks at others does so across a
//! sequentially consistent fence ([`fence_edge`]): of two threads that each add one, one sees both.
//!
//! Rejected: a lock for each part of a hash table (two locks and two searches for each poll were
//! two thirds of what it cost); a lock for each place (two locked instructions more).
//!
//! Tests: below; the models in `tests/trefoil-checks/tests/place_models.rs`.

use std::panic::Location;

use super::entry::{Entry, LockWait, ORPHAN, Phase};
use super::locks::{Access, Lock, LockKind};
use crate::event::Kind;
use crate::loom::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::loom::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
use crate::loom::hint;
use crate::loom::thread::yield_now;
use crate::sys::static_ref::StaticRef;

/// The `id` of a place that is being taken.
const RESERVED: u64 = u64::MAX;

/// A bit of `id`: the store has more about the task.
const MORE: u64 = 1 << 63;

/// A bit among the flags in `what`: `wanted`, `lock` and `lock_site` say what it waits for.
const LOCK: u16 = 128;

/// A bit of `wanted`: `lock_site` is where the lock was made.
const HAS_SITE: u32 = 1 << 16;

/// A bit of `woken`: the last waker is gone of the task, which sleeps, whose id is in the others.
const ORPHANED: u64 = 1 << 63;

/// How often a reader or a writer looks again before it lets another thread run.
const SPINS: u32 = 64;

/// Three quarters of a cache line for what each poll writes, and as much for the rest.
#[repr(align(16))]
pub(super) struct Place {
    id: AtomicU64,
    turn: AtomicU32,
    /// The kind, the phase and the flags.
    what: AtomicU32,
    since: AtomicU64,
    on: AtomicU64,
    /// When it was woken, if it was in this turn; or with [`ORPHANED`] whose wakers are gone;
    /// otherwise 0.
    woken: AtomicU64,
    polls: AtomicU32,
    thread: AtomicU32,
    parent: AtomicU64,
    site: StaticRef<Location<'static>>,
    waiter: AtomicU64,
    /// The address of the lock that it waits for, if it has [`LOCK`].
    lock: AtomicUsize,
    lock_site: StaticRef<Location<'static>>,
    /// The kind of lock, and the access that it wants.
    wanted: AtomicU32,
    /// Whether the store has a name for the task: a hint.
    is_named: AtomicBool,
    /// Whether it is cancelled, or about to be: it will not sleep any more.
    is_cancelled: AtomicBool,
    /// Whether somebody may have an `AbortHandle` of it.
    is_abortable: AtomicBool,
}

const KINDS: [Kind; 5] = [
    Kind::Closure,
    Kind::Future,
    Kind::Local,
    Kind::Root,
    Kind::Promise,
];
const PHASES: [Phase; 3] = [Phase::Queued, Phase::Running, Phase::Waiting];

const LOCKS: [LockKind; 11] = [
    LockKind::Mutex,
    LockKind::RwLock,
    LockKind::ReentrantMutex,
    LockKind::OnceCell,
    LockKind::Semaphore,
    LockKind::Event,
    LockKind::Barrier,
    LockKind::Condvar,
    LockKind::Channel,
    LockKind::Watch,
    LockKind::Broadcast,
];
const ACCESSES: [Access; 3] = [Access::Alone, Access::Shared, Access::Turn];

/// The bits of `what` in which the kind is, which never changes.
const KIND: u32 = 0xff;

#[inline]
fn pack(kind: u32, phase: Phase, flags: u16) -> u32 {
    kind | (phase as u32) << 8 | u32::from(flags) << 16
}

#[inline]
fn unpack(what: u32) -> (Kind, Phase, u16) {
    let [kind, phase, ..] = what.to_le_bytes();
    (
        KINDS[kind as usize],
        PHASES[phase as usize],
        (what >> 16) as u16,
    )
}

/// What a poll, or its end, sets in a place.
pub(super) struct Now {
    pub(super) phase: Phase,
    pub(super) since: u64,
    pub(super) on: u64,
    pub(super) wait: Option<LockWait>,
    pub(super) flags: u16,
}

impl Place {
    /// A free place.
    pub(super) fn new() -> Self {
        Self {
            id: AtomicU64::new(0),
            turn: AtomicU32::new(0),
            what: AtomicU32::new(0),
            since: AtomicU64::new(0),
            on: AtomicU64::new(0),
            woken: AtomicU64::new(0),
            polls: AtomicU32::new(0),
            thread: AtomicU32::new(0),
            parent: AtomicU64::new(0),
            site: StaticRef::new(Location::caller()),
            waiter: AtomicU64::new(0),
            lock: AtomicUsize::new(0),
            lock_site: StaticRef::new(Location::caller()),
            wanted: AtomicU32::new(0),
            is_named: AtomicBool::new(false),
            is_cancelled: AtomicBool::new(false),
            is_abortable: AtomicBool::new(false),
        }
    }

    /// Whether this is the place of the task `id`.
    #[inline]
    pub(super) fn is_of(&self, id: u64) -> bool {
        self.id.load(Acquire) & !MORE == id
    }

    /// The task that has it; 0: none.
    pub(super) fn id(&self) -> u64 {
        match self.id.load(Acquire) {
            RESERVED => 0,
            id => id & !MORE,
        }
    }

    /// The task that has it, and a copy of what is known of it.
    pub(super) fn entry(&self) -> Option<(u64, Entry)> {
        let id = self.id();
        Some((id, self.read(id).filter(|_| id != 0)?))
    }

    /// The task that has it, if the store has more about that.
    pub(super) fn has_more(&self) -> Option<u64> {
        let id = self.id.load(Acquire);
        (id & MORE != 0 && id != RESERVED).then_some(id & !MORE)
    }

    /// Takes the place for a task, if it is free.
    #[inline]
    pub(super) fn occupy(&self, id: u64, entry: &Entry) -> bool {
        let reserve = |word: &AtomicU64| word.compare_exchange(0, RESERVED, AcqRel, Relaxed);
        if self.id.load(Relaxed) != 0 || reserve(&self.id).is_err() {
            return false;
        }
        self.write(|place| {
            place.store(entry);
            place.woken.store(0, Relaxed);
            place.parent.store(entry.parent, Relaxed);
            place.site.set(entry.site);
            place.waiter.store(entry.waiter, Relaxed);
            place.is_named.store(false, Relaxed);
            place.is_cancelled.store(false, Relaxed);
            place.is_abortable.store(false, Relaxed);
        });
        self.id.store(id, Release);
        true
    }

    /// Frees the place. Returns whether the store has more about the task: a name, a job, steps.
    #[inline]
    pub(super) fn free(&self) -> bool {
        self.id.swap(0, AcqRel) & MORE != 0
    }

    /// Whether the store has a name for the task.
    #[inline]
    pub(super) fn has_name(&self) -> bool {
        self.is_named.load(Relaxed)
    }

    /// The store has a name for the task.
    pub(super) fn set_name(&self) {
        self.is_named.store(true, Relaxed);
    }

    /// The store has more about the task. False: the task has ended meanwhile.
    pub(super) fn set_more(&self, id: u64) -> bool {
        let set = |old: u64| (old & !MORE == id).then_some(old | MORE);
        self.id.fetch_update(AcqRel, Acquire, set).is_ok()
    }

    /// Whether it was that of a root future, until another task has it.
    pub(super) fn is_root(&self) -> bool {
        KINDS[self.kind() as usize] == Kind::Root
    }

    /// The task's kind, as it is in `what`.
    #[inline]
    fn kind(&self) -> u32 {
        self.what.load(Relaxed) & KIND
    }

    /// Writes, as the only writer.
    #[inline]
    fn write(&self, write: impl FnOnce(&Self)) {
        let turn = self.turn.load(Relaxed);
        debug_assert!(turn.is_multiple_of(2), "a second writer");
        self.turn.store(turn.wrapping_add(1), Relaxed);
        fence(Release); // pairs with the fence in `read`
        write(self);
        self.turn.store(turn.wrapping_add(2), Release);
    }

    /// Writes all that a `change` may change.
    #[inline]
    fn store(&self, entry: &Entry) {
        let flags = entry.flags | self.set_wait(entry.wait);
        let what = pack(entry.kind as u32, entry.phase, flags);
        self.what.store(what, Relaxed);
        self.since.store(entry.since, Relaxed);
        self.on.store(entry.on, Relaxed);
        self.polls.store(entry.polls, Relaxed);
        self.thread.store(entry.thread, Relaxed);
    }

    /// Writes what it waits for at a lock. Returns the flag that says so.
    #[inline]
    fn set_wait(&self, wait: Option<LockWait>) -> u16 {
        let Some(LockWait { lock, access }) = wait else {
            return 0;
        };
        let mut wanted = lock.kind as u32 | (access as u32) << 8;
        if let Some(site) = lock.made_at {
            self.lock_site.set(site);
            wanted |= HAS_SITE;
        }
        self.lock.store(lock.address, Relaxed);
        self.wanted.store(wanted, Relaxed);
        LOCK
    }

    fn wait(&self) -> LockWait {
        let wanted = self.wanted.load(Relaxed);
        let [kind, access, ..] = wanted.to_le_bytes();
        let lock = Lock {
            made_at: (wanted & HAS_SITE != 0).then(|| self.lock_site.get()),
            address: self.lock.load(Relaxed),
            kind: LOCKS[kind as usize],
        };
        LockWait {
            lock,
            access: ACCESSES[access as usize],
        }
    }

    /// The address of the lock that the task may wait for: a hint.
    pub(super) fn lock(&self) -> Option<usize> {
        let (_, _, flags) = unpack(self.what.load(Relaxed));
        (flags & LOCK != 0).then(|| self.lock.load(Relaxed))
    }

    /// The task begins to run, on this thread.
    #[inline]
    pub(super) fn begin(&self, since: u64, thread: u32) {
        let what = pack(self.kind(), Phase::Running, 0);
        self.write(|place| {
            place.what.store(what, Relaxed);
            place.since.store(since, Relaxed);
            place.on.store(0, Relaxed);
            place.thread.store(thread, Relaxed);
        });
    }

    /// The task's poll has ended.
    #[inline]
    pub(super) fn end(&self, now: &Now) {
        self.write(|place| {
            let flags = now.flags | place.set_wait(now.wait);
            let what = pack(place.kind(), now.phase, flags);
            place.what.store(what, Relaxed);
            place.since.store(now.since, Relaxed);
            place.on.store(now.on, Relaxed);
            place.woken.store(0, Relaxed);
            let polls = place.polls.load(Relaxed);
            place.polls.store(polls.saturating_add(1), Relaxed);
        });
    }

    /// The task, which waits, was woken.
    #[inline]
    pub(super) fn wake(&self, at: u64) {
        self.woken.store(at.max(1), Release);
    }

    /// The last waker of the task `id`, which sleeps, is gone, and has not woken it.
    pub(super) fn orphan(&self, id: u64) {
        let mark = |woken: u64| (woken == 0 || woken & ORPHANED != 0).then_some(ORPHANED | id);
        let _woken = self.woken.fetch_update(AcqRel, Acquire, mark);
    }

    /// The task is about to be cancelled.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Release);
    }

    /// Somebody gets an `AbortHandle` of the task, so it is no orphan, until its end.
    pub(super) fn abortable(&self) {
        self.is_abortable.store(true, Release);
    }

    /// A waker was left with the task: that of `waiter`; 0: of something else.
    #[inline]
    pub(super) fn leave_waker(&self, waiter: u64) {
        self.waiter.store(waiter, Release);
    }

    /// Changes what the task waits for, in the middle of a run, which the caller is a part of.
    #[cold]
    #[inline(never)]
    pub(super) fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut looks = 0;
        let turn = loop {
            let turn = self.turn.load(Relaxed);
            let odd = turn.wrapping_add(1);
            let taken = |word: &AtomicU32| word.compare_exchange(turn, odd, Acquire, Relaxed);
            if turn.is_multiple_of(2) && taken(&self.turn).is_ok() {
                break turn;
            }
            look_again(&mut looks);
        };
        fence(Release); // pairs with the fence in `read`
        let mut entry = self.load(turn);
        change(&mut entry);
        self.store(&entry);
        self.turn.store(turn.wrapping_add(2), Release);
    }

    fn load(&self, turn: u32) -> Entry {
        let (kind, phase, flags) = unpack(self.what.load(Relaxed));
        Entry {
            parent: self.parent.load(Relaxed),
            site: self.site.get(),
            since: self.since.load(Relaxed),
            on: self.on.load(Relaxed),
            wait: (flags & LOCK != 0).then(|| self.wait()),
            waiter: self.waiter.load(Acquire),
            turn,
            polls: self.polls.load(Relaxed),
            thread: self.thread.load(Relaxed),
            kind,
            phase,
            flags: flags & !LOCK,
        }
    }

    /// Whether the task may wait for something that never comes: a hint.
    pub(super) fn leads_on(&self) -> bool {
        let (_, _, flags) = unpack(self.what.load(Relaxed));
        self.on.load(Relaxed) != 0 || flags != 0 || self.woken.load(Relaxed) & ORPHANED != 0
    }

    /// What is known of the task, if the place is still its.
    pub(super) fn read(&self, id: u64) -> Option<Entry> {
        let mut looks = 0;
        loop {
            let turn = self.turn.load(Acquire);
            if !self.is_of(id) {
                return None;
            }
            if turn.is_multiple_of(2) {
                let mut entry = self.load(turn);
                let woken = self.woken.load(Acquire);
                fence(Acquire); // pairs with the fences in `write` and `change`
                if self.turn.load(Relaxed) == turn && self.id.load(Relaxed) & !MORE == id {
                    if entry.phase == Phase::Waiting {
                        match woken {
                            _ if self.is_cancelled.load(Acquire) => entry.waits(0, 0),
                            0 => {}
                            mark if mark & ORPHANED != 0 => {
                                if mark == ORPHANED | id {
                                    entry.waits(0, ORPHAN);
                                }
                            }
                            at => {
                                (entry.phase, entry.since) = (Phase::Queued, at);
                                entry.waits(0, 0);
                            }
                        }
                        if self.is_abortable.load(Acquire) {
                            entry.flags &= !ORPHAN;
                        }
                    }
                    return Some(entry);
                }
            }
            look_again(&mut looks);
        }
    }
}

/// Between the making of an edge and a look at those of others.
pub(super) fn fence_edge() {
    fence(SeqCst);
}

/// A writer is in the middle: it has some instructions left, if it has a processor.
#[cold]
fn look_again(looks: &mut u32) {
    *looks += 1;
    match *looks % SPINS {
        0 => yield_now(),
        _ => hint::spin_loop(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_found_again() {
        for (n, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, n);
        }
        for (n, phase) in PHASES.into_iter().enumerate() {
            assert_eq!(phase as usize, n);
        }
        for (n, lock) in LOCKS.into_iter().enumerate() {
            assert_eq!(lock as usize, n);
        }
        for (n, access) in ACCESSES.into_iter().enumerate() {
            assert_eq!(access as usize, n);
        }
    }

    #[test]
    fn a_late_mark_of_an_orphan_is_about_no_other_task() {
        let place = Place::new();
        let entry = Entry::new(0, Location::caller(), Kind::Promise, 1);
        assert!(place.occupy(8, &entry));
        place.orphan(7);
        let read = place.read(8).expect("it has not ended");
        assert_eq!((read.phase, read.flags), (Phase::Waiting, 0));
        place.orphan(8);
        assert_eq!(place.read(8).map(|entry| entry.flags), Some(ORPHAN));
        place.wake(3);
        assert_eq!(place.read(8).map(|entry| entry.phase), Some(Phase::Queued));
    }

    #[test]
    fn a_cancelled_task_waits_for_nothing_in_whichever_order_its_poll_ends() {
        for cancels_first in [false, true] {
            let place = Place::new();
            let entry = Entry::new(0, Location::caller(), Kind::Future, 1);
            assert!(place.occupy(8, &entry));
            place.begin(2, 1);
            if cancels_first {
                place.cancel();
            }
            place.end(&Now {
                phase: Phase::Waiting,
                since: 3,
                on: 0,
                wait: None,
                flags: ORPHAN,
            });
            if !cancels_first {
                place.cancel();
            }
            assert_eq!(place.read(8).map(|entry| entry.flags), Some(0));
        }
    }
}
