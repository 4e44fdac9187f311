//! Readers: threads that decode results which the driver must not decode.
//!
//! **Job.** A `Deserialize` is user code: it may take seconds, or for ever, and so may the
//! destructor of its value. The driver runs neither. It decodes only values that take little time
//! and run no user code (`decoder` says which); for all others it keeps the bytes, as a
//! [`Reading`], and goes on.
//!
//! **Protocol.**
//! 1. The scheduler takes values for its items as usual, and notes a reading. The job does not end
//!    before that is done, unless the job has failed; then its caller does not wait for it. The
//!    attachments of the bytes, and the memory that they refer to, belong to the reading until then
//!    (`Extras`).
//! 2. A caller that polls for its own result (`shortcut`) does its own readings, on its own thread.
//!    All others go to the pool's *readers*, helper threads that exist while there is something to
//!    decode. What nests too deeply for a caller's stack goes there, too, from the beginning.
//! 3. There is one reader, which keeps the order, unless it takes no waiting chore for five
//!    milliseconds: then another is started, and the time until the next one doubles. The driver
//!    checks that when it adds chores, and by its clock while some wait (`Readers::due`).
//! 4. The thread that has decoded values takes the engine's lock to hand them over, in slices of a
//!    millisecond, and releases it before the task is completed: that runs callbacks, and
//!    destructors if the result is not wanted.
//!
//! A task whose result is being decoded neither has ended nor runs, so a timeout does not limit it.
//! If it is cancelled, or the pool is killed, it ends at once, and the values of its reading are
//! dropped. Only a `Shutdown::Wait` without a limit waits for a reader.
//!
//! A value may nest as deeply as a reader's stack allows, and so may its destructor. Values without
//! an owner are dropped here, or on the driver's thread, which has as much stack; values that a
//! `Task` or an `Imap` holds are dropped with these, on a stack of any size.
//!
//! **Rejected.** Trusting types that were quick so far: the next value may not be. Decoding when
//! the task is joined: callbacks, and tasks that are derived from it, need the value.
//!
//! Tests: `tests/process/callers.rs`, `tests/process/deep.rs`, `tests/process/pool.rs`.

use std::sync::Arc;
use std::time::Instant;

use super::driver::{ActingDriver, PoolState};
use crate::helper;
use crate::process::job::decoder::Values;
use crate::process::job::reading::{Chore, Reading};
use crate::task::panic;

/// Gives `chores` to the readers, and starts another reader if needed. (Without the engine's lock.)
pub(crate) fn add(shared: &Arc<PoolState>, chores: Vec<Chore>) {
    let mut state = shared.readers.0.lock();
    state.waiting.extend(chores);
    let now = Instant::now();
    let enough = state.readers > 0 && state.due().is_some_and(|due| now < due);
    if state.waiting.is_empty() || enough {
        return;
    }
    state.since = Some(now);
    let theirs = shared.clone();
    if helper::start(move || theirs.serve()).is_ok() {
        state.readers += 1;
    } else if state.readers == 0 {
        // No reader could be started, so this thread carries out one chore.
        let chore = state.waiting.pop_front();
        drop(state);
        chore
            .into_iter()
            .for_each(|chore| shared.carry_out(chore, false));
    }
}

impl PoolState {
    /// Does the waiting chores, as a reader.
    fn serve(&self) {
        let _acting = ActingDriver::new();
        loop {
            let mut state = self.readers.0.lock();
            let Some(chore) = state.waiting.pop_front() else {
                state.readers -= 1;
                return;
            };
            state.since = Some(Instant::now());
            drop(state);
            self.carry_out(chore, false);
        }
    }

    /// `is_caller`: on a thread that may have less stack than a reader.
    pub(super) fn carry_out(&self, chore: Chore, is_caller: bool) {
        match chore {
            Chore::Read(reading) => self.read(reading, is_caller),
            Chore::Drop(values) => panic::contain(|| drop(values)),
        }
    }

    /// Decodes a reading, and hands the values over. (Without the engine's lock.)
    fn read(&self, mut reading: Reading, is_caller: bool) {
        loop {
            let Some(part) = reading.next(is_caller) else {
                // A reader decodes it, and has more stack.
                let mut engine = self.engine.lock();
                if let Some(engine) = engine.as_mut() {
                    engine.sched.chores.push(Chore::Read(reading));
                    self.mailbox.wake();
                }
                return;
            };
            let mut engine = self.engine.lock();
            let handed = match engine.as_mut() {
                Some(engine) => engine.hand_over(&mut reading, part),
                None => (
                    Some(Box::new((part.values, part.taken.error)) as Values),
                    None,
                    true,
                ),
            };
            drop(engine);
            let (unwanted, ended, over) = handed;
            panic::contain(|| drop(unwanted));
            if let Some(ended) = ended {
                // A reader may have decoded a part, and this thread may be a caller with less
                // stack.
                let mut unwanted = ended.finish();
                if let Some(engine) = &mut *self.engine.lock() {
                    engine.told(unwanted.take());
                }
                panic::contain(|| drop(unwanted));
            }
            if over {
                return;
            }
        }
    }
}
