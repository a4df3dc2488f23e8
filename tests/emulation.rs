//! The GPU that the tests emulate does what a GPU does, and finds what a GPU would hang at.

mod emulated;

use emulated::EmulatedGpu;
use longhand::hardware::gpu::{Argument, Gpu, Grid};

/// What a kernel leaves in so many numbers a thread, in `blocks` blocks with a number of shared memory
/// for each thread.
fn run_with(
    kernel: &'static str,
    [blocks, threads, each]: [u32; 3],
) -> Option<Result<Vec<i32>, String>> {
    let gpu = EmulatedGpu::open()?;
    let mut bytes = vec![0; 4 * (blocks * threads * each) as usize];
    let memory = gpu.allocate(bytes.len()).unwrap();
    gpu.upload(&memory, 0, &bytes).unwrap();
    let grid = Grid {
        blocks,
        threads,
        shared: 4 * threads,
    };
    // SAFETY: the planted kernels write so many numbers a thread, and no more.
    let launched = unsafe { gpu.launch(kernel, grid, &[Argument::Memory(&memory, 0)]) };
    Some(launched.map_err(|error| error.to_string()).map(|()| {
        gpu.download(&memory, 0, &mut bytes).unwrap();
        let (numbers, _) = bytes.as_chunks::<4>();
        numbers.iter().map(|&x| i32::from_ne_bytes(x)).collect()
    }))
}

/// The same with a number a thread.
fn run(kernel: &'static str, blocks: u32, threads: u32) -> Option<Result<Vec<i32>, String>> {
    run_with(kernel, [blocks, threads, 1])
}

#[test]
fn threads_meet_at_a_barrier_block_by_block() {
    for threads in [1, 32, 250, 1024] {
        // Shared memory that the kernel declares, and that the launch gives.
        for kernel in ["planted_rotation", "planted_shared"] {
            let Some(found) = run(kernel, 3, threads) else {
                return;
            };
            let threads = threads as i32;
            let block = |b| (0..threads).map(move |t| (t + 1) % threads + 1000 * b);
            let expected: Vec<i32> = (0..3).flat_map(block).collect();
            assert_eq!(found.unwrap(), expected, "{kernel}");
        }
    }
}

#[test]
fn a_barrier_that_not_all_threads_reach_is_found() {
    let Some(found) = run("planted_divergence", 1, 64) else {
        return;
    };
    let error = found.unwrap_err();
    let expected = "planted_divergence: only 32 of 64 threads reach a barrier";
    assert!(error.contains(expected), "{error}");
    // And the next launch knows nothing of it.
    let again = run("planted_rotation", 2, 64).unwrap();
    assert_eq!(again.unwrap()[..2], [1, 2]);
}

#[test]
fn a_warp_shuffles_and_votes() {
    let Some(found) = run_with("planted_warp", [2, 96, 5]) else {
        return;
    };
    // Both blocks write the same numbers, and count themselves in the last.
    for (thread, numbers) in found.unwrap().chunks(5).take(96).enumerate() {
        let warp = thread / 32;
        // The sum of 32 numbers from 32 warp on.
        let sum = 32 * 32 * warp + 496;
        let last = 32 * warp + 31;
        // At a warp's ends a thread is its own neighbour.
        let apart = if thread % 32 % 31 == 0 { 1 } else { 2 };
        assert_eq!(numbers, [sum as i32, last as i32, apart, 1, 2], "{thread}");
    }
}

#[test]
fn a_wrong_mask_is_found() {
    for (kernel, reason) in [
        (
            "planted_mask",
            "planted_mask: the mask of thread 0 names lane 16, which is not there",
        ),
        (
            "planted_other_mask",
            "planted_other_mask: the mask of thread 16 does not name itself",
        ),
    ] {
        let Some(found) = run(kernel, 1, 64) else {
            return;
        };
        let error = found.unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    assert!(run("planted_rotation", 2, 64).unwrap().is_ok());
}

#[test]
fn what_cannot_be_launched_says_why() {
    let Some(found) = run("planted_barrier", 1, 1) else {
        return;
    };
    assert!(found.unwrap_err().contains("not listed as one that has"));
    for (kernel, blocks, threads, reason) in [
        ("no_such", 1, 1, "no_such: there is no such kernel"),
        ("planted_rotation", 1, 1025, "1 to 1024 threads"),
    ] {
        let error = run(kernel, blocks, threads).unwrap().unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn copies_stay_inside_the_memory() {
    let Some(gpu) = EmulatedGpu::open() else {
        return;
    };
    let memory = gpu.allocate(10).unwrap();
    gpu.upload(&memory, 6, &[1; 4]).unwrap();
    assert!(gpu.upload(&memory, 7, &[1; 4]).is_err());
    assert!(gpu.download(&memory, usize::MAX, &mut [0; 4]).is_err());
    // What nobody wrote is NaN.
    let mut bytes = [0; 4];
    gpu.download(&memory, 0, &mut bytes).unwrap();
    assert!(f32::from_ne_bytes(bytes).is_nan());
}

/// Without its sanitizer nobody sees what is wrong.
#[test]
#[ignore = "wrong on purpose: scripts/soundness.sh sees that AddressSanitizer finds it"]
fn planted_overrun() {
    assert!(run("planted_overrun", 1, 64).unwrap().is_ok());
}

#[test]
#[ignore = "wrong on purpose: scripts/soundness.sh sees that ThreadSanitizer finds it"]
fn planted_race() {
    assert!(run("planted_race", 1, 64).unwrap().is_ok());
}
