//! Reads the headers of an image in the PE format.
//!
//! **Would the system execute this image again?** The system tells where the executable lies in
//! memory. If this image lies elsewhere, it is a library.
//!
//! - **Y66** `__ImageBase` is the first byte of this image's headers, which are mapped and do not
//!   change for the life of the process. The PE headers begin at the offset `e_lfanew` and say how
//!   many section headers follow. A section spans `VirtualSize` bytes from `VirtualAddress` on.
//! - **Y67** `GetModuleHandleW` with a null name returns the address of the executable, and changes
//!   nothing.
//!
//! Tests: `tests/process/`, under Wine.
#![allow(unsafe_code)]

use std::ops::Range;

use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;

use crate::sys::image::{Headers, IN_LIBRARY};

/// Where the image says at what offset its PE headers begin.
const OFFSET: usize = 0x3c;
/// Offsets in the PE headers: the number of sections, the length of the optional header, and the
/// optional header itself.
const SECTIONS: usize = 6;
const OPTIONAL_LENGTH: usize = 20;
const OPTIONAL: usize = 24;
/// The size of a section header, and offsets in it: the section's size, its address, its flags.
const SECTION: usize = 40;
const SIZE: usize = 8;
const PLACE: usize = 12;
const KIND: usize = 36;
/// The flag of a section that contains code.
const EXECUTES: u32 = 0x2000_0000;

unsafe extern "C" {
    #[link_name = "__ImageBase"]
    static HEADER: u8;
}

/// The number at this offset from the image's beginning.
fn at<T: Copy>(base: usize, offset: usize) -> T {
    let place = std::ptr::with_exposed_provenance::<T>(base + offset);
    // SAFETY: Y66: `headers` asks only for numbers within the headers.
    unsafe { place.read_unaligned() }
}

/// What the headers say of the image that this function was linked into.
pub(crate) fn headers() -> Headers {
    let base = (&raw const HEADER).expose_provenance();
    let header = at::<u32>(base, OFFSET) as usize;
    let count = usize::from(at::<u16>(base, header + SECTIONS));
    let first = header + OPTIONAL + usize::from(at::<u16>(base, header + OPTIONAL_LENGTH));
    let sections = (0..count).map(|number| first + number * SECTION);
    let code = sections.filter(|section| at::<u32>(base, section + KIND) & EXECUTES != 0);
    let code: Vec<Range<usize>> = code
        .map(|section| {
            let start = base + at::<u32>(base, section + PLACE) as usize;
            start..start + at::<u32>(base, section + SIZE) as usize
        })
        .collect();
    // SAFETY: Y67.
    let executable = unsafe { GetModuleHandleW(std::ptr::null()) }.addr();
    Headers {
        base,
        code,
        // (Linkers put a time stamp there, or nothing, or a hash, so the file is the better name.)
        id: None,
        is_executed: (executable == base).then_some(()).ok_or(IN_LIBRARY),
    }
}
