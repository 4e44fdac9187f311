//! The timer thread: the timekeeper of every thread that has no loop.
//!
//! 1. The first alarm armed starts a job on a helper thread.
//! 2. It sleeps until the earliest deadline, wakes what is due, and sleeps
//!    again. A new alarm rings only if it became the earliest.
//! 3. With nothing pending it ends. `running` changes only under the lock, in the same
//!    critical section that finds the timers empty or not, so an alarm is never left to a
//!    job that has ended.
//!
//! Should the system refuse the thread, the waiting task is woken at once:
//! it looks at the clock itself and asks again. That is a busy wait, but it
//! ends, and it is no hang.
//!
//! Wakers are strangers' code: they run and drop outside the lock (A2), and one
//! that panics does not take the thread along.
//!
//! Checked by `tests/event_loop/`: an alarm without a loop, and the end of the
//! idle thread.

use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::{Timekeeper, TimerKey, Timers};
use crate::helper::{self, contain};
use crate::loom::{Condvar, Mutex};
use crate::sys::fork::PerProcess;

/// The one timer thread of the process (which may be asleep, or not started).
pub(super) fn timer_thread() -> Arc<dyn Timekeeper> {
    shared().clone()
}

fn shared() -> &'static Arc<TimerThread> {
    // A forked child has none of its parent's threads, and starts one of its own.
    static THREAD: PerProcess<Arc<TimerThread>> = PerProcess::new();
    THREAD.get_or_init(|| {
        Arc::new(TimerThread {
            state: Mutex::new(State {
                timers: Timers::new(),
                running: false,
            }),
            rung: Condvar::new(),
        })
    })
}

struct TimerThread {
    state: Mutex<State>,
    /// A new earliest deadline.
    rung: Condvar,
}

struct State {
    timers: Timers<Waker>,
    /// The job is in `keep_time` and will look at `timers` again.
    running: bool,
}

impl Timekeeper for TimerThread {
    fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        let mut state = self.state.lock();
        let earliest = state.timers.next().is_none_or(|next| deadline < next);
        let key = state.timers.insert(deadline, waker);
        if !state.running {
            state.running = helper::start(|| shared().keep_time()).is_ok();
            if !state.running {
                let waker = state.timers.remove(key);
                drop(state);
                contain(|| waker.into_iter().for_each(Waker::wake));
            }
        } else if earliest {
            drop(state);
            self.rung.notify_one();
        }
        key
    }

    fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let Some(current) = state.timers.get_mut(key) else {
            return false;
        };
        if current.will_wake(waker) {
            return true;
        }
        // Cloning and dropping a waker run code of the user's.
        drop(state);
        let mut fresh = waker.clone();
        let mut state = self.state.lock();
        let armed = match state.timers.get_mut(key) {
            Some(current) => {
                mem::swap(current, &mut fresh);
                true
            }
            None => false,
        };
        drop(state);
        drop(fresh);
        armed
    }

    fn disarm(&self, key: TimerKey) {
        let waker = self.state.lock().timers.remove(key);
        drop(waker);
    }
}

impl TimerThread {
    fn keep_time(&self) {
        let mut state = self.state.lock();
        loop {
            let due: Vec<Waker> = state.timers.due(Instant::now()).collect();
            if !due.is_empty() {
                drop(state);
                for waker in due {
                    contain(|| waker.wake());
                }
                state = self.state.lock();
            } else if let Some(next) = state.timers.next() {
                (state, _) = self.rung.wait_until(state, next);
            } else {
                state.running = false;
                return;
            }
        }
    }
}
