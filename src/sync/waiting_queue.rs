//! The items of a channel, how many ends it has, and who waits at it.
//!
//! **Job.** [`channel`](super::channel)'s ends are counted references to one [`WaitingQueue`].
//!
//! **Protocol.** Each side has a lock and a buffer, so that senders and receivers seldom meet:
//! items are added at the [`Back`], and taken from the [`Front`]. 1. A receiver that finds the
//! front's buffer empty exchanges it for the back's, under both locks, the front's first. 2. One
//! that must wait enters its list under both locks, and so under the same as the look that found no
//! item, or no room, on either side. 3. The list of receivers is behind the back's lock, and that
//! of senders behind the front's: one that adds an item, or takes one, takes the first off the
//! other side's list under the one lock that it has. To be off the list is to be notified. 4. One
//! that was notified looks again; a quicker one may have been there, and then it waits again,
//! behind the others. 5. One that is dropped after it was notified, and before it has looked,
//! notifies the next. 6. The end of the last sender, or of the last receiver, closes the queue
//! under both locks, and notifies all.
//!
//! So there are never fewer notified receivers that have not looked than items for which one waits,
//! and the same holds of senders and room.
//!
//! How far a side has come (`Locked::moved`) is written under its lock and read without it. What it
//! says may be old, so a look that finds the queue empty, or full, is repeated under both locks. A
//! sender remembers how many items were taken, and looks again only when the queue seems full.
//!
//! No item is dropped, and no waker is cloned, woken or dropped, under a lock: these run user
//! code, which may use the same channel.
//!
//! Rejected: `async-channel`, which wakes under a lock, and takes five system calls for one item
//! that goes from thread to thread; one lock for all, which two threads that send and receive at
//! the same time wait for with each item.
//!
//! Source: Michael and Scott, *Simple, fast, and practical non-blocking and blocking concurrent
//! queue algorithms* (1996), for the two locks.
//!
//! Tests: `tests/trefoil-checks/tests/channels.rs`, in every interleaving, with a broken twin that
//! looks before it enters the list;
//! `tests/sync/sync.rs::{a_bounded_channel_between_threads_and_a_loop,
//! the_last_receiver_drops_what_is_queued}`.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use crossbeam_utils::CachePadded;

use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Mutex, MutexGuard};
use crate::parking::short_wait::pause_for;
use crate::parking::waiters::{List, wake};

/// A side of a channel.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Senders,
    Receivers,
}

/// What one waits for.
#[derive(Clone, Copy)]
pub(super) enum For {
    /// Receivers.
    Item,
    /// Senders.
    Room,
    End,
}

/// One's place in the list of those who wait; `None`: it does not wait.
pub(super) type Place = Option<u64>;

/// What became of an item.
pub(super) enum Pushed {
    Queued,
    /// Room for so many was found lately.
    Full(usize),
    Closed,
}

/// What a look has found.
pub(super) enum Popped<T> {
    Item(T),
    /// So many items came together lately.
    Empty(usize),
    Closed,
}

impl<T> Popped<T> {
    /// What was found, with another item in its place.
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Popped<U> {
        match self {
            Self::Item(item) => Popped::Item(f(item)),
            Self::Empty(came) => Popped::Empty(came),
            Self::Closed => Popped::Closed,
        }
    }
}

pub(super) struct WaitingQueue<T> {
    back: CachePadded<Locked<Back<T>>>,
    front: CachePadded<Locked<Front<T>>>,
    capacity: Option<usize>,
}

/// A side of the queue, and how far it has come, which the other side may look at.
struct Locked<S> {
    side: Mutex<S>,
    /// Of the back: twice the number of items that were added, and 1 if the queue is closed. Of the
    /// front: twice the number of those that were taken. Written under the lock; they may wrap.
    moved: AtomicUsize,
}

/// What senders use.
struct Back<T> {
    items: VecDeque<T>,
    /// What was last read of the front's `moved`.
    taken: usize,
    /// For how many items there was room then, as `came`.
    room: usize,
    /// How many ends each [`Side`] has.
    ends: [usize; 2],
    receivers: List<()>,
    /// Those that wait for the end.
    others: List<()>,
}

/// What receivers use.
struct Front<T> {
    /// Those that were added before all of the back's.
    items: VecDeque<T>,
    /// How many the last exchanges have brought: the most, of which each one forgets half.
    came: usize,
    senders: List<()>,
}

type Both<'a, T> = (MutexGuard<'a, Front<T>>, MutexGuard<'a, Back<T>>);

/// An item was added, or taken.
const ONE: usize = 2;
const CLOSED: usize = 1;

impl<S> Locked<S> {
    fn new(side: S) -> Self {
        Self {
            side: Mutex::new(side),
            moved: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, S> {
        self.side.lock()
    }

    /// (Acquire, for those who see that the queue was closed.)
    fn moved(&self) -> usize {
        self.moved.load(Ordering::Acquire)
    }

    /// Its lock is held.
    fn moves(&self, by: usize) {
        let moved = self.moved().wrapping_add(by);
        self.moved.store(moved, Ordering::Release);
    }
}

/// Enters the list, or stays there with another waker. The caller drops what this returns.
#[must_use]
fn enter(list: &mut List<()>, place: &mut Place, waker: Waker) -> Option<Waker> {
    match place.and_then(|key| list.get(key)) {
        Some((_, before)) => before.replace(waker),
        None => {
            *place = Some(list.enter((), Some(waker)));
            None
        }
    }
}

/// Leaves the list. The caller drops what this returns.
#[must_use]
fn leave(list: &mut List<()>, place: &mut Place) -> Option<Waker> {
    list.remove(place.take()?)?.1
}

/// Notifies the first. The caller wakes it.
#[must_use]
fn notify(list: &mut List<()>) -> Option<Waker> {
    let (_, (_, waker)) = list.pop_first()?;
    waker
}

impl<T> WaitingQueue<T> {
    /// An empty queue, with one end on each side.
    pub(super) fn new(capacity: Option<usize>) -> Self {
        let back = Back {
            items: VecDeque::new(),
            taken: 0,
            room: 0,
            ends: [1; 2],
            receivers: List::EMPTY,
            others: List::EMPTY,
        };
        let front = Front {
            items: VecDeque::new(),
            came: 0,
            senders: List::EMPTY,
        };
        Self {
            back: CachePadded::new(Locked::new(back)),
            front: CachePadded::new(Locked::new(front)),
            capacity,
        }
    }

    fn lock_both(&self) -> Both<'_, T> {
        (self.front.lock(), self.back.lock())
    }

    /// For how long one pauses until the next batch, after one of so many items: longer where more
    /// come, so that the two sides seldom meet, but not until the queue is full, or empty.
    fn pause(&self, batch: usize) -> usize {
        self.capacity.map_or(batch, |most| batch.min(most / 16))
    }

    /// For how many items there is room, if so many were taken.
    fn room(&self, taken: usize) -> usize {
        let queued = self.back.moved().wrapping_sub(taken) / ONE;
        self.capacity
            .map_or(usize::MAX, |most| most.saturating_sub(queued))
    }

    /// Whether a sender must wait for room, as far as one sees that has this lock; exactly under
    /// both.
    fn is_full(&self, back: &mut Back<T>) -> bool {
        if self.room(back.taken) > 0 || self.is_closed() {
            return false;
        }
        back.taken = self.front.moved();
        match self.room(back.taken) {
            0 => true,
            room => {
                back.room = room.max(back.room / 2);
                false
            }
        }
    }

    /// Adds the item, and takes it out of `item`, unless the queue is closed. There is room.
    /// (A part of its callers: as a call it takes ten of their sixty instructions.)
    #[inline(always)]
    fn add(&self, mut back: MutexGuard<'_, Back<T>>, item: &mut Option<T>) -> Pushed {
        if self.is_closed() {
            return Pushed::Closed;
        }
        if let Some(item) = item.take() {
            back.items.push_back(item);
            self.back.moves(ONE);
            let receiver = notify(&mut back.receivers);
            drop(back);
            wake(receiver);
        }
        Pushed::Queued
    }

    /// Adds the item, and takes it out of `item` then, if room for it was found before.
    #[inline]
    pub(super) fn push_at_once(&self, item: &mut Option<T>) -> Pushed {
        let back = self.back.lock();
        match self.room(back.taken) {
            0 => Pushed::Full(self.pause(back.room)),
            _ => self.add(back, item),
        }
    }

    /// Adds the item, and takes it out of `item` then, if there seems to be room: what it sees of
    /// the other side may be old.
    #[inline]
    pub(super) fn push(&self, item: &mut Option<T>) -> Pushed {
        let mut back = self.back.lock();
        match self.is_full(&mut back) {
            true => Pushed::Full(back.room),
            false => self.add(back, item),
        }
    }

    /// Adds the item if there is room, and takes it out of `item` then; if there is none, `waker`
    /// is woken when there may be some.
    pub(super) fn push_or_wait(
        &self,
        item: &mut Option<T>,
        place: &mut Place,
        waker: Option<Waker>,
    ) -> Pushed {
        let (mut front, mut back) = self.lock_both();
        if self.is_full(&mut back) {
            let replaced = waker.and_then(|waker| enter(&mut front.senders, place, waker));
            let pushed = Pushed::Full(back.room);
            drop((front, back));
            drop(replaced);
            return pushed;
        }
        let left = leave(&mut front.senders, place);
        drop(front);
        let pushed = self.add(back, item);
        drop((left, waker));
        pushed
    }

    /// Counts an item that was taken off the front, and notifies a sender: as [`add`](Self::add).
    #[inline(always)]
    fn taken(&self, mut front: MutexGuard<'_, Front<T>>, item: T) -> Popped<T> {
        self.front.moves(ONE);
        let sender = notify(&mut front.senders);
        drop(front);
        wake(sender);
        Popped::Item(item)
    }

    /// Takes the next item, if it came with others before.
    #[inline]
    pub(super) fn pop_at_once(&self) -> Popped<T> {
        let mut front = self.front.lock();
        match front.items.pop_front() {
            Some(item) => self.taken(front, item),
            None => Popped::Empty(self.pause(front.came)),
        }
    }

    /// Takes the next item, if there seems to be one: what it sees of the other side may be old. If
    /// items have come in batches, it pauses for the time of some, before it begins a small one.
    #[inline]
    pub(super) fn pop(&self, place: &mut Place) -> Popped<T> {
        let mut front = self.front.lock();
        if front.items.is_empty() {
            let ahead = self.back.moved().wrapping_sub(self.front.moved());
            if ahead == 0 {
                return Popped::Empty(front.came);
            }
            // A receiver that is quicker than the senders would meet them at each item.
            let batch = self.pause(front.came);
            if !self.is_closed() && ahead / ONE < batch / 2 {
                drop(front);
                pause_for(batch);
                front = self.front.lock();
            }
        }
        if place.is_none()
            && let Some(item) = front.items.pop_front()
        {
            return self.taken(front, item);
        }
        self.pop_from_both(front, place, None)
    }

    /// Takes the next item; if there is none, `waker` is woken when there may be one.
    pub(super) fn pop_or_wait(&self, place: &mut Place, waker: Option<Waker>) -> Popped<T> {
        self.pop_from_both(self.front.lock(), place, waker)
    }

    fn pop_from_both(
        &self,
        mut front: MutexGuard<'_, Front<T>>,
        place: &mut Place,
        waker: Option<Waker>,
    ) -> Popped<T> {
        let mut back = self.back.lock();
        if front.items.is_empty() && !back.items.is_empty() {
            mem::swap(&mut front.items, &mut back.items);
            front.came = front.items.len().max(front.came / 2);
        }
        let item = front.items.pop_front();
        if item.is_none() && !self.is_closed() {
            let replaced = waker.and_then(|waker| enter(&mut back.receivers, place, waker));
            let came = front.came;
            drop(back);
            drop(front);
            drop(replaced);
            return Popped::Empty(came);
        }
        let left = leave(&mut back.receivers, place);
        drop(back);
        let popped = match item {
            Some(item) => self.taken(front, item),
            None => {
                drop(front);
                Popped::Closed
            }
        };
        drop((left, waker));
        popped
    }

    /// Whether the queue is closed; if not, `waker` is woken when it is.
    pub(super) fn is_closed_or_waits(&self, place: &mut Place, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut back = self.back.lock();
        let is_closed = self.is_closed();
        let unused = if is_closed {
            Some(waker)
        } else {
            enter(&mut back.others, place, waker)
        };
        drop(back);
        drop(unused);
        is_closed
    }

    /// One that waits goes; a notification that it has not seen goes to another.
    #[inline]
    pub(super) fn give_up(&self, wanted: For, place: &mut Place) {
        if let Some(key) = place.take() {
            self.gives_up(wanted, key);
        }
    }

    #[cold]
    fn gives_up(&self, wanted: For, key: u64) {
        let (mut front, mut back) = self.lock_both();
        let list = match wanted {
            For::Item => &mut back.receivers,
            For::Room => &mut front.senders,
            For::End => &mut back.others,
        };
        let left = list.remove(key);
        let next = match left {
            None => notify(list),
            Some(_) => None,
        };
        drop((front, back));
        drop(left);
        wake(next);
    }

    /// Closes the queue; false: it was closed.
    pub(super) fn close(&self) -> bool {
        self.close_locked(self.lock_both())
    }

    fn close_locked(&self, (mut front, mut back): Both<'_, T>) -> bool {
        if self.is_closed() {
            return false;
        }
        self.back.moves(CLOSED);
        let waiting = [
            mem::replace(&mut front.senders, List::EMPTY),
            mem::replace(&mut back.receivers, List::EMPTY),
            mem::replace(&mut back.others, List::EMPTY),
        ];
        drop((front, back));
        for mut list in waiting {
            while let Some((_, (_, waker))) = list.pop_first() {
                wake(waker);
            }
        }
        true
    }

    /// Counts one more end on this side.
    pub(super) fn add_end(&self, side: Side) {
        self.back.lock().ends[side as usize] += 1;
    }

    /// An end on this side is dropped. What is queued goes with the last receiver.
    pub(super) fn remove_end(&self, side: Side) {
        let (mut front, mut back) = self.lock_both();
        let ends = &mut back.ends[side as usize];
        *ends -= 1;
        if *ends > 0 {
            return;
        }
        let unread = match side {
            Side::Senders => Default::default(),
            Side::Receivers => (mem::take(&mut front.items), mem::take(&mut back.items)),
        };
        self.close_locked((front, back));
        drop(unread);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.back.moved() & CLOSED != 0
    }

    pub(super) fn len(&self) -> usize {
        let (front, back) = self.lock_both();
        front.items.len() + back.items.len()
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.capacity
    }
}
