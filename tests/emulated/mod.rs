//! A GPU for the tests of an engine, where there is none: the kernels' own source, compiled as C++
//! and run on the CPU.

use std::cell::UnsafeCell;
use std::ffi::c_void;

use longhand::hardware::gpu::{Argument, Gpu, GpuError};

pub struct EmulatedGpu;

impl EmulatedGpu {
    /// None where there is no C++ compiler, or where fibers are not wanted; then it says so.
    pub fn open() -> Option<Self> {
        if std::env::var_os("NO_EMULATED_GPU").is_some() {
            eprintln!("skipped: no kernel is tested, for NO_EMULATED_GPU is set");
            return None;
        }
        match emulated_gpu::missing() {
            // Miri runs no C++.
            None => (!cfg!(miri)).then_some(Self),
            Some(reason) => {
                eprintln!("skipped: no kernel is tested, for there is no C++ compiler: {reason}");
                None
            }
        }
    }
}

/// Memory that kernels write though it is only lent to them, as a GPU's is.
pub struct Memory {
    /// Aligned for any number.
    words: Box<[UnsafeCell<u128>]>,
    bytes: usize,
}

// SAFETY: what is in it is reached through `Gpu` alone, whose calls come one after the other.
unsafe impl Send for Memory {}

impl Memory {
    /// The address of byte `at`, of `count` bytes that are there.
    fn address(&self, at: usize, count: usize) -> Result<*mut u8, GpuError> {
        if at.checked_add(count).is_none_or(|end| end > self.bytes) {
            let reason = format!("{count} bytes from {at} on are not in {}", self.bytes);
            return Err(GpuError::new("copy", reason));
        }
        let start = self.words.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: `at` is at most the memory's length.
        Ok(unsafe { start.add(at) })
    }
}

impl Gpu for EmulatedGpu {
    type Memory = Memory;

    fn name(&self) -> String {
        "emulated".to_owned()
    }

    fn allocate(&self, bytes: usize) -> Result<Memory, GpuError> {
        // All bits set are NaN, which a kernel that reads what nobody wrote would spread.
        let words = (0..bytes.div_ceil(16)).map(|_| UnsafeCell::new(u128::MAX));
        Ok(Memory {
            words: words.collect(),
            bytes,
        })
    }

    fn upload(&self, to: &Memory, at: usize, bytes: &[u8]) -> Result<(), GpuError> {
        let address = to.address(at, bytes.len())?;
        // SAFETY: so many bytes are there, and nobody else reads or writes them meanwhile.
        unsafe { address.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn download(&self, from: &Memory, at: usize, to: &mut [u8]) -> Result<(), GpuError> {
        let address = from.address(at, to.len())?;
        // SAFETY: as in `upload`; every byte was written when it was allocated.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(address, to.len()) };
        Ok(())
    }

    unsafe fn launch(
        &self,
        kernel: &'static str,
        blocks: u32,
        threads: u32,
        arguments: &[Argument<Memory>],
    ) -> Result<(), GpuError> {
        // A kernel is given the address of each argument.
        let addresses = arguments.iter().map(|argument| match argument {
            Argument::Memory(memory, at) => memory.address(*at, 0),
            _ => Ok(std::ptr::null_mut()),
        });
        let addresses: Vec<*mut u8> = addresses.collect::<Result<_, _>>()?;
        let mut pointers: Vec<*mut c_void> = (arguments.iter().zip(&addresses))
            .map(|(argument, address)| {
                let place: *const c_void = match argument {
                    Argument::Memory(..) => std::ptr::from_ref(address).cast(),
                    Argument::I32(number) => std::ptr::from_ref(number).cast(),
                    Argument::U32(number) => std::ptr::from_ref(number).cast(),
                    Argument::U64(number) => std::ptr::from_ref(number).cast(),
                    Argument::F32(number) => std::ptr::from_ref(number).cast(),
                    Argument::F64(number) => std::ptr::from_ref(number).cast(),
                    Argument::Windows(sizes) => std::ptr::from_ref(sizes).cast(),
                    Argument::Linear(sizes) => std::ptr::from_ref(sizes).cast(),
                };
                place.cast_mut()
            })
            .collect();
        // SAFETY: the caller's, and a kernel does not write its arguments.
        let launched = unsafe { emulated_gpu::launch(kernel, blocks, threads, &mut pointers) };
        launched.map_err(|reason| GpuError::new("launch", reason))
    }
}
