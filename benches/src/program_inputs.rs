//! What the programs of `benches/programs.sh` work on, the same each time.
//!
//! ```text
//! program_inputs FOLDER
//! ```
//!
//! `picture.png` (1,600 × 1,200, for oxipng), `frames/*.png` (24 of 640 × 480, for gifski), `bytes`
//! (1 GiB, for b3sum), `files/` (2,000 folders of 50 empty files, for dust), `sources/` (60 copies
//! of this crate's sources, for tokei). A folder that has them is left as it is.
//!
//! A picture is a gradient, circles and a little noise, with its pixels in blocks that are not
//! compressed.
#![allow(clippy::disallowed_methods)] // it has no tasks

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The same numbers each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The remainder that ends each chunk of a PNG.
fn crc(bytes: &[u8]) -> u32 {
    let shifted = |rest: u32| match rest & 1 {
        0 => rest >> 1,
        _ => rest >> 1 ^ 0xEDB8_8320,
    };
    let table: Vec<u32> = (0..256)
        .map(|byte| (0..8).fold(byte, |rest, _| shifted(rest)))
        .collect();
    !bytes.iter().fold(!0, |rest, byte| {
        table[usize::from(*byte ^ rest as u8)] ^ rest >> 8
    })
}

fn adler(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 16 | low
}

fn chunk(out: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    let from = out.len() + 4;
    out.extend((content.len() as u32).to_be_bytes());
    out.extend(name);
    out.extend(content);
    out.extend(crc(&out[from..]).to_be_bytes());
}

/// A picture of this size; `frame` moves its circles.
fn png(width: u32, height: u32, frame: u32) -> Vec<u8> {
    let mut random = Random(7 + u64::from(frame));
    let mut pixels = Vec::new();
    for y in 0..height {
        pixels.push(0); // this line has no filter
        for x in 0..width {
            let (dx, dy) = (x.abs_diff(width / 2 + 4 * frame), y.abs_diff(height / 2));
            let ring = (dx * dx + dy * dy) / 4_096 % 4 * 40;
            let noise = (random.next() >> 62) as u32;
            let colours = [x * 200 / width + noise, ring + 40, y * 200 / height + noise];
            pixels.extend(colours.map(|colour| colour as u8));
        }
    }
    let mut packed = vec![0x78, 0x01];
    let mut blocks = pixels.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        packed.push(u8::from(blocks.peek().is_none()));
        packed.extend((block.len() as u16).to_le_bytes());
        packed.extend((!(block.len() as u16)).to_le_bytes());
        packed.extend(block);
    }
    packed.extend(adler(&pixels).to_be_bytes());
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(&mut out, b"IHDR", &[&size[..], &[8, 2, 0, 0, 0]].concat());
    chunk(&mut out, b"IDAT", &packed);
    chunk(&mut out, b"IEND", &[]);
    out
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn make(at: &Path) -> io::Result<()> {
    fs::write(at.join("picture.png"), png(1_600, 1_200, 0))?;
    fs::create_dir_all(at.join("frames"))?;
    for frame in 0..24 {
        fs::write(
            at.join(format!("frames/{frame:03}.png")),
            png(640, 480, frame),
        )?;
    }
    let mut random = Random(7);
    let block: Vec<u8> = (0..1 << 17)
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    let mut bytes = fs::File::create(at.join("bytes"))?;
    for _ in 0..1 << 10 {
        bytes.write_all(&block)?;
    }
    for folder in 0..2_000 {
        let folder = at.join(format!("files/{}/{folder}", folder % 40));
        fs::create_dir_all(&folder)?;
        for file in 0..50 {
            fs::File::create(folder.join(file.to_string()))?;
        }
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    for number in 0..60 {
        copy(&sources, &at.join(format!("sources/{number}")))?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let folder = Path::new(&folder);
    let (made, making) = (folder.join("whole"), folder.join("making"));
    if made.exists() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?; // what an earlier one did not end
    }
    fs::create_dir_all(&making)?;
    make(folder)?;
    fs::rename(making, made)
}
