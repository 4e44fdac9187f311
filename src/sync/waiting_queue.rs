//! The items of a channel, how many ends it has, and who waits at it.
//!
//! **Job.** [`channel`](super::channel)'s ends are counted references to one [`WaitingQueue`].
//!
//! **Protocol.** Items, ends and the lists of those who wait are behind one lock. 1. One that must
//! wait enters its list under the same lock as the look that found no item, or no room. 2. One that
//! adds an item, or takes one, takes the first off the other side's list: to be off the list is to
//! be notified. 3. One that was notified looks again; a quicker one may have been there, and then
//! it waits again, behind the others. 4. One that is dropped after it was notified, and before it
//! has looked, notifies the next. 5. The end of the last sender, or of the last receiver, closes
//! the queue, and notifies all.
//!
//! So there are never fewer notified receivers that have not looked than items for which one waits,
//! and the same holds of senders and room.
//!
//! No item is dropped, and no waker is cloned, woken or dropped, under the lock: these run user
//! code, which may use the same channel.
//!
//! Rejected: `async-channel`, which wakes under a lock, and takes five system calls for one item
//! that goes from thread to thread; a lock for each end, with two buffers that are exchanged when
//! one is empty (Michael and Scott, 1996), which was no faster next to other programs.
//!
//! Tests: `tests/trefoil-checks/tests/channels.rs`, in every interleaving, with a broken twin that
//! looks before it enters the list;
//! `tests/sync/sync.rs::{a_bounded_channel_between_threads_and_a_loop,
//! the_last_receiver_drops_what_is_queued}`.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use crate::loom::{Mutex, MutexGuard};
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
    Full,
    Closed,
}

/// What a look has found.
pub(super) enum Popped<T> {
    Item(T),
    Empty,
    Closed,
}

pub(super) struct WaitingQueue<T> {
    state: Mutex<State<T>>,
    capacity: Option<usize>,
}

struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
    /// How many ends each [`Side`] has.
    ends: [usize; 2],
    /// Who waits [`For`] what.
    waiting: [List<()>; 3],
}

impl<T> State<T> {
    fn list(&mut self, wanted: For) -> &mut List<()> {
        &mut self.waiting[wanted as usize]
    }

    fn ends(&mut self, side: Side) -> &mut usize {
        &mut self.ends[side as usize]
    }

    /// Enters the list, or stays there with another waker. The caller drops what this returns.
    #[must_use]
    fn wait(&mut self, wanted: For, place: &mut Place, waker: Waker) -> Option<Waker> {
        let list = self.list(wanted);
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
    fn leave(&mut self, wanted: For, place: &mut Place) -> Option<Waker> {
        let left = self.list(wanted).remove(place.take()?)?;
        left.1
    }

    /// Notifies the first. The caller wakes it.
    #[must_use]
    fn notify(&mut self, wanted: For) -> Option<Waker> {
        let (_, (_, waker)) = self.list(wanted).pop_first()?;
        waker
    }
}

impl<T> WaitingQueue<T> {
    /// An empty queue, with one end on each side.
    pub(super) fn new(capacity: Option<usize>) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                is_closed: false,
                ends: [1; 2],
                waiting: [List::EMPTY; 3],
            }),
            capacity,
        }
    }

    /// Adds the item if there is room, and takes it out of `item` then. If not, and with a waker,
    /// the sender waits.
    fn add_item(&self, item: &mut Option<T>, place: &mut Place, waker: Option<Waker>) -> Pushed {
        let mut state = self.state.lock();
        let is_full = self.capacity.is_some_and(|most| state.items.len() >= most);
        if is_full && !state.is_closed {
            let replaced = waker.and_then(|waker| state.wait(For::Room, place, waker));
            drop(state);
            drop(replaced);
            return Pushed::Full;
        }
        let left = state.leave(For::Room, place);
        let (receiver, pushed) = if state.is_closed {
            (None, Pushed::Closed)
        } else if let Some(item) = item.take() {
            state.items.push_back(item);
            (state.notify(For::Item), Pushed::Queued)
        } else {
            (None, Pushed::Queued)
        };
        drop(state);
        drop((left, waker));
        wake(receiver);
        pushed
    }

    /// Takes the next item. If there is none yet, and with a waker, the receiver waits.
    fn take_item(&self, place: &mut Place, waker: Option<Waker>) -> Popped<T> {
        let mut state = self.state.lock();
        let item = state.items.pop_front();
        if item.is_none() && !state.is_closed {
            let replaced = waker.and_then(|waker| state.wait(For::Item, place, waker));
            drop(state);
            drop(replaced);
            return Popped::Empty;
        }
        let left = state.leave(For::Item, place);
        let sender = state.notify(For::Room);
        drop(state);
        drop((left, waker));
        wake(sender);
        item.map_or(Popped::Closed, Popped::Item)
    }

    /// Adds the item if there is room, and takes it out of `item` then.
    pub(super) fn push(&self, item: &mut Option<T>) -> Pushed {
        self.add_item(item, &mut None, None)
    }

    /// Like [`push`](Self::push); if there is no room, `waker` is woken when there may be some.
    pub(super) fn push_or_wait(
        &self,
        item: &mut Option<T>,
        place: &mut Place,
        waker: &Waker,
    ) -> Pushed {
        match self.add_item(item, place, None) {
            Pushed::Full => self.add_item(item, place, Some(waker.clone())),
            pushed => pushed,
        }
    }

    /// Takes the next item, if there is one.
    pub(super) fn pop(&self) -> Popped<T> {
        self.take_item(&mut None, None)
    }

    /// Like [`pop`](Self::pop); if there is no item, `waker` is woken when there may be one.
    pub(super) fn pop_or_wait(&self, place: &mut Place, waker: &Waker) -> Popped<T> {
        match self.take_item(place, None) {
            Popped::Empty => self.take_item(place, Some(waker.clone())),
            popped => popped,
        }
    }

    /// Whether the queue is closed; if not, `waker` is woken when it is.
    pub(super) fn is_closed_or_waits(&self, place: &mut Place, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = self.state.lock();
        let is_closed = state.is_closed;
        let unused = if is_closed {
            Some(waker)
        } else {
            state.wait(For::End, place, waker)
        };
        drop(state);
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
        let mut state = self.state.lock();
        let left = state.list(wanted).remove(key);
        let next = match left {
            None => state.notify(wanted),
            Some(_) => None,
        };
        drop(state);
        drop(left);
        wake(next);
    }

    /// Closes the queue; false: it was closed.
    pub(super) fn close(&self) -> bool {
        Self::close_locked(self.state.lock())
    }

    fn close_locked(mut state: MutexGuard<'_, State<T>>) -> bool {
        if mem::replace(&mut state.is_closed, true) {
            return false;
        }
        let waiting = mem::replace(&mut state.waiting, [List::EMPTY; 3]);
        drop(state);
        for mut list in waiting {
            while let Some((_, (_, waker))) = list.pop_first() {
                wake(waker);
            }
        }
        true
    }

    /// Counts one more end on this side.
    pub(super) fn add_end(&self, side: Side) {
        *self.state.lock().ends(side) += 1;
    }

    /// Counts one more sender, unless the queue is closed.
    pub(super) fn add_sender_if_open(&self) -> bool {
        let mut state = self.state.lock();
        let is_open = !state.is_closed;
        *state.ends(Side::Senders) += usize::from(is_open);
        is_open
    }

    /// An end on this side is dropped. What is queued goes with the last receiver.
    pub(super) fn remove_end(&self, side: Side) {
        let mut state = self.state.lock();
        *state.ends(side) -= 1;
        if *state.ends(side) > 0 {
            return;
        }
        let unread = match side {
            Side::Senders => VecDeque::new(),
            Side::Receivers => mem::take(&mut state.items),
        };
        Self::close_locked(state);
        drop(unread);
    }

    /// How many ends this side has.
    pub(super) fn ends(&self, side: Side) -> usize {
        *self.state.lock().ends(side)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.capacity
    }
}
