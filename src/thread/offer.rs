//! What a worker has on offer: when it is pushed, when it is made public, who is called for it.
//!
//! **Job.** Between a join (`raw/job.rs`) and the deque (`raw/deque.rs`) stands the policy. A half that a join
//! pushes is private at first, which costs nothing. It becomes public when
//! somebody would take it, that is, when more threads are idle than halves are public; or when
//! joins have turned out to be long, or nothing is known of them (`pace.rs`), because then their owner may be out of reach
//! for a while; or when the owner is about to wait.
//!
//! A half that becomes public while threads sleep and none searches wakes one of them, unless that has proved
//! not to be worth it (`grain.rs`).
//!
//! Rejected: to publish always (two atomic operations for each join); only when asked by a thief (an owner inside
//! a long half does not hear it).
//!
//! Tests: `tests/thread.rs` (the ladder of long halves), `checks/tests/deque.rs`.

use super::idle::Need;
use super::raw::job::JobRef;
use super::worker::Worker;

impl Worker {
    /// The window for joins that are run in turn is shut. True: it has been opened
    /// again, and this join is in it.
    pub(super) fn look(&self) -> bool {
        let takers = self.share();
        self.pace().look(self.jobs().len(), takers) && self.may_run()
    }

    /// Offers the second half of a join.
    #[inline]
    pub(super) fn push_job(&self, job: JobRef) {
        self.jobs().push(job);
        if self.pace().is_coarse() {
            self.call_takers();
        } else {
            self.share();
        }
    }

    /// Makes public what was offered, if somebody would take it. How many would.
    #[inline]
    fn share(&self) -> u32 {
        let takers = self.crew().takers();
        if takers > 0 && self.jobs().public() < takers {
            self.call_takers();
        }
        takers
    }

    fn call_takers(&self) {
        if !self.jobs().publish() {
            return;
        }
        match self.crew().idle().publish_hint() {
            Need::Worker if self.crew().takers() > 0 => self.crew().recruit(Need::Worker),
            Need::Watcher => self.crew().recruit(Need::Watcher),
            Need::Worker | Need::Nobody => {}
        }
    }

    /// This worker is about to do something long, or to wait: all that it has on offer is for others.
    pub(super) fn share_all(&self) {
        self.jobs().publish();
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
        self.crew().takers() > 0 && self.jobs().public() == 0
    }
}
