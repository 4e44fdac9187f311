//! Locks, channels and wakers: what `trefoil::sync` and the wakers of tasks report.
//!
//! Only the table of live tasks listens, and what begins here is called only while it does. What
//! ends may have begun in the parent of a forked child, which has no table.

use crate::live::{self, Access, Lock};
use crate::switch::Listeners;

/// Whether it is kept track of who holds which lock.
#[inline(always)]
pub fn keeps_locks() -> bool {
    Listeners::now().live()
}

/// The code that runs here has taken a lock. `mark`: that of its task (0: none). `is_kept`: the
/// guard is not made to be given to other code. Returns whose code it is, for [`lock_released`].
#[cold]
pub fn lock_taken(lock: Lock, access: Access, mark: usize, is_kept: bool) -> u64 {
    live::store().lock_taken(lock, access, mark, is_kept)
}

/// That lock is about to be released.
#[cold]
pub fn lock_released(address: usize, access: Access, by: u64, mark: usize) {
    if let Some(store) = live::made() {
        store.lock_released(address, access, by, mark);
    }
}

/// The future that is polled here has left the waker of its task with a lock.
#[cold]
pub fn lock_awaited(lock: Lock, access: Access) {
    live::store().lock_awaited(lock, access);
}

/// It looks at the lock again, or waits for it no more.
#[cold]
pub fn lock_left(lock: Lock, access: Access) {
    if let Some(store) = live::made() {
        store.lock_left(lock, access);
    }
}

/// This thread parks until the code that runs here gets the lock. Returns whose code it is, for
/// [`lock_unblocks`].
#[cold]
pub fn lock_blocks(lock: Lock, access: Access) -> u64 {
    let store = live::store();
    let who = store.lock_blocks(lock, access);
    if who != 0 && access != Access::Turn {
        live::look_for_a_deadlock(store, who);
    }
    who
}

/// It looks at the lock again, or waits for it no more.
#[cold]
pub fn lock_unblocks(who: u64, access: Access) {
    if let Some(store) = live::made() {
        store.lock_unblocks(who, access);
    }
}

/// A writer begins to wait. `is_own`: it is the code that runs here, which waits for nothing else
/// with its waker. Returns who it is, for [`writer_goes`].
#[cold]
pub fn writer_comes(lock: Lock, is_own: bool) -> u64 {
    live::store().writer_comes(lock, is_own)
}

/// That writer does not wait any more.
#[cold]
pub fn writer_goes(lock: Lock, who: u64) {
    if let Some(store) = live::made() {
        store.locks.take_writer_out(lock, who);
    }
}

/// A lock is dropped, and its address may become another one's.
#[cold]
pub fn lock_dropped(address: usize) {
    live::store().locks.forget(address);
}

/// This thread is about to sleep until another one wakes it: without a deadline, and without a
/// descriptor that may become ready. `waits`: for something that its code needs; otherwise it has
/// nothing to do. It has woken when the result is dropped.
#[inline]
pub fn falls_asleep(waits: bool) -> Option<live::Asleep> {
    if Listeners::now().live() {
        Some(live::fall_asleep(waits))
    } else {
        None
    }
}

/// The last waker of a future that sleeps is dropped, and has woken nothing.
#[cold]
pub fn orphaned(task: u64, has_handle: bool) {
    let store = live::store();
    store.orphaned(task);
    if has_handle {
        live::look_for_a_deadlock(store, task);
    } else {
        live::look_at_an_orphan(store, task);
    }
}
