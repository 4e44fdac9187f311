//! A real terminal: tmux, with a server of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::until;

/// A terminal in which one program runs.
pub(crate) struct Terminal {
    server: String,
}

/// Whether there is a tmux. Where there is none, the test says so.
pub(crate) fn is_here() -> bool {
    let version = Command::new("tmux")
        .arg("-V")
        .stdout(Stdio::null())
        .status();
    let is_here = version.is_ok_and(|status| status.success());
    if !is_here {
        println!("skipped: a real terminal needs tmux");
    }
    is_here
}

impl Terminal {
    /// Runs a shell command. What it leaves on the screen stays there.
    pub(crate) fn run(command: &str, folder: &Path, (width, height): (u32, u32)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            server: format!("trefoil-top-{}-{number}", std::process::id()),
        };
        let status = terminal
            .tmux()
            .env("XDG_RUNTIME_DIR", folder)
            .env("LC_ALL", "C.UTF-8")
            .args(["-f", "/dev/null", "new-session", "-d"])
            .args(["-x", &width.to_string(), "-y", &height.to_string()])
            .arg(format!("{command}; echo it has left $?; cat"))
            .status();
        assert!(status.unwrap().success());
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.server]);
        command
    }

    fn does(&self, arguments: &[&str]) {
        assert!(self.tmux().args(arguments).status().unwrap().success());
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        let arguments: Vec<&str> = ["send-keys"].iter().chain(keys).copied().collect();
        self.does(&arguments);
    }

    pub(crate) fn resize(&self, width: u32, height: u32) {
        let (width, height) = (width.to_string(), height.to_string());
        self.does(&["resize-window", "-x", &width, "-y", &height]);
    }

    /// The text on the screen, with the sequences for colours if `coloured`.
    fn capture(&self, coloured: bool) -> String {
        let mut command = self.tmux();
        command.args(["capture-pane", "-p"]);
        if coloured {
            command.arg("-e");
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// The screen, once it has this text.
    pub(crate) fn shows(&self, text: &str) -> String {
        until(|| self.capture(false), |screen| screen.contains(text))
    }

    /// The screen, once it has the details of a task whose title contains this.
    pub(crate) fn selects(&self, task: &str) -> String {
        let is_its = |line: &str| line.starts_with("│#") && line.contains(task);
        until(|| self.capture(false), |screen| screen.lines().any(is_its))
    }

    /// The screen, once it has this text, with the sequences for colours.
    pub(crate) fn shows_coloured(&self, text: &str) -> String {
        self.shows(text);
        self.capture(true)
    }

    /// The process that runs in the shell.
    pub(crate) fn process(&self, name: &str) -> u32 {
        let mut command = self.tmux();
        command.args(["display-message", "-p", "#{pane_pid}"]);
        let shell = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        let children = std::fs::read_to_string(children).unwrap();
        let is_it = |pid: &&str| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm.trim() == name)
        };
        let pid = children.split_whitespace().find(is_it);
        pid.expect("it runs").parse().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _it_may_have_ended = self.tmux().arg("kill-server").status();
    }
}
