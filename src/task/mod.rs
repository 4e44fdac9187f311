//! The stem: the one `Task`.
