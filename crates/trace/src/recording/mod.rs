//! Records what your program's executors do: for the standard viewer, and as a table.
//!
//! With the feature `trace`. Use it when a program is slower than it should be, to find out which
//! thread waits for which task. [`start`] begins to record, for the whole process;
//! [`Recording::stop`] returns a [`Trace`]:
//!
//! ```
//! use trefoil::{ThreadPool, trace};
//!
//! let recording = trace::start()?;
//! let pool = ThreadPool::with_threads(2);
//! pool.spawn(|| (1..1000_u64).sum::<u64>()).named("sum").join()?;
//! let trace = recording.stop();
//!
//! let mut json = Vec::new(); // or a `File`
//! trace.write_json(&mut json)?;
//! println!("{}", trace.summary());
//! # assert!(String::from_utf8(json)?.contains("\"sum\""));
//! # assert!(trace.summary().to_string().contains("sum"));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! The file opens in <https://ui.perfetto.dev> and in `chrome://tracing`: each thread and each
//! worker process is a line.
//!
//! | on a line | it means |
//! |---|---|
//! | a slice with a task's name, or where it was spawned | its code runs: the call of a closure, or one poll of a future |
//! | `part of a join or map`, `part of a scope`, `broadcast`, `region`, `blocking` | a thread does a part of such a call; or it has said that it blocks |
//! | `waits` | a blocking wait of this crate, which has parked the thread; with the task that is waited for, if it is a `join` |
//! | `asleep`, `waits for events` | a worker, or a loop, has nothing to do |
//! | `call`, `frame` on a worker process | one item, or many of one job: from the moment at which it was sent and those before it were done, until the parent has the result; the time that the worker itself has measured is in `ran_us` |
//! | `spawn`, `wake`, `steal`, `wake thread`, `call`, `cancelled` … | this happened at that moment; arrows lead to what it has caused |
//!
//! Arrows lead from a spawn to the first run of the code, from a wake-up to the poll, from a call
//! to its frames, and from the wake-up of a thread to the end of its sleep.
//!
//! # Cost
//! Without the feature: none. With it, while nothing is recorded: a load and a branch at each
//! event, three to six for a task. While recording: 10 to 30 ns and 32 bytes for each event, in the
//! thread's own buffer. So tasks of ten microseconds slow down by less than 5 %. Beyond a limit
//! ([`start_limited`]) events are counted but not kept.
//!
//! # What is not in it
//! Tasks inside a worker process: it is another process, which can make its own recording. Waits
//! outside this crate: locks of `std`, sleeps, blocking reads. Joins and items of a `map` that no
//! other worker has stolen: they are plain calls, and cost a nanosecond.
//!
//! # Read next
//! The [guide](crate::_documentation::guide) says how to read such a picture. For spans in your own
//! logs, use the feature `tracing`; for the current state of a loop's tasks,
//! [`snapshot`](crate::LoopHandle::snapshot).

// Checked by `tests/trace/`; the cost by `benches/benches/trace.rs`.

mod chrome;
mod reader;
mod story;
mod summary;

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::trace_log::session;
use crate::trace_log::session::Session;
use reader::Reader;
use story::Story;

pub use summary::{ExecutorSummary, SlowTask, Summary};

/// How many events [`start`] has room for: 64 MiB, if all are used.
const LIMIT: usize = 1 << 21;

/// A recording is already running: a process has at most one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyRecording;

impl_error!(impl AlreadyRecording, self, f, f.write_str(
    "a recording is already running: stop (or drop) it first, because there can be only one at a \
     time"
));

impl From<AlreadyRecording> for io::Error {
    fn from(error: AlreadyRecording) -> Self {
        Self::new(io::ErrorKind::ResourceBusy, error)
    }
}

/// Begins to record what all executors of this process do, including those created later.
///
/// # Errors
/// [`AlreadyRecording`], until the other recording is stopped or dropped.
///
/// ```
/// let recording = trefoil::trace::start()?;
/// assert!(trefoil::trace::start().unwrap_err().to_string().contains("already"));
/// drop(recording);
/// trefoil::trace::start()?.stop();
/// # Ok::<_, trefoil::trace::AlreadyRecording>(())
/// ```
pub fn start() -> Result<Recording, AlreadyRecording> {
    start_limited(LIMIT)
}

/// Like [`start`], with room for this many events (of 32 bytes each) instead of two million. Later
/// ones are counted but not kept: [`Trace::lost`].
///
/// # Errors
/// Those of `start`.
///
/// ```
/// let recording = trefoil::trace::start_limited(1000)?;
/// let pool = trefoil::ThreadPool::with_threads(2);
/// (0..1000).map(|n| pool.spawn(move || n)).for_each(|task| drop(task.join()));
/// let trace = recording.stop();
/// assert!(trace.events() <= 1000 && trace.lost() > 0);
/// # Ok::<_, trefoil::trace::AlreadyRecording>(())
/// ```
pub fn start_limited(events: usize) -> Result<Recording, AlreadyRecording> {
    session::start(events)
        .map(|session| Recording { session })
        .ok_or(AlreadyRecording)
}

/// A running recording. Dropping it stops it and discards its events.
#[must_use = "dropped, it stops and forgets: `stop()` gives what was recorded"]
pub struct Recording {
    session: Arc<Session>,
}

impl Recording {
    /// Stops the recording, and returns the trace.
    ///
    /// Call it on any thread; running work continues, and is in the trace up to this moment. If the
    /// end of a task was seen before (by `join` or `.await`, say), everything it did is in the
    /// trace. In a child that was forked since the start, the trace is empty.
    ///
    /// Cost: time and memory proportional to the number of events.
    ///
    /// ```
    /// let trace = trefoil::trace::start()?.stop();
    /// assert_eq!(trace.lost(), 0);
    /// # Ok::<_, trefoil::trace::AlreadyRecording>(())
    /// ```
    pub fn stop(self) -> Trace {
        let (logs, length) = self.session.stop();
        Trace {
            story: Reader::read(logs, length),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _forgotten = self.session.stop();
    }
}

debug!(impl Recording, self);

/// What was recorded.
pub struct Trace {
    story: Story,
}

impl Trace {
    /// Writes it in the JSON form that Perfetto and Chrome read.
    ///
    /// Times are in microseconds from the start of the recording. The writer need not be buffered.
    ///
    /// # Errors
    /// Errors of `out`.
    ///
    /// ```no_run
    /// # let trace = trefoil::trace::start()?.stop();
    /// trace.write_json(std::fs::File::create("trace.json")?)?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn write_json(&self, out: impl Write) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        chrome::write(&self.story, &mut out)?;
        out.flush()
    }

    /// A summary in figures, which is printed as a table.
    ///
    /// ```
    /// # let trace = trefoil::trace::start()?.stop();
    /// println!("{}", trace.summary());
    /// # Ok::<_, trefoil::trace::AlreadyRecording>(())
    /// ```
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(&self.story)
    }

    /// How long the recording took.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.story.length)
    }

    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> usize {
        self.story.events
    }

    /// How many more events there were, for which there was no room. If this is not 0, a slice that
    /// is shown until a thread's last event may have ended later.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.story.lost
    }
}

debug!(
    impl Trace,
    self,
    duration = self.duration(),
    events = self.events(),
    lost = self.lost()
);
