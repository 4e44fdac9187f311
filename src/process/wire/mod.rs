//! The bytes between a parent and its worker, without any I/O.
//!
//! **Job.** Two message formats over one byte stream each: a parent sends [`Frame`]s, a worker
//! [`Record`]s. Both are envelopes: a kind, a length and a payload. The payload is encoded by
//! postcard, except for two parts that are not copied: the bytes of a value, which have a separate
//! kind, and the data after the header of a message (items, a context, a copy).
//!
//! ```text
//!   frame  = MESSAGE, length, Frame, items or the bytes of a context or a copy
//!            item = length, bytes of the argument
//!   record = VALUE, length, bytes of the result
//!          | MESSAGE, length, Record, the bytes of a copy
//! ```
//!
//! A length is one byte, or the byte 255 followed by eight bytes for lengths of 255 and more.
//!
//! The records of a frame's items come in the order of the items, without an index. `End` closes a
//! frame. A list of descriptors or of lent arrays belongs to the frame or value right after it
//! (`attachments`, `lent_arrays`).
//!
//! **Invariants.**
//! - **W1** Decoding accepts any bytes: it reads only inside the given slice, allocates at most a
//!   mebibyte for a length that it has only read, and returns an item, "more bytes are needed", or
//!   a [`Broken`], also for an impossible length or a list that is too long. For a possible length
//!   the receiver has in memory what has arrived, and a little more.
//!
//! A message is the number of its kind in one byte, and its fields in order, each as postcard
//! writes it. Serde's derive would write the same bytes; but every program with worker processes
//! would have to compile it. The kinds are in the order of their numbers; a new one comes last,
//! with the next number.
//!
//! **Rejected.** A checksum: a socket pair does not lose bytes, and a worker that overwrites its
//! own memory cannot be caught by one.
//!
//! Tests: below, a seeded fuzz included.

pub(super) mod invitation;
#[cfg(test)]
mod tests;

use postcard::de_flavors::Slice;
use postcard::ser_flavors::{Flavor, StdVec};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::process::pages::raw_ledger::AREA;
use trefoil_os::host::handover;

/// Bytes that no correct peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes from the other side do not follow the protocol")]
pub(crate) struct Broken;

type Decoded<T> = Result<Option<(T, usize)>, Broken>;

/// Where the fields of a message are read from.
type Fields<'a> = postcard::Deserializer<'a, Slice<'a>>;

/// The kinds of an envelope.
const MESSAGE: u8 = 1;
const VALUE: u8 = 2;

/// No frame or record is longer: it is in one piece in the memory of a process, and none has more
/// than 47 bits of addresses. (So the writer need not check the length.)
const LONGEST_FRAME_BYTES: usize = if usize::BITS > 32 {
    isize::MAX as usize >> 16
} else {
    isize::MAX as usize >> 1
};

/// The first byte of a length that takes nine bytes.
const LONG: u8 = u8::MAX;

/// How many bytes a length takes.
#[inline]
fn width(length: usize) -> usize {
    if length < usize::from(LONG) { 1 } else { 9 }
}

/// Writes `length` to as many bytes as it takes.
#[inline]
fn put_length(length: usize, room: &mut [u8]) {
    match room {
        [short] => *short = length as u8,
        [long, number @ ..] => {
            *long = LONG;
            number.copy_from_slice(&(length as u64).to_le_bytes());
        }
        [] => {}
    }
}

/// Appends a length.
fn push_length(out: &mut Vec<u8>, length: usize) {
    let start = out.len();
    out.resize(start + width(length), 0);
    put_length(length, &mut out[start..]);
}

/// Writes the length of the last item of `out`. The item is at `from` and reaches to the end; the
/// room for its length begins at `start` and reaches to `from`. If the length takes more or less
/// room, the item is moved. Returns where the item begins now.
#[inline]
pub(crate) fn close_item(out: &mut Vec<u8>, start: usize, from: usize) -> usize {
    let length = out.len() - from;
    let item = start + width(length);
    if item != from {
        out.reserve_exact(item.saturating_sub(from));
        out.resize(out.len().max(item + length), 0);
        out.copy_within(from..from + length, item);
        out.truncate(item + length);
    }
    put_length(length, &mut out[start..item]);
    item
}

/// Reads lengths, and the bytes that follow them, from the front of a slice.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    fn length(&mut self) -> Option<usize> {
        let &first = self.0.split_off_first()?;
        if first < LONG {
            return Some(first.into());
        }
        let number = self.0.split_off(..8)?.first_chunk()?;
        usize::try_from(u64::from_le_bytes(*number)).ok()
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.0.split_off(..length)
    }
}

/// The kind and the length of the payload at the front of `bytes`, and where the payload begins.
#[inline]
fn head(bytes: &[u8]) -> Decoded<(u8, usize)> {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if !matches!(kind, MESSAGE | VALUE) {
        return Err(Broken);
    }
    let mut reader = Reader(rest);
    match reader.length() {
        Some(length) if length <= LONGEST_FRAME_BYTES => {
            Ok(Some(((kind, length), bytes.len() - reader.0.len())))
        }
        None if rest.len() < width(LONGEST_FRAME_BYTES) => Ok(None),
        _ => Err(Broken),
    }
}

/// The kind and the payload at the front of `bytes`, and where the payload ends.
#[inline]
fn envelope(bytes: &[u8]) -> Decoded<(u8, &[u8])> {
    Ok(head(bytes)?.and_then(|((kind, length), begin)| {
        let payload = bytes[begin..].get(..length)?;
        Some(((kind, payload), begin + length))
    }))
}

/// How many bytes the frame or record at the front has in all, if its head has arrived.
pub(crate) fn announced(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    Ok(head(bytes)?.map(|((_, length), begin)| begin + length))
}

/// The beginning of an envelope: the message, to be followed by `length` more bytes.
fn message(written: postcard::Result<Vec<u8>>, length: usize) -> Vec<u8> {
    // (A message has nothing that the codec refuses.)
    let payload = written.unwrap_or_default();
    let mut out = Vec::with_capacity(payload.len() + 10);
    out.push(MESSAGE);
    push_length(&mut out, payload.len() + length);
    out.extend_from_slice(&payload);
    out
}

/// Which function runs, as offsets into the image: see `raw_call`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CodeRef {
    pub(crate) trampoline: u64,
    pub(crate) function: u64,
}

/// A batch without its items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub(crate) sequence: u64,
    pub(crate) code: CodeRef,
    pub(crate) count: u64,
    /// How many nanoseconds each item may run; the worker notes when it starts. 0: it need not.
    /// `u64::MAX`: there is no limit.
    pub(crate) limit: u64,
    /// The worker may begin the batch before it has sent its earlier records.
    pub(crate) brief: bool,
    /// The item has ends of channels: the worker reports when it has decoded them.
    pub(crate) ends: bool,
    /// The number of the batch's context; 0: it has none.
    pub(crate) context: u64,
}

/// Memory, or an array, that is sent ahead of the value that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyHead {
    pub(crate) id: u64,
    /// How many bytes it has in all.
    pub(crate) length: u64,
    /// 0: memory that never changes, to or from a plain worker. Otherwise an array for the next
    /// value, of numbers of this type (`raw_plain::Array::kind`).
    pub(crate) kind: u8,
}

/// What a worker learns first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The worker's place in its pool.
    pub(crate) index: u64,
    /// How much memory the worker may have; 0: there is no limit.
    pub(crate) memory: u64,
    /// The worker may write core files.
    pub(crate) cores: bool,
    /// The descriptors of the pages come with this frame.
    pub(crate) has_pages: bool,
    /// The most verbose level of the events that it is to send, from 1 (errors) to 5; 0: none.
    pub(crate) events: u8,
}

/// Make worker `index`. Its stream, its standard error and, if that is captured, its standard
/// output are the descriptors that come with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForkOrder {
    pub(crate) request: u64,
    pub(crate) index: u64,
    pub(crate) captures: bool,
    /// The processors that it may use; none: all that the server may use.
    pub(crate) processors: Vec<usize>,
    /// What its environment has besides the server's.
    pub(crate) variables: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A fork server's answer: the worker that was asked for is a child of the parent now, with this
/// process id. 0: it could not be made, because of `why`; and if `is_final`, none ever can.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ForkAnswer {
    pub(crate) request: u64,
    pub(crate) pid: u32,
    pub(crate) is_final: bool,
    pub(crate) why: String,
}

/// A message of a parent to its worker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Welcome {
        /// The name of its copy of this crate (`host::image`).
        copy: &'a [u8],
        terms: Terms,
    },
    /// A context, for the items of later batches.
    Context {
        id: u64,
        bytes: &'a [u8],
    },
    Batch {
        batch: BatchHead,
        /// The arrays that the items were encoded without (`lent_arrays::LentList`).
        lent: Vec<[u64; 3]>,
        items: &'a [u8],
    },
    /// To a plain worker: begin no more items of this batch, and report how many have begun;
    /// `cancel`: the running item is cancelled, too.
    Recall {
        sequence: u64,
        cancel: bool,
    },
    /// No more batches come with this context.
    Forget {
        id: u64,
    },
    /// The numbers of the descriptors that belong to the next frame. They come with the first byte
    /// of this one.
    Descriptors(Vec<u64>),
    /// The next bytes of memory or of an array, to which later frames refer (`copies`).
    Copy {
        of: CopyHead,
        bytes: &'a [u8],
    },
    /// The memory with these numbers need not stay mapped. A plain worker drops its copies, too: no
    /// later frame refers to them.
    Release(Vec<u64>),
    /// Wakes the worker: a frame is in the shared ring. On a stream it is for what forwards that:
    /// the worker only ends if its answers have no reader any more.
    Nudge,
    /// The descriptor of the memory for large arguments (`lent_arrays`) comes with its first
    /// byte.
    Home,
    Bye,
    /// Keep the memory with these numbers, which were among the last `Descriptors`, mapped until
    /// `Release`.
    Keep(Vec<u64>),
    /// To a plain worker: send the tree of its own tasks.
    Tree,
    /// What is to happen to items of the next batch (`crate::chaos`).
    Chaos(Vec<[u64; 3]>),
    /// To a fork server. The descriptors of [`ForkOrder`] come with the first byte.
    Fork(ForkOrder),
}

/// The most arrays that a value can be encoded without: as many as a worker lends at a time if it
/// lends all of its area in the shortest pieces (16 KiB).
pub(crate) const MOST_LENT: usize = AREA >> 14;

/// A message of a worker to its parent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// The name of its copy of this crate.
    Hello {
        copy: &'a [u8],
    },
    Panic {
        message: String,
        place: Option<(String, u32, u32)>,
    },
    Codec {
        of: CodecOf,
        detail: String,
    },
    /// The batch has ended: how many items have begun, and how long it took.
    End {
        sequence: u64,
        begun: u64,
        nanos: u64,
    },
    /// From a plain worker: the next item begins.
    Begun,
    /// From a plain worker, in answer to `Frame::Recall`: it begins only the first `end` items of
    /// that batch.
    Recalled {
        sequence: u64,
        end: u64,
    },
    /// The worker wants to be replaced, and begins no more items of this batch: because an item has
    /// asked for that, or because it holds too much memory.
    Retire {
        asked: bool,
    },
    /// The numbers of the descriptors that belong to the next value. They come with the first byte
    /// of this record.
    Descriptors(Vec<u64>),
    /// The next bytes of memory (from a plain worker) or of an array to which the next value
    /// refers, as in `Frame::Copy`.
    Copy {
        of: CopyHead,
        bytes: &'a [u8],
    },
    /// The worker has opened the ends of channels that came with the item: the parent need not keep
    /// its copies.
    Taken,
    /// The arrays that the next value was encoded without (`lent_arrays`).
    Lent(Vec<[u64; 3]>),
    /// Before the hello of a plain worker that a launcher has started: the descriptor that came
    /// with the welcome has arrived, so nothing is between this end of the stream and the parent's.
    Direct,
    /// Something for the parent's subscriber. From a worker that is not plain it comes through a
    /// pipe of its own.
    Event(Event<'a>),
    /// The tree of its own tasks, as text and as JSON. From a worker that is not plain it comes
    /// through its bell.
    Tree {
        text: &'a str,
        json: &'a str,
    },
    /// The item has ended, after so many nanoseconds, which is more than it may run.
    Late {
        nanos: u64,
    },
    /// From a fork server.
    Forked(ForkAnswer),
    /// The worker holds too much memory and wants to be replaced, but not so much that it could not
    /// run more items until then.
    Heavy,
}

impl Record<'_> {
    /// The record as it is sent. (A value is written in place: [`VALUE_KIND`], [`value_head`].)
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.head(0)
    }
}

/// A message for the parent's subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// What it reports (`observe::forward_events`).
    pub(crate) kind: u8,
    /// The batch that ran, and how many of its items had begun.
    pub(crate) at: (u64, u64),
    /// How many events were dropped since the last message.
    pub(crate) dropped: u64,
    /// The number of the span in question, and of the one around it or around the event; 0: none.
    pub(crate) span: u64,
    pub(crate) parent: u64,
    /// From 1 (an error) to 5.
    pub(crate) level: u8,
    pub(crate) line: u32,
    pub(crate) file: &'a str,
    pub(crate) target: &'a str,
    /// The message of an event, or the name of a span.
    pub(crate) text: &'a str,
    /// All other fields, as text.
    pub(crate) fields: &'a str,
}

/// What could not be decoded or encoded in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodecOf {
    Argument,
    Result,
    Context,
}

/// The kind of a value's record, for the code that writes one in place.
pub(crate) const VALUE_KIND: u8 = VALUE;

/// The bytes of [`Record::Begun`]: a plain worker sends one for each item.
pub(crate) const BEGUN: [u8; 3] = [MESSAGE, 1, 4];

/// The value at the front of `bytes`, if it is complete, and where it ends. (Almost all records are
/// small values.)
#[inline]
pub(crate) fn value(bytes: &[u8]) -> Option<(&[u8], usize)> {
    match envelope(bytes) {
        Ok(Some(((VALUE, value), end))) => Some((value, end)),
        _ => None,
    }
}

/// The bytes before the bytes of a value.
pub(crate) fn value_head(length: usize) -> Vec<u8> {
    let mut head = vec![VALUE];
    push_length(&mut head, length);
    head
}

/// Reads the next field of a message.
fn field<'a, T: Deserialize<'a>>(from: &mut Fields<'a>) -> Result<T, Broken> {
    T::deserialize(from).map_err(|_| Broken)
}

/// `NUMBER Kind { fields } + bytes` for each kind, where `bytes` are not a field: they follow.
/// `NUMBER Kind(list; MOST)`: the list has at most `MOST` elements.
macro_rules! kinds {
    ($message:ident: $(
        $number:literal $kind:ident
            $({ $($field:ident),+ } $(+ $bytes:ident)?)?
            $(($content:ident $(; $most:expr)?))?,
    )+) => {
        impl<'a> $message<'a> {
            /// The message as it is sent; the `length` bytes that are not a field follow.
            pub(crate) fn head(&self, length: usize) -> Vec<u8> {
                message(self.written(), length)
            }

            /// The number and the fields.
            fn written(&self) -> postcard::Result<Vec<u8>> {
                let mut to = postcard::Serializer { output: StdVec::new() };
                match self {
                    $(Self::$kind $({ $($field,)+ $($bytes: _)? })? $(($content))? => {
                        ($number as u8).serialize(&mut to)?;
                        $($($field.serialize(&mut to)?;)+)?
                        $($content.serialize(&mut to)?;)?
                    })+
                }
                to.output.finalize()
            }

            /// The message at the front of `bytes`, and where it ends; `None` if it is incomplete.
            pub(crate) fn decode(bytes: &'a [u8]) -> Decoded<Self> {
                match envelope(bytes)? {
                    None => Ok(None),
                    Some(((MESSAGE, payload), end)) => Ok(Some((Self::read(payload)?, end))),
                    Some(_) => Err(Broken),
                }
            }

            fn read(payload: &'a [u8]) -> Result<Self, Broken> {
                let (number, fields) = payload.split_first().ok_or(Broken)?;
                let mut from = Fields::from_bytes(fields);
                match number {
                    $($number => {
                        $($(
                            let count: usize = field(&mut Fields::from_bytes(fields))?;
                            if count > $most {
                                return Err(Broken);
                            }
                        )?)?
                        $($(let $field = field(&mut from)?;)+)?
                        $(let $content = field(&mut from)?;)?
                        $($(let $bytes = from.finalize().map_err(|_| Broken)?;)?)?
                        Ok(Self::$kind $({ $($field,)+ $($bytes)? })? $(($content))?)
                    })+
                    _ => Err(Broken),
                }
            }
        }
    };
}

kinds! { Frame:
    0 Welcome { copy, terms },
    1 Context { id } + bytes,
    2 Batch { batch, lent } + items,
    3 Recall { sequence, cancel },
    4 Forget { id },
    5 Descriptors(numbers),
    6 Copy { of } + bytes,
    7 Release(numbers),
    8 Nudge,
    9 Home,
    10 Bye,
    11 Keep(numbers),
    12 Tree,
    13 Chaos(plan),
    14 Fork(order),
}

kinds! { Record:
    0 Hello { copy },
    1 Panic { message, place },
    2 Codec { of, detail },
    3 End { sequence, begun, nanos },
    4 Begun,
    5 Recalled { sequence, end },
    6 Retire { asked },
    7 Descriptors(numbers; handover::MOST_DESCRIPTORS),
    8 Copy { of } + bytes,
    9 Taken,
    10 Lent(arrays; MOST_LENT), // (11 is free)
    12 Direct,
    13 Event(event),
    14 Tree { text, json },
    15 Late { nanos },
    16 Forked(answer),
    17 Heavy,
}

/// The fields of a type that is a field, in order.
macro_rules! fields {
    ($($name:ident $(<$de:lifetime>)? { $($field:ident),+ })+) => { $(
        impl $(<$de>)? serde::Serialize for $name $(<$de>)? {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                ($(&self.$field,)+).serialize(to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name $(<$de>)? {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let ($($field,)+) = serde::Deserialize::deserialize(from)?;
                Ok(Self { $($field),+ })
            }
        }
    )+ };
}

fields! {
    BatchHead { sequence, code, count, limit, brief, ends, context }
    CodeRef { trampoline, function }
    CopyHead { id, length, kind }
    Terms { index, memory, cores, has_pages, events }
    ForkOrder { request, index, captures, processors, variables }
    ForkAnswer { request, pid, is_final, why }
    Event<'de> { kind, at, dropped, span, parent, level, line, file, target, text, fields }
}

impl Serialize for CodecOf {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (*self as u8).serialize(to)
    }
}

impl<'de> Deserialize<'de> for CodecOf {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u8::deserialize(from)? {
            0 => Ok(Self::Argument),
            1 => Ok(Self::Result),
            2 => Ok(Self::Context),
            _ => Err(serde::de::Error::custom("no such part of a call")),
        }
    }
}
