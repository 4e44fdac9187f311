//! Failed items as files, and what runs and reads them again.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

#[path = "../../../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio, abort, exit};
use std::time::Duration;

use support::{Dice, Odd, Test, kill, pool, tests, until};
use trefoil::{Bulk, ProcessPool, Shared, TaskError};
use trefoil_capsules::{Capsule, KeepFailures, capsule_of, groups, replayable, replayable_with};

fn main() {
    support::sleep();
    names();
    trefoil_capsules::init();
    helpers();
    support::main(&[TESTS]);
}

/// A directory for one test, removed when dropped.
struct Kept(PathBuf);

impl Kept {
    fn new(name: &str) -> Self {
        let name = format!("trefoil-kept-{name}-{}", process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// Those with an item.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "capsule"))
            .collect()
    }

    fn builder(&self) -> trefoil::ProcessPoolBuilder {
        ProcessPool::builder().workers(2).keep_failures(&self.0)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn opened(error: &TaskError) -> Capsule {
    let path = capsule_of(error).unwrap_or_else(|| panic!("not kept: {error}"));
    let capsule = Capsule::open(&path).unwrap();
    let text = error.to_string();
    let (text, place) = text.rsplit_once("; the item is kept in ").unwrap();
    assert!(
        capsule.error().starts_with(text) && Path::new(place) == path,
        "{error}"
    );
    assert_eq!(capsule.item(), error.item());
    capsule
}

/// This program, which runs the item in the file.
fn replaying(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("TREFOIL_REPLAY", path).stdin(Stdio::null());
    command
}

fn replay(error: &TaskError) -> Output {
    replaying(&capsule_of(error).unwrap()).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ends in one of many ways.
fn poison((kind, n): (u8, u32)) -> Odd {
    match kind {
        0 => panic!("poison {n}"),
        1 => exit(n as i32 % 200 + 1),
        2 => abort(),
        3 => Odd(1), // no result
        #[cfg(unix)]
        4..10 => {
            let signals = [
                libc::SIGSEGV,
                libc::SIGBUS,
                libc::SIGILL,
                libc::SIGFPE,
                libc::SIGTERM,
                libc::SIGKILL,
            ];
            loop {
                #[allow(unsafe_code)]
                // SAFETY: a call with a number.
                unsafe {
                    libc::raise(signals[usize::from(kind - 4)]);
                }
                // (std's handler lets the first SIGSEGV or SIGBUS return.)
            }
        }
        10 => Odd(black_box(vec![1u8; 1 << 40])[n as usize]),
        11 => {
            eprintln!("poison {n} runs");
            support::forever()
        }
        _ => Odd(0),
    }
}

/// Runs the item of a kept failure, with a name for its function.
fn elsewhere(error: &TaskError, function: Option<&str>) -> (Option<i32>, String) {
    let mut command = replaying(&capsule_of(error).unwrap());
    command.envs(function.map(|name| ("TREFOIL_REPLAY_FN", name)));
    let output = command.output().unwrap();
    (output.status.code(), words(&output))
}

#[allow(clippy::ptr_arg)] // a context has a size
fn looks_up(context: &Vec<u32>, n: u32) -> u32 {
    exit(context[n as usize] as i32)
}

fn ends_otherwise((_, n): (u8, u32)) -> Odd {
    exit(100 + n as i32)
}

/// A type as it will be, whose function gets a name; and with a pool the error of an item of the
/// type that it was.
fn takes_a_row(procs: Option<&ProcessPool>) -> Option<TaskError> {
    {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Row {
            added: String,
        }
        replayable("takes_a_row", |row: Row| -> u32 {
            exit(row.added.len() as i32)
        });
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Row {
        length: u32,
    }
    let call = procs?.call(|row: Row| -> u32 { exit(row.length as i32) });
    let task = call.name("takes_a_row").spawn(Row { length: 3 });
    task.join().err()
}

fn ends_by_its_text(text: String) {
    match text.get(..1) {
        Some("a") => panic!("an a, {} letters", text.len()),
        Some("b") => panic!("a b, {} letters", text.len()),
        _ => exit(3),
    }
}

/// Before `init`.
fn names() {
    replayable("ends_by_its_text", ends_by_its_text);
    replayable("poison", poison);
    replayable("sees", sees);
    replayable("is_empty", is_empty);
    replayable_with("looks_in_shared", looks_in_shared);
    #[cfg(unix)]
    replayable("takes_a_sender", takes_a_sender);
    replayable("ends_otherwise", ends_otherwise);
    replayable("takes_text", |text: String| -> u32 {
        exit(text.len() as i32)
    });
    replayable_with("looks_up", looks_up);
    takes_a_row(None);
}

type Argument = (String, Bulk<f64>, Shared<u16>, Bulk<u8>);

fn sees(all: Argument) -> u32 {
    eprintln!(
        "{} {} {}",
        all.0,
        all.1[49_999],
        all.2[4999] + u16::from(all.3[9])
    );
    panic!("seen");
}

fn looks_in_shared(context: &Shared<u32>, n: u32) -> u32 {
    match context[n as usize % 10] + n {
        1 => n,
        n => exit(n as i32 - 50),
    }
}

fn is_empty(path: PathBuf) {
    let inner = pool(1);
    let text = inner.spawn(path, |path: PathBuf| fs::read_to_string(path).unwrap());
    assert!(text.join().unwrap().is_empty(), "broken");
}

#[cfg(unix)]
fn takes_a_sender((_, n): (trefoil::process::channel::Sender<u32>, u32)) -> u32 {
    exit(n as i32)
}

tests! {
    fn each_kind_of_failure_is_kept() {
        let kept = Kept::new("kinds");
        let procs = kept.builder().build().unwrap();
        let careful = procs.call(poison).name("poisons");
        for (kind, text) in [(0, "poison 5"), (1, "code 6"), (2, "killed by signal 6"), (3, "never written")] {
            if cfg!(windows) && kind == 2 {
                continue;
            }
            for error in [
                careful.spawn((kind, 5)).join().unwrap_err(),
                careful.map([(99, 0), (kind, 5), (99, 1)]).unwrap_err(),
                careful.map_each([(99, 0), (kind, 5)]).pop().unwrap().unwrap_err(),
                careful.imap([(kind, 5)]).next().unwrap().unwrap_err(),
            ] {
                let capsule = opened(&error);
                assert_eq!(capsule.argument::<(u8, u32)>().unwrap(), (kind, 5));
                assert!(capsule.error().contains(text), "{capsule}");
                assert_eq!(capsule.function(), Some("poison")); // not the call's name
                if let TaskError::WorkerDied(exit) = &error && let Some(frames) = exit.backtrace() {
                    assert!(capsule.to_string().contains(&format!("{frames:#}")), "{capsule}");
                }
            }
        }
        let late = careful.timeout(Duration::from_millis(20)).map([(99, 0), (11, 3)]).unwrap_err();
        assert!(matches!(late, TaskError::TimedOut(_)));
        assert_eq!(opened(&late).argument::<(u8, u32)>().unwrap(), (11, 3));
        // One that cannot be decoded in the worker, and a result that cannot be decoded here.
        let odd = procs.spawn(Odd(2), |odd: Odd| odd.0).join().unwrap_err();
        let undecoded = opened(&odd).argument::<Odd>().unwrap_err();
        assert!(undecoded.to_string().contains("never read"), "{undecoded}");
        for error in [
            procs.spawn(2, Odd).join().unwrap_err(),
            procs.map([0, 2, 0], Odd).unwrap_err(),
        ] {
            assert_eq!(opened(&error).argument::<u8>().unwrap(), 2);
        }
        // What has no argument, or did not fail by itself.
        let unencoded = procs.spawn(Odd(1), |odd: Odd| odd.0).join().unwrap_err();
        assert_eq!(capsule_of(&unencoded), None);
        let calls = procs.stats();
        assert_eq!((calls.pending, calls.failed), (0, 20));
        assert_eq!(kept.files().len(), 20);
    }

    /// What failed in a copy of a fork server ends in replay as it did.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn failures_of_copies_are_kept_and_replayed() {
        use std::os::unix::process::ExitStatusExt;
        if support::is_plain() {
            return;
        }
        let kept = Kept::new("copies");
        let builder = kept.builder().start_method(trefoil::process::StartMethod::ForkServer);
        let procs = builder.build().unwrap();
        for (kind, end) in [(0, (Some(101), None)), (1, (Some(6), None)), (2, support::ABORTED)] {
            let error = procs.spawn((kind, 5), poison).join().unwrap_err();
            assert_eq!(opened(&error).argument::<(u8, u32)>().unwrap(), (kind, 5));
            let again = replay(&error);
            assert_eq!((again.status.code(), again.status.signal()), end, "{}", words(&again));
        }
        assert_eq!(kept.files().len(), 3);
    }

    /// It ran when the time of its whole call was over. One that did not run is not kept.
    fn an_item_that_runs_at_the_end_of_its_call_is_kept() {
        for plain in [false, true] {
            let kept = Kept::new("within");
            let procs = kept.builder().workers(1).plain_workers(plain).build().unwrap();
            let mut limit = Duration::from_millis(20);
            let mut written = 0;
            loop {
                let first = procs.call(poison).within(limit).spawn((11, 3));
                let late = procs.call(poison).within(Duration::from_millis(1));
                let behind = late.spawn((11, 4)).join().unwrap_err();
                // As long as the first has not ended, the second waits.
                let waited = !first.is_finished();
                let error = first.join().unwrap_err();
                let TaskError::TimedOut(late) = &error else { panic!("{error}") };
                written += [&error, &behind].iter().filter(|e| capsule_of(e).is_some()).count();
                assert_eq!(capsule_of(&error).is_some(), late.worker().is_some());
                if waited && late.worker().is_some() {
                    assert_eq!(capsule_of(&behind), None, "it waited behind the first");
                    assert_eq!(opened(&error).argument::<(u8, u32)>().unwrap(), (11, 3));
                    break;
                }
                limit *= 2;
            }
            let stats = procs.stats();
            assert_eq!((stats.pending, kept.files().len()), (0, written));
            assert_eq!(stats.failed, stats.timed_out);
            assert_eq!(procs.spawn((99, 0), poison).join().unwrap().0, 0);
        }
    }

    fn the_death_that_ends_its_pool_is_kept() {
        let kept = Kept::new("restarts");
        let builder = kept.builder().workers(1);
        let procs = builder.max_restarts(0, Duration::from_secs(600)).build().unwrap();
        let error = procs.spawn((2, 7), poison).join().unwrap_err();
        assert_eq!(opened(&error).argument::<(u8, u32)>().unwrap(), (2, 7));
        let later = procs.spawn((99, 0), poison).join().unwrap_err();
        assert!(later.to_string().contains("max_restarts"), "{later}");
    }

    fn of_a_call_alone_and_of_none() {
        let kept = Kept::new("call");
        let procs = pool(1);
        let error = procs.spawn((0, 1), poison).join().unwrap_err();
        assert_eq!(capsule_of(&error), None);
        assert!(!error.to_string().contains("kept"));
        let error = procs.call(poison).keep_failures(&kept.0).spawn((0, 1)).join().unwrap_err();
        assert!(capsule_of(&error).unwrap().starts_with(&kept.0));
        assert_eq!(opened(&error).argument::<(u8, u32)>().unwrap(), (0, 1));
        // Only what fails for good.
        let again = procs.call(poison).keep_failures(&kept.0).retry(2).spawn((1, 1)).join();
        assert!(opened(&again.unwrap_err()).error().contains("attempt 3"));
        assert_eq!(kept.files().len(), 2);
    }

    fn what_lies_outside_the_bytes_is_kept() {
        let make = || -> Argument {
            let numbers: Vec<f64> = (0..50_000).map(f64::from).collect();
            ("text".to_owned(), numbers.into(), vec![7; 5000].into(), vec![3; 3 << 20].into())
        };
        let kept = Kept::new("outside");
        for plain in [false, true] {
            let procs = kept.builder().plain_workers(plain).build().unwrap();
            let error = procs.spawn(make(), sees).join().unwrap_err();
            let capsule = opened(&error);
            assert!(capsule.argument::<Argument>().unwrap() == make());
            let output = replay(&error);
            assert_eq!(output.status.code(), Some(101));
            assert!(words(&output).contains("text 49999 10"), "{}", words(&output));
        }
    }

    fn contexts_are_there_and_actors_are_not() {
        let kept = Kept::new("around");
        let procs = kept.builder().build().unwrap();
        let context: Shared<u32> = vec![1; 10].into();
        let error = procs.map_with(&context, [0, 99], looks_in_shared).unwrap_err();
        assert_eq!(opened(&error).argument::<u32>().unwrap(), 99);
        assert_eq!(replay(&error).status.code(), Some(50));
        let actor = kept.builder().build_actor(4, |n: u32| n).unwrap();
        let dead = actor.call(5, |n: u32, kept: &mut u32| -> u32 { exit((n * 10 + *kept) as i32) });
        let error = dead.join().unwrap_err();
        assert_eq!(opened(&error).argument::<u32>().unwrap(), 5);
        let output = replay(&error);
        assert_eq!(output.status.code(), Some(64), "{}", words(&output));
    }

    #[cfg(unix)] // its signals
    fn poisons_end_in_replay_as_they_did() {
        use std::os::unix::process::ExitStatusExt;
        let kept = Kept::new("poisons");
        let builder = kept.builder().keep_failures_within(&kept.0, usize::MAX, u64::MAX);
        let procs = builder.memory_limit(1 << 30).build().unwrap();
        let mut dice = Dice(0x51_7cc1_b727_220a);
        let poisons: Vec<(u8, u32)> = (0..support::kills().clamp(60, 1000))
            .map(|n| (dice.roll(12) as u8, n as u32))
            .collect();
        // (Only what hangs has a limit: the others take as long as they need on a busy machine.)
        let call = procs.call(poison);
        let hangs = call.clone().timeout(Duration::from_millis(300));
        let ends: Vec<_> = poisons
            .iter()
            .map(|&(kind, n)| match kind {
                11 => hangs.spawn((kind, n)),
                _ => call.spawn((kind, n)),
            })
            .collect();
        for ((kind, n), end) in poisons.into_iter().zip(ends) {
            let error = end.join().unwrap_err();
            assert_eq!(opened(&error).argument::<(u8, u32)>().unwrap(), (kind, n));
            if let TaskError::TimedOut(_) = error {
                assert_eq!(kind, 11, "{error}");
                // It runs, and does not end.
                let mut command = replaying(&capsule_of(&error).unwrap());
                let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
                let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
                assert!(lines.any(|line| line.unwrap() == format!("poison {n} runs")));
                assert_eq!(child.try_wait().unwrap(), None);
                kill(child.id());
                child.wait().unwrap();
                continue;
            }
            let output = replay(&error);
            let seen = (output.status.code(), output.status.signal());
            let expected = match &error {
                TaskError::WorkerDied(exit) => support::end_of(exit),
                TaskError::Panicked(panic) => {
                    assert!(words(&output).contains(panic.message()));
                    (Some(101), None)
                }
                TaskError::Codec(_) => (Some(65), None),
                other => panic!("{other}"),
            };
            assert_eq!(seen, expected, "{error}: {}", words(&output));
            let words = words(&output);
            assert!(words.contains("trefoil: replays "), "{words}");
        }
    }

    fn a_value_is_no_failure_and_an_item_may_have_a_pool() {
        let kept = Kept::new("mended");
        let broken = kept.0.with_extension("broken");
        fs::write(&broken, "x").unwrap();
        let procs = kept.builder().build().unwrap();
        let error = procs.spawn(broken.clone(), is_empty).join().unwrap_err();
        assert!(matches!(error, TaskError::Panicked(_)));
        assert_eq!(replay(&error).status.code(), Some(101));
        fs::write(&broken, "").unwrap();
        let output = replay(&error);
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        assert!(words(&output).contains("returned a value"));
        fs::remove_file(&broken).unwrap();
    }

    fn there_are_no_more_than_may_be() {
        let kept = Kept::new("limits");
        let fail = |procs: &ProcessPool, n: u32| {
            let error = procs.spawn((0, n), poison).join().unwrap_err();
            capsule_of(&error)
        };
        let few = kept.builder().keep_failures_within(&kept.0, 2, u64::MAX).build().unwrap();
        let first: Vec<_> = (0..4).map(|n| fail(&few, n)).collect();
        assert_eq!(first.iter().flatten().count(), 2);
        assert_eq!(kept.files().len(), 2);
        // It counts what is there, so another pool keeps none, until one is removed.
        let other = kept.builder().keep_failures_within(&kept.0, 2, u64::MAX).build().unwrap();
        assert_eq!(fail(&other, 1), None);
        fs::remove_file(&kept.files()[0]).unwrap();
        assert!(fail(&other, 1).is_some());
        let bytes: u64 = kept.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        let small = kept.builder().keep_failures_within(&kept.0, 9, bytes + 100).build().unwrap();
        assert_eq!(fail(&small, 2), None);
        assert_eq!(kept.files().len(), 2, "nothing is left of what had no room");
    }

    fn what_cannot_be_written_costs_only_the_file() {
        let kept = Kept::new("file");
        fs::write(&kept.0, "a file").unwrap();
        let procs = ProcessPool::builder().workers(1).keep_failures(kept.0.join("below")).build().unwrap();
        let error = procs.map([(99, 0), (0, 1)], poison).unwrap_err();
        assert_eq!((error.item(), capsule_of(&error)), (Some(1), None));
        assert!(matches!(error, TaskError::Panicked(_)));
        assert_eq!(procs.stats().pending, 0);
        fs::remove_file(&kept.0).unwrap();
    }

    fn files_stay_where_they_were_when_the_program_goes_away() {
        let (output, _) = support::run_helper("goes_away");
        assert!(output.contains("where it was"), "{output}");
    }

    #[cfg(target_os = "linux")] // its limit
    fn a_full_disk_costs_only_the_file() {
        let (output, _) = support::run_helper("full_disk");
        assert!(output.contains("as if it were not kept"), "{output}");
    }

    #[cfg(unix)] // its modes
    fn only_this_user_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let kept = Kept::new("modes");
        let procs = kept.builder().build().unwrap();
        let error = procs.spawn((0, 1), poison).join().unwrap_err();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&capsule_of(&error).unwrap()), 0o600);
        assert_eq!(mode(&kept.0), 0o700);
    }

    fn a_pool_that_is_dropped_at_once_leaves_whole_files_or_none() {
        let kept = Kept::new("dropped");
        for n in 0..20 {
            let procs = kept.builder().build().unwrap();
            let calls: Vec<_> = (0..4).map(|kind| procs.spawn((kind, n), poison)).collect();
            if n % 2 == 0 {
                for call in &calls {
                    call.cancel();
                }
            }
            drop(procs);
            for call in calls {
                if let Some(path) = capsule_of(&call.join().unwrap_err()) {
                    assert!(Capsule::open(path).is_ok());
                }
            }
        }
        // (A thread may still write the last ones.)
        until(|| kept.files().iter().all(|path| Capsule::open(path).is_ok()));
    }

    fn damaged_and_foreign_files_are_refused() {
        let kept = Kept::new("damaged");
        let procs = kept.builder().build().unwrap();
        let error = procs.spawn((1, 6), poison).join().unwrap_err();
        let path = &capsule_of(&error).unwrap();
        let whole = fs::read(path).unwrap();
        let refused = |command: &mut Command| {
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(64), "{}", words(&output));
            words(&output)
        };
        for (bytes, why) in [
            (&b"something else"[..], "that a pool of this version has kept"),
            (&whole[..whole.len() - 1], "damaged"),
            (&[&whole[..], b"x"].concat(), "damaged"),
        ] {
            fs::write(path, bytes).unwrap();
            let error = Capsule::open(path).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(why), "{error}");
            assert!(refused(&mut replaying(path)).contains(why));
        }
        let missing = kept.0.join("missing");
        let words = refused(&mut replaying(&missing));
        assert!(words.contains("it cannot replay") && words.contains("missing"), "{words}");
        // An empty name is none.
        assert!(replaying(Path::new("")).arg("--list").output().unwrap().status.success());
    }

    /// Otherwise a read of a device has no end, and a FIFO has to be written to.
    #[cfg(unix)] // its devices
    fn only_what_may_be_a_capsule_is_read() {
        let kept = Kept::new("none");
        fs::create_dir(&kept.0).unwrap();
        let at = |name: &str| kept.0.join(name);
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        for path in [Path::new("/dev/zero"), &at("fifo"), &kept.0] {
            let error = Capsule::open(path).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
            assert!(error.to_string().ends_with("is not a regular file"), "{error}");
        }
        // Longer than any memory, and no capsule.
        fs::File::create(at("long")).unwrap().set_len(1 << 42).unwrap();
        let error = Capsule::open(at("long")).unwrap_err();
        assert!(error.to_string().contains("that a pool of this version has kept"), "{error}");
        // Longer than any memory, and it begins as one.
        let procs = kept.builder().build().unwrap();
        let whole = capsule_of(&procs.spawn((1, 6), poison).join().unwrap_err()).unwrap();
        let bytes = fs::read(&whole).unwrap();
        for length in [(1 << 30) + 1, 1 << 42] {
            fs::write(&whole, &bytes).unwrap();
            fs::File::options().append(true).open(&whole).unwrap().set_len(length).unwrap();
            let error = Capsule::open(&whole).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
            assert!(error.to_string().contains("longer than the file of an item may be"), "{error}");
            assert!(groups(&kept.0).unwrap().len() <= 1);
        }
        // Every byte of one may be anything.
        for at in 0..bytes.len() {
            for other in [0, 0x7f, 0xff, bytes[at] ^ 1] {
                let mut changed = bytes.clone();
                changed[at] = other;
                fs::write(&whole, &changed).unwrap();
                assert_eq!(Capsule::open(&whole).is_ok(), changed == bytes);
                assert!(groups(&kept.0).unwrap().len() <= 1);
            }
        }
    }

    /// A hundred deaths of one cause are one entry, and leave room for others.
    fn items_that_end_the_same_way_are_a_group() {
        let kept = Kept::new("groups");
        let builder = kept.builder().workers(1).keep_failures_within(&kept.0, 8, u64::MAX);
        let procs = builder.build().unwrap();
        let fail = |text: &str| procs.spawn(text.to_owned(), ends_by_its_text).join().unwrap_err();
        let begin = std::time::SystemTime::now() - Duration::from_secs(1);
        let first = capsule_of(&fail(&"a".repeat(500))).unwrap();
        let mut smallest = None;
        for n in 0..30 {
            let length = [400, 50, 600, 90, 70, 800][n % 6] + n / 6;
            let path = capsule_of(&fail(&"a".repeat(length)));
            smallest = if length == 50 { path } else { smallest };
        }
        assert_eq!(kept.files().len(), 8);
        // Others come later, and find room. (An exit code, another line, another function.)
        assert!(capsule_of(&fail("exit")).is_some());
        assert!(capsule_of(&fail("b")).is_some());
        let other = procs.spawn((1, 4), poison).join().unwrap_err();
        assert!(capsule_of(&other).is_some());
        assert_eq!(kept.files().len(), 8);
        let all = groups(&kept.0).unwrap();
        let counts: Vec<u64> = all.iter().map(trefoil_capsules::Group::count).collect();
        assert_eq!(counts, [31, 1, 1, 1], "{all:?}");
        let group = &all[0];
        assert_eq!((group.files(), group.function()), (5, Some("ends_by_its_text")));
        assert!(group.how().starts_with("panicked at crates/trefoil-capsules/tests"), "{group}");
        assert!(group.first() >= begin && group.last() >= group.first());
        assert_eq!(Some(group.smallest()), smallest.as_deref());
        // The first, and the smallest.
        assert!(first.exists());
        let mut lengths: Vec<usize> = kept.files().into_iter().filter_map(|path| {
            let capsule = Capsule::open(path).unwrap();
            let is_one = capsule.error().contains("an a");
            is_one.then(|| capsule.argument::<String>().unwrap().len())
        }).collect();
        lengths.sort_unstable();
        assert_eq!(lengths[..3], [50, 51, 52]);
        assert!(lengths.contains(&500), "{lengths:?}");
    }

    /// What lies in the directory, and is no file of an item, hinders nothing.
    fn other_files_in_the_directory_are_left_alone() {
        let kept = Kept::new("others");
        let builder = kept.builder().workers(1).keep_failures_within(&kept.0, 6, u64::MAX);
        let procs = builder.build().unwrap();
        let fail = |text: &str| procs.spawn(text.to_owned(), ends_by_its_text).join().unwrap_err();
        for n in 0..8 {
            fail(&"a".repeat(n + 1));
        }
        assert_eq!((kept.files().len(), groups(&kept.0).unwrap()[0].count()), (6, 8));
        // The file that counts those that are not kept cannot be written any more.
        let is_count = |path: &PathBuf| path.extension().is_some_and(|end| end == "dropped");
        let paths = || fs::read_dir(&kept.0).unwrap().map(|entry| entry.unwrap().path());
        let count = paths().find(is_count).unwrap();
        fs::remove_file(&count).unwrap();
        fs::create_dir_all(count.join("inner")).unwrap();
        assert!(capsule_of(&fail(&"a".repeat(50))).is_none());
        assert!(capsule_of(&fail("b")).is_some(), "another cause has room");
        // Folders, links and text are counted as files, and are no groups.
        fs::create_dir(kept.0.join("folder.capsule")).unwrap();
        fs::write(kept.0.join("text.capsule"), "trefoil capsule 4\n").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/dev/zero", kept.0.join("link.capsule")).unwrap();
        let all = groups(&kept.0).unwrap();
        assert_eq!(all.iter().map(trefoil_capsules::Group::files).sum::<usize>(), 6, "{all:?}");
        let exit = capsule_of(&fail("exit"));
        assert!(exit.is_none_or(|path| path.exists()));
        assert!(kept.0.join("folder.capsule").exists() && count.join("inner").exists());
    }

    /// A name that somebody has chosen sends nothing to a terminal.
    fn control_characters_are_escaped_when_they_are_shown() {
        let kept = Kept::new("control");
        let procs = kept.builder().workers(1).build().unwrap();
        let exits = |row: Vec<u8>| -> u32 { exit(row[0].into()) };
        let call = procs.call(exits).name("red \u{1b}[31m\r\u{9b}");
        let error = call.spawn(vec![7]).join().unwrap_err();
        let capsule = opened(&error);
        assert_eq!(capsule.function(), Some("red \u{1b}[31m\r\u{9b}"));
        for text in [capsule.to_string(), groups(&kept.0).unwrap()[0].to_string()] {
            assert!(text.contains(r"`red \u{1b}[31m\r\u{9b}`"), "{text}");
        }
    }

    /// Its path is in the note all the same.
    #[cfg(target_os = "linux")] // elsewhere names are text
    fn a_directory_may_have_any_name() {
        use std::os::unix::ffi::OsStrExt;
        let kept = Kept::new("named");
        let dir = kept.0.join(std::ffi::OsStr::from_bytes(b"no text \xff %41"));
        let procs = ProcessPool::builder().workers(1).keep_failures(&dir).build().unwrap();
        let error = procs.spawn((0, 1), poison).join().unwrap_err();
        let path = capsule_of(&error).unwrap();
        assert_eq!(path.parent(), Some(&*dir));
        assert_eq!(Capsule::open(&path).unwrap().argument::<(u8, u32)>().unwrap(), (0, 1));
        assert!(error.to_string().contains("the item is kept in the escaped path /"), "{error}");
    }

    /// It finds the functions by their names, and what they take by those of the types.
    fn a_function_is_found_by_its_name() {
        let kept = Kept::new("elsewhere");
        let procs = kept.builder().build().unwrap();
        let named = procs.spawn((1, 6), poison).join().unwrap_err();
        assert_eq!(opened(&named).function(), Some("poison"));
        let (code, words) = elsewhere(&named, None);
        assert_eq!(code, Some(7), "{words}");
        assert!(words.contains("trefoil: replays "), "{words}");
        assert_eq!(elsewhere(&named, Some("ends_otherwise")).0, Some(106));
        let context = vec![1, 2, 3];
        let with = procs.map_with(&context, [0, 2], looks_up).unwrap_err();
        assert_eq!(opened(&with).function(), Some("looks_up"));
        assert_eq!(elsewhere(&with, None).0, Some(1 + 2 * i32::from(with.item() == Some(1))));
        // By the call's name, and by none.
        let own = |(n, _): (u8, u32)| -> u32 { exit(n.into()) };
        let call = procs.call(own).name("ends_otherwise").spawn((1, 6)).join().unwrap_err();
        assert_eq!(elsewhere(&call, None).0, Some(106));
        let unnamed = procs.spawn((1, 6), own).join().unwrap_err();
        assert_eq!(elsewhere(&unnamed, Some("ends_otherwise")).0, Some(106));
        let changed = takes_a_row(Some(&procs)).unwrap();
        for (error, name, code, why) in [
            (&unnamed, None, 64, "it names no function"),
            (&named, Some("nobody"), 64, "no function is called `nobody` here"),
            (&named, Some("takes_text"), 64, "takes `alloc::string::String` here, and had `(u8, u32)` there"),
            (&named, Some("looks_up"), 64, "takes `&alloc::vec::Vec<u32>, u32` here"),
            (&with, Some("ends_otherwise"), 64, "and had `&alloc::vec::Vec<u32>, u32` there"),
            (&changed, None, 65, "could not be decoded: missing field `added`"),
        ] {
            let (seen, words) = elsewhere(error, name);
            assert_eq!(seen, Some(code), "{words}");
            assert!(words.contains(why), "{words}");
        }
    }

    #[cfg(unix)] // elsewhere there are no channels
    fn what_cannot_be_kept_is_named() {
        let kept = Kept::new("ends");
        if support::is_plain() {
            return;
        }
        let procs = kept.builder().build().unwrap();
        let (sender, _receiver) = trefoil::process::channel::<u32>(1).unwrap();
        let error = procs.spawn((sender, 3), takes_a_sender).join().unwrap_err();
        let capsule = opened(&error);
        assert!(capsule.to_string().contains("not kept: an open file, the end of a channel"), "{capsule}");
        let refused = capsule.argument::<(trefoil::process::channel::Sender<u32>, u32)>();
        assert!(refused.unwrap_err().to_string().contains("the end of a channel"));
        let output = replay(&error);
        assert_eq!(output.status.code(), Some(65), "{}", words(&output));
    }
}

fn helpers() {
    support::helper(&[("full_disk", full_disk), ("goes_away", goes_away)]);
}

/// A program that goes to another directory.
fn goes_away() {
    let kept = Kept::new("away");
    let [here, there] = ["here", "there"].map(|name| kept.0.join(name));
    fs::create_dir_all(&here).unwrap();
    fs::create_dir_all(&there).unwrap();
    std::env::set_current_dir(&here).unwrap();
    let procs = ProcessPool::builder().workers(1).keep_failures("kept");
    let procs = procs.build().unwrap();
    let call = procs.call(poison).keep_failures("of the call");
    std::env::set_current_dir(&there).unwrap();
    let errors = [procs.spawn((0, 0), poison), call.spawn((0, 0))];
    for (task, dir) in errors.into_iter().zip(["kept", "of the call"]) {
        let error = task.join().unwrap_err();
        let path = capsule_of(&error).unwrap();
        assert!(
            path.starts_with(here.join(dir)) && path.exists(),
            "{path:?}"
        );
    }
    println!("where it was");
}

/// No file may have more than a few bytes.
#[cfg(target_os = "linux")]
fn full_disk() {
    let kept = Kept::new("full");
    let procs = kept.builder().build().unwrap();
    let error = procs.spawn((0, 0), poison).join().unwrap_err();
    assert!(capsule_of(&error).is_some());
    let limit = rustix::process::Rlimit {
        current: Some(50),
        maximum: Some(50),
    };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    let error = procs.spawn((0, 1), poison).join().unwrap_err();
    assert!(matches!(error, TaskError::Panicked(_)) && capsule_of(&error).is_none());
    assert_eq!(kept.files().len(), 1, "nothing is left of it");
    println!("as if it were not kept");
}

#[cfg(not(target_os = "linux"))]
fn full_disk() {}
