//! The modules of this process: its executable and the libraries that it has loaded.
//!
//! **Job.** A place in a program is named by a module and a number in it, which is the same in each
//! process that has loaded this module; an address is not. [`each`] shows what is loaded, also to
//! a handler of signals; [`address`] makes an address of such a place.
//!
//! - **Y81** The loader calls back with data that is valid during that call: a name that ends with
//!   NUL, and `count` program headers, which are mapped as long as the module is loaded. The
//!   argument of the callback is the visitor, which outlives the call.
//!
//! Tests: below; `tests/process/crashes.rs`.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Segment;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Segment;
use libc::{PT_LOAD, dl_phdr_info, size_t};

/// The flag of a segment that contains code.
const PF_X: u32 = 1;

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
    fn loaded(&self) -> impl Iterator<Item = (&Segment, Range<usize>)> {
        let loads = self.segments.iter().filter(|one| one.p_type == PT_LOAD);
        loads.map(|one| {
            let start = self.bias.wrapping_add(one.p_vaddr as usize);
            (one, start..start.wrapping_add(one.p_memsz as usize))
        })
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
}
