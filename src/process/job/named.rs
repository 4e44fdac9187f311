//! Functions that the program has given a name, by which another build of it finds them, too.
//!
//! A call has the address of its function, which each build has elsewhere. So a file of a failed
//! item (`capsule`) has the name, too, and the names of the types that the function takes.
//!
//! Tests: `tests/process/capsules.rs`.

use crate::loom::Mutex;
use crate::process::wire::CodeRef;
use crate::sys::fork::PerProcess;

/// A function with a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) code: CodeRef,
    /// The name of its argument's type, and of the context's that it borrows.
    pub(crate) argument: &'static str,
    pub(crate) context: Option<&'static str>,
}

fn all() -> &'static Mutex<Vec<Named>> {
    static ALL: PerProcess<Mutex<Vec<Named>>> = PerProcess::new();
    ALL.get_or_init(Mutex::default)
}

impl Named {
    pub(crate) fn add(self) {
        all().lock().push(self);
    }

    /// All that have been added.
    pub(crate) fn all() -> Vec<Self> {
        all().lock().clone()
    }

    /// The function that is called by `code`, with an argument of this type: the one with this name
    /// if there is one, because functions that do the same may have one address. (That its result
    /// stays in the worker makes another trampoline, and not another function.)
    pub(crate) fn of(code: CodeRef, argument: &str, name: Option<&str>) -> Option<Self> {
        let all = Self::all().into_iter();
        let is_it = |one: &Self| one.code.function == code.function && one.argument == argument;
        let found: Vec<Self> = all.filter(is_it).collect();
        let with_name = found.iter().find(|one| Some(one.name) == name);
        with_name.or(found.first()).copied()
    }
}
