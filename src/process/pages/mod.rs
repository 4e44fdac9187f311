//! Memory that a worker and its parent share: trefoil's own protocol in it. The system calls below
//! are in `trefoil_os`.
//!
//! `raw_ledger` is what each worker shares with its parent: `gate`s, which say what has begun;
//! results before they are sent; `shared_ring`, for small frames; `caller_word`, on which a caller
//! sleeps. `raw_arena` is memory in which large arrays are lent; `permit_words`, the words of
//! permits; `page_numbers` and `checksum`, what is checked of bytes that others write;
//! `poll_policy`, how one side waits for the other.

pub(crate) mod caller_word;
pub(crate) mod checksum;
pub(crate) mod gate;
pub(crate) mod page_numbers;
pub(crate) mod permit_words;
pub(crate) mod poll_policy;
pub(crate) mod raw_arena;
pub(crate) mod raw_ledger;
pub(crate) mod shared_ring;
