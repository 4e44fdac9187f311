//! Watch the processes of a program: names, ids, whether they run, threads, memory.
//!
//! ```text
//! cargo run --example process_monitor
//! ```
//!
//! Three named processes do different things; a table shows them before and after one of them is
//! stopped. The crate `sysinfo` reports the threads and the memory of a process; it also knows all
//! other processes of the machine.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use trefoil::{Process, SharedAtomics, TaskError};

/// The channels on which the processes say that they have started, and learn that they may end.
type Board = SharedAtomics<AtomicU32>;
const THERE: usize = 0;
const MAY_GO: usize = 1;

fn wait_for(board: &Board, place: usize, wanted: u32) {
    while board[place].load(Ordering::Acquire) < wanted {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until it may end.
fn idler(board: Board) -> String {
    board[THERE].fetch_add(1, Ordering::Release);
    wait_for(&board, MAY_GO, 1);
    "rested".to_owned()
}

/// Has four more threads.
fn crowd(board: Board) -> String {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                board[THERE].fetch_add(1, Ordering::Release);
                wait_for(&board, MAY_GO, 1);
            });
        }
    });
    "four of us".to_owned()
}

/// Has sixty-four megabytes, and never ends by itself.
fn hoarder(board: Board) -> String {
    let much = std::hint::black_box(vec![1u8; 64 << 20]);
    board[THERE].fetch_add(1, Ordering::Release);
    wait_for(&board, MAY_GO, u32::MAX);
    format!("{} bytes", much.len())
}

/// One line for each process.
fn show(system: &mut System, processes: &[Process<String>]) {
    let what = ProcessRefreshKind::nothing().with_memory().with_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    println!("name        pid  alive  threads  memory");
    for process in processes {
        let seen = system.process(Pid::from_u32(process.pid()));
        let seen = seen.filter(|_| process.is_alive());
        let threads = seen.map_or(0, |seen| 1 + seen.tasks().into_iter().flatten().count());
        let memory = seen.map_or(0, |seen| seen.memory() >> 20);
        let alive = if process.is_alive() { "yes" } else { "no" };
        let (name, pid) = (process.name(), process.pid());
        println!("{name:<8} {pid:>6}  {alive:<5}  {threads:>7}  {memory:>3} MB");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();
    let board = Board::new(2)?;
    let start = |name: &str, f| Process::builder().name(name).spawn(board.clone(), f);
    let processes = [
        start("idler", idler)?,
        start("crowd", crowd)?,
        start("hoarder", hoarder)?,
    ];
    wait_for(&board, THERE, 6);

    let mut system = System::new()?;
    show(&mut system, &processes);

    // They are in the list of all processes by their names, as in `ps` and `top`.
    let own = sysinfo::get_current_pid()?;
    let all = system.processes().values();
    let ours = all.filter(|seen| seen.parent() == Some(own) && seen.thread_kind().is_none());
    let names = ours.map(|seen| seen.name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    println!(
        "of {} processes these are ours: {names:?}",
        system.processes().len()
    );

    let [_, _, hoarder] = &processes;
    hoarder.terminate();
    while hoarder.is_alive() {
        thread::sleep(Duration::from_millis(1));
    }
    show(&mut system, &processes);

    board[MAY_GO].store(1, Ordering::Release);
    for process in processes {
        let name = process.name().to_owned();
        match process.join() {
            Ok(words) => println!("{name}: {words}"),
            Err(TaskError::WorkerDied(exit)) => println!("{name}: signal {:?}", exit.signal()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
