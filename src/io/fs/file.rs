//! An open file, whose calls run off the loop.
//!
//! Calls that depend on the file's position take `&mut self`, and run one after the other. The
//! others (for its metadata) take `&self` and may run side by side.
//!
//! A call runs on another thread, so it has its own buffers. At most one call that moves the
//! position runs at a time.
//!
//! 1. A read starts with a buffer as long as the caller's (at most [`LARGEST_CALL_BYTES`]). Its
//!    bytes stay here until they are taken. So a read whose future is dropped loses nothing: the
//!    next read begins with them.
//! 2. A write copies its bytes (from any number of slices), and is pending until the system has
//!    said how many it has taken. A write whose future is dropped continues. If the next write
//!    begins with the same bytes, it is the same one, polled again (a buffer's second flush, say),
//!    and has that result. Otherwise the next write, flush or seek has the error, if it failed.
//! 3. A new call waits for the running one. A write, a change of the length, and a seek from the
//!    current position count from the first byte that was read and not taken: the call itself moves
//!    the position back there. Once it has, those bytes are dropped here; if it could not, or got
//!    no thread, they stay. What has no position (a pipe, a terminal) keeps them for the next read.
//! 4. The traits do not say whether a poll begins something new. The inherent methods do
//!    ([`File::give_up_running`]): theirs is no write of before, and an end of the file that an
//!    earlier read has found says nothing about the file of now.
//!
//! Rejected: a write that is accepted before the system has the bytes, as other runtimes have. If
//! it fails, they are gone: the caller, a `BufWriter` say, has forgotten them by then.
//!
//! Nothing is read ahead of what the caller asked for, because others may share the position (a
//! child that has inherited the file).
//!
//! Tests: `tests/io/files.rs::{one_position_whatever_is_given_up,
//! a_clone_shares_the_position_and_outlives_the_first}`.

use std::collections::VecDeque;
use std::fs::{File as Inner, Metadata, Permissions};
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Seek, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use super::{OpenOptions, at, off};
use crate::blocking_calls;
use crate::blocking_calls::CallKind;
use crate::io::read_write;
use crate::sys::descriptor::file_descriptor;
use crate::sys::files;
use crate::task::Task;

/// The largest number of bytes that one call moves.
const LARGEST_CALL_BYTES: usize = 1024 * 1024;

/// An open file.
///
/// `read`, `write` and similar methods use and move its position, as with a `std` file. When a
/// write is done, the system has the bytes, also through the futures-io traits. A write that is
/// given up continues; if it fails, the next write, flush or seek returns the error. Through the
/// traits, a write that begins with the same bytes as the one that was given up *is* that one, and
/// the first read after one that was given up may return the end of the file that this one has
/// found.
///
/// A FIFO or a terminal can be opened, too, but a read of it that is given up occupies its thread
/// until something comes, and further calls wait for it. [`AsyncFd`](crate::io::AsyncFd) has no
/// such limit.
///
/// A file with **`O_DIRECT`** needs aligned memory: use `std::fs::File` in
/// [`spawn_blocking`](crate::spawn_blocking).
///
/// ```
/// use std::io::SeekFrom;
/// use trefoil::io::fs::File;
///
/// # let path = std::env::temp_dir().join(format!("trefoil-doc-file-{}", std::process::id()));
/// trefoil::run(async {
///     let mut file = File::options().read(true).write(true).create(true).open(&path).await?;
///     file.write_all(b"hello, world").await?;
///     file.seek(SeekFrom::Start(7)).await?;
///     let mut text = String::new();
///     file.read_to_string(&mut text).await?;
///     assert_eq!(text, "world");
///     std::fs::remove_file(&path)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct File {
    file: Arc<Inner>,
    running: Option<RunningCall>,
    /// Bytes that were read and not yet taken. The file's position is after them.
    bytes: VecDeque<u8>,
    /// The error of a write that was accepted, or given up.
    failed: Option<io::Error>,
}

#[derive(Debug)]
struct RunningCall {
    call: FileCall,
    /// Whether another operation has begun since.
    given_up: bool,
    task: Task<FileCallDone>,
}

/// What a call returns.
#[derive(Debug)]
struct FileCallDone {
    result: FileCallResult,
    /// What a read has read, or a write was to write; otherwise a buffer for the next call.
    buffer: Vec<u8>,
    /// Whether the position was moved, so that no byte was read ahead of it any more.
    moved: bool,
}

/// The result of a call: a count, or a position.
type FileCallResult = io::Result<u64>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum FileCall {
    Read,
    Write,
    Seek(SeekFrom),
    SetLen,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::open`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the file if it was opened.
    ///
    /// ```
    /// use trefoil::io::fs::File;
    ///
    /// let file = trefoil::run(File::open(std::env::current_exe()?))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn open<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::options().read(true).open(path).await
    }

    /// Opens a file for writing. A missing file is made; an existing one is emptied.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the file may have been made, or emptied.
    ///
    /// ```
    /// use trefoil::io::fs::File;
    ///
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-create-{}", std::process::id()));
    /// trefoil::run(async {
    ///     File::create(&path).await?.write_all(b"abc").await?;
    ///     std::fs::remove_file(&path)
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn create<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        let mut options = Self::options();
        options.write(true).create(true).truncate(true);
        options.open(path).await
    }

    /// Makes a new file, which must not exist, for reading and writing.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create_new`]: `AlreadyExists`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the file may have been made.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use trefoil::io::fs::File;
    ///
    /// let error = trefoil::run(File::create_new("/")).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    /// ```
    pub async fn create_new<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        let mut options = Self::options();
        options.read(true).write(true).create_new(true);
        options.open(path).await
    }

    /// Options for opening a file in other ways.
    ///
    /// ```
    /// use trefoil::io::fs::File;
    ///
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-options-{}", std::process::id()));
    /// trefoil::run(async {
    ///     let mut log = File::options().append(true).create(true).open(&path).await?;
    ///     log.write_all(b"one line\n").await?;
    ///     std::fs::remove_file(&path)
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Returns the standard library's file, when the running call has ended.
    ///
    /// # Errors
    ///
    /// The error of a write that was given up. (Bytes that a read has taken from a pipe or a
    /// terminal when it was given up are lost: read them first.)
    ///
    /// ```
    /// use trefoil::io::fs::File;
    ///
    /// trefoil::run(async {
    ///     let file = File::open(std::env::current_exe()?).await?;
    ///     let file: std::fs::File = file.into_std().await?;
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn into_std(mut self) -> io::Result<Inner> {
        self.flush().await?;
        if !self.bytes.is_empty() {
            let left = self.seek(SeekFrom::Current(0)).await;
            // A pipe has no position to move back.
            if let Err(error) = left
                && error.kind() != io::ErrorKind::NotSeekable
            {
                return Err(error);
            }
        }
        match Arc::try_unwrap(self.file) {
            Ok(file) => Ok(file),
            // A call for the metadata continues without its future.
            Err(shared) => shared.try_clone(),
        }
    }

    /// Reads some bytes at the position; 0 at the end of the file. For an empty buffer it returns
    /// at once.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next read returns the bytes that this one has read.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-fread-{}", std::process::id()));
    /// # std::fs::write(&path, b"abc")?;
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::open(&path).await?;
    /// let mut buffer = [0; 2];
    /// assert_eq!(file.read(&mut buffer).await?, 2);
    /// assert_eq!(file.read(&mut buffer).await?, 1);
    /// assert_eq!(file.read(&mut buffer).await?, 0);
    /// # std::fs::remove_file(&path)
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.give_up_running();
        read_write::read(self, buffer).await
    }

    /// Reads from the position until the buffer is full.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends first; those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what has been read is in the buffer, but how much is not known.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::open(std::env::current_exe()?).await?;
    /// let mut magic = [0; 4];
    /// file.read_exact(&mut magic).await?;
    /// assert_eq!(&magic, b"\x7fELF");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.give_up_running();
        read_write::read_exact(self, buffer).await
    }

    /// Appends everything from the position to the end of the file; returns the number of
    /// bytes.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// What has been read is in `bytes`.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::open("/proc/self/stat").await?;
    /// let mut bytes = Vec::new();
    /// file.read_to_end(&mut bytes).await?;
    /// assert!(bytes.starts_with(std::process::id().to_string().as_bytes()));
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.give_up_running();
        read_write::read_to_end(self, bytes).await
    }

    /// Reads to the end, as text: see [`read_to_end`](Self::read_to_end).
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not UTF-8, and nothing is appended then; those of
    /// [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what has been read is lost.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut text = String::new();
    /// trefoil::io::fs::File::open("/proc/self/comm").await?.read_to_string(&mut text).await?;
    /// assert!(text.ends_with('\n'));
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        self.give_up_running();
        read_write::read_to_string(self, text).await
    }

    /// Writes some bytes at the position (up to a mebibyte at once); returns their number, which is
    /// smaller than asked for if the disk is nearly full, for example. When it is done, the system
    /// has them.
    ///
    /// # Errors
    ///
    /// Errors of the system: nothing was written. The error of a write that was given up.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a write that has begun continues.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-fwrite-{}", std::process::id()));
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::create(&path).await?;
    /// assert_eq!(file.write(b"abc").await?, 3);
    /// assert_eq!(std::fs::read(&path)?, b"abc");
    /// # std::fs::remove_file(&path)
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.give_up_running();
        read_write::write(self, bytes).await
    }

    /// Writes all of `bytes` at the position. When it is done, the system has them.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: how much was written is not known.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-fall-{}", std::process::id()));
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::create(&path).await?;
    /// file.write_all(b"abc").await?;
    /// file.write_all(b"def").await?;
    /// assert_eq!(std::fs::read(&path)?, b"abcdef");
    /// # std::fs::remove_file(&path)
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.give_up_running();
        read_write::write_all(self, bytes).await
    }

    /// Waits for the end of a write that was given up. ([`sync_all`](Self::sync_all) waits for the
    /// disk.)
    ///
    /// # Errors
    ///
    /// The error of that write.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::open(std::env::current_exe()?).await?;
    /// file.flush().await?; // nothing was written
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn flush(&mut self) -> io::Result<()> {
        read_write::flush(self).await
    }

    /// Moves the position; returns the new one, from the start.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, the position would be before the start. The error of a
    /// write that was given up.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a seek that has begun continues.
    ///
    /// ```
    /// use std::io::SeekFrom;
    ///
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::open(std::env::current_exe()?).await?;
    /// assert!(file.seek(SeekFrom::End(0)).await? > 0);
    /// assert!(file.seek(SeekFrom::Start(3)).await? == 3);
    /// assert!(file.seek(SeekFrom::Current(-4)).await.is_err());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        // An abandoned seek to the same place may be running, or done.
        self.flush().await?;
        poll_fn(|cx| Pin::new(&mut *self).poll_seek(cx, position)).await
    }

    /// The position, from the start.
    ///
    /// # Errors
    ///
    /// Those of [`seek`](Self::seek).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::open(std::env::current_exe()?).await?;
    /// file.read_exact(&mut [0; 4]).await?;
    /// assert_eq!(file.stream_position().await?, 4);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn stream_position(&mut self) -> io::Result<u64> {
        self.seek(SeekFrom::Current(0)).await
    }

    /// Moves the position to the start.
    ///
    /// # Errors
    ///
    /// Those of [`seek`](Self::seek).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a seek that has begun continues.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::open(std::env::current_exe()?).await?;
    /// file.read_exact(&mut [0; 4]).await?;
    /// file.rewind().await?;
    /// assert_eq!(file.stream_position().await?, 0);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn rewind(&mut self) -> io::Result<()> {
        self.seek(SeekFrom::Start(0)).await.map(drop)
    }

    /// A second handle of the same open file, as [`std::fs::File::try_clone`] makes it: both move
    /// one position. Await the calls that you have begun, and flush, before you use the other
    /// handle.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::try_clone`].
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::open(std::env::current_exe()?).await?;
    /// let mut other = file.try_clone().await?;
    /// file.read_exact(&mut [0; 4]).await?;
    /// assert_eq!(other.stream_position().await?, 4);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn try_clone(&self) -> io::Result<Self> {
        self.file.try_clone().map(Self::from) // this does not block
    }

    /// Waits until the disk has the file's content and metadata.
    ///
    /// # Errors
    ///
    /// Errors of the system; the error of a write that was given up.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-sync-{}", std::process::id()));
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::create(&path).await?;
    /// file.write_all(b"abc").await?;
    /// file.sync_all().await?;
    /// # std::fs::remove_file(&path)
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sync_all(&mut self) -> io::Result<()> {
        self.after_writes(Inner::sync_all).await
    }

    /// Waits until the disk has the file's content.
    ///
    /// # Errors
    ///
    /// Those of [`sync_all`](Self::sync_all).
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-syncd-{}", std::process::id()));
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::create(&path).await?;
    /// file.write_all(b"abc").await?;
    /// file.sync_data().await?;
    /// # std::fs::remove_file(&path)
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sync_data(&mut self) -> io::Result<()> {
        self.after_writes(Inner::sync_data).await
    }

    /// Shortens the file, or extends it with zeros. The position stays, even beyond the new end.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::set_len`]; the error of a write that was given up.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a change that has begun continues.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-len-{}", std::process::id()));
    /// # trefoil::run(async {
    /// let mut file = trefoil::io::fs::File::create(&path).await?;
    /// file.set_len(5).await?;
    /// assert_eq!(file.metadata().await?.len(), 5);
    /// # std::fs::remove_file(&path)
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.flush().await?;
        let back = self.bytes.len() as i64;
        let buffer = self.buffer();
        self.start(FileCall::SetLen, buffer, move |file, done| {
            go_back(file, back, done)?;
            file.set_len(size).map(|()| 0)
        })?;
        let ended = poll_fn(|cx| self.poll_settle(cx, &[])).await;
        ended.expect("it was started").1.map(drop)
    }

    /// The file's metadata.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::metadata`].
    ///
    /// ```
    /// # trefoil::run(async {
    /// let file = trefoil::io::fs::File::open(std::env::current_exe()?).await?;
    /// assert!(file.metadata().await?.is_file());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let file = self.file.clone();
        off(move || file.metadata()).await
    }

    /// Sets the file's permissions.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::set_permissions`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-perm-{}", std::process::id()));
    /// # trefoil::run(async {
    /// let file = trefoil::io::fs::File::create(&path).await?;
    /// let mut permissions = file.metadata().await?.permissions();
    /// permissions.set_readonly(true);
    /// file.set_permissions(permissions).await?;
    /// # std::fs::remove_file(&path)
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        let file = self.file.clone();
        off(move || file.set_permissions(permissions)).await
    }

    async fn after_writes(
        &mut self,
        call: impl FnOnce(&Inner) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.flush().await?;
        let file = self.file.clone();
        off(move || call(&file)).await
    }
}

impl File {
    /// Begins a call, which gets `buffer`. If it gets no thread, nothing has changed.
    fn start(
        &mut self,
        call: FileCall,
        buffer: Vec<u8>,
        f: impl FnOnce(&Inner, &mut FileCallDone) -> FileCallResult + Send + 'static,
    ) -> io::Result<()> {
        let file = self.file.clone();
        let task = blocking_calls::run(CallKind::File, move || {
            let mut done = FileCallDone {
                result: Ok(0),
                buffer,
                moved: false,
            };
            done.result = f(&file, &mut done);
            done
        });
        self.running = Some(RunningCall {
            call,
            given_up: false,
            task: task?,
        });
        Ok(())
    }

    /// Says that an operation begins that is not the one which is running, if any.
    fn give_up_running(&mut self) {
        if let Some(running) = &mut self.running {
            running.given_up = true;
        }
    }

    /// Begins a write of as much of these slices as one call moves.
    fn start_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let back = self.bytes.len() as i64;
        let mut buffer = self.buffer();
        for slice in slices {
            let room = LARGEST_CALL_BYTES - buffer.len();
            buffer.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.start(FileCall::Write, buffer, move |file, done| {
            go_back(file, back, done)?;
            Ok(files::write(file, &done.buffer)? as u64)
        })
    }

    /// An empty buffer for a call, with the memory of the last one if nothing is in it.
    fn buffer(&mut self) -> Vec<u8> {
        if self.bytes.is_empty() {
            let mut buffer = Vec::from(std::mem::take(&mut self.bytes));
            buffer.clear();
            return buffer;
        }
        Vec::new()
    }

    /// Waits for the running call; returns what it was, and its result. That of a write which was
    /// given up is kept for the next write or flush. `slices`: those of the write that is polled,
    /// if one is.
    fn poll_settle(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Option<(FileCall, FileCallResult)>> {
        let Some(RunningCall { call, task, .. }) = &mut self.running else {
            return Poll::Ready(None);
        };
        let call = *call;
        let done = ready!(Pin::new(task).poll(cx));
        let given_up = self.running.take().is_some_and(|running| running.given_up);
        let mut done = done.unwrap_or_else(|error| FileCallDone {
            result: Err(error.into()),
            buffer: Vec::new(),
            moved: false,
        });
        let is_other = given_up || slices.is_empty() || !begin_with(slices, &done.buffer);
        if call != FileCall::Read {
            done.buffer.clear();
        }
        if call == FileCall::Read || done.moved {
            self.bytes = done.buffer.into();
        }
        match call {
            FileCall::Write if is_other => {
                // The next read must not return this error.
                self.failed = self.failed.take().or(done.result.err());
                Poll::Ready(None)
            }
            FileCall::Read if given_up && matches!(done.result, Ok(0)) && self.has_position() => {
                Poll::Ready(None) // the file may have grown
            }
            _ => Poll::Ready(Some((call, done.result))),
        }
    }

    /// Whether this is a file in the narrow sense, and no pipe or terminal. (This does not block.)
    fn has_position(&self) -> bool {
        (&*self.file).stream_position().is_ok()
    }
}

/// Whether these slices begin with these bytes.
fn begin_with(slices: &[IoSlice<'_>], mut bytes: &[u8]) -> bool {
    for slice in slices {
        let both = slice.len().min(bytes.len());
        if slice[..both] != bytes[..both] {
            return false;
        }
        bytes = &bytes[both..];
    }
    bytes.is_empty()
}

/// Moves the position back, to the first byte that was read and not taken. What has no position
/// keeps these bytes for the next read.
fn go_back(mut file: &Inner, by: i64, done: &mut FileCallDone) -> io::Result<()> {
    if by != 0
        && let Err(error) = file.seek(SeekFrom::Current(-by))
    {
        return match error.kind() {
            io::ErrorKind::NotSeekable => Ok(()),
            _ => Err(error),
        };
    }
    done.moved = true;
    Ok(())
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let ended = match ready!(self.poll_settle(cx, &[])) {
                Some((FileCall::Read, result)) => result.map(|_| true)?,
                _ => false,
            };
            let count = self.bytes.read(buffer)?;
            if count > 0 || ended {
                return Poll::Ready(Ok(count));
            }
            let wanted = buffer.len().min(LARGEST_CALL_BYTES);
            let room = self.buffer();
            self.start(FileCall::Read, room, move |file, done| {
                done.buffer.resize(wanted, 0);
                let result = files::read(file, &mut done.buffer);
                done.buffer.truncate(*result.as_ref().unwrap_or(&0));
                Ok(result? as u64)
            })?;
        }
    }
}

impl AsyncWrite for File {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some((FileCall::Write, written)) = ready!(self.poll_settle(cx, slices)) {
                return Poll::Ready(written.map(|count| count as usize));
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if slices.iter().all(|slice| slice.is_empty()) {
                return Poll::Ready(Ok(0));
            }
            self.start_write(slices)?;
        }
    }

    /// Waits until a write that was given up is done.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The error of a read whose future was dropped is not returned: the next read gets it
        // again.
        let _ = ready!(self.poll_settle(cx, &[]));
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl AsyncSeek for File {
    fn poll_seek(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        position: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        loop {
            // The caller gave up a seek to another place.
            if let Some((call, result)) = ready!(self.poll_settle(cx, &[]))
                && call == FileCall::Seek(position)
            {
                return Poll::Ready(result);
            }
            ready!(self.as_mut().poll_flush(cx))?;
            let back = self.bytes.len() as i64;
            let target = match position {
                SeekFrom::Current(by) => SeekFrom::Current(by.saturating_sub(back)),
                absolute => absolute,
            };
            let buffer = self.buffer();
            self.start(FileCall::Seek(position), buffer, move |mut file, done| {
                let sought = file.seek(target);
                done.moved = sought.is_ok();
                sought
            })?;
        }
    }
}

/// Takes over a file of the standard library.
///
/// ```
/// let file = std::fs::File::open(std::env::current_exe()?)?;
/// let mut file = trefoil::io::fs::File::from(file);
/// assert_eq!(trefoil::run(file.read(&mut [0; 4]))?, 4);
/// # Ok::<(), std::io::Error>(())
/// ```
impl From<Inner> for File {
    fn from(file: Inner) -> Self {
        Self {
            file: Arc::new(file),
            running: None,
            bytes: VecDeque::new(),
            failed: None,
        }
    }
}

file_descriptor! { File, file }

impl OpenOptions {
    /// Opens a file with these options.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::OpenOptions::open`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the file may have been made, or emptied.
    ///
    /// ```
    /// use trefoil::io::fs::OpenOptions;
    ///
    /// let file = trefoil::run(OpenOptions::new().read(true).open("/dev/null"))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let options = self.0.clone();
        let file = at(&path, move |path| options.open(path));
        file.await.map(File::from)
    }
}
