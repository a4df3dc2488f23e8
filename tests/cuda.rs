//! What the engine of GPUs alone has: recorded steps, and images that stay from epoch to epoch. All else
//! is in `engines.rs`.

mod emulated;

use std::ops::ControlFlow;

use emulated::EmulatedGpu;
use longhand::data::{Dataset, Images, Normalisation};
use longhand::engines::{Cuda, Engine};
use longhand::hardware::gpu::{Device, Gpu};
use longhand::network::{Description, Network};
use longhand::optimisers::{Adam, Optimiser, StepRule, TrainingState};

const NETWORK: &str =
    "input 1x12x11, conv2d 3 3, relu, max_pool2d 2, dropout 0.3, flatten, linear 4";

fn network() -> Network {
    let description: Description = NETWORK.parse().unwrap();
    Network::new(&description, None).unwrap()
}

/// Examples of 4 classes, others for another `seed`.
fn examples(count: usize, seed: usize) -> Dataset {
    let bytes = (0..count * 132).map(|i| (((i + 77 * seed) * 2_654_435_761) >> 7) as u8);
    let images = Images::new([1, 12, 11], bytes.collect()).unwrap();
    let labels = (0..count).map(|i| ((i + seed) % 4) as u8).collect();
    Dataset::new(images, labels, 4).unwrap()
}

/// Everything that a step can do.
fn rule() -> StepRule {
    StepRule {
        batch_size: 8,
        optimiser: Optimiser::Adam(Adam::adamw()),
        clip_norm: Some(0.5),
        average: Some(0.9),
        seed: 5,
        ..StepRule::default()
    }
}

fn engine<G: Gpu>(gpu: G) -> Cuda<G> {
    let normalisation = Normalisation::new(vec![0.5], vec![0.3]).unwrap();
    let mut engine = Cuda::new(gpu, network(), &normalisation).unwrap();
    let state = TrainingState::initial(&network(), 1);
    engine.load(&state).unwrap();
    engine
}

/// The state behind an epoch over each of these.
fn state_behind(engine: &mut dyn Engine, epochs: &[&Dataset]) -> TrainingState {
    for data in epochs {
        let order: Vec<u32> = (0..data.len() as u32).rev().collect();
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        let metrics = engine.train_epoch(data, &order, &rule(), go_on).unwrap();
        assert_eq!(metrics.examples, data.len());
    }
    engine.state().unwrap()
}

/// With a short batch at the end of each epoch.
#[test]
fn a_recorded_step_does_what_its_launches_do() {
    let data = examples(29, 0);
    let Some([recording, plain]) = EmulatedGpu::open()
        .zip(EmulatedGpu::without_graphs())
        .map(<[_; 2]>::from)
    else {
        return;
    };
    let [recorded, launched] =
        [recording, plain].map(|gpu| state_behind(&mut engine(gpu), &[&data, &data]));
    assert_eq!(recorded, launched);
    assert_eq!(recorded.steps, 8);
}

#[test]
fn images_stay_only_as_long_as_they_are_the_same() {
    if let Some(gpu) = EmulatedGpu::open() {
        learns_from_what_it_is_given(gpu, EmulatedGpu::open().unwrap());
    }
    if let (Ok(one), Ok(other)) = (Device::open(0), Device::open(0)) {
        learns_from_what_it_is_given(one, other);
    }
}

fn learns_from_what_it_is_given<G: Gpu>(one: G, other: G) {
    let [first, second] = [0, 1].map(|seed| examples(20, seed));
    let found = state_behind(&mut engine(one), &[&first, &first.clone(), &second, &first]);
    // A batch brings its own images.
    let mut fresh = engine(other);
    for data in [&first, &first, &second, &first] {
        let order: Vec<u32> = (0..20).rev().collect();
        for batch in longhand::data::batches(data, &order, 8) {
            fresh.train_batch(&batch, &rule()).unwrap();
        }
    }
    assert_eq!(found, fresh.state().unwrap());
}

/// Kernels whose blocks add up together must not depend on which of them comes last.
#[test]
fn the_same_seed_gives_the_same_bits() {
    let data = examples(29, 2);
    if let Some(gpu) = EmulatedGpu::open() {
        let [one, other] = [gpu, EmulatedGpu::open().unwrap()]
            .map(|gpu| state_behind(&mut engine(gpu), &[&data, &data]));
        assert_eq!(one, other);
    }
    if let (Ok(one), Ok(other)) = (Device::open(0), Device::open(0)) {
        let [one, other] = [one, other].map(|gpu| state_behind(&mut engine(gpu), &[&data, &data]));
        assert_eq!(one, other);
    }
}
