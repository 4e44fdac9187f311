//! A value that is made at its first use.
//!
//! One at a time may make it: who has set a flag. A waiter first listens, and then looks for the
//! value and at the flag; who makes the value first clears the flag, with or without a value, and
//! then wakes all. So one of the two sees the other.
//!
//! Tests: `tests/sync/sync.rs::a_cell_is_filled_once_whoever_comes_first`,
//! `tests/sync/locks.rs::a_value_is_made_by_the_next_one`,
//! `tests/sync/refused.rs::workers_that_wait_for_a_value_are_replaced`.

use std::fmt;
use std::sync::OnceLock;

use super::wait_list::WaitList;
use crate::large::is_large;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{Access, Held, LockKind, Whose};

/// A value that is made once, by the thread or task that first asks for it; others wait meanwhile.
///
/// If what makes it fails, panics or is dropped, the next one that waits makes it.
///
/// ```
/// use trefoil::sync::OnceCell;
///
/// static NAME: OnceCell<String> = OnceCell::new();
///
/// trefoil::run(async {
///     let name = NAME.get_or_init(async || "trefoil".to_owned()).await;
///     assert_eq!(name, "trefoil");
/// });
/// assert_eq!(NAME.get_or_init_blocking(|| unreachable!()), "trefoil");
/// ```
pub struct OnceCell<T> {
    is_made_now: AtomicBool,
    list: WaitList,
    inside: OnceLock<T>,
}

/// The right to make the value. When it is dropped without one, a waiter gets it.
struct Maker<'a, T> {
    cell: &'a OnceCell<T>,
    held: Held<false>,
}

impl<'a, T> Maker<'a, T> {
    fn set(self, value: T) -> &'a T {
        if const { is_large::<T>() } {
            let value = Box::new(value); // std passes it through some functions
            return self.cell.inside.get_or_init(|| *value);
        }
        self.cell.inside.get_or_init(|| value)
    }
}

impl<T> Drop for Maker<'_, T> {
    fn drop(&mut self) {
        self.held = Held::default(); // first
        self.cell.is_made_now.store(false, Ordering::SeqCst);
        self.cell.list.waiters.wake_all();
    }
}

impl<T> OnceCell<T> {
    /// Makes an empty cell.
    #[must_use]
    #[track_caller]
    pub const fn new() -> Self {
        Self {
            is_made_now: AtomicBool::new(false),
            list: WaitList::new(LockKind::OnceCell),
            inside: OnceLock::new(),
        }
    }

    /// The value, or the right to make it; `None`: another makes it. While a value is made, its
    /// maker counts as the holder of a lock.
    fn look(&self, whose: Whose) -> Option<Result<&T, Maker<'_, T>>> {
        if let Some(value) = self.get() {
            return Some(Ok(value));
        }
        if self.is_made_now.swap(true, Ordering::SeqCst) {
            return None;
        }
        let held = Held::new(|| self.list.at(Access::Alone).0, whose);
        let maker = Maker { cell: self, held };
        Some(self.get().ok_or(maker)) // it may have been made meanwhile
    }

    /// The value, or the right to make it, after waiting while another makes it.
    async fn value_or_maker(&self) -> Result<&T, Maker<'_, T>> {
        let look = || self.look(Whose::Tasks);
        self.list.until(Access::Alone, look).await
    }

    /// Whether there is a value.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.get().is_some()
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.inside.get()
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.inside.get_mut()
    }

    /// Takes the value out; the cell is empty then.
    pub fn take(&mut self) -> Option<T> {
        self.inside.take()
    }

    /// The value, if there is one.
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.inside.into_inner()
    }

    /// Waits until there is a value.
    ///
    /// Cancel safe.
    pub async fn wait(&self) -> &T {
        self.list.until(Access::Turn, || self.get()).await
    }

    /// Waits for the value, blocking this thread: see [`wait`](Self::wait).
    ///
    /// # Panics
    /// On an event loop's thread, if there is no value: [there](crate::sync#blocking) use
    /// `wait().await`.
    #[track_caller]
    pub fn wait_blocking(&self) -> &T {
        match self.get() {
            Some(value) => value,
            None => wait_for(self.wait(), "OnceCell::wait"),
        }
    }

    /// The value; if there is none, makes it by `make`, or waits while another makes it.
    ///
    /// If this is dropped, so is the future of `make`, and the next one that waits makes the value.
    pub async fn get_or_init<F: Future<Output = T>>(&self, make: impl FnOnce() -> F) -> &T {
        match self.value_or_maker().await {
            Ok(value) => value,
            Err(maker) => maker.set(make().await),
        }
    }

    /// Gets or makes the value, blocking this thread: see [`get_or_init`](Self::get_or_init).
    /// `make` runs on it.
    ///
    /// # Panics
    /// On an event loop's thread, while another makes the value: [there](crate::sync#blocking) use
    /// `get_or_init(..).await`. Also if `make` panics.
    #[track_caller]
    pub fn get_or_init_blocking(&self, make: impl FnOnce() -> T) -> &T {
        match self.value_or_maker_blocking("OnceCell::get_or_init") {
            Ok(value) => value,
            Err(maker) => maker.cell.inside.get_or_init(make),
        }
    }

    /// The value; if there is none, tries to make it by `make`, or waits while another does.
    ///
    /// # Errors
    /// That of `make`; the next one that waits tries it.
    pub async fn get_or_try_init<E, F: Future<Output = Result<T, E>>>(
        &self,
        make: impl FnOnce() -> F,
    ) -> Result<&T, E> {
        match self.value_or_maker().await {
            Ok(value) => Ok(value),
            Err(maker) => Ok(maker.set(make().await?)),
        }
    }

    /// Gets or makes the value, blocking this thread: see
    /// [`get_or_try_init`](Self::get_or_try_init). `make` runs on it.
    ///
    /// # Errors
    /// That of `make`.
    ///
    /// # Panics
    /// On an event loop's thread, while another makes the value: [there](crate::sync#blocking) use
    /// `get_or_try_init(..).await`. Also if `make` panics.
    #[track_caller]
    pub fn get_or_try_init_blocking<E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        match self.value_or_maker_blocking("OnceCell::get_or_try_init") {
            Ok(value) => Ok(value),
            Err(maker) => Ok(maker.set(make()?)),
        }
    }

    /// The value is not made inside the wait: a worker that makes it does not count as waiting.
    #[track_caller]
    fn value_or_maker_blocking(&self, method: &str) -> Result<&T, Maker<'_, T>> {
        match self.look(Whose::Threads) {
            Some(looked) => looked,
            None => wait_for(self.value_or_maker(), method),
        }
    }

    /// Sets the value, waiting while another makes it.
    ///
    /// # Errors
    /// The value, if there is one already.
    pub async fn set(&self, value: T) -> Result<&T, T> {
        match self.value_or_maker().await {
            Ok(_) => Err(value),
            Err(maker) => Ok(maker.set(value)),
        }
    }

    /// Sets the value, blocking this thread: see [`set`](Self::set).
    ///
    /// # Errors
    /// The value, if there is one already.
    ///
    /// # Panics
    /// On an event loop's thread, while another makes the value: [there](crate::sync#blocking) use
    /// `set(..).await`.
    #[track_caller]
    pub fn set_blocking(&self, value: T) -> Result<&T, T> {
        wait_for(self.set(value), "OnceCell::set")
    }

    /// Sets the value if there is none and nobody makes it.
    ///
    /// # Errors
    /// The value, if there is one or somebody makes it.
    pub fn try_set(&self, value: T) -> Result<(), T> {
        match self.look(Whose::Tasks) {
            Some(Err(maker)) => {
                maker.set(value);
                Ok(())
            }
            _ => Err(value),
        }
    }
}

impl<T> Default for OnceCell<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        let inside = OnceLock::from(value);
        Self {
            inside,
            ..Self::new()
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inside.fmt(f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::OnceCell;
    use crate::parking::park;
    use crate::sync::Event;

    #[test]
    fn a_value_is_made_outside_the_wait() {
        let (cell, begun) = (OnceCell::new(), Event::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                let failed = cell.get_or_try_init_blocking(|| {
                    begun.set();
                    thread::sleep(Duration::from_millis(20)); // the other one waits meanwhile
                    Err(())
                });
                assert_eq!(failed, Err(()));
            });
            begun.wait_blocking();
            let value = cell.get_or_init_blocking(|| {
                assert!(!park::waits());
                1
            });
            assert_eq!(*value, 1);
        });
    }
}
