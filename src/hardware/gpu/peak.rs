//! The kernels of `kernels/peak.cu`: what a GPU can do at most.

use super::{Argument, Gpu, GpuError, Grid};

/// Threads of a block.
const THREADS: u32 = 256;

/// Multiplies and adds in so many blocks, `rounds` times a thread.
///
/// - `numbers`: (256 blocks), written
///
/// Gives how many floating-point operations that is.
///
/// # Errors
/// If the kernel cannot be run.
///
/// # Safety
/// The memory must be as large.
pub unsafe fn multiply_and_add<G: Gpu>(
    gpu: &G,
    blocks: u32,
    rounds: i32,
    numbers: &G::Memory,
) -> Result<u64, GpuError> {
    let grid = Grid {
        blocks,
        threads: THREADS,
        shared: 0,
    };
    let arguments = [
        Argument::Memory(numbers, 0),
        Argument::I32(rounds),
        Argument::F32(0.5),
    ];
    // SAFETY: these are the kernel's arguments; a thread writes one number.
    unsafe { gpu.launch("peak_fma", grid, &arguments)? };
    Ok(16 * u64::from(blocks) * u64::from(THREADS) * u64::from(rounds.unsigned_abs()))
}

/// `a = b + 2 c`.
///
/// - `a`: (count), written; `b`, `c`: (count), a multiple of 4
///
/// Gives how many bytes are read and written.
///
/// # Errors
/// If the kernel cannot be run, or there are 2^31 numbers or more.
///
/// # Safety
/// The memories must be as large.
pub unsafe fn triad<G: Gpu>(
    gpu: &G,
    count: usize,
    [a, b, c]: [&G::Memory; 3],
) -> Result<u64, GpuError> {
    let fours = i32::try_from(count / 4)
        .map_err(|_| GpuError::new("peak_triad", format!("{count} numbers")))?;
    let grid = Grid {
        blocks: fours.unsigned_abs().div_ceil(THREADS).max(1),
        threads: THREADS,
        shared: 0,
    };
    let arguments = [
        Argument::Memory(a, 0),
        Argument::Memory(b, 0),
        Argument::Memory(c, 0),
        Argument::I32(fours),
        Argument::F32(2.0),
    ];
    // SAFETY: these are the kernel's arguments; each thread is held to the count.
    unsafe { gpu.launch("peak_triad", grid, &arguments)? };
    Ok(3 * size_of::<f32>() as u64 * count as u64)
}
