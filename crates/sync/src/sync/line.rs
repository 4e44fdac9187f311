//! Who may enter a lock, in the order in which they came: many at once, or one alone.
//!
//! **Job.** [`RwLock`](super::RwLock), [`Mutex`](super::Mutex) and [`OnceCell`](super::OnceCell)
//! are a line and a value.
//!
//! **Protocol.** One word has who is inside: a bit for one who is alone, or a count of those who
//! share; and a bit while somebody waits ([`WAITED`]). 1. Where nobody waits, one exchange of the
//! word enters. 2. Otherwise one enters the list of waiters, and the bit is set, both under the
//! list's lock. From then on nobody else enters by the word alone. 3. The last one that leaves
//! while somebody waits lets in the first of the list, and those behind it that can share with it
//! ([`Line::admit`]). They are inside from that moment; to be off the list is to be inside. 4. A
//! waiter that is dropped after that leaves again; one that is dropped before that lets those in
//! who were behind it and need not wait now.
//!
//! So waiting is strictly first come, first served. Nobody overtakes, and nobody starves; and each
//! waiter is woken once, when it is inside.
//!
//! Rejected: `async-lock`'s locks (3.5). There a notified reader notifies the next before it looks
//! whether a writer is there, so readers that wait wake one another for as long as one is.
//!
//! Checked by `checks/tests/lines.rs`, in every interleaving, with a broken twin that looks before
//! it enters the list; and by `tests/sync/`.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::loom::atomic::{AtomicUsize, Ordering::SeqCst};
use crate::parking::noted::{self, Access, At, Lock, LockKind, Site, Waiting};
use crate::parking::waiters::{Listener, Waiters};

/// One is inside, alone.
const ALONE: usize = 1;
/// The list of waiters is not empty.
const WAITED: usize = 2;
/// One of those inside who share. 2^30 of them fit where a word is shortest; more have to wait.
const SHARED: usize = 4;

#[derive(Debug)]
pub(super) struct Line {
    word: AtomicUsize,
    waiters: Waiters<Access>,
    kind: LockKind,
    made_at: Site,
}

/// The word when one more has entered; `None`: it may not.
fn entered(word: usize, access: Access) -> Option<usize> {
    match access {
        Access::Shared if word & (ALONE | WAITED) == 0 => word.checked_add(SHARED),
        Access::Alone if word == 0 => Some(ALONE),
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
            kind,
            made_at: Location::caller(),
        }
    }

    #[cfg(loom)]
    pub(super) fn new(kind: LockKind) -> Self {
        Self {
            word: AtomicUsize::new(0),
            waiters: Waiters::default(),
            kind,
            made_at: Location::caller(),
        }
    }

    pub(super) fn lock(&self) -> Lock {
        noted::lock(self.kind, Some(self.made_at), self)
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
            Waiting::new(turn, at).await;
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
        })
    }

    /// Lets in those whose turn it is.
    #[cold]
    fn admit(&self) {
        self.waiters.admit(|first| {
            let next = |word| match first {
                None => Some(word & !WAITED),
                Some(access) => entered(word & !WAITED, *access).map(|word| word | WAITED),
            };
            self.word.fetch_update(SeqCst, SeqCst, next).is_ok() && first.is_some()
        });
    }

    /// One who entered in this way leaves.
    #[inline]
    pub(super) fn leave(&self, access: Access) {
        let one = match access {
            Access::Alone => ALONE,
            _ => SHARED,
        };
        if self.word.fetch_sub(one, SeqCst) - one == WAITED {
            self.admit();
        }
    }

    /// The one who is alone shares from now on, without leaving in between.
    pub(super) fn share(&self) {
        if self.word.fetch_add(SHARED - ALONE, SeqCst) & WAITED != 0 {
            self.admit();
        }
    }
}

impl Drop for Line {
    #[inline]
    fn drop(&mut self) {
        noted::dropped(|| self.lock());
    }
}

/// A waiter.
struct Turn<'a> {
    line: &'a Line,
    access: Access,
    /// `None`: it has entered, and knows it.
    listener: Option<Listener<'a, Access>>,
}

impl Future for Turn<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(listener) = &mut self.listener {
            ready!(Pin::new(listener).poll(cx));
            self.listener = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            match listener.leave() {
                true => self.line.leave(self.access),
                false => self.line.admit(), // those behind it may share with those inside
            }
        }
    }
}
