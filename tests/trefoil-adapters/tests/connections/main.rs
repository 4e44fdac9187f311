//! Other crates' protocols over the loop's sockets.

mod http1;
mod http2;
#[path = "../support/mod.rs"]
mod support;
mod tokio_io;
mod wrapped;
