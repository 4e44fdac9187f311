//! Finds tasks that wait for one another, so that none of them can end.
//!
//! **Job.** Where an edge has been added (`store`), follows the edges from there. Each task has one
//! at most, so a walk either ends or comes back to a task that it has passed: a circle. A second
//! look at each task of the circle must find the same turn. Then all edges were there at the moment
//! between the two looks. An edge goes away only if the task that it leads to ends, or if somebody
//! cancels the task that it comes from, and none of the circle's tasks ends before the next: so the
//! tasks are stuck, until somebody cancels one of them.
//!
//! The thread that adds the last edge of a circle sees all others, because each is written under
//! the lock that is taken to read it.
//!
//! The hook is called on a thread of its own: this one may hold what the hook needs.
//!
//! **Rejected.** To guess from a time without progress.
//!
//! Tests: `tests/tasks/stuck.rs`.

use std::collections::HashSet;
use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::store::{self, BLOCKED, Entry, INSIDE, Phase, SOLE, Store, TIMED};
use super::tree::{LiveTask, describe};
use crate::loom::{Mutex, thread};
use crate::sys::fork::PerProcess;

/// How many tasks a walk passes at most.
const LONGEST: usize = 10_000;

/// How many circles are remembered, so that each is reported once.
const REMEMBERED: usize = 1000;

type Hook = Arc<dyn Fn(&Stuck) + Send + Sync>;

#[derive(Default)]
struct Reports {
    hook: Option<Hook>,
    /// Those that listen as well, each with its number.
    watches: Vec<(u64, Hook)>,
    next: u64,
    /// The least task of each circle, with its turn.
    reported: HashSet<(u64, u32)>,
}

fn reports() -> &'static Mutex<Reports> {
    static REPORTS: PerProcess<Mutex<Reports>> = PerProcess::new();
    REPORTS.get_or_init(Mutex::default)
}

/// Tasks that wait for one another in a circle: a deadlock. Its `Display` form is a report of
/// several lines.
///
/// See [`on_stuck`].
#[derive(Clone, Debug)]
pub struct Stuck {
    tasks: Vec<LiveTask>,
}

impl Stuck {
    /// The tasks of the circle: each waits for the end of the next, and the last for the first.
    #[must_use]
    pub fn tasks(&self) -> &[LiveTask] {
        &self.tasks
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tasks.len() {
            1 => f.write_str("a deadlock: a task waits for its own end")?,
            count => write!(f, "a deadlock: {count} tasks wait for one another")?,
        }
        for task in &self.tasks {
            write!(f, "\n  {task}")?;
        }
        Ok(())
    }
}

/// Calls `hook` when tasks wait for one another in a circle, so that none of them can end, as long
/// as nobody cancels one.
///
/// Only what is certain is reported, once for each circle, at the moment at which it closes: each
/// task's code has blocked its thread in a [`join`] of the next task, without a deadline; or it is
/// a future whose only waker waits for the end of the next one; or it waits for the task that its
/// thread runs on top of it. So a task that waits for several things, for a timer, a channel or a
/// lock, is in no reported circle.
///
/// The hook replaces the earlier one. Without any, the report is printed to standard error. It runs
/// on a thread of its own; if it panics, the panic hook reports that, and the panic goes no
/// further.
///
/// Tasks are kept track of from the first call on (see [`tasks`](super::tasks)). In a forked child
/// this is to be called again.
///
/// ```
/// use std::sync::mpsc;
/// use trefoil::{Task, ThreadPool};
///
/// let (report, reports) = mpsc::channel();
/// trefoil::on_stuck(move |stuck| _ = report.send(stuck.to_string()));
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
/// [`join`]: https://docs.rs/trefoil/latest/trefoil/struct.Task.html#method.join
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
/// let watch = trefoil::watch_stuck(|stuck| println!("{stuck}"));
/// drop(watch);
/// ```
pub fn watch_stuck(listener: impl Fn(&Stuck) + Send + Sync + 'static) -> StuckWatch {
    let mut reports = reports().lock();
    reports.next += 1;
    let number = reports.next;
    reports.watches.push((number, Arc::new(listener)));
    drop(reports);
    store::wake();
    StuckWatch(number)
}

/// The listener of [`watch_stuck`], which is called no more when this is dropped; a call that has
/// begun goes on.
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

/// A task and the turn in which it was found.
type Seen = (u64, u32);

/// The task that this one waits for, if that is certain, and its own turn.
fn next(store: &Store, id: u64) -> Option<(u64, u32)> {
    let Entry {
        on,
        turn,
        flags,
        phase,
        ..
    } = store.entry(id)?;
    let is_certain = match phase {
        Phase::Running => flags & (BLOCKED | TIMED) == BLOCKED || flags & INSIDE != 0,
        Phase::Waiting => flags & SOLE != 0 && store.entry(on)?.waiter == id,
        Phase::Queued => false,
    };
    is_certain.then_some((on, turn))
}

/// The circle that the edges from this task lead to.
fn circle(store: &Store, start: u64) -> Option<Vec<Seen>> {
    let mut path: Vec<Seen> = Vec::new();
    let mut passed = HashSet::new();
    let mut id = start;
    while passed.insert(id) {
        let (on, turn) = next(store, id)?;
        path.push((id, turn));
        id = on;
        if path.len() > LONGEST {
            return None;
        }
    }
    let first = path.iter().position(|(passed, _)| *passed == id)?;
    Some(path.split_off(first))
}

/// Reports the circle that this task is in, or waits for, if there is one.
pub(crate) fn look_for_a_circle(store: &'static Store, task: u64) {
    let Some(circle) = circle(store, task) else {
        return;
    };
    let is_same = |(id, turn): &Seen| next(store, *id).is_some_and(|(_, now)| now == *turn);
    if !circle.iter().all(is_same) {
        return;
    }
    let least = *circle.iter().min().expect("a circle has a task");
    let mut reports = reports().lock();
    if reports.reported.len() >= REMEMBERED || !reports.reported.insert(least) {
        return;
    }
    let hook = reports.hook.clone();
    let watches = reports.watches.iter().map(|(_, hook)| Arc::clone(hook));
    let watches: Vec<Hook> = watches.collect();
    drop(reports);
    let tasks = circle.iter().filter_map(|(id, _)| describe(store, *id));
    let stuck = Stuck {
        tasks: tasks.collect(),
    };
    report(watches, hook, stuck);
}

fn report(watches: Vec<Hook>, hook: Option<Hook>, stuck: Stuck) {
    let call = move || {
        for listener in watches {
            let _ = catch_unwind(AssertUnwindSafe(|| listener(&stuck)));
        }
        match hook {
            Some(hook) => _ = catch_unwind(AssertUnwindSafe(|| hook(&stuck))),
            None => _ = writeln!(std::io::stderr(), "trefoil: {stuck}"),
        }
    };
    // If the system gives no thread, nothing is reported.
    let _ = thread::Builder::new()
        .name("trefoil-stuck".to_owned())
        .spawn(call);
}
