//! What threads and tasks wait with and share.
