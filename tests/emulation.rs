//! The GPU that the tests emulate does what a GPU does, and finds what a GPU would hang at.

mod emulated;

use emulated::EmulatedGpu;
use longhand::hardware::gpu::{Argument, Gpu};

/// What a kernel leaves in so many numbers, in `blocks` blocks.
fn run(kernel: &'static str, blocks: u32, threads: u32) -> Option<Result<Vec<i32>, String>> {
    let gpu = EmulatedGpu::open()?;
    let mut bytes = vec![0; 4 * (blocks * threads) as usize];
    let memory = gpu.allocate(bytes.len()).unwrap();
    gpu.upload(&memory, 0, &bytes).unwrap();
    // SAFETY: the planted kernels write a number a thread, and no more.
    let launched = unsafe { gpu.launch(kernel, blocks, threads, &[Argument::Memory(&memory, 0)]) };
    Some(launched.map_err(|error| error.to_string()).map(|()| {
        gpu.download(&memory, 0, &mut bytes).unwrap();
        let (numbers, _) = bytes.as_chunks::<4>();
        numbers.iter().map(|&x| i32::from_ne_bytes(x)).collect()
    }))
}

#[test]
fn threads_meet_at_a_barrier_block_by_block() {
    for threads in [1, 32, 250, 1024] {
        let Some(found) = run("planted_rotation", 3, threads) else {
            return;
        };
        let threads = threads as i32;
        let expected = (0..3).flat_map(|b| (0..threads).map(move |t| (t + 1) % threads + 1000 * b));
        assert_eq!(found.unwrap(), expected.collect::<Vec<_>>());
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
