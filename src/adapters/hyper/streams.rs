//! hyper's `Read` and `Write` for the streams of [`io`](crate::io).
//!
//! Reads go straight into hyper's buffer (`raw_fill`), writes through the futures-io trait that
//! each stream has (`writes`): one system call each, vectored if hyper has several pieces. hyper's
//! `shutdown` closes the writing direction, as `poll_close` does.
//!
//! Tests: `tests/trefoil-adapters/tests/connections/http1.rs::{large_bodies_both_ways_at_once,
//! a_client_that_half_closes_gets_its_answer}`.

use ::hyper::rt::{Read, ReadBufCursor, Write};

use crate::adapters::raw_fill;
use crate::adapters::writes::stream_writes;
use crate::io::{ByteStream, TcpStream};

raw_fill::reads! {
    Read, ReadBufCursor<'_>; this => this.source(), raw_fill::hyper_from; TcpStream
}
stream_writes!(Write; TcpStream);

/// The implementations for streams that only some systems have.
#[cfg(unix)]
mod of_unix {
    use super::*;
    use crate::io::UnixStream;

    raw_fill::reads! {
        Read, ReadBufCursor<'_>; this => this.source(), raw_fill::hyper_from; UnixStream
    }
    stream_writes!(Write; UnixStream);
}
