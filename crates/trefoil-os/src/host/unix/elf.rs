//! Reads the headers of an image in the ELF format.
//!
//! **Is it the executable?** The system reports where the program headers of the executable
//! are. If those are not this image's, this is a library. If the system has mapped no dynamic
//! loader for an image that names one, the loader itself was executed, and has mapped this image
//! (`auxiliary`).
//!
//! **Invariants.**
//! - **H20** `__ehdr_start` is the first byte of a mapped, readable segment that holds the ELF
//!   header and the program headers, for the life of the process. (The linker defines the symbol
//!   only if the headers are loaded.)
//! - **H21** A loaded segment spans `base + vaddr - lowest` for `memsz` bytes and stays mapped with
//!   its content for the life of the process.
//!
//! Tests: `crates/trefoil-os/src/host/image.rs`.
#![allow(unsafe_code)]

use std::ops::Range;

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Segment;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Segment;
use libc::{PT_INTERP, PT_LOAD, PT_NOTE};

use crate::host::auxiliary;
use crate::host::image::{Headers, IN_LIBRARY, THROUGH_LOADER};
use crate::sys::elf_notes::build_id;

unsafe extern "C" {
    #[link_name = "__ehdr_start"]
    static HEADER: u8;
}

/// The ELF header; some systems' `libc` crate does not have it.
#[repr(C)]
struct Header {
    identity: [u8; 16],
    kind: [u16; 2],
    version: u32,
    entry: usize,
    /// The offsets of the program headers and of the section headers.
    headers: [usize; 2],
    flags: u32,
    sizes: [u16; 2],
    /// How many program headers there are.
    count: u16,
}

/// The flag of a segment that contains code.
const PF_X: u32 = 1;

/// The headers of the image that this function was linked into.
pub(crate) fn headers() -> Headers {
    let base = (&raw const HEADER).expose_provenance();
    let segments = segments(base);
    let of_kind = |kind| segments.iter().filter(move |s| s.p_type == kind);
    let lowest = of_kind(PT_LOAD).map(|s| s.p_vaddr).min().unwrap_or(0);
    let place = |s: &Segment| {
        let start = base.wrapping_add((s.p_vaddr - lowest) as usize);
        start..start.saturating_add(s.p_memsz as usize)
    };
    let code = of_kind(PT_LOAD)
        .filter(|s| s.p_flags & PF_X != 0)
        .map(place)
        .collect();
    let id = of_kind(PT_NOTE).find_map(|s| build_id(bytes(place(s))));
    let has_loader = of_kind(PT_INTERP).next().is_some();
    let is_executed = if has_loader && auxiliary::is_loader_executed() {
        Err(THROUGH_LOADER)
    } else if !auxiliary::are_executables(segments.as_ptr().addr()) {
        Err(IN_LIBRARY)
    } else {
        Ok(())
    };
    Headers {
        base,
        code,
        id,
        is_executed,
    }
}

/// The bytes of a loaded range of the image.
fn bytes(range: Range<usize>) -> &'static [u8] {
    let start = std::ptr::with_exposed_provenance(range.start);
    // SAFETY: H21: the range is a loaded segment of this image, mapped, readable and unchanged for
    // the life of the process.
    unsafe { std::slice::from_raw_parts(start, range.len()) }
}

/// The ELF header.
fn header(base: usize) -> &'static Header {
    // SAFETY: H20: the ELF header of this image, at the beginning of a page, so it is aligned.
    unsafe { &*std::ptr::with_exposed_provenance::<Header>(base) }
}

/// The program headers.
fn segments(base: usize) -> &'static [Segment] {
    let header = header(base);
    let first = std::ptr::with_exposed_provenance(base + header.headers[0]);
    // SAFETY: H20: there are `count` program headers, aligned as the format requires.
    unsafe { std::slice::from_raw_parts(first, header.count.into()) }
}
