//! Why a call would be a hit or a miss.

use std::fmt;
use std::path::PathBuf;

use super::entry::Meta;
use crate::key::Key;

/// Why a call would be a hit or a miss: from [`Function::explain`](crate::Function::explain).
///
/// `Display` explains it in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// The result is there.
    Hit(Meta),
    /// The function, in this version and with these types, has or had results, but none for this
    /// argument, whose key this is. It may have been removed.
    NewArgument(Key),
    /// There is no result of this function in this version and with these types.
    NewFunction,
    /// The result for this argument is of another version.
    OtherVersion(String),
    /// The result for this argument is of a function with other types, or with a key of its own
    /// (`keyed_by`).
    OtherTypes {
        /// Its argument's type.
        argument: String,
        /// Its result's type.
        result: String,
    },
    /// The type of the result has changed, though not its name.
    OtherShape,
    /// The result is too old for a limit, or `valid_if` returns false.
    NotValid(Meta),
    /// The file is damaged, or cannot be read.
    Damaged(PathBuf),
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit(meta) => {
                let (age, took) = (meta.age(), meta.took());
                write!(f, "hit: computed {age:.0?} ago, which took {took:.0?}")
            }
            Self::NewArgument(key) => {
                write!(f, "miss: there is no result for this argument ({key})")
            }
            Self::NewFunction => {
                f.write_str("miss: the function has no results in this version, with these types")
            }
            Self::OtherVersion(found) => {
                write!(f, "miss: the result is of the function's version {found}")
            }
            Self::OtherTypes { argument, result } => {
                write!(
                    f,
                    "miss: the result is of a function from {argument} to {result}"
                )
            }
            Self::OtherShape => f.write_str("miss: the result's type has changed since"),
            Self::NotValid(meta) => {
                let age = meta.age();
                write!(
                    f,
                    "miss: the result was computed {age:.0?} ago, and does not count any more"
                )
            }
            Self::Damaged(path) => {
                write!(f, "miss: {} is damaged, or cannot be read", path.display())
            }
        }
    }
}
