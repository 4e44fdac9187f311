//! Many waiters for one event, each with a waker.
//!
//! **Job.** The locks, channels, events, tokens and shared tasks of this crate keep their waiters
//! here: in [`Waiters`], or in a [`List`] behind a lock of their own.
//!
//! **Protocol.** 1. A waiter enters the list, and then checks whether what it waits for has
//! happened. That happens first, and then waiters are woken. Both take the list's lock, so one of
//! the two sees the other. 2. A waiter that is woken is taken off the list: to be off the list is
//! to be notified. 3. Waiters are woken in the order in which they came. 4. One that is dropped
//! after `wake_one` has notified it, and before it has seen that, passes the
//! notification on to the next. After [`wake_all`](Waiters::wake_all) there is nothing to pass on:
//! those that have come since wait for another event. 5. Where waiters want different things, each
//! has a kind `K`, and `admit` notifies those whose turn it is.
//!
//! No waker is cloned, woken or dropped under the lock, because these run user code, which may use
//! the same object.
//!
//! Rejected: `event-listener`, which does all three under its lock.
//!
//! Tests: `tests/trefoil-checks/tests/models.rs::{cancelled_is_awaited_twice_vs_cancel,
//! shared_two_joins_vs_complete}`, `tests/trefoil-checks/tests/conditions.rs`,
//! `tests/sync/wakers.rs::a_waker_may_use_what_it_waits_for`.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::block_on::refuse_for;
use super::lock_events::{Access, Blocked, Lock};
use super::park::{self, Waited};
pub(crate) use crate::blocking_threads::wake; // a panic must not keep others waiting
use crate::loom::{Arc, Mutex};

/// An empty list keeps the memory for so many waiters: most have no more at a time.
const FEW: usize = 4;

/// A list of waiters, each of a kind.
pub(crate) struct Waiters<K = ()>(Mutex<List<K>>);

/// The waiters themselves, in the order in which they came, each under a key.
pub(crate) struct List<K> {
    /// The last key that was assigned.
    last: u64,
    /// `wake_all` has woken all waiters up to this key.
    all_woken: u64,
    /// By key, and so in the order in which they came. `None`: it is not in the list any more; the
    /// first one is.
    waiters: VecDeque<(u64, Option<Waiter<K>>)>,
    /// How many are in the list.
    listed: usize,
}

/// Its kind, and its waker, which is absent if it was not polled yet, or not since the last
/// wake-up.
pub(crate) type Waiter<K> = (K, Option<Waker>);

impl<K> List<K> {
    pub(crate) const EMPTY: Self = Self {
        last: 0,
        all_woken: 0,
        waiters: VecDeque::new(),
        listed: 0,
    };

    pub(crate) fn enter(&mut self, kind: K, waker: Option<Waker>) -> u64 {
        self.last += 1;
        self.listed += 1;
        self.waiters.push_back((self.last, Some((kind, waker))));
        self.last
    }

    fn place(&mut self, key: u64) -> Option<&mut Option<Waiter<K>>> {
        let at = self.waiters.binary_search_by_key(&key, |(key, _)| *key);
        Some(&mut self.waiters[at.ok()?].1)
    }

    pub(crate) fn get(&mut self, key: u64) -> Option<&mut Waiter<K>> {
        self.place(key)?.as_mut()
    }

    /// Leaves a gap; gaps go when there are more of them than waiters.
    pub(crate) fn remove(&mut self, key: u64) -> Option<Waiter<K>> {
        let removed = self.place(key)?.take()?;
        self.tidy();
        Some(removed)
    }

    pub(crate) fn pop_first(&mut self) -> Option<(u64, Waiter<K>)> {
        let (key, first) = self.waiters.pop_front()?;
        let first = first?; // the first one is no gap
        self.tidy();
        Some((key, first))
    }

    /// One has been taken out.
    fn tidy(&mut self) {
        self.listed -= 1;
        if self.listed == 0 {
            self.waiters.clear();
            if self.waiters.capacity() > FEW {
                self.waiters = VecDeque::new();
            }
        } else if self.waiters.len() > 2 * self.listed {
            let all = mem::replace(&mut self.waiters, VecDeque::with_capacity(2 * self.listed));
            for entry in all {
                if entry.1.is_some() {
                    self.waiters.push_back(entry);
                }
            }
        }
        while let Some((_, None)) = self.waiters.front() {
            self.waiters.pop_front();
        }
    }

    fn first(&mut self) -> Option<&mut Waiter<K>> {
        self.waiters.front_mut()?.1.as_mut()
    }
}

impl<K> Default for Waiters<K> {
    fn default() -> Self {
        Self(Mutex::new(List::EMPTY))
    }
}

impl Waiters {
    /// Registers `waker` under this key, instead of the earlier one. `None`, and the key of a
    /// waiter that was woken, become a new key.
    pub(crate) fn register(&self, key: &mut Option<u64>, waker: &Waker) {
        let waker = Some(waker.clone());
        let mut list = self.0.lock();
        let replaced = match key.and_then(|key| list.get(key)) {
            Some((_, place)) => mem::replace(place, waker),
            None => {
                *key = Some(list.enter((), waker));
                None
            }
        };
        drop(list);
        drop(replaced);
    }

    /// Removes the waker, if it was not woken yet.
    pub(crate) fn unregister(&self, key: Option<u64>) {
        let waker = key.and_then(|key| self.0.lock().remove(key));
        drop(waker);
    }

    /// Enters a waiter that is polled later.
    pub(crate) fn listen(&self) -> Listener<'_> {
        let entered = self.listen_unless((), || false);
        entered.expect("it is not over")
    }
}

impl<K> Waiters<K> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(List::EMPTY))
    }

    /// Enters a waiter, unless `is_over`, which is called under the list's lock, finds that it need
    /// not wait.
    pub(crate) fn listen_unless(
        &self,
        kind: K,
        is_over: impl FnOnce() -> bool,
    ) -> Option<Listener<'_, K>> {
        let mut list = self.0.lock();
        let key = (!is_over()).then(|| list.enter(kind, None))?;
        Some(Listener {
            waiters: self,
            key,
            has_ended: false,
        })
    }

    /// Notifies waiters in their order, as long as `is_next`, which is called under the list's
    /// lock, says so of the first one's kind; `None`: there is no waiter left. `polled` is not
    /// woken, because its caller polls it.
    pub(crate) fn admit(
        &self,
        polled: Option<&Listener<'_, K>>,
        mut is_next: impl FnMut(Option<&K>) -> bool,
    ) {
        let mut admitted = Vec::new();
        let mut list = self.0.lock();
        while is_next(list.first().map(|(kind, _)| &*kind)) {
            admitted.extend(list.pop_first());
        }
        drop(list);
        let polled = polled.map(|listener| listener.key);
        for (key, (_, waker)) in admitted {
            if Some(key) != polled {
                wake(waker);
            }
        }
    }

    /// Wakes the waiter that has waited longest, and leaves it in the list.
    pub(crate) fn wake_first(&self) {
        let mut list = self.0.lock();
        let waker = list.first().and_then(|(_, waker)| waker.take());
        drop(list);
        wake(waker);
    }

    /// Notifies the waiter that has waited longest; false if there is none.
    pub(crate) fn wake_one(&self) -> bool {
        let first = self.notify_one();
        let is_one = first.is_some();
        wake(first.flatten());
        is_one
    }

    /// Notifies the waiter that has waited longest, if there is one. The caller must wake it.
    pub(crate) fn notify_one(&self) -> Option<Option<Waker>> {
        let (_, (_, waker)) = self.0.lock().pop_first()?;
        Some(waker)
    }

    /// Notifies all waiters of this moment.
    pub(crate) fn wake_all(&self) {
        let mut list = self.0.lock();
        list.all_woken = list.last;
        list.listed = 0;
        let woken = mem::take(&mut list.waiters);
        drop(list);
        for (_, waiter) in woken {
            wake(waiter.and_then(|(_, waker)| waker));
        }
    }

    /// A waiter gives up that was notified: another one gets the notification, if it is for one.
    fn pass_on(&self, key: u64) {
        if key > self.0.lock().all_woken {
            self.wake_one();
        }
    }
}

/// The consumer of a task whose end is the event.
impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

debug!(impl<K> Waiters<K>, self, waiting = self.0.lock().listed);

/// A waiter: ready when it has been notified.
#[must_use = "it waits only when it is polled"]
pub(crate) struct Listener<'a, K = ()> {
    waiters: &'a Waiters<K>,
    key: u64,
    has_ended: bool,
}

impl<K> Listener<'_, K> {
    /// Whether it was not notified.
    pub(crate) fn is_listed(&self) -> bool {
        self.waiters.0.lock().get(self.key).is_some()
    }

    /// Leaves the list. Returns whether a notification had come that it had not seen.
    pub(crate) fn leave(&mut self) -> bool {
        if mem::replace(&mut self.has_ended, true) {
            return false;
        }
        let left = self.waiters.0.lock().remove(self.key);
        left.is_none()
    }
}

impl Listener<'_> {
    /// Blocks this thread until it is notified, or until `deadline`. False: the time is up. Where a
    /// thread must not block, panics with `method`, which is what to await there. `at`: what it
    /// waits for.
    #[track_caller]
    pub(crate) fn wait(
        &mut self,
        deadline: Option<Instant>,
        (at, access): (Lock, Access),
        method: &str,
    ) -> bool {
        let mut noted = Blocked::default();
        let waited = park::wait(deadline, |waker| {
            noted.end();
            let mut cx = Context::from_waker(waker);
            let is_over = Pin::new(&mut *self).poll(&mut cx).is_ready();
            if !is_over && deadline.is_none() {
                noted.begin(at, access);
            }
            is_over
        });
        noted.end();
        match waited {
            Waited::Ready => true,
            Waited::TimedOut => false,
            Waited::Refused if deadline.is_some_and(|end| end <= Instant::now()) => false,
            Waited::Refused => refuse_for(method),
        }
    }

    /// Gives the notification that it has received to another waiter.
    pub(crate) fn pass_on(&self) {
        debug_assert!(self.has_ended);
        self.waiters.pass_on(self.key);
    }
}

impl<K> Future for Listener<'_, K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut list = self.waiters.0.lock();
        let Some((_, place)) = list.get(self.key) else {
            drop(list); // before the clone
            self.has_ended = true;
            return Poll::Ready(());
        };
        let replaced = place.replace(waker);
        drop(list);
        drop(replaced);
        Poll::Pending
    }
}

impl<K> Drop for Listener<'_, K> {
    fn drop(&mut self) {
        if self.leave() {
            self.waiters.pass_on(self.key);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn those_that_leave_in_any_order_leave_few_gaps_and_the_others_keep_theirs() {
        let waiters = Waiters::default();
        let mut listeners: Vec<_> = (0..1000).map(|_| waiters.listen()).collect();
        while listeners.len() > 10 {
            drop(listeners.swap_remove(listeners.len() / 3));
            let list = waiters.0.lock();
            assert_eq!(list.listed, listeners.len());
            assert!(list.waiters.len() <= 2 * list.listed);
            assert!(
                list.waiters
                    .front()
                    .is_some_and(|(_, first)| first.is_some())
            );
        }
        listeners.sort_by_key(|listener| listener.key);
        for next in 1..=listeners.len() {
            assert!(waiters.wake_one());
            let woken = listeners.iter().filter(|listener| !listener.is_listed());
            assert_eq!(woken.count(), next);
            assert!(!listeners[next - 1].is_listed());
        }
        assert!(!waiters.wake_one() && waiters.0.lock().waiters.capacity() <= FEW);
    }
}
