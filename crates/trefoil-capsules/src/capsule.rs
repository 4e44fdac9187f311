//! The file of an item that has failed: its format, and what reads it.
//!
//! ```text
//!   capsule = MAGIC, length of the head (4 bytes), head, body (both postcard), checksum of all of
//!             it (8 bytes)
//! ```
//!
//! The head says how the item ended, and is short: whoever groups files ([`groups`](crate::groups))
//! reads it alone. What lay outside the bytes of an argument is in the body as well ([`Encoded`]).
//! The checksum finds a file that was cut off or changed by mistake, and no forger: decoding
//! accepts any bytes.
//!
//! No file is longer than [`LONGEST`], so reading one takes a bounded time and memory, whatever
//! length a forged one has.
//!
//! Tests: `crates/trefoil-capsules/tests/capsules/main.rs`.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trefoil::process::{Encoded, FailedItem};
use trefoil::{CodecError, TaskError};

use crate::functions::name_of;
use crate::signature::{Signature, printable};

/// The first bytes; another version of the format has another number.
const MAGIC: &[u8] = b"trefoil capsule 4\n";

/// How long a file may be.
const LONGEST: u64 = 1 << 30;
/// How long its head may be.
const LONGEST_HEAD: usize = 1 << 20;

/// What a capsule says of its item, without the item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The name of the function, where it is known.
    pub(crate) function: Option<String>,
    /// The names of the types of the argument, and of the context, if there is one.
    pub(crate) argument_type: String,
    pub(crate) context_type: Option<String>,
    pub(crate) item: Option<u64>,
    pub(crate) signature: Signature,
    /// Milliseconds since 1970.
    when: u64,
    /// The time limit that was over, in nanoseconds.
    limit: Option<u64>,
    /// Which file this program was.
    build: Option<Build>,
    /// It was made from another one, whose item died.
    pub(crate) is_shrunk: bool,
}

/// The item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) error: String,
    pub(crate) argument: Encoded,
    pub(crate) context: Option<Encoded>,
}

/// The length of the program's file, and when it was written. In another build the same place has
/// another number.
type Build = (u64, u64);

fn build() -> Option<Build> {
    let known = fs::metadata(std::env::current_exe().ok()?).ok()?;
    Some((known.len(), millis(known.modified().ok()?)))
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

impl Head {
    /// `None` if its error is none that an item ends in.
    pub(crate) fn of(failed: &FailedItem) -> Option<Self> {
        let limit = match failed.error() {
            TaskError::TimedOut(late) => late.limit(),
            _ => None,
        };
        Some(Self {
            function: name_of(failed).map(str::to_owned),
            argument_type: failed.argument_type().to_owned(),
            context_type: failed.context_type().map(str::to_owned),
            item: failed.item().map(|at| at as u64),
            signature: Signature::of(failed.error())?,
            when: millis(SystemTime::now()),
            limit: limit.map(|limit| limit.as_nanos().try_into().unwrap_or(u64::MAX)),
            build: build(),
            is_shrunk: false,
        })
    }

    pub(crate) fn when(&self) -> SystemTime {
        // (A forged one may be later than any time.)
        let since = UNIX_EPOCH.checked_add(Duration::from_millis(self.when));
        since.unwrap_or(UNIX_EPOCH)
    }

    /// The time limit that was over.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit.map(Duration::from_nanos)
    }

    /// Whether this program has made it, so that places have the numbers that they had.
    pub(crate) fn is_of_this_build(&self) -> bool {
        self.build.is_some() && self.build == build()
    }
}

impl Body {
    pub(crate) fn of(failed: &FailedItem) -> Self {
        Self {
            error: text(failed.error()),
            argument: failed.argument(),
            context: failed.context(),
        }
    }
}

/// What the file says of the end.
pub(crate) fn text(error: &TaskError) -> String {
    let mut text = error.to_string();
    if let TaskError::WorkerDied(exit) = error {
        let backtrace = exit.backtrace().map(|frames| format!("{frames:#}"));
        let tail = Some(exit.stderr_tail().to_owned()).filter(|tail| !tail.is_empty());
        for part in backtrace.into_iter().chain(tail) {
            text.push_str("\n\n");
            text.push_str(&part);
        }
    }
    text
}

/// FNV-1a.
#[derive(Clone, Copy)]
struct Sum(u64);

impl Sum {
    const NEW: Self = Self(0xcbf2_9ce4_8422_2325);

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Passes on at most so many bytes, and adds them up.
struct Limited<W> {
    to: W,
    room: u64,
    sum: Sum,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.checked_sub(bytes.len() as u64);
        self.room = room.ok_or(io::ErrorKind::StorageFull)?;
        self.to.write_all(bytes)?;
        self.sum.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes a capsule of at most `room` bytes.
pub(crate) fn write(head: &Head, body: &Body, to: impl Write, room: u64) -> io::Result<()> {
    let sum = Sum::NEW;
    let room = room.min(LONGEST);
    let room = room.saturating_sub(size_of::<u64>() as u64);
    let head = postcard::to_stdvec(head).map_err(io::Error::other)?;
    let length = u32::try_from(head.len()).ok();
    let length = length.filter(|_| head.len() <= LONGEST_HEAD);
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    let mut to = Limited { to, room, sum };
    to.write_all(MAGIC)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&head)?;
    let Limited { mut to, sum, .. } = postcard::to_io(body, to).map_err(io::Error::other)?;
    to.write_all(&sum.0.to_le_bytes())?;
    to.flush()
}

/// How long that file will be; `None`: longer than a file may be.
pub(crate) fn length(head: &Head, body: &Body) -> Option<u64> {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let Count(both) = postcard::to_io(head, Count(0)).ok()?;
    let Count(both) = postcard::to_io(body, Count(both)).ok()?;
    let all = MAGIC.len() as u64 + 4 + both + 8;
    (all <= LONGEST).then_some(all)
}

/// A file with an item that has failed, from [`keep_failures`](crate::KeepFailures::keep_failures);
/// its path is in the error ([`capsule_of`](crate::capsule_of)).
///
/// It makes a regression test of three lines, in this build of the program or in a later one: the
/// page of the [crate](crate) has one. To run the item under a debugger, in this process and
/// without a pool, see [`init`](crate::init).
#[derive(Clone)]
pub struct Capsule {
    path: PathBuf,
    pub(crate) head: Head,
    pub(crate) body: Body,
}

const DAMAGED: &str = "is damaged or incomplete";
const NO_CAPSULE: &str = "holds no item that a pool of this version has kept";
const TOO_LONG: &str = "is longer than the file of an item may be: 1 GiB";

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Capsule {
    /// Reads a file, of at most 1 GiB: no file of an item is longer.
    ///
    /// # Errors
    /// What the system says; [`InvalidData`](io::ErrorKind::InvalidData) if the file is none, is
    /// incomplete, was changed, or is too long.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let read = opened(path).and_then(|(file, length)| Self::read(path, file, length));
        read.map_err(|error| named(path, error))
    }

    fn read(path: &Path, mut from: impl Read, length: u64) -> io::Result<Self> {
        let mut sum = Sum::NEW;
        sum.add(MAGIC);
        read_magic(&mut from)?;
        if length > LONGEST {
            return Err(invalid(TOO_LONG));
        }
        let mut rest = Vec::new();
        rest.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX))
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        from.read_to_end(&mut rest)?;
        let damaged = || invalid(DAMAGED);
        let (all, expected) = rest.split_last_chunk().ok_or_else(damaged)?;
        sum.add(all);
        if sum.0 != u64::from_le_bytes(*expected) {
            return Err(damaged());
        }
        let (length, all) = all.split_first_chunk().ok_or_else(damaged)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (head, body) = all.split_at_checked(length).ok_or_else(damaged)?;
        let head = postcard::take_from_bytes(head).ok();
        let body = postcard::take_from_bytes(body).ok();
        match (head, body) {
            (Some((head, [])), Some((body, []))) => Ok(Self::new(path.to_owned(), head, body)),
            _ => Err(damaged()),
        }
    }

    pub(crate) fn new(path: PathBuf, head: Head, body: Body) -> Self {
        Self { path, head, body }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The item's argument, decoded.
    ///
    /// `A` should be the type that the failed call had. If it is another, or has changed since, the
    /// bytes may not be one of its values, or be another value than before: most types are encoded
    /// with a description, but not numbers, tuples and arrays of them, text, and vectors of
    /// numbers.
    ///
    /// Open files ([`Attachment`](trefoil::process::Attachment)), channel ends and memory that
    /// workers may write to ([`SharedAtomics`](trefoil::SharedAtomics)) are not in the file: an
    /// argument with one cannot be decoded.
    ///
    /// # Errors
    /// What the `Deserialize` of `A` says, its panic too.
    pub fn argument<A: DeserializeOwned + 'static>(&self) -> Result<A, CodecError> {
        self.body.argument.decode()
    }

    /// The index of the item, if the call had many.
    #[must_use]
    pub fn item(&self) -> Option<usize> {
        usize::try_from(self.head.item?).ok()
    }

    /// The name of the function, where it is known: the one that it has been given
    /// ([`replayable`](crate::replayable)), or else that of the call
    /// ([`name`](trefoil::ProcessCall::name)).
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.head.function.as_deref()
    }

    /// The text of the error; and, if the worker died, its
    /// [backtrace](trefoil::WorkerExit::backtrace), if there is one, with the build ids of the
    /// modules in it, and the end of what the item has written to standard error.
    #[must_use]
    pub fn error(&self) -> &str {
        &self.body.error
    }
}

/// Opens a regular file, and reads its length. (To open a FIFO would wait for its other end.)
fn opened(path: &Path) -> io::Result<(impl Read, u64)> {
    let known = fs::metadata(path)?;
    if !known.is_file() {
        return Err(invalid("is not a regular file"));
    }
    Ok((File::open(path)?.take(known.len()), known.len()))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    match error.get_ref() {
        Some(why) => io::Error::new(error.kind(), format!("{} {why}", path.display())),
        None => error, // the system's
    }
}

fn read_magic(from: &mut impl Read) -> io::Result<()> {
    let mut magic = Vec::new();
    let begin = from.by_ref().take(MAGIC.len() as u64);
    { begin }.read_to_end(&mut magic)?;
    if magic != MAGIC {
        return Err(invalid(NO_CAPSULE));
    }
    Ok(())
}

/// Reads what a file says of its item, and the file's length; not whether it is whole.
pub(crate) fn head(path: &Path) -> io::Result<(Head, u64)> {
    let read = || {
        let (mut from, all) = opened(path)?;
        read_magic(&mut from)?;
        let (mut length, mut head) = ([0; 4], Vec::new());
        let damaged = || invalid(DAMAGED);
        from.read_exact(&mut length).map_err(|_| damaged())?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST_HEAD {
            return Err(damaged());
        }
        from.take(length as u64).read_to_end(&mut head)?;
        match postcard::take_from_bytes(&head) {
            Ok((head, [])) => Ok((head, all)),
            _ => Err(damaged()),
        }
    };
    read().map_err(|error| named(path, error))
}

impl fmt::Debug for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Capsule");
        debug.field("function", &self.function());
        debug
            .field("item", &self.item())
            .field("error", &self.error());
        debug.finish_non_exhaustive()
    }
}

/// "fn(u8) `decode`: item 3: worker process 17 was killed by signal 11 (SIGSEGV)", and what is not
/// in the file. Control characters are escaped.
impl fmt::Display for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fn({})", printable(&self.head.argument_type))?;
        if let Some(name) = self.function() {
            write!(f, " `{}`", printable(name))?;
        }
        write!(f, ": {}", printable(self.error()))?;
        if let Some(what) = self.body.argument.left_out() {
            write!(f, " (not kept: {what})")?;
        }
        Ok(())
    }
}
