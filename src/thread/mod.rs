//! The work-stealing thread pool.
