//! How an item that has failed is written to a file: under which name, and if there is room.
//!
//! A pool calls a hook with each item, before its error goes to the caller
//! ([`on_failed_item`](ProcessPoolBuilder::on_failed_item)). The hook writes the file, and leaves
//! its path in the error as a note; none if the file could not be written, or has no room.
//!
//! **Room.** A directory is filled up to its limits. Then another item of a known cause is worth
//! less than the first of a new one: [`plan`] says what goes. Of each group ([`groups`]) the first
//! stays, and as many of the smallest as there is room for, up to [`SMALLEST`].
//!
//! What is written is what this process has encoded, and what it knows of the end. A worker's words
//! are in it (an error's text), and nothing else of a worker's.
//!
//! Tests: below, and `crates/trefoil-capsules/tests/capsules/main.rs`.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use trefoil::process::FailedItem;
use trefoil::{ProcessCall, ProcessPoolBuilder, TaskError};

use crate::capsule::{Body, Head, length, write};
use crate::groups::{self, Cause, ENDING, Kept};
use crate::rights::longest_file;

/// How many files a directory may have, and how many bytes all of them, unless that is set.
const FILES: usize = 100;
const BYTES: u64 = 1 << 30;

/// How many of the smallest of a group stay, besides the first.
const SMALLEST: usize = 3;

/// What the note in an error begins with; and what it begins with if the path is no text, and so
/// its bytes are escaped.
const KEPT: &str = "the item is kept in ";
const KEPT_ESCAPED: &str = "the item is kept in the escaped path ";

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
    /// ([`keep_failures_within`](Self::keep_failures_within)). When it is full, the first item of a
    /// new cause ([`groups`](crate::groups)) takes the place of a further one of a frequent cause,
    /// of which the first and the three smallest stay, or fewer; the error of an item whose file
    /// has gone since has its path all the same. What does not fit is counted and not kept. Remove
    /// files to make room. No file is longer than 1 GiB.
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
    let note = error.note()?;
    match note.strip_prefix(KEPT_ESCAPED) {
        Some(path) => unescape(path),
        None => note.strip_prefix(KEPT).map(PathBuf::from),
    }
}

/// What an error says of its item's file.
fn note(path: &Path) -> String {
    match path.to_str() {
        // (One that begins as an escaped path does is escaped as well.)
        Some(text) if !format!("{KEPT}{text}").starts_with(KEPT_ESCAPED) => format!("{KEPT}{text}"),
        _ => format!("{KEPT_ESCAPED}{}", escape(path)),
    }
}

/// A path as text, with the bytes that are no text, and `%`, as `%` and two digits.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for part in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(&part.valid().replace('%', "%25"));
        for byte in part.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(unix)]
fn unescape(text: &str) -> Option<PathBuf> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes))
        .map(|path: std::ffi::OsString| path.into())
}

#[cfg(not(unix))]
fn unescape(_: &str) -> Option<PathBuf> {
    None // what is no text there has no bytes that could be made a path of
}

fn hook(dir: &Path, files: usize, bytes: u64) -> impl Fn(&FailedItem) + Send + Sync + 'static {
    // Wherever this process goes.
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    move |failed| {
        if let Ok(Some(path)) = keep(&dir, files, bytes, failed) {
            failed.note(note(&path));
        }
    }
}

/// Writes the file of an item. Returns its path, if there was room.
fn keep(dir: &Path, files: usize, bytes: u64, failed: &FailedItem) -> io::Result<Option<PathBuf>> {
    let (head, body) = (Head::of(failed), Body::of(failed));
    let Some(head) = head else { return Ok(None) };
    let cause = Cause::of(&head);
    let length = length(&head, &body).filter(|length| *length <= longest_file());
    let _turn = TURN.lock();
    make_private_dir(dir)?;
    let path = dir.join(unguessable());
    let plan = match length {
        Some(length) => {
            let new = Kept { path, length, head };
            make_room(dir, files, bytes, &new)?.map(|gone| (gone, new))
        }
        None => None,
    };
    let Some((gone, new)) = plan else {
        cause.drop_one(dir)?;
        return Ok(None);
    };
    for old in gone {
        fs::remove_file(&old.path)?;
        // (What cannot be counted hinders nothing that can be kept.)
        let _ = Cause::of(&old.head).drop_one(dir);
    }
    write_private(&new.path, &new.head, &body)?;
    Ok(Some(new.path))
}

/// Writes a new file, or nothing.
pub(crate) fn write_private(path: &Path, head: &Head, body: &Body) -> io::Result<()> {
    let file = create_private(path)?;
    write(head, body, BufWriter::new(file), longest_file()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Which files must go so that another one fits; `None`: it does not fit.
fn make_room(dir: &Path, most: usize, bytes: u64, new: &Kept) -> io::Result<Option<Vec<Kept>>> {
    let (mut files, mut used) = (0, 0u64);
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
    let too_many = (files + 1usize).saturating_sub(most);
    let too_long = used.saturating_add(new.length).saturating_sub(bytes);
    if too_many == 0 && too_long == 0 {
        return Ok(Some(Vec::new()));
    }
    // (Only then are they read.)
    Ok(plan(groups::kept(dir)?, too_many, too_long, new))
}

/// Chooses which files go: so many at least, with so many bytes. The fewer of a group stay, the
/// more groups have room.
fn plan(mut old: Vec<Kept>, too_many: usize, too_long: u64, new: &Kept) -> Option<Vec<Kept>> {
    // What was made of an item is its owner's, and stays.
    old.retain(|kept| !kept.head.is_shrunk);
    let is_new = |kept: &&Kept| kept.path == new.path;
    for smallest in (0..=SMALLEST).rev() {
        let mut groups: HashMap<Cause, Vec<&Kept>> = HashMap::new();
        for kept in old.iter().chain([new]) {
            groups.entry(Cause::of(&kept.head)).or_default().push(kept);
        }
        let (mut spare, mut new_is_spare) = (Vec::new(), false);
        for mut group in groups.into_values() {
            group[1..].sort_by_key(|kept| kept.length); // those of one length in order of time
            let size = group.len();
            let rest = group.into_iter().skip(1 + smallest);
            let (mine, rest): (Vec<_>, Vec<_>) = rest.partition(is_new);
            new_is_spare |= !mine.is_empty();
            spare.extend(rest.into_iter().map(|kept| (size, kept)));
        }
        if new_is_spare {
            return None;
        }
        spare.sort_by_key(|(size, kept)| std::cmp::Reverse((*size, kept.length)));
        let (mut gone, mut freed) = (Vec::new(), 0);
        for (_, kept) in spare {
            if gone.len() >= too_many && freed >= too_long {
                break;
            }
            freed += kept.length;
            gone.push(kept.clone());
        }
        if gone.len() >= too_many && freed >= too_long {
            return Some(gone);
        }
    }
    None
}

/// A name that nobody can guess.
pub(crate) fn unguessable() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{random:016x}.{ENDING}")
}

/// Makes a file for this user alone. Whatever has its name already is an error, a link too.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
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
        assert_ne!(unguessable(), unguessable());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn any_path_is_in_the_note() {
        use std::os::unix::ffi::OsStrExt;
        for bytes in [
            &b"/tmp/text"[..],
            b"/tmp/%41/\xff\xfe%",
            b"the escaped path %",
            "/tmp/\u{e9}".as_bytes(),
        ] {
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            let error = TaskError::failed("x");
            let text = note(path);
            let found = match text.strip_prefix(KEPT_ESCAPED) {
                Some(path) => unescape(path),
                None => text.strip_prefix(KEPT).map(PathBuf::from),
            };
            assert_eq!(found.as_deref(), Some(path), "{text}");
            assert_eq!(capsule_of(&error), None);
        }
    }
}
