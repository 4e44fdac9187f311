//! The entries of a directory, many at a time.
//!
//! A hop to another thread for each entry would cost more than the entry, so each hop fetches up to
//! [`BATCH`] entries. If a future is dropped, its running batch stays here, so no entry is lost.
//!
//! Tests: `tests/io/files.rs::{a_large_directory_and_one_that_is_given_up,
//! a_directory_does_not_end_for_want_of_a_thread}`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::{at, off};
use crate::blocking_calls;
use crate::blocking_calls::CallKind;
use crate::loom::Mutex;
use crate::task::Task;

/// The number of entries for one hop.
const BATCH: usize = 256;

/// The entries of a directory, in no particular order, without `.` and `..`.
///
/// # Errors
///
/// Those of [`std::fs::read_dir`].
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
///
/// ```
/// use trefoil::io::fs;
///
/// trefoil::run(async {
///     let mut entries = fs::read_dir("/").await?;
///     let mut names = Vec::new();
///     while let Some(entry) = entries.next_entry().await? {
///         names.push(entry.file_name());
///     }
///     assert!(names.contains(&"proc".into()));
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    let begun = at(&path, |path| {
        let dir = Mutex::new(fs::read_dir(path)?);
        Ok((next_batch(&dir), Arc::new(dir)))
    });
    let (batch, dir) = begun.await?;
    let mut entries = ReadDir {
        dir: Some(dir),
        batch: VecDeque::new(),
        running: None,
    };
    entries.fill(batch);
    Ok(entries)
}

/// Returned by [`read_dir`]: yields the entries one by one, also as a `Stream`.
///
/// ```
/// use futures::TryStreamExt;
/// use trefoil::io::fs;
///
/// let entries = trefoil::run(async { fs::read_dir("/").await?.try_collect::<Vec<_>>().await })?;
/// assert!(!entries.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ReadDir {
    /// Yields further entries; `None`: there are none. It stays here during a hop, so that one that
    /// gets no thread loses no entry.
    dir: Option<Arc<Mutex<fs::ReadDir>>>,
    batch: EntryBatch,
    running: Option<Task<EntryBatch>>,
}

type EntryBatch = VecDeque<io::Result<fs::DirEntry>>;

fn next_batch(dir: &Mutex<fs::ReadDir>) -> EntryBatch {
    dir.lock().by_ref().take(BATCH).collect()
}

impl ReadDir {
    /// The next entry; `None` after the last.
    ///
    /// # Errors
    ///
    /// Errors of the system. If it has no thread left (`ResourceBusy`), no entry is lost: the next
    /// call tries again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no entry.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut entries = trefoil::io::fs::read_dir("/proc/self/task").await?;
    /// assert!(entries.next_entry().await?.is_some());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|cx| self.poll_entry(cx)).await
    }

    /// Waits for the next entry, as [`next_entry`](Self::next_entry) does, with the type of a
    /// stream's `next`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no entry.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut entries = trefoil::io::fs::read_dir("/proc/self/task").await?;
    /// while let Some(entry) = entries.next().await {
    ///     println!("{}", entry?.path().display());
    /// }
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn next(&mut self) -> Option<io::Result<DirEntry>> {
        self.next_entry().await.transpose()
    }

    /// Takes over what a hop has brought.
    fn fill(&mut self, batch: EntryBatch) {
        if batch.len() < BATCH {
            self.dir = None;
        }
        self.batch = batch;
    }

    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            if let Some(running) = &mut self.running {
                let batch = ready!(Pin::new(running).poll(cx));
                self.running = None;
                self.fill(batch?);
            }
            if let Some(entry) = self.batch.pop_front() {
                return Poll::Ready(entry.map(|entry| Some(DirEntry(Arc::new(entry)))));
            }
            let Some(dir) = self.dir.clone() else {
                return Poll::Ready(Ok(None));
            };
            self.running = Some(blocking_calls::run(CallKind::File, move || {
                next_batch(&dir)
            })?);
        }
    }
}

impl Stream for ReadDir {
    type Item = io::Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_entry(cx).map(Result::transpose)
    }
}

debug!(impl ReadDir, self);

/// One entry of a directory; see [`read_dir`].
///
/// ```
/// trefoil::run(async {
///     let mut entries = trefoil::io::fs::read_dir(".").await?;
///     while let Some(entry) = entries.next_entry().await? {
///         println!("{}: {} bytes", entry.path().display(), entry.metadata().await?.len());
///     }
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DirEntry(Arc<fs::DirEntry>);

impl DirEntry {
    /// The entry's path: the directory's path, as it was given, with the entry's name.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut entries = trefoil::io::fs::read_dir("/proc/self/task").await?;
    /// let entry = entries.next_entry().await?.unwrap();
    /// assert_eq!(entry.path().parent().unwrap(), std::path::Path::new("/proc/self/task"));
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// The entry's name.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut entries = trefoil::io::fs::read_dir("/proc/self/task").await?;
    /// let entry = entries.next_entry().await?.unwrap();
    /// assert!(entry.file_name().to_str().unwrap().parse::<u32>().is_ok());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }

    /// The entry's metadata; a link is not followed.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, it is gone by now.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut entries = trefoil::io::fs::read_dir("/proc/self/task").await?;
    /// let entry = entries.next_entry().await?.unwrap();
    /// assert!(entry.metadata().await?.is_dir());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn metadata(&self) -> io::Result<fs::Metadata> {
        let entry = self.0.clone();
        off(move || entry.metadata()).await
    }

    /// The entry's type: a file, a directory, a link.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, it is gone by now.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut entries = trefoil::io::fs::read_dir("/proc/self/task").await?;
    /// let entry = entries.next_entry().await?.unwrap();
    /// assert!(entry.file_type().await?.is_dir());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn file_type(&self) -> io::Result<fs::FileType> {
        let entry = self.0.clone();
        off(move || entry.file_type()).await
    }
}
