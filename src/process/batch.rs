//! In the worker: the items of one frame, and where their results go.
//!
//! **Protocol.** For each item: take it through the gate; decode, call, encode; commit
//! the result to the ledger. Nothing of this is a system call. The ledger is sent when
//! it is full and at the end of each frame ([`Outlet::flush`]).
//!
//! **Invariants.**
//! - **W8** Every item that was taken is answered by exactly one record before the
//!   next is taken: a value, a codec error or a panic. (`open` says that one is due.)
//!
//! Tests: `tests/process.rs`.

use std::os::fd::OwnedFd;

use rustix::net::SendFlags;
use serde::Serialize;

use super::call::{Call, Calls};
use super::wire::{self, Reader};
use crate::sys::ledger::{Pages, ROOM};
use crate::task::panic::Panic;

/// With less than this free, the ledger is sent before a value is written to it.
const MARGIN: usize = 64;

/// What a worker says, on its way.
#[derive(Debug)]
pub(crate) struct Outlet {
    socket: OwnedFd,
    pages: Pages,
    /// How many bytes are committed and not sent.
    length: usize,
}

impl Outlet {
    pub(crate) fn new(socket: OwnedFd, pages: Pages) -> Self {
        Self {
            socket,
            pages,
            length: 0,
        }
    }

    /// Sends everything.
    pub(crate) fn flush(&mut self) {
        send_all(&self.socket, &self.pages.room()[..self.length]);
        self.pages.sent(self.length as u64);
        self.length = 0;
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

    /// A value record, encoded in place.
    #[inline]
    fn value<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        if ROOM - self.length < MARGIN {
            self.flush();
        }
        match self.value_in_place(value) {
            Err(postcard::Error::SerializeBufferFull) => self.large_value(value),
            result => result,
        }
    }

    #[inline]
    fn value_in_place<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        let start = self.length;
        let room = &mut self.pages.room()[start..];
        room[0] = wire::VALUE_KIND;
        // Ten bytes stay free, for a prefix longer than one byte.
        let end = room.len() - 10;
        let used = postcard::to_slice(value, &mut room[2..end])?.len();
        let end = wire::prefix(room, 1, 1, used);
        self.commit(start + end);
        Ok(())
    }

    #[cold]
    fn large_value<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        let bytes = postcard::to_stdvec(value)?;
        let head = wire::value_head(bytes.len());
        self.flush();
        if head.len() + bytes.len() <= ROOM {
            self.record(&[head, bytes].concat());
        } else {
            self.around(&[&head, &bytes]);
        }
        Ok(())
    }
}

/// Sends all of `bytes`, waiting as long as it takes: the parent always reads.
fn send_all(socket: &OwnedFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(rustix::io::Errno::INTR) => {}
            // The parent is gone, and nobody is left to tell.
            Err(_) => std::process::exit(1),
        }
    }
}

/// The items of one frame.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    items: Reader<'a>,
    sequence: u64,
    check: u64,
    outlet: &'a mut Outlet,
    calls: &'a mut Calls,
    begun: u64,
    open: bool,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        sequence: u64,
        check: u64,
        items: &'a [u8],
        outlet: &'a mut Outlet,
        calls: &'a mut Calls,
    ) -> Self {
        let gate = sequence as usize;
        calls.begin(gate, outlet.pages.gate(gate));
        Self {
            items: Reader(items),
            sequence,
            check,
            outlet,
            calls,
            begun: 0,
            open: false,
        }
    }

    /// The parent's fingerprint of the types.
    pub(crate) fn check(&self) -> u64 {
        self.check
    }

    /// How many items have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// What the next items run as. An item that asks for its token is the last of its call.
    pub(crate) fn call(&mut self) -> Call {
        let gate = self.outlet.pages.gate(self.sequence as usize);
        self.calls.next(gate)
    }

    /// The bytes of the next argument, which is herewith begun.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        self.outlet.pages.gate(self.sequence as usize).take()?;
        let argument = self.items.bytes()?;
        self.begun += 1;
        self.open = true;
        Some(argument)
    }

    /// The item's result. After an error nothing has been said.
    #[inline]
    pub(crate) fn value<R: Serialize>(&mut self, value: &R) -> Result<(), postcard::Error> {
        self.outlet.value(value)?;
        self.open = false;
        Ok(())
    }

    /// The item's argument or result cannot be decoded or encoded.
    #[cold]
    pub(crate) fn codec(&mut self, of_result: bool, detail: &str) {
        self.answer(&wire::codec(of_result, detail));
    }

    /// The item, or the destructor of its result, has panicked.
    #[cold]
    pub(crate) fn panicked(&mut self, panic: &Panic) {
        let place = panic
            .location()
            .map(|place| (place.file(), place.line(), place.column()));
        self.answer(&wire::panic(panic.message(), place));
    }

    fn answer(&mut self, record: &[u8]) {
        if std::mem::take(&mut self.open) {
            self.outlet.record(record);
        }
    }
}
