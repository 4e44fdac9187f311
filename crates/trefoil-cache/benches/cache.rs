//! What caching and recording cost, and joblib's `Memory` for comparison.
//!
//! ```text
//! cargo bench -p trefoil-cache                        # with joblib, if TREFOIL_PYTHON has it
//! cargo bench -p trefoil-cache -- --entries 1000000   # only this: hits and misses among so many
//! ```
//!
//! Each figure is the median of five rounds; what is compared takes turns. On Linux, what a journal
//! costs is also measured in processor time and in system calls, which other programs hardly
//! change. (For the latter, strace must be there.)

use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use trefoil::{Bulk, Inline, ProcessPool, ThreadPool};
use trefoil_cache::{Cache, JournaledCall, JournaledExecutor};

const PEER: &str = r#"
import joblib, sys, time, tempfile, statistics
memory = joblib.Memory(sys.argv[1], verbose=0)
@memory.cache
def f(n): return n * 2
def rounds(low):
    times = []
    for r in range(5):
        begin = time.perf_counter()
        for n in range(low(r), low(r) + 200): f(n)
        times.append((time.perf_counter() - begin) / 200 * 1e6)
    return statistics.median(times)
f(-1)
print(rounds(lambda r: r * 200), rounds(lambda r: 0), joblib.__version__)
"#;

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn median(round: impl FnMut(u64) -> f64) -> f64 {
    middle((0..5).map(round).collect())
}

fn per(count: u64, begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e6 / count as f64
}

/// As much work as takes a millisecond where nothing else runs. (Not until a clock says so: under
/// load, a thread that waits for its turn would have finished its item.)
fn work(rounds: u64) -> u64 {
    (0..rounds).fold(rounds, |sum, n| black_box(sum.rotate_left(5) ^ n))
}

/// How many rounds of [`work`] take a millisecond.
fn rounds_of_a_millisecond() -> u64 {
    let quickest = (0..20).map(|_| {
        let begin = Instant::now();
        black_box(work(1_000_000));
        begin.elapsed()
    });
    let quickest = quickest.min().unwrap_or_default();
    1_000_000 * 1_000_000 / quickest.as_nanos().max(1) as u64
}

fn pause(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(1));
    n
}

/// The processor time in ns that the threads of these processes have used, or 0 if the system does
/// not have these books.
fn processor_time(processes: &[u32]) -> u64 {
    let tasks = processes
        .iter()
        .filter_map(|process| fs::read_dir(format!("/proc/{process}/task")).ok());
    let books = tasks.flatten().flatten().filter_map(|task| {
        let books = fs::read_to_string(task.path().join("schedstat")).ok()?;
        books.split(' ').next()?.parse::<u64>().ok()
    });
    books.sum()
}

/// How much processor time `with` takes more than `without`, in µs for each of `count` items.
fn more_time(processes: &[u32], count: u64, without: impl Fn(), with: impl Fn()) -> f64 {
    let time = |work: &dyn Fn()| {
        let begin = processor_time(processes);
        work();
        (processor_time(processes) - begin) as f64
    };
    median(|_| {
        let less = time(&without);
        (time(&with) - less) / 1e3 / count as f64
    })
}

/// What a journal adds to items of 1 ms. They sleep, so that there is nothing else to see.
fn print_cost_of_a_journal(pool: &ThreadPool, procs: &ProcessPool, journal: &Path) {
    let own = [std::process::id()];
    let all = [&own[..], &procs.worker_pids()].concat();
    let clear = || _ = fs::remove_file(journal);
    let threads = more_time(
        &own,
        500,
        || _ = pool.map(0..500, pause),
        || {
            clear();
            _ = pool.journal(journal).map(0..500, pause).expect("results");
        },
    );
    let call = procs.call(pause);
    let workers = more_time(
        &all,
        500,
        || _ = call.imap(0..500).count(),
        || {
            clear();
            let call = procs.call(pause).journal(journal);
            _ = call.imap(0..500).expect("a journal").count();
        },
    );
    println!(
        "processor time of a journal, in µs {threads:8.1}      (goal: 30, 3 % of items of 1 ms; \
         calls in workers: {workers:.1})"
    );
}

/// The number of system calls that this program makes with these arguments; `None` without strace.
fn system_calls(arguments: &[&str]) -> Option<f64> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c"]).arg(std::env::current_exe().ok()?);
    let end = strace.args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&end.stderr).into_owned();
    let total = text.lines().find(|line| line.ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

/// System calls for each miss, hit, and item of a map with a journal.
fn print_system_calls(folder: &Path) -> Option<()> {
    let folder = folder.join("counted").to_str()?.to_owned();
    let count = |what: &str, number: &str| {
        let _ = fs::remove_dir_all(&folder);
        system_calls(&["--counted", what, &folder, number])
    };
    let each = |what: &str| Some((count(what, "1000")? - count(what, "0")?) / 1e3);
    let (miss, hit) = (each("misses")?, each("hits")?);
    println!("system calls of a miss             {miss:8.1}      (a hit: {hit:.1})");
    let journal = each("recorded")? - each("plain")?;
    println!(
        "system calls of a recorded item    {journal:8.1}      (items of 1 ms; more than without)"
    );
    Some(())
}

/// What [`print_system_calls`] counts.
fn counted(what: &str, folder: &Path, number: u64) {
    if what == "misses" || what == "hits" {
        let cache = Cache::open(folder).expect("a folder");
        let double = cache.function("double", 1, |n: u64| n * 2);
        // (By then, all folders are there.)
        (0..3_000).for_each(|n| _ = double.call(&n).expect("a result"));
        let first = if what == "hits" { 0 } else { 3_000 };
        (first..first + number).for_each(|n| _ = double.call(&n).expect("a result"));
        return;
    }
    let pool = ThreadPool::with_threads(2);
    _ = match what {
        "plain" => pool.map(0..number, pause),
        _ => pool.journal(folder).map(0..number, pause).expect("results"),
    };
    let _ = fs::remove_file(folder);
}

/// Hits and misses among more and more entries of 100 bytes.
fn print_entries(folder: &Path, most: u64) {
    let cache = Cache::open(folder).expect("a folder");
    let small = cache.function("small", 1, |n: u64| [n | 1 << 55; 12]); // 8 bytes each
    let time = |n: u64| {
        let begin = Instant::now();
        let answer = small.call(&n).expect("a result");
        (begin.elapsed().as_secs_f64() * 1e6, answer.is_hit())
    };
    let text = |mut all: Vec<f64>| {
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        all.sort_by(f64::total_cmp);
        let at = |part: f64| all[(all.len() as f64 * part) as usize];
        format!(
            "median {:5.1}, 99 % below {:6.1}, mean {mean:5.1}",
            at(0.5),
            at(0.99)
        )
    };
    let mut random = 1u64;
    let mut hits = |count: u64, of: u64| {
        let hits = (0..count).map(|_| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (time, is_hit) = time((random >> 33) % of);
            assert!(is_hit);
            time
        });
        text(hits.collect())
    };
    println!("entries, in µs");
    let (mut count, mut goal) = (0, 1_000);
    while count < most {
        goal = (goal * 10).min(most);
        let begin = Instant::now();
        let misses: Vec<f64> = (count..goal).map(|n| time(n).0).collect();
        let second = (goal - count) as f64 / begin.elapsed().as_secs_f64();
        count = goal;
        println!("{count:9}   hits: {}", hits(10_000, count));
        println!("          misses: {}; {second:.0} a second", text(misses));
    }
    if drop_pages(folder).is_some() {
        println!("   from the disk: {}", hits(2_000, count));
    }
    let (mut files, mut bytes) = (0, 0);
    visit(folder, &mut |file| {
        files += 1;
        bytes += fs::metadata(file).map_or(0, |about| about.len());
    });
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!(
        "{files} files of {} MB together; {}",
        bytes / 1_000_000,
        peak.unwrap_or("the memory of this program is not known")
    );
}

fn visit(folder: &Path, with: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => visit(&path, with),
            path => with(&path),
        }
    }
}

/// Drops what the page cache has of these files, and of no others; `None` without dd.
fn drop_pages(folder: &Path) -> Option<()> {
    let mut done = Some(());
    visit(folder, &mut |file| {
        let synced = fs::File::open(file).and_then(|file| file.sync_all());
        let input = format!("if={}", file.display());
        let mut dd = Command::new("dd");
        let end = dd.args([&input, "iflag=nocache", "count=0"]).output();
        let is_dropped = synced.is_ok() && end.is_ok_and(|end| end.status.success());
        done = done.filter(|()| is_dropped);
    });
    done
}

fn main() {
    trefoil::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(|argument| &**argument).collect();
    if let ["--counted", what, folder, number] = arguments[..] {
        return counted(what, Path::new(folder), number.parse().expect("a number"));
    }
    let folder: PathBuf =
        std::env::temp_dir().join(format!("trefoil-bench-{}", std::process::id()));
    if let ["--entries", most, ..] = arguments[..] {
        print_entries(&folder, most.parse().expect("how many entries"));
        let _ = fs::remove_dir_all(folder);
        return;
    }
    let cache = Cache::open(&folder).expect("a folder");
    let double = cache.function("double", 1, |n: u64| n * 2);
    let misses = median(|round| {
        let begin = Instant::now();
        (round * 1_000..round * 1_000 + 1_000).for_each(|n| _ = double.call(&n).expect("a result"));
        per(1_000, begin)
    });
    let hits = median(|_| {
        let begin = Instant::now();
        (0..1_000).for_each(|n| assert!(double.call(&n).expect("a result").is_hit()));
        per(1_000, begin)
    });
    println!("a miss beyond the function         {misses:8.1} µs   (goal: 60)");
    println!("a hit                              {hits:8.1} µs   (goal: 20)");
    let python = std::env::var("TREFOIL_PYTHON").unwrap_or("python3".to_owned());
    let peer = Command::new(python)
        .args(["-c", PEER])
        .arg(folder.join("joblib"))
        .output();
    match peer {
        Ok(output) if output.status.success() => {
            print!(
                "joblib: miss, hit in µs, version   {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
        _ => println!("joblib: not installed"),
    }
    let sums = cache.function("sum", 1, |large: Bulk<f64>| large.iter().sum::<f64>());
    let file = folder.join("large");
    fs::write(&file, vec![7u8; 80_000_000]).expect("room on the disk");
    let mut bytes = vec![0; 80_000_000];
    let mut all = [const { Vec::new() }; 3];
    for _ in 0..7 {
        let large = Bulk::from(vec![1.5f64; 10_000_000]);
        let mut time = |what: usize, work: &mut dyn FnMut()| {
            let begin = Instant::now();
            work();
            all[what].push(begin.elapsed().as_secs_f64() * 1e3);
        };
        time(0, &mut || {
            let mut file = fs::File::open(&file).expect("the file");
            file.read_exact(&mut bytes).expect("its bytes");
        });
        time(1, &mut || {
            _ = black_box(fs::read(&file).expect("its bytes"));
        });
        time(2, &mut || _ = black_box(sums.key(&large).expect("a key")));
    }
    let [read, fresh, keyed] = all.map(middle);
    println!(
        "80 MB keyed, of reading them       {:8.2}      (goal: 1.5; {keyed:.1} ms; into new memory: {:.2})",
        keyed / read,
        keyed / fresh
    );
    let numbers = cache.function("numbers", 1, |large: Vec<f64>| large.len());
    let large = vec![1.5; 1_000_000];
    let one = median(|_| {
        let begin = Instant::now();
        black_box(numbers.key(&large).expect("a key"));
        per(1_000, begin)
    });
    println!("a number of a Vec keyed, in ns     {one:8.1}");
    let pool = ThreadPool::with_threads(2);
    let journal = folder.join("journal");
    let tiny = median(|_| {
        let _ = fs::remove_file(&journal);
        let begin = Instant::now();
        pool.journal(&journal)
            .map(0..200_000, |n: u64| n)
            .expect("results");
        200_000.0 / begin.elapsed().as_secs_f64()
    });
    println!("tiny items recorded a second       {tiny:8.0}      (goal: 200,000)");
    let procs = ProcessPool::with_workers(2).expect("workers");
    let calls = median(|_| {
        let _ = fs::remove_file(&journal);
        let begin = Instant::now();
        let call = procs.call(|n: u64| n).journal(&journal);
        let count = call.imap(0..100_000).expect("a journal").count();
        count as f64 / begin.elapsed().as_secs_f64()
    });
    println!("the same, of a process pool's imap {calls:8.0}      (goal: 200,000)");
    let calls = median(|_| {
        let _ = fs::remove_file(&journal);
        let begin = Instant::now();
        let call = procs.call(|n: u64| n).journal(&journal);
        let count = call.map(0..100_000).expect("results").len();
        count as f64 / begin.elapsed().as_secs_f64()
    });
    println!("the same, of its map               {calls:8.0}      (goal: 200,000)");
    print_cost_of_a_journal(&pool, &procs, &journal);
    drop(procs);
    if print_system_calls(&folder).is_none() {
        println!("system calls: strace does not work here");
    }
    let _ = fs::remove_file(&journal);
    let map = pool.journal(&journal).map(0..200_000, |n: u64| n);
    drop(map.expect("results"));
    let again = median(|_| {
        let begin = Instant::now();
        Inline
            .journal(&journal)
            .map(0..200_000, |n: u64| n)
            .expect("results");
        200_000.0 / begin.elapsed().as_secs_f64()
    });
    println!("recorded items read a second       {again:8.0}");
    let rounds = rounds_of_a_millisecond();
    let mut all = [const { Vec::new() }; 2];
    for _ in 0..15 {
        let _ = fs::remove_file(&journal);
        let begin = Instant::now();
        black_box(pool.map(vec![rounds; 500], work));
        all[0].push(per(1_000, begin));
        let begin = Instant::now();
        let map = pool.journal(&journal).map(vec![rounds; 500], work);
        black_box(map.expect("results"));
        all[1].push(per(1_000, begin));
    }
    // The quickest, because other programs only ever add to it.
    let [plain, recorded] = all.map(|all| all.into_iter().fold(f64::MAX, f64::min));
    println!(
        "items of 1 ms with a journal       {:8.3}      (goal: 1.03 of without; 500 in {:.0} ms)",
        recorded / plain,
        recorded
    );
    let _ = fs::remove_dir_all(folder);
}
