//! What a scope has queued in its pool's injector.
//!
//! **Job.** The thread that waits for a scope runs the scope's tasks, and the injector may hold a
//! million others. So these tasks are in a queue of their scope, and the injector has a *ticket*
//! for each. A worker that comes upon a ticket takes the oldest task of that queue. The thread that
//! waits takes the newest, and leaves a ticket more than there are tasks; the next task that is
//! queued needs none.
//!
//! - There is a ticket for each task at least: in the injector, or with the thread that took it
//!   from there, or is about to put it there.
//! - A ticket keeps the queue, and not the scope: a scope that ends has none of its tasks in it.
//!
//! Rejected: a search through the injector for the scope's tasks (each takes as long as the
//! injector is, under its lock).
//!
//! Tests: below; `tests/thread/pool.rs::{a_scope_does_not_look_for_its_tasks_among_others,
//! tasks_without_handles_run_once_and_their_panics_come_out}`;
//! `tests/trefoil-checks/tests/indices.rs::{each_task_of_a_scope_has_a_ticket,
//! the_models_catch_a_ticket_that_is_counted_late}` (loom).

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crate::loom::Mutex;

/// Tasks that threads have run by their handles are looked for when there are so many, at least.
const SWEEP: usize = 64;

/// The tasks of one scope that have tickets.
pub(in crate::thread) struct ScopeQueue<T>(Arc<Mutex<Queued<T>>>);

/// The right of one thread to take a task, if there is one left.
pub(in crate::thread) struct Ticket<T>(ScopeQueue<T>);

struct Queued<T> {
    tasks: VecDeque<T>,
    tickets: usize,
    /// When there are so many tasks, stale ones are looked for.
    sweep_at: usize,
}

impl<T> Drop for Queued<T> {
    fn drop(&mut self) {
        // (In a forked child a scope may have been left behind, to which its tasks refer.)
        mem::forget(mem::take(&mut self.tasks));
    }
}

impl<T> Queued<T> {
    /// Takes out the stale tasks, each time that their number has doubled.
    fn sweep(&mut self, is_stale: fn(&T) -> bool) -> Vec<T> {
        if self.tasks.len() < self.sweep_at {
            return Vec::new();
        }
        let mut stale = Vec::new();
        for _ in 0..self.tasks.len() {
            match self.tasks.pop_front() {
                Some(task) if is_stale(&task) => stale.push(task),
                Some(task) => self.tasks.push_back(task),
                None => break,
            }
        }
        self.sweep_at = (2 * self.tasks.len()).max(SWEEP);
        stale
    }
}

impl<T> Clone for ScopeQueue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> ScopeQueue<T> {
    pub(in crate::thread) fn new() -> Self {
        Self(Arc::new(Mutex::new(Queued {
            tasks: VecDeque::new(),
            tickets: 0,
            sweep_at: SWEEP,
        })))
    }

    /// Queues a task. If there is no ticket for it, `inject` puts one into the injector: then this
    /// task may have ended already, and its scope, too.
    pub(in crate::thread) fn push(
        &self,
        task: T,
        is_stale: fn(&T) -> bool,
        inject: impl FnOnce(Ticket<T>),
    ) {
        let mut queued = self.0.lock();
        let stale = queued.sweep(is_stale);
        queued.tasks.push_back(task);
        let lacks_one = queued.tickets < queued.tasks.len();
        queued.tickets += usize::from(lacks_one);
        drop(queued);
        if lacks_one {
            inject(Ticket(self.clone()));
        }
        // Last, because the destructor of a task's result may wait for another task.
        drop(stale);
    }

    /// The newest task.
    pub(in crate::thread) fn take_newest(&self) -> Option<T> {
        self.0.lock().tasks.pop_back()
    }
}

impl<T> Ticket<T> {
    /// The oldest task, unless the thread that waits has taken all.
    pub(in crate::thread) fn take_oldest(self) -> Option<T> {
        let mut queued = self.0.0.lock();
        #[cfg(loom)]
        if fault::in_two_steps() {
            let task = queued.tasks.pop_front();
            drop(queued);
            self.0.0.lock().tickets -= 1;
            return task;
        }
        queued.tickets -= 1;
        queued.tasks.pop_front()
    }

    /// The pool has refused the ticket. Returns the task for which there is none now.
    pub(in crate::thread) fn refused(self) -> Option<T> {
        let mut queued = self.0.0.lock();
        queued.tickets -= 1;
        let lacks_one = queued.tickets < queued.tasks.len();
        lacks_one.then(|| queued.tasks.pop_back()).flatten()
    }
}

/// An injected fault, which the models must catch.
#[cfg(loom)]
pub(in crate::thread) mod fault {
    // A switch of the tests: no protocol.
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    /// A ticket is used, and counted afterwards.
    pub(in crate::thread) static TWO_STEPS: AtomicBool = AtomicBool::new(false);

    pub(super) fn in_two_steps() -> bool {
        TWO_STEPS.load(SeqCst)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{ScopeQueue, Ticket};

    /// A task is its number; negative ones are stale.
    fn push(queue: &ScopeQueue<i32>, task: i32, tickets: &mut Vec<Ticket<i32>>) {
        queue.push(task, |task| *task < 0, |ticket| tickets.push(ticket));
    }

    #[test]
    fn tasks_that_are_taken_leave_their_tickets_to_later_ones() {
        let (queue, mut tickets) = (ScopeQueue::new(), Vec::new());
        (1..=3).for_each(|task| push(&queue, task, &mut tickets));
        assert_eq!((tickets.len(), queue.take_newest()), (3, Some(3)));
        push(&queue, 4, &mut tickets);
        assert_eq!(tickets.len(), 3, "there was one left");
        push(&queue, 5, &mut tickets);
        assert_eq!(tickets.len(), 4);
        assert_eq!(tickets.pop().unwrap().refused(), Some(5));
        let mut taken: Vec<_> = tickets.drain(..).map(Ticket::take_oldest).collect();
        assert_eq!(taken, [Some(1), Some(2), Some(4)]);
        push(&queue, 6, &mut tickets);
        assert_eq!(queue.take_newest(), Some(6));
        taken = tickets.drain(..).map(Ticket::take_oldest).collect();
        assert_eq!(taken, [None]);
    }

    #[test]
    fn stale_tasks_do_not_gather() {
        let (queue, mut tickets) = (ScopeQueue::new(), Vec::new());
        push(&queue, 1, &mut tickets);
        (0..10_000).for_each(|_| push(&queue, -1, &mut tickets));
        assert!(tickets.len() < 200, "{} tickets", tickets.len());
        let live = tickets.drain(..).filter_map(Ticket::take_oldest);
        assert_eq!(live.filter(|task| *task > 0).count(), 1);
    }
}
