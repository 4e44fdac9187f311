//! The executable image that this code was linked into.
//!
//! **Job.** Turn the address of a function into an offset that means the same in
//! another process running the same image, and back; name this copy of the crate, so that
//! two processes can tell whether theirs are the same; and say whether executing `/proc/self/exe`
//! starts this image again, and with whose rights.
//!
//! **How.** The linker defines `__ehdr_start`, the address of the image's own
//! ELF header, separately in every module. From there the program headers give
//! the executable segments (for the range checks) and the notes (for the build
//! id). Nothing is searched for at run time, `/proc` is read only by the fallback
//! below, and address-space randomisation cancels out.
//!
//! **Naming.** The build id is a hash of the image's contents that linkers put in
//! by default on most systems. An image without one is named by the device,
//! inode, size and modification time of `/proc/self/exe`: a worker is started
//! from that same open file, so the names agree exactly when the images do. That is true of the executable
//! only, not of a library that it has loaded, and not where the dynamic loader was executed and the
//! program is its argument: there `starts_again` is an error, and the name is not asked for.
//! One image may hold several copies of this crate (two versions, in a tree of dependencies), with a protocol each, so the
//! version and the place of a `static` of this copy belong to the name.
//!
//! **Executed again?** The kernel tells a process where the program headers of the executable are (`AT_PHDR`): if those are
//! not this image's, this is a library. If the kernel has mapped no dynamic loader (`AT_BASE`) for an image that names one, then
//! the loader itself was executed, and has mapped this image.
//!
//! **Invariants.**
//! - **Y20** `__ehdr_start` is the first byte of a mapped, readable segment that
//!   holds the ELF header and the program headers, for the life of the process.
//!   (The linker defines the symbol only if the headers are loaded.)
//! - **Y21** A loaded segment spans `base + vaddr - lowest` for `memsz` bytes and stays
//!   mapped with its content for the life of the process.
//! - **Y35** `getauxval` may be called at any time: it reads a table that is there before the first constructor, and for any
//!   number that is not in it gives 0.
//!
//! **Rejected.** An empty function as the base: identical code is folded, so its
//! address is not unique in optimised builds. `dl_iterate_phdr`: gives the same
//! for an executable, needs a C callback, and names the executable where this
//! names the module that the crate was linked into, which is where the functions
//! of its users are. Hashing the file: milliseconds per process. Comparing the image with the file
//! `/proc/self/exe`, by inode or by its headers: file systems that are made of others show two inodes, and a program that unpacks
//! itself has other headers than its file, though it starts again as it should.
//!
//! Tests: below, and every test of `tests/process/pool.rs` ships a function this way; `tests/process/host.rs` (the loader,
//! capabilities), `checks/tests/copies.rs` (a library, two copies).
#![allow(unsafe_code)]

use std::ops::Range;
use std::os::linux::fs::MetadataExt;
use std::sync::OnceLock;

#[cfg(target_pointer_width = "32")]
use libc::{Elf32_Ehdr as Header, Elf32_Phdr as Segment};
#[cfg(target_pointer_width = "64")]
use libc::{Elf64_Ehdr as Header, Elf64_Phdr as Segment};
use libc::{PF_X, PT_INTERP, PT_LOAD, PT_NOTE};

unsafe extern "C" {
    #[link_name = "__ehdr_start"]
    static HEADER: u8;
}

/// What is known of the image.
#[derive(Debug)]
pub(crate) struct Image {
    base: usize,
    code: Vec<Range<usize>>,
    name: String,
    #[cfg_attr(not(feature = "__machines"), expect(dead_code))]
    is_named_by_content: bool,
    starts_again: Result<(), &'static str>,
}

/// Read once. Its place tells this copy of the crate from others in the same image.
static IMAGE: OnceLock<Image> = OnceLock::new();

/// The image that this function was linked into.
pub(crate) fn image() -> &'static Image {
    IMAGE.get_or_init(Image::read)
}

/// The kernel has started this process with other rights than its caller's: by the user of its file, or its
/// capabilities, or a security module.
pub(crate) fn has_other_rights() -> bool {
    auxiliary(libc::AT_SECURE) != 0
}

/// What the kernel has told this process at its start.
fn auxiliary(what: libc::c_ulong) -> usize {
    // SAFETY: Y35: any number may be asked for.
    unsafe { libc::getauxval(what) as usize }
}

const NT_GNU_BUILD_ID: u32 = 3;

impl Image {
    fn read() -> Self {
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
        let build_id = of_kind(PT_NOTE).find_map(|s| build_id(bytes(place(s))));
        let is_named_by_content = build_id.is_some();
        let id = build_id.unwrap_or_else(file_id);
        let has_loader = of_kind(PT_INTERP).next().is_some();
        let starts_again = if has_loader && auxiliary(libc::AT_BASE) == 0 {
            Err(
                "this program was started through the dynamic loader (`ld.so PROGRAM`), \
                 which would be what a worker executes: start the program itself",
            )
        } else if segments.as_ptr().addr() != auxiliary(libc::AT_PHDR) {
            Err(
                "this copy of trefoil is part of a library (a plugin), and not of the program's executable, \
                 which is what a worker executes: make the pool in the program",
            )
        } else if id.is_empty() {
            Err("/proc/self/exe cannot be looked at, is /proc mounted?")
        } else {
            Ok(())
        };
        let anchor = (&raw const IMAGE).addr().wrapping_sub(base);
        let mut name = format!("{}-{anchor:x}-", env!("CARGO_PKG_VERSION"));
        name.extend(id.iter().map(|byte| format!("{byte:02x}")));
        Self {
            base,
            code,
            name,
            is_named_by_content,
            starts_again,
        }
    }

    /// The offset of a function of this image; `None` if `address` is not inside
    /// its code.
    pub(crate) fn offset_of(&self, address: usize) -> Option<u64> {
        self.holds(address).then(|| (address - self.base) as u64)
    }

    /// The address at `offset`; `None` if that is not inside this image's code.
    pub(crate) fn address_at(&self, offset: u64) -> Option<usize> {
        let address = self.base.checked_add(usize::try_from(offset).ok()?)?;
        self.holds(address).then_some(address)
    }

    /// The name of this copy of the crate: equal in two processes exactly if they run the same image and this is
    /// the same copy in it, provided that both `starts_again`. Without commas.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name is that of every copy of the executable, on any machine.
    #[cfg(feature = "__machines")]
    pub(crate) fn is_named_by_content(&self) -> bool {
        self.is_named_by_content
    }

    /// What the name says of the image's content.
    pub(crate) fn build(&self) -> &str {
        self.name.rsplit('-').next().unwrap_or_default()
    }

    /// Executing `/proc/self/exe` starts this image again; or why not.
    pub(crate) fn starts_again(&self) -> Result<(), &'static str> {
        self.starts_again
    }

    fn holds(&self, address: usize) -> bool {
        self.code.iter().any(|code| code.contains(&address))
    }
}

/// The bytes of a loaded range of the image.
fn bytes(range: Range<usize>) -> &'static [u8] {
    let start = std::ptr::with_exposed_provenance(range.start);
    // SAFETY: Y21: the range is a loaded segment of this image, mapped, readable and unchanged for the life of the
    // process.
    unsafe { std::slice::from_raw_parts(start, range.len()) }
}

/// The program headers.
fn segments(base: usize) -> &'static [Segment] {
    // SAFETY: Y20: the ELF header of this image, at the beginning of a page, so it is aligned.
    let header = unsafe { &*std::ptr::with_exposed_provenance::<Header>(base) };
    let first = std::ptr::with_exposed_provenance(base + header.e_phoff as usize);
    // SAFETY: Y20: the program headers, so many, aligned as the format has it.
    unsafe { std::slice::from_raw_parts(first, header.e_phnum.into()) }
}

/// The build id among the notes of one note segment.
fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    let padded = |n: u32| (n as usize).checked_next_multiple_of(4);
    let word = |notes: &[u8], at| Some(u32::from_ne_bytes(*notes.get(at..)?.first_chunk()?));
    while notes.len() >= 12 {
        let (name, desc, kind) = (word(notes, 0)?, word(notes, 4)?, word(notes, 8)?);
        let desc_at = 12 + padded(name)?;
        let id = notes.get(desc_at..desc_at.checked_add(desc as usize)?)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") && !id.is_empty() {
            return Some(id.to_vec());
        }
        notes = notes.get(desc_at + padded(desc)?..)?;
    }
    None
}

/// What names an executable without a build id. Empty if even the file is unknown.
fn file_id() -> Vec<u8> {
    let Ok(file) = std::fs::metadata("/proc/self/exe") else {
        return Vec::new();
    };
    [
        file.st_dev(),
        file.st_ino(),
        file.st_size(),
        file.st_mtime() as u64,
        file.st_mtime_nsec() as u64,
    ]
    .iter()
    .flat_map(|word| word.to_ne_bytes())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere(x: u64) -> u64 {
        std::hint::black_box(x) + 1
    }

    #[test]
    fn a_function_goes_there_and_back() {
        let address = somewhere as fn(u64) -> u64 as usize;
        let offset = image().offset_of(address).unwrap();
        assert_eq!(image().address_at(offset), Some(address));
    }

    #[test]
    fn what_is_not_code_is_refused() {
        let local = 0u8;
        assert_eq!(image().offset_of((&raw const local).addr()), None);
        assert_eq!(image().offset_of(0), None);
        assert_eq!(image().address_at(0), None, "the header is not executable");
        assert_eq!(image().address_at(u64::MAX), None);
    }

    #[test]
    fn the_image_has_a_name() {
        let name = image().name();
        let version = concat!(env!("CARGO_PKG_VERSION"), "-");
        assert!(
            name.starts_with(version) && name.len() > version.len() + 16,
            "{name}"
        );
        assert!(!name.contains(','), "{name}");
        assert_eq!(file_id().len(), 40);
    }

    #[test]
    fn this_program_starts_again_and_has_its_callers_rights() {
        assert_eq!(image().starts_again(), Ok(()));
        assert!(!has_other_rights());
    }

    #[test]
    fn notes_are_read_and_broken_notes_survived() {
        let mut note = Vec::new();
        for word in [4u32, 3, 1] {
            note.extend(word.to_ne_bytes());
        }
        note.extend(*b"GNU\0abc\0");
        for word in [4u32, 2, NT_GNU_BUILD_ID] {
            note.extend(word.to_ne_bytes());
        }
        note.extend(*b"GNU\0xy\0\0");
        assert_eq!(build_id(&note).as_deref(), Some(&b"xy"[..]));
        for end in 0..note.len() {
            let _ = build_id(&note[..end]);
        }
        assert_eq!(build_id(&[0xff; 64]), None);
    }
}
