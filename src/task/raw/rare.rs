//! One word of a cell for what is rarely asked: the task's parent, or a record with the parent and
//! with what most tasks do not have.
//!
//! Most tasks need no record, and the word is the parent's number. The first caller that needs one
//! makes it. (Numbers are counted from 1 and do not reach 2^63. One that does not fit, on a system
//! with 32 bits, gets a record at once.)
//!
//! - **T28** The word is odd, twice the parent's number and one, and no address; or it is even, the
//!   address of a record of its own. It changes at most once, from odd to even, and the record is
//!   freed with it.
//!
//! Tests: below; `tests/task/handle.rs`; Miri.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering}; // set once: no protocol to model

use crate::task::extras::TaskExtras;
use crate::task::id::TaskId;

/// The word.
pub(in crate::task) struct Rare(AtomicPtr<TaskExtras>);

const _: () = assert!(align_of::<TaskExtras>() > 1);

impl Rare {
    /// That of a task with this parent.
    #[inline]
    pub(super) fn new(parent: Option<TaskId>) -> Self {
        let number = parent.map_or(0, TaskId::get);
        let word = match usize::try_from(number << 1) {
            Ok(twice) => ptr::without_provenance_mut(twice | 1),
            Err(_) => new_record(parent),
        };
        Self(AtomicPtr::new(word))
    }

    #[inline]
    fn word(&self) -> *mut TaskExtras {
        self.0.load(Ordering::Acquire) // pairs with the exchange in `get_or_make`
    }

    /// The record, if there is one.
    #[inline]
    pub(in crate::task) fn get(&self) -> Option<&TaskExtras> {
        let word = self.word();
        if word.addr() & 1 == 1 {
            return None;
        }
        // SAFETY: T28: it is even, so the address of a record, which stays while `self` is
        // borrowed.
        Some(unsafe { &*word })
    }

    /// The record, which is made if there is none.
    pub(in crate::task) fn get_or_make(&self) -> &TaskExtras {
        if self.get().is_none() {
            self.make();
        }
        self.get().expect("a word that is even stays so")
    }

    #[cold]
    fn make(&self) {
        let (word, made) = (self.word(), new_record(self.parent()));
        // Release: pairs with the `Acquire` in `word`.
        let order = (Ordering::Release, Ordering::Relaxed);
        let lost = word.addr() & 1 == 0
            || self
                .0
                .compare_exchange(word, made, order.0, order.1)
                .is_err();
        if lost {
            // SAFETY: T28: `made` comes from a box, and no other thread has seen it.
            drop(unsafe { Box::from_raw(made) }); // another thread was first
        }
    }

    /// The task whose code spawned this one.
    pub(super) fn parent(&self) -> Option<TaskId> {
        match self.get() {
            Some(record) => record.parent,
            None => TaskId::try_from((self.word().addr() >> 1) as u64).ok(),
        }
    }
}

#[cold]
fn new_record(parent: Option<TaskId>) -> *mut TaskExtras {
    Box::into_raw(Box::new(TaskExtras {
        parent,
        ..TaskExtras::default()
    }))
}

impl Drop for Rare {
    #[inline]
    fn drop(&mut self) {
        let word = *self.0.get_mut();
        if word.addr() & 1 == 0 {
            // SAFETY: T28: the address of a record of its own, which nobody borrows any more.
            unsafe { free_record(word) };
        }
    }
}

/// # Safety
/// T28: from [`new_record`], and not used again.
#[cold]
unsafe fn free_record(word: *mut TaskExtras) {
    // SAFETY: T28: the caller's promise.
    drop(unsafe { Box::from_raw(word) });
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_parent_stays_the_same_with_a_record_and_without() {
        for number in [0, 1, 7, 1 << 31, u64::MAX >> 1] {
            let parent = TaskId::try_from(number).ok();
            let rare = Rare::new(parent);
            assert_eq!(rare.parent(), parent);
            let fits = number <= (usize::MAX >> 1) as u64;
            assert_eq!(rare.get().is_none(), fits, "{number}");
            let record = ptr::from_ref(rare.get_or_make());
            assert_eq!(rare.parent(), parent);
            assert!(ptr::eq(rare.get_or_make(), record));
        }
    }

    #[test]
    fn of_many_threads_one_makes_the_record() {
        let rare = Rare::new(TaskId::try_from(3).ok());
        let all = std::thread::scope(|scope| {
            let threads =
                [(); 4].map(|()| scope.spawn(|| ptr::from_ref(rare.get_or_make()).addr()));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(all.iter().all(|address| *address == all[0]));
    }
}
