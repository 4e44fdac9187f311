//! A value that is made at its first use: `async-lock`'s cell, with this crate's waits.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use std::convert::Infallible;
use std::fmt;
use std::future::{poll_fn, ready};
use std::panic::Location;
use std::pin::pin;

use crate::loom::atomic::AtomicBool;
use crate::loom::atomic::Ordering::Relaxed;
use crate::parking::block_on::{at_once, wait_for};
use crate::parking::noted::{self, Access, At, Held, LockKind, Note, Site, Waiting, Whose};

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
    made_at: Site,
    inside: async_lock::OnceCell<T>,
}

impl<T> OnceCell<T> {
    /// Makes an empty cell.
    #[must_use]
    #[track_caller]
    pub const fn new() -> Self {
        Self {
            made_at: Location::caller(),
            inside: async_lock::OnceCell::new(),
        }
    }

    /// Who makes the value has it as if it were locked.
    fn at(&self) -> At {
        let lock = noted::lock(LockKind::OnceCell, Some(self.made_at), self);
        (lock, Access::Alone)
    }

    /// While it exists, the code that runs here makes the value.
    fn made_here(&self, whose: Whose) -> Held<false> {
        Held::new(|| self.at().0, whose)
    }

    /// Calls `make`; meanwhile `makes` is set.
    async fn make_here<F: Future>(
        &self,
        makes: &AtomicBool,
        make: impl FnOnce() -> F,
    ) -> F::Output {
        makes.store(true, Relaxed);
        let _made_here = self.made_here(Whose::Tasks);
        let made = make().await;
        makes.store(false, Relaxed);
        made
    }

    /// Waits for another to make the value, unless it `makes` it itself.
    async fn wait_unless<F: Future>(&self, makes: &AtomicBool, future: F) -> F::Output {
        let mut note = Note::new(self.at());
        let mut future = pin!(future);
        poll_fn(|cx| {
            note.end();
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() && !makes.load(Relaxed) {
                note.begin(cx.waker());
            }
            polled
        })
        .await
    }

    /// Whether there is a value.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.inside.is_initialized()
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
        Waiting::new(self.inside.wait(), (self.at().0, Access::Turn)).await
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
        let makes = AtomicBool::new(false); // of this task: no protocol
        let make = || self.make_here(&makes, make);
        self.wait_unless(&makes, self.inside.get_or_init(make))
            .await
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
        let makes = AtomicBool::new(false); // of this task: no protocol
        let make = || self.make_here(&makes, make);
        self.wait_unless(&makes, self.inside.get_or_try_init(make))
            .await
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
            let tries = self.inside.get_or_try_init(|| {
                let make = make.take().expect("its result ends the loop");
                let _made_here = self.made_here(Whose::Threads);
                ready(make())
            });
            if let Some(result) = at_once(tries) {
                return result;
            }
            // Another makes the value. If it fails, this one has its turn.
            let waits = self.inside.get_or_try_init(|| ready(Err(())));
            let waits = Waiting::new(waits, self.at());
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
        Waiting::new(self.inside.set(value), self.at()).await
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
        self.inside.try_set(value)
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
        Self {
            made_at: Location::caller(),
            inside: async_lock::OnceCell::from(value),
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
