//! Deadlocks, as the user hears of them: `trefoil::inspect::on_stuck`.
//!
//! **Job.** Where code begins to wait (`store`, `locks`), asks for a proof that it will never go on
//! (`proof`), and reports that, once.
//!
//! The hook is called on a thread of its own: this one may hold what the hook needs.
//!
//! Tests: `tests/tasks/stuck.rs::{a_deadlock_is_reported_once_and_without_a_hook_on_standard_error,
//! whoever_watches_hears_it_as_well}`.

use std::collections::HashSet;
use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed}; // a counter: no protocol
use std::time::Duration;

use super::asleep::{self, Asleep};
use super::proof::{Proof, Reason};
use super::store::{self, Store, THREAD};
use super::tree::{LiveTask, OutsideThread, describe, describe_thread};
use crate::loom::{Mutex, Parker, thread};
use crate::sys::fork::PerProcess;

/// How many deadlocks are remembered, so that each is reported once.
const REMEMBERED: usize = 1000;

/// How many of those who wait are shown when every thread sleeps.
const SHOWN: usize = 100;

/// After this time a proof that may pass is looked at once more.
const GRACE: Duration = Duration::from_millis(100);

/// The variable that says what becomes of reports; see [`on_stuck`].
pub(super) const VARIABLE: &str = "TREFOIL_STUCK";

type Hook = Arc<dyn Fn(&Stuck) + Send + Sync>;

#[derive(Default)]
struct Reports {
    hook: Option<Hook>,
    /// Those that listen as well, each with its number.
    watches: Vec<(u64, Hook)>,
    /// [`Proof::key`] of each.
    reported: HashSet<(u64, u64)>,
}

fn reports() -> &'static Mutex<Reports> {
    static REPORTS: PerProcess<Mutex<Reports>> = PerProcess::new();
    REPORTS.get_or_init(Mutex::default)
}

/// Code that can never go on, unless somebody cancels a task of it: a deadlock. Its `Display` form
/// is a report of several lines.
///
/// See [`on_stuck`].
///
/// ```
/// trefoil::inspect::on_stuck(|stuck| {
///     eprintln!("{stuck}");
///     eprintln!("{:?}, {} wait", stuck.kind(), stuck.waiters().len());
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Stuck {
    kind: StuckKind,
    waiters: Vec<StuckWaiter>,
    tasks: Vec<LiveTask>,
}

/// Why code can never go on; in a [`Stuck`].
///
/// ```
/// use trefoil::inspect::{StuckKind, on_stuck};
///
/// on_stuck(|stuck| match stuck.kind() {
///     StuckKind::Cycle => eprintln!("a circle"),
///     StuckKind::AbandonedLock => eprintln!("a lock that nobody will release"),
///     other => eprintln!("{other:?}"),
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StuckKind {
    /// Each waits for the next, and the last for the first: for its end, or for a lock that it has.
    Cycle,
    /// The last waits for a lock whose holder, a task, has ended without releasing it.
    AbandonedLock,
    /// The last is a future that waits to be woken, and nothing has a waker of it any more.
    NeverWoken,
    /// Every thread of the process sleeps until another one wakes it.
    AllAsleep,
}

/// One who waits; in a [`Stuck`].
///
/// ```
/// use trefoil::inspect::{StuckWaiter, on_stuck};
///
/// on_stuck(|stuck| {
///     for waiter in stuck.waiters() {
///         match waiter {
///             StuckWaiter::Task(task) => eprintln!("task {}", task.id),
///             StuckWaiter::Thread(thread) => eprintln!("thread {}", thread.name),
///             _ => {}
///         }
///     }
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StuckWaiter {
    /// A task.
    Task(LiveTask),
    /// A thread, for what it does outside tasks.
    Thread(OutsideThread),
}

impl Stuck {
    /// Why the waiters can never continue.
    #[must_use]
    pub fn kind(&self) -> StuckKind {
        self.kind
    }

    /// The tasks and threads that wait, each for the next. Of [`StuckKind::AllAsleep`] all that
    /// wait, a hundred at most.
    #[must_use]
    pub fn waiters(&self) -> &[StuckWaiter] {
        &self.waiters
    }

    /// The tasks among the waiters.
    #[must_use]
    pub fn tasks(&self) -> &[LiveTask] {
        &self.tasks
    }

    fn new(kind: StuckKind, waiters: Vec<StuckWaiter>) -> Self {
        let tasks = waiters.iter().filter_map(|waiter| match waiter {
            StuckWaiter::Task(task) => Some(task.clone()),
            StuckWaiter::Thread(_) => None,
        });
        Self {
            kind,
            tasks: tasks.collect(),
            waiters,
        }
    }

    fn of(store: &Store, proof: &Proof) -> Self {
        let kind = match proof.reason {
            Reason::Cycle => StuckKind::Cycle,
            Reason::AbandonedLock => StuckKind::AbandonedLock,
            Reason::NeverWoken => StuckKind::NeverWoken,
        };
        let waiters = proof.steps.iter();
        let waiters = waiters.filter_map(|step| describe_any(store, step.who));
        Self::new(kind, waiters.collect())
    }
}

impl fmt::Display for StuckWaiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => task.fmt(f),
            Self::Thread(thread) => thread.fmt(f),
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.waiters.len();
        let who = if self.tasks.len() == count {
            "tasks"
        } else {
            "tasks and threads"
        };
        match (self.kind, &*self.waiters) {
            (StuckKind::Cycle, [StuckWaiter::Task(one)]) => match one.waits_for.lock {
                None => f.write_str("a deadlock: a task waits for its own end"),
                Some(_) => f.write_str("a deadlock: a task waits for a lock that it has"),
            },
            (StuckKind::Cycle, [_]) => {
                f.write_str("a deadlock: a thread waits for a lock that it has")
            }
            (StuckKind::Cycle, _) => write!(f, "a deadlock: {count} {who} wait for one another"),
            (StuckKind::AbandonedLock, _) => {
                f.write_str("a deadlock: a lock is held by a task that has ended")
            }
            (StuckKind::NeverWoken, _) => {
                f.write_str("a deadlock: nothing can wake a task any more")
            }
            (StuckKind::AllAsleep, _) => f.write_str("a deadlock: every thread is asleep"),
        }?;
        for waiter in &self.waiters {
            write!(f, "\n  {waiter}")?;
        }
        Ok(())
    }
}

/// Keeps track of tasks from its first call on, and calls `hook` at a deadlock, while it happens:
/// when code can never continue unless a task of it is cancelled, or its executor ended.
///
/// # What is reported
///
/// Only what is proven, once each, when it becomes true, and a thousand times at most:
///
/// - [`StuckKind::Cycle`]: each waits for the next one's end, or for a lock that the next one has,
///   and the last waits for the first. That may be one task which asks for a lock that it has, and
///   a reader behind a writer which waits for that reader. Tasks of thread pools and loops, and
///   threads outside all tasks, may be in the same circle.
/// - [`StuckKind::AbandonedLock`]: the task that has taken a lock has ended without releasing it.
/// - [`StuckKind::NeverWoken`]: a future waits to be woken, and its wakers are all gone; wakers are
///   counted, not guessed at. Many such futures are meant to be cancelled, or to end with their
///   executor. So if somebody has its handle, or if its last poll has left no waker anywhere, as
///   that of `std::future::pending()`, it is reported only when code that is blocked on the same
///   thread pool waits for its end, or for the end of futures of that pool which do: nobody else
///   has the handles then, and the pool cannot end before (but by [`CancelPending`]). A
///   task that has an `AbortHandle`, or that [`find_task`] can find, is no orphan.
/// - [`StuckKind::AllAsleep`]: every thread of the process sleeps until another one wakes it, and
///   at least one of them waits for something. This is looked for on Linux, from 50 ms after the
///   last thread has fallen asleep.
///
/// A waiter counts only if nothing else can let it continue: its thread is blocked in a [`join`] or
/// in a blocking method of [`sync`] without a deadline; or it is a future with one waker, which is
/// left with a task or a lock; or its thread runs, on top of it, the task that it waits for. Each
/// step is checked again before it is reported, and those through locks and those
/// to an orphan once more after 100 ms. A task that was cancelled waits for nothing.
///
/// The future of an event loop's `block_on`, or of `run`, counts like a task, if tasks were kept
/// track of when that began, and if it was not called in a task.
///
/// # What is not seen
///
/// - Waits for several things at once (`select!`, `timeout`, a `TaskGroup`), and futures that a
///   combinator polls with a waker of its own.
/// - Waits for what anybody may bring about: a channel, a [`Semaphore`], an `Event`, a `Barrier`, a
///   `Condvar`. (Whoever has a reference to a semaphore can add permits without having one, so it
///   proves nothing that those who have them wait, too.) Only if every thread is asleep it does not
///   matter who may.
/// - Locks of other crates and of the standard library. A thread that blocks in one is not known to
///   sleep until another one wakes it, so every thread may be asleep without a report. The
///   commonest case is a guard of std's `Mutex` that is held across an `.await`, on a loop: the
///   next task that wants the lock blocks the thread which would have to release it. Clippy finds
///   it (`await_holding_lock`), [`tasks`](super::tasks) shows which task runs, and the `Mutex` of
///   [`sync`] does not block a loop.
/// - What a worker process waits for, and so circles through processes: its calls are shown in
///   [`tasks`](super::tasks), but what their code waits for is known only there. A worker has no
///   handle of its parent's pools and tasks. What it can wait for in other processes are channels
///   between processes, `Permits`, memory that they share, and whatever the system has; and of none
///   of these it is known which code may end the wait: whoever has got an end of a channel may, a
///   call that is queued included, and permits are kept by process, not by task. A pool of
///   processes also means that not every thread is asleep.
/// - What the tasks wait for of which only the number is kept, because there are more than 262,144.
/// - What was locked, and who began to wait, before tasks were kept track of; a future that has an
///   `AbortHandle`, which counts like a waker; parts of a `map`, `join` or `scope` that run on
///   other threads than their task.
///
/// # Whose a guard is
///
/// A guard that borrows its lock counts as that of the task that has taken it, or else of the
/// thread. Whoever gives a guard to another task or thread takes it with `lock_arc`: such guards
/// prove nothing. If a guard was dropped by other code than that which had taken it, nothing that
/// concerns locks which were made in the same place is reported any more.
///
/// # The hook
///
/// It replaces the earlier one. Without any, the report is printed to standard error; with the
/// variable `TREFOIL_STUCK=abort` that ends the process, for tests. It runs on a thread of its own;
/// if it panics, the panic hook reports that, and the panic goes no further.
///
/// Tasks are kept track of from the first call on (see [`tasks`](super::tasks)), or from the first
/// executor on if `TREFOIL_STUCK` or `TREFOIL_TASKS` is set. In a forked child this is to be called
/// again.
///
/// # Cost
///
/// While nobody has asked for it: a load and a branch for each event of a task, each guard, each
/// sleep, and each waker that is dropped. From then on: for each lock that is taken and released
/// some 150 ns, for each wait a walk along the way of those who wait for one another, in both
/// directions, until the shorter one ends (if the code holds a lock, or blocks, until the way
/// forward does), and a thread that looks a few times after an executor or a blocking wait has
/// fallen asleep.
///
/// ```
/// use std::sync::mpsc;
/// use trefoil::{Task, ThreadPool};
///
/// let (report, reports) = mpsc::channel();
/// trefoil::inspect::on_stuck(move |stuck| _ = report.send(stuck.to_string()));
///
/// // Each of two tasks joins the other.
/// let pool = ThreadPool::with_threads(2);
/// let (first, second): (mpsc::Sender<Task<()>>, _) = mpsc::channel();
/// let one = pool.spawn(move || second.recv().unwrap().join().unwrap()).named("one");
/// let two = pool.spawn(move || one.join().unwrap()).named("two");
/// let cancel = two.abort_handle();
/// first.send(two).unwrap();
///
/// let report = reports.recv().unwrap();
/// assert!(report.contains("2 tasks wait for one another"), "{report}");
/// assert!(report.contains("`one`") && report.contains("`two`"));
/// # drop(cancel);
/// # std::process::exit(0); // the pool will never end
/// ```
///
/// [`CancelPending`]: https://docs.rs/trefoil/latest/trefoil/enum.Shutdown.html
/// [`find_task`]: https://docs.rs/trefoil/latest/trefoil/inspect/fn.find_task.html
/// [`join`]: https://docs.rs/trefoil/latest/trefoil/struct.Task.html#method.join
/// [`Semaphore`]: https://docs.rs/trefoil/latest/trefoil/sync/struct.Semaphore.html
/// [`sync`]: https://docs.rs/trefoil/latest/trefoil/sync/
pub fn on_stuck(hook: impl Fn(&Stuck) + Send + Sync + 'static) {
    let before = reports().lock().hook.replace(Arc::new(hook));
    drop(before); // user code, which is not dropped under the lock
    store::wake();
}

/// Calls `listener` with each report that [`on_stuck`] is about, in addition to that hook, until
/// the [`StuckWatch`] is dropped: for a page or a log besides the program's own hook. There may be
/// several.
///
/// It is called before the hook, on the same thread; its panic goes no further.
///
/// ```
/// let watch = trefoil::inspect::watch_stuck(|stuck| println!("{stuck}"));
/// drop(watch);
/// ```
pub fn watch_stuck(listener: impl Fn(&Stuck) + Send + Sync + 'static) -> StuckWatch {
    static NEXT: AtomicU64 = AtomicU64::new(1); // goes on in a forked child
    let number = NEXT.fetch_add(1, Relaxed);
    reports().lock().watches.push((number, Arc::new(listener)));
    store::wake();
    StuckWatch(number)
}

/// The listener of [`watch_stuck`], which is called no more when this is dropped; a call that has
/// begun goes on.
///
/// ```
/// let watch = trefoil::inspect::watch_stuck(|stuck| eprintln!("{stuck}"));
/// // a part of the program that is watched
/// drop(watch);
/// ```
#[derive(Debug)]
#[must_use = "dropping it ends the listening"]
pub struct StuckWatch(u64);

impl Drop for StuckWatch {
    fn drop(&mut self) {
        let mut reports = reports().lock();
        let place = reports.watches.iter().position(|(one, _)| *one == self.0);
        let gone = place.map(|place| reports.watches.swap_remove(place));
        drop(reports);
        drop(gone); // user code
    }
}

/// Reports that this task or thread can never go on, if that is proven.
#[cold]
pub(crate) fn look_for_a_deadlock(store: &'static Store, who: u64) {
    if let Some(proof) = Proof::find(store, who) {
        pronounce(store, proof);
    }
}

fn pronounce(store: &'static Store, proof: Proof) {
    if is_new(proof.key()) {
        let stuck = Stuck::of(store, &proof);
        start(move || {
            if proof.may_pass() {
                // A guard may have been given away against the rule, to code that still runs.
                Parker::new().park_timeout(GRACE);
                if !proof.holds(store) {
                    reports().lock().reported.remove(&proof.key());
                    return;
                }
            }
            report(&stuck);
        });
    }
}

/// A task has ended without releasing what it has locked: looks at those who wait for that.
pub(crate) fn look_at_lost_locks(store: &'static Store, task: u64) {
    for who in store.who_waits_at(&store.locks.held_by(task)) {
        look_for_a_deadlock(store, who);
    }
}

/// No waker is left of a future that sleeps, and nobody has its handle.
#[cold]
pub(crate) fn look_at_an_orphan(store: &'static Store, task: u64) {
    if let Some(proof) = Proof::orphan(store, task) {
        pronounce(store, proof);
    }
}

/// This thread is about to sleep until another one wakes it, which the result lasts for. `waits`:
/// for something that its code needs.
pub(crate) fn fall_asleep(waits: bool) -> Asleep {
    asleep::fall_asleep(waits, report_all_asleep)
}

/// All threads sleep, and have since this change of their number.
fn report_all_asleep(changes: u64) {
    if let Some(store) = store::made()
        && is_new((u64::MAX, changes))
    {
        let waiters = store.who_waits(SHOWN);
        let waiters = waiters
            .into_iter()
            .filter_map(|who| describe_any(store, who));
        let stuck = Stuck::new(StuckKind::AllAsleep, waiters.collect());
        start(move || report(&stuck));
    }
}

fn describe_any(store: &Store, who: u64) -> Option<StuckWaiter> {
    match who & THREAD {
        0 => describe(store, who).map(StuckWaiter::Task),
        _ => describe_thread(store, who).map(StuckWaiter::Thread),
    }
}

/// Whether it is to be reported.
fn is_new(key: (u64, u64)) -> bool {
    let mut reports = reports().lock();
    reports.reported.len() < REMEMBERED && reports.reported.insert(key)
}

/// Whether a report ends the process.
fn aborts() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "abort")
}

/// Calls `f` on a thread of its own. If the system gives none, nothing is reported.
fn start(f: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new()
        .name("trefoil-stuck".to_owned())
        .spawn(f);
}

fn report(stuck: &Stuck) {
    let reports = reports().lock();
    let hook = reports.hook.clone();
    let watches = reports.watches.iter().map(|(_, hook)| Arc::clone(hook));
    let watches: Vec<Hook> = watches.collect();
    drop(reports);
    for listener in watches {
        let _ = catch_unwind(AssertUnwindSafe(|| listener(stuck)));
    }
    match hook {
        Some(hook) => _ = catch_unwind(AssertUnwindSafe(|| hook(stuck))),
        None => {
            let _ = writeln!(std::io::stderr(), "trefoil: {stuck}");
            if aborts() {
                std::process::abort();
            }
        }
    }
}
