//! In the parent: events and spans of workers, for the subscriber here (feature `tracing`).
//!
//! 1. The subscriber is the one that is current where the pool is built. When a worker starts, it
//!    is asked up to which level it listens to the target [`TARGET`]: nothing else is sent.
//! 2. A worker (`send_events`) sends each event and each change of a span as one
//!    record. It comes through a pipe, or, from a plain worker, on the stream, and is passed on at
//!    once: only open spans are kept, and at most [`MOST_SPANS`] of them.
//! 3. Metadata must be `'static`, so there is one callsite for each level, and what is known of the
//!    worker's is in fields.
//!
//! The subscriber runs on the driver's thread. Its panics are contained.
//!
//! Rejected: callsites made at run time, one for each in the worker. They can never be freed.
//!
//! Users read about this in `adapters/tracing.rs`. Tests:
//! `tests/trefoil-adapters/tests/worker_events.rs`.

use std::collections::BTreeMap;

use tracing::{Dispatch, Level, Span, dispatcher, enabled, event, span, warn};

use crate::process::wire::Event;
use crate::task::panic;

/// The target of everything that is passed on.
pub(crate) const TARGET: &str = "trefoil::worker";

// What an `Event` reports. (Another number: only how many events were dropped.)
pub(crate) const EVENT: u8 = 1;
pub(crate) const SPAN_BEGINS: u8 = 2;
pub(crate) const SPAN_HAS_FIELDS: u8 = 3;
pub(crate) const SPAN_ENDS: u8 = 4;

/// The most spans of a worker that are open here. The oldest is closed for another.
const MOST_SPANS: usize = 1024;

/// All levels. The number of a level is its index, from 1.
pub(crate) const LEVELS: [Level; 5] = [
    Level::ERROR,
    Level::WARN,
    Level::INFO,
    Level::DEBUG,
    Level::TRACE,
];

/// Where the events of a pool's workers go.
#[derive(Clone)]
pub(crate) struct EventListener {
    most: Level,
    to: Dispatch,
}

impl EventListener {
    /// The current subscriber, for events up to this level.
    pub(crate) fn new(most: Level) -> Self {
        let to = dispatcher::get_default(Dispatch::clone);
        Self { most, to }
    }

    /// The number of the most verbose level that the subscriber listens to, and that was asked for;
    /// 0: none.
    pub(crate) fn level(&self) -> u8 {
        let listens = || {
            [
                enabled!(target: TARGET, Level::ERROR),
                enabled!(target: TARGET, Level::WARN),
                enabled!(target: TARGET, Level::INFO),
                enabled!(target: TARGET, Level::DEBUG),
                enabled!(target: TARGET, Level::TRACE),
            ]
        };
        let listens = panic::catch(|| dispatcher::with_default(&self.to, listens));
        let wanted = LEVELS.map(|level| level <= self.most);
        let both = (listens.unwrap_or_default().into_iter()).zip(wanted);
        both.zip(1..)
            .filter_map(|(both, number)| (both == (true, true)).then_some(number))
            .max()
            .unwrap_or(0)
    }

    /// What passes on the events of the worker with this process id.
    pub(crate) fn worker(&self, pid: u32) -> WorkerEvents {
        WorkerEvents {
            pid,
            to: self.to.clone(),
            spans: BTreeMap::new(),
        }
    }
}

/// Passes on the events of one worker.
#[derive(Debug)]
pub(crate) struct WorkerEvents {
    pid: u32,
    to: Dispatch,
    /// Its open spans, by their numbers there.
    spans: BTreeMap<u64, Span>,
}

/// `event!` or `span!` at the level with this number.
macro_rules! at_level {
    ($number:expr, $make:ident!($parent:expr, $($rest:tt)+)) => {
        match $number {
            1 => $make!(target: TARGET, parent: $parent, Level::ERROR, $($rest)+),
            2 => $make!(target: TARGET, parent: $parent, Level::WARN, $($rest)+),
            3 => $make!(target: TARGET, parent: $parent, Level::INFO, $($rest)+),
            4 => $make!(target: TARGET, parent: $parent, Level::DEBUG, $($rest)+),
            _ => $make!(target: TARGET, parent: $parent, Level::TRACE, $($rest)+),
        }
    };
}

impl WorkerEvents {
    /// Passes on an event of the call of `function`, if that is known, for its item `item`.
    pub(crate) fn pass_on(
        &mut self,
        event: &Event<'_>,
        function: Option<&str>,
        item: Option<usize>,
    ) {
        let to = self.to.clone();
        panic::contain(|| dispatcher::with_default(&to, || self.emit(event, function, item)));
    }

    fn emit(&mut self, event: &Event<'_>, function: Option<&str>, item: Option<usize>) {
        if event.dropped > 0 {
            warn!(
                target: TARGET,
                { worker.pid = self.pid, worker.dropped = event.dropped },
                "events of a worker were dropped, because they came too fast"
            );
        }
        let parent = self.spans.get(&event.parent).and_then(Span::id);
        let fields = (!event.fields.is_empty()).then_some(event.fields);
        match event.kind {
            EVENT => at_level!(
                event.level,
                event!(
                    parent,
                    {
                        worker.pid = self.pid,
                        worker.function = function,
                        worker.item = item,
                        worker.target = event.target,
                        worker.file = event.file,
                        worker.line = event.line,
                        worker.fields = fields,
                    },
                    "{}",
                    event.text
                )
            ),
            SPAN_BEGINS => {
                let span = at_level!(
                    event.level,
                    span!(
                        parent,
                        "worker.span",
                        worker.span = event.text,
                        worker.pid = self.pid,
                        worker.function = function,
                        worker.item = item,
                        worker.target = event.target,
                        worker.file = event.file,
                        worker.line = event.line,
                        worker.fields = fields,
                    )
                );
                if self.spans.len() >= MOST_SPANS {
                    self.spans.pop_first();
                }
                self.spans.insert(event.span, span);
            }
            SPAN_HAS_FIELDS => {
                if let Some(span) = self.spans.get(&event.span) {
                    span.record("worker.fields", event.fields);
                }
            }
            SPAN_ENDS => drop(self.spans.remove(&event.span)),
            _ => {}
        }
    }
}

impl Drop for WorkerEvents {
    /// The worker has ended: its spans have, too.
    fn drop(&mut self) {
        let spans = std::mem::take(&mut self.spans);
        spans
            .into_values()
            .for_each(|span| panic::contain(|| drop(span)));
    }
}
