//! Results that are decoded where they hold up no others.
//!
//! **Job.** A `Deserialize` is user code: it may take seconds, or for ever, and so may the
//! destructor of what it has made. The driver runs neither. What takes no time and runs no user
//! code it decodes itself (`decoder` says what that is); of everything else it keeps the bytes, as
//! a [`Reading`], and goes on.
//!
//! **Protocol.**
//! 1. The scheduler takes values for its items as ever, and notes a reading; the job does not end
//!    before that is done, unless it has failed, and then its caller does not wait for it. What has
//!    come along with the bytes, and the memory that they refer to, stays the reading's until then
//!    (`Extras`).
//! 2. A caller that looks for its own result (`shortcut`) does its own readings, on its own thread.
//!    All others go to the pool's *readers*, helper threads that are there while there is something
//!    to decode.
//! 3. There is one reader, and so things stay in order, unless it takes nothing of what waits for
//!    five milliseconds: then another is started beside it, with twice as much patience. The driver
//!    looks, when it hands over more, and by its clock while something waits (`Readers::due`).
//! 4. The thread that has decoded something takes the engine's lock to hand it over, in slices of a
//!    millisecond, and lets go of it before the task is told: that runs callbacks, and destructors
//!    if the result is not wanted.
//!
//! A task whose result is being decoded has neither ended nor is it run: a timeout is no limit for
//! it. If it is cancelled, or the pool is killed, it ends at once, and what its reading gives is
//! dropped. Nothing waits for a reader but a `Shutdown::Wait` without a limit.
//!
//! A value may nest as deeply as a reader's stack allows, and so may its destructor. What has no
//! owner any more is dropped here, or on the driver's thread, which has as much; what a `Task` or
//! an `Imap` holds is dropped with these, on a stack of any size.
//!
//! **Rejected.** Types that are known to be quick because they were so far: the next may not be.
//! Decoding when the task is joined: it has callbacks, and other tasks that are made of it, which
//! want the value.
//!
//! Tests: `tests/process/callers.rs`, `tests/process/deep.rs`, `tests/process/pool.rs`.

use std::sync::Arc;
use std::time::Instant;

use super::driver::{ActingDriver, Shared};
use crate::helper;
use crate::process::job::decoder::Values;
use crate::process::job::reading::{Chore, Reading};
use crate::task::panic;

/// Gives `chores` to the readers, and sees that there are enough of these. (Without the engine's
/// lock.)
pub(crate) fn add(shared: &Arc<Shared>, chores: Vec<Chore>) {
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
        // Better late than never, and here than nowhere.
        let chore = state.waiting.pop_front();
        drop(state);
        chore.into_iter().for_each(|chore| shared.carry_out(chore));
    }
}

impl Shared {
    /// Does what waits, as a reader.
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
            self.carry_out(chore);
        }
    }

    pub(super) fn carry_out(&self, chore: Chore) {
        match chore {
            Chore::Read(reading) => self.read(reading),
            Chore::Drop(values) => panic::contain(|| drop(values)),
        }
    }

    /// Decodes, and hands over. (Without the engine's lock.)
    fn read(&self, mut reading: Reading) {
        loop {
            let part = reading.next();
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
                // (It may have been decoded by a reader, and this be a caller with less stack.)
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
