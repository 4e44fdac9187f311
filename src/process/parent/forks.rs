//! Which workers a pool's fork server was asked for, and which answers have come.
//!
//! A slot *waits* until the server is ready. Then its request is *sent*: the worker's ends of its
//! stream and of its output go with it, and ours are kept here. An answer belongs to the first
//! request that was sent, because the server takes one after the other. If the slot is not wanted
//! any more, the request stays without it, because its worker may be made all the same: that one is
//! killed.
//!
//! Carried out by `forking`.
//!
//! Tests: `tests/process/fork_server.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use rustix::fd::OwnedFd;

use crate::process::job::slot_id::SlotId;
use crate::process::pages::raw_ledger::Ledger;
use crate::process::wire::{ForkAnswer, ForkOrder};
use crate::sys::pipe_end::PipeEnd;
use crate::task::WorkerExit;

/// A slot that waits for the server, and what its worker gets besides.
pub(super) struct Waiting {
    pub(super) id: SlotId,
    pub(super) order: ForkOrder,
}

/// A request that has been sent, and our ends.
pub(super) struct Sent {
    pub(super) number: u64,
    /// For the slot; `None`: it is not wanted any more.
    pub(super) slot: Option<Waiting>,
    pub(super) socket: OwnedFd,
    pub(super) stderr: PipeEnd,
    pub(super) output: Option<PipeEnd>,
}

/// The requests, in order, and the answers.
#[derive(Default)]
pub(super) struct Forks {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) sent: VecDeque<Sent>,
    /// How many requests have ever been sent.
    pub(super) count: u64,
    /// The pages of the server that they were sent to: it notes there what it makes.
    pub(super) ledger: Option<Arc<Ledger>>,
    /// In the server's own driver: what it has answered, and how it has ended last.
    pub(super) answers: Vec<ForkAnswer>,
    pub(super) last_exit: Option<WorkerExit>,
}

impl Forks {
    /// The slot is not wanted any more.
    pub(super) fn withdraw(&mut self, id: SlotId) {
        self.waiting.retain(|waiting| waiting.id != id);
        for sent in &mut self.sent {
            sent.slot.take_if(|slot| slot.id == id);
        }
    }

    /// The request that this answer belongs to.
    pub(super) fn answered(&mut self, request: u64) -> Option<Sent> {
        let first = self.sent.front()?;
        (first.number == request).then(|| self.sent.pop_front())?
    }

    /// Whether the server to which requests were sent is gone. The one that is there now, if there
    /// is one, has these pages.
    pub(super) fn were_sent_to_another(&self, pages: Option<Arc<Ledger>>) -> bool {
        let own = self.ledger.as_ref();
        own.is_some_and(|own| pages.is_none_or(|pages| !Arc::ptr_eq(own, &pages)))
    }

    /// The server is gone: what was sent to it and not answered waits again, before all others,
    /// except the request whose worker it had made before it ended. That one, and its answer.
    pub(super) fn server_ended(&mut self) -> Option<(Sent, ForkAnswer)> {
        let ledger = self.ledger.take();
        let first = self.sent.front();
        let made = first.and_then(|first| ledger?.copy_note().of(first.number));
        let made = made.and_then(|pid| {
            let sent = self.sent.pop_front()?;
            Some((
                sent,
                ForkAnswer {
                    pid,
                    ..ForkAnswer::default()
                },
            ))
        });
        while let Some(sent) = self.sent.pop_back() {
            if let Some(slot) = sent.slot {
                self.waiting.push_front(slot);
            }
        }
        made
    }
}
