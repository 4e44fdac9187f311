//! Recordings: `trefoil::trace`, whose page in trefoil says what they are for.
//!
//! **Job.** [`start`] begins one, for the whole process; [`Recording::stop`] returns a [`Trace`].
//! `reader` pairs the events of all threads, which gives a `story`; `chrome` writes it as a
//! picture, `summary` as figures.
//!
//! Tests: `tests/trace/main.rs::{there_is_one_recording_at_a_time,
//! it_may_begin_and_stop_in_the_middle_of_everything}`; cost: `benches/benches/trace.rs`.

mod chrome;
mod keep;
mod limits;
mod reader;
mod story;
mod summary;

use std::error::Error;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::trace_log::session;
use crate::trace_log::session::Session;
use limits::LIMIT;
use reader::Reader;
use story::Story;

pub use keep::{Recorder, keep_last};
pub use summary::{ExecutorSummary, SlowTask, Summary};

/// A recording of [`start`] is already running, or a [`keep_last`] already keeps events: a process
/// has at most one of each at a time.
///
/// ```
/// use trefoil::trace::{AlreadyRecording, start};
///
/// let recording = start()?;
/// assert_eq!(start().unwrap_err(), AlreadyRecording);
/// drop(recording);
/// # Ok::<_, AlreadyRecording>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyRecording;

impl fmt::Display for AlreadyRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a recording of this kind is already running: stop (or drop) it first, because there can \
             be only one at a time",
        )
    }
}

impl Error for AlreadyRecording {}

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

/// Begins to record, as [`start`] does, with room for this many events (of 32 bytes each) instead
/// of two million. Later ones are counted but not kept: [`Trace::lost`].
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
///
/// ```
/// let recording = trefoil::trace::start()?;
/// trefoil::ThreadPool::with_threads(1).spawn(|| 1).join().unwrap();
/// println!("{}", recording.stop().summary());
/// # Ok::<_, trefoil::trace::AlreadyRecording>(())
/// ```
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

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

/// What was recorded.
///
/// ```
/// let recording = trefoil::trace::start()?;
/// trefoil::ThreadPool::with_threads(1).spawn(|| 1).join()?;
/// let trace = recording.stop();
/// assert!(trace.events() > 0 && trace.lost() == 0);
/// trace.write_json(std::io::sink())?; // into a file, for a viewer
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
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

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("duration", &self.duration())
            .field("events", &self.events())
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}
