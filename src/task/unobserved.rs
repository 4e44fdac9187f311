//! Failures that were never taken.
//!
//! A task that fails after its handle was dropped, or whose handle is dropped with the error still
//! in it, would fail silently. Such a failure is *unobserved*, or never taken: no `join`, `.await`
//! or callback has received it. Its error goes to a hook, once, because an output has one owner
//! (T2) and is dropped once (T8, `drop_output`). That is the hook of its executor if there is one,
//! otherwise the process's, which by default prints one line on standard error. A cancelled task
//! does not count, because its end was requested; but detached calls that are cancelled because
//! their process pool was dropped are reported, all of them once ([`TaskReport::deliver_lost`]).
//! The hook also gets *notices* of what no caller learns of otherwise, and what is no task's
//! failure ([`notice`]).

use std::fmt;
use std::panic::Location;
// A hook is set and read: no protocol.
use std::sync::{Arc, PoisonError, RwLock};

use super::error::TaskError;
use super::id::TaskId;
use crate::blocking_threads::{contain, standard_error};
use crate::printable::{Lines, Printable};
use crate::sys::fork::PerProcess;

/// A hook, shared by all tasks of an executor.
pub(crate) type Hook = Arc<dyn Fn(&TaskReport) + Send + Sync>;

/// A failure that was never taken: the argument of the hook.
///
/// Or a *notice* ([`is_notice`](Self::is_notice)).
///
/// Its `Display` form is a line for a log, and a line more for each line break in the error's text,
/// indented: names and texts are without what a terminal would obey.
///
/// ```
/// use std::sync::mpsc;
/// use trefoil::ThreadPool;
///
/// let (sender, reports) = mpsc::channel();
/// let hook = move |report: &trefoil::TaskReport| {
///     sender.send((report.name().map(str::to_owned), report.error().clone())).unwrap();
/// };
/// let pool = ThreadPool::builder().threads(1).on_unobserved(hook).build()?;
/// pool.spawn(|| panic!("out of cheese")).named("shop").detach();
/// let (name, error) = reports.recv()?;
/// assert_eq!(name.as_deref(), Some("shop"));
/// assert!(error.to_string().contains("out of cheese"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TaskReport {
    pub(super) id: TaskId,
    pub(super) name: Option<Box<str>>,
    pub(super) site: &'static Location<'static>,
    pub(super) error: TaskError,
    pub(super) is_notice: bool,
}

impl TaskReport {
    /// The task's id.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The task's name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the task was spawned.
    #[must_use]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.site
    }

    /// The error that the task ended with, or the text of a notice.
    #[must_use]
    pub fn error(&self) -> &TaskError {
        &self.error
    }

    /// Whether no task has failed: something is wrong that no caller learns of otherwise. Its id is
    /// no task's, and [`spawned_at`](Self::spawned_at) is in this crate. There are two:
    ///
    /// - All threads for files or for names (`io::stats`) are in calls of which none has ended for
    ///   a second, and another call waits. This is reported again when calls wait once more after
    ///   none did.
    /// - A socket was used on another thread than its loop's, for the first time in this process:
    ///   the error that its user got may have been dropped by a library.
    ///
    /// ```
    /// trefoil::on_unobserved(|report| {
    ///     let kind = if report.is_notice() { "warning" } else { "error" };
    ///     eprintln!("{kind}: {report}");
    /// });
    /// ```
    #[must_use]
    pub fn is_notice(&self) -> bool {
        self.is_notice
    }
}

impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_notice {
            return Lines(&self.error).fmt(f);
        }
        write!(f, "detached task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " `{}`", Printable(name))?;
        }
        let (site, error) = (self.site, Lines(&self.error));
        write!(f, ", spawned at {site}, failed: {error}")
    }
}

/// The process's hook: in a forked child its parent's, unless that was just being replaced.
fn hook_here() -> &'static RwLock<Option<Hook>> {
    static HOOK: PerProcess<RwLock<Option<Hook>>> = PerProcess::new();
    HOOK.get_or_init(|| {
        let parents = HOOK
            .inherited()
            .and_then(|lock| lock.try_read().ok()?.clone());
        RwLock::new(parents)
    })
}

/// Sets the hook for failures that are never taken, and for [notices](TaskReport::is_notice), for
/// the whole process, except for executors with their own hook. The default prints the report on
/// standard error, from another thread: the one that reports does not wait for a reader. If nobody
/// reads, a mebibyte is kept and what comes then is dropped; a line counts the dropped bytes. The
/// end of `main`, and `exit`, wait a second at most for what is still to be written.
///
/// The hook runs on the thread that ended the task or dropped its handle, holding no lock; it must
/// be short. A panic in it is caught. A cancelled task is not reported, because somebody asked for
/// its end (a panic in a call of a cancelled `spawn_broadcast` is); but if a dropped
/// [`ProcessPool`](crate::ProcessPool) cancels detached calls, one report says which was the first,
/// and how many there were. It is the hook of forked children, too.
///
/// ```
/// use std::sync::mpsc;
///
/// let (sender, receiver) = mpsc::channel();
/// trefoil::on_unobserved(move |report| { let _ = sender.send(format!("{report:?}")); });
/// let (completer, task) = trefoil::Completer::<u32>::new();
/// task.detach();
/// completer.complete(Err(trefoil::TaskError::timed_out()));
/// assert!(receiver.recv().unwrap().contains("TimedOut"));
/// ```
pub fn on_unobserved(hook: impl Fn(&TaskReport) + Send + Sync + 'static) {
    let before = hook_here()
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(Arc::new(hook));
    drop(before);
}

impl TaskReport {
    /// Reports that `count` detached calls were cancelled because their pool was dropped, of which
    /// this is the first.
    pub(crate) fn deliver_lost(mut self, count: usize, hook: Option<Hook>) {
        let others = match count - 1 {
            0 => String::new(),
            1 => ", and so was another detached call".to_owned(),
            more => format!(", and so were {more} other detached calls"),
        };
        self.error = TaskError::failed(format!(
            "it was cancelled because its pool was dropped{others} \
             (`shutdown(Shutdown::Wait)` waits for them)"
        ));
        self.report(hook);
    }

    /// Calls `hook`, or the process's, with this error.
    #[cold]
    pub(super) fn report(self, mut hook: Option<Hook>) {
        if matches!(self.error, TaskError::Cancelled) {
            return;
        }
        if hook.is_none() {
            let here = hook_here().read();
            hook = here.unwrap_or_else(PoisonError::into_inner).clone();
        }
        contain(|| match hook {
            Some(hook) => hook(&self),
            None => default_hook(&self),
        });
        contain(|| drop(self)); // a panic's payload is user code, too
    }
}

/// Passes a notice to `hook`, or to the process's.
#[cfg(feature = "event-loop")]
#[track_caller]
pub(crate) fn notice(what: &str, hook: Option<Hook>) {
    let notice = TaskReport {
        id: TaskId::next(),
        name: None,
        site: Location::caller(),
        error: TaskError::failed(what),
        is_notice: true,
    };
    notice.report(hook);
}

fn default_hook(report: &TaskReport) {
    standard_error::push(format!("trefoil: {report}\n").as_bytes());
}
