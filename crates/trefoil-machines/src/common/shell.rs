//! Text for a shell on another machine.
//!
//! **How.** ssh hands its command line to the user's login shell on the host, whichever that is,
//! and every user there sees it in process lists. So the command is always the same ([`COMMAND`]),
//! and means the same in every shell: it starts a POSIX shell that reads one line from standard
//! input (byte by byte, as POSIX requires) and runs that line. The rest of standard input stays
//! unread. The shell itself sets variables ([`exports`]), because the arguments of `env` would be
//! visible in process lists, too.
//!
//! Tests: below, with each shell that is installed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Runs the first line of its standard input.
pub(crate) const COMMAND: &str = r#"exec sh -c 'read -r t; eval "$t"'"#;

/// Quotes `word` as one word of a script, whatever bytes it has.
pub(crate) fn quoted(word: &OsStr) -> Vec<u8> {
    let mut out = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => out.extend(b"'\\''"),
            byte => out.push(byte),
        }
    }
    out.push(b'\'');
    out
}

/// Shell commands that export these variables to everything the shell starts; or why that is
/// impossible.
pub(crate) fn exports<'a>(
    variables: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for (name, value) in variables {
        let plain = name.to_str().filter(|name| is_name(name));
        let Some(plain) = plain else {
            return Err(format!(
                "the variable `{}` (`env`) cannot be set on another machine: its name must have \
                 letters, digits and `_` only, begin with no digit, and not be one that shells set \
                 themselves",
                name.to_string_lossy()
            ));
        };
        out.extend(b"export ");
        out.extend(plain.bytes());
        out.push(b'=');
        out.extend(quoted(value));
        out.extend(b"; ");
    }
    Ok(out)
}

/// Shell commands that export these variables with `value`, each unless it is set already. (`value`
/// may contain an expansion.)
#[cfg(any(feature = "ssh", feature = "slurm"))]
pub(crate) fn defaults(names: impl IntoIterator<Item = &'static str>, value: &str) -> String {
    let each = names.into_iter();
    each.map(|name| format!("export {name}=\"${{{name}-{value}}}\"; "))
        .collect()
}

/// Whether every shell accepts `name`, and leaves its value as it is.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty()
        && name.bytes().all(is_plain)
        && !name.as_bytes()[0].is_ascii_digit()
        && !OWN.contains(&name)
        && !["BASH", "EPOCH"].iter().any(|own| name.starts_with(own))
}

/// Variables that some shell sets itself, or makes read-only.
const OWN: [&str; 17] = [
    "_",
    "DIRSTACK",
    "EUID",
    "FUNCNAME",
    "GID",
    "GROUPS",
    "EGID",
    "HISTCMD",
    "LINENO",
    "OPTIND",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
];

/// `script` as one line, for [`COMMAND`]. (Control characters, non-ASCII bytes and characters that
/// are special in double quotes become octal escapes.)
pub(crate) fn line(script: &[u8]) -> Vec<u8> {
    let mut out = b"eval \"$(printf \"".to_vec();
    for &byte in script {
        match byte {
            b'%' | b'"' | b'$' | b'`' | b'\\' | b'!' | 0..=31 | 127..=255 => {
                out.extend(format!("\\{byte:03o}").bytes());
            }
            byte => out.push(byte),
        }
    }
    out.extend(b"\")\"\n");
    out
}

#[cfg(all(test, not(miri)))]
#[allow(clippy::disallowed_methods)] // children of the test's
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn any_words_arrive_and_the_rest_is_left() {
        let odd: Vec<u8> = (1..=255).collect();
        let words = [
            &odd[..],
            b"",
            b"a b",
            b"it's\n",
            b"$(false)",
            b"\\\\'\"%s%%!x",
        ];
        let mut script = b"printf '%s,' ".to_vec();
        for word in words {
            script.extend(quoted(OsStr::from_bytes(word)));
            script.push(b' ');
        }
        script.extend(b"; cat");
        let mut said = line(&script);
        assert_eq!(said.iter().filter(|byte| **byte == b'\n').count(), 1);
        said.extend(b"the\nrest\0");
        let mut expected = words.join(&b","[..]);
        expected.extend(b",the\nrest\0");
        let mut seen = 0;
        for shell in ["sh", "dash", "bash", "zsh", "ksh", "mksh", "csh", "fish"] {
            let mut command = Command::new(shell);
            command.arg("-c").arg(COMMAND).stdin(Stdio::piped());
            let Ok(mut child) = command.stdout(Stdio::piped()).spawn() else {
                continue; // it is not installed
            };
            child.stdin.take().unwrap().write_all(&said).unwrap();
            let out = child.wait_with_output().unwrap();
            assert_eq!(
                out.stdout.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{shell}"
            );
            seen += 1;
        }
        assert!(seen > 0, "there is no shell");
    }

    #[test]
    fn variables_arrive_as_they_are() {
        let odd: Vec<u8> = (1..=255).collect();
        let values = [&odd[..], b"", b"-n 'x' \\n $HOME `x`", b"a=b\n\n"];
        let variables: Vec<(OsString, OsString)> = values
            .iter()
            .enumerate()
            .map(|(n, value)| (format!("T_{n}").into(), OsStr::from_bytes(value).into()))
            .collect();
        let each = variables.iter().map(|(name, value)| (&**name, &**value));
        let mut script = exports(each).unwrap();
        script.extend(b"env -0; exit $?");
        for shell in ["sh", "dash", "bash", "zsh", "ksh"] {
            let mut command = Command::new(shell);
            command.arg("-c").arg(COMMAND).stdin(Stdio::piped());
            let Ok(mut child) = command.stdout(Stdio::piped()).spawn() else {
                continue; // it is not installed
            };
            child
                .stdin
                .take()
                .unwrap()
                .write_all(&line(&script))
                .unwrap();
            let out = child.wait_with_output().unwrap().stdout;
            let there: Vec<&[u8]> = out.split(|byte| *byte == 0).collect();
            for (name, value) in &variables {
                let both = [name.as_bytes(), b"=", value.as_bytes()].concat();
                assert!(there.contains(&&both[..]), "{shell}: {both:?}");
            }
        }
        for name in [
            "", "a.b", "A-B", "7A", "PPID", "UID", "_", "BASH_ENV", "\u{e9}",
        ] {
            let refused = exports([(OsStr::new(name), OsStr::new("x"))]).unwrap_err();
            assert!(refused.contains(&format!("`{name}`")), "{refused}");
        }
        assert!(exports([(OsStr::new("LD_LIBRARY_PATH"), OsStr::new("/x"))]).is_ok());
    }
}
