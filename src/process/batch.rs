//! In the worker: the items of one frame, and where their results go.
//!
//! **Protocol.** For each item: note when it starts, if its time is limited; take it through
//! the gate; decode, call, encode; commit the result to the ledger. Nothing of this is a system
//! call. The ledger is sent when it is full and at the end of each frame ([`Outlet::flush`]).
//!
//! Where memory is limited, a worker that holds too much after an item takes no further one: it
//! closes the gate of its frame itself, as the parent would to take items back, and says
//! `RETIRE`.
//!
//! **Invariants.**
//! - **W8** Every item that was taken is answered by exactly one record before the
//!   next is taken: a value, a codec error or a panic. (`open` says that one is due.)
//!
//! Tests: `tests/process/pool.rs`; `tests/forks/process.rs`.

use std::cell::RefCell;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::baggage::{self, Cargo, Parcel};
use super::call::{Call, Calls};
use super::clock;
use super::context::Contexts;
use super::encoder::encode;
use super::flavor::{Front, Tail};
use super::loan::Back;
use super::memory::Memory;
use super::wire::{self, BatchHead, CodecOf, Reader};
use super::worker;
use crate::loom::thread;
use crate::sys::fork;
use crate::sys::ledger::{Pages, ROOM};
use crate::sys::refused::refused;
use crate::sys::ticks;
use crate::task::panic::Panic;

/// With less than this free, the ledger is sent before a value is written to it.
const MARGIN: usize = 64;

/// What takes less, in nanoseconds, has not written to a pipe.
pub(crate) const QUICK: u64 = 250;

/// In frames of more items than that each takes less than a microsecond, and standard error is marked at the end only.
const FEW: u64 = 1000;

/// How long to wait while the kernel takes nothing or no descriptors, and how often for the latter.
const CROWDED: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};
const PATIENCE: u32 = 1000;

/// What a worker says, on its way.
#[derive(Debug)]
pub(crate) struct Outlet {
    socket: OwnedFd,
    pages: Pages,
    /// Where large results lie.
    pub(crate) back: Rc<RefCell<Back>>,
    /// How many bytes are committed and not sent.
    length: usize,
}

impl Outlet {
    pub(crate) fn new(socket: OwnedFd, pages: Pages, back: Rc<RefCell<Back>>) -> Self {
        Self {
            socket,
            pages,
            back,
            length: 0,
        }
    }

    /// Sends everything.
    pub(crate) fn flush(&mut self) {
        send_all(&self.socket, &self.pages.room()[..self.length]);
        self.pages.sent(self.length as u64);
        self.length = 0;
    }

    /// What is in standard error now is of items that have ended (`forward`).
    #[cold]
    pub(crate) fn mark(&self) {
        let waiting = || rustix::io::ioctl_fionread(std::io::stderr()).unwrap_or(0);
        for _ in 0..PATIENCE {
            if self.pages.mark(waiting) {
                return;
            }
            thread::yield_now();
        }
    }

    /// Until when somebody looks for results in the ledger, and whether with this processor.
    pub(crate) fn watched(&self) -> (u64, bool) {
        self.pages.watched()
    }

    /// Somebody does.
    pub(crate) fn is_watched(&self) -> bool {
        let (until, _) = self.watched();
        until != 0 && clock::now() <= until
    }

    /// How often the parent has sent something.
    pub(crate) fn deliveries(&self) -> u64 {
        self.pages.deliveries()
    }

    /// The parent knows everything, sent or not.
    pub(crate) fn is_heard(&self) -> bool {
        self.pages.is_heard()
    }

    /// It is time to send.
    pub(crate) fn is_half_full(&self) -> bool {
        self.length > ROOM / 2
    }

    /// A whole record, through the ledger if it fits.
    pub(crate) fn record(&mut self, record: &[u8]) {
        if record.len() > ROOM - self.length {
            self.flush();
        }
        if record.len() > ROOM {
            return self.around(&[record]);
        }
        self.pages.room()[self.length..][..record.len()].copy_from_slice(record);
        self.commit(self.length + record.len());
    }

    #[inline]
    fn commit(&mut self, length: usize) {
        self.length = length;
        self.pages.commit(length);
    }

    /// Sends what does not fit into the ledger, which is empty. A death in here leaves
    /// a part of a record, which counts as none.
    fn around(&mut self, parts: &[&[u8]]) {
        for part in parts {
            send_all(&self.socket, part);
        }
        self.pages
            .sent(parts.iter().map(|part| part.len() as u64).sum());
    }

    /// A value record, encoded in place, or around the ledger if it brings descriptors along.
    #[inline]
    fn value<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        if ROOM - self.length < MARGIN {
            self.flush();
        }
        let (end, loaded) = baggage::packing_for(true, || self.value_in_place(value));
        match (end, loaded) {
            (Ok(end), None) => {
                self.commit(end);
                Ok(())
            }
            (Ok(end), Some(cargo)) => {
                let said = self.laden_value(end, &cargo);
                self.lent(said)
            }
            (Err(error), loaded) => {
                if loaded.is_some() {
                    self.back.borrow_mut().abandon();
                }
                match error {
                    postcard::Error::SerializeBufferFull => self.large_value(value),
                    error => Err(error),
                }
            }
        }
    }

    /// A value that has been encoded in place, up to `end`, and brings something along.
    #[cold]
    fn laden_value(&mut self, end: usize, cargo: &Cargo) -> Result<(), postcard::Error> {
        let start = self.length;
        let record = [missing(cargo), self.pages.room()[start..end].to_vec()].concat();
        if cargo.parcels.is_empty() {
            self.record(&record);
            return Ok(());
        }
        self.flush();
        self.with_baggage(&cargo.parcels, &[&record])
    }

    /// A value in which something may be missing has been `said`, or not.
    #[cold]
    fn lent(&mut self, said: Result<(), postcard::Error>) -> Result<(), postcard::Error> {
        let mut back = self.back.borrow_mut();
        match said {
            Ok(()) => back.settle(self.pages.position()),
            Err(_) => back.abandon(),
        }
        said
    }

    #[inline]
    fn value_in_place<R: Serialize>(&mut self, value: &R) -> Result<usize, postcard::Error> {
        let start = self.length;
        let room = &mut self.pages.room()[start..];
        room[0] = wire::VALUE_KIND;
        // Ten bytes stay free, for a prefix longer than one byte.
        let end = room.len() - 10;
        let used = encode(value, Front::new(&mut room[2..end]))?;
        Ok(start + wire::prefix(room, 1, 1, used))
    }

    #[cold]
    fn large_value<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        let mut bytes = Vec::new();
        let tail = Tail::new(&mut bytes);
        let (encoded, loaded) = baggage::packing_for(true, || encode(value, tail));
        match loaded {
            None => encoded.map(|()| self.long_value(Vec::new(), bytes)),
            Some(cargo) => {
                let said = encoded.and_then(|()| match cargo.parcels.is_empty() {
                    true => {
                        self.long_value(missing(&cargo), bytes);
                        Ok(())
                    }
                    false => {
                        let head = [missing(&cargo), wire::value_head(bytes.len())].concat();
                        self.flush();
                        self.with_baggage(&cargo.parcels, &[&head, &bytes])
                    }
                });
                self.lent(said)
            }
        }
    }

    /// Behind what is said `before`.
    fn long_value(&mut self, before: Vec<u8>, bytes: Vec<u8>) {
        let head = [before, wire::value_head(bytes.len())].concat();
        self.flush();
        if head.len() + bytes.len() <= ROOM {
            self.record(&[head, bytes].concat());
        } else {
            self.around(&[&head, &bytes]);
        }
    }
}

impl Outlet {
    /// Sends a value that brings something along; the ledger is empty. A death in here leaves a part
    /// of it, which counts as none. After an error nothing was said.
    #[cold]
    fn with_baggage(
        &mut self,
        parcels: &[Arc<Parcel>],
        value: &[&[u8]],
    ) -> Result<(), postcard::Error> {
        let numbers: Vec<u64> = parcels.iter().map(|parcel| parcel.id()).collect();
        let bag = wire::bag(&numbers);
        let sent = send_parcels(&self.socket, &bag, parcels)?;
        send_all(&self.socket, &bag[sent..]);
        self.pages.sent(bag.len() as u64);
        self.around(value);
        Ok(())
    }
}

/// What is said before a value of which some is missing.
fn missing(cargo: &Cargo) -> Vec<u8> {
    let lent = cargo.lent.iter().flat_map(|lent| lent.numbers(0));
    match lent.collect::<Vec<u64>>() {
        none if none.is_empty() => Vec::new(),
        lent => wire::lent(&lent),
    }
}

/// Sends some of `bag`, and `parcels` with it.
fn send_parcels(
    socket: &OwnedFd,
    bag: &[u8],
    parcels: &[Arc<Parcel>],
) -> Result<usize, postcard::Error> {
    for _ in 0..PATIENCE {
        match baggage::send(socket, &[IoSlice::new(bag)], parcels, SendFlags::NOSIGNAL) {
            Ok(sent) => return Ok(sent),
            Err(Errno::INTR) => {}
            // Until others have taken theirs, or the kernel has memory again: nothing tells when.
            Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => {
                let _ = rustix::thread::nanosleep(&CROWDED);
            }
            Err(_) => std::process::exit(1),
        }
    }
    baggage::said(
        "too many descriptors are on their way between processes (RLIMIT_NOFILE), or the system is out of memory",
    );
    Err(postcard::Error::SerdeSerCustom)
}

/// Sends all of `bytes`, waiting as long as it takes: the parent always reads.
fn send_all(socket: &OwnedFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            // The kernel has no memory just now. (Who watches the socket ends this if the parent does.)
            Err(Errno::NOBUFS | Errno::NOMEM) => {
                let _ = rustix::thread::nanosleep(&CROWDED);
            }
            Err(error @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS)) => {
                worker::ends("answer", &refused("sendto")(error))
            }
            // The parent is gone, and nobody is left to tell.
            Err(_) => std::process::exit(1),
        }
    }
}

/// What a worker keeps from frame to frame.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) outlet: Outlet,
    pub(crate) calls: Calls,
    pub(crate) contexts: Contexts,
    pub(crate) memory: Option<Memory>,
    /// It has asked to be replaced.
    retiring: bool,
    /// Of which generation of forks it is.
    born: u32,
}

impl Desk {
    pub(crate) fn new(outlet: Outlet, calls: Calls, memory: Option<Memory>) -> Self {
        Self {
            outlet,
            calls,
            contexts: Contexts::default(),
            memory,
            retiring: false,
            born: fork::generation(),
        }
    }
}

/// The items of one frame.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    items: Reader<'a>,
    head: BatchHead,
    desk: &'a mut Desk,
    begun: u64,
    open: bool,
    /// When the last item began, in ticks.
    since: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(head: BatchHead, items: &'a [u8], desk: &'a mut Desk) -> Self {
        let index = head.sequence as usize;
        let gate = desk.outlet.pages.gate(index);
        if desk.retiring {
            gate.close();
        }
        desk.calls.begin(index, gate);
        Self {
            items: Reader(items),
            head,
            desk,
            begun: 0,
            open: false,
            since: 0,
        }
    }

    /// The parent's fingerprint of the types.
    pub(crate) fn check(&self) -> u64 {
        self.head.code.check
    }

    /// How many items have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// What the next items run as. An item that asks for its token is the last of its call.
    pub(crate) fn call(&mut self) -> Call {
        let gate = self.desk.outlet.pages.gate(self.head.sequence as usize);
        self.desk.calls.next(gate)
    }

    /// The bytes of the next argument, which is herewith begun.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        if self.desk.memory.is_some() {
            self.weigh();
        }
        let gate = self.desk.outlet.pages.gate(self.head.sequence as usize);
        if self.head.timed {
            gate.starts(clock::now());
        }
        gate.take()?;
        let argument = self.items.bytes()?;
        if self.head.count <= FEW {
            self.mark();
        }
        self.begun += 1;
        self.open = true;
        Some(argument)
    }

    /// Standard error up to here is not of the next item.
    #[inline]
    fn mark(&mut self) {
        let now = ticks::now();
        if self.begun > 0 && now.saturating_sub(self.since) >= QUICK * ticks::MICROSECOND / 1000 {
            self.desk.outlet.mark();
        }
        self.since = now;
    }

    /// The argument has been decoded; after the last one nothing of the frame's baggage is kept.
    #[inline]
    pub(crate) fn decoded(&mut self) {
        if self.begun == self.head.count {
            baggage::leave();
        }
        if self.head.ends {
            self.taken();
        }
    }

    /// Says so at once: somebody may wait until the parent has closed its copies (W26).
    #[cold]
    fn taken(&mut self) {
        self.desk.outlet.record(&wire::taken());
        self.desk.outlet.flush();
    }

    /// Asks to be replaced if this process has become too large.
    #[cold]
    fn weigh(&mut self) {
        let fits = self.desk.memory.as_mut().is_none_or(Memory::fits);
        if !fits && !std::mem::replace(&mut self.desk.retiring, true) {
            let gate = self.desk.outlet.pages.gate(self.head.sequence as usize);
            gate.close();
            self.desk.outlet.record(&wire::retire());
        }
    }

    /// What the items of this frame have in common.
    pub(crate) fn context<C: DeserializeOwned + 'static>(&mut self) -> Result<&C, String> {
        self.desk.contexts.get(self.head.context)
    }

    /// The item's result. After an error nothing has been said.
    #[inline]
    pub(crate) fn value<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        self.end_child();
        self.desk.outlet.value(value)?;
        self.open = false;
        Ok(())
    }

    /// The item's argument, context or result cannot be decoded or encoded.
    #[cold]
    pub(crate) fn codec(&mut self, of: CodecOf, detail: &str) {
        self.answer(&wire::codec(of, detail));
    }

    /// The item, or the destructor of its result, has panicked.
    #[cold]
    pub(crate) fn panicked(&mut self, panic: &Panic) {
        let place = panic
            .location()
            .map(|place| (place.file(), place.line(), place.column()));
        self.answer(&wire::panic(panic.message(), place));
    }

    /// An item may have forked, and have returned in the child, too. There is nothing to return to: the conversation
    /// with the parent is the worker's.
    #[inline]
    fn end_child(&self) {
        if self.desk.born != fork::generation() {
            std::process::exit(0);
        }
    }

    fn answer(&mut self, record: &[u8]) {
        self.end_child();
        if std::mem::take(&mut self.open) {
            self.desk.outlet.record(record);
        }
    }
}
