//! longhand's CUDA kernels on the CPU: their own source, compiled as C++, each thread of a block a
//! fiber. Where there is no C++ compiler nothing can be launched, and [`missing`] says why.

use std::ffi::{CString, c_void};

/// Why no kernel can be run here, if none can.
pub fn missing() -> Option<&'static str> {
    option_env!("NO_COMPILER")
}

/// Runs a kernel in `blocks` blocks of `threads` threads, each block with `bytes` of shared memory, with
/// pointers to its arguments.
///
/// # Errors
/// If there is no such kernel, or its threads do not all reach a barrier.
///
/// # Safety
/// The arguments must be the kernel's, and what they point to as large as it takes them to be.
pub unsafe fn launch(
    kernel: &str,
    blocks: u32,
    threads: u32,
    bytes: u32,
    backwards: bool,
    arguments: &mut [*mut c_void],
) -> Result<(), String> {
    let name = CString::new(kernel).map_err(|error| error.to_string())?;
    let mut error = [0_u8; 256];
    // SAFETY: the name ends in 0 and the error has the size that is said; the rest is the caller's.
    let status = unsafe {
        emulated_launch(
            name.as_ptr(),
            blocks,
            threads,
            bytes,
            backwards,
            arguments.as_mut_ptr(),
            error.as_mut_ptr().cast(),
            error.len(),
        )
    };
    if status == 0 {
        return Ok(());
    }
    let length = error.iter().position(|&byte| byte == 0).unwrap_or(0);
    Err(String::from_utf8_lossy(&error[..length]).into_owned())
}

#[cfg(not(no_compiler))]
unsafe extern "C" {
    fn emulated_launch(
        name: *const std::ffi::c_char,
        blocks: u32,
        threads: u32,
        bytes: u32,
        backwards: bool,
        arguments: *mut *mut c_void,
        error: *mut std::ffi::c_char,
        size: usize,
    ) -> i32;
}

#[cfg(no_compiler)]
unsafe fn emulated_launch(
    _: *const std::ffi::c_char,
    _: u32,
    _: u32,
    _: u32,
    _: bool,
    _: *mut *mut c_void,
    _: *mut std::ffi::c_char,
    _: usize,
) -> i32 {
    1
}
