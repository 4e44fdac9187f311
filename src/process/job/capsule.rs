//! The file of an item that has failed: its format, and what reads it.
//!
//! ```text
//!   capsule = MAGIC, head, frames, checksum
//!   head    = length (8 bytes), `CapsuleHead` (postcard)
//!   frames  = of each initializer, of the context, of the item: what a plain worker is sent
//! ```
//!
//! A frame is a message of the protocol between a parent and a plain worker (`wire`): everything
//! that lay outside the bytes of an argument is before it, as copies. So a file is read by the
//! code that reads a stream, which accepts any bytes (W1); and a worker can run what is in it
//! (`worker::replay`). The checksum finds a file that was cut off or changed by mistake, and no
//! forger.
//!
//! Tests: below; `tests/process/capsules.rs`.

use std::any::type_name;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::process::host::checksum::checksum;
use crate::process::value::attachments::Descriptors;
use crate::process::value::chunk::Piece;
use crate::process::value::codec::decode;
use crate::process::value::copies::{Copies, CopySource, Sources};
use crate::process::value::lent_arrays::{LentList, Missing};
use crate::process::value::scope::{self, Decoding};
use crate::process::wire::fields;
use crate::process::wire::{BatchHead, CodeRef, Frame, Reader};
use crate::task::{CodecDirection, CodecError, panic};

/// The first bytes; another version of the format has another number.
const MAGIC: &[u8] = b"trefoil capsule 2\n";

/// The context's number in a capsule.
const CONTEXT: u64 = 1;

/// A call's function: its name, where it is known, and that of its argument's type.
pub(crate) type Called = (Option<String>, String);

/// What a capsule says of its item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapsuleHead {
    /// The copy of this crate, in the build of the program, that has the functions where the frames
    /// say.
    pub(crate) copy: String,
    /// Of each initializer, then of the item.
    pub(crate) calls: Vec<Called>,
    /// The names of the types of the result, and of the context, if there is one.
    pub(crate) result: String,
    pub(crate) context: Option<String>,
    pub(crate) item: Option<u64>,
    pub(crate) error: String,
    /// What could not be kept.
    pub(crate) left_out: Option<String>,
    /// The worker's memory limit, or 0, and its index.
    pub(crate) memory: u64,
    pub(crate) worker: u64,
}

fields! {
    CapsuleHead { copy, calls, result, context, item, error, left_out, memory, worker }
}

/// An encoded value and everything that lies outside of its bytes.
pub(crate) struct Parcel {
    piece: Piece,
    lent: LentList,
    arrays: Sources,
    memory: Sources,
}

impl Parcel {
    /// The one item of `piece`. Adds to `left_out` what a file cannot hold.
    pub(crate) fn new(piece: Piece, left_out: &mut Option<String>) -> io::Result<Self> {
        let (lent, arrays) = piece.apart().map_err(io::Error::other)?;
        let mut memory = Sources::new();
        for attachment in piece.attachments() {
            match CopySource::of(&attachment) {
                Ok(source) if attachment.is_fixed() => memory.push((attachment.id, source)),
                _ => *left_out = Some(CHANGES.to_owned()),
            }
        }
        Ok(Self {
            piece,
            lent,
            arrays,
            memory,
        })
    }
}

/// What a file cannot hold.
const CHANGES: &str = "the end of a channel, or memory that an item may write to";

/// Writes capsules.
pub(crate) struct Writer<W> {
    to: W,
    sum: u32,
    /// How many more bytes may be written.
    room: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file of at most `room` bytes.
    pub(crate) fn new(to: W, room: u64, head: &CapsuleHead) -> io::Result<Self> {
        let mut own = Self { to, sum: 0, room };
        let head = postcard::to_stdvec(head).map_err(io::Error::other)?;
        own.put(MAGIC)?;
        own.put(&(head.len() as u64).to_le_bytes())?;
        own.put(&head)?;
        Ok(own)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.checked_sub(bytes.len() as u64);
        self.room = room.ok_or(io::ErrorKind::StorageFull)?;
        self.sum = self.sum.rotate_left(1) ^ checksum(bytes);
        self.to.write_all(bytes)
    }

    fn frame(&mut self, frame: &Frame<'_>, bytes: &[u8]) -> io::Result<()> {
        self.put(&frame.head(bytes.len()))?;
        self.put(bytes)
    }

    /// Writes a parcel, and the frame that `frame` makes of its list of arrays.
    fn parcel(
        &mut self,
        parcel: &Parcel,
        frame: impl FnOnce(LentList) -> Frame<'static>,
    ) -> io::Result<()> {
        for (id, source) in parcel.memory.iter().chain(&parcel.arrays) {
            let (of, bytes) = (source.head(*id), &[][..]);
            let copy = Frame::Copy { of, bytes };
            for part in source.parts() {
                self.frame(&copy, part.bytes())?;
            }
        }
        let numbers: Vec<u64> = parcel.memory.iter().map(|(id, _)| *id).collect();
        if !numbers.is_empty() {
            self.frame(&Frame::Descriptors(numbers), &[])?;
        }
        self.frame(&frame(parcel.lent.clone()), parcel.piece.bytes())
    }

    /// Writes the context of the items to come.
    pub(crate) fn context(&mut self, context: &Parcel) -> io::Result<()> {
        let frame = |_| Frame::Context {
            id: CONTEXT,
            bytes: &[],
        };
        self.parcel(context, frame)
    }

    /// Writes a call, the `sequence`-th.
    pub(crate) fn call(
        &mut self,
        sequence: u64,
        code: CodeRef,
        has_context: bool,
        item: &Parcel,
    ) -> io::Result<()> {
        let batch = BatchHead {
            sequence,
            code,
            count: 1,
            limit: 0,
            brief: false,
            ends: false,
            context: if has_context { CONTEXT } else { 0 },
        };
        self.parcel(item, |lent| Frame::Batch {
            batch,
            lent,
            items: &[],
        })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&self.sum.to_le_bytes())?;
        self.to.flush()?;
        Ok(self.to)
    }
}

/// A file with an item that has failed, from
/// [`keep_failures`](crate::ProcessPoolBuilder::keep_failures); its path is in the error
/// ([`TaskError::capsule`](crate::TaskError::capsule)).
///
/// It makes a regression test of three lines, in this build of the program or in a later one:
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil::process::Capsule;
///
/// fn decode_row(row: Vec<u8>) -> u8 {
///     row[3]
/// }
///
/// # trefoil::init();
/// # let dir = std::env::temp_dir().join(format!("trefoil-capsule-{}", std::process::id()));
/// let procs = ProcessPool::with_workers(1)?;
/// let error = procs.call(decode_row).keep_failures(&dir).map([vec![1; 9], vec![2]]).unwrap_err();
/// let path = error.capsule().expect("the item was kept");
///
/// let capsule = Capsule::open(path)?;
/// let row: Vec<u8> = capsule.argument()?;
/// assert_eq!((row, capsule.item()), (vec![2], Some(1)));
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// To run the item under a debugger, in this process and without a pool, see
/// [`init`](crate::init) (`TREFOIL_REPLAY`).
pub struct Capsule {
    bytes: Vec<u8>,
    pub(crate) head: CapsuleHead,
    /// Where the frames are.
    frames: std::ops::Range<usize>,
}

/// A file that is being read. What it says of its own lengths is not believed, so no more is read
/// than what it had until then was good for.
struct Source<R> {
    from: R,
    bytes: Vec<u8>,
    /// How many bytes the system says that it has.
    length: usize,
}

/// How many bytes are read at least.
const BLOCK: usize = 1 << 16;

impl<R: Read> Source<R> {
    /// Reads as many bytes more as there are from `at` on. An error if there are no more.
    fn more(&mut self, at: usize) -> io::Result<()> {
        let left = self.length - self.bytes.len();
        let count = (self.bytes.len() - at).max(BLOCK).min(left);
        match self
            .from
            .by_ref()
            .take(count as u64)
            .read_to_end(&mut self.bytes)?
        {
            0 => Err(invalid(DAMAGED)),
            _ => Ok(()),
        }
    }

    /// What `parse` makes of the bytes from `at` to `end`, or of as many of them as it needs;
    /// `None`: it needs more.
    fn parse<T>(
        &mut self,
        (at, end): (usize, usize),
        mut parse: impl FnMut(&[u8]) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        loop {
            let known = self.bytes.get(at..self.bytes.len().min(end));
            if let Some(found) = parse(known.unwrap_or_default())? {
                return Ok(found);
            }
            if self.bytes.len() >= end {
                return Err(invalid(DAMAGED));
            }
            self.more(at.min(self.bytes.len()))?;
        }
    }
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
    /// incomplete or was changed. Of such a file little more is read than what is sound.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // (To open a FIFO would wait for its other end.)
        let known = fs::metadata(path)?;
        let read = if known.is_file() {
            Self::read(fs::File::open(path)?, known.len())
        } else {
            Err(invalid("is not a regular file"))
        };
        read.map_err(|error| match error.get_ref() {
            Some(why) => io::Error::new(error.kind(), format!("{} {why}", path.display())),
            None => error, // the system's
        })
    }

    fn read(from: impl Read, length: u64) -> io::Result<Self> {
        match Self::parse(from, length)? {
            (capsule, true) => Ok(capsule),
            (_, false) => Err(invalid(DAMAGED)),
        }
    }

    /// The capsule in so many bytes, and whether its checksum fits.
    fn parse(from: impl Read, length: u64) -> io::Result<(Self, bool)> {
        let mut source = Source {
            from,
            bytes: Vec::new(),
            length: usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?,
        };
        let (mut expected, mut sum) = (0u32, [0; 4]);
        let mut add = |part: &[u8]| expected = expected.rotate_left(1) ^ checksum(part);
        let end = source.length.saturating_sub(sum.len());
        let begin = (0, MAGIC.len().min(source.length));
        source.parse(begin, |bytes| match bytes {
            MAGIC => Ok(Some(())),
            _ if MAGIC.starts_with(bytes) && bytes.len() < begin.1 => Ok(None),
            _ => Err(invalid(NO_CAPSULE)),
        })?;
        add(MAGIC);
        let head = source.parse((MAGIC.len(), end), |bytes| {
            let Some((length, _)) = bytes.split_first_chunk() else {
                return Ok(None);
            };
            add(length);
            Ok(Some(u64::from_le_bytes(*length)))
        })?;
        let at = MAGIC.len() + size_of::<u64>();
        let frames = usize::try_from(head)
            .ok()
            .and_then(|head| at.checked_add(head));
        let frames = frames
            .filter(|frames| *frames <= end)
            .ok_or_else(|| invalid(DAMAGED))?;
        let head = source.parse((at, frames), |bytes| {
            match postcard::take_from_bytes::<CapsuleHead>(bytes) {
                Ok((head, [])) if at + bytes.len() == frames => {
                    add(bytes);
                    Ok(Some(head))
                }
                // (With more bytes it may be another one.)
                Ok((_, [])) | Err(postcard::Error::DeserializeUnexpectedEnd) => Ok(None),
                _ => Err(invalid(DAMAGED)),
            }
        })?;
        let (mut at, mut calls, mut is_whole) = (frames, 0, false);
        while at < end {
            at += source.parse((at, end), |bytes| {
                let frame = Frame::decode(bytes).map_err(|_| invalid(DAMAGED))?;
                let Some((frame, length)) = frame else {
                    return Ok(None);
                };
                let body = match frame {
                    Frame::Batch {
                        batch: BatchHead { count: 1, .. },
                        items: body,
                        ..
                    }
                    | Frame::Context { bytes: body, .. }
                    | Frame::Copy { bytes: body, .. } => body.len(),
                    Frame::Descriptors(_) => 0,
                    _ => return Err(invalid(DAMAGED)),
                };
                is_whole = matches!(frame, Frame::Batch { .. });
                calls += usize::from(is_whole);
                add(&bytes[..length - body]);
                add(&bytes[length - body..length]);
                Ok(Some(length))
            })?;
        }
        source.parse((end, source.length), |bytes| {
            Ok(bytes.first_chunk().map(|last| sum = *last))
        })?;
        let fits = expected == u32::from_le_bytes(sum);
        let is_whole = is_whole && calls == head.calls.len();
        let capsule = Self {
            bytes: source.bytes,
            head,
            frames: frames..end,
        };
        is_whole
            .then_some((capsule, fits))
            .ok_or_else(|| invalid(DAMAGED))
    }

    /// The frame after the first `at` bytes of all, and how many bytes it has.
    pub(crate) fn frame(&self, at: usize) -> Option<(Frame<'_>, usize)> {
        let frames = &self.bytes[self.frames.clone()];
        Frame::decode(frames.get(at..)?).ok()?
    }

    /// The item's argument, decoded.
    ///
    /// `A` should be the type that the failed call had. If it is another, or has changed since, the
    /// bytes may not be one of its values, or be another value than before: most types are encoded
    /// with a description, but not numbers, tuples and arrays of them, text, and vectors of
    /// numbers.
    ///
    /// Channel ends and [`SharedAtomics`](crate::SharedAtomics) are not in the file: an argument
    /// with one cannot be decoded.
    ///
    /// # Errors
    /// What the `Deserialize` of `A` says, its panic too.
    pub fn argument<A: DeserializeOwned + 'static>(&self) -> Result<A, CodecError> {
        let (mut copies, mut descriptors) = (Copies::default(), Descriptors::default());
        let (mut at, mut decoded) = (0, Err("it has no item".to_owned()));
        while let Some((frame, length)) = self.frame(at) {
            at += length;
            match frame {
                Frame::Copy { of, bytes } => copies.part(of, bytes),
                Frame::Descriptors(numbers) => descriptors = copies.find(&numbers),
                Frame::Batch { lent, items, .. } if at == self.frames.len() => {
                    let bytes = Reader(items).bytes().unwrap_or_default();
                    let missing = Missing::new(&lent, items, None, &mut copies);
                    let mut own = Decoding::new(std::mem::take(&mut descriptors), missing);
                    let decode = || panic::catch(|| decode::<A>(bytes));
                    decoded = scope::decoding(&mut own, decode)
                        .unwrap_or_else(|panic| Err(panic.message().to_owned()));
                }
                // Of an initializer, or the context.
                _ => descriptors = Descriptors::default(),
            }
        }
        decoded.map_err(|why| {
            let missing = match &self.head.left_out {
                None => why,
                Some(left_out) => format!("{why} (not kept: {left_out})"),
            };
            CodecError::new(type_name::<A>(), CodecDirection::DecodeArgument, missing)
        })
    }

    /// The index of the item, if the call had many.
    #[must_use]
    pub fn item(&self) -> Option<usize> {
        usize::try_from(self.head.item?).ok()
    }

    /// The name of the function, where it is known: the one that it has been given
    /// ([`replayable`](crate::process::replayable)), or else that of the call
    /// ([`name`](crate::ProcessCall::name)).
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.head.calls.last()?.0.as_deref()
    }

    /// The text of the error; and, if the worker died, its
    /// [backtrace](crate::WorkerExit::backtrace), if there is one, and the end of what the item has
    /// written to standard error.
    #[must_use]
    pub fn error(&self) -> &str {
        &self.head.error
    }
}

debug!(
    impl Capsule,
    self,
    head = self.head,
    bytes = self.bytes.len()
);

/// "fn(u8) -> u8 `decode`: item 3: worker process 17 was killed by signal 11 (SIGSEGV)", and what
/// is not in the file.
impl fmt::Display for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CapsuleHead { calls, result, .. } = &self.head;
        let argument = calls.last().map_or("", |(_, argument)| argument);
        write!(f, "fn({argument}) -> {result}")?;
        if let Some(name) = self.function() {
            write!(f, " `{name}`")?;
        }
        write!(f, ": {}", self.error())?;
        if let Some(left_out) = &self.head.left_out {
            write!(f, "\nnot kept: {left_out}")?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::process::Bulk;
    use crate::process::Shared;
    use crate::process::value::chunk::Chunk;
    use crate::process::value::lent_arrays::SharedBuffer;

    type Argument = (String, Bulk<u32>, Shared<u16>);

    fn argument() -> Argument {
        let numbers: Vec<u32> = (0..10_000).collect();
        ("seven".to_owned(), numbers.into(), vec![7; 300].into())
    }

    fn written(chunk: Chunk) -> Vec<u8> {
        let head = CapsuleHead {
            calls: vec![(None, "A".to_owned()); 2],
            error: "the error".to_owned(),
            item: Some(3),
            ..CapsuleHead::default()
        };
        let code = CodeRef {
            trampoline: 1,
            function: 2,
        };
        let parcel = |chunk| Parcel::new(Piece::whole(Arc::new(chunk), 0), &mut None).unwrap();
        let mut first = Chunk::default();
        first.push(&vec![1u8, 2]).unwrap();
        let first = parcel(first);
        let item = parcel(chunk);
        let mut writer = Writer::new(Vec::new(), 1 << 20, &head).unwrap();
        writer.call(0, code, false, &first).unwrap();
        writer.context(&first).unwrap();
        writer.call(1, code, true, &item).unwrap();
        writer.finish().unwrap()
    }

    fn chunks() -> [Chunk; 3] {
        let lending = Chunk::lending(&Arc::new(SharedBuffer::new()));
        let mut all = [Chunk::default(), lending, Chunk::new(true).sending_ahead()];
        all.iter_mut()
            .for_each(|chunk| chunk.push(&argument()).unwrap());
        all
    }

    #[test]
    fn an_argument_comes_out_as_it_went_in() {
        for chunk in chunks() {
            let bytes = written(chunk);
            let capsule = Capsule::read(&*bytes, bytes.len() as u64).unwrap();
            assert_eq!(capsule.argument::<Argument>().unwrap(), argument());
            assert_eq!((capsule.item(), capsule.error()), (Some(3), "the error"));
            assert!(capsule.argument::<Vec<String>>().is_err());
        }
    }

    #[test]
    fn a_file_has_no_more_bytes_than_it_may() {
        let head = CapsuleHead::default();
        assert!(Writer::new(Vec::new(), 20, &head).is_err());
        assert!(Writer::new(Vec::new(), 200, &head).is_ok());
    }

    /// Any bytes are read without a panic; and what was cut off or changed is found.
    #[test]
    fn damage_is_found() {
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        let mut roll = |below: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice % below as u64) as usize
        };
        for chunk in chunks() {
            let whole = written(chunk);
            for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
                let mut bytes = whole.clone();
                match roll(3) {
                    0 => bytes.truncate(roll(whole.len())),
                    1 => {
                        let at = roll(bytes.len());
                        bytes[at] ^= 1 << roll(8);
                    }
                    _ => {
                        let (from, to) = (roll(bytes.len()), roll(bytes.len()));
                        let moved = bytes.clone();
                        let length = roll(64).min(bytes.len() - from.max(to));
                        bytes[to..to + length].copy_from_slice(&moved[from..from + length]);
                    }
                }
                let read = Capsule::read(&*bytes, bytes.len() as u64);
                assert!(bytes == whole || read.is_err());
            }
            // With a checksum that fits, too, whatever was changed.
            for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
                let mut bytes = whole.clone();
                let at = MAGIC.len() + roll(bytes.len() - MAGIC.len());
                bytes[at] = roll(256) as u8;
                if let Ok((capsule, _)) = Capsule::parse(&*bytes, bytes.len() as u64) {
                    let _ = capsule.argument::<Argument>();
                    let _ = capsule.to_string();
                }
            }
        }
        assert!(Capsule::read(io::empty(), 0).is_err());
    }

    /// A file may say of itself what it likes: of one that is no capsule little is read, however
    /// long it is.
    #[test]
    fn no_more_is_read_than_is_sound() {
        let [chunk, ..] = chunks();
        let whole = written(chunk);
        let known = [
            whole[..0].to_vec(),
            MAGIC.to_vec(), // a head of no bytes, or of any number
            [MAGIC, &u32::MAX.to_le_bytes()].concat(),
            [MAGIC, &(1u64 << 31).to_le_bytes()].concat(),
            whole,
        ];
        for (at, bytes) in known.iter().enumerate() {
            for rest in [0, 1, 2, 7, 255] {
                let endless = bytes.chain(io::repeat(rest));
                let mut endless = endless.take(1 << 20);
                let error = Capsule::read(&mut endless, 3 << 30).err().unwrap();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert!(endless.limit() > 0, "{at} {rest}: all of it was read");
            }
        }
    }
}
