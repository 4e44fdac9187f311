//! hyper's `Read` and `Write` on our streams.
//!
//! Reads go straight into hyper's buffer (`raw_fill`), writes through the futures-io trait that
//! each stream has (`writes`): one system call each, vectored if hyper has several pieces. hyper's
//! `shutdown` closes the writing direction, as `poll_close` does.
//!
//! Checked by `adapters/tests/`.

use ::hyper::rt::{Read, ReadBufCursor, Write};

use crate::adapters::raw_fill;
use crate::adapters::writes::stream_writes;
use crate::io::{Stream, TcpStream};

raw_fill::reads! {
    Read, ReadBufCursor<'_>; this => this.source(), raw_fill::hyper_from; TcpStream
}
stream_writes!(Write; TcpStream);

/// For streams that only some systems have.
#[cfg(unix)]
mod of_unix {
    use super::*;
    use crate::io::UnixStream;

    raw_fill::reads! {
        Read, ReadBufCursor<'_>; this => this.source(), raw_fill::hyper_from; UnixStream
    }
    stream_writes!(Write; UnixStream);
}
