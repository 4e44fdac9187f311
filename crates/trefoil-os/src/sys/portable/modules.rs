//! The modules of this process are not known here.

/// No address is known.
pub fn address(_: &str, _: u64) -> Option<usize> {
    None
}
