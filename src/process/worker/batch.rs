//! In the worker: how an item is run, timed and answered. (How many items a frame has is decided in
//! `sched/place.rs`; when the parent ends a late one, in `sched/timeouts.rs`.)
//!
//! **Protocol.** For each item: note when it starts, if its time is limited; take it through the
//! gate; decode, call, encode; drop the result, whose destructor is a part of the item; commit what
//! was encoded to the ledger ([`Outlet`]). None of this is a system call.
//!
//! Where memory is limited, a worker that holds too much after an item takes no other: it closes
//! the gate of its frame, as the parent would to take items back, and sends `Retire`.
//!
//! **Invariants.**
//! - **W8** Every item that was taken is answered by exactly one record before the next is taken: a
//!   value, a codec error or a panic. (`open` is set while one is due.) No code of the item runs
//!   after its record: the parent takes what runs then for the next item, or for one that has sent
//!   its own record.
//!
//! Tests: `tests/process/pool.rs::{an_accident_in_a_batch_is_the_first_error, chaos_in_batches}`;
//! `tests/forks/process.rs::a_child_of_a_worker_that_returns_ends`.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cancel::{Calls, ItemTask, begin_nothing};
use super::context::Contexts;
use super::memory_limit::{Fit, MemoryLimit};
use super::panic_report::PanicReports;
use super::peer::outlet::Outlet;
use crate::chaos;
use crate::process::value::codec::{decode, explain};
use crate::process::value::scope;
use crate::process::wire::{BatchHead, CodecOf, Reader, Record};
use crate::sys::fork;
use crate::sys::ticks;
use crate::task::panic::{self, Panic};
use trefoil_os::host::shared_clock;

/// Code that took less time than this, in nanoseconds, has not written to a pipe.
pub(crate) const QUICK: u64 = 250;

/// If this many items of a frame took less than a microsecond each, standard error is not marked
/// between the others: reading the clock would cost too much compared with such items.
const SAMPLE: u64 = 1000;

/// The state that a worker keeps from frame to frame.
pub(crate) struct Serving {
    pub(crate) outlet: Outlet,
    pub(crate) calls: Calls,
    pub(crate) contexts: Contexts,
    /// What the worker of an actor has loaded.
    pub(crate) actor: Option<Box<dyn Any>>,
    pub(crate) memory: Option<MemoryLimit>,
    /// `None`: no item here has a time limit.
    reports: Option<Arc<PanicReports>>,
    /// This worker has asked to be replaced.
    pub(super) retiring: bool,
    /// It has reported that it holds too much memory, and goes on.
    heavy: bool,
    /// The fork generation of this process.
    born: u32,
}

impl Serving {
    pub(super) fn new(outlet: Outlet, calls: Calls, memory: Option<MemoryLimit>) -> Self {
        Self {
            reports: Some(PanicReports::new((*outlet.pages).clone(), memory.is_some())),
            memory,
            ..Self::of_server(outlet, calls)
        }
    }

    /// That of a fork server, which runs initializers only. (No hook stays in its copies.)
    pub(super) fn of_server(outlet: Outlet, calls: Calls) -> Self {
        Self {
            outlet,
            calls,
            contexts: Contexts::default(),
            actor: None,
            memory: None,
            reports: None,
            retiring: false,
            heavy: false,
            born: fork::generation(),
        }
    }
}

/// The items of one frame.
pub(crate) struct Batch<'a> {
    items: Reader<'a>,
    head: BatchHead,
    /// How many bytes of arrays have come ahead of the items.
    arrived: u64,
    pub(super) state: &'a mut Serving,
    /// How many items have begun.
    pub(super) begun: u64,
    open: bool,
    /// When the latest item started, if the time of items is limited.
    started: u64,
    /// When the first item began, and the latest one, in ticks.
    first: u64,
    since: u64,
    /// The items take less than a microsecond each.
    are_tiny: bool,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        head: BatchHead,
        items: &'a [u8],
        arrived: u64,
        state: &'a mut Serving,
    ) -> Self {
        if let Some(reports) = &state.reports {
            reports.frame(head.sequence);
        }
        Self {
            items: Reader(items),
            head,
            arrived,
            state,
            begun: 0,
            open: false,
            started: 0,
            first: 0,
            since: 0,
            are_tiny: false,
        }
    }

    /// Runs all items, and answers each with the result of `call`; its error says whether the
    /// argument, the context or the result was at fault.
    #[inline]
    pub(super) fn run<A, R>(&mut self, call: impl Fn(&mut Self, A) -> Result<R, (CodecOf, String)>)
    where
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        loop {
            let cell = self.call();
            let items = || {
                while let Some(argument) = self.next() {
                    let argument = decode::<A>(argument);
                    self.decoded();
                    match argument {
                        Err(detail) => self.codec(CodecOf::Argument, &detail),
                        Ok(argument) => match call(self, argument) {
                            Err((of, detail)) => self.codec(of, &detail),
                            Ok(result) => {
                                if let Err(error) = self.value(result) {
                                    self.codec(CodecOf::Result, &explain(error));
                                }
                            }
                        },
                    }
                    if cell.has_token() {
                        return false; // only this item is affected
                    }
                }
                true
            };
            match cell.run(|| panic::catch(items)) {
                Ok(true) => return,
                Ok(false) => {}
                Err(panic) => self.panicked(panic),
            }
        }
    }

    /// The cell under which the next items run. If an item asks for its token, the next item gets
    /// another cell.
    fn call(&mut self) -> ItemTask {
        let index = self.head.sequence as usize;
        let gate = self.state.outlet.pages.gate(index);
        self.state.calls.cell(index, gate)
    }

    /// Begins the next item: returns the bytes of its argument. `None`: there is none left to take.
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.state.memory.is_some() {
            self.weigh();
        }
        let gate = self.state.outlet.pages.gate(self.head.sequence as usize);
        if self.head.limit != 0 {
            self.started = shared_clock::now();
            gate.starts(self.started);
        }
        gate.pass()?;
        let argument = self.items.bytes()?;
        if !self.are_tiny {
            self.mark();
        }
        self.state.outlet.begins();
        self.begun += 1;
        #[cfg(feature = "tracing")]
        crate::process::observe::send_events::item_begins(self.head.sequence, self.begun);
        self.open = true;
        chaos::begins(self.head.sequence, self.begun);
        Some(argument)
    }

    /// Marks everything that standard error contains now as not written by the next item. (A
    /// separate function, so that `next` is small enough to be inlined.)
    #[inline(never)]
    fn mark(&mut self) {
        let mut now = ticks::now();
        if self.begun == 0 {
            self.first = now;
        } else if now.saturating_sub(self.since) >= QUICK * ticks::MICROSECOND / 1000 {
            self.state.outlet.mark();
            // A mark takes longer than a quick item. If its time counted as the next item's, that
            // one would be followed by a mark, too, and so would all items to the frame's end.
            let marked = ticks::now();
            self.first += marked.saturating_sub(now);
            now = marked;
        }
        self.since = now;
        let spent = now.saturating_sub(self.first);
        self.are_tiny = self.begun == SAMPLE && spent < SAMPLE * ticks::MICROSECOND;
    }

    /// The argument has been decoded. After the last one, no attachment of the frame is kept.
    #[inline]
    fn decoded(&mut self) {
        if self.begun == self.head.count {
            scope::end_decoding();
        }
        if self.head.ends {
            // Another process may wait until the parent has closed its copies (W26).
            self.state.outlet.announce(&Record::Taken);
        }
    }

    /// Asks the parent to replace this process if it uses too much memory.
    #[cold]
    fn weigh(&mut self) {
        let arrived = self.arrived;
        let memory = self.state.memory.as_mut();
        match memory.map_or(Fit::Fits, |memory| memory.fits(arrived)) {
            Fit::Fits => {}
            Fit::Heavy => {
                if !std::mem::replace(&mut self.state.heavy, true) {
                    self.state.outlet.record(&Record::Heavy.bytes());
                }
            }
            Fit::TooHeavy => {
                let gate = self.state.outlet.pages.gate(self.head.sequence as usize);
                gate.close();
                begin_nothing();
                self.asks_to_retire(false);
            }
        }
    }

    /// Reports, once, that no further item begins in this process. `asked`: an item has asked for
    /// that.
    #[cold]
    pub(super) fn asks_to_retire(&mut self, asked: bool) {
        if !std::mem::replace(&mut self.state.retiring, true) {
            self.state.outlet.record(&Record::Retire { asked }.bytes());
        }
    }

    /// The context that the items of this frame share.
    pub(crate) fn context<C: DeserializeOwned + 'static>(&mut self) -> Result<&C, String> {
        self.state.contexts.get(self.head.context)
    }

    /// What the worker of an actor has loaded.
    pub(super) fn state<S: 'static>(&mut self) -> Result<&mut S, String> {
        let state = self.state.actor.as_mut();
        let state = state.and_then(|state| state.downcast_mut());
        state.ok_or_else(|| "the worker has no such state".to_owned())
    }

    /// Drops the item's result, and sends it. After an error, or a panic of its destructor, nothing
    /// was sent.
    #[inline]
    fn value<R: Serialize + 'static>(&mut self, mut value: R) -> Result<(), postcard::Error> {
        self.end_child();
        chaos::returned(self.head.sequence, self.begun);
        let encoded = self.state.outlet.encode(&mut value);
        drop(value);
        if self.head.limit != 0 && self.late().is_some() {
            self.answer(&[]);
            return Ok(());
        }
        self.state.outlet.value(encoded)?;
        self.open = false;
        self.answered();
        Ok(())
    }

    /// The answer of the item, whatever its outcome is, if it has run for too long. (The parent may
    /// not have seen that yet; it learns the time of each item from here only.)
    fn late(&self) -> Option<Vec<u8>> {
        if self.head.limit == 0 {
            return None;
        }
        let nanos = shared_clock::now().saturating_sub(self.started);
        let gate = self.state.outlet.pages.gate(self.head.sequence as usize);
        let reported = gate.reported(self.begun as u32).as_nanos() as u64;
        let nanos = nanos.saturating_sub(reported);
        (nanos >= self.head.limit).then(|| Record::Late { nanos }.bytes())
    }

    /// Reports that the item's argument, context or result could not be decoded or encoded.
    #[cold]
    fn codec(&mut self, of: CodecOf, detail: &str) {
        let detail = detail.to_owned();
        self.answer(&Record::Codec { of, detail }.bytes());
    }

    /// Reports that the item, or the destructor of its result, has panicked.
    #[cold]
    fn panicked(&mut self, panic: Panic) {
        let place = panic
            .location()
            .map(|place| (place.file().to_owned(), place.line(), place.column()));
        let message = panic.message().to_owned();
        // The destructor of the payload is user code.
        panic::contain(|| drop(panic));
        self.answer(&Record::Panic { message, place }.bytes());
    }

    /// Ends the process if this is a forked child: an item that forks may return in the child, too,
    /// but only the worker itself may write to the stream.
    #[inline]
    fn end_child(&self) {
        if fork::generation() != self.state.born {
            std::process::exit(0);
        }
    }

    fn answer(&mut self, record: &[u8]) {
        self.end_child();
        if std::mem::take(&mut self.open) {
            chaos::returned(self.head.sequence, self.begun);
            self.state.outlet.forget_value();
            let late = self.late();
            self.state.outlet.record(late.as_deref().unwrap_or(record));
            self.answered();
        }
    }

    #[inline]
    fn answered(&mut self) {
        let outlet = &mut self.state.outlet;
        chaos::answered(self.head.sequence, self.begun, || outlet.flush());
    }
}
