//! How messages are written: the number of the kind in one byte, and the fields in order, each as
//! postcard writes it.
//!
//! Serde's derive would write the same bytes; but every program with worker processes would have to
//! compile it. A new kind comes last, with the next number.

use postcard::to_stdvec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    BatchHead, Broken, CodeRef, CodecOf, CopyHead, Event, Frame, MOST_LENT, Record, ServedContext,
};
use crate::process::host::handover;

/// Reads what is at the front of `bytes`, and returns the rest.
fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Broken> {
    postcard::take_from_bytes(bytes).map_err(|_| Broken)
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
            /// The number and the fields.
            pub(super) fn written(&self) -> postcard::Result<Vec<u8>> {
                match self {
                    $(Self::$kind $({ $($field,)+ $($bytes: _)? })? $(($content))? => {
                        to_stdvec(&($number as u8, $($($field,)+)? $($content)?))
                    })+
                }
            }

            /// The message, and what follows its fields.
            pub(super) fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Broken> {
                let (number, bytes) = bytes.split_first().ok_or(Broken)?;
                match number {
                    $($number => {
                        $($(
                            let (count, _) = take::<usize>(bytes)?;
                            if count > $most {
                                return Err(Broken);
                            }
                        )?)?
                        let (($($($field,)+)? $($content,)?), rest) = take(bytes)?;
                        Ok((Self::$kind $({ $($field,)+ $($bytes: &[])? })? $(($content))?, rest))
                    })+
                    _ => Err(Broken),
                }
            }
        }
    };
}

kinds! { Frame:
    0 Welcome { copy, index, memory, cores, has_pages, events },
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
    11 Share { id, from },
    12 Keep(numbers),
    13 Tree,
    14 Chaos(plan),
}

kinds! { Record:
    0 Hello { copy },
    1 Panic { message, place },
    2 Codec { of, detail },
    3 End { sequence, begun, nanos },
    4 Begun,
    5 Recalled { sequence, end },
    6 Retire { asked },
    7 Descriptors(numbers; handover::MOST),
    8 Copy { of } + bytes,
    9 Taken,
    10 Lent(arrays; MOST_LENT),
    11 Serves { id, served },
    12 Direct,
    13 Event(event),
    14 Tree { text, json },
    15 Late { nanos },
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
pub(in crate::process) use fields;

fields! {
    BatchHead { sequence, code, count, limit, brief, ends, context }
    CodeRef { trampoline, function }
    CopyHead { id, length, kind }
    Event<'de> { kind, at, dropped, span, parent, level, line, file, target, text, fields }
    ServedContext { place, hash }
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
