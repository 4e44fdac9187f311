//! A run: when, where, of what, and how busy the machine was.
//!
//! The id is the time and a few digits by chance; every table and plot bears it. Without it
//! figures of different days look alike.
//!
//! Checked by the tests below.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One run of `tables`.
pub struct Run {
    /// `20260131-2359-3fa9`: in UTC.
    pub id: String,
    /// `2026-01-31 23:59 UTC`.
    pub date: String,
    /// The machine, in words.
    pub machine: String,
    /// What was measured, and with what it was made.
    pub versions: String,
    /// How the benchmarks were optimised.
    pub optimisation: &'static str,
    /// Peers, with their versions.
    pub peers: String,
    /// The load average when it began.
    pub load: String,
}

/// Year, month, day of a day after 1970 (the proleptic Gregorian calendar).
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March, so that the leap day is the last of one.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// The first line that such a command prints; nothing, if there is no such command.
fn says(program: &str, args: &[&str], at: &Path) -> String {
    let output = Command::new(program).args(args).current_dir(at).output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// A file of the system, or nothing.
fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The value of `key : value`.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(name, _)| name.trim() == key);
    found.map_or("", |(_, value)| value.trim())
}

/// The load average of the last minute.
#[must_use]
pub fn load() -> String {
    let text = file("/proc/loadavg");
    text.split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}

fn machine() -> String {
    let cpu = file("/proc/cpuinfo");
    let model = match value(&cpu, "model name") {
        "" => std::env::consts::ARCH,
        model => model,
    };
    let guest = value(&cpu, "flags")
        .split(' ')
        .any(|flag| flag == "hypervisor");
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kibi = value(&file("/proc/meminfo"), "MemTotal").to_owned();
    let kibi: f64 = kibi.trim_end_matches(" kB").parse().unwrap_or(0.0);
    let kernel = file("/proc/sys/kernel/osrelease");
    let kind = if guest { "virtual " } else { "" };
    // The version without what a distribution hangs behind it.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    let system = match kernel {
        "" => std::env::consts::OS.to_owned(),
        kernel => format!("Linux {kernel}"),
    };
    format!(
        "{count} {kind}processors ({model}), {:.0} GiB, {system}",
        kibi / f64::from(1 << 20)
    )
}

/// The version of a crate, by the lock file.
fn version_of<'a>(name: &str, lock: &'a str) -> &'a str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = lock
        .split(&entry)
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    version.unwrap_or("?")
}

/// The crates that the manifest names as dependencies, with the versions of the lock file.
fn versions_of(manifest: &str, lock: &str) -> String {
    let section = manifest
        .split("[dependencies]\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let mut out = String::new();
    for line in section.lines() {
        let Some((name, _)) = line.split_once(" = ") else {
            continue;
        };
        if ["trefoil", "rustix", "plotters"].contains(&name) {
            continue;
        }
        let comma = if out.is_empty() { "" } else { ", " };
        let _ = write!(out, "{comma}{name} {}", version_of(name, lock));
    }
    out
}

/// `2026-01-31 23:59 UTC`, so long after 1970.
fn date(now: Duration) -> String {
    let (year, month, day) = civil(now.as_secs() / 86_400);
    let (hour, minute) = (now.as_secs() / 3_600 % 24, now.as_secs() / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// Where and when, for a record that is made a document elsewhere.
#[must_use]
pub fn here_and_now() -> String {
    format!("Measured on {}, {}.", machine(), date(now()))
}

impl Run {
    /// Begins now; `top` is the checkout.
    #[must_use]
    pub fn begin(top: &Path) -> Self {
        let now = now();
        let chance = now.subsec_nanos() ^ std::process::id();
        let commit = says("git", &["rev-parse", "--short=9", "HEAD"], top);
        let changed = says(
            "git",
            &[
                "status",
                "--porcelain",
                "--untracked-files=no",
                "--",
                "src",
                "benches",
                "Cargo.toml",
                "Cargo.lock",
            ],
            top,
        );
        let commit = match (commit.as_str(), changed.as_str()) {
            ("", _) => String::new(),
            (commit, "") => format!(" at {commit}"),
            (commit, _) => format!(" at {commit}, changed since"),
        };
        let read = |name: &str| std::fs::read_to_string(top.join(name)).unwrap_or_default();
        let mut peers = versions_of(&read("benches/Cargo.toml"), &read("Cargo.lock"));
        let python = says(
            "python3",
            &["-c", "import sys; print('CPython', sys.version.split()[0])"],
            top,
        );
        let loky = says(
            "python3",
            &["-c", "import joblib; print('joblib', joblib.__version__)"],
            top,
        );
        for python in [python, loky].iter().filter(|text| !text.is_empty()) {
            peers = format!("{peers}, {python}");
        }
        Self {
            id: format!(
                "{}-{:04x}",
                date(now)
                    .replace(" UTC", "")
                    .replace(['-', ':'], "")
                    .replace(' ', "-"),
                chance & 0xffff
            ),
            date: date(now),
            machine: machine(),
            versions: format!(
                "trefoil {}{commit}, {}",
                version_of("trefoil", &read("Cargo.lock")),
                says("rustc", &["-V"], top),
            ),
            // (The programs are built by this process's children, in the same environment.)
            optimisation: match std::env::var("CARGO_PROFILE_BENCH_LTO").as_deref() {
                Ok("false") => "no link-time optimisation",
                _ => "thin link-time optimisation",
            },
            peers,
            load: load(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_453), (2025, 12, 31));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    #[test]
    fn peers_have_versions() {
        let manifest = "[dependencies]\ntrefoil = { path = \"..\" }\nrayon = \"1\"\nsmol = { version = \"2\" }\n\n[[bench]]\nname = \"x\"\n";
        let lock = "[[package]]\nname = \"rayon\"\nversion = \"1.12.0\"\n\n[[package]]\nname = \"smolder\"\nversion = \"9\"\n\n[[package]]\nname = \"smol\"\nversion = \"2.0.2\"\n";
        assert_eq!(versions_of(manifest, lock), "rayon 1.12.0, smol 2.0.2");
    }

    #[test]
    fn a_run_says_where_and_of_what() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let run = Run::begin(top);
        assert_eq!(run.id.len(), "20260131-2359-3fa9".len(), "{}", run.id);
        assert!(run.machine.contains("processors"), "{}", run.machine);
        assert!(run.versions.contains("rustc 1."), "{}", run.versions);
        assert!(run.peers.contains("rayon 1."), "{}", run.peers);
        assert!(!run.peers.contains('?'), "{}", run.peers);
    }
}
