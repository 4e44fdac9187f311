//! The machine: how slow is it, and who else is using it?

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use crate::work;

/// How much slower this machine is than the one that the goals were set on: sequential
/// fib took 1.2 ns for each inner call there. At least 1.
#[must_use]
pub fn slowness() -> f64 {
    static SLOWNESS: OnceLock<f64> = OnceLock::new();
    *SLOWNESS.get_or_init(|| {
        const DEPTH: u32 = 26;
        let each = |_| {
            let start = Instant::now();
            black_box(work::fib(black_box(DEPTH)));
            start.elapsed().as_nanos() as f64 / work::fib_joins(DEPTH) as f64
        };
        (0..21).map(each).fold(f64::INFINITY, f64::min).max(1.2) / 1.2
    })
}

/// What the processors have done so far, in hundredths of a second: by everybody, and
/// by this process and the children that it has waited for. None where `/proc` is not.
fn busy() -> Option<(u64, u64)> {
    let all = std::fs::read_to_string("/proc/stat").ok()?;
    let all = all.lines().next()?.split_whitespace().skip(1);
    // User, nice, system, (idle, waiting,) interrupts twice, stolen by other guests.
    let all = all.take(8).enumerate().filter(|(i, _)| ![3, 4].contains(i));
    let all = all.filter_map(|(_, n)| n.parse::<u64>().ok()).sum();
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything: user and system time, and the children's.
    let own = own.rsplit_once(')')?.1.split_whitespace();
    let own = own
        .skip(11)
        .take(4)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Some((all, own))
}

/// A stretch of time, and what others did in it.
pub struct Stretch(Instant, Option<(u64, u64)>);

impl Stretch {
    /// From now on.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now(), busy())
    }

    /// Until now, in words.
    #[must_use]
    pub fn end(&self) -> String {
        let seconds = self.0.elapsed().as_secs_f64();
        let others = || {
            let ((all, own), (all_now, own_now)) = (self.1?, busy()?);
            let others = (all_now - all).saturating_sub(own_now - own) as f64 / 100.0;
            Some(format!(", others took {:.2} processors", others / seconds))
        };
        format!("{seconds:.1} s{}", others().unwrap_or_default())
    }
}
