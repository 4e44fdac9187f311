//! What the models of the pools have in common: work, deques, latches, and running work.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::machine::{Line, Machine, Step};

/// A piece of work.
#[derive(Clone)]
pub(crate) enum Work {
    /// A tree of joins of this depth.
    Node(u32),
    /// Items of a map: from, to, and the pool's own number for how often to divide.
    Items(usize, usize, usize),
    /// A task that spawns two others, this many generations long.
    Task(u32),
}

/// A piece of work in a queue, with the latch to set at its end.
pub(crate) struct Entry {
    pub(crate) work: Work,
    pub(crate) latch: Option<Rc<Latch>>,
}

/// Set once; lies in the stack frame of the thread that waits for it.
pub(crate) struct Latch {
    pub(crate) line: Line,
    pub(crate) is_set: Cell<bool>,
    /// The processor that sleeps until it is set.
    pub(crate) sleeper: Cell<Option<usize>>,
    /// The processor that runs the work.
    pub(crate) thief: Cell<Option<usize>>,
}

impl Latch {
    pub(crate) fn new(machine: &Machine) -> Rc<Self> {
        Rc::new(Self {
            line: machine.line("latches"),
            is_set: Cell::new(false),
            sleeper: Cell::new(None),
            thief: Cell::new(None),
        })
    }

    async fn set(&self, machine: &Machine, processor: usize) {
        machine.change(processor, self.line).await;
        self.is_set.set(true);
        if let Some(sleeper) = self.sleeper.take() {
            machine.unpark(processor, sleeper).await;
        }
    }
}

/// Entries of two words in a line.
const IN_A_LINE: usize = 4;

/// The deque of `crossbeam-deque`: one line has both ends and the pointer to the buffer.
pub(crate) struct Deque {
    ends: Line,
    buffer: Vec<Line>,
    /// How many entries were ever taken at the old end.
    taken: Cell<usize>,
    pub(crate) entries: RefCell<VecDeque<Entry>>,
}

impl Deque {
    pub(crate) fn new(machine: &Machine) -> Self {
        Self {
            ends: machine.line("ends of deques"),
            buffer: (0..16).map(|_| machine.line("entries of deques")).collect(),
            taken: Cell::new(0),
            entries: RefCell::default(),
        }
    }

    fn entry(&self, at: usize) -> Line {
        self.buffer[at / IN_A_LINE % self.buffer.len()]
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    pub(crate) async fn push(&self, machine: &Machine, owner: usize, entry: Entry) {
        machine
            .write(owner, self.entry(self.taken.get() + self.len()))
            .await;
        machine.write(owner, self.ends).await;
        self.entries.borrow_mut().push_back(entry);
    }

    pub(crate) async fn pop(&self, machine: &Machine, owner: usize) -> Option<Entry> {
        machine.change(owner, self.ends).await;
        self.entries.borrow_mut().pop_back()
    }

    /// The look that comes before a theft.
    pub(crate) async fn has_some(&self, machine: &Machine, thief: usize) -> bool {
        machine.read(thief, self.ends).await;
        self.len() > 0
    }

    pub(crate) async fn steal(&self, machine: &Machine, thief: usize) -> Option<Entry> {
        if !self.has_some(machine, thief).await {
            return None;
        }
        machine.fence(thief).await;
        machine.read(thief, self.entry(self.taken.get())).await;
        machine.change(thief, self.ends).await;
        let stolen = self.entries.borrow_mut().pop_front();
        self.taken
            .set(self.taken.get() + usize::from(stolen.is_some()));
        stolen
    }
}

/// What the program of a run does.
pub(crate) struct Load {
    /// What a leaf of a tree, or a task, takes, in nanoseconds.
    pub(crate) leaf: f64,
    /// What the item with this index takes.
    pub(crate) item: Box<dyn Fn(usize) -> f64>,
    /// What a call or a look at the clock takes.
    pub(crate) call: f64,
    /// How many tasks have not ended.
    pub(crate) left: Cell<usize>,
}

/// The model of a pool.
pub(crate) trait Pool {
    fn machine(&self) -> &Machine;
    /// Puts a second half on offer.
    fn offer(&self, processor: usize, entry: Entry) -> Step<'_>;
    /// Takes the newest offer back; none if it has been stolen.
    fn take_back(&self, processor: usize) -> Step<'_, bool>;
    /// A stolen half was, or was not, taken back: for the next decision.
    fn in_turn(&self, processor: usize) -> Step<'_, bool>;
    fn wait<'a>(&'a self, load: &'a Load, processor: usize, latch: Rc<Latch>) -> Step<'a>;
    /// Queues a task that a worker spawns.
    fn spawn(&self, processor: usize, entry: Entry) -> Step<'_>;
    /// Queues a task from outside.
    fn inject(&self, processor: usize, entry: Entry) -> Step<'_>;
    /// Runs items of a map.
    fn items<'a>(
        &'a self,
        load: &'a Load,
        processor: usize,
        items: (usize, usize, usize),
        stolen: bool,
    ) -> Step<'a>;
    /// How often a map is divided at first.
    fn splits(&self) -> usize;
    /// Runs tasks until none is left.
    fn run_tasks<'a>(&'a self, load: &'a Load, processor: usize) -> Step<'a>;
    /// What a worker does.
    fn worker<'a>(&'a self, load: &'a Load, processor: usize) -> Step<'a>;
}

/// Runs a piece of work; `stolen`: on another thread than that which offered it.
pub(crate) fn run<'a>(
    pool: &'a dyn Pool,
    load: &'a Load,
    processor: usize,
    work: Work,
    stolen: bool,
) -> Step<'a> {
    Box::pin(async move {
        let machine = pool.machine();
        match work {
            Work::Node(0) => machine.work(processor, load.leaf).await,
            Work::Node(depth) => {
                machine.work(processor, load.call).await;
                if pool.in_turn(processor).await {
                    run(pool, load, processor, Work::Node(depth - 1), false).await;
                    run(pool, load, processor, Work::Node(depth - 1), false).await;
                } else {
                    let half = Work::Node(depth - 1);
                    join(pool, load, processor, half.clone(), half).await;
                }
            }
            Work::Items(from, to, splits) => {
                pool.items(load, processor, (from, to, splits), stolen)
                    .await;
            }
            Work::Task(depth) => {
                for _ in 0..if depth > 0 { 2 } else { 0 } {
                    let work = Work::Task(depth - 1);
                    pool.spawn(processor, Entry { work, latch: None }).await;
                }
                machine.work(processor, load.leaf).await;
                load.left.set(load.left.get() - 1);
                if load.left.get() == 0 {
                    machine.unpark(processor, 0).await;
                }
            }
        }
    })
}

/// Runs an entry that was taken from a queue.
pub(crate) async fn run_entry<'a>(
    pool: &'a dyn Pool,
    load: &'a Load,
    processor: usize,
    entry: Entry,
) {
    if let Some(latch) = &entry.latch {
        pool.machine().write(processor, latch.line).await;
        latch.thief.set(Some(processor));
    }
    run(pool, load, processor, entry.work, true).await;
    if let Some(latch) = entry.latch {
        latch.set(pool.machine(), processor).await;
    }
}

/// Runs the first here, and the second here or on another processor.
pub(crate) async fn join<'a>(
    pool: &'a dyn Pool,
    load: &'a Load,
    processor: usize,
    first: Work,
    second: Work,
) {
    let latch = Latch::new(pool.machine());
    let entry = Entry {
        work: second.clone(),
        latch: Some(Rc::clone(&latch)),
    };
    pool.offer(processor, entry).await;
    run(pool, load, processor, first, false).await;
    match pool.take_back(processor).await {
        true => run(pool, load, processor, second, false).await,
        false => pool.wait(load, processor, latch).await,
    }
}
