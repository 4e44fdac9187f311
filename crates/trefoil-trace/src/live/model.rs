//! Places for the models: threads that run tasks and change what these wait for, and readers.
//!
//! It drives the real `live::place`. It exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use super::entry::{BLOCKED, Entry, LockWait, Phase};
use super::locks::{Access, Lock, LockKind};
use super::place::{Now, Place, fence_edge};
use crate::event::Kind;

/// The places of two tasks, 1 and 2, which are queued.
pub struct Places([Place; 2]);

impl Default for Places {
    fn default() -> Self {
        let places = Self([Place::new(), Place::new()]);
        for id in [1, 2] {
            let entry = Entry::new(0, std::panic::Location::caller(), Kind::Future, 100);
            assert!(places.of(id).occupy(id, &entry));
        }
        places
    }
}

/// A wait at the lock with this address.
fn wait_at(address: usize) -> LockWait {
    let lock = Lock {
        made_at: None,
        address,
        kind: LockKind::Mutex,
    };
    LockWait {
        lock,
        access: Access::Alone,
    }
}

impl Places {
    fn of(&self, id: u64) -> &Place {
        &self.0[id as usize - 1]
    }

    /// Task `id` runs once, and then waits for `on`: all that is written has to do with `on`.
    pub fn run(&self, id: u64, on: u64) {
        let place = self.of(id);
        place.begin(10 * on, on as u32);
        place.end(&Now {
            phase: Phase::Waiting,
            since: 10 * on + 1,
            on,
            wait: Some(wait_at(on as usize)),
            flags: on as u16,
        });
    }

    /// Task `id` begins to run.
    pub fn begin(&self, id: u64) {
        self.of(id).begin(20, 2);
    }

    /// A part of the code of task `id`, which runs, blocks until the end of `on`.
    pub fn block(&self, id: u64, on: u64) {
        self.of(id).change(|entry| entry.waits(on, BLOCKED));
    }

    /// Task `id` is woken.
    pub fn wake(&self, id: u64) {
        self.of(id).wake(7);
    }

    /// Task `id` ends, and another one gets its place.
    pub fn replace(&self, id: u64, by: u64) {
        let place = self.of(id);
        let _more = place.free();
        let mut entry = Entry::new(by, std::panic::Location::caller(), Kind::Promise, by);
        entry.on = by;
        assert!(place.occupy(by, &entry));
    }

    /// What is read of task `id` is of one moment: its turn, and what it waits for.
    pub fn read(&self, id: u64) -> Option<(u32, u64)> {
        let entry = self.of(id).read(id)?;
        let Entry { on, since, .. } = entry;
        assert_eq!(entry.kind, Kind::Future);
        match entry.phase {
            Phase::Queued if since == 7 => {} // woken
            Phase::Queued => assert_eq!((on, since, entry.flags, entry.polls), (0, 100, 0, 0)),
            Phase::Running if entry.flags == BLOCKED => {}
            Phase::Running => assert_eq!((on, since), (0, 10 * u64::from(entry.thread))),
            Phase::Waiting => {
                assert_eq!((since, u64::from(entry.flags)), (10 * on + 1, on));
                assert_eq!(entry.wait, Some(wait_at(on as usize)));
            }
        }
        Some((entry.turn, on))
    }

    /// Task `id` waits for the other one from now on. Returns whether that waits, too, as a thread
    /// sees it that looks for a circle.
    pub fn wait_and_look(&self, id: u64, is_fenced: bool) -> bool {
        let other = 3 - id;
        self.run(id, other);
        if is_fenced {
            fence_edge();
        }
        self.of(other).leads_on()
    }

    /// Has the store keep a name of task `id`. False: it has ended, so the name is not kept.
    pub fn name(&self, id: u64) -> bool {
        self.of(id).set_more(id)
    }

    /// Task `id` ends. True: its name is removed.
    pub fn end(&self, id: u64) -> bool {
        self.of(id).free()
    }
}
