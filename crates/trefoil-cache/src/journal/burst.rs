//! A run of items on an executor, and their results as they come.
//!
//! A call of a process pool is one `imap`: it batches items, and sends a context once to each
//! worker. Any other executor gets a task for each item: so many at once as it has use for. Their
//! number doubles when half of them come back within two milliseconds.
//!
//! Items have numbers, from 0 in the order in which they are taken.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use trefoil::process::{Imap, Indexed, Portable};
use trefoil::{Task, TaskError, TaskGroup, TaskId};

/// The most items that are under way.
const MOST: usize = 1 << 14;

/// A window's half that comes back within this makes the window larger.
const QUICK: Duration = Duration::from_millis(2);

pub(super) enum Burst<'a, I: Iterator, R: Send + 'static> {
    Calls(Box<Indexed<Imap<I, R>>>),
    Tasks(Tasks<'a, I, R>),
}

/// The number and the result of an item.
type Ended<R> = (usize, Result<R, TaskError>);

impl<I: Iterator<Item: Portable>, R: Portable> Burst<'_, I, R> {
    /// Waits for a result. `None`: none is under way, and there are no more items.
    pub(super) fn next(&mut self) -> Option<Ended<R>> {
        match self {
            Self::Calls(calls) => calls.next(),
            Self::Tasks(tasks) => tasks.next(),
        }
    }

    /// Another result, if it has come.
    pub(super) fn try_next(&mut self) -> Option<Ended<R>> {
        match self {
            Self::Calls(calls) => calls.try_next(),
            Self::Tasks(tasks) => {
                let ended = tasks.group.try_next()?;
                tasks.numbered(ended)
            }
        }
    }
}

/// One task for each item.
pub(super) struct Tasks<'a, I: Iterator, R: Send + 'static> {
    /// `None`: they have ended.
    items: Option<I>,
    spawn: Box<dyn Fn(I::Item) -> Task<R> + 'a>,
    group: TaskGroup<R>,
    numbers: HashMap<TaskId, usize>,
    taken: usize,
    /// How many may be under way.
    window: usize,
    /// When results were last waited for, and how many have come since.
    cycle: Instant,
    came: usize,
}

impl<'a, I: Iterator, R: Portable> Tasks<'a, I, R> {
    pub(super) fn new(items: I, spawn: impl Fn(I::Item) -> Task<R> + 'a, at_once: usize) -> Self {
        Self {
            items: Some(items),
            spawn: Box::new(spawn),
            group: TaskGroup::new(),
            numbers: HashMap::new(),
            taken: 0,
            window: at_once,
            cycle: Instant::now(),
            came: 0,
        }
    }

    fn next(&mut self) -> Option<Ended<R>> {
        // So many at once, and so soon, means that the executor may be waiting for more.
        if self.came * 2 >= self.window && self.cycle.elapsed() < QUICK {
            self.window = (self.window * 2).min(MOST);
        }
        (self.cycle, self.came) = (Instant::now(), 0);
        while self.numbers.len() < self.window
            && let Some(items) = &mut self.items
        {
            let Some(item) = items.next() else {
                self.items = None;
                break;
            };
            let id = self.group.add((self.spawn)(item));
            self.numbers.insert(id, self.taken);
            self.taken += 1;
        }
        let ended = self.group.next().join()?;
        self.numbered(ended)
    }

    fn numbered(&mut self, (id, result): (TaskId, Result<R, TaskError>)) -> Option<Ended<R>> {
        self.came += 1;
        Some((self.numbers.remove(&id)?, result))
    }
}

impl<I: Iterator, R: Send + 'static> Burst<'_, I, R> {
    /// Cancels what is under way, and waits for what cannot be cancelled any more. (Items in worker
    /// processes can: these are killed.)
    pub(super) fn end(self) {
        let Self::Tasks(mut tasks) = self else {
            return;
        };
        tasks.group.cancel();
        while let Some((_, result)) = tasks.group.next().join() {
            if matches!(result, Err(TaskError::WouldBlock)) {
                break;
            }
        }
    }
}
