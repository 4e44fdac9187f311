//! Locks of which nothing is noted: replaces `lock_events.rs` without the feature `inspect`.
//!
//! No lock, guard or wait is larger for these types, and the functions do nothing.
#![cfg_attr(loom, allow(dead_code))] // some locks have no model

use std::task::Waker;

use super::marker::Mark;

/// How a lock is held or wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// By one alone.
    Alone,
    /// With others.
    Shared,
    /// It has no holders: an event, a channel.
    Turn,
}

/// The types of `sync`.
#[derive(Clone, Copy)]
pub(crate) enum LockKind {
    Mutex,
    RwLock,
    ReentrantMutex,
    OnceCell,
    Semaphore,
    Event,
    Barrier,
    Condvar,
    Channel,
    Watch,
    Broadcast,
}

/// In place of a lock.
#[derive(Clone, Copy)]
pub(crate) struct Lock;

pub(crate) type At = (Lock, Access);

/// In place of where a lock was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made;

impl Made {
    pub(crate) const fn here(_: LockKind) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn lock<T: ?Sized>(self, _: &T) -> Lock {
        Lock
    }
}

#[inline(always)]
pub(crate) fn dropped(_: impl FnOnce() -> Lock) {}

/// Whose a guard is: see `lock_events.rs`.
pub(crate) enum Whose {
    Threads,
    Tasks,
    Nobodys,
}

/// In place of what a guard notes.
#[derive(Debug, Default)]
pub(crate) struct Held<const SHARED: bool>(());

impl<const SHARED: bool> Held<SHARED> {
    #[inline(always)]
    pub(crate) fn new(_: impl FnOnce() -> Lock, _: Whose) -> Self {
        Self(())
    }
}

impl<const SHARED: bool> Drop for Held<SHARED> {
    #[inline(always)]
    fn drop(&mut self) {}
}

/// In place of what a blocking wait for one future notes.
pub(crate) struct Sole;

impl Sole {
    #[inline(always)]
    pub(crate) fn begin(_: Mark) -> Self {
        Self
    }
}

/// In place of what a blocking wait notes.
#[derive(Default)]
pub(crate) struct Blocked(());

impl Blocked {
    #[inline(always)]
    pub(crate) fn begin(&mut self, _: Lock, _: Access) {}

    #[inline(always)]
    pub(crate) fn end(&mut self) {}
}

#[inline(always)]
pub(crate) fn note_pending(_: &Waker, _: Lock) {}

/// The future itself.
#[inline(always)]
pub(crate) fn waiting<F>(future: F, _: At) -> F {
    future
}
