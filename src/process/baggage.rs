//! Descriptors that travel inside arguments and results.
//!
//! **Job.** A value may stand for something that only a descriptor can name: memory, a pipe. Its
//! `Serialize` puts the descriptor into the baggage of whatever is being encoded ([`load`]) and writes
//! the number that it got; its `Deserialize` reads the number and asks for the descriptor
//! ([`unload`]). Between the two everything is as for values without baggage.
//!
//! **Protocol.**
//! 1. Who encodes an argument, a context or a result does it inside of [`packing`], and gets the
//!    [`Parcel`]s that were loaded meanwhile. Outside of that there is nothing to load into, and
//!    `load` is an error in words. The parent keeps an argument's parcels with its bytes, so they
//!    are there when an item is sent again.
//! 2. Both directions of the socket have a message `BAG` ([`wire`](super::wire)): the numbers of some parcels.
//!    The descriptors themselves come with the message's first byte, in the kernel's hands
//!    (`SCM_RIGHTS`), so they survive a sender who dies. A bag belongs to the frame or value right behind
//!    it. Values with baggage go around the ledger, which cannot hold descriptors.
//! 3. Whoever receives collects descriptors in the order of arrival ([`Arrivals`]). The kernel
//!    hands over at most one message's descriptors at a time, with bytes that end no later
//!    than that message does. The message `BAG` gives them their numbers
//!    ([`Arrivals::bag`]).
//! 4. What is decoded inside of [`unpacking`] finds them there. A number may be asked for
//!    more than once: items of one frame may share a descriptor.
//!
//! What nobody asks for is closed with the bag. What arrives without a message that claims
//! it is closed once all bytes that came before and with it have been used ([`Arrivals::used`]).
//!
//! Nothing is believed of a descriptor because of its number: who unloads one looks at what it is.
//!
//! **Ends.** Of some descriptors others wait until the last copy is closed: the ends of a channel. A copy
//! that lies around where nobody uses it is a wait that never ends: in the queue of a
//! worker whose running item waits for that very end, in the parent beside an item that has begun.
//! - **W25** While an item runs, its process has no ends but those that the item or its job's context has
//!   brought, and what the program itself keeps. So an item with ends travels alone and to an idle
//!   worker only, and a worker forgets a context with ends before it gets another job's item.
//! - **W26** While an item runs, the parent keeps no copies of its ends, unless the item may be retried: a
//!   worker says `TAKEN` when it has decoded such an item.
//!
//! **Rejected.** Opening `/proc/<pid>/fd/<n>`: the sender of a result may be gone by then, a
//! socket or an eventfd cannot be opened so, and a hardened container may refuse. A socket of its own for
//! descriptors: a second queue that may be full while the first is not.
//!
//! Tests: below; `tests/process/shared.rs`, `tests/process/memory.rs`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::loan::Lent;
use crate::loom::per_thread;

/// How many descriptors one message can carry: the kernel's limit.
pub(crate) const MOST: usize = 253;

/// How many messages' descriptors may have arrived without the message that claims them.
const MOST_ARRIVALS: usize = 64;

/// A descriptor that can travel, shared by all that it is part of.
#[derive(Debug)]
pub(crate) struct Parcel {
    id: u64,
    descriptor: OwnedFd,
    end: OnceLock<()>,
}

impl Parcel {
    pub(crate) fn new(descriptor: OwnedFd) -> Arc<Self> {
        // A counter: no protocol.
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let end = OnceLock::new();
        Arc::new(Self {
            id,
            descriptor,
            end,
        })
    }

    /// Somebody waits until all copies of it are closed.
    pub(crate) fn set_end(&self) {
        let _ = self.end.set(());
    }

    pub(crate) fn is_end(&self) -> bool {
        self.end.get().is_some()
    }

    /// Its number in this process; a receiver has another for the same thing.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl AsFd for Parcel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Some bytes, and what belongs to them.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parcels: Vec<Arc<Parcel>>,
}

impl Packed {
    /// It brings ends along.
    pub(crate) fn has_ends(&self) -> bool {
        self.parcels.iter().any(|parcel| parcel.is_end())
    }
}

per_thread! {
    /// 0: nothing is being packed here; n: something, with n - 1 things loaded so far, and [`LENDS`] if it may lend.
    static PACKING: Cell<usize> = Cell::new(0);
}
per_thread! {
    static PACKED: Cell<Cargo> = Cell::new(Cargo::new());
}

/// In `PACKING`.
const LENDS: usize = 1 << 32;

/// How many things, and one.
#[inline]
fn count(packing: usize) -> usize {
    packing & (LENDS - 1)
}
per_thread! {
    static UNPACKED: Cell<Option<Bag>> = Cell::new(None);
}
per_thread! {
    static WORDS: Cell<Option<String>> = Cell::new(None);
}
per_thread! {
    /// There are some.
    static SAID: Cell<bool> = Cell::new(false);
}

/// What comes along with some bytes.
#[derive(Debug, Default)]
pub(crate) struct Cargo {
    pub(crate) parcels: Vec<Arc<Parcel>>,
    /// The numbers that are missing in the bytes, in their order.
    pub(crate) lent: Vec<Lent>,
}

impl Cargo {
    const fn new() -> Self {
        Self {
            parcels: Vec::new(),
            lent: Vec::new(),
        }
    }
}

/// What an encoding has loaded: nothing, almost always. One word, because it is moved once per item.
pub(crate) type Loaded = Option<Box<Cargo>>;

/// Puts back what was being packed before, on the way out and in a panic.
struct Before(usize, Loaded);

impl Drop for Before {
    #[inline]
    fn drop(&mut self) {
        if count(PACKING.with(|cell| cell.replace(self.0))) > 1 || count(self.0) > 1 {
            self.put_back();
        }
    }
}

impl Before {
    #[cold]
    fn put_back(&mut self) {
        let before = count(self.0) > 1;
        let cargo = self.1.take().filter(|_| before).unwrap_or_default();
        drop(PACKED.with(|cell| cell.replace(*cargo)));
    }
}

#[cold]
fn packed() -> Loaded {
    Some(Box::new(PACKED.with(Cell::take)))
}

/// Encodes something, and gives what it has loaded. (Nothing, almost always, and then this costs
/// nothing.)
#[inline]
pub(crate) fn packing<T>(encode: impl FnOnce() -> T) -> (T, Loaded) {
    packing_for(false, encode)
}

/// The same; if it `lends`, large numbers need not be part of the bytes (`loan`).
#[inline]
pub(crate) fn packing_for<T>(lends: bool, encode: impl FnOnce() -> T) -> (T, Loaded) {
    fresh();
    let nothing = 1 + if lends { LENDS } else { 0 };
    let outer = PACKING.with(|cell| cell.replace(nothing));
    let before = Before(outer, if count(outer) > 1 { packed() } else { None });
    let encoded = encode();
    let loaded = match count(PACKING.with(Cell::get)) {
        0 | 1 => None,
        _ => packed(),
    };
    drop(before);
    (encoded, loaded)
}

/// Something is being packed on this thread, and large numbers may be lent.
pub(crate) fn may_lend() -> bool {
    PACKING.with(Cell::get) & LENDS != 0
}

/// What is being encoded lacks something.
pub(crate) fn bring(lent: Lent) {
    let mut cargo = PACKED.with(Cell::take);
    cargo.lent.push(lent);
    PACKED.with(|cell| cell.set(cargo));
    PACKING.with(|cell| cell.set(cell.get() + 1));
}

/// Takes `parcel` along with what is being encoded on this thread. Returns its number.
pub(crate) fn load(parcel: &Arc<Parcel>) -> Result<u64, String> {
    let packing = PACKING.with(Cell::get);
    if packing == 0 {
        // Nobody explains this one: it is not about a call.
        let words = "it can travel as (a part of) an argument or a result of a call into another \
             process, and not be written down anywhere else";
        return Err(words.to_owned());
    }
    let mut cargo = PACKED.with(Cell::take);
    let parcels = &mut cargo.parcels;
    let found = parcels.iter().any(|other| Arc::ptr_eq(other, parcel));
    let room = parcels.len() < MOST;
    if !found && room {
        parcels.push(parcel.clone());
        PACKING.with(|cell| cell.set(packing + 1));
    }
    PACKED.with(|cell| cell.set(cargo));
    match found || room {
        true => Ok(parcel.id),
        false => Err(said(&format!(
            "one argument or result can bring {MOST} descriptors along, and this one has more"
        ))),
    }
}

/// The parcel that the sender calls `id`, while something is decoded that it came with.
pub(crate) fn unload(id: u64) -> Result<Arc<Parcel>, String> {
    let bag = UNPACKED.with(Cell::take);
    let result = match &bag {
        None => {
            let words = "it can be read as (a part of) an argument or a result of a call only";
            return Err(words.to_owned());
        }
        Some(bag) => match bag.parcels.iter().find(|(number, _)| *number == id) {
            Some((_, parcel)) => Ok(parcel.clone()),
            None if bag.lost => Err(
                "its descriptor has not arrived: this process may not open more (RLIMIT_NOFILE)",
            ),
            None => Err("its descriptor has not come along"),
        },
    };
    UNPACKED.with(|cell| cell.set(bag));
    result.map_err(said)
}

/// Keeps words for whoever explains the error: the codec's errors have none.
pub(crate) fn said(words: &str) -> String {
    WORDS.with(|cell| cell.set(Some(words.to_owned())));
    SAID.with(|cell| cell.set(true));
    words.to_owned()
}

/// What was [`said`] last, once.
pub(crate) fn words() -> Option<String> {
    match SAID.with(|cell| cell.replace(false)) {
        true => WORDS.with(Cell::take),
        false => None,
    }
}

/// Something else begins: what was said about an error that somebody has passed over is not
/// about the next.
#[inline]
pub(crate) fn fresh() {
    if SAID.with(Cell::get) {
        drop(words());
    }
}

/// The parcels that came with some bytes, by the sender's numbers.
#[derive(Debug, Default)]
pub(crate) struct Bag {
    parcels: Vec<(u64, Arc<Parcel>)>,
    /// There were more, which this process could not take.
    lost: bool,
}

/// Decodes something that `bag` came with; gives back the bag.
pub(crate) fn unpacking<T>(bag: Bag, decode: impl FnOnce() -> T) -> (T, Bag) {
    struct Before(Option<Bag>);
    impl Drop for Before {
        fn drop(&mut self) {
            UNPACKED.with(|cell| cell.set(self.0.take()));
        }
    }
    let before = Before(UNPACKED.with(|cell| cell.replace(Some(bag))));
    let decoded = decode();
    let bag = UNPACKED.with(Cell::take).unwrap_or_default();
    drop(before);
    (decoded, bag)
}

/// Nothing more will be asked for: closes what nobody has asked for, and keeps nothing open
/// that those who have asked may close.
pub(crate) fn leave() {
    UNPACKED.with(|cell| cell.set(None));
}

/// The descriptors that have arrived at one end of a socket, and have no numbers yet.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Those of one message each; whether some were lost; how many bytes had been received with them.
    queue: VecDeque<(Vec<OwnedFd>, bool, u64)>,
    /// How many bytes have been received.
    received: u64,
}

impl Arrivals {
    /// Receives bytes into `buffer`, and what comes with them. An error of its own (`NOSR`): the
    /// peer sends descriptors without end.
    pub(crate) fn receive(
        &mut self,
        socket: impl AsFd,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> rustix::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(socket, &mut parts, &mut control, flags)?;
        self.received += received.bytes as u64;
        let lost = received.flags.contains(ReturnFlags::CTRUNC);
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        if lost || !descriptors.is_empty() {
            self.queue.push_back((descriptors, lost, self.received));
            if self.queue.len() > MOST_ARRIVALS {
                self.queue.clear();
                return Err(Errno::NOSR);
            }
        }
        Ok(received.bytes)
    }

    /// Bytes that were received in another way, and brought nothing.
    pub(crate) fn plain(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// The one descriptor that came with a message, if it could be taken.
    pub(crate) fn one(&mut self) -> Option<Arc<Parcel>> {
        self.bag(&[0]).parcels.pop().map(|(_, parcel)| parcel)
    }

    /// The message `BAG` with these numbers: its descriptors are the first that nobody has claimed.
    pub(crate) fn bag(&mut self, numbers: &[u64]) -> Bag {
        let (descriptors, lost, _) = self.queue.pop_front().unwrap_or_default();
        let parcels = descriptors.into_iter().map(Parcel::new);
        Bag {
            parcels: numbers.iter().copied().zip(parcels).collect(),
            lost,
        }
    }

    /// All bytes that were received have been used, but the last `left`: nothing that came with the others
    /// will be claimed any more.
    pub(crate) fn used(&mut self, left: usize) {
        let used = self.received.saturating_sub(left as u64);
        while self.queue.front().is_some_and(|(_, _, at)| *at <= used) {
            self.queue.pop_front();
        }
    }
}

/// Sends some of `parts`, and the descriptors of `parcels` with the first byte.
pub(crate) fn send(
    socket: impl AsFd,
    parts: &[IoSlice<'_>],
    parcels: &[Arc<Parcel>],
    flags: SendFlags,
) -> rustix::io::Result<usize> {
    if parcels.is_empty() {
        let mut control = SendAncillaryBuffer::default();
        return rustix::net::sendmsg(socket, parts, &mut control, flags);
    }
    let descriptors: Vec<BorrowedFd<'_>> = parcels.iter().map(|parcel| parcel.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    rustix::net::sendmsg(socket, parts, &mut control, flags)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn parcel() -> Arc<Parcel> {
        Parcel::new(std::fs::File::open("/dev/null").unwrap().into())
    }

    fn ids(loaded: &Loaded) -> Vec<u64> {
        loaded
            .iter()
            .flat_map(|cargo| cargo.parcels.iter())
            .map(|parcel| parcel.id())
            .collect()
    }

    #[test]
    fn each_encoding_has_its_own_baggage() {
        let [a, b] = [parcel(), parcel()];
        assert!(load(&a).unwrap_err().contains("call"));
        assert!(unload(1).unwrap_err().contains("call"));
        assert!(words().is_none(), "nobody has asked");
        let ((inner, again), outer) = packing(|| {
            load(&a).unwrap();
            load(&a).unwrap();
            let ((), inner) = packing(|| assert!(load(&b).is_ok()));
            let unwound = std::panic::catch_unwind(|| packing(|| panic!("oh")).1);
            assert!(unwound.is_err());
            (inner, packing(|| ()).1)
        });
        assert_eq!((ids(&inner), ids(&outer)), (vec![b.id()], vec![a.id()]));
        assert!(again.is_none() && load(&a).is_err());
        let (last, all) = packing(|| {
            (0..MOST).for_each(|_| assert!(load(&parcel()).is_ok()));
            load(&parcel())
        });
        assert!(last.unwrap_err().contains("253"));
        assert_eq!(ids(&all).len(), MOST);
        assert!(words().is_some() && words().is_none());
        said("of this one");
        packing(|| ());
        assert!(words().is_none(), "and not of the next");
    }

    #[test]
    fn descriptors_come_with_their_message_and_are_closed_if_nobody_wants_them() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (kept, dropped) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let flags = SendFlags::empty();
        let mut arrivals = Arrivals::default();
        let mut buffer = [0; 64];
        for (bytes, descriptor) in [(b"abc", kept.0), (b"def", dropped.0)] {
            let parcel = [Parcel::new(descriptor.into())];
            let sent = send(&ours, &[IoSlice::new(bytes)], &parcel, flags);
            assert_eq!(sent, Ok(3));
        }
        send(&ours, &[IoSlice::new(b"ghi")], &[], flags).unwrap();
        let mut have = 0;
        while have < 9 {
            let some = arrivals.receive(&theirs, &mut buffer[have..], RecvFlags::empty());
            have += some.unwrap();
        }
        assert_eq!(&buffer[..9], b"abcdefghi");
        let bag = arrivals.bag(&[7, 8]);
        let (found, bag) = unpacking(bag, || unload(7));
        assert!(unpacking(bag, || unload(8)).0.is_err());
        assert!(unload(7).is_err());
        arrivals.used(9);
        assert_eq!(arrivals.queue.len(), 1, "nothing has been used");
        arrivals.used(3);
        assert_eq!(arrivals.queue.len(), 0);
        let end = |socket: &UnixStream| {
            let flags = RecvFlags::DONTWAIT;
            rustix::net::recv(socket, &mut [0u8; 1][..], flags).map(|(_, count)| count)
        };
        assert_eq!(end(&dropped.1), Ok(0));
        assert_eq!(end(&kept.1), Err(Errno::AGAIN));
        drop(found);
        assert_eq!(end(&kept.1), Ok(0));
    }
}
