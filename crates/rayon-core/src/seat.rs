//! The index 0 of a pool that was made with `use_current_thread`: who uses it.
//!
//! The program's thread has it while it runs, and runs nothing of the pool's but the calls of
//! broadcasts for this index, which are queued here until it is about to wait for its pool (or
//! yields). While it waits, whichever thread brings such a call runs it; the wait ends when that
//! has ended. So the index has one user, and a thread that never waits for its pool keeps
//! broadcasts waiting, as on rayon.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ptr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A call that does not panic.
type Call = Box<dyn FnOnce() + Send>;

pub(crate) struct Seat {
    state: Mutex<State>,
    free: Condvar,
}

struct State {
    taken: bool,
    /// How many threads wait until it is free, besides the program's.
    waiting: usize,
    calls: VecDeque<Call>,
}

thread_local! {
    /// The seat in which this thread runs calls instead of the program's thread.
    static STANDS_IN: Cell<*const Seat> = const { Cell::new(ptr::null()) };
}

impl Seat {
    /// That of the calling thread.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                taken: true,
                waiting: 0,
                calls: VecDeque::new(),
            }),
            free: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this thread runs such a call instead of the program's thread.
    pub(crate) fn is_used_here(&self) -> bool {
        ptr::eq(STANDS_IN.get(), self)
    }

    /// Runs the call, here or on the program's thread, now or later.
    pub(crate) fn bring(&self, call: Call) {
        let mut state = self.lock();
        state.calls.push_back(call);
        if state.taken {
            return;
        }
        state.taken = true;
        drop(state);
        self.stand_in(|| ());
    }

    /// Runs a call here, which need not live longer than this, once the program's thread waits.
    pub(crate) fn wait_and_run<R>(
        &self,
        pool: &trefoil::ThreadPool,
        call: impl FnOnce() -> R,
    ) -> R {
        pool.blocking(|| {
            let mut state = self.lock();
            state.waiting += 1;
            while state.taken {
                state = self.wait(state);
            }
            state.waiting -= 1;
            state.taken = true;
        });
        self.stand_in(call)
    }

    /// Runs the call, and those that have come, in the seat, and leaves it.
    fn stand_in<R>(&self, call: impl FnOnce() -> R) -> R {
        let before = STANDS_IN.replace(self);
        let result = call();
        self.leave();
        STANDS_IN.set(before);
        result
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.free
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the calls that have come, and leaves.
    fn leave(&self) {
        loop {
            let mut state = self.lock();
            let Some(call) = state.calls.pop_front() else {
                state.taken = false;
                return self.free.notify_all();
            };
            drop(state);
            call();
        }
    }

    /// The program's thread begins to wait for its pool; it returns when the guard is dropped.
    pub(crate) fn away(&self) -> Away<'_> {
        self.leave();
        Away(self)
    }
}

/// The program's thread waits.
pub(crate) struct Away<'a>(&'a Seat);

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        while state.taken || state.waiting > 0 {
            state = self.0.wait(state);
        }
        state.taken = true;
    }
}
