//! The root future of a loop while tasks are kept track of: what it waits for is known.
//!
//! Its waker is one whose clones are counted. If there is one clone besides the waker itself and
//! that of the loop, only one other thing can wake the root future.
//!
//! Tests: `tests/tasks/endings.rs::{a_guard_from_a_root_future,
//! a_root_future_with_another_wait}`.

use std::cell::OnceCell;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::shared::SharedLoop;
use crate::events::{self, Kind, Wakers};
use crate::loom::atomic::{AtomicU64, Ordering, fence};
use crate::parking::marker;
use crate::task::awaited;

/// The waker of a loop's root futures, once tasks are kept track of.
#[derive(Default)]
pub(super) struct RootWaker(OnceCell<Arc<CountedWaker>>);

struct CountedWaker {
    shared: Arc<SharedLoop>,
    /// The number of the root future.
    root: AtomicU64,
}

impl Wake for CountedWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        events::woken(self.root.load(Ordering::Relaxed));
        self.shared.wake_root();
    }
}

/// The root future that runs. Its mark is reset when this is dropped.
pub(super) struct KnownRoot<'a> {
    number: u64,
    counted: Option<&'a Arc<CountedWaker>>,
    mark_before: marker::Mark,
}

impl<'a> KnownRoot<'a> {
    pub(super) fn new(waker: &'a RootWaker, shared: &Arc<SharedLoop>, number: u64) -> Self {
        let make = || {
            Arc::new(CountedWaker {
                shared: shared.clone(),
                root: AtomicU64::new(0),
            })
        };
        let counted = events::keeps_locks().then(|| waker.0.get_or_init(make));
        let mark = |waker: &Arc<CountedWaker>| {
            waker.root.store(number, Ordering::Relaxed);
            marker::replace_root(Arc::as_ptr(waker).cast())
        };
        Self {
            number,
            counted,
            mark_before: counted.map_or(ptr::null(), mark),
        }
    }

    /// What wakes it.
    pub(super) fn waker(&self, shared: &Arc<SharedLoop>) -> Waker {
        match self.counted {
            Some(counted) => Waker::from(counted.clone()),
            None => Waker::from(shared.clone()),
        }
    }

    /// Its poll begins.
    #[inline(always)]
    pub(super) fn poll_begins(&self, site: &'static Location<'static>) {
        if events::is_on() {
            let _ = awaited::take_last(); // that of another future
            events::begun(self.number, site, Kind::Root);
        }
    }

    /// Its poll has ended, and it waits, unless it may be polled again already.
    #[inline(always)]
    pub(super) fn poll_ends(&self, may_be_polled: impl FnOnce() -> bool) {
        if events::is_on() {
            self.report_paused(may_be_polled);
        }
    }

    #[cold]
    #[inline(never)]
    fn report_paused(&self, may_be_polled: impl FnOnce() -> bool) {
        let wakers = self.counted.map_or(0, Arc::strong_count);
        fence(Ordering::Acquire); // with the drop of a waker, which has queued it before
        let wakers = match wakers {
            // This one, that of the loop, and another.
            3 if !may_be_polled() => Wakers::One,
            _ => Wakers::Many,
        };
        events::paused(self.number, awaited::last(), wakers);
    }
}

impl Drop for KnownRoot<'_> {
    fn drop(&mut self) {
        if self.counted.is_some() {
            marker::replace_root(self.mark_before);
        }
    }
}
