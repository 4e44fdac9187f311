//! The modules of this process: its executable and the libraries that it has loaded.
//!
//! **Job.** A place in a program is named by a module and a number in it, which is the same in each
//! process that has loaded this module; an address is not. [`each`] shows what is loaded, also to
//! a handler of signals; [`address`] makes an address of such a place, and [`build_id`] says which
//! build of the module is loaded, whatever its file is by now.
//!
//! - **Y81** The loader calls back with data that is valid during that call: a name that ends with
//!   NUL, and `count` program headers, which are mapped as long as the module is loaded. The
//!   argument of the callback is the visitor, which outlives the call.
//! - **Y82** A segment that is loaded to be read stays so while the loader calls back.
//!
//! Tests: below; `tests/process/crashes.rs::each_frame_has_the_build_of_its_module`.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Segment;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Segment;
use libc::{PT_LOAD, PT_NOTE, dl_phdr_info, size_t};

use crate::sys::elf_notes;

/// The flags of a segment that contains code, and of one that can be read.
const PF_X: u32 = 1;
const PF_R: u32 = 4;

/// How many bytes of notes are looked at, and how long a build id may be.
const MOST_NOTES: usize = 1 << 16;
const LONGEST_ID: usize = 64;

/// One module.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// Its path, as the loader found it; empty for the executable.
    pub name: &'a [u8],
    /// What the loader has added to each of the module's own addresses.
    pub bias: usize,
    segments: &'a [Segment],
}

impl Module<'_> {
    fn of_kind(&self, kind: u32) -> impl Iterator<Item = (&Segment, Range<usize>)> {
        let all = self.segments.iter().filter(move |one| one.p_type == kind);
        all.map(|one| {
            let start = self.bias.wrapping_add(one.p_vaddr as usize);
            (one, start..start.wrapping_add(one.p_memsz as usize))
        })
    }

    fn loaded(&self) -> impl Iterator<Item = (&Segment, Range<usize>)> {
        self.of_kind(PT_LOAD)
    }

    /// From its first byte to its last.
    pub fn range(&self) -> Range<usize> {
        let starts = self.loaded().map(|(_, one)| one.start);
        let ends = self.loaded().map(|(_, one)| one.end);
        starts.min().unwrap_or(0)..ends.max().unwrap_or(0)
    }

    fn has_code_at(&self, address: usize) -> bool {
        let mut code = self.loaded().filter(|(one, _)| one.p_flags & PF_X != 0);
        code.any(|(_, range)| range.contains(&address))
    }

    /// What the linker has noted; `None`: nothing, or its headers are wrong.
    fn build_id(&self) -> Option<Vec<u8>> {
        let is_loaded = |notes: &Range<usize>| {
            let mut readable = self.loaded().filter(|(one, _)| one.p_flags & PF_R != 0);
            (1..=MOST_NOTES).contains(&notes.len())
                && readable.any(|(_, all)| all.start <= notes.start && notes.end <= all.end)
        };
        let all = self.of_kind(PT_NOTE).map(|(_, notes)| notes);
        let mut ids = all.filter(is_loaded).filter_map(|notes| {
            let start = std::ptr::with_exposed_provenance::<u8>(notes.start);
            // SAFETY: Y82: they are in a segment that is loaded, and the module's own.
            elf_notes::build_id(unsafe { std::slice::from_raw_parts(start, notes.len()) })
        });
        ids.find(|id| id.len() <= LONGEST_ID)
    }
}

/// Shows each module to `visit`. Does not allocate; waits for a thread that is just loading a
/// library.
pub fn each(mut visit: &mut dyn FnMut(Module<'_>)) {
    extern "C" fn shown(info: *mut dl_phdr_info, _: size_t, visit: *mut c_void) -> c_int {
        // SAFETY: Y81: valid during this call.
        let info = unsafe { &*info };
        // SAFETY: Y81: it is the argument that `each` has passed, which waits.
        let visit = unsafe { &mut *visit.cast::<&mut dyn FnMut(Module<'_>)>() };
        let name = if info.dlpi_name.is_null() {
            c""
        } else {
            // SAFETY: Y81: a name that ends with NUL.
            unsafe { CStr::from_ptr(info.dlpi_name) }
        };
        let segments = if info.dlpi_phdr.is_null() {
            &[]
        } else {
            // SAFETY: Y81: there are so many.
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) }
        };
        visit(Module {
            name: name.to_bytes(),
            bias: info.dlpi_addr as usize,
            segments,
        });
        0
    }
    // SAFETY: Y81: the function takes what it is called with, and the visitor outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(shown), (&raw mut visit).cast()) };
}

/// The address of the code at `offset` in the module that has this name; `None` if this process has
/// no such module, or no code there.
pub fn address(name: &str, offset: u64) -> Option<usize> {
    let mut found = None;
    each(&mut |module| {
        let address = module.bias.wrapping_add(offset as usize);
        if module.name == name.as_bytes() && module.has_code_at(address) {
            found.get_or_insert(address);
        }
    });
    found
}

/// The build id of the module that has this name; `None` if this process has no such module, or the
/// linker has left it out.
pub fn build_id(name: &str) -> Option<Vec<u8>> {
    let mut found = None;
    each(&mut |module| {
        if found.is_none() && module.name == name.as_bytes() {
            found = module.build_id();
        }
    });
    found
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_in_one_module() {
        let own = a_function_is_in_one_module as fn() as usize;
        let mut home = Vec::new();
        each(&mut |module| {
            if module.range().contains(&own) {
                home.push((module.name.to_vec(), module.bias));
            }
        });
        let [(name, bias)] = &home[..] else {
            panic!("{home:?}");
        };
        assert_eq!(name, b"");
        assert_eq!(address("", (own - bias) as u64), Some(own));
        assert_eq!(address("", u64::MAX), None);
        assert_eq!(address("/none", (own - bias) as u64), None);
    }

    #[test]
    fn a_build_id_is_that_of_what_is_loaded() {
        assert_eq!(build_id("/none"), None);
        let own = build_id("").map(|id| id.len());
        assert!(own.is_none_or(|length| (8..=LONGEST_ID).contains(&length)));
        // A module whose headers lie is none.
        let note = [
            &4u32.to_ne_bytes()[..],
            &2u32.to_ne_bytes(),
            &3u32.to_ne_bytes(),
            b"GNU\0xy\0\0",
        ]
        .concat();
        let bias = note.as_ptr().expose_provenance();
        let mut own_segment = None;
        each(&mut |module| own_segment = own_segment.or(module.segments.first().copied()));
        let own_segment = own_segment.unwrap();
        let segment = |kind, start: usize, length: usize, flags| {
            // (Which other fields there are depends on the system.)
            let mut one = own_segment;
            (one.p_type, one.p_flags) = (kind, flags);
            (one.p_vaddr, one.p_memsz) = (start as _, length as _);
            one
        };
        let id = |load: (usize, usize, u32), note: (usize, usize)| {
            let segments = [
                segment(PT_LOAD, load.0, load.1, load.2),
                segment(PT_NOTE, note.0, note.1, PF_R),
            ];
            let name: &[u8] = b"";
            let segments = &segments[..];
            Module {
                name,
                bias,
                segments,
            }
            .build_id()
        };
        let all = note.len();
        assert_eq!(id((0, all, PF_R), (0, all)).as_deref(), Some(&b"xy"[..]));
        assert_eq!(id((0, all, PF_X), (0, all)), None, "it cannot be read");
        assert_eq!(id((0, all, PF_R), (0, all + 1)), None, "not loaded");
        assert_eq!(id((4, all, PF_R), (0, all)), None);
        assert_eq!(id((0, usize::MAX, PF_R), (0, usize::MAX)), None);
        assert_eq!(id((0, 1 << 40, PF_R), (0, MOST_NOTES + 1)), None);
        assert_eq!(id((0, all, PF_R), (0, 15)), None, "incomplete");
    }
}
