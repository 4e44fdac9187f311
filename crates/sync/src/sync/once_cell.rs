//! A value that is made at its first use: `async-lock`'s cell, with this crate's waits.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use std::convert::Infallible;
use std::fmt;
use std::future::ready;

use crate::parking::block_on::{at_once, wait_for};

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
pub struct OnceCell<T>(async_lock::OnceCell<T>);

impl<T> OnceCell<T> {
    /// Makes an empty cell.
    #[must_use]
    pub const fn new() -> Self {
        Self(async_lock::OnceCell::new())
    }

    /// Whether there is a value.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.0.is_initialized()
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.get_mut()
    }

    /// Takes the value out; the cell is empty then.
    pub fn take(&mut self) -> Option<T> {
        self.0.take()
    }

    /// The value, if there is one.
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.0.into_inner()
    }

    /// Waits until there is a value.
    ///
    /// Cancel safe.
    pub async fn wait(&self) -> &T {
        self.0.wait().await
    }

    /// Like [`wait`](Self::wait), blocking this thread.
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
        self.0.get_or_init(make).await
    }

    /// Like [`get_or_init`](Self::get_or_init), blocking this thread. `make` runs on it.
    ///
    /// # Panics
    /// On an event loop's thread, while another makes the value: [there](crate::sync#blocking) use
    /// `get_or_init(..).await`. Also if `make` panics.
    #[track_caller]
    pub fn get_or_init_blocking(&self, make: impl FnOnce() -> T) -> &T {
        let make = || Ok::<_, Infallible>(make());
        match self.make_blocking(make, "OnceCell::get_or_init") {
            Ok(value) => value,
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
        self.0.get_or_try_init(make).await
    }

    /// Like [`get_or_try_init`](Self::get_or_try_init), blocking this thread. `make` runs on it.
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
        self.make_blocking(make, "OnceCell::get_or_try_init")
    }

    /// `make` does not run inside the wait: a worker that runs it does not count as waiting.
    #[track_caller]
    fn make_blocking<E>(&self, make: impl FnOnce() -> Result<T, E>, method: &str) -> Result<&T, E> {
        let mut make = Some(make);
        loop {
            let tries = self.0.get_or_try_init(|| {
                let make = make.take().expect("its result ends the loop");
                ready(make())
            });
            if let Some(result) = at_once(tries) {
                return result;
            }
            // Another makes the value. If it fails, this one has its turn.
            let waits = self.0.get_or_try_init(|| ready(Err(())));
            if let Ok(value) = wait_for(waits, method) {
                return Ok(value);
            }
        }
    }

    /// Sets the value, waiting while another makes it.
    ///
    /// # Errors
    /// The value, if there is one already.
    pub async fn set(&self, value: T) -> Result<&T, T> {
        self.0.set(value).await
    }

    /// Like [`set`](Self::set), blocking this thread.
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
        self.0.try_set(value)
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> Self {
        Self(async_lock::OnceCell::from(value))
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
