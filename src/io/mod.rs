//! Async input and output: sockets, child processes, signals, files, any descriptor.
//!
//! Use it to serve many connections, children or streams on one thread. The names are those of
//! `std`; methods that wait are `async`.
//!
//! | types | for |
//! |---|---|
//! | [`TcpListener`], [`TcpStream`], [`UdpSocket`], [`lookup_host`] | the network |
//! | [`UnixListener`], [`UnixStream`], [`UnixDatagram`] | other processes on this machine |
//! | [`Command`], [`Child`] | child processes |
//! | [`Signal`], [`ctrl_c()`] | signals |
//! | [`stdin`], [`stdout`], [`stderr`] | the standard streams |
//! | [`fs`] | files, off the loop |
//! | [`BufReader`], [`BufWriter`], [`Lines`] | small pieces and lines, of any stream |
//! | [`AsyncFd`] | other descriptors |
//! | [`stats()`] | how many calls off the loop run, and wait |
//!
//! Sockets and pipes have inherent `async` methods, on `&self`: one task may read while another
//! writes, through an `Arc` or on the same loop through an `Rc`. Streams also implement the
//! futures-io traits, `AsyncRead` and `AsyncWrite`, for code that is written against those.
//!
//! ```
//! use trefoil::io::{TcpListener, TcpStream};
//!
//! trefoil::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let server = trefoil::spawn(async move {
//!         let (stream, _) = listener.accept().await?;
//!         stream.write_all(b"hello").await
//!     });
//!     let client = TcpStream::connect(address).await?;
//!     let mut greeting = Vec::new();
//!     server.await??;
//!     client.read_to_end(&mut greeting).await?;
//!     assert_eq!(greeting, b"hello");
//!     Ok::<_, std::io::Error>(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! On Windows there are no Unix sockets, no [`Signal`] and no [`AsyncFd`], but [`ctrl_c()`] works.
//!
//! # Writes
//!
//! **A write that may still fail is not done.** Every writer of this module accepts bytes only when
//! the system has them, and otherwise reports the error at once: sockets, pipes, halves,
//! [`fs::File`], and [`Stdout`] and [`Stderr`], whatever they are connected to. So `flush` has
//! nothing to do, except to wait for a write to a file that was given up. The only exception is
//! [`BufWriter`], whose purpose that is: its bytes stay in its buffer until its writer has accepted
//! them, and each write, flush or close that cannot pass them on fails. (What the *system* has may
//! be lost as well, by a peer that resets its connection or a disk that breaks: the next write or
//! `sync_all` reports that.)
//!
//! # Which loop
//!
//! All types are `Send`. Each belongs to the loop of its first operation (a stream's `connect`, a
//! read, an `accept`; not a `bind`); on another loop, or on none, a method that waits fails with an
//! error that says so. So `bind` and `connect` fail at once where no loop runs; what is made
//! without an `.await` (`UnixStream::pair()`, a socket of std) fails at its first wait there.
//! In a forked child, make another loop: one that was inherited does not wait for descriptors.
//! Dropping is safe anywhere: it closes the descriptor. ([`fs`] needs no loop, nor does a standard
//! stream that is a regular file, or that the system does not open again, such as a pipe of another
//! user.)
//!
//! # What it costs
//!
//! A read or a write is one system call, as a rule. So a server makes three calls to answer a
//! request: one that waits, one that reads, one that writes.
//!
//! # Read next
//!
//! [`event_loop`](crate::event_loop) runs all of this; [`time`](crate::time) has timeouts. [`fs`]
//! has its own page. Other crates on these streams: `trefoil::adapters`.

// `source` connects a descriptor and its loop; everything else is a thin layer over it.
// `byte_stream` is shared by all streams, `read_write` by files and standard streams; `connect`
// chooses between addresses, and `retry_without_event` retries operations without kernel events.
// Tests: `tests/io/transfer.rs::many_bytes_both_ways_at_once`,
// `tests/io/sockets.rs::a_thousand_echo_connections_half_of_them_reset`; each file names its own.

#[cfg(unix)]
mod async_fd;
mod buf_reader;
mod buf_writer;
mod byte_stream;
mod child;
mod child_pipes;
mod command;
mod connect;
mod ctrl_c;
mod datagrams;
pub mod fs;
mod halves;
mod lines;
mod listener;
mod lookup;
mod read_write;
mod readiness;
#[cfg(unix)]
mod retry_without_event;
#[cfg(unix)]
mod signal;
mod source;
mod stats;
mod stdio;
mod stream_methods;
mod tcp_listener;
mod tcp_stream;
mod udp_socket;
#[cfg(unix)]
mod unix_datagram;
#[cfg(unix)]
mod unix_listener;
#[cfg(unix)]
mod unix_stream;

#[cfg(any(feature = "hyper", feature = "tokio-io"))]
pub(crate) use byte_stream::{ByteDescriptor, ByteStream};
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
pub(crate) use source::IoSource;

#[cfg(unix)]
pub use async_fd::AsyncFd;
pub use buf_reader::BufReader;
pub use buf_writer::BufWriter;
pub use child::Child;
pub use child_pipes::{ChildStderr, ChildStdin, ChildStdout};
pub use command::Command;
pub use ctrl_c::{CtrlC, ctrl_c};
pub use halves::{ReadHalf, WriteHalf};
pub use lines::Lines;
pub use lookup::{ToSocketAddrs, lookup_host};
#[cfg(unix)]
pub use signal::{Signal, SignalKind};
pub use stats::{CallStats, IoStats, stats};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
pub use tcp_listener::TcpListener;
pub use tcp_stream::TcpStream;
pub use udp_socket::UdpSocket;
#[cfg(unix)]
pub use unix_datagram::UnixDatagram;
#[cfg(unix)]
pub use unix_listener::UnixListener;
#[cfg(unix)]
pub use unix_stream::{PeerCredentials, UnixStream};
