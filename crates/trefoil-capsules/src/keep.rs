//! How an item that has failed is written to a file: under which name, and if there is room.
//!
//! A pool calls a hook with each item, before its error goes to the caller
//! ([`on_failed_item`](ProcessPoolBuilder::on_failed_item)). The hook writes the file, and leaves
//! its path in the error as a note; none if the file could not be written, or would be one too
//! many.
//!
//! What is written is what this process has encoded, and what it knows of the end. A worker's words
//! are in it (an error's text), and nothing else of a worker's.
//!
//! Tests: `crates/trefoil-capsules/tests/capsules/main.rs`.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use trefoil::process::FailedItem;
use trefoil::{ProcessCall, ProcessPoolBuilder, TaskError};

use crate::capsule::{Head, write};
use crate::replay::name_of;
use crate::rights::longest_file;

/// How a file's name ends.
const ENDING: &str = "capsule";

/// How many files a directory may have, and how many bytes all of them, unless that is set.
const FILES: usize = 100;
const BYTES: u64 = 1 << 30;

/// What the note in an error begins with.
const KEPT: &str = "the item is kept in ";

/// Held by the thread that writes a file, so that they are counted one after another.
static TURN: Mutex<()> = Mutex::new(());

/// The failures of a pool, or of one call, become files.
pub trait KeepFailures: Sized {
    /// Keeps each item that ends in [`WorkerDied`](TaskError::WorkerDied),
    /// [`TimedOut`](TaskError::TimedOut), [`Panicked`](TaskError::Panicked) or
    /// [`Codec`](TaskError::Codec) in a file of this directory, which is made if it is missing. The
    /// error has the file's path ([`capsule_of`]); by then the file is there. On a call, it holds
    /// whatever the pool does.
    ///
    /// The file has the encoded argument with everything that lay outside its bytes
    /// ([`Bulk`](trefoil::Bulk), [`Shared`](trefoil::Shared)), the context of a `map_with`, the
    /// names of the types and of the function, and the error with its backtrace and the end of
    /// standard error. [`init`](crate::init) runs the item again (`TREFOIL_REPLAY`), and
    /// [`Capsule`](crate::Capsule) reads the argument in a test.
    ///
    /// Which items are kept, [`on_failed_item`](ProcessPoolBuilder::on_failed_item) says: it is the
    /// pool's hook, or the call's. Open files, ends of channels and memory that workers write to
    /// cannot be kept, which the file says; nor is what an [initializer](ProcessPoolBuilder::initializer) or
    /// an [`Actor`](trefoil::Actor) has left in its worker.
    ///
    /// **It holds your data,** in a file with mode 0600 and a name that nobody can guess, in a
    /// directory that is made with mode 0700. A directory is filled up to 100 files and 1 GiB
    /// ([`keep_failures_within`](Self::keep_failures_within)): what does not fit is not kept, so
    /// the first failures stay. Remove files to make room.
    ///
    /// **Cost:** while nothing fails, next to nothing. A failure costs the time to write the file,
    /// on a thread of its own: the error comes that much later, and no other item waits. If the
    /// file cannot be written (a full disk), the error comes without a path.
    #[must_use]
    fn keep_failures(self, dir: impl AsRef<Path>) -> Self {
        self.keep_failures_within(dir, FILES, BYTES)
    }

    /// [`keep_failures`](Self::keep_failures) in a directory that may have so many `files`, and so
    /// many `bytes` in all of them. (Several programs at once may add a little more.)
    #[must_use]
    fn keep_failures_within(self, dir: impl AsRef<Path>, files: usize, bytes: u64) -> Self;
}

impl KeepFailures for ProcessPoolBuilder {
    fn keep_failures_within(self, dir: impl AsRef<Path>, files: usize, bytes: u64) -> Self {
        self.on_failed_item(hook(dir.as_ref(), files, bytes))
    }
}

impl<A, R> KeepFailures for ProcessCall<'_, A, R> {
    fn keep_failures_within(self, dir: impl AsRef<Path>, files: usize, bytes: u64) -> Self {
        self.on_failed_item(hook(dir.as_ref(), files, bytes))
    }
}

/// The file in which the item of an error was kept, if its call or its pool
/// [keeps failures](KeepFailures::keep_failures) and it could be written. The message ends with it.
/// [`Capsule::open`](crate::Capsule::open) reads it.
#[must_use]
pub fn capsule_of(error: &TaskError) -> Option<PathBuf> {
    error.note()?.strip_prefix(KEPT).map(PathBuf::from)
}

fn hook(dir: &Path, files: usize, bytes: u64) -> impl Fn(&FailedItem) + Send + Sync + 'static {
    // Wherever this process goes.
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    move |failed| {
        if let Ok(path) = keep(&dir, files, bytes, failed) {
            failed.note(format!("{KEPT}{path}"));
        }
    }
}

/// Writes the file of an item. Returns its path.
fn keep(dir: &Path, files: usize, bytes: u64, failed: &FailedItem) -> io::Result<String> {
    let head = Head {
        function: name_of(failed).map(str::to_owned),
        argument_type: failed.argument_type().to_owned(),
        context_type: failed.context_type().map(str::to_owned),
        item: failed.item().map(|at| at as u64),
        error: text(failed.error()),
        argument: failed.argument(),
        context: failed.context(),
    };
    let _turn = TURN.lock();
    make_private_dir(dir)?;
    let room = room(dir, files, bytes)?;
    let path = dir.join(name());
    // (A note is text, and so is the path in it.)
    let text = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    let file = create_private(&path)?;
    if let Err(error) = write(&head, BufWriter::new(file), room) {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(text.to_owned())
}

/// How many bytes another file may have. An error if there are too many files.
fn room(dir: &Path, most: usize, bytes: u64) -> io::Result<u64> {
    let (mut files, mut used) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if Path::new(&name)
            .extension()
            .is_some_and(|end| end == ENDING)
        {
            files += 1;
            used += entry.metadata().map_or(0, |known| known.len());
        }
    }
    let room = bytes.checked_sub(used).filter(|_| files < most);
    let room = room.ok_or(io::ErrorKind::QuotaExceeded)?;
    Ok(room.min(longest_file()))
}

/// What the file says of the end.
fn text(error: &TaskError) -> String {
    let mut text = error.to_string();
    if let TaskError::WorkerDied(exit) = error {
        let backtrace = exit.backtrace().map(ToString::to_string);
        let tail = Some(exit.stderr_tail().to_owned()).filter(|tail| !tail.is_empty());
        for part in backtrace.into_iter().chain(tail) {
            text.push_str("\n\n");
            text.push_str(&part);
        }
    }
    text
}

/// A name that nobody can guess.
fn name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{random:016x}.{ENDING}")
}

/// Makes a file for this user alone. Whatever has its name already is an error, a link too.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true); // `O_EXCL` follows no link
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a directory for this user alone, and those above it, if it is missing.
fn make_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_has_its_name_already_is_left_as_it_is() {
        let dir = std::env::temp_dir().join(format!("trefoil-planted-{}", std::process::id()));
        make_private_dir(&dir).unwrap();
        make_private_dir(&dir).unwrap();
        let (victim, missing) = (dir.join("victim"), dir.join("missing"));
        fs::write(&victim, "as it was").unwrap();
        for (at, target) in [&victim, &missing].into_iter().enumerate() {
            let planted = dir.join(format!("planted-{at}"));
            symlink(target, &planted).unwrap();
            assert!(create_private(&planted).is_err());
        }
        assert!(create_private(&victim).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"as it was");
        assert!(!missing.exists(), "nothing was made through a link");
        assert_ne!(name(), name());
        fs::remove_dir_all(&dir).unwrap();
    }
}
