//! A live page in the browser for a program that runs on [trefoil](https://docs.rs/trefoil).
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod access;
mod body;
mod executors;
mod metrics;
mod notes;
mod pulse;
mod report;
mod sampler;
mod server;
mod snapshot;
mod system;
mod tree;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use trefoil::io::TcpListener;
use trefoil::{
    CancelToken, EventLoop, LoopHandle, ProcessPool, SlowPoll, StuckWatch, TaskReport, ThreadPool,
    watch_stuck,
};

use access::Access;
use executors::{Executor, Executors};
use notes::Notes;
use pulse::Pulse;
use sampler::Sampler;

/// The name of the dashboard's thread.
const THREAD: &str = "trefoil-dash";

/// What the dashboard's thread and the program share.
#[derive(Debug)]
struct Shared {
    access: Access,
    executors: Executors,
    notes: Notes,
    pulse: Pulse,
    program: String,
    started: Instant,
}

/// Serves the page on `addr`, from a thread of its own, until the [`Dashboard`] is dropped.
///
/// Port 0 is any port that is free. [`Dashboard::url`] is the address to open; it has a random
/// token, without which nothing is answered.
///
/// An address that is not a loopback address can be reached from other machines. The page is served
/// without encryption, so everybody on the way can read it and the token. Where the network is not
/// yours alone, serve on `127.0.0.1` and reach it through a tunnel (`ssh -L 8787:127.0.0.1:8787
/// host`).
///
/// From here on tasks are kept track of, as after the first call of [`tasks`](trefoil::tasks): all
/// tasks of the program are on the page, and deadlocks that are found, also without
/// [`on_stuck`](trefoil::on_stuck).
///
/// Cost: that of keeping track of tasks, some 100 ns for each, and a thread, which sleeps while no
/// page is open.
///
/// # Errors
/// Those of the system: the address is in use, does not resolve or is not of this machine; there is
/// no thread, no descriptor or no random number left.
///
/// ```
/// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
/// assert!(dashboard.url().starts_with("http://127.0.0.1:"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn serve(addr: impl ToSocketAddrs) -> io::Result<Dashboard> {
    let addresses: Vec<SocketAddr> = addr.to_socket_addrs()?.collect();
    let stop = CancelToken::new();
    let stopped = stop.clone();
    let (sender, started) = mpsc::channel();
    let thread = Builder::new().name(THREAD.to_owned()).spawn(move || {
        let event_loop = match EventLoop::new() {
            Ok(event_loop) => event_loop,
            Err(error) => {
                let _the_caller_waits = sender.send(Err(error));
                return;
            }
        };
        event_loop.block_on(async {
            let listening = listen(&addresses).await;
            match listening {
                Ok((listener, bound, shared)) => {
                    let sampler = Rc::new(Sampler::new(shared.clone()));
                    let _the_caller_waits = sender.send(Ok((bound, shared)));
                    server::run(listener, sampler, stopped).await;
                }
                Err(error) => {
                    let _the_caller_waits = sender.send(Err(error));
                }
            }
        });
    })?;
    let gone = || Err(io::Error::other("the dashboard's thread has ended"));
    let (bound, shared) = started.recv().unwrap_or_else(|_| gone())?;
    let noted = shared.clone();
    Ok(Dashboard {
        _stuck: watch_stuck(move |stuck| noted.notes.stuck(stuck)),
        shared,
        bound,
        stop,
        thread: Some(thread),
        program: std::process::id(),
    })
}

async fn listen(addresses: &[SocketAddr]) -> io::Result<(TcpListener, SocketAddr, Arc<Shared>)> {
    let listener = TcpListener::bind(addresses).await?;
    let bound = listener.local_addr()?;
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::file_name);
    let shared = Arc::new(Shared {
        access: Access::new(bound)?,
        executors: Executors::default(),
        notes: Notes::default(),
        pulse: Pulse::default(),
        program: program.unwrap_or_default().to_string_lossy().into_owned(),
        started: Instant::now(),
    });
    Ok((listener, bound, shared))
}

/// A page that is served; from [`serve`]. Dropping it closes the page.
#[must_use = "dropping it closes the page"]
pub struct Dashboard {
    shared: Arc<Shared>,
    bound: SocketAddr,
    stop: CancelToken,
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread: not a forked child.
    program: u32,
    _stuck: StuckWatch,
}

impl Dashboard {
    /// The address to open in a browser, with the token: whoever has it sees the page.
    ///
    /// The answer to it stores the token in a cookie and redirects to the page, so that the token
    /// does not stay in the address bar. It may be opened several times.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.access.url()
    }

    /// What a program that collects metrics needs, such as Prometheus: the address of `/metrics`,
    /// and the token, which it sends in a header, `Authorization: Bearer TOKEN`.
    ///
    /// ```
    /// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
    /// let (address, token) = dashboard.metrics();
    /// assert!(address.ends_with("/metrics") && token.len() == 32);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> (String, String) {
        let url = self.shared.access.url();
        let (address, token) = url.split_once("?token=").unwrap_or((&url, ""));
        (format!("{address}{}", access::METRICS), token.to_owned())
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.bound
    }

    /// Shows a thread pool: the numbers of [`stats`](ThreadPool::stats), and how long spawned work
    /// waits until it runs.
    ///
    /// The latter is measured: while a page is open, a closure that does nothing is spawned once a
    /// second. It bears the name `dashboard`.
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
            id: self.shared.executors.add(notes::clip(&name), executor),
            shared: self.shared.clone(),
            stays: false,
        }
    }

    /// What hooks call, to show failures and slow polls.
    pub fn recorder(&self) -> Recorder {
        Recorder(self.shared.clone())
    }

    /// Writes what the page shows now to a file, which a browser opens without this program.
    ///
    /// Of the tasks it has the first hundred lines by name, by site and as a tree. It takes a
    /// quarter of a second, because rates are measured, and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// Those of writing the file.
    ///
    /// ```no_run
    /// # fn show(dashboard: &trefoil_dashboard::Dashboard) -> std::io::Result<()> {
    /// dashboard.report("report.html")
    /// # }
    /// ```
    pub fn report(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let before = sampler::take(&self.shared);
        std::thread::sleep(report::BETWEEN);
        std::fs::write(path, report::render(&self.shared, &before)?)
    }

    /// Closes the page and all connections, and waits until its thread has ended. Dropping it does
    /// the same.
    ///
    /// The pools that [stayed](Watched::stay) are given up: if no other handle of such a pool is
    /// left, this ends the pool.
    pub fn close(self) {}
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && self.program == std::process::id()
        {
            let _its_panic_was_reported = thread.join();
        }
        drop(self.shared.executors.remove_all());
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("addr", &self.bound)
            .finish_non_exhaustive()
    }
}

/// An executor that is on the page until this is dropped.
///
/// It is a handle of its pool: a pool does not end before it is dropped. So bind it after the pool,
/// in the same block, or let it [`stay`](Self::stay).
#[must_use = "dropping it takes the executor off the page"]
pub struct Watched {
    shared: Arc<Shared>,
    id: u64,
    stays: bool,
}

impl Watched {
    /// Leaves the executor on the page, and its pool alive, until the [`Dashboard`] is closed.
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

/// Takes notes for the page, from hooks; from [`Dashboard::recorder`].
///
/// The last hundred notes of each kind are kept, with at most 2 KiB of each text; all are counted.
/// A note may be taken on any thread, and costs a lock and a few allocations. After the dashboard
/// has been closed, it does nothing that can be seen.
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
