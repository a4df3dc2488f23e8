//! The GPU, where there is one: the ladder of a product, and epochs with each rung of convolution's.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use longhand::data::{self, Dataset, Images, Normalisation};
use longhand::engines::cuda;
use longhand::engines::{Cuda, Engine};
use longhand::hardware::gpu::sgemm::{self, LADDER};
use longhand::hardware::gpu::{Device, Gpu, GpuError, peak};
use longhand::network::{Description, Network, Preset};
use longhand::optimisers::{StepRule, TrainingState};

use crate::machine::Limits;
use crate::{Bench, Case, check, random};

/// Rows and columns of square products: a small one, which the last must fill a GPU with, and a large
/// one.
const PRODUCTS: [usize; 3] = [256, 1024, 4096];

/// Launches before the clock is read, so that what it costs to wait is shared.
const LAUNCHES: usize = 10;

const RUNGS: [(&str, cuda::Rung); 4] = [
    ("direct", cuda::Rung::Direct),
    ("implicit_gemm", cuda::Rung::ImplicitGemm),
    ("fused", cuda::Rung::Fused),
    ("whole", cuda::Rung::Whole),
];

pub fn bench(bench: &mut Bench) {
    let gpu = match Device::open_with_all(0) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("No GPU is timed. {error}");
            return;
        }
    };
    match measure(&gpu) {
        Ok(limits) => bench.machine.gpu = Some((gpu.name(), limits)),
        // Another program may have its memory.
        Err(error) => {
            println!("No GPU is timed. {error}");
            return;
        }
    }
    for size in PRODUCTS {
        products(bench, &gpu, size).expect("the GPU runs kernels");
    }
    epochs(bench, &gpu);
}

/// Multiplying and adding, and memory: the best of some runs.
fn measure(gpu: &Device) -> Result<Limits, GpuError> {
    const BLOCKS: u32 = 132 * 16;
    // 512 MiB each, many times a GPU's cache.
    const NUMBERS: usize = 1 << 27;
    let sums = gpu.allocate(4 * 256 * BLOCKS as usize)?;
    let [a, b, c] = [
        gpu.allocate(4 * NUMBERS)?,
        gpu.allocate(4 * NUMBERS)?,
        gpu.allocate(4 * NUMBERS)?,
    ];
    let (mut gflops, mut gbs) = (0.0_f64, 0.0_f64);
    for _ in 0..10 {
        let start = Instant::now();
        // SAFETY: there is a number for each thread.
        let done = unsafe { peak::multiply_and_add(gpu, BLOCKS, 20_000, &sums)? };
        wait(gpu, &sums)?;
        gflops = gflops.max(done as f64 / start.elapsed().as_secs_f64() / 1e9);
        let start = Instant::now();
        // SAFETY: all three are of this size.
        let moved = unsafe { peak::triad(gpu, NUMBERS, [&a, &b, &c])? };
        wait(gpu, &a)?;
        gbs = gbs.max(moved as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    Ok(Limits { gflops, gbs })
}

/// Until all kernels are done.
fn wait<G: Gpu>(gpu: &G, memory: &G::Memory) -> Result<(), GpuError> {
    gpu.download(memory, 0, &mut [0; 4])
}

/// Square matrices of this size, by every rung.
fn products(bench: &mut Bench, gpu: &Device, size: usize) -> Result<(), GpuError> {
    let [a, b] = [1, 2].map(|part| random(part, size * size));
    let memory = |numbers: &[f32]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_ne_bytes()).collect();
        let memory = gpu.allocate(bytes.len())?;
        gpu.upload(&memory, 0, &bytes)?;
        Ok::<_, GpuError>(memory)
    };
    let (on_gpu_a, on_gpu_b) = (memory(&a)?, memory(&b)?);
    let c = gpu.allocate(4 * size * size)?;
    let run = |rung: &sgemm::Rung| {
        // SAFETY: all three are of this size.
        unsafe { rung.launch(gpu, [size; 3], &on_gpu_a, &on_gpu_b, &c) }
    };
    for rung in &LADDER {
        run(rung)?;
        // Some rows are enough to know it by.
        let mut found = vec![0; 4 * size];
        for row in [0, size / 2, size - 1] {
            gpu.download(&c, 4 * row * size, &mut found)?;
            let (words, _) = found.as_chunks::<4>();
            let found: Vec<f32> = words.iter().map(|&x| f32::from_ne_bytes(x)).collect();
            let mut expected = vec![0.0; size];
            for k in 0..size {
                for (sum, &b) in expected.iter_mut().zip(&b[k * size..]) {
                    *sum += f64::from(a[row * size + k]) * f64::from(b);
                }
            }
            check(rung.kernel, &found, &expected);
        }
        let case = Case {
            group: "gpu_sgemm",
            way: rung.kernel.trim_start_matches("sgemm_").to_owned(),
            shape: format!("{size}x{size}x{size}"),
            times: LAUNCHES,
            flops: 2 * (size as u64).pow(3),
            bytes: 12 * (size as u64).pow(2),
            ..Case::default()
        };
        bench.time(case, |_| {
            for _ in 0..LAUNCHES {
                run(rung).expect("it was run above");
            }
            wait(gpu, &c).expect("it was run above");
        });
    }
    Ok(())
}

/// An epoch of the tutorial's network at two batch sizes, and of a wider convolution.
fn epochs(bench: &mut Bench, gpu: &Device) {
    let mnist = data::mnist().expect("MNIST is compiled in");
    let tutorial = Preset::ALL[0].description(mnist.train.classes());
    let wide: Description =
        "input 32x28x28, conv2d 64 3 padding=1, relu, max_pool2d 2, flatten, linear 10"
            .parse()
            .expect("it is a network's text");
    let bytes = random(3, 4096 * 32 * 784)
        .into_iter()
        .map(|x| (128.0 + 127.0 * x) as u8);
    let images = Images::new([32, 28, 28], Vec::from_iter(bytes)).expect("they are whole images");
    let labels = (0..4096).map(|index| (index % 10) as u8).collect();
    let many_channels = Dataset::new(images, labels, 10).expect("there is a label an image");
    for (description, data, batch) in [
        (&tutorial, &mnist.train, 32),
        (&tutorial, &mnist.train, 1024),
        (&wide, &many_channels, 256),
    ] {
        let network = Network::new(description, Some(data.images().shape()));
        let network = network.expect("the network fits the images");
        for (way, rung) in RUNGS {
            let gpu = gpu.another().expect("the GPU has a stream");
            epoch(bench, gpu, &network, data, (batch, rung, way));
        }
    }
}

fn epoch(
    bench: &mut Bench,
    gpu: Device,
    network: &Network,
    data: &Dataset,
    (batch_size, rung, way): (usize, cuda::Rung, &str),
) {
    let [channels, ..] = network.input();
    let normalisation = Normalisation::none(channels);
    let engine = Cuda::with(gpu, network.clone(), &normalisation, rung);
    let mut engine = engine.expect("the GPU has memory for it");
    let state = TrainingState::initial(network, 1);
    engine.load(&state).expect("the state is the network's");
    let rule = StepRule {
        batch_size,
        ..StepRule::default()
    };
    let order = data::shuffled(data.len(), 0, 1);
    let [c, h, w] = network.input();
    let case = Case {
        group: "gpu_epoch",
        way: way.to_owned(),
        shape: format!("{} images of {c}x{h}x{w}, batch {batch_size}", data.len()),
        flops: data.len() as u64 * network.training_flops(),
        ..Case::default()
    };
    bench.time(case, |_| {
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        let metrics = engine.train_epoch(data, &order, &rule, go_on);
        black_box(metrics.expect("the data suit the network"));
    });
}
