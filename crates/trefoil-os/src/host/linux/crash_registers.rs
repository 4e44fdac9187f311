//! The registers and the signal mask of a thread that a signal has interrupted.
//!
//! Rests on H40 of `crash_handler`. A pointer of this kind never leaves the handler that got it.
//!
//! Tests: `tests/process/crashes.rs::each_signal_has_its_function`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ops::Range;

use libc::ucontext_t;

use crate::sys::stack::here;

/// The instruction and the stack.
#[cfg(target_arch = "x86_64")]
pub(super) fn place(registers: *const ucontext_t) -> (usize, usize) {
    // SAFETY: H40: the interrupted registers.
    let all = unsafe { &(*registers).uc_mcontext.gregs };
    let [pc, sp] = [libc::REG_RIP, libc::REG_RSP].map(|at| all[at as usize] as usize);
    (pc, sp)
}

#[cfg(target_arch = "x86_64")]
pub(super) fn set_place(registers: *mut ucontext_t, pc: usize, sp: usize) {
    // SAFETY: H40: the interrupted registers.
    let all = unsafe { &mut (*registers).uc_mcontext.gregs };
    all[libc::REG_RIP as usize] = pc as i64;
    all[libc::REG_RSP as usize] = sp as i64;
}

/// The place after a return from the function that has just been called.
#[cfg(target_arch = "x86_64")]
pub(super) fn returned(registers: *const ucontext_t) -> (usize, usize) {
    let (_, sp) = place(registers);
    let top = std::ptr::with_exposed_provenance::<usize>(sp);
    // SAFETY: H40: the call has put it there. (If there was no call, this may be a crash, which
    // ends the walk.)
    let pc = unsafe { top.read_volatile() };
    (pc, sp.wrapping_add(8))
}

/// Replaces all registers, and the mask, by those of `other`.
#[cfg(target_arch = "x86_64")]
pub(super) fn replace(registers: *mut ucontext_t, other: *const ucontext_t) {
    // SAFETY: H40: the registers of the outer interruption.
    let all = unsafe { (*other).uc_mcontext.gregs };
    // SAFETY: H40: the interrupted registers.
    unsafe { (*registers).uc_mcontext.gregs = all };
    set_mask(registers, mask(other));
}

#[cfg(target_arch = "aarch64")]
pub(super) fn place(registers: *const ucontext_t) -> (usize, usize) {
    // SAFETY: H40: the interrupted registers.
    let all = unsafe { &(*registers).uc_mcontext };
    (all.pc as usize, all.sp as usize)
}

#[cfg(target_arch = "aarch64")]
pub(super) fn set_place(registers: *mut ucontext_t, pc: usize, sp: usize) {
    // SAFETY: H40: the interrupted registers.
    let all = unsafe { &mut (*registers).uc_mcontext };
    (all.pc, all.sp) = (pc as u64, sp as u64);
}

/// The place after a return from the function that has just been called.
#[cfg(target_arch = "aarch64")]
pub(super) fn returned(registers: *const ucontext_t) -> (usize, usize) {
    let (_, sp) = place(registers);
    // SAFETY: H40: the interrupted registers; the call has put the address into the last one.
    let pc = unsafe { (*registers).uc_mcontext.regs[30] };
    (pc as usize, sp)
}

/// Replaces all registers, and the mask, by those of `other`.
#[cfg(target_arch = "aarch64")]
pub(super) fn replace(registers: *mut ucontext_t, other: *const ucontext_t) {
    // SAFETY: H40: the registers of the outer interruption.
    let from = unsafe { &(*other).uc_mcontext };
    // SAFETY: H40: the interrupted registers.
    let to = unsafe { &mut (*registers).uc_mcontext };
    (to.regs, to.sp, to.pc, to.pstate) = (from.regs, from.sp, from.pc, from.pstate);
    set_mask(registers, mask(other));
}

/// The thread's stack for handlers, if this runs on it.
pub(super) fn stack(registers: *const ucontext_t) -> Option<Range<usize>> {
    // SAFETY: H40: what the kernel has noted of that stack.
    let stack = unsafe { (*registers).uc_stack };
    let start = stack.ss_sp.addr();
    let range = start..start.saturating_add(stack.ss_size);
    range.contains(&here()).then_some(range)
}

/// How much is left of the thread's stack for handlers, if this runs on it.
pub(super) fn room(registers: *const ucontext_t) -> Option<usize> {
    stack(registers).map(|stack| here() - stack.start)
}

/// Blocks a signal when the handler returns.
pub(super) fn block(registers: *mut ucontext_t, signal: c_int) {
    set_mask(registers, mask(registers) | 1 << (signal - 1));
}

/// The mask as the kernel has it: a bit for each of 64 signals. (What follows in the C library's
/// type is not there.)
fn mask(registers: *const ucontext_t) -> u64 {
    // SAFETY: H40: the interrupted mask.
    let mask = unsafe { &raw const (*registers).uc_sigmask };
    // SAFETY: H40: the kernel's 64 bits.
    unsafe { mask.cast::<u64>().read() }
}

fn set_mask(registers: *mut ucontext_t, signals: u64) {
    // SAFETY: H40: the interrupted mask.
    let mask = unsafe { &raw mut (*registers).uc_sigmask };
    // SAFETY: H40: the kernel's 64 bits.
    unsafe { mask.cast::<u64>().write(signals) };
}
