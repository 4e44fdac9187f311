//! What the executors report: see `trace_log`.

/// Called when an executor is made: begins to keep track of tasks if the environment says so.
#[cfg(feature = "inspect")]
pub(crate) use trefoil_trace::live::wake_if_asked as executor_made;

/// Called when an executor is made: says once that nothing listens to what the environment asks
/// for.
#[cfg(not(feature = "inspect"))]
pub(crate) fn executor_made() {
    use std::io::Write as _;

    static ASKED: crate::sys::fork::PerProcess<()> = crate::sys::fork::PerProcess::new();
    ASKED.inherit_or_init(|| {
        for name in ["TREFOIL_TASKS", "TREFOIL_STUCK"] {
            if std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0") {
                let _ = writeln!(
                    std::io::stderr(),
                    "trefoil: {name} is ignored: the program is built without the feature `inspect`"
                );
            }
        }
    });
}
