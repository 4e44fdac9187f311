//! The results of the simulated jobs, with what must hold of each.

use super::*;

/// An item, in two numbers.
pub(super) type Item = (u64, u64);

/// An item with a channel's end.
pub(super) struct Laden(pub(super) Item, pub(super) Arc<AttachedFile>);

/// Decodes an item that was sent with a description or without.
pub(super) fn item(bytes: &[u8]) -> Item {
    postcard::take_from_bytes(bytes).unwrap().0
}

impl Serialize for Laden {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        scope::attach(&self.1).map_err(S::Error::custom)?;
        self.0.serialize(s)
    }
}

pub(super) fn end_of_a_channel() -> Arc<AttachedFile> {
    let attachment = AttachedFile::new(std::fs::File::open("/dev/null").unwrap().into());
    attachment.set_end();
    attachment
}

/// The results of the jobs.
#[derive(Default)]
pub(super) struct Book {
    pub(super) ended: HashMap<u64, Result<usize, TaskError>>,
    /// The errors of items that were answered one by one.
    pub(super) errors: HashMap<Item, TaskError>,
    /// When each item was last started.
    pub(super) started: HashMap<Item, Instant>,
    /// How many jobs have ended in an error that says that their item did not begin.
    pub(super) denied: u32,
    pub(super) now: Option<Instant>,
    pub(super) counters: Option<Arc<Counters>>,
    /// How many items of each job have been fed and have not ended for its caller.
    pub(super) unanswered: HashMap<u64, u64>,
}

impl Book {
    /// The caller of a job learns that so many of its items have ended: they do not count as
    /// pending any more.
    pub(super) fn answers(&mut self, job: u64, items: u64) {
        let left = self.unanswered.entry(job).or_default();
        *left = left.saturating_sub(items);
        let most = self.unanswered.values().sum();
        let pending = |counters: &Arc<Counters>| counters.read(0, false).pending;
        let pending = self.counters.as_ref().map_or(0, pending);
        assert!(pending <= most, "{pending} items are pending, of {most}");
    }

    /// Whether an error has said that the item did not begin.
    pub(super) fn is_denied(&self, item: Item) -> bool {
        let whole = self
            .ended
            .get(&item.0)
            .and_then(|ended| ended.as_ref().err());
        let of_item = |error: &&TaskError| error.item().is_none_or(|at| at as u64 == item.1);
        whole.filter(of_item).is_some_and(denies) || self.errors.get(&item).is_some_and(denies)
    }

    pub(super) fn overtime(&self, item: Item, timeout: Duration) -> bool {
        let started = self.started.get(&item);
        started.is_some_and(|at| self.now.is_some_and(|now| *at + timeout <= now))
    }
}

/// Whether the error says that its item did not begin.
pub(super) fn denies(error: &TaskError) -> bool {
    matches!(error, TaskError::TimedOut(late) if late.ran() == Some(Duration::ZERO))
}

pub(super) struct BookSink {
    pub(super) id: u64,
    pub(super) timeout: Option<Duration>,
    pub(super) until: Option<Instant>,
    pub(super) values: HashSet<u64>,
    pub(super) book: Arc<Mutex<Book>>,
}

impl Sink for BookSink {
    fn put(&mut self, index: usize, values: Values) -> Option<Values> {
        let items = values.downcast::<Vec<Item>>().unwrap();
        let mut book = self.book.lock().unwrap();
        book.answers(self.id, items.len() as u64);
        drop(book);
        for (at, (job, item)) in (index as u64..).zip(*items) {
            assert_eq!((job, item), (self.id, at), "values keep their order");
            assert!(self.values.insert(item), "one value for each item");
        }
        None
    }

    fn error(&mut self, index: usize, error: TaskError) {
        let item = (self.id, index as u64);
        let mut book = self.book.lock().unwrap();
        book.answers(self.id, 1);
        if let (TaskError::TimedOut(_), Some(timeout)) = (&error, self.timeout) {
            let late = timeout.is_zero() || book.overtime(item, timeout);
            assert!(late, "{item:?} had time left");
        }
        assert!(self.values.insert(index as u64), "one answer for each item");
        assert!(
            !denies(&error) || !book.started.contains_key(&item),
            "{item:?}: {error}"
        );
        book.errors.insert(item, error);
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        let result = failure.map_or(Ok(self.values.len()), Err);
        let mut book = self.book.lock().unwrap();
        let is_over = self.until.is_some_and(|until| book.now >= Some(until));
        if let (Err(TaskError::TimedOut(_)), false) = (&result, is_over) {
            let timeout = self.timeout.unwrap();
            let late = |item: &Item| item.0 == self.id && book.overtime(*item, timeout);
            let late = timeout.is_zero() || book.started.keys().any(late);
            assert!(late, "nothing was late");
        }
        book.answers(self.id, u64::MAX);
        if let Err(error) = &result {
            book.denied += u32::from(denies(error));
            let at = error.item().unwrap_or(0) as u64;
            let is_true = !denies(error) || !book.started.contains_key(&(self.id, at));
            assert!(is_true, "{at} of {}: {error}", self.id);
        }
        let before = book.ended.insert(self.id, result);
        assert!(before.is_none(), "a job ends once");
        None
    }
}
