//! Worker processes.
