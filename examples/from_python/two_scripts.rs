//! Two scripts, started as processes and found again by name in the list of all processes.
//!
//! The scripts are three lines of shell each. The loop starts them, asks the system
//! for the list, and waits for them; a third task could do anything else meanwhile.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
use trefoil::io::{Child, Command, fs};
use trefoil::{Task, spawn_blocking};

/// Prints that it is ready, waits for a line, and prints its name.
const SCRIPT: &str = "echo ready\nread line\necho \"I was process $$\"\n";

/// The processes that run the script `name`, as `psutil` and `pgrep -f` find them. It reads a file
/// for each process of the machine, so it is not for the loop's own thread.
fn find(name: &str) -> Task<Result<Vec<u32>, sysinfo::Error>> {
    let name = OsString::from(name);
    spawn_blocking(move || {
        let mut system = System::new()?;
        let wanted = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always);
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, wanted);
        let named = |word: &OsString| Path::new(word).file_name() == Some(&*name);
        let found = system.processes().values().filter(|process| {
            // On Linux the threads of a process are listed, too.
            process.thread_kind().is_none() && process.cmd().iter().any(named)
        });
        Ok(found.map(|process| process.pid().as_u32()).collect())
    })
}

async fn start(script: &Path) -> io::Result<Child> {
    let mut shell = Command::new("sh");
    shell
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let child = shell.kill_on_drop(true).spawn()?;
    let output = child.stdout.as_ref().expect("it is piped");
    output.read_exact(&mut [0; 6]).await?; // "ready", and the end of the line
    Ok(child)
}

async fn scripts(dir: PathBuf) -> io::Result<()> {
    // Names that no other process on the machine has.
    let names = ["one", "two"].map(|name| format!("trefoil-{name}-{}.sh", std::process::id()));
    let mut children = Vec::new();
    for name in &names {
        let path = dir.join(name);
        fs::write(&path, SCRIPT).await?;
        children.push(start(&path).await?);
        println!("started {name}");
    }

    for (name, child) in names.iter().zip(&children) {
        let found = find(name).await?.map_err(io::Error::other)?;
        assert!(
            found.contains(&child.id()),
            "{name} is {}, found {found:?}",
            child.id()
        );
        println!("found {name} as process {}", child.id());
    }

    for (name, mut child) in names.iter().zip(children) {
        let input = child.stdin.take().expect("it is piped");
        input.write_all(b"go on\n").await?;
        let end = child.wait_with_output().await?;
        let words = String::from_utf8_lossy(&end.stdout);
        println!("{name} says \"{}\" and ends: {}", words.trim(), end.status);
    }
    let found = find(&names[0]).await?.map_err(io::Error::other)?;
    println!("found after that: {found:?}");
    Ok(())
}

fn main() -> io::Result<()> {
    let dir = std::env::temp_dir().join(format!("trefoil-two-scripts-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let result = trefoil::run(scripts(dir.clone()));
    std::fs::remove_dir_all(dir)?;
    result
}
