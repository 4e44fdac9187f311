//! The places of a pool's threads, and how a pool is made wider and narrower.
//!
//! **Job.** Which thread is which, and how many there are. Every thread has a place, the lowest that was free. Those below the width make its
//! thread one of the pool's own, so that *resizing* moves nobody: 1. who is in a place that
//! is gone is dismissed; 2. the width changes; those asleep in such places end; 3. places
//! that are new and have no thread get one; 4. a look into the queues. A thread that is busy ends
//! after what it runs, and what is in its deque is stolen. One that is on its way out
//! when its place comes back starts its own successor. A thread that the system refuses is asked for again when
//! there is work for it.
//!
//! Places only grow in number; a place that nobody has keeps its seat, and with it whatever is
//! still in its deque or its post. All of them change under one lock, which also
//! makes one of two resizes the later one.
//!
//! Rejected: indices given out anew at each change (a worker's index would change in the middle of
//! its task); waiting in `resize` for who is dismissed (from one of the pool's own tasks, it would wait for itself).
//!
//! Tests: `tests/thread/crew.rs`; the protocol beneath in `checks/tests/pool.rs`.

use std::sync::Arc;

use super::idle::Role;
use super::queue::Mode;
use super::registry::Registry;
use super::worker::{Seat, Slot};

/// A place for a thread of the pool; its number is its index in the list.
pub(super) struct Place {
    slot: Arc<Slot>,
    /// While no thread has it.
    seat: Option<Seat>,
}

impl Place {
    /// The seat, if no thread has it: for a thread that is about to start.
    pub(super) fn take(&mut self) -> Option<Seat> {
        let seat = self.seat.take()?;
        self.slot.orders().dismiss(false);
        self.slot.post().come_back();
        Some(seat)
    }
}

impl Registry {
    /// The slots of the pool's own places. `None`: this process has none of its threads.
    pub(super) fn own_slots(&self) -> Option<Vec<Arc<Slot>>> {
        if self.is_foreign() {
            return None;
        }
        let places = self.places().lock();
        let own = places[..self.width()].iter();
        Some(own.map(|place| Arc::clone(&place.slot)).collect())
    }

    /// The seats of the first `width` places that have no thread; there are so many then.
    pub(super) fn vacant(&self, width: usize) -> Vec<Seat> {
        let mut places = self.places().lock();
        self.furnish(&mut places, width);
        let vacant = places[..width].iter_mut();
        vacant.filter_map(Place::take).collect()
    }

    fn furnish(&self, places: &mut Vec<Place>, width: usize) {
        let seats = self.new_seats(places.len()..width);
        places.extend(seats.into_iter().map(|seat| Place {
            slot: Arc::clone(seat.slot()),
            seat: Some(seat),
        }));
    }

    /// The seat of the lowest place that has no thread.
    pub(super) fn free_seat(&self) -> Seat {
        let mut places = self.places().lock();
        if let Some(seat) = places.iter_mut().find_map(Place::take) {
            return seat;
        }
        let next = places.len() + 1;
        self.furnish(&mut places, next);
        match places.last_mut().and_then(Place::take) {
            Some(seat) => seat,
            None => unreachable!("a place that was made just now is free"),
        }
    }

    pub(super) fn put_back(&self, seat: Seat) {
        seat.slot().post().leave();
        let index = seat.slot().index();
        self.places().lock()[index].seat = Some(seat);
    }

    /// Makes the pool as wide as this; see the module. A closed pool stays as it is.
    pub(super) fn resize(self: &Arc<Self>, width: usize) {
        if self.is_foreign() || self.injector().mode() != Mode::Open {
            return;
        }
        let mut places = self.places().lock();
        for (index, place) in places.iter().enumerate() {
            place.slot.orders().dismiss(index >= width);
        }
        self.furnish(&mut places, width);
        let Some(surplus) = self.idle().resize(width) else {
            return;
        };
        let vacant: Vec<Seat> = places[..width].iter_mut().filter_map(Place::take).collect();
        drop(places);
        surplus.iter().for_each(|slot| slot.wake());
        let mut refused = false;
        for seat in vacant {
            if refused {
                self.put_back(seat);
            } else {
                refused = !self.employ(seat);
            }
        }
        self.recheck();
    }

    /// Starts a thread in one of the pool's own places, if it still is one. False: the
    /// system has refused it.
    fn employ(self: &Arc<Self>, seat: Seat) -> bool {
        if !self.idle().hire(seat.slot().index()) {
            self.put_back(seat);
            return true;
        }
        let started = self.start_thread(seat, Role::Work).is_ok();
        if !started {
            self.idle().stillborn(Role::Work);
        }
        started
    }

    /// A thread of the pool ends.
    pub(super) fn retired(self: &Arc<Self>, seat: Seat) {
        let mut places = self.places().lock();
        let index = seat.slot().index();
        if index < self.width() && self.injector().mode() != Mode::Closed {
            // The pool has grown again. The lock: see `resize`, which has left this place alone.
            seat.slot().orders().dismiss(false);
            seat.slot().post().come_back();
            drop(places);
            self.employ(seat);
        } else {
            places[index].seat = Some(seat);
            drop(places);
        }
        self.join_ended();
    }
}
