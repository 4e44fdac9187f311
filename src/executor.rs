//! The operations that thread and process pools share, and a back end chosen at run time.
//!
//! **Job.** [`Executor`] is the common interface of the two pools for calls that could run in
//! another process: a plain function and an owned argument that serde can encode. A program written
//! against it runs on threads, on processes or inline without change; [`AnyExecutor`] makes the
//! choice a matter of configuration.
//!
//! It is above the pools, which do not import it. It is not implemented for `Arc<E>`, because its
//! `map` would shadow the pools' own.
//!
//! Tests: `tests/task/executor.rs`.

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::parking::park::blocking_refused;
use crate::process::{Portable, ProcessPool};
use crate::task::panic::{catch, install_hook};
use crate::task::{CancelOnDrop, Task, TaskError, closure};
use crate::thread::ThreadPool;

/// Runs calls `f(arg)` that could run in any process. It is available with the features
/// `threads` and `processes`: what it takes must be encodable, and a bound that only one of two
/// features brings would make code fail to compile when a second crate adds the other.
///
/// ```
/// use trefoil::{Executor, Inline, TaskError, ThreadPool};
///
/// fn total<E: Executor>(executor: &E, words: Vec<String>) -> Result<usize, TaskError> {
///     Ok(executor.map(words, |word: String| word.len())?.into_iter().sum())
/// }
///
/// let words = || vec!["three".to_owned(), "words".to_owned(), "here".to_owned()];
/// assert_eq!(total(&Inline, words()).unwrap(), 14);
/// assert_eq!(total(&ThreadPool::with_threads(2), words()).unwrap(), 14);
/// ```
///
/// # Chosen at run time
///
/// Its methods are generic, so there is no `&dyn Executor`, nor a `Box` of one: keep an
/// [`AnyExecutor`], which is one of the two pools or [`Inline`], and pass it as `&impl Executor`.
///
/// ```
/// use trefoil::{AnyExecutor, Executor, TaskError};
///
/// struct Program {
///     executor: AnyExecutor, // not a `Box<dyn Executor>`
/// }
///
/// fn doubled(on: &impl Executor, numbers: Vec<u64>) -> Result<Vec<u64>, TaskError> {
///     on.map(numbers, |n: u64| 2 * n)
/// }
///
/// let program = Program { executor: "threads:2".parse()? };
/// assert_eq!(doubled(&program.executor, vec![1, 2])?, [2, 4]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Implementing it
///
/// It is open, so that a test can count calls, and a program can wrap a pool.
/// [`submit`](Self::submit) and [`width`](Self::width) are enough; methods that later versions add
/// will have a default, too. A function that is generic over an `Executor` relies on these rules:
///
/// - `submit` does not panic and does not wait for other calls. What goes wrong is the error of its
///   task.
/// - A call runs at most once, and not at all if its task is cancelled before.
/// - `map` returns the results in the order of the items. If it fails, the calls that have not
///   begun are cancelled.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use trefoil::process::Portable;
/// use trefoil::{Executor, Inline, Task};
///
/// /// Counts the calls that another executor runs.
/// struct Counted<E>(E, AtomicUsize);
///
/// impl<E: Executor> Executor for Counted<E> {
///     fn submit<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
///         self.1.fetch_add(1, Ordering::Relaxed);
///         self.0.submit(arg, f)
///     }
///
///     fn width(&self) -> usize {
///         self.0.width()
///     }
/// }
///
/// let counted = Counted(Inline, AtomicUsize::new(0));
/// assert_eq!(counted.map([2u64, 3], |n: u64| n * n).unwrap(), [4, 9]);
/// assert_eq!(counted.1.into_inner(), 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an `Executor`",
    label = "neither a pool nor `Inline` nor an `AnyExecutor`",
    note = "there is no `dyn Executor`, because its methods are generic: a function takes `&impl \
            Executor`, and what is chosen at run time is a `trefoil::AnyExecutor`"
)]
pub trait Executor {
    /// Starts one call. (It is generic, so there is no `dyn Executor`: use an [`AnyExecutor`].)
    fn submit<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R>;

    /// Calls `f` on every item and waits for all; returns the results in the order of the items.
    ///
    /// Unless an executor has a better way, as the pools have, each item is
    /// [submitted](Self::submit).
    ///
    /// # Errors
    /// The failure of the lowest index, including a panic; the others are cancelled.
    /// [`TaskError::WouldBlock`] on an event-loop thread ([`Inline`] waits for nobody, and is not
    /// refused).
    fn map<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        if blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        let calls = items.into_iter();
        let calls = calls.map(|item| self.submit(item, f).cancel_on_drop());
        let calls: Vec<CancelOnDrop<R>> = calls.collect();
        calls.into_iter().map(CancelOnDrop::join).collect()
    }

    /// How many calls it runs at once.
    fn width(&self) -> usize;
}

impl<E: Executor> Executor for &E {
    #[track_caller]
    fn submit<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
        (**self).submit(arg, f)
    }

    fn map<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        (**self).map(items, f)
    }

    fn width(&self) -> usize {
        (**self).width()
    }
}

impl Executor for ThreadPool {
    #[track_caller]
    fn submit<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
        self.spawn(move || f(arg))
    }

    fn map<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        if blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        let items: Vec<I::Item> = items.into_iter().collect();
        self.try_map(items, |item| catch(|| f(item)).map_err(TaskError::from))
    }

    fn width(&self) -> usize {
        self.num_threads()
    }
}

impl Executor for ProcessPool {
    #[track_caller]
    fn submit<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
        self.spawn(arg, f)
    }

    #[track_caller]
    fn map<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        ProcessPool::map(self, items, f)
    }

    fn width(&self) -> usize {
        self.num_workers()
    }
}

/// Runs every call in the caller, immediately: for debugging, and as a baseline.
///
/// ```
/// use trefoil::{Executor, Inline};
///
/// assert_eq!(Inline.map(1..=3u64, |n: u64| n * n).unwrap(), [1, 4, 9]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Executor for Inline {
    #[track_caller]
    fn submit<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
        install_hook();
        let (runnable, task) = closure(move || f(arg), false);
        let _done = runnable.run();
        task
    }

    fn map<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        install_hook();
        items
            .into_iter()
            .map(|item| catch(|| f(item)).map_err(TaskError::from))
            .collect()
    }

    fn width(&self) -> usize {
        1
    }
}

/// An executor chosen at run time.
///
/// It parses from `"threads"`, `"threads:4"`, `"processes"`, `"processes:2"` and
/// `"inline"`; without a number, a pool has its default width, usually the CPUs that this process
/// may use. So it is with `-1`; with `-2` it leaves one of them free, with `-3` two, and so on
/// ([`leave_free`](crate::ThreadPoolBuilder::leave_free)). Names of other machines, such as
/// `"ssh:node1,node2:8"`, are parsed by `trefoil_machines::executor`.
///
/// ```
/// use trefoil::{AnyExecutor, Executor};
///
/// let executor: AnyExecutor = "threads:2".parse()?;
/// assert_eq!(executor.width(), 2);
/// assert_eq!(executor.submit(20u64, |n: u64| n + 1).join().unwrap(), 21);
/// assert!("fibres".parse::<AnyExecutor>().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyExecutor {
    /// A thread pool.
    Threads(ThreadPool),
    /// A process pool.
    Processes(ProcessPool),
    /// The caller's own thread.
    Inline(Inline),
}

impl Executor for AnyExecutor {
    #[track_caller]
    fn submit<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
        match self {
            Self::Threads(pool) => pool.submit(arg, f),
            Self::Processes(pool) => pool.submit(arg, f),
            Self::Inline(inline) => inline.submit(arg, f),
        }
    }

    fn map<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        match self {
            Self::Threads(pool) => Executor::map(pool, items, f),
            Self::Processes(pool) => pool.map(items, f),
            Self::Inline(inline) => inline.map(items, f),
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Threads(pool) => pool.width(),
            Self::Processes(pool) => pool.width(),
            Self::Inline(inline) => inline.width(),
        }
    }
}

impl FromStr for AnyExecutor {
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the text has none of the accepted forms, else
    /// the error of the pool's builder.
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let unknown = || {
            let words = format!(
                "`{text}` names no executor: use `threads`, `threads:N`, `processes`, `processes:N` \
                 or `inline`, with N from 1, or -1 for all processors, -2 for all but one, and so \
                 on; on other machines, with `trefoil_machines::executor` and its crate's features \
                 `ssh`, `slurm` and `dask`, `ssh:HOST,HOST:N`, `slurm:N` and `dask:ADDRESS`"
            );
            io::Error::new(io::ErrorKind::InvalidInput, words)
        };
        // The number of threads or workers (0: the default), and of processors to leave free.
        let width = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err(unknown()),
            Ok(negative @ ..0isize) => Ok((0, negative.unsigned_abs() - 1)),
            Ok(width) => Ok((width.unsigned_abs(), 0)),
        };
        Ok(match text.split_once(':') {
            None if text == "inline" => Self::Inline(Inline),
            None if text == "threads" => Self::Threads(ThreadPool::builder().build()?),
            None if text == "processes" => Self::Processes(ProcessPool::new()?),
            Some(("threads", n)) => {
                let (threads, free) = width(n)?;
                let builder = ThreadPool::builder().threads(threads).leave_free(free);
                Self::Threads(builder.build()?)
            }
            Some(("processes", n)) => {
                let (workers, free) = width(n)?;
                let builder = ProcessPool::builder().workers(workers).leave_free(free);
                Self::Processes(builder.build()?)
            }
            _ => return Err(unknown()),
        })
    }
}

impl fmt::Display for AnyExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads(pool) => write!(f, "threads:{}", pool.width()),
            Self::Processes(pool) => write!(f, "processes:{}", pool.width()),
            Self::Inline(_) => f.write_str("inline"),
        }
    }
}
