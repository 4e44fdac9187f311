//! How a file is to be opened.
//!
//! `std`'s own options, and a thread that may block for the call itself.
//!
//! Checked by `tests/io/`.

use std::fs::OpenOptions as Inner;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;

/// How a file is to be opened; made by [`File::options`](super::File::options).
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
    /// Options that allow nothing yet.
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
        /// For reading.
        read
        /// For writing.
        write
        /// For writing at the end, wherever that is by then.
        append
        /// It is emptied.
        truncate
        /// It is made if it is missing.
        create
        /// It is made, and must be missing.
        create_new
    }

    /// What may be done with a file that is made; 0o666 without the process's mask, to begin with.
    ///
    /// ```
    /// let options = trefoil::io::fs::OpenOptions::new().mode(0o600).clone();
    /// ```
    #[cfg(unix)]
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.0.mode(mode);
        self
    }

    /// More flags for the system's `open`.
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
