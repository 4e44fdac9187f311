//! The waker of the future that `block_on` was given.
//!
//! A reference to the loop behind one static table: on the loop's own thread, where it is mostly cloned,
//! woken and dropped, that costs no locked instruction (see [`raw_link`](super::raw_link)).
//!
//! - **L12** The data of a waker with our table is a [`Link`] as a pointer, which counts.
//!
//! Checked by `tests/event_loop/`.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::raw_link::Link;
use super::shared::Shared;

static ROOT: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

pub(super) fn waker(shared: Link<Shared>) -> Waker {
    // SAFETY: L12: the table's functions take what `into_raw` gave.
    unsafe { Waker::new(shared.into_raw(), &ROOT) }
}

/// The waker's link, which stays the waker's.
///
/// # Safety
/// L12: `data` is that of a waker with our table, which outlives what is returned.
unsafe fn borrow(data: *const ()) -> ManuallyDrop<Link<Shared>> {
    // SAFETY: L12: and its count is not given away, since this one is never dropped.
    ManuallyDrop::new(unsafe { Link::from_raw(data) })
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: L12: the waker that is cloned outlives this call.
    let link = unsafe { borrow(data) };
    RawWaker::new(Link::clone(&link).into_raw(), &ROOT)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: L12: the waker is consumed, so its count is ours.
    let link: Link<Shared> = unsafe { Link::from_raw(data) };
    link.wake_root();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: L12: the waker outlives this call.
    let link = unsafe { borrow(data) };
    link.wake_root();
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: L12: the waker's count is given away with it.
    drop(unsafe { Link::<Shared>::from_raw(data) });
}
