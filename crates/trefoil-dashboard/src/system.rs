//! What the system reports of this program, its threads and its worker processes.

use std::fmt;

use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

use crate::snapshot::{ProcessView, SHOWN, ThreadView};

/// This program, its threads and its worker processes at one moment.
///
/// It is made anew for each snapshot: nothing of processes that have ended piles up.
pub(crate) struct Processes {
    /// `None`: this system reports nothing.
    system: Option<System>,
    own: Pid,
    threads: Vec<Pid>,
    threads_left_out: usize,
}

impl Processes {
    /// Looks at this program, its threads and these children.
    pub(crate) fn look(children: &[u32]) -> Self {
        let mut new = Self {
            system: System::new().ok(),
            own: Pid::from_u32(std::process::id()),
            threads: Vec::new(),
            threads_left_out: 0,
        };
        let Some(system) = &mut new.system else {
            return new;
        };
        let what = ProcessRefreshKind::nothing().with_memory().with_cpu();
        let own = [new.own];
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&own), true, what.with_tasks());
        let threads = system.process(new.own).and_then(Process::tasks);
        new.threads = threads.into_iter().flatten().copied().collect();
        new.threads.sort_unstable();
        new.threads_left_out = new.threads.len().saturating_sub(SHOWN);
        new.threads.truncate(SHOWN);
        let children = children.iter().map(|pid| Pid::from_u32(*pid));
        let others: Vec<Pid> = children.chain(new.threads.iter().copied()).collect();
        let others = ProcessesToUpdate::Some(&others);
        system.refresh_processes_specifics(others, true, what.without_tasks());
        new
    }

    /// This program.
    pub(crate) fn own(&self) -> Option<ProcessView> {
        self.system.as_ref()?.process(self.own).map(view)
    }

    /// This program's threads except the first, and how many are left out.
    pub(crate) fn threads(&self) -> (Vec<ThreadView>, usize) {
        let view = |id: &Pid| {
            let thread = self.system.as_ref()?.process(*id)?;
            Some(ThreadView {
                id: id.as_u32(),
                name: thread.name().to_string_lossy().into_owned(),
                state: state(thread.status()),
                processor_ms: thread_time(*id)?,
            })
        };
        let views = self.threads.iter().filter_map(view);
        (views.collect(), self.threads_left_out)
    }

    /// The child with this number. Of a worker on another machine, the number may be that of a
    /// process here which has nothing to do with it.
    pub(crate) fn child(&self, pid: u32) -> Option<ProcessView> {
        let process = self.system.as_ref()?.process(Pid::from_u32(pid))?;
        (process.parent() == Some(self.own)).then(|| view(process))
    }
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processes").finish_non_exhaustive()
    }
}

fn view(process: &Process) -> ProcessView {
    ProcessView {
        state: state(process.status()),
        memory: process.memory(),
        peak: peak(process.pid()),
        processor_ms: process.accumulated_cpu_time(),
        age_s: process.run_time(),
    }
}

/// The most memory that a process has ever had (Linux).
fn peak(process: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// The processor time of a thread of this program, in milliseconds (Linux). What sysinfo reads is
/// that of all threads together.
#[cfg(target_os = "linux")]
fn thread_time(thread: Pid) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // what is before it is the name
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

#[cfg(not(target_os = "linux"))]
fn thread_time(_: Pid) -> Option<u64> {
    None
}

fn state(status: ProcessStatus) -> String {
    match status {
        ProcessStatus::Run => "computes".to_owned(),
        ProcessStatus::Sleep | ProcessStatus::Idle => "waits".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    #[test]
    fn each_thread_has_its_own_processor_time() {
        let (stop, stopped) = mpsc::channel::<()>();
        let idle = std::thread::Builder::new().name("idle".to_owned());
        let idle = idle.spawn(move || _ = stopped.recv()).unwrap();
        let time_of = |name: &str| {
            let (threads, _) = Processes::look(&[]).threads();
            let thread = threads.iter().find(|thread| thread.name == name);
            thread.map(|thread| thread.processor_ms)
        };
        let busy = std::thread::Builder::new().name("busy".to_owned());
        let busy = busy.spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(60);
            while time_of("busy") < Some(100) && Instant::now() < deadline {}
            (time_of("busy"), time_of("idle"))
        });
        let (busy, of_idle) = busy.unwrap().join().unwrap();
        drop(stop);
        idle.join().unwrap();
        assert!(busy >= Some(100) && of_idle.is_some_and(|time| time < 50));
    }
}
