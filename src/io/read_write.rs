//! Inherent methods of files, standard streams and buffers, through the futures-io traits.
//!
//! Streams of an [`IoSource`](super::source::IoSource) have their own methods: see `byte_stream`.
//!
//! Tests: `tests/io/files.rs::the_traits_write_as_the_methods_do`,
//! `tests/io/standard.rs::all_slices_go_out_at_once`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use futures_io::{AsyncRead, AsyncWrite};

/// `read_to_end` asks for this many bytes at once.
const READ_TO_END_BYTES: usize = 128 * 1024;

pub(super) async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
) -> io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, buffer)).await
}

pub(super) async fn read_exact(
    reader: &mut (impl AsyncRead + Unpin),
    mut buffer: &mut [u8],
) -> io::Result<()> {
    while !buffer.is_empty() {
        match read(reader, buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}

/// If this future is dropped, the bytes that were read are in `bytes`.
pub(super) async fn read_to_end(
    reader: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<usize> {
    let start = bytes.len();
    let mut piece = vec![0; READ_TO_END_BYTES];
    loop {
        match read(reader, &mut piece).await? {
            0 => return Ok(bytes.len() - start),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

pub(super) async fn read_to_string(
    reader: &mut (impl AsyncRead + Unpin),
    text: &mut String,
) -> io::Result<usize> {
    let mut bytes = Vec::new();
    read_to_end(reader, &mut bytes).await?;
    append(text, bytes)
}

/// Appends `bytes` if they are valid text, and returns their number. Otherwise appends nothing.
pub(super) fn append(text: &mut String, bytes: Vec<u8>) -> io::Result<usize> {
    let read = self::text(bytes)?;
    text.push_str(&read);
    Ok(read.len())
}

pub(super) fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes some bytes. When it is done, the system has them.
pub(super) async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> io::Result<usize> {
    let count = poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, bytes)).await?;
    flush(writer).await?;
    Ok(count)
}

/// Writes all bytes. When it is done, the system has them.
pub(super) async fn write_all(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> io::Result<()> {
    write_pieces(writer, bytes).await?;
    flush(writer).await
}

/// Writes all bytes. When it is done, the writer has them.
pub(super) async fn write_pieces(
    writer: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

pub(super) async fn flush(writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *writer).poll_flush(cx)).await
}
