//! Implements one writing trait through another.
//!
//! **Job.** hyper's, tokio's and futures-io's writing traits have the same methods, except for the
//! name of the one that ends the stream, and for `is_write_vectored`, which futures-io lacks. A
//! type that implements one gets another through this macro.
//!
//! Checked by `adapters/tests/`.

/// Implements `$trait` for `$type` through `$by`, which `$inner` has (`$this` is the pinned
/// `self`). `$end` and `$by_end` are their names for the method that ends the stream. What follows
/// is inserted unchanged.
macro_rules! writes {
    (
        impl [$($generics:tt)*] $trait:path, $end:ident for $type:ty;
        by $by:path, $by_end:ident of $this:ident => $inner:expr;
        $($more:tt)*
    ) => {
        impl<$($generics)*> $trait for $type {
            #[inline]
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = self;
                <_ as $by>::poll_write($inner, cx, bytes)
            }

            #[inline]
            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = self;
                <_ as $by>::poll_write_vectored($inner, cx, slices)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = self;
                <_ as $by>::poll_flush($inner, cx)
            }

            fn $end(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = self;
                <_ as $by>::$by_end($inner, cx)
            }

            $($more)*
        }
    };
}

/// Implements hyper's or tokio's trait for our streams, which have that of futures-io.
macro_rules! stream_writes {
    ($trait:path; $($type:ty),*) => { $(
        $crate::adapters::writes::writes! {
            impl [] $trait, poll_shutdown for $type;
            by futures_io::AsyncWrite, poll_close of stream => stream;
            fn is_write_vectored(&self) -> bool {
                true
            }
        }
    )* };
}

pub(super) use {stream_writes, writes};
