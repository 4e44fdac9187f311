//! Functions that are called before `main`.
//!
//! Tests: `tests/auto.rs`.
#![allow(unsafe_code)]

/// Makes the C runtime call `$function` before `main`.
#[macro_export]
#[doc(hidden)]
macro_rules! constructor {
    ($function:path) => {
        // SAFETY: W9: the C runtime calls the functions of this section, which have this signature,
        // before `main`.
        #[used]
        #[unsafe(link_section = ".CRT$XCU")]
        static CONSTRUCTOR: extern "C" fn() = $function;
    };
}
pub use constructor;
