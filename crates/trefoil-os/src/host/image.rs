//! The executable image that this code was linked into.
//!
//! **Job.** Turns the address of a function into an offset that is valid in another process running
//! the same image, and back; names this copy of the crate, so that two processes can find out
//! whether they have the same one; and says whether executing the program again starts this image
//! again.
//!
//! **How.** The linker defines a symbol at the image's own header, separately in every module
//! (`format`: ELF, or Mach-O). From there the header gives the executable segments (for the range
//! checks) and the build id. Nothing is searched for at run time, and address-space randomisation
//! cancels out.
//!
//! **Naming.** The build id is a hash of the image's contents that linkers put in
//! by default on most systems. An image without one is named by the device,
//! inode, size and modification time of the program's file (`executable`): a worker is started
//! from that same file, so the names agree exactly when the images do. That is true of the
//! executable only, not of a library that it has loaded, and not where the dynamic loader was
//! executed and the program is its argument: there `starts_again` is an error, and the name is not
//! asked for. One image may hold several copies of this crate (two versions, in a tree of
//! dependencies), with a protocol each, so the version and the place of a `static` of this copy
//! belong to the name.
//!
//! **Rejected.** An empty function as the base: identical code is folded, so its
//! address is not unique in optimised builds. `dl_iterate_phdr`: gives the same
//! for an executable, needs a C callback, and names the executable where this
//! names the module that the crate was linked into, which is where the functions
//! of its users are. Hashing the file: milliseconds per process. Comparing the image with the
//! program's file, by inode or by its headers: file systems that are made of others show two
//! inodes, and a program that unpacks itself has other headers than its file, though it starts
//! again as it should.
//!
//! Tests: below; `tests/process/host.rs::{through_the_dynamic_loader_nothing_is_started,
//! a_program_with_capabilities_has_no_workers_and_is_none}`,
//! `tests/trefoil-checks/tests/copies.rs::{each_copy_has_workers_of_its_own,
//! a_library_with_a_copy_has_no_workers}`.

use std::ops::Range;

use super::format;
use crate::host::executable;
use crate::sys::fork::PerProcess;

/// What an image's headers say.
#[derive(Debug)]
pub(crate) struct Headers {
    pub base: usize,
    /// Where the image's functions are.
    pub code: Vec<Range<usize>>,
    /// The build id.
    pub id: Option<Vec<u8>>,
    /// `Ok` if this image is what was executed, and would be executed again; otherwise the reason.
    pub(crate) is_executed: Result<(), &'static str>,
}

#[cfg(all(unix, not(target_vendor = "apple")))]
pub(crate) const THROUGH_LOADER: &str = "this program was started through the dynamic loader \
    (`ld.so PROGRAM`), so its workers would execute the loader: start the program itself";

pub(crate) const IN_LIBRARY: &str = "this copy of trefoil is part of a library (a plugin), and not of the program's executable, \
     which is what a worker executes: make the pool in the program, or a `ThreadPool` here (in an extension of Python \
     `multiprocessing` can start processes, each with a pool)";

/// The image that this code was linked into.
#[derive(Debug)]
pub struct Image {
    headers: Headers,
    name: String,
}

/// Read once. Its address distinguishes this copy of the crate from others in the same image.
static IMAGE: PerProcess<Image> = PerProcess::new();

/// The image that this function was linked into.
#[inline]
pub fn image() -> &'static Image {
    IMAGE.inherit_or_init(Image::read)
}

impl Image {
    fn read() -> Self {
        let headers = format::headers();
        executable::note();
        let id = headers.id.clone().unwrap_or_else(executable::id);
        let anchor = (&raw const IMAGE).addr().wrapping_sub(headers.base);
        let mut name = format!("{}-{anchor:x}-", env!("CARGO_PKG_VERSION"));
        name.extend(id.iter().map(|byte| format!("{byte:02x}")));
        Self { headers, name }
    }

    /// The offset of a function of this image; `None` if `address` is not inside
    /// its code.
    #[inline]
    pub fn offset_of(&self, address: usize) -> Option<u64> {
        self.holds(address)
            .then(|| (address - self.headers.base) as u64)
    }

    /// The address at `offset`; `None` if that is not inside this image's code.
    #[inline]
    pub fn address_at(&self, offset: u64) -> Option<usize> {
        let address = self
            .headers
            .base
            .checked_add(usize::try_from(offset).ok()?)?;
        self.holds(address).then_some(address)
    }

    /// The name of this copy of the crate: equal in two processes exactly if they run the same
    /// image and this is the same copy in it, provided that both `starts_again`. Without
    /// commas.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the name is the same for every copy of the executable, on any machine.
    pub fn is_named_by_content(&self) -> bool {
        self.headers.id.is_some()
    }

    /// The part of the name that identifies the image's content.
    pub fn build(&self) -> &str {
        self.name.rsplit('-').next().unwrap_or_default()
    }

    /// `Ok` if executing the program again starts this image again; otherwise the reason.
    pub fn starts_again(&self) -> Result<(), &'static str> {
        let unknown = "the program's file cannot be inspected (on Linux it is /proc/self/exe: is \
            /proc mounted?)";
        let is_known = (!self.build().is_empty()).then_some(()).ok_or(unknown);
        self.headers.is_executed.and(is_known)
    }

    fn holds(&self, address: usize) -> bool {
        self.headers.code.iter().any(|code| code.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere(x: u64) -> u64 {
        std::hint::black_box(x) + 1
    }

    #[test]
    fn a_function_goes_there_and_back() {
        let address = somewhere as fn(u64) -> u64 as usize;
        let offset = image().offset_of(address).unwrap();
        assert_eq!(image().address_at(offset), Some(address));
    }

    #[test]
    fn what_is_not_code_is_refused() {
        let local = 0u8;
        assert_eq!(image().offset_of((&raw const local).addr()), None);
        assert_eq!(image().offset_of(0), None);
        assert_eq!(image().address_at(0), None, "the header is not executable");
        assert_eq!(image().address_at(u64::MAX), None);
    }

    #[test]
    fn the_image_has_a_name() {
        let name = image().name();
        let version = concat!(env!("CARGO_PKG_VERSION"), "-");
        assert!(
            name.starts_with(version) && name.len() > version.len() + 16,
            "{name}"
        );
        assert!(!name.contains(','), "{name}");
        assert!(executable::id().len() >= 24, "numbers of the file's");
    }

    #[test]
    fn this_program_starts_again_and_has_its_callers_rights() {
        assert_eq!(image().starts_again(), Ok(()));
        assert!(!crate::host::itself::has_other_rights());
    }
}
