//! Wake-ups at a deadline, with a loop or without one.
