//! Names for the codes with which the system ends a process. (It has no signals.)

use windows_sys::Win32::Foundation::{
    STATUS_ACCESS_DENIED, STATUS_ACCESS_VIOLATION, STATUS_BREAKPOINT, STATUS_CONTROL_C_EXIT,
    STATUS_DLL_INIT_FAILED, STATUS_DLL_NOT_FOUND, STATUS_ENTRYPOINT_NOT_FOUND,
    STATUS_HEAP_CORRUPTION, STATUS_ILLEGAL_INSTRUCTION, STATUS_IN_PAGE_ERROR,
    STATUS_INTEGER_DIVIDE_BY_ZERO, STATUS_INVALID_IMAGE_HASH, STATUS_NO_MEMORY,
    STATUS_PRIVILEGED_INSTRUCTION, STATUS_STACK_BUFFER_OVERRUN, STATUS_STACK_OVERFLOW,
    STATUS_VIRUS_DELETED, STATUS_VIRUS_INFECTED,
};

/// The name of a signal: this system has none.
pub fn signal_name(_signal: i32) -> Option<String> {
    None
}

/// The meaning of an exit code that the system has set and not the program: a status of the kernel.
pub fn code_name(code: i32) -> Option<String> {
    let words = match code {
        STATUS_ACCESS_VIOLATION => "access violation",
        STATUS_STACK_OVERFLOW => "stack overflow",
        STATUS_ILLEGAL_INSTRUCTION => "illegal instruction",
        STATUS_PRIVILEGED_INSTRUCTION => "privileged instruction",
        STATUS_INTEGER_DIVIDE_BY_ZERO => "division by zero",
        STATUS_STACK_BUFFER_OVERRUN => "abort",
        STATUS_HEAP_CORRUPTION => "heap corruption",
        STATUS_IN_PAGE_ERROR => "page that could not be read",
        STATUS_DLL_NOT_FOUND => "missing library",
        STATUS_ENTRYPOINT_NOT_FOUND => "missing function of a library",
        STATUS_DLL_INIT_FAILED => "library that could not be initialized",
        STATUS_NO_MEMORY => "want of memory",
        STATUS_CONTROL_C_EXIT => "Ctrl-C",
        STATUS_BREAKPOINT => "breakpoint",
        STATUS_ACCESS_DENIED => "denied access",
        STATUS_INVALID_IMAGE_HASH => "signature that is not valid",
        STATUS_VIRUS_INFECTED | STATUS_VIRUS_DELETED => "virus scanner",
        // The upper four bits say "error", and that the code is the system's own.
        _ if code.cast_unsigned() >> 28 == 0xc => "error of the system",
        _ => return None,
    };
    Some(format!("{words} (0x{code:08X})"))
}

/// The number of the signal with this name: none.
pub fn signal_number(_name: &str) -> Option<i32> {
    None
}
