//! The threads of a pool: their places, their start, and resizing.
//!
//! Every thread has a place, the lowest that was free. Threads in places below the width are the
//! pool's own, so *resizing* moves none: 1. the width changes; sleeping threads in removed places
//! end; 2. new places without a thread get one; 3. a look into the queues. A busy thread in a
//! removed place becomes a spare, which ends when there is one too many; spares that replace
//! waiting threads are kept for a while. A thread that is ending when its place comes back starts
//! its own successor. (Which threads end: `sleep/width.rs`; how soon: `worker/idle.rs`; what
//! becomes of their queues: `leave_queues`, `registry/mod.rs`.) If the system refuses a thread, the
//! pool asks again when there is work for it.
//!
//! Rejected: reassigning indices at each change (a worker's index would change in the middle of its
//! task); waiting in `resize` for threads to end (from one of the pool's own tasks, it would wait
//! for itself).
//!
//! Tests: `tests/thread/resize.rs` (resizing); the protocol beneath in
//! `tests/trefoil-checks/tests/pool.rs`.

use std::io;
use std::sync::Arc;

use crate::blocking_threads;
use crate::loom::Mutex;
use crate::thread::engine::queue::Mode;
use crate::thread::engine::registry::Registry;
use crate::thread::engine::registry::no_thread::no_thread;
use crate::thread::engine::sleep::Need;
use crate::thread::engine::slot::{OwnedSlot, Slot};
use crate::thread::engine::stall_monitor;
use crate::thread::engine::worker::thread_main;

/// See [`StartThread`](crate::thread::engine::registry::StartThread).
pub(in crate::thread) fn start(registry: &Arc<Registry>, need: Need) -> bool {
    match need {
        Need::Runner => start_spare(registry),
        Need::Monitor => stall_monitor::start(registry),
    }
}

/// Starts a thread in the lowest place that has none.
fn start_spare(registry: &Arc<Registry>) -> bool {
    let mut vacant = registry.threads.vacant.lock();
    if vacant.iter().all(Option::is_none) {
        let next = vacant.len() + 1;
        registry.add_places(&mut vacant, next);
    }
    let owned = vacant.iter_mut().find_map(Option::take);
    drop(vacant);
    owned.is_some_and(|owned| registry.start_thread(owned).is_ok())
}

impl Registry {
    /// The slots of the pool's own places.
    pub(in crate::thread) fn own_slots(&self) -> Vec<Arc<Slot>> {
        let vacant = self.threads.vacant.lock();
        let (width, slots) = (self.sleep.width(), self.slots());
        drop(vacant);
        let mut own = Vec::with_capacity(width);
        for slot in &*slots {
            if slot.place() < width {
                own.push(Arc::clone(slot));
            }
        }
        own
    }

    /// Adds places up to this width.
    fn add_places(&self, vacant: &mut Vec<Option<OwnedSlot>>, width: usize) {
        for owned in self.slots.add_places(vacant.len()..width) {
            vacant.push(Some(owned));
        }
    }

    /// Puts back the slot of a place that has no thread now.
    fn put_back(self: &Arc<Self>, owned: OwnedSlot) {
        self.close_mailbox(&owned.slot, &|| true);
        let index = owned.slot.place();
        self.threads.vacant.lock()[index] = Some(owned);
    }

    /// Starts the threads that the pool begins with. An error: which was the first that the system
    /// refused, and why.
    pub(in crate::thread) fn start_all(self: &Arc<Self>) -> io::Result<()> {
        let owned_slots = self.slots.add_places(0..self.sleep.width());
        let mut vacant = self.threads.vacant.lock();
        for _ in &owned_slots {
            vacant.push(None);
        }
        drop(vacant);
        let (mut started, width) = (Ok(()), owned_slots.len());
        for (at, owned) in owned_slots.into_iter().enumerate() {
            let result = self.start_thread(owned);
            started = started.and(result.map_err(|error| no_thread(at, width, error)));
        }
        started
    }

    /// Starts a thread in one of the pool's own places, if it still is one. If the system refuses
    /// it, it is asked for again when there is work.
    fn start_if_own(self: &Arc<Self>, owned: OwnedSlot) {
        if self.sleep.count_start(owned.slot.place()) {
            let _refused = self.start_thread(owned);
        } else {
            self.put_back(owned);
        }
    }

    /// Starts a thread that has been counted; if the system refuses it, removes it from the count.
    fn start_thread(self: &Arc<Self>, owned: OwnedSlot) -> io::Result<()> {
        owned.slot.mailbox.open();
        let name = self.config.name_of(owned.slot.place());
        let registry = Arc::clone(self);
        // The slot is kept outside the closure, so that it survives if the thread does not start.
        let kept = Arc::new(Mutex::new(Some(owned)));
        let theirs = Arc::clone(&kept);
        // Under the lock: a thread that joins must not miss the handle. (Thread-locals of a thread
        // that `is_finished` may still be dropped: no later `shutdown` waits for them.)
        let mut handles = self.threads.handles.lock();
        handles.running.retain(|handle| !handle.is_finished());
        let run = move || {
            let owned = theirs.lock().take();
            if let Some(owned) = owned {
                let owned = thread_main::main(&registry, owned);
                registry.thread_ended(owned);
            }
        };
        let started =
            blocking_threads::start_thread(name, self.config.stack_bytes(), Box::new(run));
        let result = started.map(|handle| handles.running.push(handle));
        drop(handles);
        if result.is_err()
            && let Some(owned) = kept.lock().take()
        {
            // In this order: work that `put_back` queues must see that no searcher is coming.
            self.sleep.not_started();
            self.put_back(owned);
        }
        result
    }

    /// Makes the pool as wide as this; see the module. A closed pool stays as it is.
    pub(in crate::thread) fn resize(self: &Arc<Self>, width: usize) {
        if self.injector.mode() != Mode::Open {
            return;
        }
        let mut vacant = self.threads.vacant.lock();
        self.add_places(&mut vacant, width);
        if !self.sleep.resize(width) {
            return;
        }
        let mut to_start = Vec::new();
        for place in &mut vacant[..width] {
            if let Some(owned) = place.take() {
                to_start.push(owned);
            }
        }
        drop(vacant);
        for owned in to_start {
            self.start_if_own(owned);
        }
        self.recheck();
    }

    /// A thread of the pool ends.
    fn thread_ended(self: &Arc<Self>, owned: OwnedSlot) {
        let mut vacant = self.threads.vacant.lock();
        let index = owned.slot.place();
        if index < self.sleep.width() && self.injector.mode() != Mode::Closed {
            // The pool has grown again. The lock: see `resize`, which has left this place alone.
            drop(vacant);
            self.start_if_own(owned);
        } else {
            vacant[index] = Some(owned);
        }
    }
}
