//! What is shown, and what the program adds to it: executors, and notes that hooks take.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use trefoil::inspect::{StuckWatch, watch_stuck};
use trefoil::{LoopHandle, ProcessPool, SlowPoll, TaskReport, ThreadPool};

use crate::executors::{Executor, Executors};
use crate::notes::{self, Notes};
use crate::pulse::Pulse;

/// What the threads that serve and the program share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) executors: Executors,
    pub(crate) notes: Notes,
    pub(crate) pulse: Pulse,
    pub(crate) program: String,
    pub(crate) started: Instant,
}

/// What is shown: a [`Dashboard`](crate::Dashboard) and a [`Socket`](crate::Socket) lead to one, and
/// have its methods.
#[derive(Clone)]
pub struct Board(Arc<Open>);

/// Dropped when nothing shows the board any more.
struct Open {
    shared: Arc<Shared>,
    _stuck: StuckWatch,
}

impl Drop for Open {
    fn drop(&mut self) {
        drop(self.shared.executors.remove_all());
    }
}

impl Board {
    pub(crate) fn new() -> Self {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(Path::file_name);
        let shared = Arc::new(Shared {
            executors: Executors::default(),
            notes: Notes::default(),
            pulse: Pulse::default(),
            program: program.unwrap_or_default().to_string_lossy().into_owned(),
            started: Instant::now(),
        });
        let noted = shared.clone();
        let _stuck = watch_stuck(move |stuck| noted.notes.stuck(stuck));
        Self(Arc::new(Open { shared, _stuck }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Shows a thread pool: the numbers of [`stats`](ThreadPool::stats), and how long spawned work
    /// waits until it runs.
    ///
    /// The latter is measured: while it is shown, a closure that does nothing is spawned now and
    /// then. It bears the name `dashboard`.
    ///
    /// ```
    /// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let _watched = dashboard.watch_threads(&pool, "parsers");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watch_threads(&self, pool: &ThreadPool, name: impl Into<String>) -> Watched {
        self.watch(Executor::Threads(pool.clone()), name.into())
    }

    /// Shows a process pool: the numbers of [`stats`](ProcessPool::stats), and each worker's
    /// process, with its memory and processor time if it is a child of this program.
    ///
    /// ```
    /// # trefoil::init();
    /// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
    /// let procs = trefoil::ProcessPool::with_workers(2)?;
    /// let _watched = dashboard.watch_processes(&procs, "squares");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch_processes(&self, pool: &ProcessPool, name: impl Into<String>) -> Watched {
        self.watch(Executor::Processes(pool.clone()), name.into())
    }

    /// Shows an event loop: how long a call of [`LoopHandle::call_soon`] waits, which is measured
    /// as for [threads](Self::watch_threads). (Its tasks are on the page even if it is not watched.)
    ///
    /// ```
    /// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let _watched = dashboard.watch_loop(&event_loop.handle(), "main");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watch_loop(&self, handle: &LoopHandle, name: impl Into<String>) -> Watched {
        self.watch(Executor::Loop(handle.clone()), name.into())
    }

    fn watch(&self, executor: Executor, name: String) -> Watched {
        Watched {
            id: self.0.shared.executors.add(notes::clip(&name), executor),
            shared: self.0.shared.clone(),
            stays: false,
        }
    }

    /// What hooks call, to show failures and slow polls.
    pub fn recorder(&self) -> Recorder {
        Recorder(self.0.shared.clone())
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Board")
    }
}

/// An executor that is on the page until this is dropped.
///
/// As long as the page is open, it is a handle of its pool, which ends before this only if it is
/// shut down. So bind it after the pool, in the same block, or let it [`stay`](Self::stay).
#[must_use = "dropping it takes the executor off the page"]
pub struct Watched {
    shared: Arc<Shared>,
    id: u64,
    stays: bool,
}

impl Watched {
    /// Leaves the executor on the page, and its pool alive, until the last
    /// [`Dashboard`](crate::Dashboard) or [`Socket`](crate::Socket) that shows it is closed, and
    /// the last clone of their [`Board`] dropped.
    ///
    /// ```
    /// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
    /// dashboard.watch_threads(trefoil::ThreadPool::global(), "global").stay();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stay(mut self) {
        self.stays = true;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.stays {
            drop(self.shared.executors.remove(self.id));
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Takes notes for the page, from hooks; from [`Board::recorder`].
///
/// The last hundred notes of each kind are kept, with at most 2 KiB of each text; all are counted.
/// Failures of one cause are one note: tasks that were spawned at one place, and panicked or died
/// at one place. It has the last of them.
/// A note may be taken on any thread, and costs a lock and a few allocations. Once nothing shows
/// the board, it does nothing that can be seen.
///
/// ```
/// use std::time::Duration;
///
/// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
/// let (failures, slow) = (dashboard.recorder(), dashboard.recorder());
/// trefoil::on_unobserved(move |report| {
///     eprintln!("{report}");
///     failures.failure(report);
/// });
/// let event_loop = trefoil::EventLoop::builder()
///     .slow_poll(Duration::from_millis(50), move |poll| slow.slow_poll(poll))
///     .build()?;
/// # drop(event_loop);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

impl Recorder {
    /// Shows a task's failure; for [`on_unobserved`](trefoil::on_unobserved), and the executors'
    /// builders.
    pub fn failure(&self, report: &TaskReport) {
        self.0.notes.failure(report);
    }

    /// Shows a task that blocks its loop; for
    /// [`slow_poll`](trefoil::EventLoopBuilder::slow_poll).
    pub fn slow_poll(&self, slow: &SlowPoll) {
        self.0.notes.slow_poll(slow);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}
