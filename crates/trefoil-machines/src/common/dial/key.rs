//! The secret that a pool and its workers share.
//!
//! Tests: below, `handshake.rs`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

const SIZE: usize = 32;

/// A secret of 32 bytes, drawn for one pool.
#[derive(Clone)]
pub(crate) struct Key(pub(super) [u8; SIZE]);

impl Key {
    /// How many bytes [`hex`](Self::hex) has.
    pub(super) const DIGITS: usize = 2 * SIZE;

    /// Draws a random key.
    pub(crate) fn new() -> io::Result<Self> {
        random().map(Self)
    }

    /// The key as hexadecimal text.
    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Parses [`hex`](Self::hex)'s text.
    pub(super) fn from_hex(text: &[u8]) -> Option<Self> {
        let mut key = [0; SIZE];
        if text.len() != Self::DIGITS {
            return None;
        }
        for (byte, two) in key.iter_mut().zip(text.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
        }
        Some(Self(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

/// Random bytes, from the system.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_text() {
        let key = Key::new().unwrap();
        assert_eq!(Key::from_hex(key.hex().as_bytes()).unwrap().0, key.0);
        assert_ne!(Key::new().unwrap().0, key.0);
        assert!(Key::from_hex(b"00").is_none());
        assert!(Key::from_hex("xy".repeat(SIZE).as_bytes()).is_none());
        assert_eq!(format!("{key:?}"), "Key { .. }");
    }
}
