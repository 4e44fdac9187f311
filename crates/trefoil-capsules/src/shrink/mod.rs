//! The smallest argument that ends the same way: `shrink`.
//!
//! 1. The argument becomes a tree ([`tree`](crate::tree)). The item runs again, to see that it fails
//!    again, and how ([`Signature`]).
//! 2. Smaller trees are made ([`search`]), decoded into the argument's type, and run, each in a
//!    worker of its own. What ends with the same signature is the best from then on, and its file
//!    is written at once: whatever ends this process, the best so far is there.
//! 3. The value becomes Rust, and a test.
//!
//! A file of the best is made by the pool's hook for failed items, as that of the original was.
//!
//! **Stack.** All of it runs on a thread of its own, because trees are deep.
//!
//! Tests: `search.rs`; `crates/trefoil-capsules/tests/shrink/outcomes.rs`.

mod search;
mod test_text;

use std::fmt;
use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use trefoil::process::FailedItem;
use trefoil::{ProcessPool, TaskError};

use self::search::{Judge, Search};
use crate::capsule::{Body, Capsule, Head};
use crate::functions::{self, Function, Options, Prepared};
use crate::keep::{unguessable, write_private};
use crate::signature::Signature;
use crate::tree::{Tree, Variants};

/// For the deepest tree, with a debug build of a type's `Deserialize`. (What is not touched takes
/// no memory.)
#[cfg(target_pointer_width = "64")]
const STACK: usize = 512 << 20;
#[cfg(not(target_pointer_width = "64"))]
const STACK: usize = 64 << 20;

/// How long a candidate may take, compared with the original, unless the original was too late; and
/// at least.
const SLOWER: u32 = 20;
const LEAST_LIMIT: Duration = Duration::from_secs(2);

/// How many candidates run at once, at most.
const WIDEST: usize = 16;

/// How often the original runs, at most, to see that it fails again.
const TRIES: u32 = 3;

/// How long one waits for the names of functions, besides what an error waits for them.
const NAMED: Duration = Duration::from_secs(20);

/// How long one waits for workers that were replaced.
const REPLACED: Duration = Duration::from_secs(10);

/// How much [`shrink`] may try.
///
/// ```
/// use std::time::Duration;
/// use trefoil_capsules::Budget;
///
/// let budget = Budget::default().runs(500).time(Duration::from_secs(60)).repeat(3);
/// # let _ = budget;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Budget {
    runs: usize,
    time: Duration,
    repeat: u32,
    bar: Option<ProgressBar>,
}

/// 2,000 runs, ten minutes, each candidate once, and no bar.
impl Default for Budget {
    fn default() -> Self {
        Self {
            runs: 2000,
            time: Duration::from_secs(600),
            repeat: 1,
            bar: None,
        }
    }
}

impl Budget {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many times the function may run, those for the original included.
    pub fn runs(mut self, runs: usize) -> Self {
        self.runs = runs;
        self
    }

    /// How long it may take, besides the candidates that run then.
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// For an item that does not fail each time: each candidate runs up to so many times, until it
    /// ends as the original did.
    pub fn repeat(mut self, times: u32) -> Self {
        self.repeat = times.max(1);
        self
    }

    /// A bar that shows the runs, and how much of the value is left.
    pub fn with_bar(mut self, bar: ProgressBar) -> Self {
        self.bar = Some(bar);
        self
    }
}

/// The bar of a program that only shrinks: on standard error, if that is a terminal.
pub(crate) fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} runs, {msg}") {
        bar.set_style(style);
    }
    bar
}

/// What [`shrink`] has found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Shrunk {
    /// The item with the smallest argument, in a file of its own, besides the original's; or the
    /// original, if no smaller value was found.
    pub capsule: Capsule,
    /// How many times the function has run.
    pub runs: usize,
    /// The argument as Rust. serde does not show every type: where a struct has fields that are
    /// renamed, sets or wrappers, the text needs a hand. If it would be longer than 16 KiB, it
    /// says only how large the value is.
    pub value_text: String,
    /// A `#[test]` that calls the function with the argument.
    pub test_text: String,
    summary: String,
}

/// "after 212 runs: 1 part of 10,000 is left ..", or "no smaller value was found after 40 runs".
impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

/// Makes the argument of a failed item as small as possible, so that the item still ends the same
/// way: by the same signal at the same place of the program, in a panic of the same line, over the
/// same time limit, out of memory.
///
/// Its function must be known by the name that the file has ([`replayable`](crate::replayable), in
/// this program before [`init`](crate::init)). Candidates lose elements and levels, texts and byte
/// strings become shorter, numbers nearer to 0, options `None`, variants earlier ones. What the
/// type's `Deserialize` refuses is no candidate.
///
/// The smallest argument so far is kept in a file besides the original,
/// `0123456789abcdef.smallest.capsule`, from the first that was found on. If that file cannot be
/// written, it is in the directory for temporary files.
///
/// # The pool
/// Each candidate runs in a worker of its own. Best have a pool for it, with
/// [`max_tasks_per_worker(1)`](trefoil::ProcessPoolBuilder::max_tasks_per_worker): a pool that would
/// use its workers again has them killed and replaced after each candidate, **whatever else they
/// run**. Otherwise as many candidates run at once as it has workers. For an item that was out
/// of memory it needs the same [`memory_limit`](trefoil::ProcessPoolBuilder::memory_limit) as the
/// original's pool, and its initializers. The time limit of an item that was too late is in its
/// file, and such a candidate must be over it twice; one of another item may take 20 times as long
/// as the original, or two seconds.
///
/// `Deserialize` and `Serialize` of the argument run in this process, too.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if no function has the file's name and types, the
/// argument cannot be decoded or has no tree (more than eight million parts, a gibibyte of text, or
/// 2,000 levels), its time limit is longer than the budget's time, or the item does not end as it
/// did; what the system says if no file can be written; and any end of the pool. If no candidate
/// could be decoded, or none ended the same way, that is no error: the original is returned, and
/// its [`Display`](Shrunk) says "no smaller value was found".
///
/// It blocks until the [`Budget`] is spent, or nothing is left to try: call it on no event loop.
///
/// ```
/// use trefoil_capsules::{Budget, Capsule, KeepFailures, capsule_of, replayable, shrink};
///
/// fn third_of_each(rows: Vec<Vec<u8>>) -> Vec<u8> {
///     rows.iter().map(|row| row[2]).collect()
/// }
///
/// replayable("third_of_each", third_of_each);
/// trefoil_capsules::init();
/// let dir = std::env::temp_dir().join(format!("shrunk-{}", std::process::id()));
/// let procs = trefoil::ProcessPool::builder().workers(2).max_tasks_per_worker(1);
/// let procs = procs.keep_failures(&dir).build()?;
/// let rows = vec![vec![7; 9], vec![8; 5], vec![9, 1], vec![1; 4]];
/// let error = procs.spawn(rows, third_of_each).join().unwrap_err();
///
/// let capsule = Capsule::open(capsule_of(&error).unwrap())?;
/// let shrunk = shrink(&capsule, &procs, Budget::default())?;
/// assert_eq!(shrunk.capsule.argument::<Vec<Vec<u8>>>()?, [[]]);
/// assert_eq!(shrunk.value_text, "vec![vec![]]");
/// assert!(shrunk.test_text.contains("third_of_each(argument)"));
/// std::fs::remove_dir_all(dir)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn shrink(capsule: &Capsule, procs: &ProcessPool, budget: Budget) -> io::Result<Shrunk> {
    shrink_as(capsule, None, procs, budget)
}

/// The same; `name`: another name of the function.
pub(crate) fn shrink_as(
    capsule: &Capsule,
    name: Option<&str>,
    procs: &ProcessPool,
    budget: Budget,
) -> io::Result<Shrunk> {
    let function = functions::find(capsule, name).map_err(invalid)?;
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("trefoil-shrink".to_owned());
        let thread = thread.stack_size(STACK);
        let work = || Work::begin(capsule, &function, procs, budget)?.finish(&function);
        let work = thread.spawn_scoped(scope, work)?;
        work.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

/// A candidate that has failed, as its file will have it.
type Found = Arc<Mutex<Option<(Head, Body)>>>;

struct Work<'a> {
    prepared: Box<dyn Prepared + 'a>,
    procs: &'a ProcessPool,
    budget: Budget,
    began: Instant,
    runs: usize,
    width: usize,
    /// Workers would be used again.
    reuses: bool,
    expected: Signature,
    limit: Duration,
    /// Of the candidates that were judged last.
    found: Vec<Found>,
    best: Capsule,
    original: (Tree, &'a Capsule),
}

impl<'a> Work<'a> {
    /// Runs the original again.
    fn begin(
        capsule: &'a Capsule,
        function: &'a Function,
        procs: &'a ProcessPool,
        budget: Budget,
    ) -> io::Result<Self> {
        if let Some(limit) = capsule.head.limit()
            && limit > budget.time
        {
            let longer = "is longer than all that may be spent (`Budget::time`)";
            return Err(invalid(format!(
                "the item's time limit, {limit:?}, {longer}"
            )));
        }
        let prepared = function.calls.prepare(capsule).map_err(invalid)?;
        let tree = prepared.tree(capsule).map_err(invalid)?;
        let width = procs.num_workers().clamp(1, WIDEST);
        let reuses = reuses_workers(procs, width)?;
        let mut work = Self {
            prepared,
            procs,
            began: Instant::now(),
            runs: 0,
            // (One worker might run two of them.)
            width: if reuses { 1 } else { width },
            reuses,
            expected: capsule.head.signature.clone(),
            limit: (capsule.head.limit()).unwrap_or(budget.time.max(LEAST_LIMIT)),
            budget,
            found: Vec::new(),
            best: capsule.clone(),
            original: (tree, capsule),
        };
        if let Some(bar) = &work.budget.bar {
            bar.set_length(work.budget.runs as u64);
        }
        work.see_it_fail()?;
        Ok(work)
    }

    fn see_it_fail(&mut self) -> io::Result<()> {
        let (tree, capsule) = (self.original.0.clone(), self.original.1);
        let mut ended = Vec::new();
        for tries in 0..self.budget.repeat.max(TRIES) {
            if tries > 0 && self.room_for_one_more() == 0 {
                break;
            }
            let began = Instant::now();
            let end = self.run_once(&[&tree])?.pop().flatten();
            if capsule.head.limit().is_none() {
                self.limit = (began.elapsed() * SLOWER).max(LEAST_LIMIT);
            }
            if end.as_ref() == Some(&self.expected) {
                return Ok(());
            }
            ended.push(end);
        }
        // Another build has other places, and what is vague is known better, or worse, now.
        let is_elsewhere = |end: &Signature| {
            let is_vague = end.is_vague() || self.expected.is_vague();
            end.is_like(&self.expected) && (is_vague || !capsule.head.is_of_this_build())
        };
        let mut ended = ended.into_iter().flatten();
        let mut other = None;
        match ended.find(|end| {
            is_elsewhere(end) || {
                other = Some(end.clone());
                false
            }
        }) {
            Some(end) => self.expected = end,
            None => {
                let now = match other {
                    Some(end) => format!("it ends otherwise now: {end}"),
                    None => "it returns a value now, or could not be run".to_owned(),
                };
                let more = "(`Budget::repeat` is for an item that fails only sometimes)";
                let before = &self.expected;
                return Err(invalid(format!("the item was {before}, and {now} {more}")));
            }
        }
        Ok(())
    }

    /// Runs these, each in a worker of its own, at once. How each ended, unless in a value.
    fn run_once(&mut self, trees: &[&Tree]) -> io::Result<Vec<Option<Signature>>> {
        self.found = trees.iter().map(|_| Found::default()).collect();
        let left = self.budget.time.saturating_sub(self.began.elapsed());
        let mut tasks = Vec::new();
        for (tree, found) in trees.iter().zip(&self.found) {
            let found = found.clone();
            let on_failed = move |failed: &FailedItem| {
                wait_for_names(failed.error());
                let head = Head::of(failed);
                *found.lock() = head.map(|head| (head, Body::of(failed)));
            };
            let options = Options {
                // (One that was too late needs all of its time.)
                limit: match self.expected {
                    Signature::TimedOut => self.limit,
                    _ => self.limit.min(left.max(LEAST_LIMIT)),
                },
                on_failed: Arc::new(on_failed),
            };
            tasks.push(self.prepared.start(self.procs, tree, &options));
        }
        self.runs += tasks.iter().flatten().count();
        let (mut ends, mut some_worker_lives) = (Vec::new(), false);
        for (task, found) in tasks.into_iter().zip(&self.found) {
            let end = task.map(trefoil::Task::join);
            let found = found
                .lock()
                .as_ref()
                .map(|(head, _)| head.signature.clone());
            some_worker_lives |= !matches!(
                end,
                Some(Err(TaskError::WorkerDied(_) | TaskError::TimedOut(_)))
            );
            ends.push(match end {
                None | Some(Ok(())) => None,
                Some(Err(error)) => match found.or_else(|| Signature::of(&error)) {
                    Some(signature) => Some(signature),
                    None => return Err(io::Error::other(format!("the pool has ended: {error}"))),
                },
            });
        }
        if self.reuses && some_worker_lives {
            replace_workers(self.procs)?;
        }
        if let Some(bar) = &self.budget.bar {
            bar.set_position(self.runs as u64);
        }
        Ok(ends)
    }

    /// Runs these until each has ended as expected, or as often as the budget says.
    fn run_all(&mut self, trees: &[Tree]) -> io::Result<Vec<bool>> {
        // (A busy machine may be slow once.)
        let (needed, times) = match self.expected {
            Signature::TimedOut => (2, self.budget.repeat.saturating_add(1)),
            _ => (1, self.budget.repeat),
        };
        // Of each: how often it has ended so, how often otherwise, and what was found.
        let mut all: Vec<(u32, u32, Option<Found>)> = vec![(0, 0, None); trees.len()];
        loop {
            let is_open =
                |(same, other, _): &(u32, u32, _)| *same < needed && other + needed <= times;
            let open: Vec<usize> = (0..trees.len()).filter(|at| is_open(&all[*at])).collect();
            if open.is_empty() || self.room_for_one_more() == 0 {
                break;
            }
            let some: Vec<&Tree> = open.iter().map(|at| &trees[*at]).collect();
            let ends = self.run_once(&some)?;
            for ((at, end), found) in open.into_iter().zip(ends).zip(self.found.clone()) {
                if end.as_ref() == Some(&self.expected) && found.lock().is_some() {
                    all[at].0 += 1;
                    all[at].2 = Some(found);
                } else {
                    all[at].1 += 1;
                }
            }
        }
        let found = all
            .iter()
            .map(|(_, _, found)| found.clone().unwrap_or_default());
        self.found = found.collect();
        Ok(all.iter().map(|(same, _, _)| *same >= needed).collect())
    }

    fn room_for_one_more(&self) -> usize {
        match self.began.elapsed() < self.budget.time {
            true => self.budget.runs.saturating_sub(self.runs),
            false => 0,
        }
    }

    fn finish(mut self, function: &Function) -> io::Result<Shrunk> {
        let mut known = Variants::default();
        let tree = self.original.0.clone();
        let before = tree.weight().parts;
        let (mut best, mut is_smaller) = (tree.clone(), false);
        // (What is read otherwise than it was written has no candidates.)
        if let Some(value) = self.prepared.value_of(&tree, &mut known) {
            let mut search = Search::new(&mut self, value, known);
            search.run()?;
            best = search.best;
            is_smaller = best.weight() < tree.weight();
        }
        if let Some(bar) = &self.budget.bar {
            bar.finish_and_clear();
        }
        let runs = self.runs;
        let mut capsule = self.original.1.clone();
        if is_smaller {
            capsule = self.best.clone();
            let text = "no file for the smallest value could be written";
            let is_there = capsule.path() != self.original.1.path();
            is_there
                .then_some(())
                .ok_or_else(|| io::Error::other(text))?;
        }
        let left = best.weight().parts;
        let summary = match is_smaller {
            true => format!(
                "after {runs} runs {left} of {before} parts are left, and it still ends the same \
                 way: {}; the smallest is {}",
                self.expected,
                capsule.path().display()
            ),
            false => format!("no smaller value was found after {runs} runs"),
        };
        let (value_text, test_text) = test_text::of(&best, function, &capsule, &summary);
        Ok(Shrunk {
            capsule,
            runs,
            value_text,
            test_text,
            summary,
        })
    }
}

impl Judge for Work<'_> {
    fn value_of(&mut self, tree: &Tree, known: &mut Variants) -> Option<Tree> {
        self.prepared.value_of(tree, known)
    }

    fn judge(&mut self, candidates: &[Tree]) -> io::Result<Vec<bool>> {
        self.run_all(candidates)
    }

    fn keep(&mut self, at: usize, best: &Tree) {
        if let Some(bar) = &self.budget.bar {
            bar.set_message(format!("{} parts", best.weight().parts));
        }
        let Some((mut head, body)) = self.found[at].lock().take() else {
            return;
        };
        let original = &self.original.1.head;
        head.is_shrunk = true;
        (head.function, head.item) = (original.function.clone(), original.item);
        if let Some(path) = save(self.original.1.path(), self.best.path(), &head, &body) {
            self.best = Capsule::new(path, head, body);
        }
    }

    fn room(&self) -> usize {
        self.room_for_one_more().min(self.width)
    }
}

/// Writes the best so far besides the original, or else where the last one is, or to the directory
/// for temporary files. A reader finds the last one or this one.
fn save(original: &Path, last: &Path, head: &Head, body: &Body) -> Option<PathBuf> {
    let stem = original.file_stem()?.to_str().unwrap_or("item");
    let stem = stem.strip_suffix(".smallest").unwrap_or(stem);
    let besides = original.with_file_name(format!("{stem}.smallest.capsule"));
    let temporary = match last == original || last == besides {
        true => std::env::temp_dir().join(unguessable()),
        false => last.to_owned(),
    };
    [besides, temporary].into_iter().find(|path| {
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let written = write_private(&new, head, body).and_then(|()| fs::rename(&new, path));
        written.is_err().then(|| fs::remove_file(&new));
        written.is_ok()
    })
}

/// Waits until the functions of a backtrace have names: a candidate counts if it dies in the same
/// one, and a busy machine may take longer than an error waits. (Without symbols there are none.)
fn wait_for_names(error: &TaskError) {
    static NONE: Mutex<bool> = Mutex::new(false);
    let TaskError::WorkerDied(exit) = error else {
        return;
    };
    let Some(backtrace) = exit.backtrace() else {
        return;
    };
    let end = Instant::now() + NAMED;
    while backtrace
        .frames()
        .iter()
        .all(|frame| frame.function().is_none())
        && !*NONE.lock()
    {
        if Instant::now() > end {
            *NONE.lock() = true;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether workers of the pool run a second item.
fn reuses_workers(procs: &ProcessPool, width: usize) -> io::Result<bool> {
    let mut seen = Vec::new();
    for _ in 0..=2 * width {
        let pid = procs.spawn((), |()| std::process::id()).join();
        let pid = pid.map_err(io::Error::other)?;
        if seen.contains(&pid) {
            return Ok(true);
        }
        seen.push(pid);
    }
    Ok(false)
}

/// The workers that there are now run nothing more.
fn replace_workers(procs: &ProcessPool) -> io::Result<()> {
    let old = procs.worker_pids();
    for pid in &old {
        procs.replace_worker(*pid);
    }
    let end = Instant::now() + REPLACED;
    while procs.worker_pids().iter().any(|pid| old.contains(pid)) {
        if Instant::now() > end {
            return Err(io::Error::other("the pool does not replace its workers"));
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
