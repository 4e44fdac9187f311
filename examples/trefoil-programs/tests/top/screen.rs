//! The live screen, in a real terminal.

use rustix::process::{Pid, Signal, kill_process};

use crate::TOP;
use crate::support::Scratch;
use crate::tmux::{self, Terminal};
use crate::watched::Watched;

/// The program, and its screen.
fn start(name: &str, size: (u32, u32)) -> Option<(Scratch, Watched, Terminal)> {
    tmux::is_here().then(|| {
        let folder = Scratch::private(name);
        let watched = Watched::start(&folder.0, &[("TREFOIL_TOP", "1")]);
        let command = format!("{TOP} {}", watched.pid());
        let terminal = Terminal::run(&command, &folder.0, size);
        terminal.shows("squares: 1 of 2 workers busy");
        (folder, watched, terminal)
    })
}

#[test]
fn everything_is_shown() {
    let Some((_folder, watched, terminal)) = start("top-shown", (110, 30)) else {
        return;
    };
    for text in [
        "parsers: ",
        "4 threads",
        "sleepy",
        "item 0",
        "event loop on loop",
        "two",
    ] {
        terminal.shows(text); // the first screen may be earlier than some of it
    }
    terminal.keys(&["Tab"]);
    let screen = terminal.shows("tasks, page 1 of 3, as a tree");
    assert!(
        screen.contains("`sleepy`: waits for its result"),
        "{screen}"
    );
    // A name is text, whatever it has in it.
    assert!(screen.contains("`fruit \u{fffd}[2J`"), "{screen}");

    terminal.keys(&["Right", "Right"]);
    terminal.shows("page 3 of 3");
    terminal.keys(&["s"]);
    terminal.shows("250  examples/trefoil-programs/tests/top/watched.rs");
    terminal.keys(&["Enter"]);
    terminal.shows("page 1 of 3, of examples/trefoil-programs/tests/top/watched.rs");
    terminal.keys(&["Escape", "n", "/", "waiter 12"]);
    let screen = terminal.shows("filter: waiter 12");
    assert!(!screen.contains("`sleepy`"), "{screen}");
    terminal.shows("waiter 129: 0 queued, 0 running, 1 waiting");
    terminal.keys(&["Enter", "3"]);
    terminal.shows("75 %");
    terminal.keys(&["4"]);
    terminal.shows("2 tasks wait for one another");
    terminal.keys(&["5"]);
    terminal.shows("boom \u{fffd}[31m <b>");
    terminal.keys(&["6"]);
    terminal.shows("greedy");
    terminal.keys(&["q"]);
    terminal.shows("it has left 0");
    watched.end();
}

#[test]
fn a_task_is_cancelled_after_a_confirmation() {
    let Some((_folder, mut watched, terminal)) = start("top-cancel", (100, 24)) else {
        return;
    };
    terminal.keys(&["2", "/", "fruit", "Enter"]);
    // (Each letter filters, and the tasks come a moment later.)
    terminal.selects("`fruit");
    terminal.keys(&["c"]);
    terminal.shows("Cancel task");
    terminal.keys(&["n"]);
    terminal.shows("c cancel");
    terminal.keys(&["c"]);
    terminal.shows("Cancel task");
    terminal.keys(&["y"]);
    assert!(watched.hears("fruit has ended:").contains("Cancelled"));
    terminal.shows("is cancelled");
    terminal.keys(&["C-c"]);
    terminal.shows("it has left 0");
}

#[test]
fn a_worker_is_replaced_after_a_confirmation() {
    let Some((_folder, mut watched, terminal)) = start("top-replace", (100, 24)) else {
        return;
    };
    // (The first row is that of the threads, the second that of the pool.)
    let screen = terminal.shows("sleepy");
    let rows = screen.lines().skip(3);
    let busy = rows.take_while(|row| !row.contains("sleepy")).count();
    for _ in 0..busy {
        terminal.keys(&["Down"]);
    }
    terminal.keys(&["r"]);
    terminal.shows("Kill worker process");
    terminal.keys(&["y"]);
    assert!(watched.hears("the call has ended:").contains("SIGKILL"));
    terminal.shows("is replaced");
    terminal.shows("1 died");
}

#[test]
fn any_size_will_do() {
    let Some((_folder, watched, terminal)) = start("top-size", (110, 30)) else {
        return;
    };
    for (width, height) in [(40, 10), (12, 4), (3, 2), (1, 1), (200, 60)] {
        for keys in ["1", "2", "5", "c"] {
            terminal.resize(width, height);
            terminal.keys(&[keys]);
        }
    }
    terminal.keys(&["1", "1"]); // the first may be the answer to what `c` has asked
    terminal.shows("squares: 1 of 2 workers busy");
    terminal.resize(40, 12);
    terminal.shows("1 of 6: Executors");
    // Its end is noticed.
    watched.end();
    terminal.shows("it has left 1");
    terminal.shows("there is no process");
}

#[test]
fn without_colours_nothing_has_a_colour() {
    let Some((folder, watched, terminal)) = start("top-colours", (110, 30)) else {
        return;
    };
    let green = "\u{1b}[38;5;2m";
    let screen = terminal.shows_coloured("sleepy");
    assert!(screen.contains(green), "{screen:?}");
    let command = format!("NO_COLOR=1 {TOP} {}", watched.pid());
    let terminal = Terminal::run(&command, &folder.0, (110, 30));
    let screen = terminal.shows_coloured("sleepy");
    assert!(!screen.contains(green), "{screen:?}");
}

/// After a signal the terminal is as it was: the shell's text is there again, and what is typed.
#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let Some((folder, watched, _first)) = start("top-signal", (80, 24)) else {
        return;
    };
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let command = format!("echo before; {TOP} {}", watched.pid());
        let terminal = Terminal::run(&command, &folder.0, (80, 24));
        terminal.shows("squares");
        let pid = terminal.process("trefoil-top").cast_signed();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        let screen = terminal.shows("it has left 0");
        assert!(screen.contains("before"), "{screen}");
        terminal.keys(&["echoed", "Enter"]);
        terminal.shows("echoed");
    }
}
