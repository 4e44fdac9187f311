//! A thread from outside, for as long as it takes part in the pool's work.
//!
//! **Job.** Who calls `join`, `map` or `scope` on a pool without being one of its threads works along, so it needs
//! a [`Worker`] with a seat, that is, with deques that others can steal from. Seats are kept: a thread
//! that has been a guest keeps its seat until it ends, or is a guest elsewhere, or there are more
//! such threads than the pool should have to look through ([`KEPT`]); then the seat goes back to the pool, for others. So
//! a program that enters a pool a million times pays for a seat once.
//!
//! What a thread keeps refers to the pool weakly: it keeps no pool alive.
//!
//! Rejected: a seat from the pool's list each time (a lock, taken by all outside threads); one
//! for each thread for ever (a thousand threads that came once would have to be looked through by each thief).
//!
//! Tests: `tests/thread/pool.rs` (many outside threads at once; pools that come and go).

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use super::registry::Registry;
use super::worker::{Seat, Worker};
use crate::loom::per_thread;

/// A thread keeps its seat if the pool has at most so many slots for each of its workers, and some.
const KEPT: usize = 4;

/// A seat and the pool that it belongs to.
struct Kept {
    tag: u32,
    registry: Weak<Registry>,
    seat: Option<Seat>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let (Some(registry), Some(seat)) = (self.registry.upgrade(), self.seat.take()) {
            registry.put_guest_seat(seat);
        }
    }
}

per_thread! {
    static KEEP: RefCell<Option<Kept>> = RefCell::new(None);
}

fn take(registry: &Arc<Registry>) -> Option<Seat> {
    // Its `Weak` keeps the address from being used again.
    let mine = |kept: &Kept| std::ptr::eq(kept.registry.as_ptr(), Arc::as_ptr(registry));
    KEEP.try_with(|keep| {
        let mut keep = keep.borrow_mut();
        keep.as_mut().filter(|kept| mine(kept))?.seat.take()
    })
    .ok()
    .flatten()
}

/// The pool with this tag, if this thread has been its guest last.
pub(super) fn known(tag: u32) -> Option<Arc<Registry>> {
    let known = KEEP.try_with(|keep| {
        let keep = keep.borrow();
        keep.as_ref()
            .filter(|kept| kept.tag == tag)?
            .registry
            .upgrade()
    });
    known.ok().flatten()
}

fn put(registry: &Arc<Registry>, seat: Seat) {
    let few = registry.generation() <= (registry.width() + 2) * KEPT;
    let mut seat = Some(seat);
    if few {
        let before = KEEP.try_with(|keep| {
            let mut keep = keep.borrow_mut();
            match keep.as_mut() {
                Some(kept) if std::ptr::eq(kept.registry.as_ptr(), Arc::as_ptr(registry)) => {
                    if kept.seat.is_none() {
                        kept.seat = seat.take();
                    }
                    None
                }
                _ => {
                    let kept = Kept {
                        tag: registry.tag(),
                        registry: Arc::downgrade(registry),
                        seat: seat.take(),
                    };
                    keep.replace(kept)
                }
            }
        });
        drop(before);
    }
    if let Some(seat) = seat {
        registry.put_guest_seat(seat);
    }
}

/// A guest's place, given back when the guest leaves, also by unwinding.
pub(super) struct Lease(Option<Worker>);

impl Lease {
    pub(super) fn new(registry: &Arc<Registry>) -> Self {
        let seat = take(registry).unwrap_or_else(|| registry.take_guest_seat());
        Self(Some(Worker::new(Arc::clone(registry), seat, true)))
    }

    pub(super) fn with<R>(&self, f: impl FnOnce(&Worker) -> R) -> R {
        match &self.0 {
            Some(worker) => f(worker),
            None => unreachable!("a lease has its worker until it is dropped"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(worker) = self.0.take() {
            let (registry, seat) = worker.into_parts();
            put(&registry, seat);
        }
    }
}
