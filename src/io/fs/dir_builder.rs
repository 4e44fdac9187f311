//! How a directory is to be made.
//!
//! `std`'s own builder, and a thread that may block for the call itself.
//!
//! Checked by `tests/io/files.rs`.

use std::fs::DirBuilder as Inner;
use std::io;
use std::path::Path;

use super::at;
use crate::sys::files;

/// How a directory is to be made.
///
/// ```
/// use trefoil::io::fs::{self, DirBuilder};
///
/// let path = std::env::temp_dir().join(format!("trefoil-doc-builder-{}", std::process::id()));
/// trefoil::run(async {
///     DirBuilder::new().recursive(true).mode(0o700).create(path.join("a/b")).await?;
///     assert!(fs::metadata(path.join("a/b")).await?.is_dir());
///     fs::remove_dir_all(&path).await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct DirBuilder {
    recursive: bool,
    mode: Option<u32>,
}

impl DirBuilder {
    /// Makes one directory, in one that is there already.
    ///
    /// ```
    /// let builder = trefoil::io::fs::DirBuilder::new();
    /// assert!(trefoil::run(builder.create("/")).is_err());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The missing parents are made, too; a directory that is there already is no error then.
    ///
    /// ```
    /// trefoil::run(trefoil::io::fs::DirBuilder::new().recursive(true).create("/"))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.recursive = recursive;
        self
    }

    /// What may be done with the directories that are made; 0o777 without the process's mask, to
    /// begin with.
    ///
    /// ```
    /// let mut builder = trefoil::io::fs::DirBuilder::new();
    /// builder.mode(0o700);
    /// ```
    #[cfg(unix)]
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = Some(mode);
        self
    }

    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// As [`std::fs::DirBuilder::create`].
    ///
    /// # Cancel safety
    ///
    /// None: the directory may have been made.
    ///
    /// ```
    /// trefoil::run(trefoil::io::fs::DirBuilder::new().recursive(true).create("/"))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let mut builder = Inner::new();
        builder.recursive(self.recursive);
        if let Some(mode) = self.mode {
            files::set_mode(&mut builder, mode);
        }
        at(path, move |path| builder.create(path)).await
    }
}
