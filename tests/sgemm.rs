//! Every rung of the ladder of `kernels/sgemm.cu` gives the product, on sizes that its tiles fit and on
//! sizes that they do not.

mod emulated;

use emulated::{EmulatedGpu, gpu};
use longhand::hardware::gpu::Gpu;
use longhand::hardware::gpu::sgemm::LADDER;

/// Whole numbers from -3 to 3, of which all sums are exact.
fn whole_numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |index: usize| (index + 1) * (2 * seed + 7) * 2_654_435_761 % 1_000_003 % 7;
    (0..count).map(|index| number(index) as f32 - 3.0).collect()
}

fn product([m, n, k]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<f32> {
    let at = |row: usize, column: usize| {
        (0..k)
            .map(|l| a[row * k + l] * b[l * n + column])
            .sum::<f32>()
    };
    (0..m * n).map(|place| at(place / n, place % n)).collect()
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

#[test]
fn every_rung_gives_the_product() {
    if let Some(gpu) = EmulatedGpu::open() {
        gives_the_product(&gpu);
    }
    if let Some(gpu) = gpu() {
        gives_the_product(&gpu);
    }
}

fn gives_the_product(gpu: &impl Gpu) {
    for sizes in [
        [1, 1, 1],
        [128, 128, 8],
        [64, 128, 64],
        [130, 259, 36],
        [33, 65, 17],
        [3, 200, 1],
        [200, 3, 100],
        [129, 132, 7],
        [256, 512, 48],
        [129, 260, 16],
        [300, 516, 32],
        [128, 256, 24],
        [130, 258, 32],
    ] {
        let [m, n, k] = sizes;
        let (a, b) = (whole_numbers(m * k, 1), whole_numbers(k * n, 2));
        let expected = product(sizes, &a, &b);
        let memory = |numbers: &[f32]| {
            let memory = gpu.allocate(4 * numbers.len()).unwrap();
            gpu.upload(&memory, 0, &bytes(numbers)).unwrap();
            memory
        };
        let (a, b) = (memory(&a), memory(&b));
        for rung in LADDER {
            // What no thread writes stays NaN; what is written behind the end is found below.
            let c = gpu.allocate(4 * (m * n + 1)).unwrap();
            gpu.upload(&c, 0, &vec![0xff; 4 * (m * n + 1)]).unwrap();
            // SAFETY: the three memories are of these sizes.
            unsafe { rung.launch(gpu, sizes, &a, &b, &c) }.unwrap();
            let mut found = vec![0; 4 * (m * n + 1)];
            gpu.download(&c, 0, &mut found).unwrap();
            let (found, behind) = found.split_at(4 * m * n);
            assert!(found == bytes(&expected), "{} of {sizes:?}", rung.kernel);
            assert_eq!(behind, [0xff; 4], "{} of {sizes:?}", rung.kernel);
        }
    }
}

#[test]
fn a_product_without_a_number_is_none() {
    let Some(gpu) = EmulatedGpu::open() else {
        return;
    };
    let memory = gpu.allocate(4).unwrap();
    for rung in LADDER {
        // SAFETY: nothing is read or written.
        unsafe { rung.launch(&gpu, [0, 5, 0], &memory, &memory, &memory) }.unwrap();
        // SAFETY: it is refused.
        let large = unsafe { rung.launch(&gpu, [1 << 20, 1 << 20, 1], &memory, &memory, &memory) };
        assert!(large.unwrap_err().to_string().contains(rung.kernel));
    }
}
