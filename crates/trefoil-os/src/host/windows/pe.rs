//! Reads the headers of an image in the PE format.
//!
//! **Would the system execute this image again?** The system reports where the executable is in
//! memory. If this image is elsewhere, it is a library.
//!
//! - **H66** `__ImageBase` is the first byte of this image's headers, which are mapped and do not
//!   change for the life of the process. The PE headers begin at the offset `e_lfanew` and say how
//!   many section headers follow. A section spans `VirtualSize` bytes from `VirtualAddress` on. The
//!   directories are in sections, within `SizeOfImage` bytes.
//! - **H67** `GetModuleHandleW` with a null name returns the address of the executable, and changes
//!   nothing.
//!
//! Tests: below; `tests/process/everywhere.rs::each_death_is_of_one_item_and_says_why`, under Wine.
#![allow(unsafe_code)]

use std::ops::Range;

use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;

use crate::host::image::{Headers, IN_LIBRARY};

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

/// In the optional header: how long the image is, and after the number of directories, their
/// places and lengths, in images for 64 bits and others.
const IMAGE_SIZE: usize = 56;
const WIDE: u16 = 0x20b;
const DIRECTORIES_WIDE: usize = 112;
const DIRECTORIES: usize = 96;
/// The directory for debuggers; in an entry, what it is, and its size and place in memory.
const DEBUG: usize = 6;
const ENTRY: usize = 28;
const ENTRY_KIND: usize = 12;
const ENTRY_SIZE: usize = 16;
const CODE_VIEW: u32 = 2;

unsafe extern "C" {
    #[link_name = "__ImageBase"]
    static HEADER: u8;
}

/// The number at this offset from the image's beginning.
fn at<T: Copy>(base: usize, offset: usize) -> T {
    let place = std::ptr::with_exposed_provenance::<T>(base + offset);
    // SAFETY: H66: `headers` asks for numbers within the headers only, `build` within the image.
    unsafe { place.read_unaligned() }
}

/// The name that the linker has given this image for debuggers: a new number for each link, or a
/// hash. (GNU's linker writes one if it is asked to.)
fn build(base: usize, optional: usize) -> Option<Vec<u8>> {
    let size = at::<u32>(base, optional + IMAGE_SIZE) as usize;
    let fits = |place: usize, length: usize| place != 0 && place + length <= size;
    let is_wide = at::<u16>(base, optional) == WIDE;
    let directories = optional
        + if is_wide {
            DIRECTORIES_WIDE
        } else {
            DIRECTORIES
        };
    if at::<u32>(base, directories - 4) as usize <= DEBUG {
        return None;
    }
    let [first, length] = [0, 4].map(|n| at::<u32>(base, directories + 8 * DEBUG + n) as usize);
    let count = if fits(first, length) {
        length / ENTRY
    } else {
        0
    };
    let mut entries = (0..count).map(|n| first + n * ENTRY);
    let entry = entries.find(|entry| at::<u32>(base, entry + ENTRY_KIND) == CODE_VIEW)?;
    let [length, place] = [0, 4].map(|n| at::<u32>(base, entry + ENTRY_SIZE + n) as usize);
    let is_known = length >= 24 && fits(place, length) && at::<[u8; 4]>(base, place) == *b"RSDS";
    is_known.then(|| at::<[u8; 20]>(base, place + 4).to_vec())
}

/// What the headers say about the image that this function was linked into.
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
    // SAFETY: H67.
    let executable = unsafe { GetModuleHandleW(std::ptr::null()) }.addr();
    Headers {
        base,
        code,
        id: build(base, header + OPTIONAL),
        is_executed: (executable == base).then_some(()).ok_or(IN_LIBRARY),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// An image with two entries for debuggers, the second with `mark` and a name.
    fn image(size: u32, mark: &[u8; 4]) -> Vec<u8> {
        let mut image = vec![0; 400];
        let mut put = |place: usize, bytes: &[u8]| {
            image[place..place + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &WIDE.to_le_bytes());
        put(IMAGE_SIZE, &size.to_le_bytes());
        put(DIRECTORIES_WIDE - 4, &16_u32.to_le_bytes());
        put(DIRECTORIES_WIDE + 8 * DEBUG, &250_u32.to_le_bytes());
        put(DIRECTORIES_WIDE + 8 * DEBUG + 4, &56_u32.to_le_bytes());
        put(250 + ENTRY + ENTRY_KIND, &CODE_VIEW.to_le_bytes());
        put(250 + ENTRY + ENTRY_SIZE, &30_u32.to_le_bytes());
        put(250 + ENTRY + ENTRY_SIZE + 4, &310_u32.to_le_bytes());
        put(310, mark);
        put(314, b"sixteen bytes...\x01\0\0\0a.pdb\0");
        image
    }

    #[test]
    fn the_name_that_a_linker_gave_is_found_or_there_is_none() {
        let read = |image: Vec<u8>| build(image.as_ptr().expose_provenance(), 0);
        let id = read(image(400, b"RSDS")).unwrap();
        assert_eq!(id, b"sixteen bytes...\x01\0\0\0");
        assert_eq!(read(image(400, b"NB10")), None, "of another kind");
        assert_eq!(read(image(339, b"RSDS")), None, "outside of the image");
        assert_eq!(read(image(300, b"RSDS")), None, "the directory is");
        let mut none = image(400, b"RSDS");
        none[DIRECTORIES_WIDE - 4] = 6;
        assert_eq!(read(none), None, "there are fewer directories");
    }
}
