//! What travels with the bytes of a value, while this thread encodes or decodes it.
//!
//! **Job.** serde's traits take no extra argument, so everything that a `Serialize` or
//! `Deserialize` of this crate needs besides the bytes is in a thread-local: while a value is
//! encoded, what travels with it ([`Encoding`]); while one is decoded, what has arrived with it
//! ([`Decoding`]).
//!
//! [`encoding`] and [`decoding`] set it while a closure runs, and then put the previous context
//! back, even if it panics: a `Serialize` may itself make calls. Outside them nothing can be
//! attached; to try is an error with a message.
//!
//! A large [`Bulk`](crate::process::Bulk) is *offered* ([`offering`]): its bytes go to the
//! serializer, and only a call's own encoder sees that these are the bytes on offer, and leaves
//! them out, to be lent or sent ahead ([`leave_out`]). Any other serializer gets the numbers
//! themselves, because its output may be read at any time. The decoder of an empty string finds
//! numbers only where the encoder has left them out ([`find`]). If they are not read as a `Bulk`
//! there, that is an error ([`is_unread`]).
//!
//! Tests: below; `tests/process/bulk.rs`, `tests/process/shared.rs`.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use postcard_described::Description;

use super::attachments::{AttachedFile, Descriptors, Taken};
use super::lent_arrays::{Lent, Missing, SharedBuffer, is_large};
use super::raw_plain::{Array, Plain, array};
use super::reason;
use super::slow_close::SlowClose;
use crate::loom::per_thread;
use crate::process::limits::{AHEAD_FROM, MAX_DESCRIPTORS};
use crate::process::wire::MOST_LENT;
use trefoil_os::host::free_memory;
use trefoil_os::host::handover::CARRIES;

/// What travels with the bytes of an encoding. It is reused for the next one.
#[derive(Debug, Default)]
pub(crate) struct Encoding {
    lender: Option<Arc<SharedBuffer>>,
    /// Only bytes can travel, to or from a plain worker: attachments must be ones that a copy can
    /// replace.
    only_bytes: bool,
    /// Large arrays that are not lent may be sent ahead of the value (`copies`).
    pub(crate) sends_ahead: bool,
    /// The address and length of the bytes that may be left out, and the type of their numbers.
    offer: Option<(usize, usize, u8)>,
    pub(crate) attachments: Vec<Arc<AttachedFile>>,
    /// The numbers that were left out of the bytes, in order.
    pub(crate) lent: Vec<Lent>,
    /// For the codec, between values.
    pub(crate) description: Description,
}

impl Encoding {
    /// An encoding whose large arrays may be lent by `lender`.
    pub(crate) fn lending(lender: Arc<SharedBuffer>) -> Box<Self> {
        Box::new(Self {
            lender: Some(lender),
            ..Self::default()
        })
    }

    /// An encoding for bytes alone.
    pub(crate) fn bytes() -> Box<Self> {
        Box::new(Self {
            only_bytes: true,
            ..Self::default()
        })
    }

    /// Whether nothing travels with the bytes.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.attachments.is_empty() && self.lent.is_empty()
    }

    /// Moves `whole`, which is the value itself, out of the bytes, if it can be lent or sent ahead:
    /// an empty one stays. `at` is how many bytes there are behind its length.
    pub(crate) fn leave_out_whole(&mut self, whole: &mut dyn Array, at: usize) {
        let lender = self.lender.as_ref();
        let lent = lender.and_then(|lender| lender.lend(whole.bytes(), at));
        let ahead = self.sends_ahead && is_worth_it(whole.bytes());
        match lent {
            Some(lent) => {
                drop(whole.take()); // it was copied into lent memory
                self.lent.push(lent);
            }
            None if ahead => self.lent.push(Lent::ahead(at, whole.take())),
            None => {}
        }
    }

    pub(crate) fn clear(&mut self) {
        self.offer = None;
        self.attachments.clear();
        self.lent.clear();
    }
}

/// The attachments and lent numbers that came with bytes that are decoded.
pub(crate) struct Decoding {
    descriptors: Descriptors,
    missing: Option<Missing>,
}

impl Decoding {
    pub(crate) fn new(descriptors: Descriptors, missing: Option<Missing>) -> Option<Box<Self>> {
        Some(Box::new(Self {
            descriptors,
            missing,
        }))
    }
}

/// Whether `bytes` are worth sending ahead.
fn is_worth_it(bytes: &[u8]) -> bool {
    bytes.len() >= AHEAD_FROM
}

/// The message for a descriptor that was to travel to or from a plain worker.
pub(crate) const ONLY_BYTES: &str = if CARRIES {
    "this pool's workers are plain (`plain_workers`), or on other machines: only bytes can be sent to \
     them, and neither `SharedAtomics` nor an `Attachment` nor the end of a channel can be copied; \
     return results instead, and send read-only data as `Shared`"
} else {
    "on this system all workers are plain (see `plain_workers`): only bytes can be sent to them, and \
     `SharedAtomics` cannot be copied; return results instead, and send read-only data as \
     `Shared`"
};

struct Scope {
    encoding: Cell<Option<Box<Encoding>>>,
    decoding: Cell<Option<Box<Decoding>>>,
}

per_thread! {
    // It has no destructor, so it can be used as long as the thread runs. The code that sets
    // something takes it out again.
    static SCOPE: ManuallyDrop<Scope> = ManuallyDrop::new(Scope {
        encoding: Cell::new(None),
        decoding: Cell::new(None),
    });
}

/// Selects a part of the scope.
type Field<T> = fn(&Scope) -> &Cell<Option<Box<T>>>;

/// Puts `own` into the slot, and takes out what was there.
#[inline]
fn replace<T>(slot: Field<T>, own: Option<Box<T>>) -> Option<Box<T>> {
    SCOPE.with(|scope| slot(scope).replace(own))
}

/// Runs `act` with `own` in the slot. Meanwhile the earlier contents are in `own`. Exchanges them
/// back afterwards, even if `act` panics.
#[inline]
fn within<T, R>(slot: Field<T>, own: &mut Option<Box<T>>, act: impl FnOnce() -> R) -> R {
    struct Exchanged<'a, T>(Field<T>, &'a mut Option<Box<T>>);
    impl<T> Drop for Exchanged<'_, T> {
        #[inline]
        fn drop(&mut self) {
            *self.1 = replace(self.0, self.1.take());
        }
    }
    *own = replace(slot, own.take());
    let _exchanged = Exchanged(slot, own);
    act()
}

/// Calls `look` with the contents of the slot, if there are any.
#[inline]
fn with<T, R>(slot: Field<T>, look: impl FnOnce(&mut T) -> R) -> Option<R> {
    let mut own = replace(slot, None)?;
    let seen = look(&mut own);
    drop(replace(slot, Some(own)));
    Some(seen)
}

/// Encodes something, and puts what travels with it into `own`: nothing after an error or a
/// panic.
#[inline]
pub(crate) fn encoding<T, E>(
    own: &mut Option<Box<Encoding>>,
    encode: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    struct Filled<'a>(&'a mut Option<Box<Encoding>>, bool);
    impl Drop for Filled<'_> {
        #[inline]
        fn drop(&mut self) {
            if let (false, Some(own)) = (self.1, self.0.as_mut()) {
                own.clear();
            }
        }
    }
    own.get_or_insert_default();
    drop(reason::take());
    let mut filled = Filled(own, false);
    let encoded = within(|scope| &scope.encoding, filled.0, encode);
    filled.1 = encoded.is_ok();
    encoded
}

/// Whether this thread encodes a part of a call.
pub(crate) fn is_encoding() -> bool {
    with_encoding(|_| ()).is_some()
}

/// Whether this thread decodes a part of a call that something came with.
pub(crate) fn is_decoding() -> bool {
    with_decoding(|_| ()).is_some()
}

/// Calls `look` with the current encoding, if there is one.
fn with_encoding<T>(look: impl FnOnce(&mut Encoding) -> T) -> Option<T> {
    with(|scope| &scope.encoding, look)
}

/// Attaches `attachment` to the value that this thread encodes. Returns its number.
pub(crate) fn attach(attachment: &Arc<AttachedFile>) -> Result<u64, String> {
    let attached = with_encoding(|own| {
        if own.only_bytes && !attachment.is_fixed() {
            return Err(reason::set(ONLY_BYTES));
        }
        let is_it = |other: &Arc<AttachedFile>| Arc::ptr_eq(other, attachment);
        if !own.attachments.iter().any(is_it) {
            if own.attachments.len() >= MAX_DESCRIPTORS {
                return Err(reason::set(&format!(
                    "one argument or result can contain {MAX_DESCRIPTORS} descriptors, and this \
                     one has more"
                )));
            }
            own.attachments.push(attachment.clone());
        }
        Ok(attachment.id)
    });
    attached.unwrap_or_else(|| Err(NO_CALL.to_owned()))
}

// Not with `reason::set`, because this is not an error of a call.
const NO_CALL: &str = "it can be serialized only in an argument or a result of a call to another \
    process";

/// Offers `bytes`, numbers of this kind, while `work` passes them to a serializer: the encoder of a
/// call may leave them out.
pub(crate) fn offering<T>(bytes: &[u8], kind: u8, work: impl FnOnce() -> T) -> T {
    if !is_large(bytes) {
        return work();
    }
    let offer = Some((bytes.as_ptr().addr(), bytes.len(), kind));
    with_encoding(|own| own.offer = offer);
    let done = work();
    with_encoding(|own| own.offer = None);
    done
}

/// For the encoder: leaves out `bytes`, after `at` bytes, if they are on offer: lends them if there
/// is room for them, or copies them, to be sent ahead.
#[cold]
pub(crate) fn leave_out(bytes: &[u8], at: usize) -> bool {
    let leave_out = |own: &mut Encoding| {
        let (start, length, kind) = own.offer.take()?;
        if (start, length) != (bytes.as_ptr().addr(), bytes.len()) || own.lent.len() >= MOST_LENT {
            return None;
        }
        let lender = own.lender.as_ref();
        let lent = lender.and_then(|lender| lender.lend(bytes, at));
        let copied = || {
            let mut copy = array(kind).filter(|_| own.sends_ahead && is_worth_it(bytes))?;
            free_memory::check(length).ok()?; // otherwise the encoder reports the error
            copy.fill(bytes, length).ok()?;
            Some(Lent::ahead(at, copy))
        };
        own.lent.push(lent.or_else(copied)?);
        Some(())
    };
    with_encoding(leave_out).flatten().is_some()
}

/// Decodes a value that came with `own`.
pub(crate) fn decoding<T>(own: &mut Option<Box<Decoding>>, decode: impl FnOnce() -> T) -> T {
    within(|scope| &scope.decoding, own, decode)
}

/// Calls `look` with the current decoding, if there is one.
#[inline]
fn with_decoding<T>(look: impl FnOnce(&mut Decoding) -> T) -> Option<T> {
    with(|scope| &scope.decoding, look)
}

/// The attachment with the sender's number `id`, while the value that it came with is decoded.
pub(crate) fn attached(id: u64) -> Result<Arc<AttachedFile>, String> {
    with_decoding(|own| own.descriptors.find(id).map_err(reason::set))
        .unwrap_or_else(|| Err(NO_VALUE.to_owned()))
}

/// The descriptor with the sender's number `id`, which nobody else gets, while the value that it
/// came with is decoded.
pub(super) fn take(id: u64) -> Result<(SlowClose, Taken), String> {
    with_decoding(|own| own.descriptors.take(id).map_err(reason::set))
        .unwrap_or_else(|| Err(NO_VALUE.to_owned()))
}

/// Gives a descriptor back that was taken, if its value is decoded still; otherwise closes it.
pub(super) fn give_back(taken: Taken, file: SlowClose) {
    let mut file = Some(file);
    with_decoding(|own| {
        if let Some(file) = file.take() {
            own.descriptors.give_back(taken, file);
        }
    });
}

// (As `NO_CALL`.)
const NO_VALUE: &str = "it can be read only in an argument or a result of a call";

/// Ends a decoding early: closes the descriptors that were not asked for, and releases the others,
/// so that their new owners can close them.
pub(crate) fn end_decoding() {
    drop(replace(|scope| &scope.decoding, None));
}

/// The numbers for which an empty string stands, if they were lent. `bytes` is that string.
pub(crate) fn find<T: Plain>(bytes: &[u8]) -> Option<Result<Vec<T>, String>> {
    let found = with_decoding(|own| own.missing.as_mut()?.find(bytes))??;
    Some(found.map_err(|why| reason::set(&why)))
}

/// The decoder keeps `bytes`, to look at them again.
pub(crate) fn keep(bytes: &[u8]) {
    with_decoding(|own| own.missing.as_mut().map(|missing| missing.keep(bytes)));
}

/// Whether `bytes` have been decoded without asking for numbers that are missing in them.
#[inline]
pub(crate) fn is_unread(bytes: &[u8]) -> bool {
    let look = |own: &mut Decoding| own.missing.as_ref()?.is_unread(bytes).then_some(());
    with_decoding(look).flatten().is_some()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn attachment() -> Arc<AttachedFile> {
        AttachedFile::new(std::fs::File::open("/dev/null").unwrap().into())
    }

    /// The numbers of what `encode` has attached.
    fn packing<T>(encode: impl FnOnce() -> T) -> (T, Vec<u64>) {
        let mut own = None;
        let encoded = encoding(&mut own, || Ok::<_, ()>(encode())).unwrap();
        let attachments = own.unwrap().attachments;
        (
            encoded,
            attachments.iter().map(|attachment| attachment.id).collect(),
        )
    }

    #[test]
    fn each_encoding_has_its_own_descriptors() {
        let [a, b] = [attachment(), attachment()];
        assert!(attach(&a).unwrap_err().contains("call"));
        assert!(attached(1).unwrap_err().contains("call"));
        assert!(reason::take().is_none(), "nobody has asked");
        let ((inner, again), outer) = packing(|| {
            attach(&a).unwrap();
            attach(&a).unwrap();
            let ((), inner) = packing(|| assert!(attach(&b).is_ok()));
            let unwound = std::panic::catch_unwind(|| packing(|| panic!("oh")).1);
            assert!(unwound.is_err());
            (inner, packing(|| ()).1)
        });
        assert_eq!((inner, outer), (vec![b.id], vec![a.id]));
        assert!(again.is_empty() && attach(&a).is_err());
        let (last, all) = packing(|| {
            (0..MAX_DESCRIPTORS).for_each(|_| assert!(attach(&attachment()).is_ok()));
            attach(&attachment())
        });
        assert!(last.unwrap_err().contains("253"));
        assert_eq!(all.len(), MAX_DESCRIPTORS);
        assert!(reason::take().is_some() && reason::take().is_none());
        let mut own = None;
        let refused = encoding(&mut own, || {
            attach(&a).map(drop).and(Err::<(), _>(String::new()))
        });
        assert!(refused.is_err() && own.as_ref().unwrap().is_empty());
        let mut fail = || {
            encoding(&mut own, || -> Result<(), ()> {
                panic!("{}", attach(&a).unwrap())
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut fail)).is_err());
        assert!(
            own.unwrap().is_empty(),
            "nothing is left of what has failed"
        );
        reason::set("of this one");
        packing(|| ());
        assert!(reason::take().is_none(), "and not of the next");
    }
}
