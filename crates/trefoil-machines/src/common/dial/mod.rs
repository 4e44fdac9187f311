//! Workers that dial back to the pool over TCP, from machines where somebody else starts them.
//!
//! **Job.** The pool listens ([`Listener`]). On each node a *holder* ([`hold`]), which is this
//! program again, connects once, starts the worker as its child, and forwards between the worker's
//! socket and the connection (`relay`). The pool's thread does the same at its end, so the driver
//! has a local socket for each worker ([`Arrived::launched`]). A launcher has the key reach the
//! holder's standard input, and nothing else.
//!
//! ```text
//!   driver ═ socket pair ═ Listener's thread ═══ TCP ═══ holder ═ socket pair ═ worker
//! ```
//!
//! **Security.** A connection is a session of the Noise protocol (`NNpsk0`, crate `snow`) with the
//! pool's key (`sealed`). So everything after the first two messages is encrypted, and an altered,
//! repeated, omitted or foreign message ends the connection. What was recorded cannot be decrypted
//! later, not even with the key. The worker's hello comes third: whoever sends it has the key, and
//! has seen the pool's answer (`handshake`). Strangers have a limit in time, bytes and number.
//!
//! **Messages** (`relay`): data, the permission to send more data, the pool's wish that the worker
//! end, and the report of its exit. A side sends only as much data as the other has permitted, so
//! each side can always receive: a worker that does not read holds up neither the wish to end it,
//! nor the kernel's detection of a lost machine.
//!
//! **A lost machine** is found by the kernel, on both sides: it asks a silent peer every five
//! seconds (keep-alive), and ends the connection when nothing was acknowledged for twenty
//! (`TCP_USER_TIMEOUT`). Messages of our own could not tell a lost machine from a stopped process:
//! a driver in a debugger or in the shell's background would lose all its workers, and so would a
//! job that Slurm has suspended.
//!
//! **Kills.** The wish to end a worker ([`Arrived::end`]) passes data that waits for permission.
//!
//! **Ends.** The report comes after the last data. The driver's end of a worker's stream closes
//! only when the report is known, or the connection lost, so [`Arrived::outcome`] has an answer
//! then. When the pool is gone, or wants the worker's end, the holder kills the worker's process
//! group, whose number cannot be another's before the holder has reaped its leader.
//!
//! **Rejected.** Two connections, one for the exit report: two to authenticate, to match, and to
//! lose. Codes of our own around each frame (HMAC, counters): a protocol that nobody else has
//! checked. TLS: its certificates would have to be made and distributed, where a key is there.
//!
//! Tests: in each file; `crates/trefoil-machines/tests/slurm/contract.rs::calls_run_on_the_nodes`,
//! `crates/trefoil-machines/tests/slurm/errors.rs::{a_wrong_key, another_build_is_refused}`.

mod handshake;
mod holder;
mod key;
mod listener;
mod relay;
mod report;
mod sealed;

/// How many descriptors a worker needs in the pool's process: its connection, the two ends of its
/// stream, and what the driver waits for.
pub(crate) const EACH: usize = 4;

pub(crate) use holder::{Holding, hold};
pub(crate) use key::{Key, random};
pub(crate) use listener::{Arrived, Listener};
