//! The parent's part of asking workers for their own trees (`trefoil::inspect::tasks`).
//!
//! Whoever asks leaves the question with the driver, which asks each worker that has begun: through
//! its bell, where the answer comes back, or as a frame, which is answered by a record. What a
//! worker is asked and answers is in `observe/trees.rs`.
//!
//! Tests: `tests/process/trees.rs`.

use std::sync::{Arc, Weak};

use super::driver::{Driver, PoolState, is_a_driver};
use super::link::Link;
use super::mailbox::Mail;
use crate::events::{self, AskWorkers, Question};
use crate::process::job::slot_id::SlotId;
use crate::sys::sockets::Stream;
use trefoil_os::host::activity::peak_memory;

/// From now on the pool's workers are asked, too.
pub(super) fn register(pool: &Arc<PoolState>) {
    let asked: Weak<PoolState> = Arc::downgrade(pool);
    events::register(asked);
}

impl AskWorkers for PoolState {
    fn ask(&self, question: Question) {
        if !is_a_driver() {
            let _ = self.mailbox.push([Mail::Trees(question)]); // if refused, there is no answer
        }
    }
}

impl Driver {
    /// Asks all workers that have begun.
    pub(super) fn ask_for_trees(&mut self, question: &Question) {
        for (slot, link) in (0..).map(SlotId).zip(&mut self.links) {
            if let Some(link) = link
                && !self.sched.worker(slot).is_starting()
            {
                link.ask_for_tree(question);
            }
        }
    }
}

impl Link {
    /// Asks the worker for its own tree, unless it has been asked already.
    fn ask_for_tree(&mut self, question: &Question) {
        let peak = (!self.is_launched()).then(|| peak_memory(self.child.pid));
        let question = question.to_worker(self.child.pid, peak.flatten());
        if !self.trees.add(question) {
            return;
        }
        match self.peer.ask() {
            Some(true) => self.send(),
            Some(false) => {}
            None => self.trees.refused(),
        }
    }

    /// Where the answer will come, if it was asked there.
    pub(super) fn bell_to_hear(&self) -> Option<&Arc<Stream>> {
        self.peer.bell().filter(|_| self.trees.is_asked())
    }

    /// Reads what has come there.
    pub(super) fn read_tree(&mut self) {
        if let Some(bell) = self.peer.bell() {
            self.trees.read(bell);
        }
    }

    /// Passes on the answer that has come with its records, if one has.
    pub(super) fn pass_tree_on(&mut self) {
        if let Some((text, json)) = self.extras.tree.take() {
            self.trees.answered((&text, &json));
        }
    }
}
