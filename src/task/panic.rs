//! A panic as a value: caught where it happened, resumed where it is awaited.
//!
//! `catch_unwind` returns the payload, but not the location. Only a panic hook gets the location,
//! so the first executor installs one ([`install_hook`]): it stores the location in a thread-local
//! and always calls the previous hook. If the host replaces the hook afterwards, only the location
//! is lost.
//!
//! A resumed panic does not call the hook again. So a [`Panic`] that moves to another thread (that
//! of a stolen half, or of an awaited task) carries its location, and stores it where it is
//! resumed. A location belongs to the task in which it was stored: the location of a panic that a
//! task has caught itself is not used for a later task's panic without one.
//!
//! The payload of a local panic is kept, behind a lock because payloads are not
//! `Sync`; the first to resume gets it, later resumers get the message.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, Location};
// A payload is taken once: no protocol.
use std::sync::{Arc, Mutex, PoisonError};

use super::failed_item::FailedItem;
use super::id::TaskId;
use super::raw::entered_task;
pub(crate) use crate::blocking_threads::contain;
use crate::sys::fork::PerProcess;

type Payload = Box<dyn Any + Send + 'static>;

/// A panic that ended a task.
///
/// ```
/// use trefoil::{TaskError, ThreadPool};
///
/// let pool = ThreadPool::with_threads(1);
/// let Err(TaskError::Panicked(panic)) = pool.spawn(|| -> () { panic!("no {}", 7) }).join() else { unreachable!() };
/// assert_eq!(panic.message(), "no 7");
/// assert!(panic.location().unwrap().line() > 0);
/// ```
#[derive(Clone)]
pub struct Panic {
    inner: Arc<PanicFields>,
    /// The item of a process pool's `map` that panicked.
    pub(super) item: FailedItem,
}

struct PanicFields {
    message: String,
    location: Option<PanicLocation>,
    worker: String,
    payload: Mutex<Option<Payload>>,
}

/// Where in the source a panic began.
///
/// ```
/// use trefoil::{TaskError, ThreadPool};
///
/// let task = ThreadPool::with_threads(1).spawn(|| panic!("out of cheese"));
/// let Err(TaskError::Panicked(panic)) = task.join() else { panic!("it did not") };
/// let place = panic.location().expect("it is known");
/// assert!(place.file().ends_with(".rs") && place.line() > 0 && place.column() > 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanicLocation {
    file: String,
    line: u32,
    column: u32,
}

impl Panic {
    fn local(payload: Payload, place: Option<Box<PanicSite>>) -> Self {
        let message = match payload.downcast_ref::<&'static str>() {
            Some(text) => (*text).to_owned(),
            None => match payload.downcast_ref::<String>() {
                Some(text) => text.clone(),
                None => "a panic with a payload that is not text".to_owned(),
            },
        };
        let (location, worker) = place.map_or((None, None), |place| (place.location, place.worker));
        let worker = worker.unwrap_or_else(worker_name);
        Self::with(message, location, worker, Some(payload))
    }

    /// A panic that happened in another process.
    pub(crate) fn remote(message: String, location: Option<PanicLocation>, worker: String) -> Self {
        Self::with(message, location, worker, None)
    }

    fn with(
        message: String,
        location: Option<PanicLocation>,
        worker: String,
        payload: Option<Payload>,
    ) -> Self {
        let inner = Arc::new(PanicFields {
            message,
            location,
            worker,
            payload: Mutex::new(payload),
        });
        let item = FailedItem::default();
        Self { inner, item }
    }

    /// The message of the panic. A payload that is not text is described.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Where the panic began. `None` if the program replaced the panic hook after the first
    /// executor was made, if there was none yet, or if the panic was raised by
    /// `std::panic::resume_unwind`, which calls no hook.
    #[must_use]
    pub fn location(&self) -> Option<&PanicLocation> {
        self.inner.location.as_ref()
    }

    /// Where the code ran: the name of the thread (without one, its id); in a worker, `process` and
    /// the process id (with a launcher its number in `worker_pids`); in a
    /// [`Process`](crate::Process), its name and the process id.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.inner.worker
    }

    /// Resumes the panic in this thread, without calling the panic hook again. The first caller
    /// raises the original payload if the panic happened in this process; all others raise the
    /// message as a `String`. A task that ends this way reports the panic's original location.
    ///
    /// # Panics
    /// Always.
    pub fn resume_unwind(self) -> ! {
        // No hook is called that would note the location.
        note(Some(Box::new(PanicSite {
            task: entered_task::id(),
            location: self.inner.location.clone(),
            worker: Some(self.inner.worker.clone()),
        })));
        let payload = self.inner.payload.lock();
        let payload = payload.unwrap_or_else(PoisonError::into_inner).take();
        panic::resume_unwind(payload.unwrap_or_else(|| Box::new(self.inner.message.clone())))
    }
}

debug!(
    impl Panic,
    self,
    message = self.inner.message,
    location = self.inner.location,
    worker = self.inner.worker
);

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked")?;
        if let Some(location) = &self.inner.location {
            write!(f, " at {location}")?;
        }
        write!(f, " on {}: {}", self.inner.worker, self.inner.message)
    }
}

impl std::error::Error for Panic {}

impl PanicLocation {
    fn of(location: &Location<'_>) -> Self {
        let file = location.file().to_owned();
        Self::new(file, location.line(), location.column())
    }

    pub(crate) fn new(file: String, line: u32, column: u32) -> Self {
        Self { file, line, column }
    }

    /// The source file, as the compiler recorded it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column, from 1.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.column
    }
}

/// The name of the place where code runs on this thread, for a panic's report.
fn worker_name() -> String {
    let thread = std::thread::current();
    thread
        .name()
        .map_or_else(|| format!("{:?}", thread.id()), str::to_owned)
}

impl fmt::Display for PanicLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

crate::loom::per_thread! {
    /// Where the last panic on this thread began. It is boxed because [`catch`] moves it out and
    /// in.
    static PLACE: Cell<Option<Box<PanicSite>>> = Cell::new(None);
}

/// Where a panic began.
struct PanicSite {
    /// The task that it happened in.
    task: Option<TaskId>,
    location: Option<PanicLocation>,
    /// The thread, if it is another one than the thread that notes it.
    worker: Option<String>,
}

/// Notes a place on this thread, or none; returns the previous one.
#[inline(always)]
fn note(place: Option<Box<PanicSite>>) -> Option<Box<PanicSite>> {
    PLACE
        .try_with(|slot| slot.replace(place))
        .unwrap_or_default()
}

/// Installs the chaining panic hook, once in a process and its forked children.
///
/// Does nothing while this thread is panicking: a hook cannot be changed then.
pub(crate) fn install_hook() {
    static INSTALLED: PerProcess<()> = PerProcess::new();
    if std::thread::panicking() {
        return;
    }
    INSTALLED.inherit_or_init(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note(Some(Box::new(PanicSite {
                task: entered_task::id(),
                location: info.location().map(PanicLocation::of),
                worker: None,
            })));
            before(info);
        }));
    });
}

/// Like [`catch`], inside a task: the noted place belongs to this task or is not used.
#[inline]
pub(super) fn catch_in_task<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(caught)
}

/// Runs `f`; a panic becomes a [`Panic`] with its message, place and payload. A place that was
/// noted before is restored, because `f` may run in the middle of another unwinding.
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    let before = note(None);
    let result = catch_in_task(f);
    note(before);
    result
}

/// The place of the panic that was just caught, if the hook has noted it.
fn take_place() -> Option<Box<PanicSite>> {
    let place = note(None)?;
    (place.task == entered_task::id()).then_some(place)
}

#[cold]
fn caught(payload: Payload) -> Panic {
    Panic::local(payload, take_place())
}
