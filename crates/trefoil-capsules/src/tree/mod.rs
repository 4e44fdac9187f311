//! A value as a tree of serde's data model, which can be made smaller.
//!
//! It keeps what a decoder may ask for: names of structs, variants and fields, and which number has
//! which width. Bytes in a row are one part of the tree, because a row of forty million of them
//! is an argument like any other.
//!
//! **Bounds.** A tree comes from a file, which may be forged: it has at most [`MOST_PARTS`] parts,
//! [`MOST_BYTES`] bytes of text and bytes, and [`DEEPEST`] levels, and everything that works on one
//! is linear in its size and recursive in its depth.
//!
//! Tests: `writer.rs`,
//! `crates/trefoil-capsules/tests/capsules/main.rs::damaged_and_foreign_files_are_refused`.

mod literal;
mod reader;
mod writer;

use std::hash::{Hash, Hasher};

pub(crate) use reader::{Variants, read};
pub(crate) use writer::write;

/// The deepest tree. The thread that shrinks has a stack for it.
pub(crate) const DEEPEST: usize = 2000;
/// How many parts a tree may have.
pub(crate) const MOST_PARTS: usize = 1 << 23;
/// How many bytes its text and its byte strings may have.
pub(crate) const MOST_BYTES: usize = 1 << 30;

/// A part of a value, with what is in it.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Bool(bool),
    Integer(Integer),
    F32(f32),
    F64(f64),
    Char(char),
    Text(String),
    /// A byte string.
    Bytes(Vec<u8>),
    None,
    Some(Box<Tree>),
    Unit,
    UnitStruct(&'static str),
    NewType(Box<(&'static str, Tree)>),
    Row(Vec<Tree>),
    /// A row of `u8`.
    Octets(Vec<u8>),
    Tuple(Vec<Tree>),
    TupleStruct(Box<(&'static str, Vec<Tree>)>),
    Map(Vec<(Tree, Tree)>),
    Struct(Box<(&'static str, Fields)>),
    Variant(Box<Variant>),
}

pub(crate) type Fields = Vec<(&'static str, Tree)>;

/// One of an enum's.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) of: &'static str,
    pub(crate) index: u32,
    pub(crate) name: &'static str,
    pub(crate) holds: Holds,
}

#[derive(Clone, Debug)]
pub(crate) enum Holds {
    Nothing,
    One(Tree),
    Tuple(Vec<Tree>),
    Fields(Fields),
}

/// An integer and its type. (Those of 128 bits are boxed, so that a tree takes three words.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Integer {
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(Box<u128>),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    I128(Box<i128>),
}

impl Integer {
    /// Whether it is negative, and how far it is from 0.
    pub(crate) fn parts(&self) -> (bool, u128) {
        let signed = |n: i128| (n < 0, n.unsigned_abs());
        match self {
            Self::U8(n) => (false, (*n).into()),
            Self::U16(n) => (false, (*n).into()),
            Self::U32(n) => (false, (*n).into()),
            Self::U64(n) => (false, (*n).into()),
            Self::U128(n) => (false, **n),
            Self::I8(n) => signed((*n).into()),
            Self::I16(n) => signed((*n).into()),
            Self::I32(n) => signed((*n).into()),
            Self::I64(n) => signed((*n).into()),
            Self::I128(n) => signed(**n),
        }
    }

    /// Another number of the same type, if it has that.
    pub(crate) fn with(&self, is_negative: bool, size: u128) -> Option<Self> {
        let unsigned = || Some(size).filter(|n| !is_negative || *n == 0);
        let signed = || match is_negative {
            false => i128::try_from(size).ok(),
            true => 0i128.checked_sub_unsigned(size),
        };
        Some(match self {
            Self::U8(_) => Self::U8(unsigned()?.try_into().ok()?),
            Self::U16(_) => Self::U16(unsigned()?.try_into().ok()?),
            Self::U32(_) => Self::U32(unsigned()?.try_into().ok()?),
            Self::U64(_) => Self::U64(unsigned()?.try_into().ok()?),
            Self::U128(_) => Self::U128(unsigned()?.into()),
            Self::I8(_) => Self::I8(signed()?.try_into().ok()?),
            Self::I16(_) => Self::I16(signed()?.try_into().ok()?),
            Self::I32(_) => Self::I32(signed()?.try_into().ok()?),
            Self::I64(_) => Self::I64(signed()?.try_into().ok()?),
            Self::I128(_) => Self::I128(signed()?.into()),
        })
    }
}

/// How large a value is: by what it holds first, then by its numbers and letters. Each candidate is
/// smaller than what it is made from, so every search ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Weight {
    pub(crate) parts: u64,
    scalars: u128,
}

impl Weight {
    fn add(&mut self, parts: u64, scalars: u128) {
        self.parts += parts;
        self.scalars = self.scalars.saturating_add(scalars);
    }
}

/// A letter's place in the order in which they are tried: the first is the plainest.
pub(crate) fn letter_rank(letter: char) -> u128 {
    match letter {
        'a' => 0,
        letter => u128::from(u32::from(letter)) + 1,
    }
}

/// The same for a fraction.
fn float_rank(n: f64) -> u128 {
    let sign = u128::from(n.is_sign_negative() && !n.is_nan());
    if !n.is_finite() {
        return (1 << 90) + sign;
    }
    if n.trunc() == n {
        // (Saturating, as casts of the language are.)
        return (n.abs() as u128).saturating_mul(2).min(1 << 89) + sign;
    }
    // A fraction is longer than any integer of its kind, and one with fewer digits is shorter.
    (1 << 70) + ((n.to_string().len() as u128) << 4) + sign
}

impl Tree {
    /// The parts of it, in order, that can be replaced.
    pub(crate) fn children(&self) -> Vec<&Tree> {
        match self {
            Self::Some(inner) => vec![&**inner],
            Self::NewType(all) => vec![&all.1],
            Self::Row(all) | Self::Tuple(all) => all.iter().collect(),
            Self::TupleStruct(all) => all.1.iter().collect(),
            Self::Map(all) => all.iter().flat_map(|(key, value)| [key, value]).collect(),
            Self::Struct(all) => all.1.iter().map(|(_, value)| value).collect(),
            Self::Variant(all) => match &all.holds {
                Holds::Nothing => Vec::new(),
                Holds::One(one) => vec![one],
                Holds::Tuple(all) => all.iter().collect(),
                Holds::Fields(all) => all.iter().map(|(_, value)| value).collect(),
            },
            _ => Vec::new(),
        }
    }

    /// The part with this number among [`children`](Self::children).
    pub(crate) fn child_mut(&mut self, at: usize) -> Option<&mut Tree> {
        match self {
            Self::Some(inner) if at == 0 => Some(inner),
            Self::NewType(all) if at == 0 => Some(&mut all.1),
            Self::Row(all) | Self::Tuple(all) => all.get_mut(at),
            Self::TupleStruct(all) => all.1.get_mut(at),
            Self::Map(all) => {
                let (key, value) = all.get_mut(at / 2)?;
                Some(if at.is_multiple_of(2) { key } else { value })
            }
            Self::Struct(all) => Some(&mut all.1.get_mut(at)?.1),
            Self::Variant(all) => match &mut all.holds {
                Holds::One(one) if at == 0 => Some(one),
                Holds::Tuple(all) => all.get_mut(at),
                Holds::Fields(all) => Some(&mut all.get_mut(at)?.1),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn child(&self, at: usize) -> Option<&Tree> {
        match self {
            Self::Row(all) | Self::Tuple(all) => all.get(at),
            _ => self.children().get(at).copied(),
        }
    }

    /// The part at the end of a path of numbers.
    pub(crate) fn at(&self, path: &[usize]) -> Option<&Tree> {
        path.iter().try_fold(self, |tree, at| tree.child(*at))
    }

    /// A copy in which that part is another one.
    pub(crate) fn with(&self, path: &[usize], part: Tree) -> Option<Tree> {
        let mut copy = self.clone();
        let mut place = &mut copy;
        for at in path {
            place = place.child_mut(*at)?;
        }
        *place = part;
        Some(copy)
    }

    pub(crate) fn weight(&self) -> Weight {
        let mut weight = Weight::default();
        self.weigh(&mut weight);
        weight
    }

    fn weigh(&self, weight: &mut Weight) {
        let bytes = |bytes: &[u8]| bytes.iter().map(|byte| u128::from(*byte)).sum();
        match self {
            Self::Bool(set) => weight.add(0, u128::from(*set)),
            Self::Integer(integer) => {
                let (is_negative, size) = integer.parts();
                let scalars = size.saturating_mul(2).saturating_add(is_negative.into());
                weight.add(0, scalars);
            }
            Self::F32(n) => weight.add(0, float_rank((*n).into())),
            Self::F64(n) => weight.add(0, float_rank(*n)),
            Self::Char(letter) => weight.add(0, letter_rank(*letter)),
            Self::Text(text) => {
                for letter in text.chars() {
                    weight.add(1, letter_rank(letter));
                }
            }
            Self::Bytes(all) | Self::Octets(all) => weight.add(all.len() as u64, bytes(all)),
            Self::Some(_) => weight.add(1, 0),
            Self::Row(all) => weight.add(all.len() as u64, 0),
            Self::Map(all) => weight.add(all.len() as u64, 0),
            Self::Variant(all) => weight.add(1, all.index.into()),
            _ => {}
        }
        match self {
            Self::Row(all) | Self::Tuple(all) => all.iter().for_each(|part| part.weigh(weight)),
            _ => self
                .children()
                .into_iter()
                .for_each(|part| part.weigh(weight)),
        }
    }

    /// The plainest value of the same shape: nothing in rows, texts and options, zeros elsewhere.
    pub(crate) fn plainest(&self) -> Tree {
        let all = |parts: &[Tree]| parts.iter().map(Tree::plainest).collect();
        let fields = |fields: &Fields| {
            let plain = fields.iter().map(|(name, value)| (*name, value.plainest()));
            plain.collect::<Fields>()
        };
        match self {
            Self::Bool(_) => Self::Bool(false),
            Self::Integer(integer) => {
                let zero = integer.with(false, 0).unwrap_or_else(|| integer.clone());
                Self::Integer(zero)
            }
            Self::F32(_) => Self::F32(0.0),
            Self::F64(_) => Self::F64(0.0),
            Self::Char(_) => Self::Char('a'),
            Self::Text(_) => Self::Text(String::new()),
            Self::Bytes(_) => Self::Bytes(Vec::new()),
            Self::Octets(_) => Self::Octets(Vec::new()),
            Self::Row(_) => Self::Row(Vec::new()),
            Self::Map(_) => Self::Map(Vec::new()),
            Self::None | Self::Some(_) => Self::None,
            Self::Unit | Self::UnitStruct(_) => self.clone(),
            Self::NewType(one) => Self::NewType(Box::new((one.0, one.1.plainest()))),
            Self::Tuple(parts) => Self::Tuple(all(parts)),
            Self::TupleStruct(parts) => Self::TupleStruct(Box::new((parts.0, all(&parts.1)))),
            Self::Struct(parts) => Self::Struct(Box::new((parts.0, fields(&parts.1)))),
            Self::Variant(one) => {
                let holds = match &one.holds {
                    Holds::Nothing => Holds::Nothing,
                    Holds::One(one) => Holds::One(one.plainest()),
                    Holds::Tuple(parts) => Holds::Tuple(all(parts)),
                    Holds::Fields(parts) => Holds::Fields(fields(parts)),
                };
                let (of, index, name) = (one.of, one.index, one.name);
                Self::Variant(Box::new(Variant {
                    of,
                    index,
                    name,
                    holds,
                }))
            }
        }
    }
}

/// Values that look the same have the same hash.
impl Hash for Tree {
    fn hash<H: Hasher>(&self, to: &mut H) {
        std::mem::discriminant(self).hash(to);
        match self {
            Self::Bool(set) => set.hash(to),
            Self::Integer(integer) => integer.hash(to),
            Self::F32(n) => n.to_bits().hash(to),
            Self::F64(n) => n.to_bits().hash(to),
            Self::Char(letter) => letter.hash(to),
            Self::Text(text) => text.hash(to),
            Self::Bytes(all) | Self::Octets(all) => all.hash(to),
            Self::Variant(one) => one.name.hash(to),
            Self::Row(all) => all.len().hash(to),
            Self::Map(all) => all.len().hash(to),
            _ => {}
        }
        match self {
            Self::Row(all) | Self::Tuple(all) => all.iter().for_each(|part| part.hash(to)),
            _ => self.children().into_iter().for_each(|part| part.hash(to)),
        }
    }
}
