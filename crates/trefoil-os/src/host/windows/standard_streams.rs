//! A closed standard stream does no harm on this system: streams have no numbers that another file
//! could get.

/// Opens the standard streams that are closed: there is nothing to do.
pub fn fill() {}
