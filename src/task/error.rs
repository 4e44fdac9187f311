//! Every way in which work can fail, as one small enum, and the message of each.
//!
//! [`TaskError`] is two words: what happened, and a box with the details where there are any. It is
//! `Clone`, so that many waiters may have it, and `Send + Sync`, so that it crosses threads; a
//! panic's payload, which is neither, stays behind a lock, and the first taker gets it (see
//! [`Panic`]).

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

#[cfg(feature = "backtrace")]
use super::backtrace::Backtrace;
use super::failed_item::FailedItem;
use super::failure::Failure;
use super::late::Late;
use super::panic::Panic;
use crate::events::Ending;
use crate::printable::Printable;
use crate::sys::signal_name::{code_name, signal_name};

/// Why a task has no result.
///
/// Its `Display` form has the message of a panic, or of your own error, as it is: whatever that
/// contains, a terminal that it is printed on obeys. What a worker process has printed is without
/// control characters in it, and so is the `Display` form of a [`TaskReport`](crate::TaskReport).
///
/// Cloning is cheap unless it carries details. Match with a wildcard arm: variants
/// may be added.
///
/// ```
/// use trefoil::{TaskError, ThreadPool};
///
/// let pool = ThreadPool::with_threads(1);
/// let error = pool.spawn(|| -> u32 { panic!("out of cheese") }).join().unwrap_err();
/// match error {
///     TaskError::Panicked(panic) => assert_eq!(panic.message(), "out of cheese"),
///     other => panic!("{other}"),
/// }
/// ```
///
/// The `Debug` form, which `unwrap` and a `main` that returns the error print, is the variant's
/// name with the text of `Display` behind it.
#[derive(Clone)]
#[non_exhaustive]
pub enum TaskError {
    /// The task was cancelled before it had a result.
    Cancelled,
    /// The time was up. The awaited work may still be running.
    ///
    /// [`Late`] has what is known of a call in a worker process.
    TimedOut(Late),
    /// Nothing can produce the result any more: for example, the executor was shut down, the
    /// promise was dropped, or the result had been taken before.
    Closed,
    /// Waiting here would block a thread that must not block: an event loop's, or the one that
    /// drives a process pool. `.await` the task instead, or join it from `spawn_blocking`. Also, on
    /// any thread: a task joins itself, or there is no item or no room for a `try_recv` or
    /// `try_send`.
    WouldBlock,
    /// The closure, future or call panicked.
    Panicked(Box<Panic>),
    /// The worker process that ran the call died; or the connection to it broke, so that nobody
    /// knows whether it ran the call.
    WorkerDied(Box<WorkerExit>),
    /// An argument or a result could not cross to or from a worker process.
    Codec(Box<CodecError>),
    /// The task's own code returned an error: that of [`flatten`](crate::Task::flatten), or of a
    /// promise that was completed with [`TaskError::failed`].
    Failed(Failure),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(item) = self.failed_item() {
            item.fmt(f)?;
        }
        match self {
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::TimedOut(late) => late.fmt(f),
            Self::Closed => f.write_str(
                "closed: the executor or promise behind this task is gone, or its result has \
                 already been taken",
            ),
            Self::WouldBlock => f.write_str(
                "it would block: this thread runs an event loop or drives a process pool, so it must \
                 not (await the task, or wait in spawn_blocking); or a `try_` call found no item or \
                 no room; or the task waited for itself, which would never end",
            ),
            Self::Panicked(panic) => panic.fmt(f),
            Self::WorkerDied(exit) => exit.fmt(f),
            Self::Codec(error) => error.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
        }?;
        match self.note() {
            Some(note) => write!(f, "; {}", Printable(note)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Cancelled => "Cancelled",
            Self::TimedOut(_) => "TimedOut",
            Self::Closed => "Closed",
            Self::WouldBlock => "WouldBlock",
            Self::Panicked(_) => "Panicked",
            Self::WorkerDied(_) => "WorkerDied",
            Self::Codec(_) => "Codec",
            Self::Failed(_) => "Failed",
        };
        write!(f, "{name}({self})")
    }
}

impl Error for TaskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

impl TaskError {
    /// The form in recordings.
    #[inline]
    pub(super) fn ending(&self) -> Ending {
        match self {
            Self::Cancelled => Ending::Cancelled,
            Self::Closed => Ending::Closed,
            Self::Panicked(_) => Ending::Panicked,
            Self::TimedOut(_)
            | Self::WouldBlock
            | Self::WorkerDied(_)
            | Self::Codec(_)
            | Self::Failed(_) => Ending::Failed,
        }
    }
}

impl TaskError {
    /// The time is up; nothing more is known.
    ///
    /// ```
    /// use trefoil::{Completer, TaskError};
    ///
    /// let (completer, task) = Completer::<u32>::new();
    /// completer.complete(Err(TaskError::timed_out()));
    /// assert!(matches!(task.join(), Err(TaskError::TimedOut(_))));
    /// ```
    #[must_use]
    pub fn timed_out() -> Self {
        Self::TimedOut(Late::default())
    }

    /// The error of a task whose own code failed: [`TaskError::Failed`]. An error that is a
    /// `TaskError` already, or an [`io::Error`] that was made of one, stays that one: so the error
    /// of a task that awaits another with `?` is the other's.
    ///
    /// ```
    /// use trefoil::{Completer, TaskError};
    ///
    /// let (completer, task) = Completer::<u32>::new();
    /// completer.complete(Err(TaskError::failed("the other side has hung up")));
    /// assert_eq!(task.join().unwrap_err().to_string(), "the other side has hung up");
    /// ```
    #[must_use]
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = match error.into().downcast::<io::Error>() {
            Ok(error) => error.downcast::<Self>().map(Box::new).map_err(Into::into),
            Err(error) => error.downcast::<Self>(),
        };
        error.map_or_else(|error| Self::Failed(Failure::new(error)), |own| *own)
    }

    /// The index of the item that failed, for an item of a `map`, `map_each` or `imap` in worker
    /// processes, and of a thread pool's `map_each`. The message begins with it.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let halves = pool.map_each([8, 0, 2], |n| 16 / n);
    /// assert_eq!(halves[1].as_ref().unwrap_err().item(), Some(1));
    /// ```
    #[must_use]
    pub fn item(&self) -> Option<usize> {
        self.failed_item()?.index
    }

    /// What a hook of the pool or the call has left for the caller, if there is one
    /// ([`on_failed_item`](crate::ProcessPoolBuilder::on_failed_item)): where the item is kept, for
    /// example. The message ends with it.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder()
    ///     .workers(1)
    ///     .on_failed_item(|failed| failed.note("kept as item-1"))
    ///     .build()?;
    /// let error = procs.spawn((), |()| -> () { std::process::exit(9) }).join().unwrap_err();
    /// assert_eq!(error.note(), Some("kept as item-1"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.failed_item()?.note.as_deref()
    }

    /// The same error with a note. (The variants that have no item are as they were.)
    #[cfg(feature = "processes")]
    pub(crate) fn with_note(mut self, note: Arc<str>) -> Self {
        if let Some(item) = self.failed_item_mut() {
            item.note = Some(note);
        }
        self
    }

    /// Puts this index into the error, as its [`item`](Self::item): for code that gives only some
    /// of a caller's items to an executor. (The variants that have no item are as they were.)
    ///
    /// ```
    /// let error = trefoil::TaskError::timed_out().with_item(7);
    /// assert_eq!(error.item(), Some(7));
    /// ```
    #[must_use]
    pub fn with_item(mut self, index: usize) -> Self {
        if let Some(item) = self.failed_item_mut() {
            item.index = Some(index);
        }
        self
    }

    /// Whether somebody should wait for names in it.
    #[cfg(feature = "backtrace")]
    pub(crate) fn needs_names(&self) -> bool {
        self.backtrace().is_some_and(Backtrace::is_unnamed)
    }

    /// Waits for them, as long as that makes sense. For helper threads.
    #[cfg(feature = "backtrace")]
    pub(crate) fn wait_for_names(&self) {
        if let Some(backtrace) = self.backtrace() {
            backtrace.wait_for_names();
        }
    }

    #[cfg(feature = "backtrace")]
    fn backtrace(&self) -> Option<&Backtrace> {
        match self {
            Self::WorkerDied(exit) => exit.backtrace(),
            _ => None,
        }
    }

    fn failed_item(&self) -> Option<&FailedItem> {
        match self {
            Self::Panicked(panic) => Some(&panic.item),
            Self::WorkerDied(exit) => Some(&exit.item),
            Self::Codec(error) => Some(&error.item),
            Self::TimedOut(late) => late.failed_item(),
            Self::Cancelled | Self::Closed | Self::WouldBlock | Self::Failed(_) => None,
        }
    }

    fn failed_item_mut(&mut self) -> Option<&mut FailedItem> {
        match self {
            Self::Panicked(panic) => Some(&mut panic.item),
            Self::WorkerDied(exit) => Some(&mut exit.item),
            Self::Codec(error) => Some(&mut error.item),
            Self::TimedOut(late) => Some(late.failed_item_mut()),
            Self::Cancelled | Self::Closed | Self::WouldBlock | Self::Failed(_) => None,
        }
    }
}

impl From<Panic> for TaskError {
    fn from(panic: Panic) -> Self {
        Self::Panicked(Box::new(panic))
    }
}

/// The error is inside ([`io::Error::get_ref`], [`io::Error::downcast`]); the kind is the nearest
/// of `io`'s.
impl From<TaskError> for io::Error {
    fn from(error: TaskError) -> Self {
        let kind = match &error {
            TaskError::TimedOut(_) => io::ErrorKind::TimedOut,
            TaskError::Closed => io::ErrorKind::BrokenPipe,
            TaskError::WouldBlock => io::ErrorKind::WouldBlock,
            TaskError::Codec(_) => io::ErrorKind::InvalidData,
            // This is not `Interrupted`: a caller that reads or writes in a loop would try again,
            // for ever.
            TaskError::Cancelled | TaskError::Panicked(_) | TaskError::WorkerDied(_) => {
                io::ErrorKind::Other
            }
            TaskError::Failed(failure) => failure
                .downcast_ref()
                .map_or(io::ErrorKind::Other, io::Error::kind),
        };
        Self::new(kind, error)
    }
}

/// Why a worker process died, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It exited or crashed, or nobody knows.
    Itself,
    /// An allocation failed there, or it keeps too much.
    Allocation,
    /// The kernel killed it for want of memory.
    Kernel,
    /// Its pool killed it.
    Pool,
    /// Somebody else killed it.
    Outside,
}

/// How a worker process ended while it ran a call.
///
/// ```no_run
/// use trefoil::{ProcessPool, TaskError};
///
/// trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// match procs.spawn((), |()| -> () { std::process::abort() }).join() {
///     Err(TaskError::WorkerDied(exit)) => println!("{exit}: signal {:?}", exit.signal()),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct WorkerExit {
    pub(crate) pid: u32,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) attempts: u32,
    pub(crate) stderr_tail: String,
    pub(crate) cause: Cause,
    /// A further message, for a worker that never started properly.
    pub(crate) note: Option<String>,
    #[cfg(feature = "backtrace")]
    pub(crate) backtrace: Option<Backtrace>,
    /// The item of a `map` that it was running.
    item: FailedItem,
}

impl WorkerExit {
    pub(crate) fn new(pid: u32) -> Self {
        Self {
            pid,
            code: None,
            signal: None,
            attempts: 1,
            stderr_tail: String::new(),
            cause: Cause::Itself,
            note: None,
            #[cfg(feature = "backtrace")]
            backtrace: None,
            item: FailedItem::default(),
        }
    }

    /// The process id that the worker had, or with a launcher the number that
    /// [`worker_pids`](crate::ProcessPool::worker_pids) has for it; 0 if no process could be started
    /// for it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit code, if it exited. Neither this nor [`signal`](Self::signal) is known where other
    /// code of the program waits for any child (`waitpid(-1)`), or `SIGCHLD` is ignored.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// The signal that killed it, if one did and [is known](Self::code). `None` if it was killed and
    /// did not die: that process may still exist.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.signal
    }

    /// How many times the call was started, this time included (1 if it never was: the pool has
    /// failed). Where the connection to a worker breaks, what it had been sent and had not answered
    /// counts as started.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The last lines that the call wrote to standard error: the last 4 KiB of the worker's output
    /// since the previous call ended, with U+FFFD in place of invalid UTF-8. (The output of very
    /// short items is not separated from that of the items just before.)
    #[must_use]
    pub fn stderr_tail(&self) -> &str {
        &self.stderr_tail
    }

    /// Where it crashed: the stack of the thread that died by `SIGSEGV`, `SIGBUS`, `SIGILL`,
    /// `SIGFPE` or `SIGABRT`. With the feature `backtrace`: without it, an error has the signal and
    /// the [last words](Self::stderr_tail). The `Display` form of the error names the innermost
    /// function that is yours or a library's, or has the module and the offset if that is a
    /// library's and has no name.
    ///
    /// `None` for any other end, where its signal is not known, where nothing could be noted (a
    /// thread of C code whose stack overflowed, a handler that the item has installed itself), for
    /// [plain workers](crate::ProcessPoolBuilder::plain_workers), and on systems other than Linux
    /// on x86-64 and arm64. Where code has no unwind tables, it is where the stack ends here.
    #[cfg(feature = "backtrace")]
    #[must_use]
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.backtrace.as_ref()
    }

    /// The last line. After a panic, whose last line is a hint about backtraces: its location and
    /// the first line of its message. For lack of memory: which allocation failed.
    #[cfg(feature = "processes")]
    fn last_words(&self) -> Option<String> {
        let lines = self.stderr_tail.lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let (&last, before) = lines.split_last()?;
        let failed = |line: &&&str| line.starts_with("memory allocation of ");
        if let Some(line) = lines.iter().rfind(failed).filter(|_| self.out_of_memory()) {
            return Some((*line).to_owned());
        }
        let is_hint = last.starts_with("note: ") && last.contains("RUST_BACKTRACE");
        let begins = |line: &&str| line.contains(" panicked at ");
        match before.iter().rposition(begins).filter(|_| is_hint) {
            Some(at) => Some(before[at..before.len().min(at + 2)].join(" ")),
            None if is_hint => {
                // What was said before a backtrace, whose beginning may be cut off.
                let trace = before.iter().rposition(|line| *line == "stack backtrace:");
                let said = before[..trace.unwrap_or(before.len())].last();
                Some((*said.filter(|line| !line.starts_with("at "))?).to_owned())
            }
            None => Some(last.to_owned()),
        }
    }

    /// Whether it died, as far as is known, for lack of memory: it ended because an allocation
    /// failed, or it was killed, not by its pool, and Linux has killed a process of this control
    /// group for want of memory. (Linux counts these and does not name them: each explains one
    /// death. If it was another program's process, that death is one that something else killed.)
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        matches!(self.cause, Cause::Allocation | Cause::Kernel)
    }
}

impl fmt::Display for WorkerExit {
    #[cfg_attr(not(feature = "processes"), allow(unused_variables))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "processes")] // without, there is no such error, nor are there its words
        self.write(f)?;
        Ok(())
    }
}

#[cfg(feature = "processes")]
impl WorkerExit {
    pub(crate) fn add_note(&mut self, more: String) {
        self.note = Some(match self.note.take() {
            Some(note) => format!("{note}; {more}"),
            None => more,
        });
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (0, Some(note)) = (self.pid, &self.note) {
            return f.write_str(note); // there was no process
        }
        write!(f, "worker process {} ", self.pid)?;
        match (self.code, self.signal) {
            (_, Some(signal)) => {
                write!(f, "was killed by signal {signal}")?;
                if let Some(name) = signal_name(signal) {
                    write!(f, " ({name})")?;
                }
            }
            (Some(code), None) => match code_name(code) {
                Some(name) => write!(f, "ended by {name}")?,
                None => write!(f, "exited with code {code}")?,
            },
            (None, None) => write!(f, "was lost")?,
        }
        if self.out_of_memory() {
            write!(f, " (out of memory)")?;
        }
        if self.attempts > 1 {
            write!(f, " at attempt {}", self.attempts)?;
        }
        #[cfg(feature = "backtrace")]
        if let Some(backtrace) = &self.backtrace {
            backtrace.write_culprit(f)?;
        }
        if let Some(note) = &self.note {
            write!(f, ": {note}")?;
        }
        if let Some(words) = self.last_words() {
            write!(f, "; last line on standard error: {}", Printable(words))?;
        }
        Ok(())
    }
}

/// The same text, with the item: `unwrap`, and a `main` that returns the error, print it.
impl fmt::Debug for WorkerExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{self}", self.item)
    }
}

impl Error for WorkerExit {}

/// A value that could not be sent to or from a worker process.
///
/// ```
/// use trefoil::{ProcessPool, TaskError};
///
/// # trefoil::init();
/// #[derive(serde::Deserialize)]
/// struct Shy;
///
/// impl serde::Serialize for Shy {
///     fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
///         Err(serde::ser::Error::custom("it stays at home"))
///     }
/// }
///
/// let procs = ProcessPool::with_workers(1)?;
/// let Err(TaskError::Codec(error)) = procs.spawn(Shy, |_| ()).join() else { panic!("it was sent") };
/// assert!(error.type_name().ends_with("Shy") && error.to_string().contains("stays at home"));
/// # Ok::<_, trefoil::PoolError>(())
/// ```
#[derive(Clone)]
pub struct CodecError {
    pub(crate) type_name: &'static str,
    pub(crate) direction: CodecDirection,
    pub(crate) detail: String,
    /// The item of a `map`.
    item: FailedItem,
}

/// What was being done to the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodecDirection {
    EncodeArgument,
    DecodeArgument,
    EncodeResult,
    DecodeResult,
}

impl CodecError {
    pub(crate) fn new(type_name: &'static str, direction: CodecDirection, detail: String) -> Self {
        Self {
            type_name,
            direction,
            detail,
            item: FailedItem::default(),
        }
    }

    /// The Rust type of the value.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.type_name
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, done) = match self.direction {
            CodecDirection::EncodeArgument => ("an argument", "encoded"),
            CodecDirection::DecodeArgument => ("an argument", "decoded"),
            CodecDirection::EncodeResult => ("a result", "encoded"),
            CodecDirection::DecodeResult => ("a result", "decoded"),
        };
        let Self {
            type_name, detail, ..
        } = self;
        write!(
            f,
            "{what} of type `{type_name}` could not be {done}: {detail}"
        )
    }
}

/// The same text, with the item.
impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{self}", self.item)
    }
}

impl Error for CodecError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_and_send_sync() {
        fn send_sync<T: Send + Sync + Clone + Error + 'static>() {}
        send_sync::<TaskError>();
        assert!(size_of::<TaskError>() <= 16);
        assert!(size_of::<Result<(), TaskError>>() <= 16);
    }

    #[cfg(feature = "processes")]
    #[cfg(all(test, unix))] // on Windows no signal ends a process
    #[test]
    fn says_which_signal_it_was() {
        let mut exit = WorkerExit::new(17);
        exit.signal = Some(11);
        exit.stderr_tail = "first\nlast\n\n".to_owned();
        let died = TaskError::WorkerDied(Box::new(exit)).with_item(3);
        let words = "worker process 17 was killed by signal 11 (SIGSEGV); last line on standard error: last";
        assert_eq!(died.to_string(), format!("item 3: {words}"));
        assert_eq!(format!("{died:?}"), format!("WorkerDied(item 3: {words})"));
    }

    #[cfg(feature = "processes")]
    #[test]
    fn says_what_happened() {
        let mut exit = WorkerExit::new(17);
        exit.code = Some(101);
        exit.stderr_tail = "other\n\nthread 'main' (5) panicked at src/a.rs:1:2:\nno luck\nstack backtrace:\n 0: f\n\
            note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n"
            .to_owned();
        let full = exit.to_string();
        let words =
            "; last line on standard error: thread 'main' (5) panicked at src/a.rs:1:2: no luck";
        assert!(full.ends_with(words), "{full}");
        exit.stderr_tail = "memory allocation of 7 bytes failed\n\
            note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
            .to_owned();
        let full = exit.to_string();
        assert!(
            full.ends_with("memory allocation of 7 bytes failed"),
            "{full}"
        );
        let traced =
            "stack backtrace:\n 0: f\n    at a.rs:1:2\nnote: run with `RUST_BACKTRACE=full`\n";
        exit.stderr_tail = format!("memory allocation of 7 bytes failed\n{traced}");
        assert!(
            exit.to_string()
                .ends_with("memory allocation of 7 bytes failed")
        );
        exit.stderr_tail = traced[20..].to_owned();
        assert_eq!(exit.last_words(), None);
        exit.cause = Cause::Allocation;
        exit.stderr_tail = "memory allocation of 7 bytes failed\nwhat a hook wrote\n".to_owned();
        assert!(
            exit.to_string()
                .ends_with("memory allocation of 7 bytes failed")
        );
        let codec = CodecError::new(
            "alloc::string::String",
            CodecDirection::EncodeResult,
            "too odd".into(),
        );
        let codec = TaskError::Codec(Box::new(codec)).with_item(3);
        let text = "a result of type `alloc::string::String` could not be encoded: too odd";
        assert_eq!(codec.to_string(), format!("item 3: {text}"));
        let TaskError::Codec(own) = codec else {
            panic!()
        };
        assert_eq!(format!("{own:?}"), format!("item 3: {text}"));
        assert_eq!(
            io::Error::from(TaskError::timed_out()).kind(),
            io::ErrorKind::TimedOut
        );
    }
}
