//! Values that belong to a task, on whatever thread its code runs.
//!
//! **Protocol.** 1. A scope has a value. While its future is polled, or its closure runs, the value
//! is in a thread-local, with the mark of the task that runs here ([`marker`]). 2. When the poll or
//! the call has ended, even by unwinding, the previous value is restored.
//! 3. Code sees the value only while the marker is the same. A thread that waits inside the scope
//!    may run another task meanwhile, which must see the same value as on any other thread.
//!
//! While code reads a value, it shares it (`Rc`) and does not borrow the thread-local, so it may
//! enter another scope.
//!
//! Tests: `tests/task/local.rs`.

use std::cell::RefCell;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread::LocalKey as ThreadLocal;

use pin_project_lite::pin_project;

use crate::parking::marker;

/// Declares task-locals: statics of the type [`LocalKey`], which have a value inside a scope.
///
/// ```
/// trefoil::task_local! {
///     /// On whose behalf this code runs.
///     pub static USER: String;
///     static REQUEST: u64;
/// }
///
/// trefoil::run(REQUEST.scope(7, async {
///     assert_eq!(REQUEST.get(), 7);
///     assert!(USER.try_with(|_| ()).is_err());
///     // What is spawned has it where that is asked for.
///     let with = trefoil::spawn(REQUEST.inherit(async { REQUEST.get() }));
///     let without = trefoil::spawn(async { REQUEST.try_with(|_| ()).is_err() });
///     assert_eq!(with.await.unwrap(), 7);
///     assert!(without.await.unwrap());
/// }));
/// ```
#[macro_export]
macro_rules! task_local {
    ($($(#[$meta:meta])* $visible:vis static $name:ident: $type:ty);* $(;)?) => {
        $(
            $(#[$meta])*
            $visible static $name: $crate::task::LocalKey<$type> = {
                ::std::thread_local! {
                    static SLOT: $crate::task::LocalSlot<$type> = const { $crate::task::LocalSlot::new() };
                }
                $crate::task::LocalKey::new(SLOT)
            };
        )*
    };
}

/// A task-local, as [`task_local!`](crate::task_local) declares it.
///
/// A scope gives it a value, for a future ([`scope`](LocalKey::scope)) or a call
/// ([`sync_scope`](LocalKey::sync_scope)), on any executor of this process and on other runtimes. A
/// task that is spawned inside, or a future that is added to a `TaskGroup`, has no value, unless it
/// is passed on with [`inherit`](LocalKey::inherit) or [`inherit_sync`](LocalKey::inherit_sync).
/// What `join`, `scope`, `map` and `install` of a pool run may have none: get the value before, and
/// let them borrow it.
///
/// Cost: an allocation and a few thread-local accesses for each poll of a scope.
///
/// ```
/// trefoil::task_local! {
///     static USER: String;
/// }
///
/// let name = USER.sync_scope("Ada".to_owned(), || USER.with(String::clone));
/// assert_eq!(name, "Ada");
/// assert!(USER.try_with(String::clone).is_err()); // outside of the scope
/// ```
pub struct LocalKey<T: 'static> {
    slot: ThreadLocal<LocalSlot<T>>,
}

/// Where a task-local's value is while its scope's code runs.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "it is the macro's")]
pub struct LocalSlot<T>(RefCell<Option<LocalValue<T>>>);

impl<T> LocalSlot<T> {
    #[expect(clippy::new_without_default, reason = "it is the macro's")]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }
}

/// A value, and the mark of the task that has it.
struct LocalValue<T> {
    value: Rc<T>,
    mark: *const (),
}

impl<T> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(slot: ThreadLocal<LocalSlot<T>>) -> Self {
        Self { slot }
    }

    /// Wraps `future`, so that its code finds `value` in this key. Scopes nest: the innermost
    /// counts.
    ///
    /// # Cancel safety
    /// The returned future is as cancel safe as `future`. The value is also in place while `future`
    /// is dropped.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> impl Future<Output = F::Output> {
        self.scope_of(Some(value), future)
    }

    /// Calls `f`; its code finds `value` in this key.
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let mut value = Some(value);
        let _placed = ValueInKey::new(self, &mut value);
        f()
    }

    /// Wraps `future`, so that its code finds the value that this key has *here and now*. Use it
    /// for a future that will be spawned. If there is no value here, this is `future` unchanged.
    ///
    /// ```
    /// trefoil::task_local! { static DEPTH: u32; }
    ///
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// let task = DEPTH.sync_scope(3, || pool.spawn_async(DEPTH.inherit(async { DEPTH.get() + 1 })));
    /// assert_eq!(task.join().unwrap(), 4);
    /// ```
    pub fn inherit<F: Future>(&'static self, future: F) -> impl Future<Output = F::Output>
    where
        T: Clone,
    {
        self.scope_of(self.try_with(T::clone).ok(), future)
    }

    /// Wraps a closure, as [`inherit`](LocalKey::inherit) wraps a future:
    /// `pool.spawn(KEY.inherit_sync(|| ..))`.
    pub fn inherit_sync<R, F: FnOnce() -> R>(
        &'static self,
        f: F,
    ) -> impl FnOnce() -> R + use<T, R, F>
    where
        T: Clone,
    {
        let value = self.try_with(T::clone).ok();
        move || match value {
            Some(value) => self.sync_scope(value, f),
            None => f(),
        }
    }

    fn scope_of<F: Future>(&'static self, value: Option<T>, future: F) -> LocalFuture<T, F> {
        LocalFuture {
            key: self,
            value,
            future: Some(future),
        }
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    /// If there is no value here: this code is outside all scopes of the key, or in a task that was
    /// spawned (or a future that was added to a group) inside one and has not inherited it.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Calls `f` with the value.
    ///
    /// # Errors
    /// [`AccessError`] if there is no value here; see [`with`](LocalKey::with).
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let find = |slot: &LocalSlot<T>| {
            let entry = slot.0.borrow();
            let entry = entry
                .as_ref()
                .filter(|entry| entry.mark == marker::current());
            entry.map(|entry| entry.value.clone())
        };
        let value = self.slot.try_with(find).ok().flatten();
        value.map(|value| f(&value)).ok_or(AccessError)
    }

    /// A clone of the value.
    ///
    /// # Panics
    /// See [`with`](LocalKey::with).
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }
}

debug!(impl<T> LocalKey<T>, self);

/// Moves a value into its key. Dropping it moves the value back to its place.
struct ValueInKey<'a, T: 'static> {
    key: &'static LocalKey<T>,
    place: &'a mut Option<T>,
    /// The value that is not in the key now: first the new one, and later the previous one.
    other: Option<LocalValue<T>>,
    is_swapped: bool,
}

impl<'a, T> ValueInKey<'a, T> {
    /// Without a value, nothing changes.
    fn new(key: &'static LocalKey<T>, place: &'a mut Option<T>) -> Self {
        let mark = marker::current();
        let other = place.take().map(|value| LocalValue {
            value: Rc::new(value),
            mark,
        });
        let mut placed = Self {
            key,
            place,
            is_swapped: other.is_some(),
            other,
        };
        placed.swap();
        placed
    }

    fn swap(&mut self) {
        if self.is_swapped {
            let swap = |slot: &LocalSlot<T>| mem::swap(&mut *slot.0.borrow_mut(), &mut self.other);
            let _ = self.key.slot.try_with(swap); // an ending thread has no such place
        }
    }
}

impl<T> Drop for ValueInKey<'_, T> {
    fn drop(&mut self) {
        self.swap();
        if self.is_swapped {
            // No code reads the value any more, because all readers are inside the scope.
            let value = self.other.take().map(|entry| entry.value);
            *self.place = value.and_then(Rc::into_inner);
        }
    }
}

pin_project! {
    /// What [`LocalKey::scope`] and [`LocalKey::inherit`] return.
    struct LocalFuture<T: 'static, F> {
        key: &'static LocalKey<T>,
        value: Option<T>,
        // `None`: it has ended.
        #[pin]
        future: Option<F>,
    }

    impl<T, F> PinnedDrop for LocalFuture<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _placed = ValueInKey::new(this.key, this.value);
            this.future.set(None);
        }
    }
}

impl<T, F: Future> Future for LocalFuture<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _placed = ValueInKey::new(this.key, this.value);
        let future = this.future.as_mut().as_pin_mut();
        let poll = future
            .expect("a future is not polled after its end")
            .poll(cx);
        if poll.is_ready() {
            this.future.set(None);
        }
        poll
    }
}

/// A task-local has no value here; see [`LocalKey::with`].
///
/// ```
/// trefoil::task_local! { static USER: String }
/// let outside = USER.try_with(String::clone);
/// assert_eq!(outside, Err(trefoil::task::AccessError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError;

impl_error!(
    impl AccessError,
    self,
    f,
    f.write_str(
        "this task-local has no value here: set one with `scope`, and wrap in `inherit` what is \
     spawned inside"
    )
);
