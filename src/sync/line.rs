//! Who may enter a lock, in the order in which they came: many at once, or one alone.
//!
//! **Job.** [`RwLock`](super::RwLock) and [`Mutex`](super::Mutex) are a line and a value.
//!
//! **Protocol.** One word has who is inside: a bit for one who is alone, or a count of those who
//! share; a bit while somebody waits ([`WAITED`]), and one while the first who waits must be the
//! next ([`IN_TURN`]). 1. Where nobody waits, one exchange of the word enters. 2. Otherwise one
//! enters the list of waiters, and `WAITED` is set, both under the list's lock. 3. The last one
//! that leaves while somebody waits wakes the first of the list. 4. A waiter that is polled has its
//! waker registered, and then looks whether the first of the list can enter, and those behind it
//! that can share with it ([`Line::admit`]). They are inside from that moment; to be off the list
//! is to be inside. 5. Until then one who comes to be alone may overtake: so a lock that running
//! threads take in turns costs no switch of threads each time. A waiter that was woken in vain sets
//! `IN_TURN`: nobody overtakes any more, and the next one that leaves admits. 6. A waiter that is
//! dropped when it is inside leaves again; one that is dropped before that lets those in who were
//! behind it and need not wait now.
//!
//! So waiters enter in the order in which they came, and nobody starves: the first is overtaken
//! between one wake-up and its next poll, and no more.
//!
//! 3 and 4 lose no wake-up: if the waker is registered when the last one leaves, it is woken;
//! otherwise the look that follows finds that the last one has left.
//!
//! Rejected: to hand the lock over to the first waiter each time (with more threads than processors
//! each turn is then a switch of threads, ten times as long as the turn); `async-lock`'s locks
//! (3.5). There a notified reader notifies the next before it looks whether a writer is there, so
//! readers that wait wake one another for as long as one is.
//!
//! Tests: `tests/trefoil-checks/tests/lines.rs`, in every interleaving, with a broken twin that
//! looks before it enters the list; `tests/sync/locks.rs::{a_lock_is_served_in_the_order_of_asking,
//! a_waiter_is_overtaken_once}`.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::loom::atomic::{AtomicUsize, Ordering::SeqCst};
use crate::parking::lock_events::{Access, At, Lock, LockKind, Made, dropped, waiting};
use crate::parking::waiters::{Listener, Waiters};

/// One is inside, alone.
const ALONE: usize = 1;
/// The list of waiters is not empty.
const WAITED: usize = 2;
/// The first waiter was woken in vain: nobody overtakes it.
const IN_TURN: usize = 4;
/// One of those inside who share. 2^29 of them fit where a word is shortest; more have to wait.
const SHARED: usize = 8;

#[derive(Debug)]
pub(super) struct Line {
    word: AtomicUsize,
    waiters: Waiters<Access>,
    made: Made,
}

/// The word when one more has entered; `None`: it may not.
fn entered(word: usize, access: Access) -> Option<usize> {
    match access {
        Access::Shared if word & (ALONE | WAITED) == 0 => word.checked_add(SHARED),
        Access::Alone if word & !WAITED == 0 => Some(word | ALONE),
        _ => None,
    }
}

impl Line {
    #[track_caller]
    #[cfg(not(loom))]
    pub(super) const fn new(kind: LockKind) -> Self {
        Self {
            word: AtomicUsize::new(0),
            waiters: Waiters::new(),
            made: Made::here(kind),
        }
    }

    #[cfg(loom)]
    pub(super) fn new(kind: LockKind) -> Self {
        Self {
            word: AtomicUsize::new(0),
            waiters: Waiters::default(),
            made: Made::here(kind),
        }
    }

    pub(super) fn lock(&self) -> Lock {
        self.made.lock(self)
    }

    /// Enters, if it need not wait.
    #[inline]
    pub(super) fn try_enter(&self, access: Access) -> bool {
        let next = |word| entered(word, access);
        self.word.fetch_update(SeqCst, SeqCst, next).is_ok()
    }

    /// Enters, waiting for its turn.
    ///
    /// Cancel safe.
    pub(super) async fn enter(&self, access: Access) {
        if !self.try_enter(access)
            && let Some(turn) = self.line_up(access)
        {
            let at: At = (self.lock(), access);
            waiting(turn, at).await;
        }
    }

    /// A place among the waiters; `None`: it has entered.
    fn line_up(&self, access: Access) -> Option<Turn<'_>> {
        let waits = |word| Some(entered(word, access).unwrap_or(word | WAITED));
        let enters = || {
            let before = self.word.fetch_update(SeqCst, SeqCst, waits);
            before.is_ok_and(|word| entered(word, access).is_some())
        };
        let listener = self.waiters.listen_unless(access, enters)?;
        Some(Turn {
            line: self,
            access,
            listener: Some(listener),
            was_polled: false,
        })
    }

    /// Lets in those whose turn it is; `polled` asks.
    #[cold]
    fn admit(&self, polled: Option<&Listener<'_, Access>>) {
        self.waiters.admit(polled, |first| {
            let next = |word| match first {
                None => Some(word & !(WAITED | IN_TURN)),
                Some(access) => {
                    let inside = word & !(WAITED | IN_TURN);
                    entered(inside, *access).map(|word| word | WAITED)
                }
            };
            self.word.fetch_update(SeqCst, SeqCst, next).is_ok() && first.is_some()
        });
    }

    #[cold]
    fn wake_first(&self) {
        self.waiters.wake_first();
    }

    /// One who waits was woken in vain: nobody overtakes the first any more.
    fn insist(&self, polled: &Listener<'_, Access>) {
        let is_waited = |word| word & WAITED != 0 && word & !(WAITED | IN_TURN) != 0;
        let next = |word| is_waited(word).then_some(word | IN_TURN);
        if self.word.fetch_update(SeqCst, SeqCst, next).is_err() {
            self.admit(Some(polled)); // nobody is inside, or nobody waits any more
        }
    }

    /// One who entered in this way leaves.
    #[inline]
    pub(super) fn leave(&self, access: Access) {
        let one = match access {
            Access::Alone => ALONE,
            _ => SHARED,
        };
        match self.word.fetch_sub(one, SeqCst) - one {
            WAITED => self.wake_first(),
            word if word == WAITED | IN_TURN => self.admit(None),
            _ => {}
        }
    }

    /// The one who is alone shares from now on, without leaving in between.
    pub(super) fn share(&self) {
        if self.word.fetch_add(SHARED - ALONE, SeqCst) & WAITED != 0 {
            self.admit(None);
        }
    }
}

impl Drop for Line {
    #[inline]
    fn drop(&mut self) {
        dropped(|| self.lock());
    }
}

/// A waiter.
struct Turn<'a> {
    line: &'a Line,
    access: Access,
    /// `None`: it has entered, and knows it.
    listener: Option<Listener<'a, Access>>,
    was_polled: bool,
}

impl Future for Turn<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (line, was_polled) = (self.line, mem::replace(&mut self.was_polled, true));
        if let Some(listener) = &mut self.listener {
            if Pin::new(&mut *listener).poll(cx).is_pending() {
                line.admit(Some(listener));
                if was_polled && listener.is_listed() {
                    line.insist(listener);
                }
                ready!(Pin::new(listener).poll(cx));
            }
            self.listener = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            if listener.leave() {
                self.line.leave(self.access);
            } else {
                self.line.admit(None); // those behind it may share with those inside
            }
        }
    }
}
