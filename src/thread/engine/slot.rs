//! A worker's slot in two halves: [`Slot`], which other threads read, and [`OwnedSlot`], which only
//! the worker's thread uses.
//!
//! Tests: `tests/thread/pool.rs::{a_wait_for_a_stolen_half_runs_its_children_or_parks_with_a_spare,
//! a_worker_that_says_it_blocks_is_replaced}`.

use std::sync::Arc;

use super::blocking_call::BlockingCall;
use super::mailbox::ShareMailbox;
use super::queue::{OwnDeques, SharedDeques};
use super::sleep::Sleeper;
use super::standing::Standing;
use super::wake::WakeHandle;
use crate::loom::Parker;
use crate::loom::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The place of an outside thread, which has none.
pub(in crate::thread) const NO_PLACE: usize = usize::MAX;

/// The numbers of slots with a place are the places. Those of others begin here: a pool has fewer
/// threads (`sleep/counts.rs`).
pub(in crate::thread) const OUTSIDE: usize = 1 << 20;

/// The half of a worker's slot that other threads read.
pub(in crate::thread) struct Slot {
    pub(in crate::thread) public: SharedDeques,
    /// The counter of the scope whose task this worker pushed to its deque last. A hint.
    pub(in crate::thread) scope: AtomicUsize,
    /// Wakes the worker from a park.
    pub(in crate::thread) wake_handle: WakeHandle,
    /// The same handle, for the sleep protocol.
    pub(in crate::thread) sleeper: Arc<Sleeper>,
    /// How many entries this worker has taken from queues: progress, for the stall rule. Written
    /// only by the worker.
    taken: AtomicU64,
    /// The slot's number; see `slot_list.rs`.
    pub(in crate::thread) number: usize,
    /// Where broadcasts put this worker's shares.
    pub(in crate::thread) mailbox: ShareMailbox,
    /// The call of `spawn_blocking` that the worker is in.
    pub(in crate::thread) call: BlockingCall,
    /// Whether the deques may hold something although the worker will not look there soon, because
    /// it waits, sleeps, or has been in one task for long. A hint. The registry changes it, and
    /// counts such slots.
    pub(in crate::thread) unattended: AtomicBool,
    /// Whether the worker moves, stands still, or is away.
    pub(in crate::thread) standing: Standing,
    /// Odd while the worker waits for something that no pool runs. Written only by the worker.
    wait: AtomicU64,
    /// Whether the thread that has given way continues, and counts as running already.
    pub(in crate::thread) continues: AtomicBool,
}

impl Slot {
    /// The number of its thread among the pool's threads, from 0; `NO_PLACE` for an outside thread.
    #[inline]
    pub(in crate::thread) fn place(&self) -> usize {
        self.sleeper.place
    }

    /// Begins or ends a wait for something that no pool runs.
    pub(in crate::thread) fn wait_begins_or_ends(&self) {
        let wait = self.wait.load(Ordering::Relaxed);
        self.wait.store(wait + 1, Ordering::Relaxed);
    }

    /// The number of its thread's current wait for something that no pool runs.
    pub(in crate::thread) fn wait(&self) -> Option<u64> {
        let wait = self.wait.load(Ordering::Relaxed);
        (!wait.is_multiple_of(2)).then_some(wait)
    }

    #[inline]
    pub(in crate::thread) fn is_unattended(&self) -> bool {
        self.unattended.load(Ordering::Relaxed)
    }

    pub(in crate::thread) fn taken_entries(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The worker has taken something from a queue.
    pub(in crate::thread) fn count_taken(&self) {
        self.taken
            .store(self.taken_entries() + 1, Ordering::Relaxed);
    }
}

/// The half of a slot that only the worker's thread uses: its ends of the deques, and its parker.
/// It outlives the thread, so that a spare or an outside thread can take the slot over.
pub(in crate::thread) struct OwnedSlot {
    pub(in crate::thread) slot: Arc<Slot>,
    pub(in crate::thread) local: OwnDeques,
    pub(in crate::thread) parker: Parker,
}

impl OwnedSlot {
    /// A new slot of the pool with this tag; `place`: see [`Slot::place`].
    pub(in crate::thread) fn new(pool: u32, number: usize, place: usize) -> Self {
        let (local, public) = OwnDeques::new();
        let parker = Parker::new();
        let wake_handle = WakeHandle::new(parker.unparker().clone(), pool, number);
        let slot = Slot {
            public,
            scope: AtomicUsize::new(0),
            sleeper: Sleeper::new(place, wake_handle.clone()),
            wake_handle,
            taken: AtomicU64::new(0),
            number,
            mailbox: ShareMailbox::new(),
            call: BlockingCall::default(),
            unattended: AtomicBool::new(false),
            standing: Standing::new(),
            wait: AtomicU64::new(0),
            continues: AtomicBool::new(false),
        };
        Self {
            slot: Arc::new(slot),
            local,
            parker,
        }
    }
}
