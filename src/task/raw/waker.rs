//! Wakers of futures: each is a counted reference to the cell.
//!
//! All have one static vtable. Cloning a waker allocates nothing, and waking it puts the cell
//! itself into the executor's queue.
//!
//! Tests: models, Miri.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::entered_task;
use super::header::{Header, TaskRef};
#[cfg(feature = "inspect")]
use super::list;
use super::run::destroy;
#[cfg(feature = "inspect")]
use crate::events;
use crate::task::state::Wake;

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker for one poll: it borrows the runner's reference.
///
/// # Safety
/// T6: `runner` outlives it.
pub(super) unsafe fn borrow(runner: &TaskRef) -> ManuallyDrop<Waker> {
    // SAFETY: T6: the table's functions take a pointer to a live cell; never dropped, so the
    // count stays the runner's, which outlives it (the caller's promise).
    ManuallyDrop::new(unsafe { Waker::new(runner.0.as_ptr().cast(), &WAKER) })
}

/// # Safety
/// T6: `data` is that of a waker with our table.
unsafe fn header(data: *const ()) -> NonNull<Header> {
    // SAFETY: T6: such data is the address of a cell, never null.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: T6: it is the data of a waker with our table.
    let ptr = unsafe { header(data) };
    // SAFETY: T6: the waker that is cloned keeps the cell, and outlives this call.
    unsafe { ptr.as_ref() }.state.retain();
    RawWaker::new(data, &WAKER)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: T6: it is the data of a waker with our table.
    let ptr = unsafe { header(data) };
    // SAFETY: T6: the waker that is consumed keeps the cell, until `wake` gives its count away.
    match unsafe { ptr.as_ref() }.state.wake() {
        Wake::Schedule => {
            // SAFETY: T6: the waker is consumed, and its count stayed with it (`Wake::Schedule`):
            // it becomes ours.
            let own = unsafe { TaskRef::from_raw(ptr) };
            own.header().note_woken();
            // SAFETY: T6: `wake` added the entry's reference, and `own` keeps the cell meanwhile
            // (T10); T7: the function is from its own vtable.
            unsafe { (own.header().vtable.schedule)(ptr) };
        }
        Wake::Nothing => {}
        // SAFETY: T4: the waker's reference was the last, and it is consumed.
        Wake::Last => unsafe { destroy(ptr) },
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    if entered_task::wakes_itself(data) {
        return; // T16
    }
    // SAFETY: T6: it is the data of a waker with our table.
    let ptr = unsafe { header(data) };
    // SAFETY: T6: the waker keeps the cell, and outlives this call.
    let header = unsafe { ptr.as_ref() };
    if header.state.wake_by_ref() {
        header.note_woken();
        // SAFETY: T6: `wake_by_ref` added the entry's reference, and the waker keeps the cell
        // meanwhile (T10); T7: the function is from its own vtable.
        unsafe { (header.vtable.schedule)(ptr) };
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: T6: it is the data of a waker with our table.
    let ptr = unsafe { header(data) };
    #[cfg(feature = "inspect")]
    if events::is_on() {
        // SAFETY: T6: the waker goes, and its count with it.
        return unsafe { drop_counted(ptr) };
    }
    // SAFETY: T6: the waker goes, and its count becomes ours.
    drop(unsafe { TaskRef::from_raw(ptr) });
}

/// Drops a waker; if it was the last of a future that sleeps, records that nothing can wake that.
///
/// # Safety
/// T6: `ptr` is a live cell, and one count of it is the caller's to give away.
#[cfg(feature = "inspect")]
#[cold]
#[inline(never)]
unsafe fn drop_counted(ptr: NonNull<Header>) {
    // SAFETY: T6: the caller's count keeps the cell until it is released, two lines below.
    let header = unsafe { ptr.as_ref() };
    let (id, kept) = (header.birth.id, header.vtable.kept);
    let Some(kept) = kept else {
        // SAFETY: T6: the caller's promise.
        return drop(unsafe { TaskRef::from_raw(ptr) });
    };
    let (is_last, orphan) = header.state.release_waker(kept);
    if is_last {
        // SAFETY: T4: that was the last reference, and the cell is not used any more.
        unsafe { destroy(ptr) };
    }
    if let Some(has_handle) = orphan
        && !list::has(id)
    {
        events::orphaned(id.get(), has_handle);
    }
}
