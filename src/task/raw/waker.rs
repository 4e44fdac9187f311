//! Wakers of futures: the cell itself, counted.
//!
//! A waker is one reference to the cell behind one static table, so cloning it
//! allocates nothing, and waking it puts the cell itself in the executor's queue.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::{Header, Ref, current, destroy};
use crate::task::state::Wake;

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker for as long as a poll takes: it borrows the runner's reference.
pub(super) struct Borrowed<'a> {
    waker: ManuallyDrop<Waker>,
    _runner: &'a Ref,
}

pub(super) fn borrow(runner: &Ref) -> Borrowed<'_> {
    // SAFETY: T6: the table's functions take a pointer to a live cell; never dropped, so the
    // count stays the runner's, which outlives the borrow.
    let waker = ManuallyDrop::new(unsafe { Waker::new(runner.0.as_ptr().cast(), &WAKER) });
    Borrowed {
        waker,
        _runner: runner,
    }
}

impl Deref for Borrowed<'_> {
    type Target = Waker;

    fn deref(&self) -> &Waker {
        &self.waker
    }
}

fn header(data: *const ()) -> NonNull<Header> {
    // SAFETY: T6: the data of a waker with our table is never null.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: T6: the waker that is cloned keeps the cell.
    unsafe { header(data).as_ref() }.state.retain();
    RawWaker::new(data, &WAKER)
}

unsafe fn wake(data: *const ()) {
    let ptr = header(data);
    // SAFETY: T6: the waker that is consumed keeps the cell.
    match unsafe { ptr.as_ref() }.state.wake() {
        Wake::Schedule => {
            let own = Ref::from_raw(ptr);
            own.header().note_woken();
            // SAFETY: T6, T7: `wake` added the entry's reference; `own` keeps the cell (T10).
            unsafe { (own.header().vtable.schedule)(ptr) };
        }
        Wake::Nothing => {}
        Wake::Last => destroy(ptr),
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    if current::wakes_itself(data) {
        return; // T16
    }
    let ptr = header(data);
    // SAFETY: T6: the waker keeps the cell.
    let header = unsafe { ptr.as_ref() };
    if header.state.wake_by_ref() {
        header.note_woken();
        // SAFETY: T6, T7: `wake_by_ref` added the entry's reference; the waker keeps the cell (T10).
        unsafe { (header.vtable.schedule)(ptr) };
    }
}

unsafe fn drop_waker(data: *const ()) {
    drop(Ref::from_raw(header(data)));
}
