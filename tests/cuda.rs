//! What the engine of GPUs alone has: recorded steps, and images that stay from epoch to epoch. All else
//! is in `engines.rs`.

mod emulated;

use std::ops::ControlFlow;

use emulated::{EmulatedGpu, gpu};
use longhand::data::{Batch, Dataset, Images, Normalisation, batches};
use longhand::engines::cuda::Rung;
use longhand::engines::{Cuda, Engine};
use longhand::hardware::gpu::{Gpu, peak};
use longhand::network::{Description, Network, Preset};
use longhand::optimisers::{Adam, Optimiser, StepRule, TrainingState};

/// One that needs every kernel there is, on one rung or another, but those of [`CONVNET`].
const NETWORK: &str = "input 1x16x15, conv2d 3 3, relu, max_pool2d 2, conv2d 4 3 stride=2, relu, \
                       dropout 0.3, max_pool2d 2 stride=1, flatten, linear 5, linear 4";

/// One whose steps are three kernels.
const CONVNET: &str = "input 1x16x15, conv2d 3 3, relu, max_pool2d 2, conv2d 4 3 padding=1, relu, \
                       max_pool2d 2, flatten, linear 5, relu, dropout 0.3, linear 4";

/// One with a single convolution.
const ONE_CONVOLUTION: &str = "input 1x16x15, conv2d 3 5, relu, max_pool2d 2, flatten, linear 4";

fn network(text: &str) -> Network {
    let description: Description = text.parse().unwrap();
    Network::new(&description, None).unwrap()
}

/// Examples of 4 classes, others for another `seed`.
fn examples(count: usize, seed: usize) -> Dataset {
    let bytes = (0..count * 240).map(|i| (((i + 77 * seed) * 2_654_435_761) >> 7) as u8);
    let images = Images::new([1, 16, 15], Vec::from_iter(bytes)).unwrap();
    let labels = (0..count).map(|i| ((i + seed) % 4) as u8).collect();
    Dataset::new(images, labels, 4).unwrap()
}

/// Everything that a step can do, in two.
fn rules() -> [StepRule; 2] {
    let plain = StepRule {
        batch_size: 8,
        average: Some(0.9),
        seed: 5,
        ..StepRule::default()
    };
    let optimiser = Optimiser::Adam(Adam::adamw());
    let clip_norm = Some(0.5);
    let other = StepRule {
        optimiser,
        clip_norm,
        ..plain
    };
    [plain, other]
}

fn engine<G: Gpu>(text: &str, gpu: G) -> Cuda<G> {
    engine_on(Rung::default(), text, gpu)
}

fn engine_on<G: Gpu>(rung: Rung, text: &str, gpu: G) -> Cuda<G> {
    let network = network(text);
    let normalisation = Normalisation::new(vec![0.5], vec![0.3]).unwrap();
    let state = TrainingState::initial(&network, 1);
    let mut engine = Cuda::with(gpu, network, &normalisation, rung).unwrap();
    engine.load(&state).unwrap();
    engine
}

/// The state behind an epoch over each of these by each rule.
fn state_behind(engine: &mut dyn Engine, epochs: &[&Dataset]) -> TrainingState {
    for rule in rules() {
        for data in epochs {
            let order: Vec<u32> = (0..data.len() as u32).rev().collect();
            let go_on = &mut |_: &_| ControlFlow::Continue(());
            let metrics = engine.train_epoch(data, &order, &rule, go_on).unwrap();
            assert_eq!(metrics.examples, data.len());
        }
    }
    engine.state().unwrap()
}

/// With a short batch at the end of each epoch.
#[test]
fn a_recorded_step_does_what_its_launches_do() {
    let data = examples(29, 0);
    for text in [NETWORK, CONVNET] {
        let Some((recording, plain)) = EmulatedGpu::open().zip(EmulatedGpu::without_graphs())
        else {
            return;
        };
        let [recorded, launched] =
            [recording, plain].map(|gpu| state_behind(&mut engine(text, gpu), &[&data, &data]));
        assert_eq!(recorded, launched);
        assert_eq!(recorded.steps, 16);
    }
}

#[test]
fn images_stay_only_as_long_as_they_are_the_same() {
    for text in [NETWORK, CONVNET] {
        if let Some((one, other)) = EmulatedGpu::open().zip(EmulatedGpu::open()) {
            learns_from_what_it_is_given(text, one, other);
        }
        if let Some((one, other)) = gpu().zip(gpu()) {
            learns_from_what_it_is_given(text, one, other);
        }
    }
}

fn learns_from_what_it_is_given<G: Gpu>(text: &str, one: G, other: G) {
    let [first, second] = [0, 1].map(|seed| examples(20, seed));
    let found = state_behind(
        &mut engine(text, one),
        &[&first, &first.clone(), &second, &first],
    );
    // A batch brings its own images.
    let mut fresh = engine(text, other);
    let order: Vec<u32> = (0..20).rev().collect();
    for rule in rules() {
        for data in [&first, &first, &second, &first] {
            for batch in batches(data, &order, 8) {
                fresh.train_batch(&batch, &rule).unwrap();
            }
        }
    }
    assert_eq!(found, fresh.state().unwrap());
}

/// Blocks come in any order on a GPU: what they compute must not depend on which of them is last.
#[test]
fn the_same_seed_gives_the_same_bits() {
    for (rung, text) in [
        (Rung::Direct, NETWORK),
        (Rung::ImplicitGemm, NETWORK),
        (Rung::Fused, NETWORK),
        (Rung::Whole, CONVNET),
        (Rung::Whole, ONE_CONVOLUTION),
    ] {
        if let Some(gpus) = EmulatedGpu::open().zip(EmulatedGpu::backwards()) {
            gives_the_same_bits(rung, text, gpus);
        }
        if let Some(gpus) = gpu().zip(gpu()) {
            gives_the_same_bits(rung, text, gpus);
        }
    }
}

/// More examples than a step has blocks: one has several of them, one after the other.
#[test]
fn a_block_takes_several_examples() {
    for text in [CONVNET, ONE_CONVOLUTION] {
        if let Some(gpus) = EmulatedGpu::open().zip(EmulatedGpu::backwards()) {
            agree_on_many_examples(text, gpus);
        }
        if let Some(gpus) = gpu().zip(gpu()) {
            agree_on_many_examples(text, gpus);
        }
    }
}

fn agree_on_many_examples<G: Gpu>(text: &str, (one, other): (G, G)) {
    let data = examples(131, 3);
    let indices: Vec<u32> = (0..131).collect();
    let batch = Batch::new(&data, &indices);
    let [rule, _] = rules();
    let gradients = |rung, gpu| {
        let (_, gradients) = engine_on(rung, text, gpu).gradients(&batch, &rule).unwrap();
        gradients
    };
    let (found, expected) = (gradients(Rung::Whole, one), gradients(Rung::Fused, other));
    let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        let error = (found - expected).abs() / largest;
        assert!(error <= 1e-5, "{text}: {error:e}");
    }
}

fn gives_the_same_bits<G: Gpu>(rung: Rung, text: &str, (one, other): (G, G)) {
    let data = examples(29, 2);
    let [one, other] =
        [one, other].map(|gpu| state_behind(&mut engine_on(rung, text, gpu), &[&data, &data]));
    assert_eq!(one, other);
}

/// What a step launches, for between kernels a GPU waits longer than they take.
#[test]
fn a_step_of_a_small_network_is_three_kernels() {
    let [tutorial, lenet5, _] =
        Preset::ALL.map(|preset| format!("input 1x28x28, {}", preset.description(4)));
    for text in [CONVNET, ONE_CONVOLUTION, &tutorial, &lenet5] {
        let Some(gpu) = EmulatedGpu::open() else {
            return;
        };
        let launched = gpu.launched();
        let [channels, height, width] = network(text).input();
        let bytes = vec![7; 3 * channels * height * width];
        let images = Images::new([channels, height, width], bytes).unwrap();
        let data = Dataset::new(images, vec![0, 1, 2], 4).unwrap();
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        engine(text, gpu)
            .train_epoch(&data, &[2, 0, 1], &StepRule::default(), go_on)
            .unwrap();
        let expected = ["convnet_forward", "convnet_backward", "convnet_update"];
        assert_eq!(*launched.lock().unwrap(), expected);
    }
}

/// Where it is refused, an epoch goes on without, and nobody would notice but by its time.
#[test]
fn launches_are_recorded_and_replayed() {
    if let Some(gpu) = EmulatedGpu::open() {
        records(&gpu);
    }
    if let Some(gpu) = gpu() {
        records(&gpu);
    }
}

fn records(gpu: &impl Gpu) {
    let bytes = |x: f32| [x; 64].map(f32::to_ne_bytes).concat();
    let memory = |x| {
        let memory = gpu.allocate(256).unwrap();
        gpu.upload(&memory, 0, &bytes(x)).unwrap();
        memory
    };
    let [a, b, c] = [0.0, 3.0, 4.0].map(memory);
    let found = || {
        let mut found = vec![0; 256];
        gpu.download(&a, 0, &mut found).unwrap();
        found
    };
    let graph = gpu.record(|| {
        // SAFETY: all are of this size.
        unsafe { peak::triad(gpu, 64, [&a, &b, &c]) }.map(drop)
    });
    let graph = graph.expect("it is recorded");
    assert!(
        found() == bytes(0.0),
        "nothing is done while it is recorded"
    );
    // SAFETY: what was recorded is still there.
    unsafe { gpu.replay(&graph) }.unwrap();
    assert!(found() == bytes(11.0));
    gpu.upload(&b, 0, &bytes(5.0)).unwrap();
    // SAFETY: likewise.
    unsafe { gpu.replay(&graph) }.unwrap();
    assert!(found() == bytes(13.0), "it reads what is there now");
}

/// What the benches call a peak must have been computed.
#[test]
fn the_kernels_that_measure_a_gpu_do_what_they_say() {
    if let Some(gpu) = EmulatedGpu::open() {
        measures(&gpu);
    }
    if let Some(gpu) = gpu() {
        measures(&gpu);
    }
}

fn measures(gpu: &impl Gpu) {
    const COUNT: usize = 1000;
    let bytes =
        |numbers: &[f32]| -> Vec<u8> { numbers.iter().flat_map(|x| x.to_ne_bytes()).collect() };
    let memory = |numbers: &[f32]| {
        let memory = gpu.allocate(4 * numbers.len()).unwrap();
        gpu.upload(&memory, 0, &bytes(numbers)).unwrap();
        memory
    };
    let [a, b, c] = [0.0, 3.0, 4.0].map(|x| memory(&[x; COUNT]));
    // SAFETY: all are of this size.
    let moved = unsafe { peak::triad(gpu, COUNT, [&a, &b, &c]) }.unwrap();
    assert_eq!(moved, 12_000);
    let mut found = vec![0; 4 * COUNT];
    gpu.download(&a, 0, &mut found).unwrap();
    assert!(found == bytes(&[11.0; COUNT]));

    let numbers = memory(&[0.0; 512]);
    // SAFETY: two blocks have 512 threads.
    let done = unsafe { peak::multiply_and_add(gpu, 2, 3, &numbers) }.unwrap();
    assert_eq!(done, 16 * 512 * 3);
    let mut found = vec![0; 4 * 512];
    gpu.download(&numbers, 0, &mut found).unwrap();
    // Each chain is (((i + k) / 2 + 1/2) / 2 + 1/2) / 2 + 1/2.
    let expected = |i: usize| (0..8).map(|k| (i + k) as f32 / 8.0 + 0.875).sum::<f32>();
    assert!(found == bytes(&(0..512).map(expected).collect::<Vec<_>>()));
}
