//! The feeder: it pulls items, on a thread of its own.
//!
//! **Job.** Steps 1 and 2 of the belt's protocol. While it is inside the iterator's `next`, it has
//! the iterator; while it waits for room, that is in its place in the state, where a consumer that goes away
//! finds and drops it.
//!
//! Where the system gives no thread, a worker of the pool feeds, and is replaced meanwhile; where the pool
//! is closed as well, the consumer.

use std::sync::Arc;
use std::time::Instant;

use super::helper::Place;
use super::state::{Source, State, Turn};
use super::{Belt, LINGER};
use crate::loom::Mutex;
use crate::loom::atomic::Ordering;
use crate::loom::thread::Builder;
use crate::task::panic::{self, contain};
use crate::task::{self, Runnable};
use crate::thread::queue::Work;
use crate::thread::wait::Blocked;

impl<I, F, R> Belt<I, F, R>
where
    I: Iterator<Item: Send> + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) fn start_feeder(&self) {
        let Some(belt) = self.me.upgrade() else {
            return;
        };
        let (runnable, task) = task::closure(move || belt.feed(), false);
        task.detach();
        self.state.lock().feeder = Some(runnable.task_ref());
        let Err(runnable) = self.start(runnable) else {
            return;
        };
        // No thread to be had: a worker, else here.
        self.state.lock().impatient = true;
        if let Err(Work::Task(runnable)) = self.crew.submit(Work::Task(runnable)) {
            runnable.run();
        }
    }

    /// Runs it on a thread of its own, or gives it back.
    pub(super) fn start(&self, runnable: Runnable) -> Result<(), Runnable> {
        // In a cradle, so that it survives if there is no thread.
        let cradle = Arc::new(Mutex::new(Some(runnable)));
        let theirs = Arc::clone(&cradle);
        let builder = Builder::new()
            .name("trefoil-imap".into())
            .stack_size(self.crew.config().stack_bytes());
        let started = builder.spawn(move || {
            let runnable = theirs.lock().take();
            if let Some(runnable) = runnable {
                runnable.run();
            }
        });
        if started.is_ok() {
            return Ok(());
        }
        let runnable = cradle.lock().take();
        runnable.map_or(Ok(()), Err)
    }

    /// Step 1, on a thread of its own.
    pub(super) fn feed(&self) {
        // It counts only where the system gives no thread, and a worker has to do it.
        let _blocked = Blocked::begin();
        let Some(mut source) = self.take_source() else {
            return;
        };
        let mut ending = None;
        let mut turn = self.state.lock().turn();
        loop {
            turn = match turn {
                Turn::Stop => break,
                Turn::Full => match self.rest(source) {
                    Some((again, turn)) => {
                        source = again;
                        turn
                    }
                    None => return,
                },
                Turn::Pull => match panic::catch(|| source.next()) {
                    Ok(Some(item)) => self.queue(item),
                    Ok(None) => break,
                    Err(panic) => {
                        ending = Some(panic);
                        break;
                    }
                },
            }
        }
        // It goes before its end is visible.
        if ending.is_some() {
            contain(|| drop(source));
        } else {
            ending = panic::catch(|| drop(source)).err();
        }
        let mut state = self.state.lock();
        state.source = Source::Gone;
        state.feeding = false;
        if !state.cancelled {
            state.pulled -= 1; // reserved in vain
            state.ending = ending.take();
        }
        self.note_move();
        let wake = state.wake();
        drop(state);
        self.wake(wake);
        contain(|| drop(ending));
    }

    pub(super) fn take_source(&self) -> Option<I> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.source, Source::Out) {
            Source::Here(source) => Some(source),
            other => {
                // Cancelled meanwhile.
                state.source = other;
                state.feeding = false;
                None
            }
        }
    }

    /// Waits for room, with the iterator in its place, where who goes away finds it. `None`: it has
    /// been dropped, or there has been no room for long.
    pub(super) fn rest(&self, source: I) -> Option<(I, Turn)> {
        self.state.lock().source = Source::Here(source);
        let seen = self.taken.load(Ordering::Relaxed);
        self.look(|| self.taken.load(Ordering::Relaxed) != seen);
        let deadline = Instant::now() + LINGER;
        let mut state = self.state.lock();
        let mut late = state.impatient;
        let turn = loop {
            match state.turn() {
                Turn::Full if !late => {}
                turn => break turn,
            }
            state.feeder_waits = true;
            (state, late) = self.room.wait_until(state, deadline);
        };
        state.feeder_waits = false;
        if let Turn::Full = turn {
            state.feeding = false;
            return None;
        }
        drop(state);
        Some((self.take_source()?, turn))
    }

    /// Step 2.
    pub(super) fn queue(&self, item: I::Item) -> Turn {
        let open = self.is_open();
        let mut state = self.state.lock();
        if state.cancelled {
            drop(state);
            contain(|| drop(item));
            return Turn::Stop;
        }
        let at = state.pulled - 1;
        state.queue.push_back((at, item));
        self.note_queue(&state);
        let turn = state.turn();
        if state.consumer_waits
            && state.consumer_helps
            && state.queue.len() == 1
            && state.is_due(self.ordered)
        {
            state.consumer_waits = false;
            drop(state);
            self.ready.notify_one();
        } else if !open {
            state.helpers += 1;
            drop(state);
            self.help(Place::Feeder);
        } else if self.lacks_help(&state) {
            // Waking a worker takes far longer than a tiny item, after which a helper comes back.
            let queued = state.queue.len();
            drop(state);
            self.look(|| self.queued.load(Ordering::Relaxed) < queued);
            let mut state = self.state.lock();
            if self.lacks_help(&state) {
                state.tickets += 1;
                drop(state);
                self.issue_ticket();
            }
        }
        turn
    }

    /// More items are queued than there are tickets, or helpers who just look for one; and
    /// the pool is wide enough for one more.
    pub(super) fn lacks_help(&self, state: &State<I, R>) -> bool {
        let consumer = state.consumer_looks && state.is_due(self.ordered);
        state.queue.len() > state.tickets + state.looking + usize::from(consumer)
            && state.helpers + state.tickets < self.crew.width()
    }
}
