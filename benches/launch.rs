//! `cargo bench`: starts `tables`, which lives with all the peers in `trefoil-benches`.
//!
//! So one command without options is enough in a checkout, and `cargo test` builds no peer. The
//! options after `--` are passed on: `benches/src/tables.rs` has them.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let options: Vec<String> = std::env::args().skip(1).collect();
    if !options.iter().any(|option| option == "--bench") {
        return ExitCode::SUCCESS; // a test that it runs, and it does
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "run",
        "--locked",
        "--profile",
        "bench",
        "--package",
        "trefoil-benches",
    ]);
    // As `tables` itself builds the rest, so that what they share is built once.
    command.args(["--features", "forte", "--ignore-rust-version"]);
    command.args(["--bin", "tables", "--"]).args(options);
    let status = command.status().expect("cargo starts");
    ExitCode::from(u8::from(!status.success()))
}
