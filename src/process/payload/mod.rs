//! What a call carries: arguments and results as bytes, and what travels beside the bytes.
//!
//! `chunk` is the arguments of a call, written and read by `codec`. What does not fit into bytes goes beside them (`scope`):
//! descriptors (`attachments`), of which memory is one kind (`mapped`, `shared`), and large numbers (`bulk`), which are lent
//! (`shared_buffer`).

pub(super) mod attachments;
pub(super) mod bulk;
pub(super) mod chunk;
pub(super) mod codec;
pub(super) mod mapped;
pub(super) mod portable;
pub(super) mod raw_plain;
pub(super) mod scope;
pub(super) mod shared;
pub(super) mod shared_buffer;
