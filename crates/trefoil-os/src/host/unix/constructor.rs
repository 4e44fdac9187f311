//! Functions that are called before `main`.
//!
//! Tests: `tests/auto.rs`.
#![allow(unsafe_code)]

/// Makes the loader call `$function` before `main`.
#[macro_export]
#[doc(hidden)]
macro_rules! constructor {
    ($function:path) => {
        // SAFETY: W9: the loader calls the functions of this section, which have this signature,
        // before `main`.
        #[used]
        #[cfg_attr(
            target_vendor = "apple",
            unsafe(link_section = "__DATA,__mod_init_func,mod_init_funcs")
        )]
        #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
        static CONSTRUCTOR: extern "C" fn() = $function;
    };
}
pub use constructor;
