//! The events of the last seconds, and the files that are written of them when something is wrong.
//!
//! **Job.** [`keep_last`] makes the ring (`trace_log::ring`); the [`Recorder`] gives it as a
//! [`Trace`]. If there is a folder for files, [`trouble`] has one written, by a thread of its own:
//! whoever notices trouble has no time, and holds locks.
//!
//! A file has another name until it is complete.
//!
//! Tests: `tests/trace/keep.rs`.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64; // a number: no protocol
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::limits::{FILES, PAUSE};
use super::reader::Reader;
use super::{AlreadyRecording, Trace};
use crate::live::{self, StuckWatch};
use crate::loom::{Mutex, thread};
use crate::trace_log::ring::{self, Kept, Ring};
use crate::trace_log::trouble::{self, Trouble};

/// Keeps what all executors of this process have done in the last `window`, in `bytes` of memory at
/// most, until the [`Recorder`] is dropped: the flight recorder. What happened just before a
/// failure is then there, though nobody has expected it.
///
/// If the memory is used up before the window is, the oldest events are dropped, and counted
/// ([`Trace::lost`]): a task takes some 150 bytes on threads, a poll 64. An eighth of the memory is
/// for names of tasks. All of it is reserved by this call, and nothing is allocated for an event;
/// its cost is that of a [recording](super::start), which may run at the same time. More than 1 GiB
/// counts as 1 GiB, and a window that is longer than the recorder exists as that time.
///
/// With [`write_to`](Recorder::write_to) files are written when something is wrong; at any time
/// [`write`](Recorder::write) writes one, and [`trace`](Recorder::trace) gives the same in memory.
///
/// # Errors
/// [`AlreadyRecording`] while there is another recorder.
///
/// ```
/// use std::time::Duration;
/// use trefoil::{ThreadPool, trace};
///
/// let recorder = trace::keep_last(Duration::from_secs(10), 16 << 20)?;
/// let pool = ThreadPool::with_threads(2);
/// pool.spawn(|| 6 * 7).named("answer").join()?;
/// let mut json = Vec::new();
/// recorder.trace().write_json(&mut json)?;
/// assert!(String::from_utf8(json)?.contains("\"answer\""));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn keep_last(window: Duration, bytes: usize) -> Result<Recorder, AlreadyRecording> {
    let ring = ring::keep(window, bytes).ok_or(AlreadyRecording)?;
    Ok(Recorder {
        ring,
        watch: None,
        writes: None,
        files: FILES,
        pause: PAUSE,
    })
}

/// Keeps the events of the last seconds: from [`keep_last`]. Dropping it ends that, and frees the
/// memory. If a file of [`write_to`](Recorder::write_to) is being written, it waits for that: what
/// goes wrong often ends the program, too.
///
/// ```
/// use std::time::Duration;
///
/// let recorder = trefoil::trace::keep_last(Duration::from_secs(10), 1 << 20)?;
/// trefoil::ThreadPool::with_threads(1).spawn(|| 1).join()?;
/// assert!(recorder.trace().events() > 0); // what happened just now
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, it keeps nothing: bind it to a variable that lives as long as the program"]
pub struct Recorder {
    ring: Arc<Ring>,
    watch: Option<StuckWatch>,
    writes: Option<Arc<Mutex<Files>>>,
    files: u64,
    pause: Duration,
}

/// Where files are written, and how many more.
struct Files {
    ring: Arc<Ring>,
    folder: PathBuf,
    pause: Duration,
    left: u64,
    last: Option<Instant>,
    /// The thread of the last file, which ends after those of earlier ones.
    writer: Option<thread::JoinHandle<()>>,
}

impl Recorder {
    /// From now on a file is written into this folder, which is made if it is missing, when
    /// something is wrong:
    ///
    /// | in the file's name | when |
    /// |---|---|
    /// | `stuck` | a deadlock is found ([`on_stuck`]); so from now on tasks are kept track of |
    /// | `slow-poll` | a loop's [`slow_poll`] hook is called |
    /// | `worker-died` | a worker process has died, and its pool has not ended it |
    /// | `late-item` | an item in a worker process, or its call, has exceeded its time limit |
    ///
    /// The names are `trefoil-PID-NUMBER-WHY.json`; each opens in a viewer as a recording does. A
    /// thread writes it, named `trefoil-recorder`. So that a folder does not fill up, this process
    /// writes at most ten files, and at most one in a minute: [`at_most`](Self::at_most),
    /// [`pause`](Self::pause). What happens in between is in no file. One that cannot be written is
    /// counted, and not reported (beyond `ulimit -f` the system ends the program). A later process
    /// with the same PID (in a container, say) replaces files of the same name, so give each run a
    /// folder. If it is called again, later files are written into the other folder, and are
    /// counted from nothing.
    ///
    /// From here on deadlocks are looked for, and reported on standard error, too, unless there is
    /// a hook for that ([`on_stuck`]).
    ///
    /// # Errors
    /// Errors of the system when the folder is made.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use trefoil::trace;
    ///
    /// let recorder = trace::keep_last(Duration::from_secs(10), 16 << 20)?
    ///     .at_most(3)
    ///     .write_to("traces")?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// [`on_stuck`]: https://docs.rs/trefoil/latest/trefoil/inspect/fn.on_stuck.html
    /// [`slow_poll`]: https://docs.rs/trefoil/latest/trefoil/struct.EventLoopBuilder.html
    pub fn write_to(mut self, folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?; // wherever this process goes
        fs::create_dir_all(&folder)?;
        let writes = self.writes.get_or_insert_with(|| {
            Arc::new(Mutex::new(Files {
                ring: Arc::clone(&self.ring),
                folder: PathBuf::new(),
                pause: Duration::ZERO,
                left: 0,
                last: None,
                writer: None,
            }))
        });
        let files = Arc::clone(writes);
        let mut now = files.lock();
        (now.folder, now.pause) = (folder, self.pause);
        (now.left, now.last) = (self.files, None);
        drop(now);
        trouble::listen(move |what| files.lock().begin(what));
        self.watch = Some(live::watch_stuck(|_| trouble::noticed(Trouble::Stuck)));
        Ok(self)
    }

    /// How many files are written at most, instead of ten. To be called before
    /// [`write_to`](Self::write_to).
    pub fn at_most(mut self, files: u64) -> Self {
        self.files = files;
        self
    }

    /// How much time is between two files at least, instead of a minute. To be called before
    /// [`write_to`](Self::write_to).
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// What happened in the last seconds. The recorder continues.
    ///
    /// What a thread is writing at this moment may be missing. In a child that was forked since the
    /// start, the trace is empty.
    ///
    /// Cost: time proportional to the number of events, and some five times their memory, until the
    /// trace is dropped. Threads that write meanwhile wait for some microseconds now and then.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let recorder = trefoil::trace::keep_last(Duration::from_secs(10), 1 << 20)?;
    /// println!("{}", recorder.trace().summary());
    /// # Ok::<_, trefoil::trace::AlreadyRecording>(())
    /// ```
    pub fn trace(&self) -> Trace {
        trace(&self.ring)
    }

    /// Writes what happened in the last seconds to this file, in the form of
    /// [`Trace::write_json`]. The recorder continues.
    ///
    /// # Errors
    /// Errors of the system.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let recorder = trefoil::trace::keep_last(Duration::from_secs(10), 16 << 20)?;
    /// recorder.write("last-seconds.json")?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.trace().write_json(File::create(path)?)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // (In a forked child nobody writes, and the lock may be held for ever.)
        if let Some(files) = self.writes.take()
            && self.ring.is_kept()
        {
            trouble::listen(|_| ());
            let writer = files.lock().writer.take();
            if let Some(writer) = writer {
                let _ = writer.join(); // the ring is kept until it has copied it
            }
        }
        self.ring.stop();
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

fn trace(ring: &Ring) -> Trace {
    let Kept {
        logs,
        length,
        dropped,
    } = ring.copy();
    let mut story = Reader::read(logs, length);
    story.lost += dropped;
    Trace { story }
}

impl Files {
    /// Has a file written, unless it is too soon, or there are enough.
    fn begin(&mut self, why: Trouble) {
        static NEXT: AtomicU64 = AtomicU64::new(1); // no protocol
        let is_soon = self.last.is_some_and(|last| last.elapsed() < self.pause);
        if is_soon || self.left == 0 {
            return;
        }
        self.last = Some(Instant::now());
        self.left -= 1;
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("trefoil-{}-{number}-{why}.json", std::process::id());
        let path = self.folder.join(name);
        let (ring, before) = (Arc::clone(&self.ring), self.writer.take());
        let write = move || {
            let _ = write(&ring, &path);
            if let Some(before) = before {
                let _ = before.join();
            }
        };
        // If the system gives no thread, there is no file.
        let writer = thread::Builder::new().name("trefoil-recorder".to_owned());
        self.writer = writer.spawn(write).ok();
    }
}

fn write(ring: &Ring, path: &Path) -> io::Result<()> {
    let trace = trace(ring);
    let part = path.with_extension("part");
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)] // names of tasks may hold data: the file is for this user alone
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = trace.write_json(options.open(&part)?);
    let written = written.and_then(|()| fs::rename(&part, path));
    written.inspect_err(|_| _ = fs::remove_file(&part))
}

#[cfg(all(test, feature = "trace", not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::event::What;

    /// What goes wrong often ends the program.
    #[test]
    fn files_that_have_begun_are_complete_when_the_recorder_is_gone() {
        let name = format!("trefoil-begun-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let folders = [folder.join("first"), folder.join("second")];
        let recorder = keep_last(Duration::from_secs(3600), 1 << 20).unwrap();
        let recorder = recorder.pause(Duration::ZERO);
        let recorder = recorder.write_to(&folders[0]).unwrap();
        for task in 0..10_000 {
            ring::write_event(What::Woken { task });
        }
        trouble::noticed(Trouble::WorkerDied);
        let recorder = recorder.write_to(&folders[1]).unwrap();
        trouble::noticed(Trouble::WorkerDied);
        trouble::noticed(Trouble::LateItem);
        drop(recorder);
        let files = folders.map(|folder| {
            let files = fs::read_dir(&folder).unwrap();
            files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
        });
        let is_whole = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap();
            path.extension().is_some_and(|end| end == "json") && text.len() > 10_000
        };
        let whole = files.iter().flatten().filter(|path| is_whole(path)).count();
        #[cfg(unix)]
        for file in files.iter().flatten() {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(file).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let _ = fs::remove_dir_all(&folder);
        let numbers = (files[0].len(), files[1].len(), whole);
        assert_eq!(numbers, (1, 2, 3), "{files:?}");
    }
}
