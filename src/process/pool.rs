//! The pool as its users see it.
//!
//! A handle on the driver's mailbox, and the driver's thread. `spawn` and `map` encode the
//! arguments on the caller's thread and leave the rest to the driver;
//! what they return is an ordinary promise of the stem's.
//!
//! **Ending.** Everything that ends the pool is a letter to the driver; then the caller waits for the
//! thread, which ends when all processes are reaped. Only on a driver's thread
//! (a task's callback drops the pool) nobody waits, and the pool ends by itself.
//!
//! Tests: `tests/process.rs`.

use std::any::type_name;
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use super::builder::Settings;
use super::chunk::Chunk;
use super::driver::{Driver, Shared, is_a_driver};
use super::mailbox::{Mail, Mailbox};
use super::portable::Portable;
use super::sched::Stop;
use super::sink::{Many, One, explain};
use super::{PoolError, ProcessPoolBuilder, raw_call};
use crate::loom::{Mutex, thread};
use crate::task::{
    CodecDirection, CodecError, Completer, Hook, OnCancel, Shutdown, Task, TaskError, TaskId,
    context, panic, promise,
};

/// How long tasks may still run when a pool is dropped.
const DROP_LIMIT: Duration = Duration::from_secs(1);

/// A pool of worker processes.
///
/// Runs functions of one argument in processes of their own. The argument and the result travel by
/// [serde](https://serde.rs); the function itself does not travel, because the workers run
/// the same program. A task that segfaults, aborts, exits or is killed costs exactly itself: it ends in
/// [`TaskError::WorkerDied`], and its worker is replaced.
///
/// The program's `main` must begin with [`init`](crate::process::init) (or the feature `auto` be on).
///
/// Dropping the pool cancels what has not begun, gives what runs one second, and kills it then. No worker
/// outlives the process that made it, however that ends.
///
/// # Examples
///
/// ```
/// use trefoil::{ProcessPool, TaskError};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     trefoil::process::init();
///     let procs = ProcessPool::with_workers(2)?;
///
///     let squares = procs.map(1..=4, |x: u64| x * x)?;
///     assert_eq!(squares, [1, 4, 9, 16]);
///
///     let accident = procs.spawn(3, |code: i32| -> () { std::process::exit(code) });
///     let Err(TaskError::WorkerDied(exit)) = accident.join() else { panic!("it lives") };
///     assert_eq!(exit.code(), Some(3));
///     Ok(())
/// }
/// ```
pub struct ProcessPool {
    shared: Arc<Shared>,
    driver: Mutex<Option<thread::JoinHandle<()>>>,
    unobserved: Option<Hook>,
}

impl ProcessPool {
    /// A pool with as many workers as there are CPUs that this process may use.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn new() -> Result<Self, PoolError> {
        Self::builder().build()
    }

    /// A pool with `workers` processes.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn with_workers(workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(workers).build()
    }

    /// A pool with settings.
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder::new()
    }

    pub(super) fn start(settings: Settings, unobserved: Option<Hook>) -> Result<Self, PoolError> {
        panic::install_hook();
        let pids = Mutex::new(vec![0; settings.workers]);
        let shared = Arc::new(Shared {
            mailbox: Mailbox::new()?,
            pids,
        });
        let (ready, started) = mpsc::sync_channel(1);
        let theirs = shared.clone();
        let driver = thread::Builder::new()
            .name("trefoil-proc".to_owned())
            .spawn(move || Driver::new(theirs, settings).run(&ready))?;
        let pool = Self {
            shared,
            driver: Mutex::new(Some(driver)),
            unobserved,
        };
        // A driver that is gone without a word has panicked.
        started
            .recv()
            .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))?;
        Ok(pool)
    }

    /// How many workers it has, those that are just being replaced included.
    #[must_use]
    pub fn num_workers(&self) -> usize {
        self.shared.pids.lock().len()
    }

    /// Runs `f(arg)` in a worker.
    ///
    /// `arg` is encoded at once, and then dropped. Never blocks. The task ends in
    /// [`WorkerDied`](TaskError::WorkerDied) if its worker dies meanwhile,
    /// in [`Panicked`](TaskError::Panicked) if `f` panics, in [`Codec`](TaskError::Codec) if the argument or
    /// the result cannot be encoded or decoded, and in [`Closed`](TaskError::Closed) if the pool was shut down. If it is
    /// cancelled while it runs, its [token](crate::CancelToken::current) is set at once; if it has not
    /// ended after the [grace period](ProcessPoolBuilder::grace) its worker is killed and replaced.
    ///
    /// `f` may be a closure without captures. It must be part of this program, not of a library
    /// loaded at run time.
    #[track_caller]
    pub fn spawn<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
        let mut chunk = Chunk::default();
        let code = raw_call::code_of(f).ok_or_else(not_ours::<A, R>);
        let code = code.and_then(|code| chunk.push(&arg).map(|()| code).map_err(unencodable::<A>));
        // After the argument, whose `Serialize` may panic: then there is no task.
        let (id, completer, task) = self.promise::<R>();
        match code {
            Err(error) => completer.complete(Err(error)),
            Ok(code) => {
                let sink = Box::new(One::<A, R>::new(completer));
                let feed = Mail::Feed {
                    id,
                    base: 0,
                    chunk: Arc::new(chunk),
                    sealed: true,
                    failure: None,
                };
                // Refused mail is dropped here, and its task ends in `Closed`.
                let _ = self
                    .shared
                    .mailbox
                    .push([Mail::Submit { id, code, sink }, feed]);
            }
        }
        task
    }

    /// Runs `f` on every item, and returns the results in the order of the items.
    ///
    /// Items are sent many at a time, as many as make about a millisecond of work, so that
    /// millions of tiny ones are as well served as a few long ones.
    ///
    /// # Errors
    /// The error of the item with the lowest index that fails; the rest is cancelled, and what
    /// of it runs is stopped as if its task had been cancelled. See [`spawn`](Self::spawn).
    /// On a thread that must not block (an event loop's): [`TaskError::WouldBlock`], and nothing was run.
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Portable,
    {
        if context::blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        let code = raw_call::code_of(f).ok_or_else(not_ours::<I::Item, R>)?;
        let (id, completer, task) = self.promise::<Vec<R>>();
        let sink = Box::new(Many::<I::Item, R>::new(completer));
        if self
            .shared
            .mailbox
            .push([Mail::Submit { id, code, sink }])
            .is_err()
        {
            return task.join(); // the refused promise is dropped: `Closed`
        }
        // If the iterator panics, this cancels what was fed.
        let task = task.cancel_on_drop();
        self.feed(id, items, || task.is_finished());
        task.join()
    }

    /// Encodes and sends `items`, chunk by chunk, until `over` says that nobody wants more.
    fn feed<A: Portable>(
        &self,
        id: u64,
        items: impl IntoIterator<Item = A>,
        over: impl Fn() -> bool,
    ) {
        let mut base = 0;
        let mut send = |chunk: Chunk, sealed, failure| {
            let next = base + chunk.len();
            let _ = self.shared.mailbox.push([Mail::Feed {
                id,
                base,
                chunk: Arc::new(chunk),
                sealed,
                failure,
            }]);
            base = next;
        };
        let mut chunk = Chunk::default();
        let mut most = 64; // the first chunks are small: the workers should not wait for the whole
        for item in items {
            if over() {
                return;
            }
            if let Err(error) = chunk.push(&item) {
                return send(chunk, true, Some(unencodable::<A>(error)));
            }
            if chunk.len() >= most || chunk.is_full() {
                most = (2 * most).min(1 << 16);
                send(std::mem::take(&mut chunk), false, None);
            }
        }
        send(chunk, true, None);
    }

    #[track_caller]
    fn promise<T: Send + 'static>(&self) -> (u64, Completer<T>, Task<T>) {
        let id = self.shared.mailbox.id();
        let (completer, task) = promise(Recall {
            shared: Arc::downgrade(&self.shared),
            id,
        });
        if let Some(hook) = &self.unobserved {
            completer.set_hook(hook);
        }
        (id, completer, task)
    }

    /// The process ids of the workers that there are now.
    ///
    /// A worker that has died is missing until it has been replaced, usually for a millisecond.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.shared
            .pids
            .lock()
            .iter()
            .copied()
            .filter(|pid| *pid != 0)
            .collect()
    }

    /// Ends the pool and waits until all of its processes are gone.
    ///
    /// With [`Shutdown::Wait`] everything that was spawned runs first, however long that takes;
    /// with [`Shutdown::CancelPending`] only what runs already. Tasks spawned later end in
    /// [`TaskError::Closed`]. Calling it again, from several threads too, does no harm, and a
    /// stronger call overtakes a weaker one.
    ///
    /// In a callback on the driver thread of a process pool, this or another, it does not wait.
    pub fn shutdown(&self, how: Shutdown) {
        self.end(match how {
            Shutdown::Wait => Stop::Wait,
            Shutdown::CancelPending => Stop::CancelPending,
        });
    }

    /// Kills all workers at once, and waits until they are gone. All tasks that have not
    /// finished end in [`TaskError::Cancelled`]. Where [`shutdown`](Self::shutdown) does not wait, neither
    /// does this.
    pub fn kill(&self) {
        self.end(Stop::Kill);
    }

    fn end(&self, stop: Stop) {
        self.shared.mailbox.close();
        let _ = self.shared.mailbox.push([Mail::Stop(stop)]);
        if is_a_driver() {
            return;
        }
        // Whoever comes second waits here for the first.
        let mut driver = self.driver.lock();
        if let Some(driver) = driver.take() {
            let _ = driver.join();
        }
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.end(Stop::Drop(Instant::now() + DROP_LIMIT));
    }
}

impl std::fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessPool")
            .field("workers", &self.worker_pids())
            .finish_non_exhaustive()
    }
}

/// Tells the driver that a task was cancelled.
struct Recall {
    shared: Weak<Shared>,
    id: u64,
}

impl OnCancel for Recall {
    fn on_cancel(&self, _: TaskId) {
        if let Some(shared) = self.shared.upgrade() {
            let _ = shared.mailbox.push([Mail::Cancel(self.id)]);
        }
    }
}

#[cold]
fn unencodable<A>(error: postcard::Error) -> TaskError {
    let direction = CodecDirection::EncodeArgument;
    TaskError::Codec(Box::new(CodecError::new(
        type_name::<A>(),
        direction,
        explain(error),
    )))
}

#[cold]
fn not_ours<A, R>() -> TaskError {
    let detail = "the function is not part of this program's image but of a library loaded at run time, where a worker would not find it";
    let direction = CodecDirection::EncodeArgument;
    TaskError::Codec(Box::new(CodecError::new(
        type_name::<fn(A) -> R>(),
        direction,
        detail.to_owned(),
    )))
}
