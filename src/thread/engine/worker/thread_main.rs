//! What a pool's thread does from its start to its end, and when it calls its hooks.
//!
//! **The loop.** 1. If there are too many runners, because a blocked one has come back, the thread
//! sleeps. 2. It looks for work (`search.rs`). 3. If it finds some, it runs it; if it was a
//! searcher, it first hands the search on (`sleep`, step 3). 4. Otherwise it becomes a searcher,
//! looks for a few rounds more, and then goes to sleep (`idle`).
//!
//! **Hooks.** While its `on_start` runs, a thread is a runner but not a searcher: the hook may take
//! long or wait for others, so no other thread may rely on this one to find work meanwhile. While
//! its `on_exit` runs, it counts as blocked: others run the tasks that it spawns, and the pool does
//! not end before it.
//!
//! Rejected: a separate loop for spares (they differ only in their index and in that they end when
//! they have slept long enough).
//!
//! Tests: `tests/thread/pool.rs::{hooks_run_on_each_worker_and_their_panics_are_contained,
//! what_an_exit_hook_does_neither_hangs_nor_is_forgotten}`; the same steps without deques in
//! `src/thread/model.rs`.

use std::sync::Arc;

use crate::events;
use crate::task::{Runnable, context, panic};
use crate::thread::engine::config::ThreadHook;
use crate::thread::engine::queue::Work;
use crate::thread::engine::raw_current as current;
use crate::thread::engine::registry::Registry;
use crate::thread::engine::sleep::WakeReason;
use crate::thread::engine::slot::OwnedSlot;
use crate::thread::engine::worker::Worker;

impl Worker {
    /// Runs `on_start`; then turn after turn, until this thread is woken to end; then `on_exit`.
    fn main_loop(&self) {
        let registry = self.registry();
        let mut searching = true;
        if registry.sleep.is_spare(&self.slot().sleeper) {
            self.take_exclusive_index();
            self.take_index();
        }
        // Both hooks get the same index.
        let index = self.index();
        let call = |hook: &ThreadHook| self.with_index(index, || panic::contain(|| hook(index)));
        if let Some(hook) = &registry.config.on_start {
            self.found();
            searching = false;
            call(hook);
        }
        while self.take_turns(searching) == WakeReason::Work {
            searching = true;
        }
        // A poller is woken to end while it looks for work, too.
        self.stolen_halves.stop_polling(&registry.wake_policy);
        registry.close_mailbox(self.slot(), &|| true);
        if let Some(hook) = &registry.config.on_exit {
            self.as_blocked(|| {
                call(hook);
                self.end_child();
                self.leave_index();
            });
        }
    }

    /// A task or a hook may have forked, and returned in the child, too. There is nothing to return
    /// to: this thread began as another process's worker.
    fn end_child(&self) {
        if self.registry().is_foreign() {
            std::process::exit(0);
        }
    }

    /// Runs turn after turn, until it has slept.
    fn take_turns(&self, mut searching: bool) -> WakeReason {
        let sleep = &self.registry().sleep;
        let mut after_job = false;
        self.return_to_queues();
        self.moves();
        loop {
            if self.slot().standing.is_marked() {
                self.moves();
            }
            if !searching && sleep.has_surplus() {
                self.leaves();
                if sleep.fall_asleep_if_surplus(&self.slot().sleeper) {
                    self.ended.count_off();
                    self.leave_index();
                    self.leave_queues();
                    self.registry().recheck();
                    let _noted = events::sleeps();
                    return self.sleep();
                }
                self.moves();
            }
            self.take_exclusive_index();
            let mut work = self.find();
            if work.is_none() {
                self.ended.count_off();
                let is_tired = after_job && !searching && self.stolen_halves.is_tired();
                searching = searching || !is_tired && sleep.search(after_job);
                if searching {
                    work = self.look_around();
                } else if self.others_are_quicker() {
                    self.give_time();
                    continue;
                }
            }
            let Some(work) = work else {
                return self.go_to_sleep(searching);
            };
            if std::mem::take(&mut searching) {
                self.found();
            } else if sleep.lacks_monitor() {
                self.registry().recheck();
            }
            self.take_index();
            after_job = matches!(work, Work::Job(_));
            self.run(work);
            self.end_child();
        }
    }

    /// Stops being a searcher, and looks whether there is work for more.
    fn found(&self) {
        let registry = self.registry();
        let others = registry.sleep.found();
        if registry.looks_for_more(others) && registry.has_something_in(&self.slots()) {
            registry.found_more();
        }
    }
}

/// Takes this thread's newest task, if it is the one at `address`: see [`context::begin_worker`].
fn take_newest(address: usize) -> Option<Runnable> {
    current::with_home(|home| {
        let home = home?;
        let tasks = &home.owned.local.tasks;
        let task = tasks.pop()?;
        if task.address() == address {
            return Some(task);
        }
        // Another thread may have looked just now, and not seen it.
        tasks.push(task);
        home.registry().published();
        None
    })
}

/// Runs a thread of the pool; returns its slot.
pub(in crate::thread) fn main(registry: &Arc<Registry>, owned: OwnedSlot) -> OwnedSlot {
    context::begin_worker(registry.tag, take_newest);
    owned.slot.call.occupy();
    let _role = events::role(events::Role::Worker {
        pool: registry.tag,
        slot: owned.slot.number as u32,
        index: owned.slot.place() as u32,
    });
    let worker = Worker::new(Arc::clone(registry), owned);
    current::at_home(&worker, || worker.main_loop());
    worker.owned
}
