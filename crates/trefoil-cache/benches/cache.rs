//! What caching and recording cost, and joblib's `Memory` for comparison.
//!
//! ```text
//! cargo bench -p trefoil-cache                                # with joblib, if TREFOIL_PYTHON has it
//! ```
//!
//! Each figure is the median of five rounds; what is compared takes turns.

use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

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

fn main() {
    trefoil::init();
    let folder: PathBuf =
        std::env::temp_dir().join(format!("trefoil-bench-{}", std::process::id()));
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
    let mut all = [const { Vec::new() }; 4];
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
        time(3, &mut || _ = black_box(sums.key(&large).expect("a key")));
    }
    let [read, fresh, keyed, again] = all.map(middle);
    println!(
        "80 MB keyed, of reading them       {:8.2}      (goal: 1.5; {keyed:.1} ms; into new memory: {:.2})",
        keyed / read,
        keyed / fresh
    );
    println!("the same array again, in µs        {:8.1}", again * 1e3);
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
    println!("the same, of a process pool's imap {calls:8.0}");
    drop(procs);
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
