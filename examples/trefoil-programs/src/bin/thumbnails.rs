//! `thumbnails [--timeout SECONDS] DIR OUT`: a small version of every picture under DIR.
//!
//! Decoders read what strangers have made. So each picture is decoded and scaled in a worker
//! process, under a limit of time and of memory: a file that crashes the decoder, never ends or
//! unpacks to gigabytes costs one picture, and the line on standard error that says which. Then the
//! exit code is 1.
//!
//! Thumbnails have the names of the pictures, and are 256 pixels wide or high at most. What is
//! newer than its picture is left alone, so a second run does only what is new.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use image::ImageReader;
use trefoil::ProcessPool;
use trefoil_progress::{Progress, ProgressBar};

/// Pixels, at most, in both directions.
const SIDE: u32 = 256;
/// What a worker may have: enough for a picture of a hundred megapixels.
const MEMORY: u64 = 1 << 30;
/// What a picture is called.
const ENDINGS: [&str; 3] = ["jpeg", "jpg", "png"];

/// Makes one thumbnail, in a worker process. An error in words is one that the decoder has noticed.
fn thumbnail((picture, small): (PathBuf, PathBuf)) -> Result<(), String> {
    let make = || {
        let mut reader = ImageReader::open(&picture)?.with_guessed_format()?;
        reader.no_limits(); // the worker has one
        let format = reader.format().ok_or("neither PNG nor JPEG")?;
        let mut scaled = reader.decode()?;
        if scaled.width().max(scaled.height()) > SIDE {
            scaled = scaled.thumbnail(SIDE, SIDE);
        }
        fs::create_dir_all(small.parent().ok_or("no directory")?)?;
        // Under its own name only when it is whole: this process may be ended at any time.
        let mut part = small.clone().into_os_string();
        part.push(".part");
        match format {
            image::ImageFormat::Jpeg => scaled.to_rgb8().save_with_format(&part, format)?,
            _ => scaled.save_with_format(&part, format)?,
        }
        fs::rename(part, &small)?;
        Ok(())
    };
    make().map_err(|error: Box<dyn Error>| error.to_string())
}

/// All pictures under `dir`, by name; `except` is not looked into.
fn pictures(dir: &Path, except: &Path, found: &mut Vec<PathBuf>) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries.flatten(),
        Err(error) => return eprintln!("{}: {error}", dir.display()),
    };
    for path in entries.map(|entry| entry.path()) {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if path.is_dir() && !path.is_symlink() {
            if path.canonicalize().ok().as_deref() != Some(except) {
                pictures(&path, except, found);
            }
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            found.push(path);
        }
    }
}

/// The thumbnail is there, and not older than the picture.
fn is_done(picture: &Path, small: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
    matches!((changed(picture), changed(small)), (Ok(picture), Ok(small)) if small >= picture)
}

fn arguments() -> Option<(Duration, PathBuf, PathBuf)> {
    let mut args = std::env::args_os().skip(1).peekable();
    let mut timeout = Duration::from_secs(10);
    if args.next_if(|word| word == "--timeout").is_some() {
        let seconds = args.next()?.to_str()?.parse().ok()?;
        timeout = Duration::try_from_secs_f64(seconds).ok()?;
    }
    let (dir, out) = (args.next()?.into(), args.next()?.into());
    args.next().is_none().then_some((timeout, dir, out))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    trefoil::init(); // a worker is this program, too: in it, this line never returns

    let (timeout, dir, out) = arguments().ok_or("usage: thumbnails [--timeout SECONDS] DIR OUT")?;
    fs::create_dir_all(&out)?;
    let mut jobs = Vec::new();
    pictures(&dir, &out.canonicalize()?, &mut jobs);
    jobs.sort();
    let all = jobs.len();
    let jobs = jobs.into_iter().map(|picture| {
        let small = out.join(picture.strip_prefix(&dir).unwrap_or(&picture));
        (picture, small)
    });
    let jobs: Vec<_> = jobs
        .filter(|(picture, small)| !is_done(picture, small))
        .collect();
    let left_alone = all - jobs.len();

    let mut builder = ProcessPool::builder();
    if !cfg!(target_os = "macos") {
        builder = builder.memory_limit(MEMORY); // macOS has no such limit
    }
    let procs = builder.build()?;
    let call = procs.call(thumbnail).timeout(timeout);
    let (mut made, mut failed) = (0, 0);
    // Results in the order of the pictures; two hundred may be ahead of one that takes long.
    let bar = ProgressBar::new(jobs.len() as u64); // only where there is a terminal
    let results = call.imap(jobs.clone()).buffer(200).with_bar(bar.clone());
    for ((picture, _), result) in jobs.iter().zip(results) {
        let trouble = match result {
            Ok(Ok(())) => {
                made += 1;
                continue;
            }
            Ok(Err(noticed)) => noticed,
            Err(error) => error.to_string(), // a crash, a limit, a panic of the decoder
        };
        failed += 1;
        bar.suspend(|| eprintln!("{}: {trouble}", picture.display()));
    }
    bar.finish_and_clear();
    println!("{made} made, {left_alone} left alone, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}
