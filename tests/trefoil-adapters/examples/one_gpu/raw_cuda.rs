//! The few functions of the CUDA driver that the example needs. Its library is loaded at run time,
//! so the program starts without one.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};

use libloading::{Library, Symbol};

/// Two kernels: one writes `number * number` to an address, one waits for what never comes.
const KERNELS: &CStr = c"
.version 6.0
.target sm_50
.address_size 64
.visible .entry square(.param .u64 place, .param .u32 number)
{
    .reg .u64 %place;
    .reg .u32 %number;
    ld.param.u64 %place, [place];
    ld.param.u32 %number, [number];
    mul.lo.u32 %number, %number, %number;
    st.global.u32 [%place], %number;
    ret;
}
.visible .entry endless(.param .u64 place, .param .u32 number)
{
    .reg .u64 %place;
    .reg .u32 %number;
    .reg .pred %again;
    ld.param.u64 %place, [place];
LOOP:
    ld.volatile.global.u32 %number, [%place];
    setp.ne.u32 %again, %number, 1;
    @%again bra LOOP;
    ret;
}
";

/// The device of this process, its kernels, and four bytes of its memory.
pub struct Cuda {
    driver: Library,
    square: *mut c_void,
    endless: *mut c_void,
    memory: u64,
}

/// Calls a function of the driver; its error code becomes an `Err`.
macro_rules! call {
    ($driver:expr, $name:literal, ($($kind:ty),*), ($($argument:expr),*)) => {{
        // SAFETY: the driver's header declares it like this.
        let function: Symbol<'_, unsafe extern "C" fn($($kind),*) -> c_int> =
            unsafe { $driver.get($name) }.map_err(|error| error.to_string())?;
        // SAFETY: each pointer is null where that is allowed, or valid for the call.
        match unsafe { function($($argument),*) } {
            0 => Ok(()),
            code => Err(format!("CUDA error {code}")),
        }
    }};
}

impl Cuda {
    /// The first device that this process may see; an error where there is no driver.
    pub fn open() -> Result<Self, String> {
        // SAFETY: the driver's library runs no code that depends on this program.
        let driver = unsafe { Library::new("libcuda.so.1") }.map_err(|error| error.to_string())?;
        let (mut device, mut memory): (c_int, u64) = (0, 0);
        let mut kernels = [null_mut(); 2];
        let (mut context, mut module) = (null_mut::<c_void>(), null_mut::<c_void>());
        call!(driver, b"cuInit", (c_uint), (0))?;
        call!(
            driver,
            b"cuDeviceGet",
            (*mut c_int, c_int),
            (&raw mut device, 0)
        )?;
        call!(
            driver,
            b"cuDevicePrimaryCtxRetain",
            (*mut *mut c_void, c_int),
            (&raw mut context, device)
        )?;
        call!(driver, b"cuCtxSetCurrent", (*mut c_void), (context))?;
        let text = KERNELS.as_ptr().cast();
        call!(
            driver,
            b"cuModuleLoadData",
            (*mut *mut c_void, *const c_void),
            (&raw mut module, text)
        )?;
        for (kernel, name) in kernels.iter_mut().zip([c"square", c"endless"]) {
            call!(
                driver,
                b"cuModuleGetFunction",
                (*mut *mut c_void, *mut c_void, *const c_char),
                (&raw mut *kernel, module, name.as_ptr())
            )?;
        }
        call!(
            driver,
            b"cuMemAlloc_v2",
            (*mut u64, usize),
            (&raw mut memory, 4)
        )?;
        let [square, endless] = kernels;
        Ok(Self {
            driver,
            square,
            endless,
            memory,
        })
    }

    fn launch(&self, kernel: *mut c_void, mut place: u64, mut number: u32) -> Result<(), String> {
        let mut arguments: [*mut c_void; 2] = [(&raw mut place).cast(), (&raw mut number).cast()];
        type Size = c_uint;
        call!(
            self.driver,
            b"cuLaunchKernel",
            (
                *mut c_void,
                Size,
                Size,
                Size,
                Size,
                Size,
                Size,
                Size,
                *const c_void,
                *mut *mut c_void,
                *const c_void
            ),
            (
                kernel,
                1,
                1,
                1,
                1,
                1,
                1,
                0,
                null(),
                arguments.as_mut_ptr(),
                null()
            )
        )?;
        call!(self.driver, b"cuCtxSynchronize", (), ())
    }

    /// Computed by the device.
    pub fn square(&self, number: u32) -> Result<u32, String> {
        self.launch(self.square, self.memory, number)?;
        let mut result = 0;
        call!(
            self.driver,
            b"cuMemcpyDtoH_v2",
            (*mut u32, u64, usize),
            (&raw mut result, self.memory, 4)
        )?;
        Ok(result)
    }

    /// A kernel that writes to a wild address: no kernel works in this process afterwards.
    pub fn wild(&self) -> Result<u32, String> {
        self.launch(self.square, 1 << 60, 0).map(|()| 0)
    }

    /// A kernel that never ends.
    pub fn endless(&self) -> Result<u32, String> {
        self.launch(self.square, self.memory, 0)?;
        self.launch(self.endless, self.memory, 0).map(|()| 0)
    }
}
