//! Large numbers beside the frames: who lends what to whom.
//!
//! **Job.** A large [`Bulk`](super::Bulk) in a call is not part of the encoded bytes. These have a *reference* of
//! [`LENGTH`] bytes instead, and the numbers lie in memory that both processes have mapped.
//!
//! **Protocol.**
//! 1. *There.* The pool has a home (`sys::arena`, made for the first that is lent). An argument's numbers are copied
//!    into a block of it, which is kept with the encoded argument (`chunk`) as long as that is: the item may be
//!    sent again, to any worker. A worker gets the home's descriptor with the frame `HOME`, before the first frame that has
//!    references.
//! 2. In the worker the numbers are looked at where they are ([`Loan`]). What of the loans of a frame is still in use when
//!    the frame is done becomes the worker's own before it says `END`, or the worker ends; after that the parent may use the
//!    block again.
//!    The parent keeps the chunk of a frame until it has heard `END`, or the worker is gone.
//! 3. *Back.* A result that is one of the frame's own loans goes back as a reference to that. Another is copied into the area of
//!    the worker's ledger, where its [`Ring`] finds room. The parent copies it out when it decodes the
//!    result, and says how far it is (`Link::understood`).
//! 4. What is small, what finds no room and what is encoded for anything else than a pool's call travels in the bytes.
//!
//! **References.** A reference is a string of bytes like the numbers themselves; it begins with a mark that no numbers
//! have by accident. Numbers that do have it and are as long as a reference are lent, however small, or are an error. What another
//! serializer than the call's encoder writes, within a `Serialize`, has the numbers ([`offering`]): nobody knows when
//! that is read. And only what lies in a frame, or in a worker's records, is a reference ([`find`]): what an item has
//! from elsewhere and reads itself may say what it wants.
//!
//! **Invariants.**
//! - **W50** A reference is one only where it lies in the frame that runs, or in the records that are heard. (So whoever
//!   decodes foreign bytes within a `Deserialize`, out of the frame and without a copy, believes them.) And
//!   nothing that is read in it is believed: a worker maps no more than its parent's home is long, and a loan
//!   lies within that; the parent takes a reference to its own home for a block only if the chunk that is
//!   answered has that very block, and one to the area only within the area, of which it makes numbers after it has
//!   copied it (W52).
//!
//! **Bounds.** Arguments: [`arena::CAPACITY`] at once, [`arena::KEPT`] when none is out, for a pool. Results:
//! [`AREA`] at once, [`KEPT`] from when the worker hears of the next frame, for a worker.
//!
//! **Rejected.** Letting the parent, too, look at numbers where they are: a worker may change them. Contexts of
//! `map_with` and initializers as loans: a worker may keep them longer than its parent.
//!
//! Length: who writes a reference and who reads it stand side by side, for both directions.
//!
//! Tests: `tests/process_bulk.rs`; `ring`, `sys::arena`, `sys::ledger`.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use super::baggage::{self, Parcel};
use super::chunk::Chunk;
use super::raw_plain::{Lent, Plain, numbers_from, numbers_of};
use super::ring::Ring;
use crate::loom::per_thread;
use crate::sys::arena::{self, Block, Home, Loan, Sight};
use crate::sys::fork;
use crate::sys::ledger::{AREA, Area, Ledger};

/// What is shorter travels in the bytes.
const LEAST: usize = 16 << 10;

/// How much of a worker's area is kept while nothing is out.
const KEPT: usize = 32 << 20;

/// A worker whose items have kept loans so often copies them from then on: each such mapping stays as long as what is kept.
const KEEPS: u32 = 16;

/// How long a reference is.
pub(crate) const LENGTH: usize = 40;

/// How each begins.
const MARK: [u8; 16] = [
    0xf3, 0x1c, 0xa9, 0x5e, 0x02, 0xd7, 0x8b, 0x64, 0x9a, 0xe1, 0x47, 0xbc, 0x30, 0x05, 0xfd, 0x7e,
];

/// In a home, for its reader.
const HOME: u64 = 1;
/// In the area of the worker's ledger.
const BACK: u64 = 2;
/// In the reader's own home: what it has lent.
const YOURS: u64 = 3;

fn reference(kind: u64, offset: usize, length: usize) -> [u8; LENGTH] {
    let mut reference = [0; LENGTH];
    reference[..16].copy_from_slice(&MARK);
    let numbers = [kind, offset as u64, length as u64];
    for (place, number) in reference[16..].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    reference
}

/// Kind, offset and length.
fn parse(bytes: &[u8]) -> Option<[u64; 3]> {
    if bytes.len() != LENGTH || bytes[..16] != MARK {
        return None;
    }
    let number = |at: usize| {
        let bytes = bytes[at..].first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    Some([number(16), number(24), number(32)])
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
    block: Block,
    lot: Arc<Lot>,
}

impl Brought {
    /// What a worker needs to see it.
    pub(crate) fn parcel(&self) -> &Arc<Parcel> {
        &self.lot.parcel
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.block.bytes()
    }

    pub(crate) fn offset(&self) -> usize {
        self.block.offset()
    }
}

/// What a worker lends from, and what it has been lent.
#[derive(Debug)]
pub(crate) struct Back {
    area: Option<Area>,
    ring: Ring,
    home: Option<Arc<Parcel>>,
    sight: Option<Arc<Sight>>,
    /// Where this frame's items are.
    frame: Range<usize>,
    /// The loans of this frame.
    current: Vec<Arc<Loan>>,
    /// How many frames have kept some.
    keeps: u32,
}

impl Back {
    pub(crate) fn new(area: Option<Area>) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            area,
            ring: Ring::new(AREA),
            home: None,
            sight: None,
            frame: 0..0,
            current: Vec::new(),
            keeps: 0,
        }))
    }

    /// The parent's home has come; if it has not, those who ask for it learn that.
    pub(crate) fn sees(&mut self, home: Option<Arc<Parcel>>) {
        self.home = home;
        self.look();
    }

    /// Without room for its mapping it is read (`borrow`).
    fn look(&mut self) {
        let sight = self.home.as_ref().map(|home| Sight::open(home.as_fd()));
        self.sight = sight.and_then(Result::ok).map(Arc::new);
    }

    /// Room and a reference for `bytes`.
    fn put(&mut self, bytes: &[u8]) -> Option<[u8; LENGTH]> {
        let area = self.area.as_mut()?;
        let offset = self.ring.take(bytes.len(), area.taken()?)?;
        if area.write(offset, bytes).is_err() {
            // What else this record has taken is settled with the next.
            self.area = None;
            return None;
        }
        Some(reference(BACK, offset, bytes.len()))
    }

    /// The record that names what was put ends at `position`.
    pub(crate) fn settle(&mut self, position: u64) {
        self.ring.settle(position);
    }

    /// There is no such record.
    pub(crate) fn abandon(&mut self) {
        self.ring.abandon();
    }

    /// A frame with these `items` has come: gives back what too much is kept, if the parent is done with it.
    #[inline]
    pub(crate) fn begin(&mut self, items: &[u8]) {
        self.frame = place(items);
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

    /// The items of a frame are done, and the parent is about to hear of it. False: what they still use cannot be kept.
    #[inline]
    pub(crate) fn done(&mut self) -> bool {
        self.frame = 0..0;
        self.current.is_empty() || self.keep()
    }

    #[cold]
    fn keep(&mut self) -> bool {
        let mut kept = false;
        for loan in self.current.drain(..) {
            if Arc::strong_count(&loan) > 1 {
                if loan.keep().is_err() {
                    return false;
                }
                kept = true;
            }
        }
        if kept {
            self.keeps += 1;
            self.look();
        }
        true
    }
}

#[derive(Clone)]
enum Lender {
    There(Arc<Lots>),
    Back(Rc<RefCell<Back>>),
}

/// Where what is being decoded may refer to.
enum Reader {
    Worker(Rc<RefCell<Back>>),
    /// And where the records are.
    Parent(Arc<Ledger>, Range<usize>),
}

/// Where these bytes are.
fn place(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
}

per_thread! {
    static LENDER: Cell<Option<Lender>> = Cell::new(None);
}
per_thread! {
    static READER: Cell<Option<Reader>> = Cell::new(None);
}
per_thread! {
    /// What the frame that is answered has brought there.
    static ANSWERED: Cell<Option<Arc<Chunk>>> = Cell::new(None);
}

/// This thread is a worker's, and runs items.
pub(crate) fn serves(back: &Rc<RefCell<Back>>) {
    LENDER.with(|cell| cell.set(Some(Lender::Back(back.clone()))));
    READER.with(|cell| cell.set(Some(Reader::Worker(back.clone()))));
}

/// Puts back what was there before, in a panic, too. (On a thread that is almost gone there is nothing, and nothing is
/// lent.)
macro_rules! within {
    ($cell:ident, $type:ty, $value:expr, $work:expr) => {{
        struct Before(Option<$type>);
        impl Drop for Before {
            fn drop(&mut self) {
                let before = self.0.take();
                drop($cell.try_with(|cell| cell.replace(before)));
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

/// What is decoded meanwhile, out of `bytes`, has been said by the worker that `ledger` is shared with.
#[inline]
pub(crate) fn hearing<T>(ledger: &Arc<Ledger>, bytes: &[u8], work: impl FnOnce() -> T) -> T {
    let reader = Reader::Parent(ledger.clone(), place(bytes));
    within!(READER, Reader, Some(reader), work)
}

/// What is decoded meanwhile answers items of `chunk`.
pub(crate) fn answering<T>(chunk: Arc<Chunk>, work: impl FnOnce() -> T) -> T {
    within!(ANSWERED, Arc<Chunk>, Some(chunk), work)
}

/// What the encoder should lend, if it is handed these very bytes.
struct Offer {
    start: usize,
    length: usize,
    /// The bytes are all of it.
    loan: Option<Arc<Loan>>,
}

impl Offer {
    fn is_of(&self, bytes: &[u8]) -> bool {
        (self.start, self.length) == (bytes.as_ptr().addr(), bytes.len())
    }
}

per_thread! {
    static OFFER: Cell<Option<Offer>> = Cell::new(None);
}

/// `bytes` may be lent, or must not go as they are.
#[inline]
pub(crate) fn matters(bytes: &[u8]) -> bool {
    bytes.len() >= LEAST || bytes.len() == LENGTH && bytes[..16] == MARK
}

/// Hands `bytes` to a serializer, which does that in `work`: only if that is the encoder of a call, a reference may stand for
/// them. (What another serializer makes of them may be read at any time, or be written down.) `loan`: the bytes are all of it.
pub(crate) fn offering<T>(bytes: &[u8], loan: Option<&Arc<Loan>>, work: impl FnOnce() -> T) -> T {
    if !matters(bytes) || !baggage::is_packing() {
        return work();
    }
    let (start, length) = (bytes.as_ptr().addr(), bytes.len());
    let loan = loan.cloned();
    let offer = Offer {
        start,
        length,
        loan,
    };
    within!(OFFER, Offer, Some(offer), work)
}

/// The encoder: what stands for `bytes`, if these were offered and that is not they themselves.
#[cold]
pub(crate) fn lend(bytes: &[u8]) -> Result<Option<[u8; LENGTH]>, String> {
    let offer = OFFER.try_with(Cell::take).ok().flatten();
    let Some(offer) = offer else { return Ok(None) };
    if !offer.is_of(bytes) {
        let _ = OFFER.try_with(|cell| cell.set(Some(offer)));
        return Ok(None);
    }
    let reference = match baggage::may_lend() {
        true => lend_from(bytes, offer.loan.as_ref()),
        false => None,
    };
    match reference.is_none() && parse(bytes).is_some() {
        true => Err(baggage::said("these very bytes cannot travel now")),
        false => Ok(reference),
    }
}

fn lend_from(bytes: &[u8], loan: Option<&Arc<Loan>>) -> Option<[u8; LENGTH]> {
    let lender = LENDER.try_with(Cell::take).ok().flatten();
    let reference = match &lender {
        Some(Lender::There(lots)) => lots.lot().and_then(|lot| {
            let block = lot.home.lend(bytes)?;
            let reference = reference(HOME, block.offset(), bytes.len());
            let lot = lot.clone();
            baggage::bring(Some(Brought { block, lot }));
            Some(reference)
        }),
        Some(Lender::Back(back)) => {
            let mut back = back.borrow_mut();
            let own = |loan: &&Arc<Loan>| back.current.iter().any(|own| Arc::ptr_eq(own, loan));
            match loan.filter(own) {
                Some(loan) => Some(reference(YOURS, loan.offset(), bytes.len())),
                None => {
                    let reference = back.put(bytes);
                    if reference.is_some() {
                        baggage::bring(None);
                    }
                    reference
                }
            }
        }
        None => None,
    };
    let _ = LENDER.try_with(|cell| cell.set(lender));
    reference
}

/// Numbers that a reference stands for.
pub(crate) enum Found<T> {
    Own(Vec<T>),
    Lent(Lent<T>),
}

/// What `bytes` stand for, if they are a reference.
pub(crate) fn find<T: Plain>(bytes: &[u8]) -> Option<Result<Found<T>, String>> {
    let [kind, offset, length] = parse(bytes)?;
    let reader = READER.try_with(Cell::take).ok().flatten();
    let from = match &reader {
        None => 0..0,
        Some(Reader::Worker(back)) => back.borrow().frame.clone(),
        Some(Reader::Parent(_, records)) => records.clone(),
    };
    let found = match (&reader, kind) {
        // Somebody reads something else.
        _ if !from.contains(&bytes.as_ptr().addr()) => None,
        (None, _) => None,
        (Some(Reader::Worker(back)), HOME) => Some(borrow(&mut back.borrow_mut(), offset, length)),
        (Some(Reader::Parent(ledger, _)), BACK) => Some(copy(ledger, offset, length)),
        (Some(Reader::Parent(..)), YOURS) => Some(copy_back(offset, length)),
        (Some(_), _) => Some(Err("a reference of an unknown kind")),
    };
    let _ = READER.try_with(|cell| cell.set(reader));
    found.map(|found| found.map_err(baggage::said))
}

fn borrow<T: Plain>(back: &mut Back, offset: u64, length: u64) -> Result<Found<T>, &'static str> {
    let places = usize::try_from(offset)
        .ok()
        .zip(usize::try_from(length).ok());
    let Some(sight) = back.sight.as_ref() else {
        let home = back.home.as_ref();
        let home = home.ok_or("this process may not open the memory that it lies in")?;
        let bytes =
            places.and_then(|(offset, length)| arena::read(home.as_fd(), offset, length).ok());
        let bytes = bytes.ok_or("this process could not read the memory that it lies in")?;
        let numbers = numbers_of(&bytes).ok_or("its bytes are no whole number of elements")?;
        return Ok(Found::Own(numbers));
    };
    let loan = places.and_then(|(offset, length)| Loan::new(sight, offset, length));
    let loan = loan.ok_or("its place is not in the memory that was lent")?;
    let lent = Lent::new(loan.clone()).ok_or("its bytes are no whole number of elements")?;
    if back.keeps >= KEEPS {
        return Ok(Found::Own(lent.numbers().to_vec()));
    }
    back.current.push(loan);
    Ok(Found::Lent(lent))
}

fn copy<T: Plain>(ledger: &Ledger, offset: u64, length: u64) -> Result<Found<T>, &'static str> {
    let words = ledger.area(offset, length);
    let words = words.ok_or("its place is not in the memory that the worker lends")?;
    let numbers = numbers_from(words, length as usize);
    let numbers = numbers.ok_or("its bytes are no whole number of elements")?;
    Ok(Found::Own(numbers))
}

fn copy_back<T: Plain>(offset: u64, length: u64) -> Result<Found<T>, &'static str> {
    let chunk = ANSWERED.try_with(Cell::take).ok().flatten();
    let numbers = chunk.as_ref().and_then(|chunk| {
        let mut brought = chunk.brought();
        let brought = brought.find(|brought| brought.offset() as u64 == offset)?;
        let bytes = brought.bytes();
        (bytes.len() as u64 == length).then(|| numbers_of(bytes))
    });
    let _ = ANSWERED.try_with(|cell| cell.set(chunk));
    let numbers = numbers.ok_or("the worker was not lent what it gives back")?;
    let numbers = numbers.ok_or("its bytes are no whole number of elements")?;
    Ok(Found::Own(numbers))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::process::Bulk;

    #[test]
    fn a_reference_is_found_again() {
        let one = reference(HOME, 1 << 40, 77);
        assert_eq!(parse(&one), Some([HOME, 1 << 40, 77]));
        assert_eq!(parse(&one[1..]), None);
        assert_eq!(parse(&[0; LENGTH]), None);
        assert!(find::<u8>(&one).is_none(), "nobody is being heard");
    }

    #[test]
    fn a_parent_believes_nothing() {
        let ledger = Arc::new(Ledger::new().unwrap());
        let area = AREA as u64;
        let fails = |kind, offset: u64, length: u64| {
            let one = reference(kind, offset as usize, length as usize);
            hearing(&ledger, &one, || {
                find::<u16>(&one).is_some_and(|found| found.is_err())
            })
        };
        for (offset, length) in [(area, 8), (0, area + 2), (u64::MAX - 7, 16), (4, 2), (0, 3)] {
            assert!(fails(BACK, offset, length), "{offset} {length}");
        }
        assert!(fails(HOME, 0, 8) && fails(0, 0, 8) && fails(9, 0, 8));
        assert!(fails(YOURS, 0, 8), "there is nothing");
        let lots = Arc::new(Lots::new());
        let mut chunk = Chunk::lending();
        let bulk = Bulk::from(vec![5u16; LEAST]);
        lending(&lots, || chunk.push(&bulk)).unwrap();
        let (chunk, length) = (Arc::new(chunk), 2 * LEAST as u64);
        assert!(chunk.bytes().len() < 100);
        answering(chunk, || {
            assert!(!fails(YOURS, 0, length));
            assert!(fails(YOURS, 0, length - 2) && fails(YOURS, 4096, length));
        });
        assert!(!fails(BACK, 8, 16) && !fails(BACK, 0, area));
        let (one, other) = (reference(BACK, 8, 16), reference(BACK, 8, 16));
        assert!(hearing(&ledger, &one, || find::<u16>(&other).is_none()));
    }

    #[test]
    fn numbers_that_look_like_one_are_lent_or_refused() {
        let bulk = Bulk::from(reference(HOME, 0, 8));
        let lots = Arc::new(Lots::new());
        let mut chunk = Chunk::lending();
        lending(&lots, || chunk.push(&bulk)).unwrap();
        assert_eq!(chunk.brought().count(), 1);
        assert!(Chunk::default().push(&bulk).is_err());
        assert_eq!(postcard::to_stdvec(&bulk).unwrap().len(), 1 + LENGTH);
    }
}
