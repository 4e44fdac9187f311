//! Functions that are called before `main`.

/// Has `$function` called before `main`.
macro_rules! constructor {
    ($function:path) => {
        // SAFETY: W9: the section holds functions of this signature, to be called before `main`.
        #[used]
        #[unsafe(link_section = ".CRT$XCU")]
        static CONSTRUCTOR: extern "C" fn() = $function;
    };
}
pub(crate) use constructor;
