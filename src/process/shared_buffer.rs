//! Large numbers beside the frames: who lends what to whom.
//!
//! **Job.** The numbers of a large [`Bulk`](super::Bulk) in a call are not part of the encoded bytes: there stands an empty
//! string of bytes instead, and the numbers lie in memory that both processes have mapped. Beside the bytes travels a
//! list ([`Lent`]): at which place of them something is missing, and where that lies. Only the encoder of a call writes such
//! a list (`scope`), and nothing that is in the bytes is ever taken for one.
//!
//! **Protocol.**
//! 1. *There.* The pool has a home (`sys::arena`, made for the first that is lent). An argument's numbers are copied
//!    into a block of it, which is kept with the encoded argument (`chunk`) as long as that is: the item may be
//!    sent again, to any worker. A worker gets the home's descriptor with the frame `Home`, before the first frame that has
//!    a list, in its head.
//! 2. The worker copies the numbers out when it decodes the argument. The parent keeps the chunk of a frame until it has heard
//!    `End`, or the worker is gone.
//! 3. *Back.* A result's numbers are copied into the area of the worker's ledger, where its [`Ring`] finds room; a record `Lent`
//!    before the value has the list. The parent copies them out when it decodes the result, and says how far it is
//!    (`Link::understood`).
//! 4. What is small, what finds no room and what is encoded for anything else than a pool's call travels in the bytes.
//!
//! - **W50** Numbers that were lent are copied before anybody sees them, out of memory that has the length that is asked for, and
//!   whatever is there then (W52). So a wrong list gives an error or other numbers, and nothing worse.
//!
//! **Bounds.** Arguments: [`arena::CAPACITY`] at once, [`arena::KEPT`] when none is out, for a pool. Results:
//! [`AREA`] at once, [`KEPT`] from when the worker hears of the next frame, for a worker.
//!
//! Tests: below; `tests/process/bulk.rs`; `ring`, `sys::arena`, `sys::ledger`. Rejected: `docs/DESIGN.md`.

use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use super::attachments::Attachment;
use super::raw_plain::{Plain, numbers_from};
use super::ring::Ring;
use super::wire;
use crate::loom::Mutex;
use crate::sys::arena::{self, Block, Home, Window};
use crate::sys::fork;
use crate::sys::ledger::{AREA, Area, Ledger};

/// What is shorter travels in the bytes.
const LEAST: usize = 16 << 10;

/// How much of a worker's area is kept while nothing is out.
const KEPT: usize = 32 << 20;

/// Numbers that are not part of the bytes that they belong to.
#[derive(Debug)]
pub(crate) struct Lent {
    /// Behind how many of the bytes they are missing.
    pub(crate) at: usize,
    pub(crate) offset: usize,
    pub(crate) length: usize,
    /// What keeps them, in a parent.
    pub(crate) brought: Option<Brought>,
}

impl Lent {
    /// As it travels, if the bytes begin `skipped` bytes earlier.
    pub(crate) fn numbers(&self, skipped: usize) -> [u64; 3] {
        [self.at - skipped, self.offset, self.length].map(|number| number as u64)
    }
}

/// What a pool lends from: nothing until somebody wants it.
#[derive(Debug)]
pub(crate) struct PoolBuffer {
    /// A home, and the descriptor of it that travels.
    memory: OnceLock<Option<(Arc<Home>, Arc<Attachment>)>>,
    /// The generation of forks that it belongs to.
    born: u32,
}

impl PoolBuffer {
    pub(crate) fn new() -> Self {
        fork::watch();
        Self {
            memory: OnceLock::new(),
            born: fork::generation(),
        }
    }

    /// A block with a copy of `bytes`.
    fn put(&self, bytes: &[u8]) -> Option<Brought> {
        if self.born != fork::generation() {
            return None; // the fork may have come while it was being made
        }
        let make = || {
            let (home, reader) = Home::new().ok()?;
            Some((Arc::new(home), Attachment::new(reader)))
        };
        let (home, attachment) = self.memory.get_or_init(make).as_ref()?;
        let block = home.lend(bytes)?;
        let attachment = attachment.clone();
        Some(Brought { block, attachment })
    }
}

/// A block that an item brings along.
#[derive(Debug)]
pub(crate) struct Brought {
    block: Block,
    /// What a worker needs to see it.
    pub(crate) attachment: Arc<Attachment>,
}

/// What a worker lends from.
#[derive(Debug)]
pub(crate) struct Back {
    area: Option<Area>,
    ring: Ring,
}

impl Back {
    pub(crate) fn new(area: Option<Area>) -> Arc<Mutex<Self>> {
        let ring = Ring::new(AREA);
        Arc::new(Mutex::new(Self { area, ring }))
    }

    /// Room for `bytes`, and where it is.
    fn put(&mut self, bytes: &[u8]) -> Option<usize> {
        let area = self.area.as_mut()?;
        let offset = self.ring.take(bytes.len(), area.taken()?)?;
        if area.write(offset, bytes).is_err() {
            // What else this record has taken is settled with the next.
            self.area = None;
            return None;
        }
        Some(offset)
    }

    /// The record that names what was put ends at `position`.
    pub(crate) fn settle(&mut self, position: u64) {
        self.ring.settle(position);
    }

    /// There is no such record.
    pub(crate) fn abandon(&mut self) {
        self.ring.abandon();
    }

    /// A frame has come: gives back what too much is kept, if the parent is done with it.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if !self.ring.is_empty() {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&mut self) {
        self.ring.abandon(); // what a `Serialize` that panicked has left
        if let Some(area) = &mut self.area
            && let Some(taken) = area.taken()
        {
            self.ring.release(taken);
            if self.ring.is_empty() {
                area.shrink(KEPT);
            }
        }
    }
}

/// Who lends.
#[derive(Clone, Debug)]
pub(crate) enum Lender {
    /// A pool, its arguments.
    Pool(Arc<PoolBuffer>),
    /// A worker, its results.
    Worker(Arc<Mutex<Back>>),
}

impl Lender {
    /// Copies `bytes`, which are missing behind `at` bytes, to where the other side sees them; `None`: there is no room.
    pub(crate) fn lend(&self, bytes: &[u8], at: usize) -> Option<Lent> {
        let (offset, brought) = match self {
            Self::Pool(buffer) => {
                let brought = buffer.put(bytes)?;
                (brought.block.offset(), Some(brought))
            }
            Self::Worker(back) => (back.lock().put(bytes)?, None),
        };
        Some(Lent {
            at,
            offset,
            length: bytes.len(),
            brought,
        })
    }
}

/// `bytes` are worth lending.
#[inline]
pub(crate) fn is_large(bytes: &[u8]) -> bool {
    bytes.len() >= LEAST
}

/// What a worker sees of its parent's home.
#[derive(Debug)]
pub(crate) struct View {
    attachment: Arc<Attachment>,
    /// Without room for all of it each block is mapped by itself.
    whole: Option<Window>,
}

impl View {
    pub(crate) fn new(attachment: Arc<Attachment>) -> Arc<Self> {
        let whole = Window::open(attachment.as_fd(), 0..arena::CAPACITY).ok();
        Arc::new(Self { attachment, whole })
    }

    fn copy<T: Plain>(&self, offset: usize, length: usize) -> Result<Option<Vec<T>>, &'static str> {
        let part;
        let (window, offset) = match &self.whole {
            Some(whole) => (whole, offset),
            None => {
                let end = offset.saturating_add(length);
                part = Window::open(self.attachment.as_fd(), offset..end)
                    .map_err(|_| "this process could not map the memory that it lies in")?;
                (&part, 0)
            }
        };
        let words = window.words(offset, length);
        let words = words.ok_or("its place is not in the memory that was lent")?;
        Ok(numbers_from(words, length))
    }
}

/// The memory in which numbers lie.
#[derive(Debug)]
pub(crate) enum Source {
    /// The parent's, if its descriptor has arrived.
    Home(Option<Arc<View>>),
    /// A worker's.
    Area(Arc<Ledger>),
}

impl Source {
    fn copy<T: Plain>(&self, offset: u64, length: u64) -> Result<Vec<T>, &'static str> {
        let numbers = match self {
            Self::Home(view) => {
                let view = view.as_ref();
                let view = view.ok_or("this process may not open the memory that it lies in")?;
                let places = [offset, length].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
                view.copy(places[0], places[1])?
            }
            Self::Area(ledger) => {
                let words = ledger.area(offset, length);
                let words = words.ok_or("its place is not in the memory that the worker lends")?;
                numbers_from(words, length as usize)
            }
        };
        numbers.ok_or("its bytes are no whole number of elements")
    }
}

/// What is missing in a worker's next value, if anything is, and of whom.
#[derive(Debug)]
pub(crate) struct Lending<'a> {
    pub(crate) list: &'a [u64],
    pub(crate) ledger: Option<&'a Arc<Ledger>>,
}

/// How many pieces are few.
const FEW: usize = 16;

impl Lending<'_> {
    pub(crate) const NONE: Lending<'static> = Lending {
        list: &[],
        ledger: None,
    };

    /// It is no more than `bytes` in few pieces.
    pub(crate) fn is_within(&self, bytes: usize) -> bool {
        let pieces = self.list.as_chunks::<3>().0;
        let lengths = pieces.iter().take(FEW).map(|[_, _, length]| *length);
        let sum = lengths.fold(0, u64::saturating_add);
        pieces.len() <= FEW && sum <= bytes as u64
    }

    /// The same for whoever decodes the value at the front of `bytes`.
    pub(crate) fn missing(&self, bytes: &[u8]) -> Option<Missing> {
        let ledger = self.ledger.filter(|_| !self.list.is_empty())?;
        let (value, _) = wire::value(bytes)?;
        Missing::new(self.list, value, || Source::Area(ledger.clone()))
    }
}

/// What is missing in some bytes.
#[derive(Debug)]
pub(crate) struct Missing {
    source: Source,
    /// At which address, where in the source, how many bytes; whether it was read.
    places: Vec<(u64, [u64; 2], bool)>,
}

impl Missing {
    /// What is in `list`, which counts from the beginning of `bytes`.
    pub(crate) fn new(list: &[u64], bytes: &[u8], source: impl FnOnce() -> Source) -> Option<Self> {
        let start = bytes.as_ptr().addr() as u64;
        let place =
            |[at, offset, length]: &[u64; 3]| (start.wrapping_add(*at), [*offset, *length], false);
        let places: Vec<_> = list.as_chunks().0.iter().map(place).collect();
        (!places.is_empty()).then(|| Self {
            source: source(),
            places,
        })
    }

    /// The numbers that are missing where these `bytes` end, which are none.
    pub(crate) fn find<T: Plain>(&mut self, bytes: &[u8]) -> Option<Result<Vec<T>, &'static str>> {
        let at = bytes.as_ptr_range().end.addr() as u64;
        let place = self.places.iter_mut().find(|place| place.0 == at)?;
        place.2 = true;
        let [offset, length] = place.1;
        Some(self.source.copy(offset, length))
    }

    /// Some that are missing in `bytes` were not asked for.
    pub(crate) fn is_unread(&self, bytes: &[u8]) -> bool {
        let range = bytes.as_ptr_range();
        let range = range.start.addr() as u64..=range.end.addr() as u64;
        let mut places = self.places.iter();
        places.any(|(at, _, read)| !read && range.contains(at))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::process::Bulk;
    use crate::process::attachments::Bag;
    use crate::process::chunk::Chunk;
    use crate::process::codec::decode;
    use crate::process::scope;

    fn numbers(list: [u64; 3], ledger: &Arc<Ledger>) -> Result<Bulk<u16>, String> {
        let bytes = [0];
        let missing = Missing::new(&list, &bytes, || Source::Area(ledger.clone()));
        scope::decoding(Bag::default(), missing, || decode(&bytes)).0
    }

    #[test]
    fn a_parent_believes_nothing() {
        let ledger = Arc::new(Ledger::new().unwrap());
        let area = AREA as u64;
        for (offset, length) in [(area, 8), (0, area + 2), (u64::MAX - 7, 16), (4, 2), (0, 3)] {
            assert!(
                numbers([1, offset, length], &ledger).is_err(),
                "{offset} {length}"
            );
        }
        assert_eq!(numbers([1, 8, 16], &ledger).unwrap().len(), 8);
        assert_eq!(numbers([1, 0, area], &ledger).unwrap().len(), AREA / 2);
        for elsewhere in [2, u64::MAX] {
            assert!(numbers([elsewhere, 8, 16], &ledger).unwrap().is_empty());
        }
        assert!(numbers([0, 8, 16], &ledger).is_err(), "nobody has read it");
    }

    #[test]
    fn little_that_is_lent_is_few_bytes_in_few_pieces() {
        let within = |list: &[u64]| {
            let lent = Lending { list, ledger: None };
            lent.is_within(100)
        };
        assert!(within(&[]) && within(&[1, 0, 100]) && within(&[1, 0, 50, 2, 50, 50]));
        assert!(!within(&[1, 0, 101]) && !within(&[1, 0, 1, 2, 8, u64::MAX]));
        assert!(!within(&[0; 3 * (FEW + 1)]));
    }

    #[test]
    fn what_is_lent_is_missing_in_the_bytes_and_known_beside_them() {
        let mut chunk = Chunk::lending(&Arc::new(PoolBuffer::new()));
        let bulk = Bulk::from(vec![5u16; LEAST]);
        chunk.push(&(7u8, &bulk)).unwrap();
        let mut items = wire::Reader(chunk.bytes());
        assert_eq!(items.bytes(), Some(&[7, 0][..]));
        let mut plain = Chunk::default();
        plain.push(&bulk).unwrap();
        assert!(plain.bytes().len() > 2 * LEAST);
        assert!(postcard::to_stdvec(&bulk).unwrap().len() > 2 * LEAST);
    }
}
