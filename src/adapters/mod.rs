//! The loop's sockets, timers and tasks in other crates' terms; each by a feature of its own.
//!
//! | feature | | with it |
//! |---|---|---|
//! | `hyper` | `adapters::hyper` | hyper's servers and clients run on the loop, HTTP/1 and HTTP/2 |
//! | `tokio-io` | `adapters::tokio_io` | crates over tokio's `AsyncRead` and `AsyncWrite` do: tokio-rustls, tokio-tungstenite, tokio-util's codecs |
//! | `tracing` | `adapters::tracing` | tasks are spans, panics and slow polls events |
//!
//! None of them brings a runtime, a thread or a copy: the traits are implemented on the types of
//! [`io`](crate::io) and [`time`](crate::time) themselves. For crates over the futures-io traits no
//! feature is needed.
//!
//! # Reading order
//!
//! `hyper` and `tokio_io` each; `raw_fill` is what both read into, `writes` how both write. The spans are made
//! where tasks are (`task/traced.rs`), `tracing` has the rest. Checked by `adapters/tests/`.

#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub mod hyper;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
mod raw_fill;
#[cfg(feature = "tokio-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio-io")))]
pub mod tokio_io;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub mod tracing;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
mod writes;
