//! What a forked child finds in the statics of its parent.
//!
//! `fork` copies one thread. A lock that another one held at that moment, or a value that another
//! one was making, stays so in the child, which waits for it without end. So a `static` of the
//! library consists of atomics and constants, or is a `PerProcess`, which a fork renews.

use crate::source::{File, Finding};

/// What has no lock: atomics, constants, and those of our types that consist of these.
const PLAIN: [&str; 20] = [
    "AtomicBool",
    "AtomicI32",
    "AtomicPtr",
    "AtomicU32",
    "AtomicU64",
    "AtomicUsize",
    "Counter",
    "Hint",
    "Option",
    "RawWakerVTable",
    "HandlerSlot",
    "StaticRef",
    "TaskError",
    "bool",
    "extern",
    "fn",
    "static",
    "u32",
    "u64",
    "u8",
];

/// Locks that a child may inherit all the same, and why.
const EXCEPT: [(&str, &str); 4] = [
    ("crates/trefoil-os/src/sys/free_list.rs", "SHELF"), // nobody waits: `try_lock` only
    ("src/process/api/entry.rs", "DEPTH"),               // written before a second thread runs
    ("src/process/job/mod.rs", "NONE"), // a constant with an address, without a lock
    ("src/process/worker/index.rs", "INDEX"), // the same, in a worker
];

pub(crate) fn renewed(file: &File) -> Vec<Finding> {
    let is_windows = |path: &str| path.contains("/windows/"); // no fork there
    if !file.is_rust() || file.area().is_none() || is_windows(&file.path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    // How deep the braces are, and at which depth a thread-local began: each thread has its own.
    let (mut depth, mut local) = (0_usize, None);
    for (at, line) in file.lines.iter().enumerate() {
        let code = line.code.as_str();
        if code.starts_with("mod tests") || code.starts_with("mod model") {
            break;
        }
        if ["per_thread! {", "thread_local! {"]
            .iter()
            .any(|begin| code.contains(begin))
        {
            local.get_or_insert(depth);
        }
        depth = (depth + code.matches('{').count()).saturating_sub(code.matches('}').count());
        if local.is_some_and(|began| depth <= began) {
            local = None;
        }
        let Some((name, rest)) = declared(code).filter(|_| local.is_none()) else {
            continue;
        };
        let more = file.lines[at + 1..].iter().map(|line| line.code.as_str());
        let whole: String = std::iter::once(rest).chain(more.take(3)).collect();
        let kind = whole.split([';', '=']).next().unwrap_or_default();
        let is_renewed = kind
            .trim_start()
            .trim_start_matches("fork::")
            .starts_with("PerProcess<");
        let words = kind.split(|c: char| !c.is_alphanumeric() && c != '_');
        let is_plain = |word: &str| {
            PLAIN.contains(&word)
                || word.is_empty()
                || word
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
        };
        let mut words = words.filter(|word| !["std", "sync", "atomic", "usize"].contains(word));
        let is_excepted = EXCEPT.contains(&(file.path.as_str(), name));
        if !is_renewed && !words.all(is_plain) && !is_excepted {
            findings.push(Finding::new(
                file,
                at,
                "static",
                format!("`{name}` may stay locked in a forked child: make it a `PerProcess`"),
            ));
        }
    }
    findings
}

/// The name of the static that this line declares, and what comes after the colon.
fn declared(code: &str) -> Option<(&str, &str)> {
    let code = code.trim_start();
    let code = code.strip_prefix("pub").map_or(code, |rest| {
        let rest = rest.trim_start();
        rest.strip_prefix('(')
            .map_or(rest, |rest| rest.split_once(')').map_or("", |two| two.1))
    });
    let (name, rest) = code.trim_start().strip_prefix("static ")?.split_once(':')?;
    Some((name.trim_start_matches("mut "), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> usize {
        renewed(&File::new("src/task/a.rs", text)).len()
    }

    #[test]
    fn locks_that_a_fork_does_not_renew_are_found() {
        for bad in [
            "static A: Mutex<u32> = Mutex::new(0);",
            "    pub(crate) static A: OnceLock<u32> = OnceLock::new();",
            "static A: [RwLock<u32>; 2] = x;",
            "static A: LazyLock<\n    Vec<u32>,\n> = x;",
            "pub static A: Pools = Pools::new();",
        ] {
            assert_eq!(rules(bad), 1, "{bad}");
        }
        for good in [
            "static A: PerProcess<Mutex<u32>> = PerProcess::new();",
            "static A: fork::PerProcess<u32> = fork::PerProcess::new();",
            "static A: AtomicU64 = AtomicU64::new(0);",
            "static A: [AtomicUsize; COUNT] = [const { AtomicUsize::new(0) }; COUNT];",
            "per_thread! {\n    static A: RefCell<u32> = x;\n}",
            "fn a(_: &'static Mutex<u32>) {}",
            "mod tests {\n    static A: Mutex<u32> = Mutex::new(0);",
        ] {
            assert_eq!(rules(good), 0, "{good}");
        }
        let after = "thread_local! { static A: X = x; }\nstatic B: Mutex<u32> = x;";
        assert_eq!(rules(after), 1);
    }
}
