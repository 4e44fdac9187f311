//! The tasks of one scope that have not been begun.
//!
//! Tests: `tests/thread/pool.rs` (scopes).

use std::collections::VecDeque;

use super::raw::lent::{Lender, Lent};
use super::wake::WakeHandle;
use crate::loom::Mutex;

pub(super) struct ScopeQueue {
    /// Before the lender, to which the entries that a forked child drops unrun refer (P15).
    queue: Mutex<Queue>,
    pub(super) lender: Lender,
}

struct Queue {
    entries: VecDeque<Lent>,
    /// How many tickets for entries are in the pool's queues: one for each, but no more than
    /// there are workers.
    tickets: usize,
}

impl Queue {
    /// True: there must be one more ticket. It has been counted.
    fn needs_ticket(&mut self, width: usize) -> bool {
        let needed = self.tickets < self.entries.len().min(width);
        self.tickets += usize::from(needed);
        needed
    }
}

impl ScopeQueue {
    /// An empty one, whose end `waiter` will wait for.
    pub(super) fn new(waiter: WakeHandle) -> Self {
        Self {
            lender: Lender::new(waiter),
            queue: Mutex::new(Queue {
                entries: VecDeque::new(),
                tickets: 0,
            }),
        }
    }

    /// Queues an entry. True: a ticket must be queued for it.
    pub(super) fn push(&self, entry: Lent, width: usize) -> bool {
        let mut stale = Vec::new();
        let mut queue = self.queue.lock();
        // Those that their handles have run: what spawns and waits in a loop
        // must not fill the queue.
        while queue.entries.back().is_some_and(Lent::is_taken) {
            stale.extend(queue.entries.pop_back());
        }
        queue.entries.push_back(entry);
        let needed = queue.needs_ticket(width);
        drop(queue);
        drop(stale);
        needed
    }

    /// The ticket that was asked for is not in the pool's queues: the waiter must look
    /// again.
    pub(super) fn ticket_refused(&self) {
        self.queue.lock().tickets -= 1;
        self.lender.wake_waiter();
    }

    /// Takes the oldest entry and runs it. False: there is none.
    pub(super) fn run_next(&self) -> bool {
        let entry = self.queue.lock().entries.pop_front();
        entry.map(Lent::run).is_some()
    }

    /// The same for a worker that has found a ticket; and once more, as long as it `stays`. If there is more for the `width` workers
    /// to do than there are tickets, calls `another` before.
    pub(super) fn redeem(&self, width: usize, another: impl Fn(), stays: impl Fn() -> bool) {
        // Counted off when it leaves, and no lock is held: a scope of many tiny tasks would pass the count to and fro for each.
        let mut ended = None;
        let mut queue = self.queue.lock();
        queue.tickets -= 1;
        while let Some(entry) = queue.entries.pop_front() {
            let needed = queue.needs_ticket(width);
            drop(queue);
            if needed {
                another();
            }
            ended = Some(entry.run().and(ended));
            if !stays() {
                return;
            }
            queue = self.queue.lock();
        }
    }
}
