//! Functions that are called before `main`.

/// Makes the loader call `$function` before `main`.
macro_rules! constructor {
    ($function:path) => {
        // SAFETY: W9: the section holds functions of this signature, to be called before `main`.
        #[used]
        #[cfg_attr(
            target_vendor = "apple",
            unsafe(link_section = "__DATA,__mod_init_func")
        )]
        #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
        static CONSTRUCTOR: extern "C" fn() = $function;
    };
}
pub(crate) use constructor;
