//! Large arrays outside the frames: the memory in which they are lent, and how long each block is
//! kept.
//!
//! **Job.** The numbers of a large [`Bulk`](crate::process::Bulk), or of a vector that is the whole
//! argument or result, are not part of the encoded bytes: an empty byte string takes their place,
//! and the numbers are in memory that both processes have mapped. A list travels with the bytes
//! ([`Lent`]): where numbers are missing, and where they are in that memory. Only the encoder of a
//! call writes such a list (`scope`), and nothing in the bytes is ever taken for one.
//!
//! **Protocol.** The sender copies the numbers into a block of its memory ([`SharedBuffer`],
//! `pages::raw_arena`) and keeps the block until the receiver has decoded the value.
//! 1. *Arguments.* The pool's memory is made when something is first lent. The block is kept as
//!    long as the encoded argument (`chunk`), because the item may be sent again, to any worker.
//!    The parent keeps the chunk of a frame until it has received `End`, or the worker is gone. A
//!    worker gets the descriptor with the frame `Home`, before the first frame that has a list.
//! 2. *Results.* A worker lends in the area of its ledger; a record `Lent` before the value has the
//!    list. The block is *due* at the position in the worker's output stream at which the value's
//!    record ends. The parent reports up to which position it has processed everything ([`took`]),
//!    and the worker drops the blocks that were due until there ([`Due`]).
//! 3. An array from `limits::AHEAD_FROM` on that finds no room, or that cannot be lent because the
//!    worker is plain, is sent ahead of the value (`copies`): its entry in the list has the number
//!    under which it comes. All others travel in the bytes.
//!
//! **Invariants.**
//! - **W50** Numbers that were lent are copied before any other code sees them, out of memory that
//!   has the length that is asked for, and whatever is there then (W52). (Those that were sent
//!   ahead are in memory of this process.) A worker's list names pieces of its area, together no
//!   longer than that ([`Lending::set`]). So a wrong list gives an error or other numbers, and
//!   nothing worse.
//! - **W51** A worker's block is dropped only after the parent has processed the record that names
//!   it. (Release in `took`, Acquire in `release`.)
//!
//! **Bounds.** One block has at most `arena::MAX_BLOCK`, 64 MiB. At a time, at most
//! [`arena::CAPACITY`] bytes of a pool's arguments, and [`AREA`] bytes of a worker's results. Of
//! each, [`arena::KEPT`] bytes are kept when nothing is lent.
//!
//! Tests: below; `tests/process/bulk.rs`; `tests/trefoil-checks/tests/shared_buffer_models.rs`
//! (under loom); `pages::raw_arena`, `pages::raw_ledger`. Rejected:
//! `docs/internals/decisions/bulk-homes.md`.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::attachments::AttachedFile;
use super::copies::{Copies, CopySource};
use super::raw_plain::{Array, Plain, numbers_from, numbers_in, numbers_of};
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::process::limits::LEND_FROM;
use crate::process::pages::raw_arena::{self as arena, Arena, Block};
use crate::process::pages::raw_ledger::AREA;
use crate::process::wire::{self, Broken};
use crate::sys::descriptor::AsFile;
use crate::sys::fork;
use trefoil_os::host::mapping::{Access, Mapping};

/// Numbers that were left out of their encoded value.
#[derive(Debug)]
pub(crate) struct Lent {
    /// How many bytes come before them.
    pub(crate) at: usize,
    pub(crate) length: usize,
    pub(crate) place: ArrayPlace,
}

/// Where the numbers are that were left out.
#[derive(Debug)]
pub(crate) enum ArrayPlace {
    /// In shared memory, which a worker maps with this descriptor.
    Block(Block, Option<Arc<AttachedFile>>),
    /// They are sent ahead, under this number.
    Ahead(u64, Arc<dyn Array>),
}

impl Lent {
    /// Numbers that are sent ahead.
    pub(crate) fn ahead(at: usize, array: Box<dyn Array>) -> Self {
        Self {
            at,
            length: array.bytes().len(),
            place: ArrayPlace::Ahead(AttachedFile::number(), array.into()),
        }
    }

    /// The number and the source of what is sent ahead.
    pub(crate) fn sent_ahead(&self) -> Option<(u64, CopySource)> {
        match &self.place {
            ArrayPlace::Block(..) => None,
            ArrayPlace::Ahead(id, array) => Some((*id, CopySource::Array(array.clone()))),
        }
    }

    /// The numbers to be sent ahead, wherever they are, and their entry in the list, for bytes that
    /// begin at `skipped`.
    pub(crate) fn apart(&self, skipped: usize) -> Result<([u64; 3], CopySource), &'static str> {
        let (id, source) = match &self.place {
            ArrayPlace::Ahead(id, array) => (*id, CopySource::Array(array.clone())),
            ArrayPlace::Block(_, None) => return Err("it is lent by another process"),
            ArrayPlace::Block(block, Some(home)) => {
                let view = View::Blocks(home.clone());
                let bytes: Vec<u8> = view
                    .piece([block.offset() as u64, self.length as u64])?
                    .numbers()?;
                (AttachedFile::number(), CopySource::Array(Arc::new(bytes)))
            }
        };
        Ok(([(self.at - skipped) as u64, id, AHEAD], source))
    }

    /// Its entry in the list that travels, for bytes that begin at `skipped`.
    pub(crate) fn numbers(&self, skipped: usize) -> [u64; 3] {
        let at = (self.at - skipped) as u64;
        match &self.place {
            ArrayPlace::Block(block, _) => [at, block.offset() as u64, self.length as u64],
            ArrayPlace::Ahead(id, _) => [at, *id, AHEAD],
        }
    }
}

/// In place of a length (what is lent is never empty): the numbers are sent ahead.
const AHEAD: u64 = 0;

/// Shared memory, and its descriptor if that travels.
type Memory = (Arc<Arena>, Option<Arc<AttachedFile>>);

/// The memory that a pool lends its arguments in, or a worker its results.
#[derive(Debug)]
pub(crate) struct SharedBuffer {
    /// Empty until the memory is made; `None`: the system gave none.
    memory: OnceLock<Option<Memory>>,
    /// The fork generation of the process that it belongs to.
    born: u32,
}

impl SharedBuffer {
    /// For a pool: no memory until it is needed.
    pub(crate) fn new() -> Self {
        fork::register_handler();
        Self {
            memory: OnceLock::new(),
            born: fork::generation(),
        }
    }

    /// For a worker.
    pub(crate) fn over(arena: Option<Arena>) -> Self {
        let buffer = Self::new();
        let memory = arena.map(|arena| (Arc::new(arena), None));
        let _ = buffer.memory.set(memory);
        buffer
    }

    /// Copies `bytes`, which are left out after `at` bytes, to shared memory; `None`: there is no
    /// room.
    pub(crate) fn lend(&self, bytes: &[u8], at: usize) -> Option<Lent> {
        if self.born != fork::generation() {
            return None; // the process may have been forked while another thread made the memory
        }
        let make = || {
            let (home, reader) = Arena::new().ok()?;
            Some((Arc::new(home), Some(AttachedFile::new(reader))))
        };
        let (home, attachment) = self.memory.get_or_init(make).as_ref()?;
        Some(Lent {
            at,
            length: bytes.len(),
            place: ArrayPlace::Block(home.lend(bytes)?, attachment.clone()),
        })
    }
}

/// The blocks that a worker has lent and not got back, and where each is due.
pub(crate) struct Due<T>(VecDeque<(u64, T)>);

impl<T> Due<T> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The record that names `block` ends at `position`.
    pub(crate) fn push(&mut self, position: u64, block: T) {
        self.0.push_back((position, block));
    }

    /// Drops the blocks that are due up to the position in `taken`.
    pub(crate) fn release(&mut self, taken: &AtomicU64) {
        while let Some((position, _)) = self.0.front()
            && *position <= taken.load(Ordering::Acquire)
        {
            self.0.pop_front();
        }
    }
}

/// For the parent: everything before `position` in the worker's stream has been processed, and what
/// was lent with it has been copied.
#[inline]
pub(crate) fn took(taken: &AtomicU64, position: u64) {
    taken.store(position, Ordering::Release);
}

/// Whether `bytes` are worth lending.
#[inline]
pub(crate) fn is_large(bytes: &[u8]) -> bool {
    bytes.len() >= LEND_FROM
}

const NOT_WHOLE: &str = "its bytes are not a whole number of elements";

const OUTSIDE: &str = "its position is outside the shared memory";

/// How this process reads the memory that another one lends.
pub(crate) enum View {
    /// A mapping that contains it, from this offset on.
    Mapped(Arc<Mapping>, usize),
    /// There was no address space for all of it, so each block is mapped separately.
    Blocks(Arc<AttachedFile>),
}

impl View {
    /// For the memory with this descriptor.
    pub(crate) fn of(home: Arc<AttachedFile>) -> Arc<Self> {
        let whole = Mapping::new(home.as_file(), 0..arena::CAPACITY, Access::Read);
        Arc::new(match whole {
            Ok(whole) => Self::Mapped(Arc::new(whole), 0),
            Err(_) => Self::Blocks(home),
        })
    }

    /// The piece at this offset and of this length.
    fn piece(&self, place: [u64; 2]) -> Result<Found<'static>, &'static str> {
        let count = |n| usize::try_from(n).unwrap_or(usize::MAX);
        let (offset, length) = (count(place[0]), count(place[1]));
        let (mapping, start) = match self {
            Self::Mapped(mapping, start) => (mapping.clone(), start.saturating_add(offset)),
            Self::Blocks(home) => {
                let end = offset.saturating_add(length).saturating_add(7) & !7;
                let block = Mapping::new(home.as_file(), offset..end, Access::Read);
                let why = "this process could not map the shared memory that contains it";
                (Arc::new(block.map_err(|_| why)?), 0)
            }
        };
        Ok(Found::Lent(mapping, start, length))
    }
}

/// For each missing array: after how many bytes it is missing; and at which offset of the shared
/// memory it is, and how many bytes it has, or, if it was sent ahead, its number and 0.
pub(crate) type LentList = Vec<[u64; 3]>;

/// In the parent: which arrays are missing in a worker's next value, and how its memory is read.
#[derive(Default)]
pub(crate) struct Lending {
    pub(crate) list: LentList,
    pub(crate) view: Option<Arc<View>>,
}

/// The most pieces that count as few.
const MAX_INLINE: usize = 16;

impl Lending {
    /// The next value has these arrays. An error if they are not what a worker can have lent at a
    /// time: pieces of its area, together no longer than that. (Otherwise a few bytes could stand
    /// for any amount of memory here.)
    pub(crate) fn set(&mut self, list: LentList) -> Result<(), Broken> {
        let mut sum = 0u64;
        for [_, from, length] in &list {
            sum = sum.saturating_add(*length);
            let is_outside = *length != AHEAD && from.saturating_add(*length) > AREA as u64;
            if is_outside || sum > AREA as u64 {
                return Err(Broken);
            }
        }
        self.list = list;
        Ok(())
    }

    /// Whether the next value has at most `bytes` of missing numbers, in few pieces, all of them
    /// lent.
    pub(crate) fn is_within(&self, bytes: usize) -> bool {
        let few = self.list.iter().take(MAX_INLINE);
        let sum = few.fold(0, |sum: u64, piece| match piece[2] {
            AHEAD => u64::MAX,
            length => sum.saturating_add(length),
        });
        self.list.len() <= MAX_INLINE && sum <= bytes as u64
    }

    /// What is missing in the value at the front of `bytes`, for the thread that decodes it.
    pub(crate) fn missing(&self, bytes: &[u8], copies: &mut Copies) -> Option<Missing> {
        let (value, _) = wire::value(bytes)?;
        Missing::new(&self.list, value, self.view.as_ref(), copies)
    }
}

/// The arrays that are missing in some bytes.
pub(crate) struct Missing {
    /// `None`: the descriptor has not arrived.
    view: Option<Arc<View>>,
    pieces: Vec<MissingPiece>,
}

struct MissingPiece {
    /// The address after which it is missing.
    at: u64,
    from: MissingSource,
    was_read: bool,
    is_kept: bool,
}

enum MissingSource {
    /// The place in the view, and the length.
    View([u64; 2]),
    Ahead(Result<Box<dyn Array>, String>),
}

/// A missing array, found.
enum Found<'a> {
    /// In a mapping of the shared memory, from this offset on, with this length.
    Lent(Arc<Mapping>, usize, usize),
    Kept(&'a dyn Array),
    Ahead(Box<dyn Array>),
}

impl Found<'_> {
    fn numbers<T: Plain>(self) -> Result<Vec<T>, &'static str> {
        let numbers = match self {
            Self::Lent(mapping, offset, length) => {
                let words = mapping.words(offset, length);
                numbers_from(words.ok_or(OUTSIDE)?, length)
            }
            Self::Kept(array) => numbers_of(array.bytes()),
            Self::Ahead(array) => numbers_in(array),
        };
        numbers.ok_or(NOT_WHOLE)
    }
}

impl Missing {
    /// The arrays in `list`, whose positions count from the beginning of `bytes`. Those that were
    /// sent ahead are moved out of `copies`.
    pub(crate) fn new(
        list: &[[u64; 3]],
        bytes: &[u8],
        view: Option<&Arc<View>>,
        copies: &mut Copies,
    ) -> Option<Self> {
        let start = bytes.as_ptr().addr() as u64;
        let piece = |[at, place, length]: &[u64; 3]| MissingPiece {
            at: start.wrapping_add(*at),
            from: match *length {
                AHEAD => MissingSource::Ahead(copies.claim(*place)),
                length => MissingSource::View([*place, length]),
            },
            was_read: false,
            is_kept: false,
        };
        (!list.is_empty()).then(|| Self {
            view: view.cloned(),
            pieces: list.iter().map(piece).collect(),
        })
    }

    /// How many bytes of them are in this process's own memory.
    pub(crate) fn here(&self) -> u64 {
        let bytes = self.pieces.iter().map(|piece| match &piece.from {
            MissingSource::Ahead(Ok(array)) => array.bytes().len() as u64,
            MissingSource::Ahead(Err(_)) | MissingSource::View(_) => 0,
        });
        bytes.sum()
    }

    /// The decoder keeps the empty string `bytes` to look at it again: `serde` tries each variant
    /// of an untagged enum. So the numbers that are missing there are copied each time.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        let at = bytes.as_ptr_range().end.addr() as u64;
        let pieces = self.pieces.iter_mut().filter(|piece| piece.at == at);
        pieces.for_each(|piece| piece.is_kept = true);
    }

    /// The numbers that are missing at the place of the empty string `bytes`.
    pub(crate) fn find<T: Plain>(&mut self, bytes: &[u8]) -> Option<Result<Vec<T>, String>> {
        let found = self.claim(bytes)?;
        Some(found.and_then(|found| found.numbers().map_err(str::to_owned)))
    }

    /// (Apart from `find`, so that it is compiled once for all types of numbers.)
    fn claim(&mut self, bytes: &[u8]) -> Option<Result<Found<'_>, String>> {
        let at = bytes.as_ptr_range().end.addr() as u64;
        let piece = self.pieces.iter_mut().find(|piece| piece.at == at)?;
        piece.was_read = true;
        Some(match &mut piece.from {
            MissingSource::View(place) => {
                let why = "this process could not open the shared memory that contains it";
                let piece = self
                    .view
                    .as_ref()
                    .ok_or(why)
                    .and_then(|view| view.piece(*place));
                piece.map_err(str::to_owned)
            }
            MissingSource::Ahead(array) if !piece.is_kept => {
                let again = Err("its numbers have already been read".to_owned());
                std::mem::replace(array, again).map(Found::Ahead)
            }
            MissingSource::Ahead(array) => array.as_deref().map(Found::Kept).map_err(String::clone),
        })
    }

    /// Whether some arrays that are missing in `bytes` were not asked for.
    pub(crate) fn is_unread(&self, bytes: &[u8]) -> bool {
        let range = bytes.as_ptr_range();
        let range = range.start.addr() as u64..=range.end.addr() as u64;
        let mut pieces = self.pieces.iter();
        pieces.any(|piece| !piece.was_read && range.contains(&piece.at))
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, trefoil_port))))]
mod tests;
