//! A copy of the executable on another machine, in words for the shell there.
//!
//! All copies are in one directory (`$t`), which belongs to this user and into which no other user
//! can write. Each has a directory of its own in it (`$d`), named after its build, and keeps the
//! program's name there (`$f`): a program may look at it, and process lists show it. It is complete
//! when it has that name: it is written under another one (`$w`), compared, put on the disk, and
//! renamed. Nevertheless it is compared again before it is used: a machine may have lost power, or
//! somebody may have written to it.
//!
//! Tests: `crates/trefoil-machines/tests/ssh/contract.rs::{the_executable_is_copied_once,
//! a_damaged_copy_is_sent_again}`,
//! `crates/trefoil-machines/tests/slurm/copies.rs::a_directory_of_others_is_refused`.

use std::fs::File;
use std::io::{self, Read};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use trefoil::process::launch::Program;

/// The SHA-256 of the program's file, and how many bytes it has. It is computed once: all later
/// pools copy the same file.
pub(crate) fn own_hash(program: &Program) -> Result<(String, u64), String> {
    static OWN: OnceLock<(String, u64)> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own.clone());
    }
    let own = program.open().and_then(hash);
    let own = own.map_err(|error| format!("the program's file cannot be read: {error}"))?;
    Ok(OWN.get_or_init(|| own).clone())
}

/// The SHA-256 of a file, and how many bytes it has.
pub(crate) fn hash(mut file: File) -> io::Result<(String, u64)> {
    let (mut digest, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            let hash = digest.finalize();
            let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((hash, length));
        }
        digest.update(&buffer[..count]);
        length += count as u64;
    }
}

/// Defines what the other words need: `is FILE`, whether a file has this hash, and `hashes`, which
/// says that of its standard input, by whichever command there is; nothing if there is none.
pub(crate) fn define(hash: &str) -> String {
    format!(
        "; hashes() {{ {{ sha256sum || shasum -a 256 || sha256; }} 2>/dev/null; }}; \
         is() {{ h=$(hashes < \"$1\"); [ \"${{h%% *}}\" = {hash} ]; }}"
    )
}

/// Whether there is a command that hashes.
pub(crate) const CAN_HASH: &str = r#"[ -n "$(hashes </dev/null)" ]"#;

use super::program_name;
use super::shell::quoted;

/// Sets `$t`, `$d` and `$f`. `all` is the directory of all copies, as a word of the shell's, and
/// `build` names this one.
pub(crate) fn place(all: &[u8], build: &str) -> Vec<u8> {
    let copy = format!("; d=$t/copy-{build}; f=$d/");
    [b"t=", all, copy.as_bytes(), &quoted(&program_name())].concat()
}

/// Whether `$t` is a directory of this user's into which no other can write, and no link to one.
/// (It is looked at once: between two looks another user could exchange it.)
pub(crate) const IS_OURS: &str =
    r#"[ -n "$(find "$t" -prune -type d -user "$(id -u)" ! -perm -020 ! -perm -002)" ]"#;

/// Makes `$d`, and removes the copies that no pool has used for a month. (If `$t` is there already,
/// its mode is not changed: it may be a link that another user has made.)
pub(crate) fn make() -> String {
    format!(
        "umask 077; mkdir -p \"$t\" && {{ {IS_OURS} || {{ echo \"$t is no directory of yours into \
         which nobody else can write\" >&2; false; }}; }} && mkdir -p \"$d\" && {{ \
         find \"$t\" -maxdepth 1 -type d -name 'copy-*-*' -mtime +30 -exec rm -rf {{}} + ; :; }}"
    )
}

/// Whether `$w` is the program; it becomes `$f` then. (Not every `sync` takes a file.)
pub(crate) const KEEP: &str =
    r#"is "$w" && chmod 700 "$w" && { sync "$w" 2>/dev/null || sync; } && mv -f "$w" "$f""#;

/// Says that `$d` is in use.
pub(crate) const USE: &str = "touch -c \"$d\"";
