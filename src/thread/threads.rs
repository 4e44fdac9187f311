//! The threads of a pool: where they are, how they start, and how a pool is made wider and narrower.
//!
//! Every thread has a place, the lowest that was free. Those below the width make its
//! thread one of the pool's own, so that *resizing* moves none: 1. the width changes; those asleep in places that are gone
//! end; 2. places that are new and have no thread get one; 3. a look into the queues. A thread that is busy in a place that is gone
//! is a spare from then on, which ends when it is one too many: others, which stand in for threads that wait, are kept for a while. One that is on its way out
//! when its place comes back starts its own successor. A thread that the system refuses is asked for again when
//! there is work for it.
//!
//! Rejected: indices given out anew at each change (a worker's index would change in the middle of
//! its task); waiting in `resize` for threads to end (from one of the pool's own tasks, it would wait for itself).
//!
//! Tests: `tests/thread/resize.rs` (resizing); the protocol beneath in `checks/tests/pool.rs`.

use std::io;
use std::sync::Arc;

use super::queue::Mode;
use super::registry::Registry;
use super::sleep::Need;
use super::slot::{Seat, Slot};
use super::{thread_main, watch};
use crate::loom::Mutex;
use crate::loom::thread::Builder;

/// See [`Start`](super::registry::Start).
pub(super) fn start(registry: &Arc<Registry>, need: Need) -> bool {
    match need {
        Need::Runner => start_spare(registry),
        Need::Watch => watch::start(registry),
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
    pub(super) fn own_slots(&self) -> Vec<Arc<Slot>> {
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

    /// There is no thread in the place of this seat.
    fn put_back(self: &Arc<Self>, seat: Seat) {
        self.close_mailbox(&seat.slot, || true);
        let index = seat.slot.index();
        self.threads.places.lock()[index] = Some(seat);
    }

    /// Starts the threads that the pool begins with. An error: the first that the system gave.
    pub(super) fn start_all(self: &Arc<Self>) -> io::Result<()> {
        let seats = self.new_seats(0..self.sleep.width());
        *self.threads.places.lock() = seats.iter().map(|_| None).collect();
        let started = seats.into_iter().map(|seat| self.start_thread(seat));
        started.fold(Ok(()), io::Result::and)
    }

    /// Starts a thread in one of the pool's own places, if it still is one. If the system refuses it, it is asked for again when
    /// there is work.
    fn employ(self: &Arc<Self>, seat: Seat) {
        if self.sleep.hire(seat.slot.index()) {
            let _refused = self.start_thread(seat);
        } else {
            self.put_back(seat);
        }
    }

    /// Starts a thread that has been counted; if there is none to be had, it is counted off.
    fn start_thread(self: &Arc<Self>, seat: Seat) -> io::Result<()> {
        seat.slot.mailbox.open();
        let builder = Builder::new()
            .name(self.config.name_of(seat.slot.index()))
            .stack_size(self.config.stack_bytes());
        let registry = Arc::clone(self);
        // The seat lies in a cradle, so that it survives if there is no thread.
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
            // In this order: what `put_back` queues must find that no searcher comes.
            self.sleep.not_started();
            self.put_back(seat);
        }
        result
    }

    /// Makes the pool as wide as this; see the module. A closed pool stays as it is.
    pub(super) fn resize(self: &Arc<Self>, width: usize) {
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
