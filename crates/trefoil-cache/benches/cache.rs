//! What caching and recording cost, and joblib's `Memory` for comparison.
//!
//! ```text
//! cargo bench -p trefoil-cache                                # with joblib, if TREFOIL_PYTHON has it
//! ```
//!
//! Each figure is the median of five rounds.

use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use trefoil::{Bulk, Inline, ThreadPool};
use trefoil_cache::{Cache, JournaledExecutor};

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

fn median(mut round: impl FnMut(u64) -> f64) -> f64 {
    let mut all: Vec<f64> = (0..5).map(&mut round).collect();
    all.sort_by(f64::total_cmp);
    all[2]
}

fn per(count: u64, begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn spin(micros: u64) -> u64 {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
    micros
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
    let large = Bulk::from(vec![1.5f64; 10_000_000]);
    let sums = cache.function("sum", 1, |large: Bulk<f64>| large.iter().sum::<f64>());
    let keyed = median(|_| {
        let begin = Instant::now();
        black_box(sums.key(&large).expect("a key"));
        per(1_000, begin)
    });
    let file = folder.join("large");
    fs::write(&file, vec![7u8; 80_000_000]).expect("room on the disk");
    let mut bytes = vec![0; 80_000_000];
    let read = median(|_| {
        let begin = Instant::now();
        let mut file = fs::File::open(&file).expect("the file");
        file.read_exact(&mut bytes).expect("its bytes");
        per(1_000, begin)
    });
    println!(
        "80 MB keyed, of reading them       {:8.2}      (goal: 1.5; {keyed:.1} ms)",
        keyed / read
    );
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
    let again = median(|_| {
        let begin = Instant::now();
        Inline
            .journal(&journal)
            .map(0..200_000, |n: u64| n)
            .expect("results");
        200_000.0 / begin.elapsed().as_secs_f64()
    });
    println!("recorded items read a second       {again:8.0}");
    let plain = median(|_| {
        let begin = Instant::now();
        black_box(pool.map(0..1_000u64, |_| spin(1_000)));
        per(1, begin)
    });
    let recorded = median(|_| {
        let _ = fs::remove_file(&journal);
        let begin = Instant::now();
        let map = pool.journal(&journal).map(0..1_000, |_: u64| spin(1_000));
        black_box(map.expect("results"));
        per(1, begin)
    });
    println!(
        "items of 1 ms with a journal       {:8.3}      (goal: 1.03 of without)",
        recorded / plain
    );
    let _ = fs::remove_dir_all(folder);
}
