//! The C library's one function, as a safe function of Rust.

use std::ffi::c_int;

// `tests/trefoil-adapters/build.rs` compiles it.
#[link(name = "fragile", kind = "static")]
unsafe extern "C" {
    fn fragile_sum(row: *const u8, length: usize, sum: *mut c_int) -> c_int;
}

/// The sum of the row, or the library's error code.
pub fn sum(row: &[u8]) -> Result<i32, i32> {
    let mut sum = 0;
    // SAFETY: the pointers are valid for the call, and the length is the row's. (What the library
    // does wrong by itself happens in a worker process.)
    let code = unsafe { fragile_sum(row.as_ptr(), row.len(), &raw mut sum) };
    if code == 0 { Ok(sum) } else { Err(code) }
}
