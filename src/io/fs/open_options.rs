//! Options for opening a file.
//!
//! They are `std`'s options, with a thread that may block for the call itself.
//!
//! Tests: `tests/io/files.rs::{one_position_whatever_is_given_up,
//! the_traits_write_as_the_methods_do}`.

use std::fs::OpenOptions as Inner;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;

/// Options for opening a file; made by [`File::options`](super::File::options).
///
/// ```
/// use trefoil::io::fs::OpenOptions;
///
/// # let path = std::env::temp_dir().join(format!("trefoil-doc-oo-{}", std::process::id()));
/// trefoil::run(async {
///     let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await?;
///     file.write_all(b"for our eyes only").await?;
///     std::fs::remove_file(&path)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OpenOptions(pub(super) Inner);

macro_rules! options {
    ($($(#[$docs:meta])* $name:ident)*) => {
        $(
            $(#[$docs])*
            ///
            /// ```
            #[doc = concat!("let options = trefoil::io::fs::OpenOptions::new().", stringify!($name), "(true).clone();")]
            /// ```
            pub fn $name(&mut self, yes: bool) -> &mut Self {
                self.0.$name(yes);
                self
            }
        )*
    };
}

impl OpenOptions {
    /// Options with everything off.
    ///
    /// ```
    /// let nothing = trefoil::io::fs::OpenOptions::new();
    /// assert!(trefoil::run(nothing.open("/dev/null")).is_err());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(Inner::new())
    }

    options! {
        /// Opens the file for reading.
        read
        /// Opens the file for writing.
        write
        /// Opens the file for appending: each write goes to the end of that moment.
        append
        /// Empties the file.
        truncate
        /// Makes the file if it is missing.
        create
        /// Makes the file, which must not exist.
        create_new
    }

    /// Sets the permissions of a new file; the default is 0o666 without the process's mask.
    ///
    /// ```
    /// let options = trefoil::io::fs::OpenOptions::new().mode(0o600).clone();
    /// ```
    #[cfg(unix)]
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.0.mode(mode);
        self
    }

    /// Sets more flags for the system's `open`.
    ///
    /// ```
    /// let options = trefoil::io::fs::OpenOptions::new().custom_flags(0).clone();
    /// ```
    #[cfg(unix)]
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.0.custom_flags(flags);
        self
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}
