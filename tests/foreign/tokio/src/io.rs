//! `io`: tokio's own traits, which trefoil implements, and trefoil's buffers with them.

use std::pin::Pin;
use std::task::{Context, Poll};

pub use crate::absent::Interest;
pub use original::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite,
    AsyncWriteExt, Error, ErrorKind, ReadBuf, Result, SeekFrom, copy, duplex, empty, repeat, sink,
};
use tokio_util::compat::{
    Compat, FuturesAsyncReadCompatExt, FuturesAsyncWriteCompatExt, TokioAsyncReadCompatExt,
    TokioAsyncWriteCompatExt,
};
use trefoil::io as ours;
pub use trefoil::io::{Stderr, Stdin, Stdout, stderr, stdin, stdout};

/// Between tokio's traits inside and outside.
#[derive(Debug)]
pub struct BufReader<R>(Compat<ours::BufReader<Compat<R>>>);

impl<R: AsyncRead + Unpin> BufReader<R> {
    pub fn new(reader: R) -> Self {
        Self(ours::BufReader::new(reader.compat()).compat())
    }

    pub fn with_capacity(capacity: usize, reader: R) -> Self {
        Self(ours::BufReader::with_capacity(capacity, reader.compat()).compat())
    }

    pub fn get_ref(&self) -> &R {
        self.0.get_ref().get_ref().get_ref()
    }

    pub fn get_mut(&mut self) -> &mut R {
        self.0.get_mut().get_mut().get_mut()
    }

    pub fn into_inner(self) -> R {
        self.0.into_inner().into_inner().into_inner()
    }

    pub fn buffer(&self) -> &[u8] {
        self.0.get_ref().buffer()
    }

    pub fn lines(self) -> Lines<R> {
        Lines(self.0.into_inner().lines())
    }
}

impl<R: AsyncRead + AsyncSeek + Unpin> BufReader<R> {
    pub async fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let ours = self.0.get_mut();
        let left = ours.buffer().len();
        let to = match to {
            SeekFrom::Current(by) => SeekFrom::Current(by.saturating_sub_unsigned(left as u64)),
            absolute => absolute,
        };
        let place = futures::AsyncSeekExt::seek(ours.get_mut(), to).await?;
        ours.consume(left);
        Ok(place)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for BufReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for BufReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        Pin::new(&mut self.0).consume(count);
    }
}

pub struct Lines<R>(ours::Lines<Compat<R>>);

impl<R: AsyncRead + Unpin> Lines<R> {
    pub async fn next_line(&mut self) -> Result<Option<String>> {
        self.0.next_line().await
    }
}

/// Between tokio's traits inside and outside.
#[derive(Debug)]
pub struct BufWriter<W>(Compat<ours::BufWriter<Compat<W>>>);

impl<W: AsyncWrite + Unpin> BufWriter<W> {
    pub fn new(writer: W) -> Self {
        Self(ours::BufWriter::new(writer.compat_write()).compat_write())
    }

    pub fn with_capacity(capacity: usize, writer: W) -> Self {
        Self(ours::BufWriter::with_capacity(capacity, writer.compat_write()).compat_write())
    }

    pub fn get_ref(&self) -> &W {
        self.0.get_ref().get_ref().get_ref()
    }

    pub fn get_mut(&mut self) -> &mut W {
        self.0.get_mut().get_mut().get_mut()
    }

    pub fn into_inner(self) -> W {
        self.0.into_inner().into_inner().into_inner()
    }

    pub fn buffer(&self) -> &[u8] {
        self.0.get_ref().buffer()
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for BufWriter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
