//! What code waits for at a lock, and who holds one, for those who keep track of live tasks.
//!
//! **Job.** [`Held`] is in each guard, and [`Waiting`] around each future that waits; they report
//! to `events`. While nobody keeps track, a guard costs one relaxed load, and a wait one for
//! each look that found the lock taken.
//!
//! Without the feature `inspect`, `no_lock_events.rs` replaces this file.
//!
//! **Protocol.** As at the head of `live/locks.rs` of `trefoil-trace`: [`Held`] is made after the
//! lock was taken, and dropped before it is released; what [`Waiting`] reports is taken back before
//! the future looks again, or is dropped.
//!
//! Tests: `tests/tasks/seeded.rs`.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::marker::{self, Mark};
use super::park;
use crate::events;
pub(crate) use trefoil_trace::live::{Access, Lock, LockKind};

/// What is locked, and how.
pub(crate) type At = (Lock, Access);

/// What a lock is, and where it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    kind: LockKind,
    at: &'static Location<'static>,
}

impl Made {
    /// The caller makes a lock of this kind.
    #[track_caller]
    pub(crate) const fn here(kind: LockKind) -> Self {
        let at = Location::caller();
        Self { kind, at }
    }

    /// The lock, whose place in memory this is.
    pub(crate) fn lock<T: ?Sized>(self, place: &T) -> Lock {
        Lock {
            made_at: Some(self.at),
            address: std::ptr::from_ref(place).cast::<()>().addr(),
            kind: self.kind,
        }
    }
}

/// It is dropped: guards of it that were forgotten mean nothing for the next lock in its place.
#[inline]
pub(crate) fn dropped(lock: impl FnOnce() -> Lock) {
    if events::keeps_locks() {
        events::lock_dropped(lock().address);
    }
}

/// Whose a guard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of the code that took it by a blocking call.
    Threads,
    /// That of the task that took it, or of the thread that blocks meanwhile.
    Tasks,
    /// Nobody's: it is made to be given away.
    Nobodys,
}

/// While it exists, the code that has made it holds a lock: with others if `SHARED`.
#[derive(Debug, Default)]
pub(crate) struct Held<const SHARED: bool> {
    /// Where the lock is; 0: nobody keeps track.
    address: usize,
    by: u64,
}

impl<const SHARED: bool> Held<SHARED> {
    const ACCESS: Access = if SHARED {
        Access::Shared
    } else {
        Access::Alone
    };

    #[inline]
    pub(crate) fn new(lock: impl FnOnce() -> Lock, whose: Whose) -> Self {
        if events::keeps_locks() {
            Self::noted(lock(), whose)
        } else {
            Self::default()
        }
    }

    #[cold]
    fn noted(lock: Lock, whose: Whose) -> Self {
        let mark = marker::waker();
        let is_kept = match whose {
            Whose::Nobodys => false,
            Whose::Threads => true,
            // Without a mark this may be a task of another executor, which goes on elsewhere.
            Whose::Tasks => !mark.is_null() || !marker::sole_wait().is_null(),
        };
        let mark = mark.addr();
        Self {
            address: lock.address,
            by: events::lock_taken(lock, Self::ACCESS, mark, is_kept),
        }
    }
}

impl<const SHARED: bool> Drop for Held<SHARED> {
    #[inline]
    fn drop(&mut self) {
        if self.address != 0 {
            let mark = marker::waker().addr();
            events::lock_released(self.address, Self::ACCESS, self.by, mark);
        }
    }
}

/// While it exists, this thread's wait is for one future alone, which it polls with the waker that
/// has this mark; null: for a future that may wait for several things.
pub(crate) struct Sole(Mark);

impl Sole {
    pub(crate) fn begin(mark: Mark) -> Self {
        Self(marker::replace_sole_wait(mark))
    }
}

impl Drop for Sole {
    fn drop(&mut self) {
        marker::replace_sole_wait(self.0);
    }
}

/// A thread's wait for a lock.
#[derive(Debug, Default)]
pub(crate) struct Blocked(Option<(u64, Access)>);

impl Blocked {
    /// It parks now, if it may.
    pub(crate) fn begin(&mut self, lock: Lock, access: Access) {
        if events::keeps_locks() && !park::blocking_refused() {
            self.0 = Some((events::lock_blocks(lock, access), access));
        }
    }

    /// It looks again.
    pub(crate) fn end(&mut self) {
        if let Some((who, access)) = self.0.take() {
            events::lock_unblocks(who, access);
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether this is the waker of the code that runs here: of its task, or of the loop's root future.
fn is_own(waker: &Waker) -> bool {
    let mark = marker::waker();
    !mark.is_null() && waker.data() == mark
}

/// Reports that the future which is polled with this waker waits.
#[inline]
pub(crate) fn note_pending(waker: &Waker, lock: Lock) {
    if events::keeps_locks() && is_own(waker) {
        events::lock_awaited(lock, Access::Turn);
    }
}

/// What was reported of a wait. Dropped, it takes that back.
#[derive(Debug)]
pub(crate) struct Note {
    at: At,
    blocked: Blocked,
    is_awaited: bool,
    writer: Option<u64>,
}

impl Note {
    pub(crate) fn new(at: At) -> Self {
        Self {
            at,
            blocked: Blocked::default(),
            is_awaited: false,
            writer: None,
        }
    }

    /// A look with this waker has found that it must wait.
    #[inline]
    pub(crate) fn begin(&mut self, waker: &Waker) {
        if events::keeps_locks() {
            self.begun(waker);
        }
    }

    #[cold]
    fn begun(&mut self, waker: &Waker) {
        let (lock, access) = self.at;
        let sole = marker::sole_wait();
        let is_sole = !sole.is_null() && sole == waker.data() && !park::blocking_refused();
        let is_own = is_own(waker);
        if (lock.kind, access) == (LockKind::RwLock, Access::Alone) {
            self.writer = Some(events::writer_comes(lock, is_sole || is_own));
        }
        if is_sole {
            self.blocked.begin(lock, access);
        } else if is_own {
            self.is_awaited = true;
            events::lock_awaited(lock, access);
        }
    }

    /// It looks again, or gives up.
    #[inline]
    pub(crate) fn end(&mut self) {
        if self.is_awaited || self.writer.is_some() || self.blocked.0.is_some() {
            self.ended();
        }
    }

    #[cold]
    fn ended(&mut self) {
        self.blocked.end();
        if std::mem::take(&mut self.is_awaited) {
            events::lock_left(self.at.0, self.at.1);
        }
        if let Some(who) = self.writer.take() {
            events::writer_goes(self.at.0, who);
        }
    }
}

impl Drop for Note {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

pin_project_lite::pin_project! {
    /// A future that waits for a lock or the like, and for nothing else.
    #[must_use = "it waits only when it is polled"]
    pub(crate) struct Waiting<F> {
        note: Note, // is dropped first
        #[pin]
        future: F,
    }
}

/// The future, which waits for this.
pub(crate) fn waiting<F>(future: F, at: At) -> Waiting<F> {
    let note = Note::new(at);
    Waiting { note, future }
}

impl<F: Future> Future for Waiting<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.note.end();
        let polled = this.future.poll(cx);
        if polled.is_pending() {
            this.note.begin(cx.waker());
        }
        polled
    }
}
