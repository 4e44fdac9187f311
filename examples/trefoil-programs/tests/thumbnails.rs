//! `thumbnails` makes small pictures, and a file that crashes, hangs or floods the decoder
//! costs one of them.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};
use support::{Running, Scratch, run};

const THUMBNAILS: &str = env!("CARGO_BIN_EXE_thumbnails");

fn picture(dir: &Scratch, name: &str, (width, height): (u32, u32)) {
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 99]));
    let path = dir.file(name, "");
    let format = ImageFormat::from_path(name).unwrap();
    picture.save_with_format(path, format).unwrap();
}

fn size(path: &Path) -> (u32, u32) {
    image::image_dimensions(path).unwrap()
}

/// A pipe that nobody writes to: opening it takes for ever.
fn pipe(dir: &Scratch, name: &str) {
    let made = Command::new("mkfifo").arg(dir.0.join(name)).status();
    assert!(made.unwrap().success());
}

#[test]
fn pictures_become_small_and_a_second_run_does_nothing() {
    let dir = Scratch::new("thumbnails");
    picture(&dir, "in/wide.png", (800, 100));
    picture(&dir, "in/sub/high.JPG", (300, 600));
    picture(&dir, "in/small.jpeg", (64, 32));
    dir.file("in/notes.txt", "no picture");
    dir.file("in/broken.png", b"\x89PNG\r\n\x1a\nand no more");
    dir.file("in/lie.jpg", "no picture either");
    let (from, to) = (dir.0.join("in"), dir.0.join("in/thumbs"));
    let args = [from.as_os_str(), to.as_os_str()];

    let first = run(THUMBNAILS, &args);
    assert_eq!(
        first.out, "3 made, 0 left alone, 2 failed\n",
        "{}",
        first.err
    );
    assert_eq!(first.code, Some(1));
    assert!(first.err.contains("broken.png: "), "{}", first.err);
    assert!(first.err.contains("lie.jpg: "), "{}", first.err);
    assert_eq!(size(&to.join("wide.png")), (256, 32));
    assert_eq!(size(&to.join("sub/high.JPG")), (128, 256));
    assert_eq!(size(&to.join("small.jpeg")), (64, 32));
    assert!(!to.join("broken.png").exists());

    // The thumbnails are not pictures to be made smaller, and what is done is done.
    fs::remove_file(from.join("broken.png")).unwrap();
    fs::remove_file(from.join("lie.jpg")).unwrap();
    let second = run(THUMBNAILS, &args);
    assert_eq!(
        second.out, "0 made, 3 left alone, 0 failed\n",
        "{}",
        second.err
    );
    assert_eq!(second.code, Some(0));
}

#[test]
fn a_hang_and_a_flood_cost_one_picture_each() {
    let dir = Scratch::new("thumbnails-hang");
    for n in 0..12 {
        picture(&dir, &format!("in/{n}.png"), (300, 300));
    }
    pipe(&dir, "in/3-hang.png");
    dir.file("in/7-flood.png", bomb(60_000));
    let (from, to) = (dir.0.join("in"), dir.0.join("out"));
    let began = Instant::now();
    let args: [&OsStr; 4] = [
        "--timeout".as_ref(),
        "3".as_ref(),
        from.as_ref(),
        to.as_ref(),
    ];
    let ended = run(THUMBNAILS, &args);
    assert_eq!(
        ended.out, "12 made, 0 left alone, 2 failed\n",
        "{}",
        ended.err
    );
    assert!(began.elapsed() >= Duration::from_secs(3));
    let lines: Vec<&str> = ended
        .err
        .lines()
        .filter(|line| line.contains("/in/"))
        .collect();
    assert_eq!(lines.len(), 2, "{}", ended.err);
    assert!(
        lines[0].contains("3-hang.png: ") && lines[1].contains("7-flood.png: "),
        "{lines:?}"
    );
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_crash_costs_one_picture() {
    let dir = Scratch::new("thumbnails-crash");
    for n in 0..12 {
        picture(&dir, &format!("in/{n}.png"), (300, 300));
    }
    pipe(&dir, "in/5-crash.png");
    let (from, to) = (dir.0.join("in"), dir.0.join("out"));
    let args: [&OsStr; 4] = [
        "--timeout".as_ref(),
        "60".as_ref(),
        from.as_ref(),
        to.as_ref(),
    ];
    let began = Instant::now();
    let mut running = Running::start(THUMBNAILS, &args, &[]);
    // When all other pictures are there, one worker is inside of the pipe. It crashes there, as it
    // would in a decoder; and the idle ones with it, which costs nobody anything.
    let others = (0..12).map(|n| to.join(format!("{n}.png")));
    let others: Vec<PathBuf> = others.collect();
    while !others.iter().all(|path| path.exists()) {
        assert!(began.elapsed() < Duration::from_secs(200), "too slow");
        sleep(Duration::from_millis(5));
    }
    while running.is_alive() {
        for worker in children(running.pid()) {
            let _ = Command::new("kill")
                .args(["-SEGV", &worker])
                .stderr(Stdio::null())
                .status();
        }
        assert!(began.elapsed() < Duration::from_secs(80), "it does not end");
        sleep(Duration::from_millis(100));
    }
    let ended = running.end();
    assert_eq!(
        ended.out, "12 made, 0 left alone, 1 failed\n",
        "{}",
        ended.err
    );
    assert!(ended.err.contains("5-crash.png: "), "{}", ended.err);
    assert!(ended.err.contains("signal 11"), "{}", ended.err);
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<String> {
    let child = |dir: PathBuf| {
        let stat = fs::read_to_string(dir.join("stat")).ok()?;
        let of = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
        (of == parent.to_string()).then(|| dir.file_name().unwrap().to_str().unwrap().to_owned())
    };
    let all = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    all.filter_map(child).collect()
}

/// A PNG of some kilobytes that unpacks to gigabytes: `side` times `side` black pixels.
fn bomb(side: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        bytes.extend((data.len() as u32).to_be_bytes());
        let body = [kind, data].concat();
        bytes.extend(&body);
        bytes.extend(crc(&body).to_be_bytes());
    };
    let mut head = [side.to_be_bytes(), side.to_be_bytes()].concat();
    head.extend([8, 2, 0, 0, 0]); // eight bits, RGB
    chunk(b"IHDR", &head);
    // A stored block of zeros is a beginning; the decoder wants room for all of it first.
    let mut data = vec![0x78, 1, 1, 0, 16, 255, 239];
    data.resize(data.len() + 4096, 0);
    data.extend(0x1000_0001_u32.to_be_bytes());
    chunk(b"IDAT", &data);
    chunk(b"IEND", &[]);
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _: u32| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
