//! The trees of worker processes, which the pools ask for.
//!
//! **Job.** A pool registers itself ([`register`]). [`ask`] asks all pools, and each pool asks its
//! workers; [`Answers::wait`] waits until all have answered, or [`TREES_LIMIT`] is over.
//!
//! **Protocol.** A [`Question`] that is not answered is dropped, by whoever has it: a worker that
//! ends, a pool that is over. So the number of open questions comes down to 0 whatever happens, and
//! nobody waits longer than for the slowest answer.
//!
//! A worker is not trusted: it may run code that is hostile. What it sends is limited in size, has
//! no control characters, and is taken as JSON only if it is ([`json::is_object`]). Which process
//! it is, the parent knows better.
//!
//! Tests: `tests/process/trees.rs`.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::json::{self, Object};
use crate::loom::{Condvar, Mutex};
use crate::printable::is_command;
use crate::sys::fork::PerProcess;

/// How long all workers together may take to answer.
const TREES_LIMIT: Duration = Duration::from_millis(100);

/// The longest text and the longest JSON of a worker's tree: with both, an answer has room in an
/// empty socket.
pub(super) const LONGEST: usize = 24 << 10;

/// What a pool of processes does when trees are asked for.
pub trait AskWorkers: Send + Sync {
    /// Has the pool put this question to its workers. It must not wait.
    fn ask(&self, question: Question);
}

type Pools = Mutex<Vec<Weak<dyn AskWorkers>>>;

static POOLS: PerProcess<Pools> = PerProcess::new();

/// Called when a pool is made.
pub fn register(pool: Weak<dyn AskWorkers>) {
    let mut pools = POOLS.get_or_init(Mutex::default).lock();
    if pools.len() == pools.capacity() {
        pools.retain(|pool| pool.strong_count() > 0);
    }
    pools.push(pool);
}

/// A worker process, in a [`TaskTree`](super::TaskTree).
///
/// ```
/// for worker in trefoil::inspect::tasks().workers() {
///     println!("process {}: {}", worker.pid, worker.to_json().unwrap_or("no answer"));
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveWorker {
    /// The process.
    pub pid: u32,
    /// The most memory that it has ever had, in bytes, where the system says that of a child.
    pub peak_memory: Option<u64>,
    tree: Option<Arc<Drawn>>,
}

/// A tree as another process has sent it.
#[derive(Debug)]
struct Drawn {
    /// Without "process PID, ".
    text: Box<str>,
    json: Box<str>,
}

impl LiveWorker {
    /// Whether the worker has sent its tree of tasks in time.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.tree.is_some()
    }

    /// The worker's tree of tasks, in the form of [`TaskTree::to_json`](super::TaskTree::to_json);
    /// `None` if it has not answered.
    #[must_use]
    pub fn to_json(&self) -> Option<&str> {
        Some(&self.tree.as_ref()?.json)
    }

    pub(super) fn json(&self) -> Object {
        let mut object = Object::new().put("pid", self.pid);
        if let Some(peak) = self.peak_memory {
            object = object.put("peak_memory", peak);
        }
        object.put("tree", self.to_json().unwrap_or("null"))
    }
}

/// Its own tree as text, or that it has not answered.
impl fmt::Display for LiveWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tree {
            Some(tree) => write!(f, "process {}, {}", self.pid, tree.text),
            None => write!(f, "process {}: no answer", self.pid),
        }
    }
}

#[derive(Default)]
struct State {
    /// How many questions have not been answered or dropped.
    open: usize,
    workers: Vec<LiveWorker>,
    /// Nobody waits any more.
    over: bool,
}

/// What has been answered so far.
#[derive(Default)]
pub(super) struct Answers {
    state: Mutex<State>,
    changed: Condvar,
}

/// A question that is open until it is answered or dropped.
pub struct Question {
    answers: Arc<Answers>,
    /// The worker to which it is put; `None`: to a pool.
    worker: Option<usize>,
}

/// Asks all pools of this process.
pub(super) fn ask() -> Arc<Answers> {
    let answers = Arc::<Answers>::default();
    let pools = POOLS.get().map(|pools| pools.lock().clone());
    for pool in pools.iter().flatten().filter_map(Weak::upgrade) {
        pool.ask(answers.question(None));
    }
    answers
}

impl Answers {
    fn question(self: &Arc<Self>, worker: Option<usize>) -> Question {
        self.state.lock().open += 1;
        Question {
            answers: self.clone(),
            worker,
        }
    }

    /// The workers, and what has come until all have answered or the time is over.
    pub(super) fn wait(&self, asked: Instant) -> Vec<LiveWorker> {
        let mut state = self.state.lock();
        let mut is_late = false;
        while state.open > 0 && !is_late {
            (state, is_late) = self.changed.wait_until(state, asked + TREES_LIMIT);
        }
        state.over = true;
        let mut workers = std::mem::take(&mut state.workers);
        drop(state);
        workers.sort_by_key(|worker| worker.pid);
        workers
    }
}

impl Question {
    /// The pool puts the question to one of its workers.
    #[must_use]
    pub fn to_worker(&self, pid: u32, peak_memory: Option<u64>) -> Self {
        let mut state = self.answers.state.lock();
        let worker = state.workers.len();
        if !state.over {
            state.workers.push(LiveWorker {
                pid,
                peak_memory,
                tree: None,
            });
        }
        drop(state);
        self.answers.question(Some(worker))
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.answers.state.lock().over
    }

    /// What the worker has sent.
    pub fn answered(self, text: &str, json: &str) {
        let is_unsafe = |c: char| is_command(c) && c != '\n';
        let is_short = text.len() <= LONGEST && json.len() <= LONGEST;
        let is_right = is_short && json::is_object(json) && !json.contains(is_unsafe);
        let text = text.split_once(", ").filter(|_| is_right);
        let drawn = text.map(|(_, text)| Drawn {
            text: text.replace(is_unsafe, "\u{fffd}").into(),
            json: json.into(),
        });
        let mut state = self.answers.state.lock();
        if let Some(worker) = self.worker.and_then(|place| state.workers.get_mut(place)) {
            worker.tree = drawn.map(Arc::new);
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.answers.state.lock().open -= 1;
        self.answers.changed.notify_one();
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// What becomes of the answer of a worker, whose process id is 7.
    fn taken(text: &str, json: &str) -> LiveWorker {
        let answers = Arc::<Answers>::default();
        let pool = answers.question(None);
        pool.to_worker(7, None).answered(text, json);
        drop(pool);
        answers.wait(Instant::now()).pop().unwrap()
    }

    #[test]
    fn what_a_worker_says_is_not_believed() {
        let right = taken("process 7, 1 task\n├─ #1", "{}");
        assert_eq!(right.to_string(), "process 7, 1 task\n├─ #1");
        assert_eq!(right.to_json(), Some("{}"));
        let other = taken("process 1, \u{1b}[2J\r\u{9b}0 tasks\n", "{}");
        let shown = "process 7, \u{fffd}[2J\u{fffd}\u{fffd}0 tasks\n";
        assert_eq!(other.to_string(), shown);
        let long = "0".repeat(LONGEST);
        let (text, json) = (
            format!("process 7, {long}"),
            format!("{{\"a\":\"{long}\"}}"),
        );
        for (text, json) in [
            ("", "{}"),
            ("process 7, 0 tasks", ""),
            ("process 7, 0 tasks", "{}]}"),
            ("process 7, 0 tasks", "{\"a\":\"\u{202e}\"}"),
            (&*text, "{}"),
            ("process 7, 0 tasks", &*json),
        ] {
            let wrong = taken(text, json);
            assert!(!wrong.has_answered(), "{wrong:?}");
            assert_eq!(wrong.to_string(), "process 7: no answer");
        }
    }

    /// Whoever has a question and drops it leaves nobody waiting.
    #[test]
    fn questions_that_are_dropped_are_not_waited_for() {
        let answers = Arc::<Answers>::default();
        let pool = answers.question(None);
        drop((pool.to_worker(9, None), pool.to_worker(8, Some(1))));
        drop(pool);
        let in_an_hour = Instant::now() + Duration::from_secs(3600);
        let workers = answers.wait(in_an_hour);
        assert_eq!([8, 9], [workers[0].pid, workers[1].pid]);
        let late = answers.question(None);
        assert!(late.is_over());
        late.to_worker(10, None)
            .answered("process 10, 0 tasks", "{}");
    }
}
