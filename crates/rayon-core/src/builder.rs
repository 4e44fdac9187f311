//! The choices before a pool exists.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::error::Reason;
use crate::member::{CustomSpawn, DefaultSpawn, ThreadSpawn};
use crate::pool::{self, Handle, PanicHandler, PoolRecord};
use crate::seat::Seat;
use crate::{ThreadBuilder, ThreadPool, ThreadPoolBuildError, here, max_num_threads};

type Hook = Box<dyn Fn(usize) + Send + Sync>;

/// The settings of a [`ThreadPool`].
pub struct ThreadPoolBuilder<S = DefaultSpawn> {
    threads: usize,
    use_current_thread: bool,
    panic_handler: Option<Box<PanicHandler>>,
    thread_name: Option<Box<dyn FnMut(usize) -> String>>,
    stack_size: Option<usize>,
    start_handler: Option<Hook>,
    exit_handler: Option<Hook>,
    breadth_first: bool,
    spawn: S,
}

impl Default for ThreadPoolBuilder {
    fn default() -> Self {
        Self {
            threads: 0,
            use_current_thread: false,
            panic_handler: None,
            thread_name: None,
            stack_size: None,
            start_handler: None,
            exit_handler: None,
            breadth_first: false,
            spawn: DefaultSpawn,
        }
    }
}

impl ThreadPoolBuilder {
    /// The default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a pool of scoped threads, each of which calls `wrapper`.
    ///
    /// # Errors
    /// Always: as [`spawn_handler`](Self::spawn_handler).
    pub fn build_scoped<W, F, R>(self, wrapper: W, with_pool: F) -> Result<R, ThreadPoolBuildError>
    where
        W: Fn(ThreadBuilder) + Sync,
        F: FnOnce(&ThreadPool) -> R,
    {
        let pool = self.spawn_handler(|thread| {
            wrapper(thread);
            Ok(())
        });
        pool.build().map(|pool| with_pool(&pool))
    }
}

impl<S: ThreadSpawn> ThreadPoolBuilder<S> {
    /// Makes the pool and starts its threads.
    ///
    /// # Errors
    /// If the system refuses a thread, if this thread is to belong to the pool but belongs to one
    /// already, or if there is a [`spawn_handler`](Self::spawn_handler).
    pub fn build(self) -> Result<ThreadPool, ThreadPoolBuildError> {
        self.make().map(ThreadPool::of)
    }

    /// Makes the global pool.
    ///
    /// # Errors
    /// As [`build`](Self::build); and if there is a global pool already.
    pub fn build_global(self) -> Result<(), ThreadPoolBuildError> {
        pool::set_global(self)
    }

    pub(crate) fn make(mut self) -> Result<Handle, ThreadPoolBuildError> {
        let mut builder = self.check()?;
        let shared = Arc::new(self.shared());
        let (theirs, started) = (Arc::clone(&shared), self.start_handler.take());
        builder = builder.exclusive_indices().on_start(move |_| {
            here::belong(&theirs, false);
            if let (Some(hook), Some(index)) = (&started, here::current_thread_index()) {
                theirs.run_alone(|| hook(index));
            }
        });
        if let Some(hook) = self.exit_handler.take() {
            let theirs = Arc::clone(&shared);
            builder = builder.on_exit(move |_| {
                if let Some(index) = here::current_thread_index() {
                    theirs.run_alone(|| hook(index));
                }
            });
        }
        let pool = Some(builder.build()?);
        if shared.seat.is_some() {
            here::belong(&shared, true);
        }
        Ok(Handle { pool, shared })
    }

    /// trefoil's settings.
    fn check(&mut self) -> Result<trefoil::ThreadPoolBuilder, ThreadPoolBuildError> {
        self.spawn.check()?;
        let first = usize::from(self.use_current_thread);
        if self.use_current_thread && here::belongs() {
            return Err(ThreadPoolBuildError(Reason::Member));
        }
        if self.threads == 0 {
            self.threads = pool::asked_threads().unwrap_or_else(pool::processors);
        }
        // A pool has a worker, even if the program's own thread is to be the only one.
        self.threads = self.threads.clamp(first + 1, max_num_threads());
        let workers = self.threads - first;
        let mut builder = trefoil::ThreadPool::builder().threads(workers);
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        if let Some(name) = self.thread_name.take() {
            // A closure for this thread alone, so it is asked for all of them now. What stands in
            // for one that waits has one of them, too.
            let names: Vec<String> = (first..self.threads).map(name).collect();
            builder = builder.thread_name(move |place| names[place % workers].clone());
        }
        Ok(builder)
    }

    fn shared(&mut self) -> PoolRecord {
        PoolRecord {
            threads: self.threads,
            seat: self.use_current_thread.then(Seat::new),
            panic_handler: self.panic_handler.take(),
            handle: OnceLock::new(),
        }
    }
}

impl<S> ThreadPoolBuilder<S> {
    /// A closure that starts the threads.
    ///
    /// trefoil's pools start their threads themselves, and one more where one of them waits. So
    /// [`build`](Self::build) then ends in an error of the kind
    /// [`Unsupported`](std::io::ErrorKind::Unsupported). What each thread needs at its start is
    /// done in a [`start_handler`](Self::start_handler).
    pub fn spawn_handler<F>(self, spawn: F) -> ThreadPoolBuilder<CustomSpawn<F>>
    where
        F: FnMut(ThreadBuilder) -> std::io::Result<()>,
    {
        ThreadPoolBuilder {
            threads: self.threads,
            use_current_thread: self.use_current_thread,
            panic_handler: self.panic_handler,
            thread_name: self.thread_name,
            stack_size: self.stack_size,
            start_handler: self.start_handler,
            exit_handler: self.exit_handler,
            breadth_first: self.breadth_first,
            spawn: CustomSpawn(spawn),
        }
    }

    /// Names the threads. All names are asked for before the first thread starts; a thread that
    /// stands in for one that waits has one of them, too.
    pub fn thread_name<F>(mut self, closure: F) -> Self
    where
        F: FnMut(usize) -> String + 'static,
    {
        self.thread_name = Some(Box::new(closure));
        self
    }

    /// How many threads the pool has. 0, the default: what `RAYON_NUM_THREADS` says (0: one for
    /// each processor), or else `RAYON_RS_NUM_CPUS`, or else one for each processor.
    pub fn num_threads(mut self, num_threads: usize) -> Self {
        self.threads = num_threads;
        self
    }

    /// The calling thread counts as the first of the pool: it has the index 0, and what it calls
    /// outside of `install` uses this pool. It runs nothing of the pool's (but its calls of
    /// broadcasts), and waits for it. The pool has one more thread at least, so two if one was
    /// asked for.
    pub fn use_current_thread(mut self) -> Self {
        self.use_current_thread = true;
        self
    }

    /// What gets the panics of what nobody waits for. Without one, the process aborts then.
    pub fn panic_handler<H>(mut self, panic_handler: H) -> Self
    where
        H: Fn(Box<dyn Any + Send>) + Send + Sync + 'static,
    {
        self.panic_handler = Some(Box::new(panic_handler));
        self
    }

    /// The stack of each thread, in bytes.
    pub fn stack_size(mut self, stack_size: usize) -> Self {
        self.stack_size = Some(stack_size);
        self
    }

    /// It does nothing here: trefoil's pools run the newest of a thread's tasks first.
    #[deprecated(note = "use `scope_fifo` and `spawn_fifo` for similar effect")]
    pub fn breadth_first(mut self) -> Self {
        self.breadth_first = true;
        self
    }

    /// Called by each thread when it starts, with its index; by a thread that stands in for one
    /// that waits, too.
    pub fn start_handler<H>(mut self, start_handler: H) -> Self
    where
        H: Fn(usize) + Send + Sync + 'static,
    {
        self.start_handler = Some(Box::new(start_handler));
        self
    }

    /// Called by each thread before it ends, with its index; by a thread that stands in for one
    /// that waits, too.
    pub fn exit_handler<H>(mut self, exit_handler: H) -> Self
    where
        H: Fn(usize) + Send + Sync + 'static,
    {
        self.exit_handler = Some(Box::new(exit_handler));
        self
    }
}

impl<S> fmt::Debug for ThreadPoolBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("num_threads", &self.threads)
            .field("use_current_thread", &self.use_current_thread)
            .field("stack_size", &self.stack_size)
            .field("breadth_first", &self.breadth_first)
            .finish_non_exhaustive()
    }
}
