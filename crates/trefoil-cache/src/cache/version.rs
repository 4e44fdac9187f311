//! A function's version.

use std::sync::OnceLock;

/// The version of a function: a number, a text, or [this build](Self::this_build).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub(crate) String);

impl Version {
    /// The contents of this program's file: after each change to the program, everything is
    /// computed anew. If the file cannot be read, every run of the program is a version of its own.
    ///
    /// ```
    /// use trefoil_cache::{Cache, Version};
    ///
    /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-build-{}", std::process::id()));
    /// let cache = Cache::open(&folder)?;
    /// let squares = cache.function("square", Version::this_build(), |n: u64| n * n);
    /// squares.call(&3)?;
    /// assert!(squares.call(&3)?.is_hit()); // until the program is built anew
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn this_build() -> Self {
        static BUILD: OnceLock<String> = OnceLock::new();
        let build = BUILD.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            let read = std::env::current_exe()
                .and_then(std::fs::File::open)
                .and_then(|file| hasher.update_reader(file).map(|_| ()));
            match read {
                Ok(()) => format!("build {}", hasher.finalize().to_hex()),
                Err(_) => format!("run {:016x}", crate::regular::random()),
            }
        });
        Self(build.clone())
    }
}

impl From<u64> for Version {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Version {
    fn from(text: String) -> Self {
        Self(text)
    }
}
