//! The entries of a directory, many at a time.
//!
//! A hop to another thread for each entry would cost more than the entry, so each hop fetches up to
//! [`BATCH`] entries. If a future is dropped, its running batch stays here, so no entry is lost.
//!
//! Checked by `tests/io/`.

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
    let batch = at(&path, |path| fs::read_dir(path).map(take)).await?;
    Ok(ReadDir {
        batch,
        running: None,
    })
}

/// Returned by [`read_dir`]: yields the entries one by one, also as a `Stream`.
pub struct ReadDir {
    batch: EntryBatch,
    running: Option<Task<EntryBatch>>,
}

#[derive(Default)]
struct EntryBatch {
    entries: VecDeque<io::Result<fs::DirEntry>>,
    /// Yields further entries; `None`: there are none.
    more: Option<fs::ReadDir>,
}

fn take(mut dir: fs::ReadDir) -> EntryBatch {
    let entries: VecDeque<_> = dir.by_ref().take(BATCH).collect();
    let more = (entries.len() == BATCH).then_some(dir);
    EntryBatch { entries, more }
}

impl ReadDir {
    /// The next entry; `None` after the last.
    ///
    /// # Errors
    ///
    /// Errors of the system.
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

    /// Like [`next_entry`](Self::next_entry), with the type of a stream's `next`.
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

    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            if let Some(running) = &mut self.running {
                let batch = ready!(Pin::new(running).poll(cx));
                self.running = None;
                self.batch = batch?;
            }
            if let Some(entry) = self.batch.entries.pop_front() {
                return Poll::Ready(entry.map(|entry| Some(DirEntry(Arc::new(entry)))));
            }
            match self.batch.more.take() {
                None => return Poll::Ready(Ok(None)),
                Some(dir) => {
                    self.running = Some(blocking_calls::run(CallKind::File, move || take(dir))?);
                }
            }
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
