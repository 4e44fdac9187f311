//! Encoded arguments, as they go over the wire.
//!
//! A [`Chunk`] holds the arguments of consecutive items, each after its length, so that any run of
//! them is one slice that can be sent as it is. The caller's thread writes it. Then it is shared
//! read-only by the scheduler, which cuts frames out of it ([`Piece`]) and may cut the same items
//! out again after a worker died, and by the socket's queue, which sends from it without a copy.
//! The attachments of the arguments (`attachments`) are kept with them, until they are released.
//!
//! Tests: below.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use postcard_described::is_number;
use serde::Serialize;

use super::attachments::AttachedFile;
use super::codec::{NUMBER, encode, encode_own, write_number};
use super::copies::{CopySource, Sources};
use super::lent_arrays::{ArrayPlace, Lent, LentList, SharedBuffer};
use super::scope::Encoding;
use crate::loom::Mutex;
use crate::process::limits::MAX_DESCRIPTORS;
use crate::process::wire;
use crate::sync::SemaphoreGuardArc;

/// A chunk with this many items or bytes is handed over to the scheduler.
const FULL_ITEMS: usize = 1 << 16;
const FULL_BYTES: usize = 512 << 10;
/// Room for the first item, in bytes.
const FIRST: usize = 32;
/// The same, if it is a number: no more than need be, because many may wait.
const FIRST_NUMBER: usize = 16;
/// Room for more numbers, in bytes.
const MORE: usize = 1 << 10;

/// Attachments, each with the index of its item.
type Attached = Vec<(usize, Arc<AttachedFile>)>;

/// The arguments of consecutive items.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// Where each item ends, except for the last: a single item takes no memory here. Only the last
    /// end can exceed 32 bits, because the chunk is full then.
    ends: Vec<u32>,
    /// Where the last item ends. After it there may be other bytes: of an item that could not be
    /// encoded, or room for the next number.
    end: usize,
    /// What travels with the bytes of some item. (In a box: most have nothing, and many may wait.)
    besides: Option<Box<Besides>>,
    /// The encoding context of the items to come.
    encoding: Option<Box<Encoding>>,
}

/// What travels with the bytes of some items.
#[derive(Debug, Default)]
struct Besides {
    /// The attachments, each with the index of its item, in the order of the items. They may have
    /// been released since. `None`: no item had any.
    attached: Option<Mutex<Attached>>,
    /// The items with an attachment that no copy can replace, released or not, in order.
    uncopyable: Vec<usize>,
    /// Numbers in shared memory, in the order of the items; `at` is an offset into `bytes`.
    lent: Vec<Lent>,
    /// One of the caller's permits to be ahead of the workers, until the chunk is dropped.
    permit: Option<SemaphoreGuardArc>,
}

impl Chunk {
    /// A chunk whose large arrays are lent: for a pool's calls.
    pub(crate) fn lending(buffer: &Arc<SharedBuffer>) -> Self {
        Self {
            encoding: Some(Encoding::lending(buffer.clone())),
            ..Self::default()
        }
    }

    /// Large arrays of its items that are not lent are sent ahead.
    pub(crate) fn sending_ahead(mut self) -> Self {
        self.encoding.get_or_insert_default().sends_ahead = true;
        self
    }

    /// A chunk that lends nothing. If it is `of_bytes`, for workers that get nothing else, its
    /// items have only attachments that can be copied.
    pub(crate) fn new(of_bytes: bool) -> Self {
        Self {
            encoding: of_bytes.then(Encoding::bytes),
            ..Self::default()
        }
    }

    /// Keeps a permit to be ahead of the workers until it is dropped.
    pub(crate) fn keep_permit(&mut self, permit: SemaphoreGuardArc) {
        self.besides.get_or_insert_default().permit = Some(permit);
    }

    /// No more items come: what waits for a worker is no longer than need be.
    pub(crate) fn complete(mut self) -> Self {
        self.encoding = None;
        self
    }

    /// Takes the items out, and leaves an empty chunk with room for `more` times as many.
    pub(crate) fn take(&mut self, more: usize) -> Self {
        let next = Self {
            bytes: Vec::with_capacity((more * self.end).min(FULL_BYTES) + FIRST + MORE),
            ends: Vec::with_capacity((more * self.len()).min(FULL_ITEMS)),
            encoding: self.encoding.take(),
            ..Self::default()
        };
        std::mem::replace(self, next)
    }

    /// Appends an argument. After an error the chunk is as before.
    #[inline]
    pub(crate) fn push<A: Serialize + 'static>(
        &mut self,
        argument: &A,
    ) -> Result<(), postcard::Error> {
        self.push_with(|out, encoding| encode(argument, out, encoding))
    }

    /// Appends an argument that is not needed any more: if it is one large array, that is moved out
    /// of it. After an error chunk and argument are as before.
    #[inline]
    pub(crate) fn push_own<A: Serialize + 'static>(
        &mut self,
        argument: &mut A,
    ) -> Result<(), postcard::Error> {
        if is_number::<A>() {
            return self.push_number(argument);
        }
        self.push_with(|out, encoding| encode_own(argument, out, encoding))
    }

    /// Appends a number, which is written in place: nothing travels with it, and it is short.
    #[inline]
    fn push_number<A: Serialize>(&mut self, number: &A) -> Result<(), postcard::Error> {
        let start = self.end;
        if self.bytes.len() - start <= NUMBER {
            self.bytes.resize(start + FIRST_NUMBER + start.min(MORE), 0);
        }
        if let Some([head, room @ ..]) = self.bytes[start..].first_chunk_mut::<{ 1 + NUMBER }>() {
            let length = write_number(number, room)?;
            *head = length as u8;
            self.end = start + 1 + length;
        }
        self.begin_behind(start);
        Ok(())
    }

    /// Another item begins at `start`, where the one before ends.
    #[inline]
    fn begin_behind(&mut self, start: usize) {
        if start > 0 {
            self.ends.push(u32::try_from(start).unwrap_or(u32::MAX));
        }
    }

    #[inline]
    fn push_with(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>, &mut Option<Box<Encoding>>) -> Result<(), postcard::Error>,
    ) -> Result<(), postcard::Error> {
        let start = self.end;
        self.bytes.truncate(start);
        // Room for the item's length: the most for the first item. A large item is the only one of
        // its chunk, so it need not be moved when its length is known.
        if start == 0 {
            self.bytes.reserve(FIRST);
            self.bytes.extend_from_slice(&[0; 9]);
        } else {
            self.bytes.push(0);
        }
        let from = self.bytes.len();
        encode(&mut self.bytes, &mut self.encoding)?;
        let item = wire::close_item(&mut self.bytes, start, from);
        self.end = self.bytes.len();
        self.begin_behind(start);
        if let Some(encoding) = self.encoding.as_mut().filter(|own| !own.is_empty()) {
            let (index, besides) = (self.ends.len(), self.besides.get_or_insert_default());
            if !encoding.attachments.is_empty() {
                if encoding.attachments.iter().any(|one| !one.is_fixed()) {
                    besides.uncopyable.push(index);
                }
                let attachments = encoding.attachments.drain(..);
                let attachments = attachments.map(|attachment| (index, attachment));
                let attached = besides.attached.get_or_insert_default();
                attached.lock().extend(attachments);
            }
            // Closing the item may have moved it.
            besides
                .lent
                .extend(encoding.lent.drain(..).map(|lent| Lent {
                    at: lent.at - from + item,
                    ..lent
                }));
        }
        Ok(())
    }

    /// Where the first `count` items end.
    fn end(&self, count: usize) -> usize {
        match count.checked_sub(1) {
            None => 0,
            Some(last) if last + 1 == self.len() => self.end,
            // 0: the piece has no bytes any more.
            Some(last) => self.ends.get(last).map_or(0, |end| *end as usize),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.ends.len() + usize::from(self.end > 0)
    }

    fn attachments(&self) -> Option<&Mutex<Attached>> {
        self.besides.as_ref()?.attached.as_ref()
    }

    fn lent(&self) -> &[Lent] {
        self.besides.as_ref().map_or(&[], |besides| &besides.lent)
    }

    /// Whether some item had attachments, which may have been released since.
    pub(crate) fn has_attachments(&self) -> bool {
        self.attachments().is_some()
    }

    /// Whether some item has an attachment that no copy can replace, so that a plain worker cannot
    /// run it.
    pub(crate) fn is_uncopyable(&self) -> bool {
        self.has_uncopyable(0..self.len())
    }

    fn has_uncopyable(&self, items: Range<usize>) -> bool {
        let besides = self.besides.as_ref();
        besides.is_some_and(|own| own.uncopyable.iter().any(|item| items.contains(item)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Whether it is time to hand the chunk over and to begin another.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        let lent = || self.lent().iter().map(|lent| lent.length).sum::<usize>();
        self.len() >= FULL_ITEMS || self.end + lent() >= FULL_BYTES
    }

    /// Calls `look` with the attachments of these items.
    fn attached<T>(
        &self,
        items: Range<usize>,
        look: impl FnOnce(&[(usize, Arc<AttachedFile>)]) -> T,
    ) -> T {
        let Some(attached) = self.attachments() else {
            return look(&[]);
        };
        let attached = attached.lock();
        let place = |item| attached.partition_point(|(at, _)| *at < item);
        look(&attached[place(items.start)..place(items.end)])
    }

    /// How many of the items may go into one frame: at least one. One message must carry all their
    /// descriptors, and an item with ends goes alone.
    fn fits_one_message(&self, items: Range<usize>) -> usize {
        let (first, count) = (items.start, items.len());
        self.attached(items, |attached| {
            let mut distinct = HashSet::new();
            for (item, attachment) in attached {
                distinct.insert(attachment.id);
                if attachment.is_end() || distinct.len() > MAX_DESCRIPTORS {
                    return (item - first).max(1);
                }
            }
            count
        })
    }
}

/// A run of items of one chunk.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) chunk: Arc<Chunk>,
    /// The index, in the whole job, of the chunk's first item.
    pub(crate) base: usize,
    /// The piece's items, as indices in the chunk. (Few bits: many pieces may wait.)
    items: Range<u32>,
    /// How often they were taken back from a worker that was about to begin them.
    pub(crate) moves: u32,
}

impl Piece {
    pub(crate) fn whole(chunk: Arc<Chunk>, base: usize) -> Self {
        let items = 0..chunk.len() as u32;
        Self {
            chunk,
            base,
            items,
            moves: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// The index, in the whole job, of its first item.
    pub(crate) fn first(&self) -> usize {
        self.base + self.items.start as usize
    }

    /// Its items, as indices in the chunk.
    fn range(&self) -> Range<usize> {
        self.items.start as usize..self.items.end as usize
    }

    /// The items `from..to` of this piece.
    pub(crate) fn part(&self, from: usize, to: usize) -> Self {
        let items = self.items.start + from as u32..self.items.start + to as u32;
        Self {
            items,
            ..self.clone()
        }
    }

    /// The same items without their bytes and attachments, for items that are never sent again.
    pub(crate) fn without_bytes(&self) -> Self {
        Self {
            chunk: Arc::default(),
            ..self.clone()
        }
    }

    /// Cuts off and returns the front: at most `most` items and about `most_bytes`
    /// bytes, but at least one item.
    pub(crate) fn cut(&mut self, most: usize, most_bytes: usize) -> Self {
        let first = self.items.start as usize;
        let limit = self.chunk.end(first).saturating_add(most_bytes);
        let behind = first + most.min(self.len());
        let ends = &self.chunk.ends[first..behind.min(self.chunk.ends.len())];
        let fit = if self.chunk.end(behind) <= limit {
            behind - first
        } else {
            ends.partition_point(|end| *end as usize <= limit)
        };
        let count = self.chunk.fits_one_message(first..first + fit.max(1));
        let front = self.part(0, count);
        self.items.start += count as u32;
        front
    }

    /// Whether anything may travel with the bytes of its items. (Seldom: otherwise nobody need look
    /// for it.)
    #[inline]
    pub(crate) fn is_accompanied(&self) -> bool {
        self.chunk.besides.is_some()
    }

    /// The attachments of its items, each once.
    pub(crate) fn attachments(&self) -> Vec<Arc<AttachedFile>> {
        let mut known = HashSet::new();
        self.chunk.attached(self.range(), |attached| {
            let new = attached
                .iter()
                .filter(|(_, attachment)| known.insert(attachment.id));
            new.map(|(_, attachment)| attachment.clone()).collect()
        })
    }

    /// The lent numbers of its items.
    fn missing(&self) -> &[Lent] {
        let lent = self.chunk.lent();
        if lent.is_empty() {
            return lent;
        }
        let span = self.span();
        // Numbers are missing after a byte of their item, so never at its beginning, but perhaps at
        // its end.
        let place = |at| lent.partition_point(|lent| lent.at <= at);
        &lent[place(span.start)..place(span.end)]
    }

    /// The lent numbers of its items, as the list that travels.
    pub(crate) fn lent(&self) -> LentList {
        let start = self.span().start;
        let missing = self.missing().iter();
        missing.map(|lent| lent.numbers(start)).collect()
    }

    /// The list of its lent numbers as if all of them were sent ahead, and what is sent then.
    pub(crate) fn apart(&self) -> Result<(LentList, Sources), &'static str> {
        let start = self.span().start;
        let (mut list, mut sources) = (LentList::new(), Sources::new());
        for lent in self.missing() {
            let (entry, source) = lent.apart(start)?;
            sources.push((entry[1], source));
            list.push(entry);
        }
        Ok((list, sources))
    }

    /// The memory that a worker must map to decode its items.
    pub(crate) fn home(&self) -> Option<&Arc<AttachedFile>> {
        let mut missing = self.missing().iter();
        missing.find_map(|lent| match &lent.place {
            ArrayPlace::Block(_, attachment) => attachment.as_ref(),
            ArrayPlace::Ahead(..) => None,
        })
    }

    /// The arrays of its items that are sent ahead of it, with their numbers.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = (u64, CopySource)> {
        self.missing().iter().filter_map(Lent::sent_ahead)
    }

    /// How many bytes of arrays are sent ahead of it.
    pub(crate) fn ahead_bytes(&self) -> usize {
        let missing = self.missing().iter();
        let ahead = missing.filter(|lent| matches!(lent.place, ArrayPlace::Ahead(..)));
        ahead.map(|lent| lent.length).sum()
    }

    /// Whether its first item has ends of channels, so that it goes alone ([`cut`](Self::cut)).
    pub(crate) fn has_ends(&self) -> bool {
        let first = self.range().start;
        let first = first..first + 1;
        self.chunk.attached(first, |attached| {
            attached.iter().any(|(_, attachment)| attachment.is_end())
        })
    }

    /// Whether its first item, with its arrays, is larger than `most` bytes, or its chunk has
    /// attachments.
    pub(crate) fn is_heavy(&self, most: usize) -> bool {
        let first = self.part(0, 1);
        let arrays = first.missing().iter().map(|lent| lent.length);
        self.chunk.has_attachments() || first.span().len() + arrays.sum::<usize>() > most
    }

    /// Whether one of its items has an attachment that no copy can replace, released or not.
    pub(crate) fn is_uncopyable(&self) -> bool {
        self.chunk.has_uncopyable(self.range())
    }

    /// Releases the ends of channels of its items: they have arrived, and will not be sent again.
    pub(crate) fn release(&self) {
        if let Some(attached) = self.chunk.attachments() {
            attached
                .lock()
                .retain(|(item, one)| !(one.is_end() && self.range().contains(item)));
        }
    }

    /// Its encoded items.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.chunk.bytes[self.span()]
    }

    /// Where its bytes are in the chunk.
    pub(crate) fn span(&self) -> Range<usize> {
        let items = self.range();
        self.chunk.end(items.start)..self.chunk.end(items.end)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::process::value::reason;
    use crate::process::value::scope;
    use crate::process::wire::Reader;
    use serde::ser::{Error, Serializer};

    /// A value with a descriptor.
    struct Brings(Arc<AttachedFile>);

    impl Serialize for Brings {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.serialize_u64(scope::attach(&self.0).map_err(S::Error::custom)?)
        }
    }

    #[test]
    fn an_item_with_ends_goes_alone_and_can_be_released() {
        let [file, end] =
            [0, 1].map(|_| AttachedFile::new(std::fs::File::open("/dev/null").unwrap().into()));
        end.set_end();
        let mut chunk = Chunk::default();
        for attachment in [&file, &file, &end, &file, &end, &end] {
            chunk.push(&Brings(attachment.clone())).unwrap();
        }
        let mut left = Piece::whole(Arc::new(chunk), 0);
        let mut cuts = Vec::new();
        while left.len() > 0 {
            cuts.push(left.cut(10, usize::MAX));
        }
        let seen: Vec<_> = cuts.iter().map(|p| (p.len(), p.has_ends())).collect();
        let [several, one, last] = [(2, false), (1, true), (1, false)];
        assert_eq!(seen, [several, one, last, one, one]);
        assert_eq!(Arc::strong_count(&end), 4);
        cuts[1].release();
        assert_eq!(Arc::strong_count(&end), 3, "the others have theirs");
        cuts[4].release();
        assert!(cuts[4].attachments().is_empty() && cuts[3].attachments().len() == 1);
        assert!(cuts[4].is_uncopyable() && cuts[3].is_uncopyable());
        assert_eq!(cuts[0].attachments().len(), 1);
    }

    struct Refuses;

    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            let _ = s.serialize_u64(1 << 60)?;
            Err(S::Error::custom("never"))
        }
    }

    fn items(piece: &Piece) -> Vec<Vec<u8>> {
        let mut reader = Reader(&piece.chunk.bytes[piece.span()]);
        std::iter::from_fn(|| reader.bytes().map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn pieces_are_slices_of_items() {
        let mut chunk = Chunk::default();
        let texts = [
            "a".to_owned(),
            "b".repeat(300),
            String::new(),
            "c".repeat(20_000),
        ];
        for text in &texts {
            chunk.push(text).unwrap();
            assert!(chunk.push(&Refuses).is_err());
            assert!(reason::take().is_some_and(|words| words.contains("never")));
        }
        assert_eq!(chunk.len(), 4);
        let mut piece = Piece::whole(Arc::new(chunk), 10);
        let encoded: Vec<_> = texts
            .iter()
            .map(|t| postcard::to_stdvec(t).unwrap())
            .collect();
        assert_eq!(items(&piece), encoded);
        let front = piece.cut(3, 400);
        assert_eq!((front.len(), front.first(), piece.first()), (3, 10, 13));
        assert_eq!(items(&front), encoded[..3]);
        assert_eq!(items(&front.part(1, 2)), encoded[1..2]);
        let last = piece.cut(9, 1);
        assert_eq!(items(&last), encoded[3..], "at least one, however large");
        assert_eq!(piece.len(), 0);
    }
}
