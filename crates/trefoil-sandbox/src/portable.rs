//! Systems, and kinds of processors, without what `Sandbox` and `Limits` need: an error at `build`.

use std::io;
use std::path::Path;
use std::process::Command;

use trefoil::process::launch::{Ending, Launched, Program};

use crate::limits::Wanted;
use crate::sandbox::Wishes;

const MESSAGE: &str = "that takes Linux, on x86-64 or ARM64";

#[derive(Debug)]
pub(crate) enum Places {}

#[derive(Debug)]
pub(crate) enum Restrictions {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Restriction {}

impl Places {
    pub(crate) fn new(
        _has_folders: bool,
        _limits: Option<&Wanted>,
    ) -> Result<(Self, Vec<String>), String> {
        Err(MESSAGE.to_owned())
    }

    pub(crate) fn folders(&self) -> Option<&Path> {
        match *self {}
    }

    pub(crate) fn start(
        &self,
        _index: usize,
        _command: impl FnOnce(Option<&Path>) -> io::Result<(Command, Option<Restriction>)>,
    ) -> io::Result<Launched> {
        match *self {}
    }

    pub(crate) fn kill(&self, _index: usize) {
        match *self {}
    }

    pub(crate) fn ended(&self, _index: usize, _ending: &mut Ending) {
        match *self {}
    }
}

impl Restrictions {
    pub(crate) fn new(
        _: &Wishes,
        _: &Program,
        _: Option<&Path>,
    ) -> Result<(Self, Vec<String>), String> {
        Err(MESSAGE.to_owned())
    }

    pub(crate) fn command(&self, _folder: Option<&Path>) -> io::Result<(Command, Restriction)> {
        match *self {}
    }
}
