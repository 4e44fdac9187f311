//! `trefoil-top PID`: what a program that runs on trefoil does, in a terminal.
//!
//! It asks the socket of `trefoil_dashboard::listen()`, once a second, and draws the answers: what
//! each thread and each worker process runs, all tasks, the progress of each `map`, deadlocks,
//! failures, slow polls. Here a task can be cancelled, and a worker process replaced.
//!
//! The terminal is left as it was, also after a panic or a signal. With `NO_COLOR`, or on a
//! terminal without colours, nothing has a colour.

mod app;
mod client;
mod draw;
mod report;
mod terminal;
mod views;

use std::io::{self, Write};
use std::process::ExitCode;

use client::Client;
use trefoil_dashboard::sockets;

const USAGE: &str = "\
usage: trefoil-top PID            what the program does, live
       trefoil-top --once PID     the same as text, once: for the report of a bug
       trefoil-top --json PID     the same as JSON

PID is a process that listens: its main calls trefoil_dashboard::listen(),
or listen_if_asked() and it was started with TREFOIL_TOP=1.

--json prints one object: `version` (1), `pid`, `program`, and what is described
in the documentation of trefoil_dashboard::sockets: `snapshot`, `notes` and
`tree` (null if there are more than 20000 tasks).
";

/// What is wanted.
enum Mode {
    Live,
    Once,
    Json,
}

fn arguments() -> Result<Option<(Mode, u32)>, String> {
    let mut mode = Mode::Live;
    let mut process = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--once" => mode = Mode::Once,
            "--json" => mode = Mode::Json,
            "-h" | "--help" => return Ok(None),
            number => match number.parse() {
                Ok(number) if process.is_none() => process = Some(number),
                Ok(_) => return Err("there is one PID at most".to_owned()),
                Err(_) => return Err(format!("`{argument}` is neither a PID nor an option")),
            },
        }
    }
    match process {
        Some(process) => Ok(Some((mode, process))),
        None => Err(match sockets::listening()[..] {
            [] => "which process? (None of yours listens.)".to_owned(),
            ref some => format!("which process? These listen: {some:?}"),
        }),
    }
}

fn main() -> ExitCode {
    let (mode, process) = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return printed(USAGE),
        Err(wrong) => {
            eprint!("trefoil-top: {wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = trefoil::run(async {
        let client = Client::connect(process).await?;
        match mode {
            Mode::Live => terminal::show(client).await.map(|()| None),
            Mode::Once => report::text(client).await.map(Some),
            Mode::Json => report::json(client).await.map(Some),
        }
    });
    match result {
        Ok(text) => printed(&text.unwrap_or_default()),
        Err(error) => {
            eprintln!("trefoil-top: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints, for somebody who may not read to the end.
fn printed(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
