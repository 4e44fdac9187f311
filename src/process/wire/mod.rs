//! The bytes between a parent and its worker, without any I/O.
//!
//! **Job.** Two little languages over one byte stream each. Every number is a
//! LEB128 `u64`, so lengths have 64 bits and small things are small; a number may be
//! padded, for who must leave room for it before it is known.
//!
//! ```text
//!   parent ──► worker   frame  = kind, length, payload
//!                         WELCOME  name of the copy of this crate (`sys::image`), memory limit (0: none)
//!                         CONTEXT  id, bytes
//!                         BATCH    sequence, trampoline, function, check, count,
//!                                  whether starts are noted, whether it is brief,
//!                                  context (0: none), how many numbers are in the list, list of what is
//!                                  missing (`loan`), items
//!                                  item = length, bytes of the argument
//!                         FORGET   id of a context
//!                         BAG      numbers: of the descriptors that come with its first byte
//!                         NUDGE    nothing: look at the tray
//!                         HOME     nothing: the descriptor of what arguments lie in comes with its first byte
//!                         BYE
//!
//!   worker ──► parent   record = kind, length, payload
//!                         HELLO    name of the copy of this crate
//!                         VALUE    bytes of the result
//!                         PANIC    message, whether there is a place, file, line, column
//!                         CODEC    of what, detail
//!                         END      sequence, items begun, nanoseconds of work
//!                         RETIRE   nothing: give me no more
//!                         BAG      numbers: of the descriptors that come with its first byte
//!                         TAKEN    nothing: the ends that an item has brought are open here
//!                         LENT     numbers: what is missing in the next value (`loan`)
//! ```
//!
//! The records of a frame's items come in the order of the items and name no
//! index: position says it. `END` closes a frame. A bag or a list of what is missing belongs to the frame or value right
//! behind it (`baggage`, `loan`).
//!
//! **Invariants.**
//! - **W1** Decoding accepts any bytes whatever: it reads inside the slice that it was
//!   given, allocates nothing proportional to a number it has merely read, and answers with an
//!   item, with "more bytes are needed", or with a [`Broken`].
//!
//! **Rejected.** A codec crate for the frames: the protocol is thirty lines, and the batch
//! must be sliced without copying. A checksum: a socket pair does not lose bytes,
//! and a worker that overwrites its own memory cannot be caught by one.
//!
//! Tests: below, a seeded fuzz included.

#[cfg(test)]
#[path = "../../../checks/inside/wire_tests.rs"]
mod tests;

use std::ops::Range;

/// What no correct peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes from the other side are not the protocol's")]
pub(crate) struct Broken;

type Decoded<T> = Result<Option<(T, usize)>, Broken>;

const WELCOME: u8 = 1;
const BATCH: u8 = 2;
const BYE: u8 = 3;
const CONTEXT: u8 = 4;
const FORGET: u8 = 5;
/// In both directions.
const BAG: u8 = 7;
const TAKEN: u8 = 8;
const NUDGE: u8 = 9;
const HOME: u8 = 10;
const LENT: u8 = 11;

const HELLO: u8 = 1;
const VALUE: u8 = 2;
const PANIC: u8 = 3;
const CODEC: u8 = 4;
const END: u8 = 5;
const RETIRE: u8 = 6;

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes a number takes.
pub(crate) fn width(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes `length` as a prefix in front of the `length` bytes at `start + left`, for
/// which `left` bytes have been left. A prefix that is shorter is padded; for one
/// that is longer the bytes move. Returns the end. `out` must reach 9 bytes past the end
/// of the bytes, unless the prefix fits.
#[inline]
pub(crate) fn prefix(out: &mut [u8], start: usize, left: usize, length: usize) -> usize {
    if left == 1 && length < 0x80 {
        out[start] = length as u8;
        return start + 1 + length;
    }
    prefix_any(out, start, left, length)
}

fn prefix_any(out: &mut [u8], start: usize, left: usize, length: usize) -> usize {
    let width = width(length as u64).max(left);
    if width > left {
        out.copy_within(start + left..start + left + length, start + width);
    }
    let mut number = length;
    for byte in &mut out[start..start + width - 1] {
        *byte = number as u8 | 0x80;
        number >>= 7;
    }
    out[start + width - 1] = number as u8;
    start + width + length
}

/// Reads numbers and slices from the front of some bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (&first, rest) = self.0.split_first()?;
        if first < 0x80 {
            self.0 = rest;
            return Some(first.into());
        }
        self.long_number().ok().flatten()
    }

    /// `Ok(None)`: the number goes on behind the end.
    fn long_number(&mut self) -> Result<Option<u64>, Broken> {
        let mut number = 0u64;
        for (index, &byte) in self.0.iter().enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && byte > 1 {
                return Err(Broken);
            }
            number |= bits << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        self.bytes()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Kind and payload of what stands at the front of `bytes`, and where it ends.
#[inline]
fn envelope(bytes: &[u8]) -> Decoded<(u8, &[u8])> {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut reader = Reader(rest);
    let Some(length) = reader.long_number()? else {
        return Ok(None);
    };
    let Ok(length) = usize::try_from(length) else {
        return Err(Broken);
    };
    let head = bytes.len() - reader.0.len();
    let Some(payload) = reader.0.get(..length) else {
        return Ok(None);
    };
    Ok(Some(((kind, payload), head + length)))
}

/// How many bytes the frame or record at the front has in all, if its head is there.
pub(crate) fn announced(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader(bytes.get(1..)?);
    let length = usize::try_from(reader.long_number().ok()??).ok()?;
    (bytes.len() - reader.0.len()).checked_add(length)
}

/// Which function runs, as offsets into the image: see `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeRef {
    pub(crate) trampoline: u64,
    pub(crate) function: u64,
    pub(crate) check: u64,
}

/// Everything of a batch but its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub(crate) sequence: u64,
    pub(crate) code: CodeRef,
    pub(crate) count: u64,
    /// The worker notes when each item starts.
    pub(crate) timed: bool,
    /// The worker may begin with it before it has sent what it has to say.
    pub(crate) brief: bool,
    /// The worker says when it has decoded the item: it brings ends of channels along.
    pub(crate) ends: bool,
    /// 0: none.
    pub(crate) context: u64,
}

/// What a parent says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Welcome {
        copy: &'a [u8],
        memory: u64,
    },
    /// What the items of later batches have in common.
    Context {
        id: u64,
        bytes: &'a [u8],
    },
    Batch {
        batch: BatchHead,
        /// What is missing in the items.
        lent: Vec<u64>,
        items: &'a [u8],
    },
    /// No more batches come with this context.
    Forget {
        id: u64,
    },
    /// What the next frame brings along.
    Bag(Vec<u64>),
    /// There is a letter in the tray.
    Nudge,
    /// Where large arguments lie (`loan`).
    Home,
    Bye,
}

impl<'a> Frame<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Decoded<Self> {
        let Some(((kind, payload), end)) = envelope(bytes)? else {
            return Ok(None);
        };
        let mut reader = Reader(payload);
        let frame = Self::payload(kind, &mut reader).ok_or(Broken)?;
        Ok(Some((frame, end)))
    }

    fn payload(kind: u8, reader: &mut Reader<'a>) -> Option<Self> {
        Some(match kind {
            WELCOME => Self::Welcome {
                copy: reader.bytes()?,
                memory: reader.number()?,
            },
            CONTEXT => Self::Context {
                id: reader.number()?,
                bytes: reader.0,
            },
            BATCH => {
                let sequence = reader.number()?;
                let code = CodeRef {
                    trampoline: reader.number()?,
                    function: reader.number()?,
                    check: reader.number()?,
                };
                let batch = BatchHead {
                    sequence,
                    code,
                    count: reader.number()?,
                    timed: reader.number()? != 0,
                    brief: reader.number()? != 0,
                    ends: reader.number()? != 0,
                    context: reader.number()?,
                };
                let count = reader.number()?;
                let lent: Option<_> = (0..count).map(|_| reader.number()).collect();
                Self::Batch {
                    batch,
                    lent: lent?,
                    items: reader.0,
                }
            }
            FORGET => Self::Forget {
                id: reader.number()?,
            },
            BAG => Self::Bag(numbers(reader)?),
            NUDGE => Self::Nudge,
            HOME => Self::Home,
            BYE => Self::Bye,
            _ => return None,
        })
    }
}

pub(crate) fn welcome(copy: &str, memory: u64) -> Vec<u8> {
    let mut payload = greeting(copy);
    put(&mut payload, memory);
    whole(WELCOME, &payload)
}

pub(crate) fn hello(copy: &str) -> Vec<u8> {
    whole(HELLO, &greeting(copy))
}

fn greeting(copy: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    put_bytes(&mut payload, copy.as_bytes());
    payload
}

/// Everything of a context but its bytes, of which there are `length`.
pub(crate) fn context_head(id: u64, length: usize) -> Vec<u8> {
    head(CONTEXT, [id].into_iter(), length)
}

pub(crate) fn forget(id: u64) -> Vec<u8> {
    head(FORGET, [id].into_iter(), 0)
}

/// What comes before a frame or a value that brings descriptors along.
pub(crate) fn bag(numbers: &[u64]) -> Vec<u8> {
    head(BAG, numbers.iter().copied(), 0)
}

fn numbers(reader: &mut Reader<'_>) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    while !reader.0.is_empty() {
        numbers.push(reader.number()?);
    }
    Some(numbers)
}

pub(crate) fn bye() -> Vec<u8> {
    whole(BYE, &[])
}

pub(crate) fn home() -> Vec<u8> {
    whole(HOME, &[])
}

pub(crate) fn nudge() -> Vec<u8> {
    whole(NUDGE, &[])
}

/// What comes before a value in which something is missing.
pub(crate) fn lent(numbers: &[u64]) -> Vec<u8> {
    head(LENT, numbers.iter().copied(), 0)
}

/// Everything of a batch but its items, of which there are `bytes` bytes, and in which is missing what is in `lent`.
pub(crate) fn batch_head(batch: &BatchHead, lent: &[u64], bytes: Range<usize>) -> Vec<u8> {
    let BatchHead {
        sequence,
        code,
        count,
        timed,
        brief,
        ends,
        context,
    } = *batch;
    let CodeRef {
        trampoline,
        function,
        check,
    } = code;
    let numbers = [
        sequence,
        trampoline,
        function,
        check,
        count,
        timed.into(),
        brief.into(),
        ends.into(),
        context,
        lent.len() as u64,
    ];
    let numbers = numbers.into_iter().chain(lent.iter().copied());
    head(BATCH, numbers, bytes.len())
}

/// A frame of `numbers` and then `length` bytes, without these.
fn head(kind: u8, numbers: impl Iterator<Item = u64> + Clone, length: usize) -> Vec<u8> {
    let fixed: usize = numbers.clone().map(width).sum();
    let mut head = Vec::with_capacity(fixed + 11);
    head.push(kind);
    put(&mut head, (fixed + length) as u64);
    numbers.for_each(|number| put(&mut head, number));
    head
}

fn whole(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 11);
    out.push(kind);
    put_bytes(&mut out, payload);
    out
}

/// What a worker says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Hello {
        copy: &'a [u8],
    },
    Value(&'a [u8]),
    Panic {
        message: String,
        place: Option<(String, u32, u32)>,
    },
    Codec {
        of: CodecOf,
        detail: String,
    },
    End {
        sequence: u64,
        begun: u64,
        nanos: u64,
    },
    /// The worker wants to be replaced, and begins nothing more of this frame.
    Retire,
    /// What the next value brings along.
    Bag(Vec<u64>),
    /// The ends that the item has brought are open, and need not be kept for it.
    Taken,
    /// What is missing in the next value.
    Lent(Vec<u64>),
}

/// What could not be decoded or encoded in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodecOf {
    Argument,
    Result,
    Context,
}

/// The kind of a [`Record::Value`], for who writes one in place.
pub(crate) const VALUE_KIND: u8 = VALUE;

/// The value at the front of `bytes`, if one stands there whole, and where it ends. (Almost all records are
/// small values.)
#[inline]
pub(crate) fn value(bytes: &[u8]) -> Option<(&[u8], usize)> {
    if let [VALUE, length @ 0..0x80, rest @ ..] = bytes {
        let length = usize::from(*length);
        return rest.get(..length).map(|value| (value, 2 + length));
    }
    long_value(bytes)
}

#[cold]
fn long_value(bytes: &[u8]) -> Option<(&[u8], usize)> {
    match envelope(bytes) {
        Ok(Some(((VALUE, value), end))) => Some((value, end)),
        _ => None,
    }
}

impl<'a> Record<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Decoded<Self> {
        let Some(((kind, payload), end)) = envelope(bytes)? else {
            return Ok(None);
        };
        let mut reader = Reader(payload);
        let record = Self::payload(kind, payload, &mut reader).ok_or(Broken)?;
        Ok(Some((record, end)))
    }

    fn payload(kind: u8, payload: &'a [u8], reader: &mut Reader<'a>) -> Option<Self> {
        Some(match kind {
            HELLO => Self::Hello {
                copy: reader.bytes()?,
            },
            VALUE => Self::Value(payload),
            PANIC => {
                let message = reader.text()?;
                let known = reader.number()? != 0;
                let file = reader.text()?;
                let line = u32::try_from(reader.number()?).ok()?;
                let column = u32::try_from(reader.number()?).ok()?;
                Self::Panic {
                    message,
                    place: known.then_some((file, line, column)),
                }
            }
            CODEC => Self::Codec {
                of: match reader.number()? {
                    0 => CodecOf::Argument,
                    1 => CodecOf::Result,
                    _ => CodecOf::Context,
                },
                detail: reader.text()?,
            },
            END => Self::End {
                sequence: reader.number()?,
                begun: reader.number()?,
                nanos: reader.number()?,
            },
            RETIRE => Self::Retire,
            BAG => Self::Bag(numbers(reader)?),
            TAKEN => Self::Taken,
            LENT => Self::Lent(numbers(reader)?),
            _ => return None,
        })
    }
}

pub(crate) fn panic(message: &str, place: Option<(&str, u32, u32)>) -> Vec<u8> {
    let (file, line, column) = place.unwrap_or_default();
    let mut payload = Vec::new();
    put_bytes(&mut payload, message.as_bytes());
    put(&mut payload, place.is_some().into());
    put_bytes(&mut payload, file.as_bytes());
    put(&mut payload, line.into());
    put(&mut payload, column.into());
    whole(PANIC, &payload)
}

pub(crate) fn codec(of: CodecOf, detail: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    put(&mut payload, of as u64);
    put_bytes(&mut payload, detail.as_bytes());
    whole(CODEC, &payload)
}

pub(crate) fn end(sequence: u64, begun: u64, nanos: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    for number in [sequence, begun, nanos] {
        put(&mut payload, number);
    }
    whole(END, &payload)
}

pub(crate) fn retire() -> Vec<u8> {
    whole(RETIRE, &[])
}

pub(crate) fn taken() -> Vec<u8> {
    whole(TAKEN, &[])
}

/// The head of a value too long for the ledger.
pub(crate) fn value_head(length: usize) -> Vec<u8> {
    let mut head = vec![VALUE];
    put(&mut head, length as u64);
    head
}
