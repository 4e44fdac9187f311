//! The tree of live tasks, as the user gets it.
//!
//! **Job.** A copy of the store, sorted; children under the tasks that have spawned them. The
//! drawing uses an explicit stack, and lines are indented at most [`DEEPEST`] levels, because
//! chains of tasks that spawn tasks can be long.
//!
//! Tests: `tests/tasks/tree.rs::{children_stand_below_the_task_that_has_spawned_them,
//! json_has_the_documented_form}`.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::locks::LockState;
use super::store::{
    self, BLOCKED, Copied, Entry, INSIDE, LockWait, Phase, READ, SHARDS, SentItems, Steps, Store,
    THREAD, TIMED, TIMER, ThreadInfo, WRITE,
};
use super::worker_tree::{self, LiveWorker};
use crate::event::{Role, Site};
use crate::json::{Object, Text, list};
use crate::printable::Printable;

/// The deepest indentation.
const DEEPEST: usize = 24;

/// The tasks of all executors of this process that have not ended: see [`tasks`].
///
/// `Display` draws the tree, parents above the tasks that they have spawned. Names are printed
/// without what a terminal would obey, as in all reports of this crate; the fields and the JSON
/// form have them as they are.
///
/// ```
/// trefoil::inspect::tasks(); // the first call: from here on, tasks are kept track of
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let tree = pool.spawn(|| trefoil::inspect::tasks()).named("looks").join()?;
/// assert!(tree.to_string().contains("`looks`"));
/// assert_eq!(tree.tasks().len(), 1);
/// # Ok::<_, trefoil::TaskError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TaskTree {
    pid: u32,
    /// By id.
    tasks: Vec<LiveTask>,
    calls: Vec<LiveCall>,
    workers: Vec<LiveWorker>,
    threads: Vec<OutsideThread>,
    without_details: u64,
}

/// A task in a [`TaskTree`].
///
/// ```
/// for task in trefoil::inspect::tasks().tasks() {
///     println!("{} of {}, {:?} for {:?}", task.id, task.spawned_at, task.phase, task.since);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveTask {
    /// The number of its `TaskId`.
    pub id: u64,
    /// The name that it was given.
    pub name: Option<Box<str>>,
    /// "closure", "future", "local future" (of an event loop), "root future" (that of
    /// `EventLoop::block_on`), or "promise" (a task that is completed from elsewhere: a call to a
    /// worker process, a callback).
    pub kind: &'static str,
    /// Where it was spawned; for a root future, where the loop was started.
    pub spawned_at: &'static Location<'static>,
    /// The number of the task that spawned it. `None`: no task did, or it is not known, because
    /// this task is older than the tree.
    pub parent: Option<u64>,
    /// What it does.
    pub phase: TaskPhase,
    /// For how long it has done that.
    pub since: Duration,
    /// What runs it, or has run it last: a thread of an executor, by its name. `None`: it has not
    /// begun.
    pub runs_on: Option<String>,
    /// What it waits for, as far as that is known.
    pub waits_for: LiveWait,
    /// How often it was polled and had to wait; 0 for a closure.
    pub polls: u64,
    /// The steps that it is in, the oldest first, four at most: the names of your own for parts of
    /// its future (`StepExt::step`).
    pub steps: Vec<LiveStep>,
}

/// A step of a [`LiveTask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveStep {
    /// Its name.
    pub name: &'static str,
    /// For how long the task has been in it.
    pub since: Duration,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskPhase {
    /// It is in a queue of its executor.
    Queued,
    /// Its code runs on a thread; that thread may be parked, which `waits_for` says.
    Running,
    /// It is a future that waits to be woken, or a promise that was not completed.
    Waiting,
}

/// What a [`LiveTask`] waits for. Nothing is set if it does not wait, or for something unknown: a
/// future of another crate, or one that a combinator polls with a waker of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveWait {
    /// The number of the task whose end it waits for; if it waits for several, the one that it
    /// asked last.
    pub task: Option<u64>,
    /// Whether it has blocked its thread until then.
    pub blocks: bool,
    /// Whether that wait has a deadline.
    pub has_deadline: bool,
    /// Whether its thread runs that task on top of it, and will return to it.
    pub runs_task: bool,
    /// Whether it waits for a timer of its loop.
    pub timer: bool,
    /// Whether it waits for a descriptor that has data to read, or a connection to accept.
    pub read: bool,
    /// Whether it waits for a descriptor that has room to write.
    pub write: bool,
    /// The lock, channel or other thing of [`sync`](https://docs.rs/trefoil/latest/trefoil/sync/)
    /// that it waits for; if it waits for several, the one that it asked last.
    pub lock: Option<LiveLock>,
}

/// A lock, a channel or the like, in a [`LiveWait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveLock {
    /// Its type: the name of one in `sync` (as `"Mutex"`), or `"channel"`, `"watch channel"` or
    /// `"broadcast channel"`.
    pub kind: &'static str,
    /// Where it was made. `None`: a `Mutex` that was taken before tasks were kept track of.
    pub made_at: Option<&'static Location<'static>>,
    /// What holds it. `None`: nothing does, or it is not known. Events and channels have no holder,
    /// and the holders of a semaphore's permits are not kept.
    pub held_by: Option<LiveHolder>,
    /// How many others have it, too: readers.
    pub others: usize,
}

/// Who has taken a lock, in a [`LiveLock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveHolder {
    /// The task with this number.
    Task(u64),
    /// The thread with this [number](OutsideThread::number), outside tasks.
    Thread(u64),
}

/// A thread that waits outside tasks, in a [`TaskTree`]: in a `join` or for a lock.
///
/// ```
/// for thread in trefoil::inspect::tasks().threads() {
///     println!("{} waits: {:?}", thread.name, thread.waits_for);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutsideThread {
    /// A number that no other thread of the process has in a tree.
    pub number: u64,
    /// Its name; empty: it has none.
    pub name: String,
    /// What it waits for.
    pub waits_for: LiveWait,
}

/// Items that a worker process has got and has not answered, in a [`TaskTree`].
///
/// ```
/// for call in trefoil::inspect::tasks().calls() {
///     println!("process {} has had item {} for {:?}", call.pid, call.first, call.since);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveCall {
    /// The process.
    pub pid: u32,
    /// The number of the task that gets the results. `None`: it is an `imap` or a `map_each`, or it
    /// is not known, because the call is older than the tree.
    pub task: Option<u64>,
    /// That task's name: of the call, or of the `map`.
    pub name: Option<Box<str>>,
    /// Where that task was spawned: the line that calls the pool.
    pub called_at: Option<&'static Location<'static>>,
    /// The most memory that the process has ever had, in bytes, where the system says that of a
    /// child. `None` in an [`Activity`](super::Activity).
    pub peak_memory: Option<u64>,
    /// The number of the first item.
    pub first: usize,
    /// How many items there are.
    pub items: u64,
    /// How long ago they were sent, or those before them were answered.
    pub since: Duration,
}

/// Keeps track of tasks from its first call on, and returns those that have not ended, of all
/// executors of this process: threads, loops, calls to worker processes, and promises.
///
/// [`on_stuck`](super::on_stuck) begins to keep track of tasks, too, and so does the variable
/// `TREFOIL_TASKS=1` when the first executor is made. A task that is older than that
/// appears when its code next runs, without its parent; a promise, and so a call to a worker
/// process, does not. The page of the module `inspect` says what
/// that costs. Of more than 262,144 tasks only the number is kept
/// ([`TaskTree::without_details`]).
///
/// Parts of a `map`, `join` or `scope` are no tasks; they belong to the task that called it.
///
/// Each worker process is asked for its own tree: what the items there have spawned. A thread of
/// the worker answers that, so it does not matter whether an item computes, sleeps or hangs. A
/// worker that has not answered after 100 ms is in the tree without one ("no answer"): one that is
/// stopped, or has no processor, or is far away. Of long trees only the beginning is sent (128
/// tasks), and workers of workers are not asked. From then on tasks are kept track of in the
/// workers, too.
///
/// Whatever is proven to be a deadlock from then on is reported on standard error, unless there is
/// a hook for that: [`on_stuck`](super::on_stuck).
///
/// Cost: a walk over all tasks, part by part, so that what one task says and what another says may
/// be some microseconds apart; and where there are worker processes, the time until they have
/// answered, for which it blocks its thread: a fraction of a millisecond, and 100 ms if one does
/// not. [`task_parts`] and [`activity`](super::activity) do not ask them, and neither does a call
/// on a pool's own thread: in a hook of it, or in `on_done`.
///
/// ```
/// use trefoil::{Completer, ThreadPool};
///
/// use trefoil::inspect::tasks;
/// println!("{}", tasks()); // the first call: from now on, tasks are kept track of
///
/// let pool = ThreadPool::with_threads(1);
/// let (completer, promise) = Completer::<u32>::new();
/// let promise = promise.named("answer");
/// let asked = promise.id();
/// let waiting = pool.spawn_async(async { promise.await }).named("asks");
/// # while tasks().get(waiting.id().get()).unwrap().polls == 0 { std::thread::yield_now() }
///
/// let tree = tasks();
/// let task = tree.get(waiting.id().get()).unwrap();
/// assert_eq!(task.name.as_deref(), Some("asks"));
/// assert_eq!(task.waits_for.task, Some(asked.get()));
/// assert!(tree.to_string().contains("`asks`"));
///
/// completer.complete(Ok(42));
/// assert_eq!(waiting.join()??, 42);
/// # Ok::<_, trefoil::TaskError>(())
/// ```
#[must_use]
pub fn tasks() -> TaskTree {
    let asked = Instant::now();
    let answers = worker_tree::ask();
    let mut tree = own();
    tree.workers = answers.wait(asked);
    for call in &mut tree.calls {
        let place = tree
            .workers
            .binary_search_by_key(&call.pid, |worker| worker.pid);
        call.peak_memory = place.ok().and_then(|place| tree.workers[place].peak_memory);
    }
    tree
}

/// The tree of this process alone.
pub(super) fn own() -> TaskTree {
    let store = store::wake();
    TaskTree::of(store, store.copy())
}

/// Keeps track of tasks from its first call on, and returns all live tasks in parts, some at a
/// time: [`tasks`] for a program that must not stop for a walk over a million of them. See
/// [`TaskParts`].
///
/// ```
/// let tasks: usize = trefoil::inspect::task_parts().map(|part| part.tasks().len()).sum();
/// assert_eq!(tasks, trefoil::inspect::tasks().tasks().len());
/// ```
#[must_use]
pub fn task_parts() -> TaskParts {
    store::wake();
    TaskParts { next: 0 }
}

/// All live tasks, in 64 trees that share no task; from [`task_parts`].
///
/// Each is copied when it is asked for, so that they are not of one moment. None has
/// [`calls`](TaskTree::calls), and a task's parent may be in another part. Which tasks are in which
/// part stays the same.
///
/// ```
/// let count: usize = trefoil::inspect::task_parts().map(|part| part.tasks().len()).sum();
/// println!("{count} tasks");
/// ```
#[derive(Debug)]
pub struct TaskParts {
    next: usize,
}

impl Iterator for TaskParts {
    type Item = TaskTree;

    fn next(&mut self) -> Option<TaskTree> {
        if self.next == SHARDS {
            return None;
        }
        let (store, mut copied) = (store::wake(), Copied::default());
        store.copy_part(self.next, &mut copied);
        self.next += 1;
        Some(TaskTree::of(store, copied))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = SHARDS - self.next;
        (left, Some(left))
    }

    /// Without a copy of what is skipped.
    fn nth(&mut self, n: usize) -> Option<TaskTree> {
        self.next = SHARDS.min(self.next.saturating_add(n));
        self.next()
    }
}

impl ExactSizeIterator for TaskParts {}

impl LiveTask {
    fn new(
        (id, entry): (u64, Entry),
        thread: Option<ThreadInfo>,
        since: Duration,
        waits_for: LiveWait,
    ) -> Self {
        let named = |number: u64| (number != 0).then_some(number);
        Self {
            id,
            name: None,
            kind: entry.kind.name(),
            spawned_at: entry.site,
            parent: named(entry.parent),
            phase: match entry.phase {
                Phase::Queued => TaskPhase::Queued,
                Phase::Running => TaskPhase::Running,
                Phase::Waiting => TaskPhase::Waiting,
            },
            since,
            runs_on: thread.map(|thread| thread.to_string()),
            waits_for,
            polls: entry.polls.into(),
            steps: Vec::new(),
        }
    }
}

impl LiveWait {
    fn new(store: &Store, entry: &Entry) -> Self {
        let has = |flag: u16| entry.flags & flag != 0;
        Self {
            task: (entry.on != 0).then_some(entry.on),
            blocks: has(BLOCKED),
            has_deadline: has(TIMED),
            runs_task: has(INSIDE),
            timer: has(TIMER.into()),
            read: has(READ.into()),
            write: has(WRITE.into()),
            lock: entry.wait.map(|wait| LiveLock::new(store, wait)),
        }
    }
}

impl LiveLock {
    fn new(store: &Store, LockWait { lock, .. }: LockWait) -> Self {
        let state = store.locks.state(lock.address);
        let made_at: Option<Site> = state
            .as_ref()
            .and_then(|state| state.lock.made_at)
            .or(lock.made_at);
        let mut holders = state.iter().flat_map(LockState::holders);
        let first = holders.next().map(|holder| holder.by);
        Self {
            kind: lock.kind.name(),
            made_at,
            held_by: first.filter(|by| *by != 0).map(LiveHolder::of),
            others: holders.count(),
        }
    }
}

impl LiveHolder {
    fn of(who: u64) -> Self {
        match who & THREAD {
            0 => Self::Task(who),
            _ => Self::Thread(who & !THREAD),
        }
    }
}

/// A thread outside tasks by its number in the store.
pub(super) fn describe_thread(store: &Store, number: u64) -> Option<OutsideThread> {
    let thread = store.outside(number)?;
    Some(OutsideThread {
        number: number & !THREAD,
        waits_for: LiveWait::new(store, &thread.entry),
        name: thread.name,
    })
}

/// A task of the store by its id.
pub(super) fn describe(store: &Store, id: u64) -> Option<LiveTask> {
    let entry = store.entry(id)?;
    let (now, nanos) = store.clock.elapsed();
    let since = Duration::from_nanos(now.saturating_sub(nanos(entry.since)));
    let thread = store.thread(entry.thread);
    let wait = LiveWait::new(store, &entry);
    let mut task = LiveTask::new((id, entry), thread, since, wait);
    task.name = store.name(id);
    task.add_steps(&store.steps(id), |at| {
        Duration::from_nanos(now.saturating_sub(nanos(at)))
    });
    Some(task)
}

/// The place of a task in a list that is sorted by ids.
fn place_of(tasks: &[LiveTask], id: u64) -> Option<usize> {
    tasks.binary_search_by_key(&id, |task| task.id).ok()
}

impl TaskTree {
    fn of(store: &Store, copied: Copied) -> Self {
        let Copied {
            tasks,
            names,
            steps,
            bare,
            threads,
            sent,
            outside,
        } = copied;
        let (now, nanos) = store.clock.elapsed();
        let since = |at: u64| Duration::from_nanos(now.saturating_sub(nanos(at)));
        let mut tasks: Vec<LiveTask> = tasks
            .into_iter()
            .map(|(id, entry)| {
                let thread = store::at(&threads, entry.thread).cloned();
                let wait = LiveWait::new(store, &entry);
                let since = since(entry.since);
                LiveTask::new((id, entry), thread, since, wait)
            })
            .collect();
        tasks.sort_unstable_by_key(|task| task.id);
        for (id, name) in names {
            if let Some(place) = place_of(&tasks, id) {
                tasks[place].name = Some(name);
            }
        }
        for (id, steps) in steps {
            if let Some(place) = place_of(&tasks, id) {
                tasks[place].add_steps(&steps, since);
            }
        }
        let call = |(pid, items, task)| LiveCall::new(store, pid, &items, task);
        let thread = |(number, thread): (u64, store::OutsideThread)| OutsideThread {
            number: number & !THREAD,
            waits_for: LiveWait::new(store, &thread.entry),
            name: thread.name,
        };
        let waits = |thread: &OutsideThread| thread.waits_for != LiveWait::default();
        let threads = outside.into_iter().map(thread).filter(waits);
        Self {
            pid: std::process::id(),
            tasks,
            calls: sent.into_iter().map(call).collect(),
            workers: Vec::new(),
            threads: threads.collect(),
            without_details: bare,
        }
    }

    /// Leaves only so many tasks with details, and so many calls.
    pub(super) fn shorten(&mut self, most: usize) {
        self.without_details += self.tasks.len().saturating_sub(most) as u64;
        self.tasks.truncate(most);
        self.calls.truncate(most);
        self.threads.truncate(most);
    }

    /// The tasks, by their ids.
    #[must_use]
    pub fn tasks(&self) -> &[LiveTask] {
        &self.tasks
    }

    /// The task whose `TaskId` has this number.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&LiveTask> {
        Some(&self.tasks[place_of(&self.tasks, id)?])
    }

    /// What worker processes have got and have not answered.
    #[must_use]
    pub fn calls(&self) -> &[LiveCall] {
        &self.calls
    }

    /// The worker processes of this process's pools, with their own trees, by their process ids.
    /// Those that have not begun yet are left out.
    ///
    /// ```
    /// # trefoil::init();
    /// let procs = trefoil::ProcessPool::with_workers(2)?;
    /// procs.spawn((), |()| ()).join()?;
    /// let tree = trefoil::inspect::tasks();
    /// for worker in tree.workers() {
    ///     println!("{worker}"); // its own tree, or "process 4711: no answer"
    /// }
    /// assert!(tree.workers().iter().all(|worker| procs.worker_pids().contains(&worker.pid)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn workers(&self) -> &[LiveWorker] {
        &self.workers
    }

    /// Threads that wait outside tasks: in a `join`, or for a lock.
    #[must_use]
    pub fn threads(&self) -> &[OutsideThread] {
        &self.threads
    }

    /// How many more tasks there are, of which nothing else is kept.
    #[must_use]
    pub fn without_details(&self) -> u64 {
        self.without_details
    }

    /// The tree as JSON, in a form that stays: a later version may add members, and values where a
    /// list of them is given here.
    ///
    /// An object with `version` (1), `pid`, `without_details`, and four lists.
    /// - `tasks`, by id. Each has `id`, `kind` (as in [`LiveTask::kind`]), `spawned_at`
    ///   (`file:line:column`), `state` ("queued", "running", "waiting"), `for_us` (for how many
    ///   microseconds it has been in that state), `polls`; where known, `name`, `parent` (an id)
    ///   and `runs_on`; and, if it waits for something that is known, `waits_for`: an object with
    ///   `task` (an id), `lock`, and as `true` each of `blocks`, `has_deadline`, `runs_task`,
    ///   `timer`, `read` and `write` that holds. A `lock` is an object with `kind` (as in
    ///   [`LiveLock::kind`]), `others` (a count), and where known `made_at` and either
    ///   `held_by_task` (an id) or `held_by_thread` (a `number`). If it is in any, `steps`: a list
    ///   of objects with `name` and `for_us`.
    /// - `calls`. Each has `pid`, `first`, `items`, `for_us`, and where known `task` (an id),
    ///   `name`, `called_at` and `peak_memory` (bytes).
    /// - `threads` that wait outside tasks. Each has `number`, `name` and `waits_for`.
    /// - `workers`, by process id. Each has `pid`; `tree`, an object like this one, or `null` if it
    ///   has not answered; and where known `peak_memory`.
    #[must_use]
    pub fn to_json(&self) -> String {
        Object::new()
            .put("version", 1)
            .put("pid", self.pid)
            .put("without_details", self.without_details)
            .put("tasks", list(&mut self.tasks.iter().map(LiveTask::json)))
            .put("calls", list(&mut self.calls.iter().map(LiveCall::json)))
            .put(
                "workers",
                list(&mut self.workers.iter().map(LiveWorker::json)),
            )
            .put(
                "threads",
                list(&mut self.threads.iter().map(OutsideThread::json)),
            )
            .to_string()
    }
}

impl LiveTask {
    fn add_steps(&mut self, steps: &Steps, since: impl Fn(u64) -> Duration) {
        for step in steps.iter().flatten() {
            self.steps.push(LiveStep {
                name: step.name,
                since: since(step.since),
            });
        }
    }

    fn json(&self) -> Object {
        let mut object = Object::new().put("id", self.id).text("kind", self.kind);
        if let Some(name) = &self.name {
            object = object.text("name", name);
        }
        object = object
            .put("spawned_at", Text(&self.spawned_at.to_string()))
            .text("state", self.phase.name())
            .put("for_us", self.since.as_micros())
            .put("polls", self.polls);
        if let Some(parent) = self.parent {
            object = object.put("parent", parent);
        }
        if let Some(place) = &self.runs_on {
            object = object.text("runs_on", place);
        }
        if !self.steps.is_empty() {
            let step = |step: &LiveStep| {
                let object = Object::new().text("name", step.name);
                object.put("for_us", step.since.as_micros())
            };
            object = object.put("steps", list(&mut self.steps.iter().map(step)));
        }
        if self.waits_for == LiveWait::default() {
            object
        } else {
            object.put("waits_for", self.waits_for.json())
        }
    }
}

impl LiveWait {
    fn json(&self) -> Object {
        let mut waits = Object::new();
        if let Some(task) = self.task {
            waits = waits.put("task", task);
        }
        if let Some(lock) = self.lock {
            waits = waits.put("lock", lock.json());
        }
        let flags = [
            ("blocks", self.blocks),
            ("has_deadline", self.has_deadline),
            ("runs_task", self.runs_task),
            ("timer", self.timer),
            ("read", self.read),
            ("write", self.write),
        ];
        for (name, _) in flags.into_iter().filter(|(_, holds)| *holds) {
            waits = waits.put(name, true);
        }
        waits
    }
}

impl LiveLock {
    fn json(&self) -> Object {
        let mut object = Object::new()
            .text("kind", self.kind)
            .put("others", self.others);
        if let Some(site) = self.made_at {
            object = object.put("made_at", Text(&site.to_string()));
        }
        match self.held_by {
            Some(LiveHolder::Task(task)) => object.put("held_by_task", task),
            Some(LiveHolder::Thread(number)) => object.put("held_by_thread", number),
            None => object,
        }
    }
}

impl OutsideThread {
    fn json(&self) -> Object {
        Object::new()
            .put("number", self.number)
            .text("name", &self.name)
            .put("waits_for", self.waits_for.json())
    }
}

impl LiveCall {
    pub(super) fn new(store: &Store, pid: u32, items: &SentItems, task: Option<u64>) -> Self {
        let (now, nanos) = store.clock.elapsed();
        Self {
            pid,
            task,
            name: task.and_then(|task| store.name(task)),
            called_at: task.and_then(|task| Some(store.entry(task)?.site)),
            peak_memory: None,
            first: items.first,
            items: items.frame.items.into(),
            since: Duration::from_nanos(now.saturating_sub(nanos(items.since))),
        }
    }

    fn json(&self) -> Object {
        let mut object = Object::new()
            .put("pid", self.pid)
            .put("first", self.first)
            .put("items", self.items)
            .put("for_us", self.since.as_micros());
        if let Some(task) = self.task {
            object = object.put("task", task);
        }
        if let Some(name) = &self.name {
            object = object.text("name", name);
        }
        if let Some(site) = self.called_at {
            object = object.put("called_at", Text(&site.to_string()));
        }
        match self.peak_memory {
            Some(peak) => object.put("peak_memory", peak),
            None => object,
        }
    }
}

impl TaskPhase {
    fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }
}

impl fmt::Display for TaskPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ThreadInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &*self.name {
            "" => "(no name)",
            name => name,
        };
        match self.role {
            Role::Outside => write!(f, "thread {name}"),
            Role::Loop => write!(f, "event loop on {name}"),
            Role::Driver { pool } => write!(f, "driver of process pool {pool}"),
            Role::Worker { .. } => write!(f, "worker {name}"),
            Role::BlockingCalls => write!(f, "thread {name} for blocking calls"),
            Role::Process { pool } => write!(f, "worker of process pool {pool}"),
        }
    }
}

impl fmt::Display for LiveWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.map(
            |task| match (self.runs_task, self.blocks, self.has_deadline) {
                (true, ..) => format!("task #{task}, which its thread runs on top of it"),
                (_, true, true) => format!("task #{task}, blocking its thread until a deadline"),
                (_, true, false) => format!("task #{task}, blocking its thread"),
                _ => format!("task #{task}"),
            },
        );
        let timer = self.timer.then(|| "a timer".to_owned());
        let read = self.read.then(|| "input".to_owned());
        let write = self.write.then(|| "room to write".to_owned());
        let lock = self.lock.map(|lock| match (self.blocks, self.task) {
            (true, None) => format!("{lock}, blocking its thread"),
            _ => lock.to_string(),
        });
        let all = [task, lock, timer, read, write];
        let all: Vec<String> = all.into_iter().flatten().collect();
        if all.is_empty() {
            f.write_str("something else")
        } else {
            f.write_str(&all.join(" or "))
        }
    }
}

impl fmt::Display for LiveLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let article = if self.kind.starts_with(['E', 'O']) {
            "an"
        } else {
            "a"
        };
        write!(f, "{article} {}", self.kind)?;
        if let Some(site) = self.made_at {
            write!(f, " made at {site}")?;
        }
        match self.held_by {
            Some(LiveHolder::Task(task)) => write!(f, ", held by task #{task}")?,
            Some(LiveHolder::Thread(number)) => write!(f, ", held by thread {number}")?,
            None => {}
        }
        match self.others {
            0 => Ok(()),
            1 => f.write_str(" and another"),
            others => write!(f, " and {others} others"),
        }
    }
}

impl fmt::Display for OutsideThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, name, .. } = self;
        write!(f, "thread {number}")?;
        if !name.is_empty() {
            write!(f, " `{}`", Printable(name))?;
        }
        write!(f, ": waits for {}", self.waits_for)
    }
}

impl fmt::Display for LiveTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " `{}`", Printable(name))?;
        }
        let Self { kind, phase, .. } = self;
        write!(
            f,
            " ({kind} at {}): {phase} for {:.1?}",
            self.spawned_at, self.since
        )?;
        if let (TaskPhase::Running, Some(place)) = (self.phase, &self.runs_on) {
            write!(f, " on {}", Printable(place))?;
        }
        let waits = self.waits_for != LiveWait::default();
        if waits || self.phase == TaskPhase::Waiting && self.kind != "promise" {
            write!(f, ", waits for {}", self.waits_for)?;
        }
        for LiveStep { name, since } in &self.steps {
            write!(f, ", in step `{}` for {since:.1?}", Printable(name))?;
        }
        if self.polls > 0 {
            let s = if self.polls == 1 { "" } else { "s" };
            write!(f, "; {} poll{s}", self.polls)?;
        }
        Ok(())
    }
}

impl fmt::Display for LiveCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, first, .. } = self;
        match self.items {
            1 => write!(f, "process {pid}: item {first}")?,
            items => write!(f, "process {pid}: {items} items from {first} on")?,
        }
        write!(f, ", for {:.1?}", self.since)?;
        match self.peak_memory {
            Some(peak) => write!(f, "; at most {} MiB of memory", peak >> 20),
            None => Ok(()),
        }
    }
}

/// What is still to be drawn.
enum Line<'a> {
    Task(&'a LiveTask),
    Call(&'a LiveCall),
}

impl fmt::Display for TaskTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len() as u64 + self.without_details;
        let s = if count == 1 { "" } else { "s" };
        write!(f, "process {}, {count} task{s}", self.pid)?;
        if self.without_details > 0 {
            write!(f, ", {} of them without details", self.without_details)?;
        }
        let mut children: HashMap<u64, Vec<Line<'_>>> = HashMap::new();
        let mut open: Vec<(usize, Line<'_>)> = Vec::new();
        // The first is drawn first, so it is pushed last.
        let calls = self.calls.iter().map(|call| (call.task, Line::Call(call)));
        let tasks = self
            .tasks
            .iter()
            .map(|task| (task.parent, Line::Task(task)));
        for (parent, line) in calls.rev().chain(tasks.rev()) {
            match parent.filter(|parent| self.get(*parent).is_some()) {
                Some(parent) => children.entry(parent).or_default().push(line),
                None => open.push((0, line)),
            }
        }
        while let Some((level, line)) = open.pop() {
            f.write_str("\n")?;
            for _ in 0..level.min(DEEPEST) {
                f.write_str("│  ")?;
            }
            f.write_str("├─ ")?;
            if level > DEEPEST {
                write!(f, "(level {level}) ")?;
            }
            match line {
                Line::Call(call) => write!(f, "{call}")?,
                Line::Task(task) => {
                    write!(f, "{task}")?;
                    for child in children.remove(&task.id).unwrap_or_default() {
                        open.push((level + 1, child));
                    }
                }
            }
        }
        for thread in &self.threads {
            write!(f, "\n├─ {thread}")?;
        }
        for worker in &self.workers {
            let text = worker.to_string();
            for (at, line) in text.lines().enumerate() {
                let indent = if at == 0 { "├─ " } else { "│  " };
                write!(f, "\n{indent}{line}")?;
            }
        }
        Ok(())
    }
}
