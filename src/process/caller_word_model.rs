//! A caller, its worker and the driver, for the models of the word on which a caller sleeps.
//!
//! It drives the real `pages::caller_word`, in the order in which `parent::shortcut` and
//! `worker::peer::pages` use it. The ledger is a number of results, the socket and the mailbox are
//! one flag for the driver. It exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use crate::loom::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::loom::{Condvar, Mutex};
pub use crate::process::pages::caller_word::model::Broken;
use crate::process::pages::caller_word::{Answered, CallerWord, model};

/// The number of the caller's job.
const JOB: u64 = 5;

pub struct Call {
    word: CallerWord,
    /// A futex as the kernel has it.
    futex: (Mutex<()>, Condvar),
    /// How many results are in the ledger.
    results: AtomicU64,
    /// What the driver must look at, and whether the result was heard, and whether the caller's job
    /// has ended.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    unheard: bool,
    heard: bool,
    ended: bool,
}

impl Call {
    pub fn new(broken: Broken) -> Self {
        model::set(broken);
        Self {
            word: CallerWord::default(),
            futex: (Mutex::new(()), Condvar::new()),
            results: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn sleep(&self, value: u32) {
        let guard = self.futex.0.lock();
        if self.word.is(value) {
            drop(self.futex.1.wait(guard));
        }
    }

    fn wake(&self, _word: &AtomicU32) {
        drop(self.futex.0.lock());
        self.futex.1.notify_one();
    }

    /// Takes the result if it is there and the job has not ended; under the engine's lock.
    fn take(&self) -> bool {
        let mut state = self.state.lock();
        if !state.ended && self.results.load(Ordering::Acquire) > 0 {
            (state.heard, state.ended) = (true, true);
            self.changed.notify_all();
        }
        state.ended
    }

    /// `PoolState::help`, and then the caller waits as everybody does.
    pub fn caller(&self) {
        self.word.announce(JOB);
        let mut is_done = false;
        loop {
            if self.results.load(Ordering::Acquire) > 0 {
                is_done = self.take();
            }
            if is_done {
                break;
            }
            match self.word.fall_asleep(JOB) {
                Some(value) => self.sleep(value),
                None => break,
            }
            if self.state.lock().ended {
                is_done = true;
            }
        }
        let answered = self.word.leave(JOB, is_done);
        if answered && !model::is(Broken::Silent) {
            let mut state = self.state.lock();
            if !state.heard {
                state.unheard = true;
                self.changed.notify_all();
            }
        }
        let mut state = self.state.lock();
        while !state.ended {
            state = self.changed.wait(state);
        }
    }

    /// The worker: ends its frame.
    pub fn worker(&self) {
        self.results.fetch_add(1, Ordering::Release);
        let answer = || self.word.answer(|word| self.wake(word));
        let taken = match answer() {
            Answered::Taken => true,
            Answered::Soon => {
                let taken = answer() == Answered::Taken;
                if !taken {
                    self.word.give_up();
                }
                taken
            }
            Answered::No => false,
        };
        if !taken {
            self.state.lock().unheard = true;
            self.changed.notify_all();
        }
    }

    /// The driver: hears the result if nobody else does; `ends`: the caller's job first, as if it
    /// were cancelled, and dismisses the caller then.
    pub fn driver(&self, ends: bool) {
        if ends {
            self.state.lock().ended = true;
            self.changed.notify_all();
            self.word.dismiss(None, |word| self.wake(word));
        }
        let mut state = self.state.lock();
        while !state.heard {
            if state.unheard {
                assert!(self.results.load(Ordering::Acquire) > 0);
                (state.heard, state.ended) = (true, true);
                self.changed.notify_all();
                return;
            }
            state = self.changed.wait(state);
        }
    }
}
