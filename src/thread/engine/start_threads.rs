//! The threads of a pool: their places, their start, and resizing.
//!
//! Every thread has a place, the lowest that was free. Threads in places below the width are the
//! pool's own, so *resizing* moves none: 1. the width changes; sleeping threads in removed places
//! end; 2. new places without a thread get one; 3. a look into the queues. A busy thread in a
//! removed place becomes a spare, which ends when there is one too many; spares that replace
//! waiting threads are kept for a while. A thread that is ending when its place comes back starts
//! its own successor. If the system refuses a thread, the pool asks again when there is work for
//! it.
//!
//! Rejected: reassigning indices at each change (a worker's index would change in the middle of its
//! task); waiting in `resize` for threads to end (from one of the pool's own tasks, it would wait
//! for itself).
//!
//! Tests: `tests/thread/resize.rs` (resizing); the protocol beneath in `checks/tests/pool.rs`.

use std::io;
use std::sync::Arc;

use super::queue::Mode;
use super::registry::Registry;
use super::sleep::Need;
use super::slot::{Seat, Slot};
use super::thread_main;
use crate::loom::Mutex;
use crate::loom::thread::Builder;
use crate::thread::blocking::stall_monitor;

/// See [`Start`](super::registry::Start).
pub(in crate::thread) fn start(registry: &Arc<Registry>, need: Need) -> bool {
    match need {
        Need::Runner => start_spare(registry),
        Need::Monitor => stall_monitor::start(registry),
    }
}

/// Starts a thread in the lowest place that has none.
fn start_spare(registry: &Arc<Registry>) -> bool {
    let mut places = registry.threads.places.lock();
    if places.iter().all(Option::is_none) {
        let next = places.len() + 1;
        registry.furnish(&mut places, next);
    }
    let seat = places.iter_mut().find_map(Option::take);
    drop(places);
    seat.is_some_and(|seat| registry.start_thread(seat).is_ok())
}

impl Registry {
    /// The slots of the pool's own places.
    pub(in crate::thread) fn own_slots(&self) -> Vec<Arc<Slot>> {
        let places = self.threads.places.lock();
        let (width, slots) = (self.sleep.width(), self.slots());
        drop(places);
        let own = slots.iter().filter(|slot| slot.index() < width);
        own.cloned().collect()
    }

    /// Adds places up to this width.
    fn furnish(&self, places: &mut Vec<Option<Seat>>, width: usize) {
        let seats = self.new_seats(places.len()..width);
        places.extend(seats.into_iter().map(Some));
    }

    /// Puts back the seat of a place that has no thread now.
    fn put_back(self: &Arc<Self>, seat: Seat) {
        self.close_mailbox(&seat.slot, || true);
        let index = seat.slot.index();
        self.threads.places.lock()[index] = Some(seat);
    }

    /// Starts the threads that the pool begins with. An error: the first that the system gave.
    pub(in crate::thread) fn start_all(self: &Arc<Self>) -> io::Result<()> {
        let seats = self.new_seats(0..self.sleep.width());
        *self.threads.places.lock() = seats.iter().map(|_| None).collect();
        let started = seats.into_iter().map(|seat| self.start_thread(seat));
        started.fold(Ok(()), io::Result::and)
    }

    /// Starts a thread in one of the pool's own places, if it still is one. If the system refuses
    /// it, it is asked for again when there is work.
    fn employ(self: &Arc<Self>, seat: Seat) {
        if self.sleep.hire(seat.slot.index()) {
            let _refused = self.start_thread(seat);
        } else {
            self.put_back(seat);
        }
    }

    /// Starts a thread that has been counted; if the system refuses it, removes it from the count.
    fn start_thread(self: &Arc<Self>, seat: Seat) -> io::Result<()> {
        seat.slot.mailbox.open();
        let builder = Builder::new()
            .name(self.config.name_of(seat.slot.index()))
            .stack_size(self.config.stack_bytes());
        let registry = Arc::clone(self);
        // The seat is kept outside the closure, so that it survives if the thread does not start.
        let cradle = Arc::new(Mutex::new(Some(seat)));
        let theirs = Arc::clone(&cradle);
        // Under the lock: a thread that joins must not miss the handle (P14).
        let mut handles = self.threads.handles.lock();
        handles.running.retain(|handle| !handle.is_finished());
        let started = builder.spawn(move || {
            let seat = theirs.lock().take();
            if let Some(seat) = seat {
                let seat = thread_main::main(&registry, seat);
                registry.retired(seat);
            }
        });
        let result = started.map(|handle| handles.running.push(handle));
        drop(handles);
        if result.is_err()
            && let Some(seat) = cradle.lock().take()
        {
            // In this order: work that `put_back` queues must see that no searcher is coming.
            self.sleep.not_started();
            self.put_back(seat);
        }
        result
    }

    /// Makes the pool as wide as this; see the module. A closed pool stays as it is.
    pub(in crate::thread) fn resize(self: &Arc<Self>, width: usize) {
        if self.injector.mode() != Mode::Open {
            return;
        }
        let mut places = self.threads.places.lock();
        self.furnish(&mut places, width);
        if !self.sleep.resize(width) {
            return;
        }
        let vacant: Vec<Seat> = places[..width]
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        drop(places);
        vacant.into_iter().for_each(|seat| self.employ(seat));
        self.recheck();
    }

    /// A thread of the pool ends.
    fn retired(self: &Arc<Self>, seat: Seat) {
        let mut places = self.threads.places.lock();
        let index = seat.slot.index();
        if index < self.sleep.width() && self.injector.mode() != Mode::Closed {
            // The pool has grown again. The lock: see `resize`, which has left this place alone.
            drop(places);
            self.employ(seat);
        } else {
            places[index] = Some(seat);
        }
    }
}
