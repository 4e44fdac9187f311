//! Every function of Python's concurrency modules occurs in `docs/FROM_PYTHON.md`.
//!
//! The table below has the names of each module that people use, `__all__` and the methods of its
//! classes included. A name counts as mapped if it occurs in the section of its module, in a
//! comment of an example or in backticks.

use crate::layers::words;
use crate::source::{File, Finding};
use std::collections::BTreeSet;

const PAGE: &str = "docs/FROM_PYTHON.md";

/// Sections, by the word that their title begins with, and the names that must occur there.
const CALLS: [(&str, &str); 7] = [
    (
        "threading",
        "Thread start join is_alive name ident native_id daemon run target \
         Lock acquire release locked RLock Condition wait wait_for notify notify_all \
         Semaphore BoundedSemaphore Event set clear is_set Barrier abort reset parties n_waiting \
         broken BrokenBarrierError Timer cancel local current_thread main_thread get_ident \
         get_native_id active_count enumerate stack_size excepthook ExceptHookArgs settrace \
         gettrace setprofile getprofile ThreadError TIMEOUT_MAX",
    ),
    (
        "queue",
        "Queue SimpleQueue LifoQueue PriorityQueue put put_nowait get get_nowait qsize empty full \
         task_done join shutdown Full Empty ShutDown",
    ),
    (
        "concurrent",
        "Executor submit map shutdown ThreadPoolExecutor ProcessPoolExecutor \
         InterpreterPoolExecutor max_workers thread_name_prefix initializer initargs \
         max_tasks_per_child chunksize buffersize timeout Future cancel cancelled running done \
         result exception add_done_callback set_running_or_notify_cancel set_result set_exception \
         wait as_completed FIRST_COMPLETED FIRST_EXCEPTION ALL_COMPLETED CancelledError \
         TimeoutError InvalidStateError BrokenExecutor BrokenThreadPool BrokenProcessPool \
         cancel_futures terminate_workers kill_workers",
    ),
    (
        "multiprocessing",
        "Process start join is_alive terminate kill close pid exitcode name daemon sentinel \
         authkey run Pool apply apply_async map map_async imap imap_unordered starmap \
         starmap_async callback maxtasksperchild initializer initargs get wait ready successful \
         ThreadPool Queue SimpleQueue JoinableQueue Pipe Connection send recv poll Listener Client \
         Lock RLock Semaphore BoundedSemaphore Condition Event Barrier Value Array RawValue \
         RawArray get_lock Manager Namespace dict list SharedMemory ShareableList \
         SharedMemoryManager set_start_method get_start_method get_all_start_methods get_context \
         set_forkserver_preload set_executable freeze_support current_process parent_process \
         active_children cpu_count get_logger log_to_stderr TimeoutError ProcessError \
         BufferTooShort AuthenticationError allow_connection_pickling reducer",
    ),
    (
        "asyncio",
        "run Runner new_event_loop get_event_loop get_running_loop set_event_loop \
         get_event_loop_policy set_event_loop_policy create_task ensure_future current_task \
         all_tasks TaskGroup gather shield wait wait_for timeout timeout_at as_completed sleep \
         to_thread run_coroutine_threadsafe wrap_future iscoroutine iscoroutinefunction isfuture \
         eager_task_factory cancel cancelled done result exception add_done_callback \
         remove_done_callback get_name set_name get_coro get_stack print_stack uncancel cancelling \
         Future create_future set_result set_exception Lock Event Condition Semaphore \
         BoundedSemaphore Barrier Queue LifoQueue PriorityQueue put get put_nowait get_nowait \
         QueueEmpty QueueFull QueueShutDown task_done join FIRST_COMPLETED FIRST_EXCEPTION \
         ALL_COMPLETED CancelledError TimeoutError InvalidStateError ExceptionGroup \
         run_until_complete run_forever stop close is_running is_closed call_soon \
         call_soon_threadsafe call_later call_at time run_in_executor set_default_executor \
         shutdown_asyncgens shutdown_default_executor set_exception_handler set_debug \
         slow_callback_duration set_task_factory add_reader add_writer add_signal_handler \
         remove_signal_handler create_connection create_server create_datagram_endpoint sendto \
         getaddrinfo getnameinfo connect_read_pipe connect_write_pipe sendfile start_tls \
         open_connection start_server open_unix_connection start_unix_server serve_forever \
         StreamReader read readline readexactly readuntil at_eof write writelines drain wait_closed \
         write_eof get_extra_info IncompleteReadError LimitOverrunError create_subprocess_exec \
         create_subprocess_shell communicate send_signal terminate kill pid returncode Protocol \
         BufferedProtocol DatagramProtocol SubprocessProtocol Transport SelectorEventLoop \
         SendfileNotAvailableError KeyboardInterrupt",
    ),
    (
        "contextvars",
        "ContextVar get set reset default Token old_value Context copy_context run LookupError \
         create_task context to_thread submit",
    ),
    (
        "joblib",
        "Parallel delayed n_jobs backend prefer require parallel_config parallel_backend \
         effective_n_jobs cpu_count return_as generator generator_unordered batch_size \
         pre_dispatch timeout max_nbytes mmap_mode verbose Memory cache dump load hash \
         register_parallel_backend wrap_non_picklable_objects get_reusable_executor \
         inner_max_num_threads",
    ),
];

/// Every name of the table occurs in its section.
pub(crate) fn mapped(file: &File) -> Vec<Finding> {
    if file.path != PAGE {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (module, names) in CALLS {
        let said = said(file, module);
        for name in names
            .split_whitespace()
            .filter(|name| !said.contains(*name))
        {
            let what = format!("`{name}` of Python's {module} is not mapped");
            findings.push(Finding::new(file, 0, "python", what));
        }
    }
    findings
}

/// The words of Python in the sections whose titles begin with `module`.
fn said(file: &File, module: &str) -> BTreeSet<String> {
    let (mut inside, mut fenced) = (false, false);
    let mut said = BTreeSet::new();
    for line in &file.lines {
        let text = line.raw.as_str();
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && let Some(title) = text.strip_prefix("## ") {
            inside = words(title).next() == Some(module);
        } else if inside && fenced {
            let comment = text.split_once("//").map_or("", |(_, comment)| comment);
            said.extend(words(comment).map(str::to_owned));
        } else if inside {
            let spans = text.split('`').skip(1).step_by(2);
            said.extend(spans.flat_map(words).map(str::to_owned));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_where_python_stands() {
        let page = "## queue\nprose put\n```rust\n// q.get()\nqsize();\n```\n`empty`, `Queue.full`\n## joblib\n`join`";
        let said = said(&File::new(PAGE, page), "queue");
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        assert_eq!(said, ["Queue", "empty", "full", "get", "q"]);
    }

    #[test]
    fn a_missing_name_is_reported() {
        let findings = mapped(&File::new(PAGE, "## queue\n`put`"));
        let heard = |name: &str| findings.iter().any(|f| f.to_string().contains(name));
        assert!(heard("`get` of Python's queue"));
        assert!(!heard("`put` of Python's queue"));
    }
}
