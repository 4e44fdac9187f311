//! Other crates on the event loop: hyper, crates that use tokio's I/O traits or its runtime, and
//! tracing. Each has its own feature.
//!
//! | feature | module | what it gives |
//! |---|---|---|
//! | `hyper` | `adapters::hyper` | hyper's servers and clients run on the loop, HTTP/1 and HTTP/2 |
//! | `tokio-io` | `adapters::tokio_io` | so do crates that use tokio's `AsyncRead` and `AsyncWrite`: tokio-rustls, tokio-tungstenite, tokio-util's codecs |
//! | `tokio` | `adapters::tokio` | a tokio runtime around a future on the loop, for crates that ask for one: reqwest, sqlx, tonic |
//! | `tracing` | `adapters::tracing` | tasks are spans; panics and slow polls are events; events of worker processes arrive here |
//!
//! None of them except `tokio` brings a runtime or starts a thread: the traits are implemented on
//! the types of [`io`](crate::io) and [`time`](crate::time) themselves. Crates that use the
//! futures-io traits need no feature:
//!
//! ```
//! use futures::{AsyncReadExt, AsyncWriteExt};
//! use trefoil::io::UnixStream;
//!
//! trefoil::run(async {
//!     let (mut near, mut far) = UnixStream::pair()?;
//!     AsyncWriteExt::write_all(&mut near, b"by the trait").await?;
//!     let mut said = [0; 12];
//!     AsyncReadExt::read_exact(&mut far, &mut said).await?;
//!     assert_eq!(&said, b"by the trait");
//!     Ok::<_, std::io::Error>(())
//! })
//! .unwrap();
//! ```
//!
//! # Read next
//!
//! Each module's page has an example. Whole programs (an HTTPS server, a WebSocket echo, traced
//! tasks) are in the repository, in `tests/trefoil-adapters/examples/`.

// For work on this module: `hyper` and `tokio_io` both read through `raw_fill` and write through
// `writes`. Spans are created where tasks are (`task/traced.rs`); `tracing` has the rest. Tests:
// each file names its own.

#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub mod hyper;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
mod raw_fill;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio;
#[cfg(feature = "tokio-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio-io")))]
pub mod tokio_io;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub mod tracing;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
mod writes;
