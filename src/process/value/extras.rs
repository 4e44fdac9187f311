//! What travels with the bytes of a value: descriptors, and numbers in shared memory.
//!
//! `scope` makes them known to the traits that encode and decode.
//!
//! Tests: `tests/process/bulk.rs`, `tests/process/shared.rs`.

use std::sync::Arc;

use postcard_described::Description;

use super::attachments::{Attachment, Awaited, Descriptors};
use super::lent_arrays::{Lent, Missing, SharedBuffer};
use super::raw_plain::Array;
use crate::process::host::handover::CARRIES;
use crate::process::limits::AHEAD_FROM;

/// What travels with the bytes of an encoding. It is reused for the next one.
#[derive(Debug, Default)]
pub(crate) struct Encoding {
    pub(super) lender: Option<Arc<SharedBuffer>>,
    /// If only bytes can travel: why (to or from a plain worker, or because the result is kept).
    /// Then attachments must be ones that a copy can replace.
    pub(super) only_bytes: Option<&'static str>,
    /// Large arrays that are not lent may be sent ahead of the value (`copies`).
    pub(crate) sends_ahead: bool,
    /// The address and length of the bytes that may be left out, and the type of their numbers.
    pub(super) offer: Option<(usize, usize, u8)>,
    pub(crate) attachments: Vec<Arc<Attachment>>,
    /// Each value goes to one process at a time, so it may contain what only one may have.
    pub(crate) for_one: bool,
    /// The call can wait for attachments that do not exist yet.
    pub(crate) waits: bool,
    /// The attachments that it waits for.
    pub(crate) awaited: Vec<Arc<dyn Awaited>>,
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

    /// An encoding for bytes alone, and why.
    pub(crate) fn bytes(why: &'static str) -> Box<Self> {
        Box::new(Self {
            only_bytes: Some(why),
            ..Self::default()
        })
    }

    /// Whether nothing travels with the bytes.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.attachments.is_empty() && self.lent.is_empty() && self.awaited.is_empty()
    }

    /// Moves `whole`, which is the value itself, out of the bytes, if it can be lent or sent ahead:
    /// an empty one stays. `at` is how many bytes there are behind its length.
    pub(crate) fn take(&mut self, whole: &mut dyn Array, at: usize) {
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
        self.awaited.clear();
        self.lent.clear();
    }
}

/// The attachments and lent numbers that came with bytes that are decoded.
#[derive(Debug)]
pub(crate) struct Decoding {
    pub(super) descriptors: Descriptors,
    pub(super) missing: Option<Missing>,
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
pub(super) fn is_worth_it(bytes: &[u8]) -> bool {
    bytes.len() >= AHEAD_FROM
}

/// The message for a descriptor that was to travel to or from a plain worker.
pub(crate) const PLAIN: &str = if CARRIES {
    "this pool's workers are plain (`plain_workers`), or on other machines: only bytes can be sent to \
     them, and neither `SharedAtomics` nor a range of a `SharedMut` nor the end of a channel can be \
     copied; return results instead, and send read-only data as `Shared`"
} else {
    "on this system all workers are plain (see `plain_workers`): only bytes can be sent to them, and \
     `SharedAtomics` and ranges of a `SharedMut` cannot be copied; return results instead, and \
     send read-only data as `Shared`"
};
