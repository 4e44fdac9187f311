//! What a worker has on offer: when it is pushed, when it is made public, who is called for it.
//!
//! **Job.** Between a join (`raw/job.rs`) and the deque (`raw/deque.rs`) stands the policy. Which joins are
//! offered at all is decided in `pace.rs`. What is offered is public at once, whatever is known of its
//! length: its owner may be inside a long half the next moment, and out of reach for as long as that takes,
//! whereas a half that nobody steals costs two atomic operations on a line of its owner's.
//!
//! A half that becomes public while threads sleep and none searches wakes one of them, unless that has proved
//! not to be worth it (`grain.rs`); then the lookout finds it.
//!
//! Rejected: to keep halves private while joins are tiny (the first long one after them strands all that
//! its owner has on offer); to publish only when asked by a thief (an owner inside a long half does not hear it).
//!
//! Tests: `tests/thread/pool.rs` (the ladder of long halves), `checks/tests/deque.rs`.

use super::idle::Need;
use super::raw::job::JobRef;
use super::worker::Worker;

impl Worker {
    /// The window for joins that are run in turn is shut. True: it has been opened
    /// again, and this join is in it.
    pub(super) fn look(&self) -> bool {
        // Who may not run the pool's work opens no window.
        self.may_run()
            && self
                .pace()
                .look(self.jobs().len(), self.registry().takers())
    }

    /// Offers the second half of a join, and calls somebody for it, if there is anybody to call.
    #[inline]
    pub(super) fn push_job(&self, job: JobRef) {
        self.jobs().push(job);
        self.jobs().publish();
        match self.registry().idle().publish_hint() {
            Need::Worker if self.registry().takers() > 0 => self.registry().recruit(Need::Worker),
            Need::Watcher => self.registry().recruit(Need::Watcher),
            Need::Worker | Need::Nobody => {}
        }
    }

    /// The half that was offered last, unless it has been stolen (P6).
    #[inline]
    pub(super) fn take_back(&self) -> Option<JobRef> {
        self.jobs().pop()
    }

    /// Nothing of what this worker offered is left to steal, and somebody is
    /// looking for work.
    #[inline]
    pub(super) fn wanted(&self) -> bool {
        self.registry().takers() > 0 && self.jobs().public() == 0
    }
}
