//! The machine: how slow it is, and how much other processes use it.

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

/// The processor time of a process and of the children that it has waited for, in hundredths of a
/// second; and its parent.
fn process(pid: &str) -> Option<(u64, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything: state, parent, ..., user and system time, and the
    // children's.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let times = fields
        .get(11..15)?
        .iter()
        .filter_map(|n| n.parse::<u64>().ok());
    Some((times.sum(), fields.get(1)?.parse().ok()?))
}

/// The processor time of this process and all its descendants.
fn own() -> Option<u64> {
    let all = std::fs::read_dir("/proc").ok()?.flatten();
    let all: Vec<(u32, u64, u32)> = all
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (time, parent) = process(&name)?;
            Some((name.parse().ok()?, time, parent))
        })
        .collect();
    let mut ours = vec![std::process::id()];
    let mut sum = all.iter().find(|each| each.0 == ours[0])?.1;
    while let Some(parent) = ours.pop() {
        for (pid, time, _) in all.iter().filter(|each| each.2 == parent) {
            sum += time;
            ours.push(*pid);
        }
    }
    Some(sum)
}

/// The processor time so far, in hundredths of a second: of all processes, and of this process and
/// its descendants. None without `/proc`.
fn busy() -> Option<(u64, u64)> {
    let all = std::fs::read_to_string("/proc/stat").ok()?;
    let all = all.lines().next()?.split_whitespace().skip(1);
    // User, nice, system, (idle, waiting,) interrupts twice, stolen by other guests.
    let all = all.take(8).enumerate().filter(|(i, _)| ![3, 4].contains(i));
    let all = all.filter_map(|(_, n)| n.parse::<u64>().ok()).sum();
    Some((all, own()?))
}

/// A stretch of time, and the processor time that others used in it.
pub struct Stretch(Instant, Option<(u64, u64)>);

impl Stretch {
    /// From now on.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now(), busy())
    }

    /// How long it has been.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    /// How many processors others have taken.
    #[must_use]
    pub fn others(&self) -> Option<f64> {
        let ((all, own), (all_now, own_now)) = (self.1?, busy()?);
        let others = all_now.saturating_sub(all);
        let others = others.saturating_sub(own_now.saturating_sub(own));
        Some(others as f64 / 100.0 / self.seconds())
    }

    /// Until now, in words.
    #[must_use]
    pub fn end(&self) -> String {
        let others = self.others();
        let others = others.map(|others| format!(", others took {others:.2} processors"));
        format!("{:.1} s{}", self.seconds(), others.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_not_others() {
        let Some(before) = own() else { return };
        // A child that has computed for a fifth of a second and is waited for.
        let script = "while read -r stat </proc/$$/stat; do set -- $stat; [ $((${14} + ${15})) -ge 20 ] && exit; done";
        let mut child = std::process::Command::new("sh");
        assert!(child.args(["-c", script]).status().unwrap().success());
        assert!(own().unwrap() >= before + 20);
    }
}
