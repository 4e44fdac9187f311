//! Files and directories: async versions of the functions of `std::fs`.
//!
//! The system cannot wait for a file: a read blocks until the disk has answered. So a thread that
//! may block makes every call here, and the future waits for that thread. The round trip takes
//! about ten microseconds, which does not matter for a call that goes to a disk, but does for many
//! small ones. So `read`, `write` and similar functions make one trip for the whole file, and a
//! directory is listed many entries at a time.
//!
//! Up to 512 calls have a thread at once, so calls that are stuck (in pipes without a writer, say)
//! delay no other; more calls wait for one of those to end ([`stats`](super::stats()) counts them).
//! Threads without a call end after half a second.
//!
//! If the system refuses a thread, a call fails with `ResourceBusy`. Where other calls run, it
//! waits for one of them instead, and the system is asked again ten times a second.
//!
//! The names, arguments and errors are those of `std::fs`. A path that is passed by value is
//! dropped after the call, or with its future. The futures need no event loop of this crate: they
//! may be awaited anywhere.
//!
//! # Cancel safety
//!
//! A call that has begun is not undone when its future is dropped: it continues on its thread. Its
//! result is lost, unless the method says otherwise.
//!
//! ```
//! use trefoil::io::fs;
//!
//! # let path = std::env::temp_dir().join(format!("trefoil-doc-fs-{}", std::process::id()));
//! trefoil::run(async {
//!     fs::write(&path, "some text").await?;
//!     assert_eq!(fs::read_to_string(&path).await?, "some text");
//!     assert_eq!(fs::metadata(&path).await?.len(), 9);
//!     fs::remove_file(&path).await
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```

// Tests: `tests/io/files.rs::{whole_files_and_their_errors,
// a_path_that_is_passed_by_value_is_dropped_after_the_call}`.

mod file;
mod open_options;
mod read_dir;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use file::File;
pub use open_options::OpenOptions;
pub use read_dir::{DirEntry, ReadDir, read_dir};

use crate::blocking_calls;
use crate::blocking_calls::CallKind;
use crate::sys::files;

/// Runs a call on a thread that may block.
async fn off<R: Send + 'static>(
    call: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    blocking_calls::run(CallKind::File, call)?.await?
}

/// Runs a call with a copy of a path on a thread that may block. The caller keeps its path until
/// then: dropping one may remove the file, as with those of the crate `tempfile`.
fn at<R: Send + 'static>(
    path: &impl AsRef<Path>,
    call: impl FnOnce(PathBuf) -> io::Result<R> + Send + 'static,
) -> impl Future<Output = io::Result<R>> {
    let path = owned(path);
    off(move || call(path))
}

fn owned(path: &impl AsRef<Path>) -> PathBuf {
    path.as_ref().to_path_buf()
}

/// Reads the whole content of a file.
///
/// # Errors
///
/// Those of [`std::fs::read`].
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
///
/// ```
/// trefoil::run(async {
///     let here = trefoil::io::fs::read(std::env::current_exe()?).await?;
///     assert!(!here.is_empty());
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    at(&path, fs::read).await
}

/// Reads the whole content of a text file.
///
/// # Errors
///
/// Those of [`std::fs::read_to_string`]: `InvalidData` if it is not UTF-8.
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
///
/// ```
/// use std::io::ErrorKind;
///
/// let error = trefoil::run(trefoil::io::fs::read_to_string("there is no such file"));
/// assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
/// ```
pub async fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    at(&path, fs::read_to_string).await
}

/// Creates a file with `contents`, or replaces an existing file's content.
///
/// # Errors
///
/// Those of [`std::fs::write`].
///
/// # Cancel safety
///
/// Not cancel safe: a write that has begun continues.
///
/// ```
/// use trefoil::io::fs;
///
/// # let path = std::env::temp_dir().join(format!("trefoil-doc-write-{}", std::process::id()));
/// trefoil::run(async {
///     fs::write(&path, b"abc").await?;
///     assert_eq!(fs::read(&path).await?, b"abc");
///     fs::remove_file(&path).await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let contents = contents.as_ref().to_vec();
    at(&path, move |path| fs::write(path, contents)).await
}

/// Copies a file's content and permissions; returns the number of bytes.
///
/// # Errors
///
/// Those of [`std::fs::copy`].
///
/// # Cancel safety
///
/// Not cancel safe: a copy that has begun continues.
///
/// ```
/// use trefoil::io::fs;
///
/// # let path = std::env::temp_dir().join(format!("trefoil-doc-copy-{}", std::process::id()));
/// # let other = path.with_extension("copy");
/// trefoil::run(async {
///     fs::write(&path, b"abc").await?;
///     assert_eq!(fs::copy(&path, &other).await?, 3);
///     fs::remove_file(&path).await?;
///     fs::remove_file(&other).await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    let to = owned(&to);
    at(&from, move |from| fs::copy(from, to)).await
}

/// The metadata of a file; links are followed.
///
/// # Errors
///
/// Those of [`std::fs::metadata`].
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
///
/// ```
/// let about = trefoil::run(trefoil::io::fs::metadata("/"))?;
/// assert!(about.is_dir());
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn metadata<P: AsRef<Path>>(path: P) -> io::Result<fs::Metadata> {
    at(&path, fs::metadata).await
}

/// The metadata of a file; of a link, that of the link itself.
///
/// # Errors
///
/// Those of [`std::fs::symlink_metadata`].
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
///
/// ```
/// let about = trefoil::run(trefoil::io::fs::symlink_metadata("/proc/self"))?;
/// assert!(about.is_symlink());
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<fs::Metadata> {
    at(&path, fs::symlink_metadata).await
}

/// Whether the file exists.
///
/// # Errors
///
/// Those of [`std::fs::exists`]: it is not known whether the file exists.
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
///
/// ```
/// assert!(trefoil::run(trefoil::io::fs::try_exists("/"))?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn try_exists<P: AsRef<Path>>(path: P) -> io::Result<bool> {
    at(&path, fs::exists).await
}

/// The absolute path without links, `.` and `..`.
///
/// # Errors
///
/// Those of [`std::fs::canonicalize`].
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
///
/// ```
/// use std::path::Path;
///
/// let path = trefoil::run(trefoil::io::fs::canonicalize("/usr/.."))?;
/// assert_eq!(path, Path::new("/"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn canonicalize<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    at(&path, fs::canonicalize).await
}

/// The target of a link.
///
/// # Errors
///
/// Those of [`std::fs::read_link`].
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
///
/// ```
/// let path = trefoil::run(trefoil::io::fs::read_link("/proc/self"))?;
/// assert_eq!(path.to_str().unwrap(), std::process::id().to_string());
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read_link<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    at(&path, fs::read_link).await
}

macro_rules! one_path {
    ($($(#[$docs:meta])* $name:ident)*) => {
        $(
            $(#[$docs])*
            ///
            /// # Errors
            ///
            #[doc = concat!("As [`std::fs::", stringify!($name), "`].")]
            ///
            /// # Cancel safety
            ///
            /// Not cancel safe: a call that has begun continues.
            ///
            /// ```
            /// use trefoil::io::fs;
            ///
            #[doc = concat!("# let at = std::env::temp_dir().join(format!(\"trefoil-doc-", stringify!($name), "-{}\", std::process::id()));")]
            /// trefoil::run(async {
            ///     let (file, below) = (at.join("file"), at.join("a/b"));
            ///     fs::create_dir(&at).await?;
            ///     fs::create_dir_all(&below).await?;
            ///     fs::write(&file, b"abc").await?;
            ///     fs::remove_file(&file).await?;
            ///     fs::remove_dir(&below).await?;
            ///     fs::remove_dir_all(&at).await
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn $name<P: AsRef<Path>>(path: P) -> io::Result<()> {
                at(&path, fs::$name).await
            }
        )*
    };
}

one_path! {
    /// Makes a directory.
    create_dir
    /// Makes a directory and its missing parents.
    create_dir_all
    /// Removes a file.
    remove_file
    /// Removes an empty directory.
    remove_dir
    /// Removes a directory and everything in it.
    remove_dir_all
}

macro_rules! two_paths {
    ($($(#[$docs:meta])* $name:ident = $call:path, $std:literal)*) => {
        $(
            $(#[$docs])*
            ///
            /// # Errors
            ///
            #[doc = concat!("As [`", $std, "`].")]
            ///
            /// # Cancel safety
            ///
            /// Not cancel safe: a call that has begun continues.
            ///
            /// ```
            /// use trefoil::io::fs;
            ///
            #[doc = concat!("# let at = std::env::temp_dir().join(format!(\"trefoil-doc-", stringify!($name), "-{}\", std::process::id()));")]
            /// trefoil::run(async {
            ///     fs::create_dir(&at).await?;
            ///     fs::write(at.join("a"), b"abc").await?;
            ///     fs::hard_link(at.join("a"), at.join("b")).await?;
            ///     fs::symlink("b", at.join("c")).await?;
            ///     fs::rename(at.join("b"), at.join("d")).await?;
            ///     assert!(!fs::try_exists(at.join("c")).await?);
            ///     assert_eq!(fs::read(at.join("d")).await?, b"abc");
            ///     fs::remove_dir_all(&at).await
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn $name<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
                let to = owned(&to);
                at(&from, move |from| $call(&from, &to)).await
            }
        )*
    };
}

two_paths! {
    /// Renames a file. An existing file with the new name is replaced.
    rename = fs::rename, "std::fs::rename"
    /// Gives a file a second name.
    hard_link = fs::hard_link, "std::fs::hard_link"
    /// Makes a symbolic link `to` that points to `from`.
    symlink = files::symlink, "std::os::unix::fs::symlink"
}

/// Sets the permissions of a file.
///
/// # Errors
///
/// Those of [`std::fs::set_permissions`].
///
/// # Cancel safety
///
/// Not cancel safe: a call that has begun continues.
///
/// ```
/// use std::os::unix::fs::PermissionsExt;
/// use trefoil::io::fs;
///
/// # let path = std::env::temp_dir().join(format!("trefoil-doc-mode-{}", std::process::id()));
/// trefoil::run(async {
///     fs::write(&path, b"abc").await?;
///     fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).await?;
///     assert!(fs::metadata(&path).await?.permissions().readonly());
///     fs::remove_file(&path).await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn set_permissions<P: AsRef<Path>>(
    path: P,
    permissions: fs::Permissions,
) -> io::Result<()> {
    at(&path, move |path| fs::set_permissions(path, permissions)).await
}
