//! `fs`: trefoil's functions, and `File` with tokio's traits.

use std::fs;
use std::io::{IoSlice, Result};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use original::io::{AsyncRead, AsyncWrite, ReadBuf};
use trefoil::io::fs as ours;
pub use trefoil::io::fs::{
    DirEntry, ReadDir, canonicalize, copy, create_dir, create_dir_all, hard_link, metadata, read,
    read_dir, read_link, read_to_string, remove_dir, remove_dir_all, remove_file, rename,
    set_permissions, symlink, symlink_metadata, try_exists, write,
};

#[derive(Debug)]
pub struct File(ours::File);

impl File {
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        ours::File::open(path).await.map(Self)
    }

    pub async fn create(path: impl AsRef<Path>) -> Result<Self> {
        ours::File::create(path).await.map(Self)
    }

    pub async fn create_new(path: impl AsRef<Path>) -> Result<Self> {
        ours::File::create_new(path).await.map(Self)
    }

    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    pub fn from_std(file: fs::File) -> Self {
        Self(file.into())
    }

    pub async fn into_std(self) -> fs::File {
        self.0
            .into_std()
            .await
            .expect("what is written reaches the file")
    }

    pub async fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().await.map(Self)
    }
}

impl From<fs::File> for File {
    fn from(file: fs::File) -> Self {
        Self::from_std(file)
    }
}

impl Deref for File {
    type Target = ours::File;

    fn deref(&self) -> &ours::File {
        &self.0
    }
}

impl DerefMut for File {
    fn deref_mut(&mut self) -> &mut ours::File {
        &mut self.0
    }
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for File {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        AsyncWrite::poll_write_vectored(Pin::new(&mut self.0), cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        AsyncWrite::is_write_vectored(&self.0)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

#[derive(Clone, Debug)]
pub struct OpenOptions(ours::OpenOptions);

/// The setters, which return the options.
macro_rules! setters {
    ($($name:ident: $type:ty,)*) => {
        impl OpenOptions {
            $(pub fn $name(&mut self, value: $type) -> &mut Self {
                self.0.$name(value);
                self
            })*
        }
    };
}

setters! {
    append: bool,
    create: bool,
    create_new: bool,
    custom_flags: i32,
    mode: u32,
    read: bool,
    truncate: bool,
    write: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    pub fn new() -> Self {
        Self(ours::OpenOptions::new())
    }

    pub async fn open(&self, path: impl AsRef<Path>) -> Result<File> {
        self.0.open(path).await.map(File)
    }
}
