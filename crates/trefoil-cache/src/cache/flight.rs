//! Computations that are under way in this process.
//!
//! The first caller of a key *leads*: it computes. Others wait for it, and then read what it has
//! stored. A thread that leads one computation does not wait for another: two threads could wait
//! for each other, and one that helps while it waits could wait for what lies below on its own
//! stack. It computes as well; at worst one result is computed twice.
//!
//! A map leads all items that it has given to an executor, also those that have not begun. A thread
//! of a pool never waits for these: it may be what they need to begin.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use trefoil::thread::current_index;
use trefoil::{Completer, SharedTask};

use crate::key::Key;

thread_local! {
    /// How many computations this thread leads.
    static LEADS: Cell<usize> = const { Cell::new(0) };
}

/// All computations under way.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, Flight>>);

#[derive(Debug)]
struct Flight {
    ended: SharedTask<bool>,
    /// It may not have begun.
    is_queued: bool,
}

/// What a caller of a key is to do.
pub(crate) enum Turn {
    /// Compute; others wait until this is dropped.
    Lead(Leading),
    /// Wait for the one that computes: for whether it has come to the end.
    Wait(SharedTask<bool>),
    /// Compute; nobody waits for this.
    Compute,
}

impl Flights {
    /// `is_queued`: whoever leads begins later, perhaps on another thread.
    pub(crate) fn turn(self: &Arc<Self>, key: Key, is_queued: bool) -> Turn {
        let mut flights = self.0.lock();
        match flights.entry(key) {
            Entry::Occupied(flight) if flight.get().is_queued && current_index().is_some() => {
                Turn::Compute
            }
            Entry::Occupied(flight) => Turn::Wait(flight.get().ended.clone()),
            Entry::Vacant(free) => {
                let (completer, task) = Completer::new();
                let ended = task.shared();
                free.insert(Flight { ended, is_queued });
                Turn::Lead(Leading {
                    flights: self.clone(),
                    key,
                    has_computed: false,
                    completer: Some(completer),
                })
            }
        }
    }
}

/// A computation that others may wait for.
#[derive(Debug)]
pub(crate) struct Leading {
    flights: Arc<Flights>,
    key: Key,
    has_computed: bool,
    completer: Option<Completer<bool>>,
}

impl Leading {
    /// Ends it, after a computation that was not dropped before its end.
    pub(crate) fn computed(mut self) {
        self.has_computed = true;
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock();
        let ended = flights.remove(&self.key);
        drop(flights);
        if let Some(completer) = self.completer.take() {
            completer.complete(Ok(self.has_computed));
        }
        drop(ended);
    }
}

/// Whether this thread leads a computation, and so must not wait for others.
pub(crate) fn leads() -> bool {
    LEADS.get() > 0
}

/// Runs a computation that this thread leads.
pub(crate) fn leading<T>(compute: impl FnOnce() -> T) -> T {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            LEADS.set(LEADS.get() - 1);
        }
    }
    LEADS.set(LEADS.get() + 1);
    let _back = Back;
    compute()
}
