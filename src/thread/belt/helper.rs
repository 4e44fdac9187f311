//! Helpers: workers that run the items of a belt.
//!
//! **Job.** Tickets, and step 3 of the belt's protocol; and who runs items that were queued for a pool which does
//! not take them any more. A ticket that the pool drops, because it is shut down, says so: what is queued then
//! goes to a thread of its own.

use std::sync::Arc;

use super::Belt;
use super::state::Wake;
use crate::loom::atomic::Ordering;
use crate::loom::hint;
use crate::task::panic::contain;
use crate::task::{self, Runnable, TaskError};
use crate::thread::queue::Work;

/// How many times one looks for what it waits for, before it sleeps: some microseconds.
const LOOKS: u32 = 200;

impl<I, F, R> Belt<I, F, R>
where
    I: Iterator<Item: Send> + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) fn issue_ticket(&self) {
        let Some(belt) = self.me.upgrade() else {
            return;
        };
        let ticket = Ticket(Some(belt));
        let (runnable, task) = task::closure(move || ticket.redeem(), false);
        task.detach();
        self.remember(&runnable);
        if let Err(Work::Task(refused)) = self.crew.submit(Work::Task(runnable)) {
            refused.discard(TaskError::Cancelled); // which drops the ticket
        }
    }

    /// To be cancelled with the belt.
    pub(super) fn remember(&self, runnable: &Runnable) {
        let mut state = self.state.lock();
        state.helping.retain(|task| !task.is_finished());
        state.helping.push(runnable.task_ref());
    }

    /// Step 3. Our caller has counted it as a helper.
    pub(super) fn help(&self, place: Place) {
        let mut done = None;
        let (mut looked, mut looking) = (place != Place::Worker, false);
        loop {
            let open = place != Place::Worker || self.is_open();
            let mut state = self.state.lock();
            state.looking -= usize::from(std::mem::take(&mut looking));
            let (mut unwanted, mut wake) = (None, Wake::default());
            if let Some((at, result)) = done.take() {
                unwanted = state.store(self.ordered, at, result);
                self.note_move();
                wake = state.wake();
            }
            let next = if open && !state.cancelled {
                self.pop(&mut state)
            } else {
                None
            };
            let look = next.is_none() && !looked && open && state.feeding && !state.cancelled;
            state.looking += usize::from(look);
            let mut stranded = false;
            if next.is_none() && !look {
                state.helpers -= 1;
                state.elsewhere &= place != Place::Elsewhere;
                stranded = !state.queue.is_empty() && !state.cancelled;
            }
            drop(state);
            self.wake(wake);
            contain(|| drop(unwanted));
            match next {
                Some((at, item)) => {
                    done = Some((at, self.call(item)));
                    looked = place != Place::Worker;
                }
                None if look => {
                    (looked, looking) = (true, true);
                    self.look(|| self.queued.load(Ordering::Relaxed) > 0);
                }
                None => {
                    if stranded {
                        self.help_elsewhere();
                    }
                    return;
                }
            }
        }
    }

    /// Waits a moment: less than it takes to sleep and be woken.
    pub(super) fn look(&self, come: impl Fn() -> bool) {
        for _ in 0..LOOKS {
            if come() {
                return;
            }
            hint::spin_loop();
        }
    }

    /// The pool does not run what is queued: a thread of its own does.
    pub(super) fn help_elsewhere(&self) {
        let Some(belt) = self.me.upgrade() else {
            return;
        };
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.elsewhere, true) {
            return;
        }
        state.helpers += 1;
        drop(state);
        let (runnable, task) = task::closure(move || belt.help(Place::Elsewhere), false);
        task.detach();
        self.remember(&runnable);
        if let Err(runnable) = self.start(runnable) {
            runnable.run();
        }
    }
}

/// Where a helper runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Worker,
    Feeder,
    Elsewhere,
}

/// A belt as the pool sees it.
trait Helped: Send + Sync {
    fn redeem(&self);
    fn refuse(&self);
}

impl<I, F, R> Helped for Belt<I, F, R>
where
    I: Iterator<Item: Send> + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    fn redeem(&self) {
        let mut state = self.state.lock();
        state.tickets -= 1;
        state.helpers += 1;
        drop(state);
        self.help(Place::Worker);
    }

    fn refuse(&self) {
        let mut state = self.state.lock();
        state.tickets -= 1;
        let stranded = !state.queue.is_empty() && !state.cancelled;
        drop(state);
        if stranded {
            self.help_elsewhere();
        }
    }
}

/// "Help at this belt." Dropped by a pool that does not.
struct Ticket(Option<Arc<dyn Helped>>);

impl Ticket {
    fn redeem(mut self) {
        if let Some(belt) = self.0.take() {
            belt.redeem();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(belt) = self.0.take() {
            belt.refuse();
        }
    }
}
