//! Implements hyper's and tokio's writing traits through that of futures-io.
//!
//! **Job.** The three traits have the same methods, except for the name of the one that ends the
//! stream, and for `is_write_vectored`, which futures-io lacks.
//!
//! Tests: `tests/trefoil-adapters/tests/connections/tokio_io.rs::{vectored_writes_are_one_call,
//! shutdown_closes_one_direction}`.

/// Implements hyper's or tokio's `$trait` for streams of this crate.
macro_rules! stream_writes {
    ($trait:path; $($type:ty),*) => { $(
        impl $trait for $type {
            #[inline]
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncWrite::poll_write(self, cx, bytes)
            }

            #[inline]
            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncWrite::poll_write_vectored(self, cx, slices)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                futures_io::AsyncWrite::poll_flush(self, cx)
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                futures_io::AsyncWrite::poll_close(self, cx)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }
        }
    )* };
}

pub(super) use stream_writes;
