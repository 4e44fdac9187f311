//! The tasks of one scope that have not been begun.
//!
//! They are in two queues, each behind a lock of its own: the thread that spawns fills the one, those that run empty the other. When
//! that is empty the two are swapped, so these threads meet once for many tasks.
//!
//! While there are tasks there is a ticket. Tickets are counted under the lock of the newer queue. The thread that spawns looks at the
//! count after each push; a worker does when it counts off its own and when it swaps, with both locks held (the older queue's first).
//!
//! Tests: `tests/thread/pool.rs` (scopes).

use std::collections::VecDeque;
use std::mem;

use super::raw::lent::{Lender, Lent};
use super::wake::WakeHandle;
use crate::loom::Mutex;

/// Both queues before the lender, to which the entries that a forked child drops unrun refer (P15).
#[repr(C)]
pub(super) struct ScopeQueue {
    older: Mutex<VecDeque<Lent>>,
    /// A cache line, so that the threads on both sides do not pass one to and fro. (Aligned memory costs a small scope more.)
    _between: [u64; 8],
    newer: Mutex<Newer>,
    pub(super) lender: Lender,
}

struct Newer {
    entries: VecDeque<Lent>,
    /// How many tickets for entries are in the pool's queues: one at least while there are entries, and no more than
    /// there are workers.
    tickets: usize,
}

impl Newer {
    /// With so many older entries, there must be one more ticket. It has been counted.
    fn needs_ticket(&mut self, older: usize, width: usize) -> bool {
        let needed = self.tickets < (older + self.entries.len()).min(width);
        self.tickets += usize::from(needed);
        needed
    }
}

impl ScopeQueue {
    /// An empty one, whose end `waiter` will wait for.
    pub(super) fn new(waiter: WakeHandle) -> Self {
        Self {
            older: Mutex::default(),
            _between: [0; 8],
            newer: Mutex::new(Newer {
                entries: VecDeque::new(),
                tickets: 0,
            }),
            lender: Lender::new(waiter),
        }
    }

    /// Queues an entry. True: a ticket must be queued for it.
    pub(super) fn push(&self, entry: Lent, width: usize) -> bool {
        let mut stale = Vec::new();
        let mut newer = self.newer.lock();
        // Those that their handles have run: what spawns and waits in a loop
        // must not fill the queue.
        while newer.entries.back().is_some_and(Lent::is_taken) {
            stale.extend(newer.entries.pop_back());
        }
        newer.entries.push_back(entry);
        let needed = newer.needs_ticket(0, width);
        drop(newer);
        drop(stale);
        needed
    }

    /// The ticket that was asked for is not in the pool's queues: the waiter must look
    /// again.
    pub(super) fn ticket_refused(&self) {
        self.newer.lock().tickets -= 1;
        self.lender.wake_waiter();
    }

    /// Takes the oldest entry and runs it. False: there is none.
    pub(super) fn run_next(&self) -> bool {
        let mut older = self.older.lock();
        if older.is_empty() {
            mem::swap(&mut *older, &mut self.newer.lock().entries);
        }
        let entry = older.pop_front();
        drop(older);
        entry.map(Lent::run).is_some()
    }

    /// The same for a worker that has found a ticket; and once more, as long as it `stays`. If there is more for the `width` workers
    /// to do than there are tickets, calls `another` before: for its first entry, and after each swap.
    pub(super) fn redeem(&self, width: usize, another: impl Fn(), stays: impl Fn() -> bool) {
        // Counted off when it leaves, and no lock is held: a scope of many tiny tasks would pass the count to and fro for each.
        let mut ended = None;
        let mut found = 1;
        loop {
            let mut older = self.older.lock();
            let mut needed = false;
            if found > 0 || older.is_empty() {
                let mut newer = self.newer.lock();
                newer.tickets -= mem::take(&mut found);
                if older.is_empty() {
                    mem::swap(&mut *older, &mut newer.entries);
                }
                needed = newer.needs_ticket(older.len().saturating_sub(1), width);
            }
            let entry = older.pop_front();
            drop(older);
            let Some(entry) = entry else { return };
            if needed {
                another();
            }
            ended = Some(entry.run().and(ended));
            if !stays() {
                return;
            }
        }
    }
}
