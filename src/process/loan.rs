//! Large numbers beside the frames: who lends what to whom.
//!
//! **Job.** The numbers of a large [`Bulk`](super::Bulk) in a call are not part of the encoded bytes: there stands an empty
//! string of bytes instead, and the numbers lie in memory that both processes have mapped. Beside the bytes travels a
//! list ([`Lent`]): at which place of them something is missing, and where that lies. Only the encoder of a call writes such
//! a list, and nothing that is in the bytes is ever taken for one.
//!
//! **Protocol.**
//! 1. *There.* The pool has a home (`sys::arena`, made for the first that is lent). An argument's numbers are copied
//!    into a block of it, which is kept with the encoded argument (`chunk`) as long as that is: the item may be
//!    sent again, to any worker. A worker gets the home's descriptor with the frame `HOME`, before the first frame that has
//!    a list, in its head.
//! 2. The worker copies the numbers out when it decodes the argument. The parent keeps the chunk of a frame until it has heard
//!    `END`, or the worker is gone.
//! 3. *Back.* A result's numbers are copied into the area of the worker's ledger, where its [`Ring`] finds room; a record `LENT`
//!    before the value has the list. The parent copies them out when it decodes the result, and says how far it is
//!    (`Link::understood`).
//! 4. What is small, what finds no room and what is encoded for anything else than a pool's call travels in the bytes.
//!
//! What another serializer than the call's encoder is handed, within a `Serialize`, is the numbers ([`offering`]): nobody
//! knows when that is read. And who decodes an empty string finds numbers only where the encoder has left
//! them out ([`find`]). What is left out must be read as a `Bulk` again, or it is an error ([`is_unread`]).
//!
//! **Invariants.**
//! - **W50** Numbers that were lent are copied before anybody sees them, out of memory that has the length that is asked for, and
//!   whatever is there then (W52). So a list that is wrong, of a worker gone wild or by a mistake here, gives an error
//!   or other numbers, and nothing worse.
//!
//! **Bounds.** Arguments: [`arena::CAPACITY`] at once, [`arena::KEPT`] when none is out, for a pool. Results:
//! [`AREA`] at once, [`KEPT`] from when the worker hears of the next frame, for a worker.
//!
//! **Rejected.** A mark in the bytes, and behind it where the numbers lie: whoever decodes foreign bytes in place believes
//! those, too. Looking at an argument where it lies: see `sys::arena`. Giving back what is an argument as it came by naming
//! its block: it saves one copy of four, of what few calls return, and must be known of every `Bulk`.
//!
//! Tests: `tests/process/bulk.rs`; `ring`, `sys::arena`, `sys::ledger`.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use super::baggage::{self, Parcel};
use super::raw_plain::{Plain, numbers_from, numbers_of};
use super::ring::Ring;
use super::wire;
use crate::loom::per_thread;
use crate::sys::arena::{self, Block, Home, Sight};
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
pub(crate) struct Lots {
    lot: OnceLock<Option<Arc<Lot>>>,
    /// The generation of forks that it belongs to.
    born: u32,
}

/// A home, and the descriptor of it that travels.
#[derive(Debug)]
pub(crate) struct Lot {
    home: Arc<Home>,
    parcel: Arc<Parcel>,
}

impl Lots {
    pub(crate) fn new() -> Self {
        fork::watch();
        Self {
            lot: OnceLock::new(),
            born: fork::generation(),
        }
    }

    fn lot(&self) -> Option<&Arc<Lot>> {
        if self.born != fork::generation() {
            return None; // the fork may have come while it was being made
        }
        let make = || {
            let (home, reader) = Home::new().ok()?;
            let (home, parcel) = (Arc::new(home), Parcel::new(reader));
            Some(Arc::new(Lot { home, parcel }))
        };
        self.lot.get_or_init(make).as_ref()
    }
}

/// A block that an item brings along.
#[derive(Debug)]
pub(crate) struct Brought {
    _block: Block,
    lot: Arc<Lot>,
}

impl Brought {
    /// What a worker needs to see it.
    pub(crate) fn parcel(&self) -> &Arc<Parcel> {
        &self.lot.parcel
    }
}

/// What a worker lends from.
#[derive(Debug)]
pub(crate) struct Back {
    area: Option<Area>,
    ring: Ring,
}

impl Back {
    pub(crate) fn new(area: Option<Area>) -> Rc<RefCell<Self>> {
        let ring = Ring::new(AREA);
        Rc::new(RefCell::new(Self { area, ring }))
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

#[derive(Clone)]
enum Lender {
    There(Arc<Lots>),
    Back(Rc<RefCell<Back>>),
}

per_thread! {
    static LENDER: Cell<Option<Lender>> = Cell::new(None);
}
per_thread! {
    /// What is missing in what is being decoded.
    static MISSING: Cell<Option<Box<Missing>>> = Cell::new(None);
}
per_thread! {
    /// There is something.
    static IS_MISSING: Cell<bool> = Cell::new(false);
}

/// This thread is a worker's, and runs items.
pub(crate) fn serves(back: &Rc<RefCell<Back>>) {
    LENDER.with(|cell| cell.set(Some(Lender::Back(back.clone()))));
}

/// Puts back what was there before, in a panic, too. (On a thread that is almost gone there is nothing, and nothing is
/// lent.)
macro_rules! within {
    ($cell:ident, $type:ty, $value:expr, $work:expr) => {{
        struct Before(Option<$type>);
        impl Drop for Before {
            fn drop(&mut self) {
                let before = self.0.take();
                let _ = $cell.try_with(|cell| cell.replace(before));
            }
        }
        let before = $cell.try_with(|cell| cell.replace($value));
        let _before = Before(before.ok().flatten());
        $work()
    }};
}

/// What is encoded meanwhile, into chunks that may lend, lends from `lots`.
#[inline]
pub(crate) fn lending<T>(lots: &Arc<Lots>, work: impl FnOnce() -> T) -> T {
    within!(LENDER, Lender, Some(Lender::There(lots.clone())), work)
}

/// What the encoder should lend, if it is handed these very bytes: where they begin, and how many.
type Offer = (usize, usize);

per_thread! {
    static OFFER: Cell<Option<Offer>> = Cell::new(None);
}

/// `bytes` are worth lending.
#[inline]
pub(crate) fn is_large(bytes: &[u8]) -> bool {
    bytes.len() >= LEAST
}

/// Hands `bytes` to a serializer, which does that in `work`: only if that is the encoder of a call they may be lent. (What
/// another serializer makes of them may be read at any time, or be written down.)
pub(crate) fn offering<T>(bytes: &[u8], work: impl FnOnce() -> T) -> T {
    if !is_large(bytes) || !baggage::may_lend() {
        return work();
    }
    let offer = (bytes.as_ptr().addr(), bytes.len());
    within!(OFFER, Offer, Some(offer), work)
}

/// The encoder: lends `bytes`, if these were offered and there is room for them. They are missing behind `at` bytes.
#[cold]
pub(crate) fn lend(bytes: &[u8], at: usize) -> bool {
    let offer = OFFER.try_with(Cell::get).ok().flatten();
    if offer != Some((bytes.as_ptr().addr(), bytes.len())) || !baggage::may_lend() {
        return false;
    }
    let lender = LENDER.try_with(Cell::take).ok().flatten();
    let place = match &lender {
        Some(Lender::There(lots)) => lots.lot().and_then(|lot| {
            let block = lot.home.lend(bytes)?;
            let (offset, lot) = (block.offset(), lot.clone());
            let _block = block;
            Some((offset, Some(Brought { _block, lot })))
        }),
        Some(Lender::Back(back)) => back.borrow_mut().put(bytes).map(|offset| (offset, None)),
        None => None,
    };
    let _ = LENDER.try_with(|cell| cell.set(lender));
    let Some((offset, brought)) = place else {
        return false;
    };
    let length = bytes.len();
    baggage::bring(Lent {
        at,
        offset,
        length,
        brought,
    });
    true
}

/// What a worker sees of its parent's home.
#[derive(Debug)]
pub(crate) struct View {
    parcel: Arc<Parcel>,
    /// Without room for its mapping it is read.
    sight: Option<Sight>,
}

impl View {
    pub(crate) fn new(parcel: Arc<Parcel>) -> Arc<Self> {
        let sight = Sight::open(parcel.as_fd()).ok();
        Arc::new(Self { parcel, sight })
    }

    fn copy<T: Plain>(&self, offset: usize, length: usize) -> Result<Option<Vec<T>>, &'static str> {
        if let Some(sight) = &self.sight {
            let words = sight.words(offset, length);
            let words = words.ok_or("its place is not in the memory that was lent")?;
            return Ok(numbers_from(words, length));
        }
        let bytes = arena::read(self.parcel.as_fd(), offset, length);
        let bytes = bytes.map_err(|_| "this process could not read the memory that it lies in")?;
        Ok(numbers_of(&bytes))
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

    /// Decodes the value at the front of `bytes`, which lacks it, and what else is there.
    pub(crate) fn reading<T>(&self, bytes: &[u8], work: impl FnOnce() -> T) -> T {
        match (self.list, self.ledger, wire::value(bytes)) {
            ([_, ..], Some(ledger), Some((value, _))) => {
                reading(self.list, value, || Source::Area(ledger.clone()), work)
            }
            _ => work(),
        }
    }
}

/// What is missing in some bytes.
#[derive(Debug)]
struct Missing {
    source: Source,
    /// At which address, where in the source, how many bytes; whether it was read.
    places: Vec<(u64, [u64; 2], bool)>,
}

/// What is decoded meanwhile lacks what is in `list`, which counts from the beginning of `bytes`.
#[inline]
pub(crate) fn reading<T>(
    list: &[u64],
    bytes: &[u8],
    source: impl FnOnce() -> Source,
    work: impl FnOnce() -> T,
) -> T {
    if list.is_empty() {
        return work();
    }
    let start = bytes.as_ptr().addr() as u64;
    let place =
        |[at, offset, length]: &[u64; 3]| (start.wrapping_add(*at), [*offset, *length], false);
    let places = list.as_chunks().0.iter().map(place).collect();
    let source = source();
    let missing = Box::new(Missing { source, places });
    let work = || within!(MISSING, Box<Missing>, Some(missing), work);
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            let _ = IS_MISSING.try_with(|cell| cell.set(self.0));
        }
    }
    let before = IS_MISSING.try_with(|cell| cell.replace(true));
    let _before = Before(before.unwrap_or(false));
    work()
}

fn with_missing<T>(look: impl FnOnce(&mut Missing) -> Option<T>) -> Option<T> {
    let mut missing = MISSING.try_with(Cell::take).ok().flatten()?;
    let seen = look(&mut missing);
    let _ = MISSING.try_with(|cell| cell.set(Some(missing)));
    seen
}

/// The numbers that are missing where these `bytes` end, which are none.
pub(crate) fn find<T: Plain>(bytes: &[u8]) -> Option<Result<Vec<T>, String>> {
    let at = bytes.as_ptr_range().end.addr() as u64;
    with_missing(|missing| {
        let place = missing.places.iter_mut().find(|place| place.0 == at)?;
        place.2 = true;
        let [offset, length] = place.1;
        Some(missing.source.copy(offset, length).map_err(baggage::said))
    })
}

/// `bytes` have been decoded, and numbers that are missing in them were not asked for.
#[inline]
pub(crate) fn is_unread(bytes: &[u8]) -> bool {
    IS_MISSING.with(Cell::get) && is_unread_here(bytes)
}

#[cold]
fn is_unread_here(bytes: &[u8]) -> bool {
    let range = bytes.as_ptr_range();
    let range = range.start.addr() as u64..=range.end.addr() as u64;
    let unread = with_missing(|missing| {
        let mut places = missing.places.iter();
        Some(places.any(|(at, _, read)| !read && range.contains(at)))
    });
    unread == Some(true)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::process::Bulk;
    use crate::process::chunk::Chunk;
    use crate::process::sink::decode;

    fn numbers(list: [u64; 3], ledger: &Arc<Ledger>) -> Result<Bulk<u16>, String> {
        let bytes = [0];
        let source = || Source::Area(ledger.clone());
        reading(&list, &bytes, source, || decode(&bytes))
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
        let lots = Arc::new(Lots::new());
        let mut chunk = Chunk::lending();
        let bulk = Bulk::from(vec![5u16; LEAST]);
        lending(&lots, || chunk.push(&(7u8, &bulk))).unwrap();
        assert_eq!(chunk.bytes(), [2, 7, 0]);
        let mut plain = Chunk::default();
        plain.push(&bulk).unwrap();
        assert!(plain.bytes().len() > 2 * LEAST);
        assert!(postcard::to_stdvec(&bulk).unwrap().len() > 2 * LEAST);
    }
}
