//! Large numbers beside the frames: what lies in memory that both processes have mapped, and how
//! long.
//!
//! **Job.** The numbers of a large [`Bulk`](crate::process::Bulk) in a call are not part of the
//! encoded bytes: there stands an empty string of bytes instead, and the numbers lie in memory that
//! both processes have mapped. Beside the bytes travels a list ([`Lent`]): at which place of them
//! something is missing, and where that lies. Only the encoder of a call writes such
//! a list (`scope`), and nothing that is in the bytes is ever taken for one.
//!
//! **Protocol.** The sender copies the numbers into a block of its memory ([`SharedBuffer`],
//! `sys::arena`) and keeps the block until the receiver has copied them out, which it does when it
//! decodes the value.
//! 1. *There.* The pool's memory is made for the first that is lent. The block is kept with the
//!    encoded argument (`chunk`) as long as that is: the item may be sent again, to any worker. The
//!    parent keeps the chunk of a frame until it has heard `End`, or the worker is gone. A worker
//!    gets the descriptor with the frame `Home`, before the first frame that has a list in its
//!    head.
//! 2. *Back.* A worker's memory is the area of its ledger; a record `Lent` before the value has the
//!    list. Where that record ends in the stream of all that the worker says, there the block is
//!    *due*. The parent says how far in that stream it has understood everything ([`took`]), and
//!    the worker drops the blocks that were due until there ([`Due`]).
//! 3. What is small, what finds no room and what is encoded for anything else than a pool's call
//!    travels in the bytes.
//!
//! **Invariants.**
//! - **W50** Numbers that were lent are copied before any other code sees them, out of memory that
//!   has the length that is asked for, and whatever is there then (W52). So a wrong list gives an
//!   error or other numbers, and nothing worse.
//! - **W51** A worker's block is dropped when what is due with it has been understood. (Release in
//!   `took`, Acquire in `release`: the parent's reading comes before the worker's next writing.)
//!
//! **Bounds.** Arguments: [`arena::CAPACITY`] at once, for a pool. Results:
//! [`AREA`](crate::sys::ledger::AREA) at once, for a worker. Of each [`arena::KEPT`] stay when none
//! is out.
//!
//! Tests: below; `tests/process/bulk.rs`; `checks/tests/shared_buffer_models.rs` (under loom);
//! `sys::arena`, `sys::ledger`. Rejected: `docs/DESIGN.md`.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::attachments::Attachment;
use super::raw_plain::{Plain, numbers_from};
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::process::wire;
use crate::sys::arena::{self, Arena, Block};
use crate::sys::descriptor::AsFile;
use crate::sys::fork;
use crate::sys::mapping::{Access, Mapping};

/// What is shorter travels in the bytes.
const LEND_FROM: usize = 16 << 10;

/// Numbers that are not part of the bytes that they belong to.
#[derive(Debug)]
pub(crate) struct Lent {
    /// Behind how many of the bytes they are missing.
    pub(crate) at: usize,
    pub(crate) length: usize,
    /// Where they lie.
    pub(crate) block: Block,
    /// What a worker needs to see them.
    pub(crate) attachment: Option<Arc<Attachment>>,
}

impl Lent {
    /// As it travels, if the bytes begin `skipped` bytes earlier.
    pub(crate) fn numbers(&self, skipped: usize) -> [u64; 3] {
        [self.at - skipped, self.block.offset(), self.length].map(|number| number as u64)
    }
}

/// A home, and its descriptor if that travels.
type Memory = (Arc<Arena>, Option<Arc<Attachment>>);

/// The memory that a pool lends its arguments in, or a worker its results.
#[derive(Debug)]
pub(crate) struct SharedBuffer {
    /// Once it is made; `None`: there is none.
    memory: OnceLock<Option<Memory>>,
    /// The generation of forks that it belongs to.
    born: u32,
}

impl SharedBuffer {
    /// A pool's: nothing until it is wanted.
    pub(crate) fn new() -> Self {
        fork::watch();
        Self {
            memory: OnceLock::new(),
            born: fork::generation(),
        }
    }

    /// A worker's.
    pub(crate) fn over(arena: Option<Arena>) -> Self {
        let buffer = Self::new();
        let memory = arena.map(|arena| (Arc::new(arena), None));
        let _ = buffer.memory.set(memory);
        buffer
    }

    /// Copies `bytes`, which are missing behind `at` bytes, to where the other side sees them;
    /// `None`: there is no room.
    pub(crate) fn lend(&self, bytes: &[u8], at: usize) -> Option<Lent> {
        if self.born != fork::generation() {
            return None; // the fork may have come while it was being made
        }
        let make = || {
            let (home, reader) = Arena::new().ok()?;
            Some((Arc::new(home), Some(Attachment::new(reader))))
        };
        let (home, attachment) = self.memory.get_or_init(make).as_ref()?;
        Some(Lent {
            at,
            length: bytes.len(),
            block: home.lend(bytes)?,
            attachment: attachment.clone(),
        })
    }
}

/// What a worker has lent and not got back: blocks, and where each is due.
#[derive(Debug)]
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

    /// Drops what the parent has `taken`.
    pub(crate) fn release(&mut self, taken: &AtomicU64) {
        while let Some((position, _)) = self.0.front()
            && *position <= taken.load(Ordering::Acquire)
        {
            self.0.pop_front();
        }
    }
}

/// Parent: everything that lies before `position` in the worker's stream has been understood, and
/// what was lent with it copied.
#[inline]
pub(crate) fn took(taken: &AtomicU64, position: u64) {
    taken.store(position, Ordering::Release);
}

/// `bytes` are worth lending.
#[inline]
pub(crate) fn is_large(bytes: &[u8]) -> bool {
    bytes.len() >= LEND_FROM
}

/// What this process sees of the memory that another one lends.
#[derive(Debug)]
pub(crate) enum View {
    /// A mapping that has it, from so many bytes on.
    Mapped(Arc<Mapping>, usize),
    /// Without room for all of it each block is mapped by itself.
    Blocks(Arc<Attachment>),
}

impl View {
    /// Of a home whose descriptor has come along.
    pub(crate) fn of(home: Arc<Attachment>) -> Arc<Self> {
        let whole = Mapping::new(home.as_file(), 0..arena::CAPACITY, Access::Read);
        Arc::new(match whole {
            Ok(whole) => Self::Mapped(Arc::new(whole), 0),
            Err(_) => Self::Blocks(home),
        })
    }

    fn copy<T: Plain>(&self, place: [u64; 2]) -> Result<Vec<T>, &'static str> {
        let [offset, length] = place.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let block;
        let (mapping, offset) = match self {
            Self::Mapped(mapping, start) => (&**mapping, start.saturating_add(offset)),
            Self::Blocks(home) => {
                let end = offset.saturating_add(length).saturating_add(7) & !7;
                block = Mapping::new(home.as_file(), offset..end, Access::Read)
                    .map_err(|_| "this process could not map the memory that it lies in")?;
                (&block, 0)
            }
        };
        let words = mapping.words(offset, length);
        let words = words.ok_or("its place is not in the memory that was lent")?;
        numbers_from(words, length).ok_or("its bytes are no whole number of elements")
    }
}

/// Where numbers are missing in some bytes, and where they lie: after how many bytes, at which
/// offset, how many bytes.
pub(crate) type LentList = Vec<[u64; 3]>;

/// What is missing in a worker's next value, if anything is, and what is seen of its memory.
#[derive(Debug, Default)]
pub(crate) struct Lending {
    pub(crate) list: LentList,
    pub(crate) view: Option<Arc<View>>,
}

/// How many pieces are few.
const MAX_INLINE: usize = 16;

impl Lending {
    /// It is no more than `bytes` in few pieces.
    pub(crate) fn is_within(&self, bytes: usize) -> bool {
        let lengths = self
            .list
            .iter()
            .take(MAX_INLINE)
            .map(|[_, _, length]| *length);
        let sum = lengths.fold(0, u64::saturating_add);
        self.list.len() <= MAX_INLINE && sum <= bytes as u64
    }

    /// The same for the thread that decodes the value at the front of `bytes`.
    pub(crate) fn missing(&self, bytes: &[u8]) -> Option<Missing> {
        let (value, _) = wire::value(bytes)?;
        Missing::new(&self.list, value, self.view.as_ref())
    }
}

/// What is missing in some bytes.
#[derive(Debug)]
pub(crate) struct Missing {
    /// `None`: the descriptor has not arrived.
    view: Option<Arc<View>>,
    /// At which address, where in the view, how many bytes; whether it was read.
    pieces: Vec<(u64, [u64; 2], bool)>,
}

impl Missing {
    /// What is in `list`, which counts from the beginning of `bytes`.
    pub(crate) fn new(list: &[[u64; 3]], bytes: &[u8], view: Option<&Arc<View>>) -> Option<Self> {
        let start = bytes.as_ptr().addr() as u64;
        let piece =
            |[at, offset, length]: &[u64; 3]| (start.wrapping_add(*at), [*offset, *length], false);
        (!list.is_empty()).then(|| Self {
            view: view.cloned(),
            pieces: list.iter().map(piece).collect(),
        })
    }

    /// The numbers that are missing where these `bytes` end, which are none.
    pub(crate) fn find<T: Plain>(&mut self, bytes: &[u8]) -> Option<Result<Vec<T>, &'static str>> {
        let at = bytes.as_ptr_range().end.addr() as u64;
        let piece = self.pieces.iter_mut().find(|piece| piece.0 == at)?;
        piece.2 = true;
        let view = self.view.as_ref();
        let view = view.ok_or("this process may not open the memory that it lies in");
        Some(view.and_then(|view| view.copy(piece.1)))
    }

    /// Some that are missing in `bytes` were not asked for.
    pub(crate) fn is_unread(&self, bytes: &[u8]) -> bool {
        let range = bytes.as_ptr_range();
        let range = range.start.addr() as u64..=range.end.addr() as u64;
        let mut pieces = self.pieces.iter();
        pieces.any(|(at, _, read)| !read && range.contains(at))
    }
}

#[cfg(all(test, not(any(loom, trefoil_port))))]
mod tests {
    use super::*;
    use crate::process::Bulk;
    use crate::process::payload::attachments::Descriptors;
    use crate::process::payload::chunk::Chunk;
    use crate::process::payload::codec::decode;
    use crate::process::payload::scope;
    use crate::sys::ledger::{AREA, Ledger};

    fn numbers(list: [u64; 3], view: &Arc<View>) -> Result<Bulk<u16>, String> {
        let bytes = [0];
        let missing = Missing::new(&[list], &bytes, Some(view));
        scope::decoding(Descriptors::default(), missing, || decode(&bytes)).0
    }

    #[test]
    fn a_parent_believes_nothing() {
        let ledger = Ledger::new().unwrap();
        let (mapping, area) = ledger.lent().unwrap();
        let view = Arc::new(View::Mapped(mapping, area.start));
        let area = AREA as u64;
        for (offset, length) in [(area, 8), (0, area + 2), (u64::MAX - 7, 16), (4, 2), (0, 3)] {
            assert!(
                numbers([1, offset, length], &view).is_err(),
                "{offset} {length}"
            );
        }
        assert_eq!(numbers([1, 8, 16], &view).unwrap().len(), 8);
        assert_eq!(numbers([1, 0, area], &view).unwrap().len(), AREA / 2);
        for elsewhere in [2, u64::MAX] {
            assert!(numbers([elsewhere, 8, 16], &view).unwrap().is_empty());
        }
        assert!(numbers([0, 8, 16], &view).is_err(), "nobody has read it");
    }

    #[test]
    fn little_that_is_lent_is_few_bytes_in_few_pieces() {
        let within = |list: &[[u64; 3]]| {
            let lending = Lending {
                list: list.to_vec(),
                view: None,
            };
            lending.is_within(100)
        };
        assert!(within(&[]) && within(&[[1, 0, 100]]) && within(&[[1, 0, 50], [2, 50, 50]]));
        assert!(!within(&[[1, 0, 101]]) && !within(&[[1, 0, 1], [2, 8, u64::MAX]]));
        assert!(!within(&[[0; 3]; MAX_INLINE + 1]));
    }

    #[test]
    fn what_is_lent_is_missing_in_the_bytes_and_known_beside_them() {
        let mut chunk = Chunk::lending(&Arc::new(SharedBuffer::new()));
        let bulk = Bulk::from(vec![5u16; LEND_FROM]);
        chunk.push(&(7u8, &bulk)).unwrap();
        let mut items = wire::Reader(chunk.bytes());
        assert_eq!(items.bytes(), Some(&[7, 0][..]));
        let mut plain = Chunk::default();
        plain.push(&bulk).unwrap();
        assert!(plain.bytes().len() > 2 * LEND_FROM);
        assert!(postcard::to_stdvec(&bulk).unwrap().len() > 2 * LEND_FROM);
    }
}
