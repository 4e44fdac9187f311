//! What the headers of an image in the format PE say.
//!
//! **Executed again?** The system tells where the executable lies: if that is not this image's
//! place, this is a library.
//!
//! - **Y66** `__ImageBase` is the first byte of this image's headers, which are mapped and
//!   unchanged for the life of the process: at `e_lfanew` those of PE, then as many sections' as
//!   they say. A section spans `VirtualSize` bytes from `VirtualAddress` on.
//! - **Y67** `GetModuleHandleW` of no name gives the place of the executable, and changes nothing.
//!
//! Tests: `tests/process/`, under Wine.
#![allow(unsafe_code)]

use std::ops::Range;

use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;

use crate::sys::image::{Headers, IN_LIBRARY};

/// Where the offset of the headers stands, and what stands there.
const OFFSET: usize = 0x3c;
/// Behind their beginning: how many sections there are, how long the optional header is, and that.
const SECTIONS: usize = 6;
const OPTIONAL_LENGTH: usize = 20;
const OPTIONAL: usize = 24;
/// A section's header; in it, its size and place in memory, and what it is.
const SECTION: usize = 40;
const SIZE: usize = 8;
const PLACE: usize = 12;
const KIND: usize = 36;
/// Its memory may be executed.
const EXECUTES: u32 = 0x2000_0000;

unsafe extern "C" {
    #[link_name = "__ImageBase"]
    static HEADER: u8;
}

/// The number at so many bytes from the image's beginning.
fn at<T: Copy>(base: usize, offset: usize) -> T {
    let place = std::ptr::with_exposed_provenance::<T>(base + offset);
    // SAFETY: Y66: `headers` asks for numbers within the headers only.
    unsafe { place.read_unaligned() }
}

/// Of the image that this function was linked into.
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
        // (Linkers put a stamp of time there, or nothing, or a hash: the file says more.)
        id: None,
        is_executed: (executable == base).then_some(()).ok_or(IN_LIBRARY),
    }
}
