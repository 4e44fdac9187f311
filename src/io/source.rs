//! A non-blocking descriptor, and the loop that waits for it.
//!
//! 1. The first operation binds the source to the loop that runs it. From then on, operations on
//!    any other thread fail.
//! 2. Every operation is tried first. If it would block, the source registers with its loop, once,
//!    and the task waits.
//! 3. After an operation with a short count, the next one in that direction waits. If the source is
//!    not registered yet, the next operation registers it first: the kernel then reports the
//!    current state, so no event in between is missed. If no edge will follow (see the reactor),
//!    the next operation waits for the loop's next turn. So a task can act between the last bytes
//!    and an end of the stream that came with them: a server can answer a request before it learns
//!    that its client sends no more.
//! 4. Dropping the source, on any thread, deregisters it here and in the kernel, and then closes
//!    the descriptor, of which duplicates may stay open.
//!
//! Operations take a shared reference: the kernel synchronises readers and writers, and the loop
//! supports any number of waiting tasks in each direction.
//!
//! Tests: `tests/io/moved.rs::a_socket_belongs_to_the_loop_of_its_first_use`,
//! `tests/io/dropped.rs::streams_lose_nothing`; against a simulated kernel, `simulated`.

#[cfg(all(test, target_os = "linux", not(loom)))]
mod simulated;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering}; // a flag that is set once: no protocol
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use rustix::io::ioctl_fionbio;

use crate::event_loop::{
    Direction, Local, Refusal, SHARED, Share, SharedLoop, SourceKey, entered_loop,
};
use crate::sys::interest::refusal;
use crate::sys::sockets::quiet;

/// An object with a non-blocking descriptor.
pub(crate) struct IoSource<T: AsFd> {
    bound: OnceLock<Bound>,
    /// The object. `None` when it was taken out of a source that is about to be dropped.
    io: Option<T>,
}

struct Bound {
    shared: Arc<SharedLoop>,
    /// The registration. The loop's thread sets it when an operation would have blocked.
    key: OnceLock<SourceKey>,
    /// For each direction, whether an operation had a short count while there was no key yet.
    short: [OnceLock<()>; 2],
    /// For each direction, how many operations it has done in the loop's present round.
    shares: [Share; 2],
}

/// The result of an operation that did not fail.
pub(super) enum Completed<R> {
    /// The operation did everything that it was asked to do.
    Full(R),
    /// The operation read or wrote less than it could have. `true`: the next call would block.
    /// `false`: it may have stopped at urgent data.
    Short(R, bool),
    /// The question is answered by what the latest event has reported. The next such question waits
    /// for another event; an operation is tried.
    Reported(R),
}

impl<R> Completed<R> {
    pub(super) fn value(self) -> R {
        match self {
            Self::Full(value) | Self::Short(value, _) | Self::Reported(value) => value,
        }
    }
}

impl Completed<usize> {
    /// The result of an operation that read or wrote `count` of `wanted` bytes. `drains`: a short
    /// count leaves nothing behind.
    pub(super) fn of(wanted: usize, count: usize, drains: bool) -> Self {
        if count > 0 && count < wanted {
            Self::Short(count, drains)
        } else {
            Self::Full(count)
        }
    }
}

/// Called before an operation that never waits, or has no source yet: a task that calls it
/// repeatedly must let others run, like one that reads and writes; and without a loop it fails, as
/// reads and writes do.
pub(super) async fn fairly() -> io::Result<()> {
    let mut refusal = Refusal::default();
    poll_fn(|cx| {
        let local = this_loop()?;
        ready!(local.budget.poll(&local.share, &mut refusal, cx));
        local.budget.complete(&local.share);
        Poll::Ready(Ok(()))
    })
    .await
}

/// The loop that runs here.
#[inline]
pub(super) fn this_loop() -> io::Result<Rc<Local>> {
    entered_loop::local().ok_or_else(no_loop)
}

#[cold]
fn no_loop() -> io::Error {
    io::Error::other(
        "this needs an event loop: use it inside trefoil::run(..) or EventLoop::block_on(..), on \
         the loop's own thread",
    )
}

impl<T: AsFd> IoSource<T> {
    /// Wraps an object whose descriptor is non-blocking.
    pub(super) fn new(io: T) -> Self {
        Self {
            bound: OnceLock::new(),
            io: Some(io),
        }
    }

    /// Makes the descriptor non-blocking and wraps the object.
    pub(super) fn nonblocking(io: T) -> io::Result<Self> {
        ioctl_fionbio(io.as_fd(), true)?;
        quiet(io.as_fd());
        Ok(Self::new(io))
    }

    pub(super) fn get_ref(&self) -> &T {
        self.io.as_ref().expect("it was not taken out")
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.io.as_mut().expect("it was not taken out")
    }

    /// Returns the object, whose descriptor the loop does not watch any more.
    pub(super) fn into_inner(mut self) -> T {
        self.release();
        self.io.take().expect("it was not taken out")
    }

    /// Whether an operation has had to wait, so that a loop watches the descriptor.
    pub(super) fn is_watched(&self) -> bool {
        let bound = self.bound.get();
        bound.is_some_and(|bound| bound.key.get().is_some())
    }

    /// Removes the registration.
    fn release(&mut self) {
        if let Some(bound) = self.bound.take()
            && let Some(&key) = bound.key.get()
        {
            bound.shared.remove_source(key, self.get_ref().as_fd());
        }
    }

    /// Tries `op` until it does not block. The future may be dropped at any time.
    pub(super) async fn operate<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<Completed<R>>,
    ) -> io::Result<R> {
        let mut operation = Operation {
            source: self,
            direction,
            refusal: Refusal::default(),
            number: SHARED,
        };
        poll_fn(|cx| operation.poll(cx, &mut op)).await
    }

    /// Calls `op`, which reads, until it does not fail with `WouldBlock`. Its result says nothing
    /// about the next call.
    pub(super) async fn reading<R>(
        &self,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let op = |io: &T| op(io).map(Completed::Full);
        self.operate(Direction::Read, op).await
    }

    /// Like [`reading`](Self::reading), for an `op` that writes.
    pub(super) async fn writing<R>(
        &self,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let op = |io: &T| op(io).map(Completed::Full);
        self.operate(Direction::Write, op).await
    }

    /// Like [`operate`](Self::operate), for `poll_…` methods: only the latest caller in each
    /// direction is woken.
    pub(super) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<Completed<R>>,
    ) -> Poll<io::Result<R>> {
        let io = self.get_ref();
        poll(&self.bound, cx, io.as_fd(), direction, &mut || op(io))
    }

    /// An empty read or write. It does not wait, whatever the kernel's buffers contain, but the
    /// loop must be the right one.
    pub(super) fn nothing(&self) -> io::Result<usize> {
        bind(&self.bound).map(|_| 0)
    }
}

/// The loop that runs here. The source belongs to it from now on; an error if it already belongs to
/// another one.
#[inline]
fn bind(bound: &OnceLock<Bound>) -> io::Result<(Rc<Local>, &Bound)> {
    let Some(local) = entered_loop::local() else {
        return Err(elsewhere(bound.get(), no_loop()));
    };
    let bound = bound.get_or_init(|| Bound {
        shared: local.shared.clone(),
        key: OnceLock::new(),
        short: Default::default(),
        shares: Default::default(),
    });
    if !Arc::ptr_eq(&bound.shared, &local.shared) {
        return Err(elsewhere(Some(bound), another_loop()));
    }
    Ok((local, bound))
}

/// The error of an operation that does not run on its source's loop. The first one is reported,
/// too, if the source has a loop: it was moved, probably by a library, and that may drop the error.
#[cold]
fn elsewhere(bound: Option<&Bound>, error: io::Error) -> io::Error {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    if let Some(bound) = bound
        && !REPORTED.swap(true, Ordering::Relaxed)
    {
        bound.shared.notice(
            "a socket or pipe was used on another thread than that of its event loop, and its user \
             got an error. Was it given to a library that moves it there? (`tokio::spawn` does, \
             and so do the WebSockets of axum: see \"Crates that want tokio\" in FROM_TOKIO.)",
        );
    }
    error
}

#[cold]
fn another_loop() -> io::Error {
    io::Error::other("this belongs to another event loop, the one that used it first: use it there")
}

#[cold]
fn inherited_loop() -> io::Error {
    io::Error::other(
        "this event loop was made before the process was forked, and cannot wait for descriptors \
         here: make another in the forked child",
    )
}

/// The part of [`IoSource::poll`] that is the same for all objects and operations. (The `async`
/// operations have no such part: it would take them a sixth more instructions.)
fn poll<R>(
    bound: &OnceLock<Bound>,
    cx: &Context<'_>,
    fd: BorrowedFd<'_>,
    direction: Direction,
    op: &mut dyn FnMut() -> io::Result<Completed<R>>,
) -> Poll<io::Result<R>> {
    let (local, bound) = bind(bound)?;
    let share = &bound.shares[direction as usize];
    ready!(local.budget.poll_as_method(share, cx));
    let polled = bound.attempt(cx, &local, fd, direction, SHARED, op);
    if polled.is_ready() {
        local.budget.complete(share);
    }
    polled
}

impl Bound {
    fn is_short(&self, direction: Direction) -> bool {
        self.short[direction as usize].get().is_some()
    }

    /// Registers the source. For a read, it counts as writable: a write is tried without waiting
    /// for the kernel's first report, unless a write had a short count before.
    #[cold]
    fn register(
        &self,
        local: &Local,
        fd: BorrowedFd<'_>,
        direction: Direction,
    ) -> io::Result<SourceKey> {
        self.can_wait()?;
        let writable = direction == Direction::Read && !self.is_short(Direction::Write);
        let key = local.register(fd, writable);
        let key = key.map_err(|error| explained(fd.as_raw_fd(), error))?;
        Ok(*self.key.get_or_init(|| key))
    }

    /// An error in a forked child: it shares the set of watched descriptors with its parent, whose
    /// events it would take.
    #[inline]
    fn can_wait(&self) -> io::Result<()> {
        match self.shared.is_foreign() {
            true => Err(inherited_loop()),
            false => Ok(()),
        }
    }

    /// Tries `op` until it waits, as the waiter with this number.
    fn attempt<R>(
        &self,
        cx: &Context<'_>,
        local: &Local,
        fd: BorrowedFd<'_>,
        direction: Direction,
        number: u64,
        mut op: impl FnMut() -> io::Result<Completed<R>>,
    ) -> Poll<io::Result<R>> {
        let register = || self.register(local, fd, direction);
        loop {
            let mut key = self.key.get().copied();
            if key.is_none() && self.is_short(direction) {
                // If the loop cannot watch it, the operation can still be tried.
                key = register().ok();
            }
            if let Some(key) = key
                && local.poll_ready(key, direction, number, cx).is_pending()
            {
                self.can_wait()?;
                return Poll::Pending;
            }
            match op() {
                Ok(Completed::Full(value)) => return Poll::Ready(Ok(value)),
                Ok(Completed::Short(value, drained)) => {
                    self.come_short(local, direction, drained);
                    return Poll::Ready(Ok(value));
                }
                Ok(Completed::Reported(value)) => match key {
                    Some(key) => {
                        self.can_wait()?;
                        ready!(local.poll_new_event(key, direction, number, cx));
                        return Poll::Ready(Ok(value));
                    }
                    // The kernel reports the present state as the first event.
                    None => _ = register()?,
                },
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => match key {
                        Some(key) => local.clear(key, direction),
                        None => _ = register()?,
                    },
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    /// Makes the next operation in this direction wait; `drained`: for an edge, if one will follow.
    fn come_short(&self, local: &Local, direction: Direction, drained: bool) {
        match self.key.get() {
            Some(&key) => local.clear_short(key, direction, drained),
            None => _ = self.short[direction as usize].set(()),
        }
    }
}

/// An error that says why the system does not watch a descriptor.
fn explained(fd: RawFd, error: io::Error) -> io::Error {
    match refusal(&error) {
        Some((kind, why)) => io::Error::new(kind, format!("descriptor {fd} {why}")),
        None => error,
    }
}

/// A task's entry among the waiters of a source; removed when it is dropped.
struct Operation<'a, T: AsFd> {
    source: &'a IoSource<T>,
    direction: Direction,
    refusal: Refusal,
    /// The entry's own number at the source's loop; `SHARED` while there is none. The number of
    /// another loop would be another task's entry here.
    number: u64,
}

impl<T: AsFd> Operation<'_, T> {
    pub(super) fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<Completed<R>>,
    ) -> Poll<io::Result<R>> {
        let (local, bound) = bind(&self.source.bound)?;
        if self.number == SHARED {
            self.number = local.next_number();
        }
        let (direction, number) = (self.direction, self.number);
        let share = &bound.shares[direction as usize];
        let io = self.source.get_ref();
        let polled = local.budget.operate(share, &mut self.refusal, cx, |cx| {
            bound.attempt(cx, &local, io.as_fd(), direction, number, || op(io))
        });
        if polled.is_ready() {
            // Making a direction ready takes out all its entries, so there is none to remove.
            self.number = SHARED;
        }
        polled
    }
}

impl<T: AsFd> Drop for Operation<'_, T> {
    fn drop(&mut self) {
        if self.number != SHARED
            && let Some(bound) = self.source.bound.get()
            && let Some(&key) = bound.key.get()
        {
            bound.shared.forget_waiter(key, self.direction, self.number);
        }
    }
}

impl<T: AsFd> Drop for IoSource<T> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for IoSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}

/// What every socket type has: a conversion from the standard library's type, and access to the
/// descriptor.
macro_rules! socket {
    ($type:ty, $std:ty) => {
        /// Takes over a socket of the standard library, with all its settings; it becomes
        /// non-blocking.
        impl TryFrom<$std> for $type {
            type Error = std::io::Error;

            fn try_from(socket: $std) -> std::io::Result<Self> {
                let source = IoSource::nonblocking(socket.into())?;
                Ok(Self { source })
            }
        }

        $crate::sys::descriptor::descriptor! { $type, source.get_ref() }
    };
}
pub(super) use socket;
