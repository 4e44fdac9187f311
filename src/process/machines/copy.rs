//! A copy of the executable on another machine, in words for the shell there.
//!
//! All copies are in one directory (`$t`), which belongs to this user and into which no other user
//! can write. Each has a directory of its own in it (`$d`), named after its build, and keeps the
//! program's name there (`$f`): a program may look at it, and process lists show it. It is complete
//! when it has that name: it is written under another one (`$w`), and renamed.
//!
//! Tests: `tests/machines/`, `tests/slurm/`.

use std::ffi::OsStr;
use std::path::Path;

use super::shell::quoted;

/// Sets `$t`, `$d` and `$f`. `all` is the directory of all copies, as a word of the shell's, and
/// `build` names this one.
pub(crate) fn place(all: &[u8], build: &str) -> Vec<u8> {
    let copy = format!("; d=$t/copy-{build}; f=$d/");
    [b"t=", all, copy.as_bytes(), &quoted(&program())].concat()
}

/// The program's name.
pub(crate) fn program() -> std::ffi::OsString {
    let arguments = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&arguments).file_name();
    name.unwrap_or(OsStr::new("program")).to_owned()
}

/// Whether `$t` is a directory of this user's into which no other can write. (It is looked at once:
/// between two looks another user could exchange it.)
pub(crate) const IS_OURS: &str =
    r#"[ -n "$(find "$t" -prune -type d -user "$(id -u)" ! -perm -020 ! -perm -002)" ]"#;

/// Makes `$d`, and removes the copies that no pool has used for a month.
pub(crate) fn make() -> String {
    format!(
        "umask 077; mkdir -p \"$t\" && chmod 700 \"$t\" && {IS_OURS} && mkdir -p \"$d\" && {{ \
         find \"$t\" -maxdepth 1 -type d -name 'copy-*-*' -mtime +30 -exec rm -rf {{}} + ; :; }}"
    )
}

/// Whether `$w` has all of these bytes; it becomes `$f` then.
pub(crate) fn keep(length: u64) -> String {
    format!("[ \"$(($(wc -c < \"$w\")))\" = {length} ] && chmod 700 \"$w\" && mv -f \"$w\" \"$f\"")
}

/// Says that `$d` is in use.
pub(crate) const USE: &str = "touch -c \"$d\"";
