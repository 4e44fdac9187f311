//! Competitors: other programs that compute while a benchmark runs, and one processor for all.
//!
//! Users' machines are busy, so each row can also be measured under a [`Load`] (`--load`), its
//! peers in the same run. A competitor is a process of its own, a plain loop. There is one for each
//! processor that the benchmark may use, and none is bound to one of them. It ends with the
//! benchmark, however that ends.
//!
//! Checked by the tests below.

use std::hint::black_box;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, nice, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Asks this program to be a competitor; its nice value follows.
const FLAG: &str = "--compete";

/// What else happens on the machine while a benchmark runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The nice value of the competitors, of which there is one for each processor; `None`: nobody
    /// competes.
    pub nice: Option<i32>,
    /// The whole benchmark, with the processes that it starts, has one processor.
    pub one: bool,
}

/// All loads, by their names on the command line.
pub const LOADS: [(&str, Load); 5] = {
    const fn load(nice: Option<i32>, one: bool) -> Load {
        Load { nice, one }
    }
    [
        ("quiet", load(None, false)),
        ("busy", load(Some(0), false)),
        ("nice", load(Some(10), false)),
        ("one", load(None, true)),
        ("one-busy", load(Some(0), true)),
    ]
};

impl Load {
    /// That with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let found = LOADS.iter().find(|(each, _)| *each == name);
        found.map(|(_, load)| *load)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = LOADS.iter().find(|(_, load)| *load == self);
        found.map_or("", |(name, _)| name)
    }

    /// Begins it: confines this thread, and what it starts from now on, to the first of its
    /// processors, and starts the competitors there.
    #[must_use]
    pub fn begin(self) -> Competitors {
        if self.one {
            let mut one = CpuSet::new();
            one.set(processors()[0]);
            sched_setaffinity(None, &one).expect("we may run there");
        }
        let one = |nice: i32| {
            let program = std::env::current_exe().expect("this program has a file");
            let mut command = Command::new(program);
            command.args([FLAG, &nice.to_string()]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.spawn().expect("this program starts again")
        };
        let count = processors().len();
        let all = self
            .nice
            .map(|nice| (0..count).map(|_| one(nice)).collect());
        Competitors(all.unwrap_or_default())
    }
}

/// The processors that this thread may use.
fn processors() -> Vec<usize> {
    let all = sched_getaffinity(None).expect("Linux says where we may run");
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| all.is_set(*cpu))
        .collect()
}

/// If this process was started as a competitor: computes until its parent ends.
pub fn compete() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(FLAG) {
        return;
    }
    let own = args.next().and_then(|own| own.parse().ok());
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    nice(own.expect("a nice value")).expect("it may be nicer");
    for n in 0_u64.. {
        black_box(n);
    }
}

/// The competitors. They end with this.
#[derive(Debug)]
pub struct Competitors(Vec<Child>);

impl Drop for Competitors {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_load_has_a_name() {
        for (name, load) in LOADS {
            assert_eq!((Load::named(name), load.name()), (Some(load), name));
        }
        assert_eq!(Load::named("bussy"), None);
        assert_eq!(Load::default().name(), "quiet");
    }
}
