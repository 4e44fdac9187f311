//! The file of an item that has failed: its format, and what reads it.
//!
//! ```text
//!   capsule = MAGIC, head (postcard), checksum of both (8 bytes)
//! ```
//!
//! What lay outside the bytes of an argument is in the file as well ([`Encoded`]). The checksum
//! finds a file that was cut off or changed by mistake, and no forger: decoding accepts any bytes.
//!
//! Tests: `crates/trefoil-capsules/tests/capsules/main.rs`.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trefoil::CodecError;
use trefoil::process::Encoded;

/// The first bytes; another version of the format has another number.
const MAGIC: &[u8] = b"trefoil capsule 3\n";

/// What a capsule says of its item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The name of the function, where it is known.
    pub(crate) function: Option<String>,
    /// The names of the types of the argument, and of the context, if there is one.
    pub(crate) argument_type: String,
    pub(crate) context_type: Option<String>,
    pub(crate) item: Option<u64>,
    pub(crate) error: String,
    pub(crate) argument: Encoded,
    pub(crate) context: Option<Encoded>,
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
pub(crate) fn write(head: &Head, to: impl Write, room: u64) -> io::Result<()> {
    let sum = Sum::NEW;
    let room = room.saturating_sub(size_of::<u64>() as u64);
    let mut to = Limited { to, room, sum };
    to.write_all(MAGIC)?;
    let Limited { mut to, sum, .. } = postcard::to_io(head, to).map_err(io::Error::other)?;
    to.write_all(&sum.0.to_le_bytes())?;
    to.flush()
}

/// A file with an item that has failed, from [`keep_failures`](crate::KeepFailures::keep_failures);
/// its path is in the error ([`capsule_of`](crate::capsule_of)).
///
/// It makes a regression test of three lines, in this build of the program or in a later one: the
/// page of the [crate](crate) has one. To run the item under a debugger, in this process and
/// without a pool, see [`init`](crate::init).
#[derive(Clone)]
pub struct Capsule {
    pub(crate) head: Head,
}

const DAMAGED: &str = "is damaged or incomplete";
const NO_CAPSULE: &str = "holds no item that a pool of this version has kept";

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Capsule {
    /// Reads a file.
    ///
    /// # Errors
    /// What the system says; [`InvalidData`](io::ErrorKind::InvalidData) if the file is none, is
    /// incomplete or was changed.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // (To open a FIFO would wait for its other end.)
        let known = fs::metadata(path)?;
        let read = if known.is_file() {
            Self::read(File::open(path)?.take(known.len()))
        } else {
            Err(invalid("is not a regular file"))
        };
        read.map_err(|error| match error.get_ref() {
            Some(why) => io::Error::new(error.kind(), format!("{} {why}", path.display())),
            None => error, // the system's
        })
    }

    fn read(mut from: impl Read) -> io::Result<Self> {
        let (mut magic, mut rest) = (Vec::new(), Vec::new());
        let begin = from.by_ref().take(MAGIC.len() as u64);
        { begin }.read_to_end(&mut magic)?;
        if magic != MAGIC {
            return Err(invalid(NO_CAPSULE));
        }
        from.read_to_end(&mut rest)?;
        let whole = rest.split_last_chunk();
        let (head, expected) = whole.ok_or_else(|| invalid(DAMAGED))?;
        let mut sum = Sum::NEW;
        sum.add(MAGIC);
        sum.add(head);
        if sum.0 != u64::from_le_bytes(*expected) {
            return Err(invalid(DAMAGED));
        }
        match postcard::take_from_bytes(head) {
            Ok((head, [])) => Ok(Self { head }),
            _ => Err(invalid(DAMAGED)),
        }
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
        self.head.argument.decode()
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
    /// [backtrace](trefoil::WorkerExit::backtrace), if there is one, and the end of what the item
    /// has written to standard error.
    #[must_use]
    pub fn error(&self) -> &str {
        &self.head.error
    }
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
/// in the file.
impl fmt::Display for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fn({})", self.head.argument_type)?;
        if let Some(name) = self.function() {
            write!(f, " `{name}`")?;
        }
        write!(f, ": {}", self.error())?;
        if let Some(what) = self.head.argument.left_out() {
            write!(f, " (not kept: {what})")?;
        }
        Ok(())
    }
}
