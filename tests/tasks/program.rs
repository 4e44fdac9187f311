//! What the library adds to a program's file, whatever the program uses.
#![cfg(target_os = "linux")]

/// The sections of this program by their names, each with its size.
fn sections(file: &[u8]) -> Vec<(String, usize)> {
    let number = |at: usize, length: usize| {
        let bytes = file[at..at + length].iter().rev();
        bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    // ELF of 64 bits, in little-endian order.
    let (table, size) = (number(0x28, 8), number(0x3a, 2));
    let header = |index: usize| table + index * size;
    let names = number(header(number(0x3e, 2)) + 0x18, 8);
    let section = |index: usize| {
        let name = &file[names + number(header(index), 4)..];
        let length = name.iter().position(|byte| *byte == 0).unwrap();
        let name = String::from_utf8_lossy(&name[..length]).into_owned();
        (name, number(header(index) + 0x20, 8))
    };
    (0..number(0x3c, 2)).map(section).collect()
}

/// A table that is made when it is used is not in the file. (This program uses all of them.)
#[test]
fn a_programs_data_is_small() {
    if cfg!(any(target_pointer_width = "32", target_endian = "big")) {
        return;
    }
    let file = std::fs::read("/proc/self/exe").unwrap();
    let sections = sections(&file);
    let size = |of: &str| sections.iter().find(|(name, _)| name == of).unwrap().1;
    assert!(size(".text") > 100_000, "{sections:?}");
    assert!(size(".data") < 40_000, "{} bytes", size(".data"));
}
