//! Reads the header of an image in the Mach-O format.
//!
//! - **H57** `__dso_handle` is the first byte of this image's header. The header and the load
//!   commands after it are mapped, aligned and unchanged for the life of the process. So are the
//!   segments, `slide` bytes from the addresses in the commands.
//!
//! Tests: what it reads from bytes: its own test; the rest is not run yet.
#![allow(unsafe_code)]
#![cfg_attr(not(target_vendor = "apple"), allow(dead_code))] // elsewhere only tests use it

use std::ops::Range;

use crate::host::image::{Headers, IN_LIBRARY};

/// The header of an image for 64 bits.
#[repr(C)]
struct Header {
    magic: u32,
    processor: [u32; 2],
    kind: u32,
    commands: u32,
    length: u32,
    flags: u32,
    reserved: u32,
}

/// The kind of an image that is an executable.
const EXECUTABLE: u32 = 2;
/// The kinds of two load commands: a segment for 64 bits, and a build id.
const SEGMENT: u32 = 0x19;
const UUID: u32 = 0x1b;
/// The flag of a segment that contains code.
const EXECUTES: u32 = 4;

unsafe extern "C" {
    #[link_name = "__dso_handle"]
    static HEADER: u8;
}

/// What the header says about the image that this function was linked into.
pub(crate) fn headers() -> Headers {
    let base = (&raw const HEADER).expose_provenance();
    let header = std::ptr::with_exposed_provenance::<Header>(base);
    // SAFETY: H57: the header is at the beginning of a page, so it is aligned.
    let header = unsafe { &*header };
    let start = std::ptr::with_exposed_provenance(base + size_of::<Header>());
    // SAFETY: H57: the load commands have this length in all.
    let commands = unsafe { std::slice::from_raw_parts(start, header.length as usize) };
    let (code, id) = parse(commands, base);
    let is_executable = header.kind == EXECUTABLE;
    Headers {
        base,
        code,
        id,
        is_executed: is_executable.then_some(()).ok_or(IN_LIBRARY),
    }
}

/// What the load commands say: the addresses of code, and the build id.
fn parse(commands: &[u8], base: usize) -> (Vec<Range<usize>>, Option<Vec<u8>>) {
    let number = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    let long = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes)) as usize
    };
    let (mut rest, mut segments, mut id) = (commands, Vec::new(), None);
    while rest.len() >= 8 {
        let length = (number(rest, 4) as usize).clamp(8, rest.len());
        let (command, behind) = rest.split_at(length);
        rest = behind;
        match number(command, 0) {
            SEGMENT => segments.push((
                command.get(8..14) == Some(b"__TEXT"),
                long(command, 24),
                long(command, 32),
                number(command, 60) & EXECUTES != 0,
            )),
            UUID => id = command.get(8..24).map(<[u8]>::to_vec),
            _ => {}
        }
    }
    // The header is at the beginning of the text segment.
    let text = segments.iter().find(|(is_text, ..)| *is_text);
    let Some(&(_, lowest, ..)) = text else {
        return (Vec::new(), id);
    };
    let code = segments.iter().filter(|(.., executes)| *executes);
    // The header itself is not code.
    let behind = base + size_of::<Header>() + commands.len();
    let code = code.map(|(_, address, length, _)| {
        let start = base.wrapping_add(address.wrapping_sub(lowest));
        start.max(behind)..start.saturating_add(*length)
    });
    (code.collect(), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(name: &[u8], address: u64, length: u64, protection: u32) -> Vec<u8> {
        let mut bytes = [SEGMENT.to_ne_bytes(), 72_u32.to_ne_bytes()].concat();
        bytes.extend(name);
        bytes.resize(24, 0);
        bytes.extend([address, length, 0, 0].map(u64::to_ne_bytes).concat());
        bytes.extend([7, protection, 0, 0].map(u32::to_ne_bytes).concat());
        bytes
    }

    #[test]
    fn commands_are_read_and_broken_ones_survived() {
        let mut commands = segment(b"__PAGEZERO", 0, 1 << 32, 0);
        commands.extend(segment(b"__TEXT", 1 << 32, 0x8000, 5));
        commands.extend([UUID.to_ne_bytes(), 24_u32.to_ne_bytes()].concat());
        commands.extend([9; 16]);
        commands.extend(segment(b"__DATA", (1 << 32) + 0x8000, 0x1000, 3));
        let base = 0x5000_0000;
        let (code, id) = parse(&commands, base);
        let behind = base + size_of::<Header>() + commands.len();
        assert_eq!(code.len(), 1);
        assert_eq!(code[0], behind..base + 0x8000);
        assert_eq!(id.as_deref(), Some(&[9; 16][..]));
        for end in 0..commands.len() {
            let _ = parse(&commands[..end], base);
        }
        assert_eq!(parse(&[0xff; 64], base), (Vec::new(), None));
    }
}
