//! Settings for making directories.
//!
//! It is `std`'s builder, with a thread that may block for the call itself.
//!
//! Checked by `tests/io/files.rs`.

use std::fs::DirBuilder as Inner;
use std::io;
use std::path::Path;

use super::at;
use crate::sys::files;

/// Settings for making directories.
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
    /// Makes one directory, whose parent must exist.
    ///
    /// ```
    /// let builder = trefoil::io::fs::DirBuilder::new();
    /// assert!(trefoil::run(builder.create("/")).is_err());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether missing parents are made, too. Then an existing directory is no error.
    ///
    /// ```
    /// trefoil::run(trefoil::io::fs::DirBuilder::new().recursive(true).create("/"))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.recursive = recursive;
        self
    }

    /// Sets the permissions of new directories; the default is 0o777 without the process's mask.
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
    /// Those of [`std::fs::DirBuilder::create`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the directory may have been made.
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
        at(&path, move |path| builder.create(path)).await
    }
}
