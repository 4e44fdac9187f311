//! A value that those may use who are in its line.
//!
//! - **S5** While an [`Alone`] exists, its maker is alone in the line of its value; while a
//!   [`Together`] exists, its maker is there with others. Each leaves when it is dropped, and the
//!   value is used in no other way. So an `Alone` exists together with no other of the two.
//!
//! Tests: `tests/sync/locks.rs`; `tests/interpreted.rs`, which Miri runs.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::line::Line;
use crate::loom::UnsafeCell;
use crate::parking::lock_events::{Access, Held, LockKind, Whose};

/// A value that is used by one at a time.
pub(super) struct One;
/// A value that may also be used by many together.
pub(super) struct Many;

pub(super) struct Locked<K, T: ?Sized> {
    _by: PhantomData<K>,
    line: Line,
    value: UnsafeCell<T>,
}

// SAFETY: S5: it gives a `&mut T` to one at a time, on any thread.
unsafe impl<T: Send + ?Sized> Sync for Locked<One, T> {}
// SAFETY: S5: the same, or a `&T` to many.
unsafe impl<T: Send + Sync + ?Sized> Sync for Locked<Many, T> {}

/// What has a value with a line.
pub(super) trait Lock {
    type By;
    type Value: ?Sized;
    fn locked(&self) -> &Locked<Self::By, Self::Value>;
}

impl<K, T: ?Sized> Lock for Locked<K, T> {
    type By = K;
    type Value = T;

    #[inline]
    fn locked(&self) -> &Locked<K, T> {
        self
    }
}

/// The use of a value by one alone, through `L`, a `&` or an `Arc`, which leads to the same lock
/// each time. It may be sent wherever `L` may: one of [`Many`] only if the value may be shared
/// among threads, because [`Alone::share`] may follow there, and others share it here.
pub(super) struct Alone<L: Deref<Target: Lock>> {
    lock: L,
    held: Held<false>,
}

// SAFETY: S5: where it is shared, it gives a `&T`.
unsafe impl<L: Deref<Target: Lock<Value: Sync>>> Sync for Alone<L> {}

/// The use of a value together with others. (It has no reference: the value may be written while
/// this is dropped.)
pub(super) struct Together<'a, T: ?Sized> {
    line: &'a Line,
    value: NonNull<T>,
    held: Held<true>,
}

// SAFETY: S5: it gives a `&T`, and leaves the line on any thread.
unsafe impl<T: Sync + ?Sized> Send for Together<'_, T> {}
// SAFETY: S5: it gives a `&T`.
unsafe impl<T: Sync + ?Sized> Sync for Together<'_, T> {}

impl<K, T> Locked<K, T> {
    #[track_caller]
    pub(super) const fn new(kind: LockKind, value: T) -> Self {
        Self {
            _by: PhantomData,
            line: Line::new(kind),
            value: UnsafeCell::new(value),
        }
    }

    pub(super) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<K, T: ?Sized> Locked<K, T> {
    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<'a, T: ?Sized> Together<'a, T> {
    /// Uses the value together with others, if it need not wait for that.
    #[inline]
    pub(super) fn try_new(lock: &'a Locked<Many, T>, whose: Whose) -> Option<Self> {
        let enters = lock.line.try_enter(Access::Shared);
        enters.then(|| Self::entered(lock, whose))
    }

    pub(super) async fn new(lock: &'a Locked<Many, T>, whose: Whose) -> Self {
        lock.line.enter(Access::Shared).await;
        Self::entered(lock, whose)
    }

    /// The caller is in the line, with others (S5).
    #[inline]
    fn entered(lock: &'a Locked<Many, T>, whose: Whose) -> Self {
        let (line, value) = (&lock.line, lock.value.with_mut(NonNull::new));
        Self {
            line,
            value: value.expect("a value has an address"),
            held: Held::new(|| line.lock(), whose),
        }
    }
}

impl<L: Deref<Target: Lock>> Alone<L> {
    /// Uses the value alone, if it need not wait for that.
    #[inline]
    pub(super) fn try_new(lock: L, whose: Whose) -> Option<Self> {
        let enters = lock.locked().line.try_enter(Access::Alone);
        enters.then(|| Self::entered(lock, whose))
    }

    pub(super) async fn new(lock: L, whose: Whose) -> Self {
        lock.locked().line.enter(Access::Alone).await;
        Self::entered(lock, whose)
    }

    /// The caller is in the line, alone (S5).
    #[inline]
    fn entered(lock: L, whose: Whose) -> Self {
        let held = Held::new(|| lock.locked().line.lock(), whose);
        Self { lock, held }
    }

    /// What it was made with.
    pub(super) fn lock(&self) -> &L {
        &self.lock
    }
}

impl<'a, T: ?Sized> Alone<&'a Locked<Many, T>> {
    /// Goes on together with others.
    pub(super) fn share(mut self) -> Together<'a, T> {
        self.held = Held::default(); // first
        let lock = self.lock;
        std::mem::forget(self); // it stays in the line
        lock.line.share();
        Together::entered(lock, Whose::Tasks)
    }
}

impl<T: ?Sized> Deref for Together<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: S5: the value lives as long as its line, and nobody writes while this exists.
        unsafe { self.value.as_ref() }
    }
}

impl<L: Deref<Target: Lock>> Deref for Alone<L> {
    type Target = <L::Target as Lock>::Value;

    #[inline]
    fn deref(&self) -> &Self::Target {
        let read = |value: *const _| {
            // SAFETY: S5: it is alone.
            unsafe { &*value }
        };
        self.lock.locked().value.with(read)
    }
}

impl<L: Deref<Target: Lock>> DerefMut for Alone<L> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        let write = |value: *mut _| {
            // SAFETY: S5: it is alone.
            unsafe { &mut *value }
        };
        self.lock.locked().value.with_mut(write)
    }
}

impl<T: ?Sized> Drop for Together<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.held = Held::default(); // first
        self.line.leave(Access::Shared);
    }
}

impl<L: Deref<Target: Lock>> Drop for Alone<L> {
    #[inline]
    fn drop(&mut self) {
        self.held = Held::default(); // first
        self.lock.locked().line.leave(Access::Alone);
    }
}
