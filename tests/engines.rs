//! One test body for every engine: each is held to the reference in f64, whatever it does inside.
//!
//! An engine joins by one line in [`engines`].

mod emulated;

use std::ops::ControlFlow;

use emulated::{EmulatedGpu, gpu};
use longhand::data::{Batch, Dataset, Images, Normalisation, batches};
use longhand::engines::check::{Case, against_reference};
use longhand::engines::lanes::{self, Convolutions, Settings};
use longhand::engines::{Cuda, Engine, EngineError, Im2col, Metrics, Reference, cuda};
use longhand::hardware::lanes::Path;
use longhand::layers::Shape;
use longhand::network::initialisation::initial_parameters;
use longhand::network::{Description, Network, Preset};
use longhand::optimisers::{
    Adam, Anneal, Optimiser, Schedule, Sgd, StepRule, Steps, TrainingState,
};
use longhand::random::{Purpose, Stream};
use longhand::tensor::{Tensor, relative_error};
use proptest::prelude::*;

/// What f32 leaves of random tensors, relative to the largest number.
const TOLERANCE: f64 = 1e-5;

/// The rungs of CUDA's kernels.
const LADDER: [cuda::Rung; 4] = [
    cuda::Rung::Whole,
    cuda::Rung::Fused,
    cuda::Rung::ImplicitGemm,
    cuda::Rung::Direct,
];

/// Every engine that computes in f32, for one network.
fn engines(network: &Network) -> Vec<Box<dyn Engine>> {
    engines_with(network, Convolutions::Fastest)
}

fn engines_with(network: &Network, convolutions: Convolutions) -> Vec<Box<dyn Engine>> {
    let normalisation = normalisation(network);
    let reference = Reference::new(network.clone(), normalisation.clone());
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(reference.unwrap())];
    // Miri does not know the instructions of its products.
    let im2col_threads: &[usize] = if cfg!(miri) { &[] } else { &[1, 3] };
    for &threads in im2col_threads {
        let im2col = Im2col::new(network.clone(), normalisation.clone(), Some(threads));
        engines.push(Box::new(im2col.unwrap()));
    }
    let paths = Path::ALL.into_iter().filter(|path| path.is_available());
    engines.extend(paths.flat_map(|path| {
        let settings = Settings { path, convolutions };
        [1, 3].map(|threads| lanes(network, threads, settings))
    }));
    for rung in LADDER {
        if let Some(gpu) = EmulatedGpu::open() {
            let cuda = Cuda::with(gpu, network.clone(), &normalisation, rung);
            engines.push(Box::new(cuda.unwrap()));
        }
        // Where there is a GPU, it is held to the same.
        if let Some(gpu) = gpu() {
            let cuda = Cuda::with(gpu, network.clone(), &normalisation, rung);
            engines.push(Box::new(cuda.unwrap()));
        }
    }
    engines
}

fn lanes(network: &Network, threads: usize, settings: Settings) -> Box<dyn Engine> {
    lanes::open(
        network.clone(),
        normalisation(network),
        Some(threads),
        settings,
    )
    .unwrap()
}

fn in_f64(network: &Network) -> Reference<f64> {
    Reference::new(network.clone(), normalisation(network)).unwrap()
}

fn normalisation(network: &Network) -> Normalisation {
    let [channels, ..] = network.input();
    let mean = (0..channels).map(|c| 0.2 + 0.1 * c as f32).collect();
    Normalisation::new(mean, vec![0.3; channels]).unwrap()
}

fn network(text: &str) -> Network {
    let description: Description = text.parse().unwrap();
    Network::new(&description, None).unwrap()
}

/// Examples whose images and labels are drawn from `seed`.
fn examples(network: &Network, count: usize, classes: usize, seed: u64) -> Dataset {
    let draws = Stream::new(seed, Purpose::Check, 1000);
    let pixels: usize = network.input().iter().product();
    let bytes: Vec<u8> = (0..count * pixels)
        .map(|index| draws.below(index as u64, 256) as u8)
        .collect();
    let labels = Stream::new(seed, Purpose::Check, 1001);
    let labels = (0..count)
        .map(|index| labels.below(index as u64, classes as u64) as u8)
        .collect();
    let images = Images::new(network.input(), bytes).unwrap();
    Dataset::new(images, labels, classes).unwrap()
}

fn rule(batch_size: usize) -> StepRule {
    StepRule {
        batch_size,
        optimiser: Optimiser::Sgd(Sgd {
            lr: 0.05,
            momentum: 0.9,
            weight_decay: 0.001,
            nesterov: true,
        }),
        label_smoothing: 0.1,
        seed: 3,
        ..StepRule::default()
    }
}

/// Everything else that a step can do.
fn adam_rule(batch_size: usize) -> StepRule {
    StepRule {
        optimiser: Optimiser::Adam(Adam {
            lr: 0.002,
            // f32 gradients near 0 differ in their sign, which Adam makes a whole step of.
            eps: 1e-3,
            ..Adam::adamw()
        }),
        schedule: Schedule::OneCycle {
            warm_up: 0.5,
            anneal: Anneal::Linear,
        },
        steps: Steps {
            per_epoch: 4,
            total: 4,
        },
        clip_norm: Some(0.5),
        average: Some(0.6),
        ..rule(batch_size)
    }
}

/// A small network of every layer, with windows that overlap and borders.
const SMALL: &str = "input 2x9x8, conv2d 4 3x2 padding=1, relu, max_pool2d 2 stride=1, \
                     conv2d 3 2 stride=2x1, relu, dropout 0.2, max_pool2d 2x3 padding=1, \
                     flatten, linear 6, relu, dropout 0.5, linear 4";

/// Linear layers that are one: two pairs of them, and one alone.
const PAIRS: &str = "input 1x9x11, conv2d 3 3, relu, flatten, linear 41, linear 7, relu, linear 23, linear 5, linear 4";

/// Pairs that follow each other, the second with a single feature between its layers.
const NARROW: &str = "input 1x3x3, flatten, linear 41, linear 2, linear 1, linear 1, linear 4";

/// One with more channels than a GPU's block has room for at once.
const WIDE: &str = "input 13x31x30, conv2d 14 3 padding=1, relu, max_pool2d 3 stride=2 padding=1, \
                    conv2d 3 5, relu, max_pool2d 2, flatten, linear 4";

/// Random networks of one layer: conv2d, max_pool2d, relu, dropout, or flatten and linear; or of
/// conv2d, ReLU and pooling, which engines compute as one where the windows are of 2x2, with windows
/// of all sizes and with those that Winograd's filtering is for; or of two linear layers, which may be
/// one.
fn one_layer() -> impl Strategy<Value = Option<Network>> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let sizes = (1..4_usize, pair(1..14), pair(1..6), pair(1..4), pair(0..3));
    (0..7_usize, 1..20_usize, sizes).prop_map(|(kind, out, sizes)| {
        let (c, [h, w], [kh, kw], [sh, sw], [ph, pw]) = sizes;
        let window = format!("{kh}x{kw} stride={sh}x{sw} padding={ph}x{pw}");
        let layer = match kind {
            0 => format!("conv2d {out} {window}"),
            1 => format!("max_pool2d {window}"),
            2 => "relu".to_owned(),
            // Shares by which the rest is scaled exactly.
            3 => format!("dropout {}", [0.0, 0.5, 0.75, 0.875][out % 4]),
            4 => format!(
                "conv2d {out} {kh}x{kw} padding={ph}x{pw}, relu, \
                 max_pool2d {sh}x{sw} stride={kh}x{kw} padding={}x{}",
                (sh / 2).min(ph),
                (sw / 2).min(pw)
            ),
            5 => {
                let c = 3 * c - 2;
                let taps = if kh % 2 == 0 { 3 } else { 5 };
                let convolution = format!("conv2d {out} {taps} padding={ph}x{pw}");
                return Network::new(
                    &format!("input {c}x{h}x{w}, {convolution}, relu, max_pool2d 2")
                        .parse()
                        .unwrap(),
                    None,
                )
                .ok();
            }
            _ if sh > 1 => format!("flatten, linear {}, linear {}", 7 * kh + out, sw * kw),
            _ => format!("flatten, linear {out}"),
        };
        let description: Description = format!("input {c}x{h}x{w}, {layer}").parse().unwrap();
        Network::new(&description, None).ok()
    })
}

/// Whole numbers from -3 to 3.
fn whole_numbers(count: usize, seed: u64, part: u32) -> Vec<f32> {
    let draws = Stream::new(seed, Purpose::Check, part);
    let number = |index| draws.below(index, 7) as f32 - 3.0;
    (0..count as u64).map(number).collect()
}

/// The condition of a layer's sums, tensor by tensor as [`against_reference`] has them: how many times
/// larger the sum of the terms' sizes is than the sum itself, at most. Where terms cancel, as all those
/// of a tensor of few numbers may, rounding is to be seen beside their sizes.
fn conditions(network: &Network, case: &Case) -> Vec<f64> {
    let largest = |of: fn(f64) -> f64| -> Vec<f64> {
        let mut reference = in_f64(network);
        let parameters = case.parameters.iter().copied().map(of).collect();
        let state = TrainingState::from_parameters(parameters);
        reference.load(&state).unwrap();
        let backward = reference
            .backward(&case.input.mapv(of), &case.d_output.mapv(of))
            .unwrap();
        let ranges = network.parameters().iter().map(|p| p.range.clone());
        let tensors = [&backward.output, &backward.d_input].map(|t| t.as_slice().unwrap());
        tensors
            .into_iter()
            .chain(ranges.map(|range| &backward.d_parameters[range]))
            .map(|tensor| {
                tensor
                    .iter()
                    .fold(0.0, |largest: f64, x| largest.max(x.abs()))
            })
            .collect()
    };
    let (sums, sizes) = (largest(|x| x), largest(f64::abs));
    let condition = |(sum, size): (&f64, f64)| if *sum == 0.0 { 1.0 } else { size / sum };
    sums.iter().zip(sizes).map(condition).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_tensors_agree_with_the_reference(
        network in one_layer(),
        examples in 1..10_usize,
        seed: u64,
    ) {
        let Some(network) = network else { return Ok(()) };
        let case = Case::draw(&network, examples, seed).unwrap();
        let conditions = conditions(&network, &case);
        for mut engine in engines(&network) {
            let rows = against_reference(engine.as_mut(), &case).unwrap();
            prop_assert_eq!(rows.len(), conditions.len());
            for (row, condition) in rows.iter().zip(&conditions) {
                // Winograd's transforms of a gradient that is mostly 0 are larger than it.
                let rounding = f64::from(f32::EPSILON) * condition;
                let tolerance = rounding.clamp(2.0 * TOLERANCE, 1e-3);
                prop_assert!(
                    row.error <= tolerance,
                    "{} {network}: {} differs by {:e}, of {tolerance:e}",
                    engine.name(), row.name, row.error
                );
            }
        }
    }

    /// Sums of small whole numbers are exact in f32, in any order: engines agree to the bit.
    #[test]
    fn whole_numbers_agree_exactly(
        network in one_layer(),
        examples in 1..10_usize,
        seed: u64,
    ) {
        let Some(network) = network else { return Ok(()) };
        let shape = |sizes: &[usize]| [&[examples], sizes].concat();
        let input_shape = shape(&network.input());
        let output_shape = shape(network.output().sizes());
        let tensor = |shape: &[usize], part| {
            Tensor::from_shape_vec(shape, whole_numbers(shape.iter().product(), seed, part)).unwrap()
        };
        let input = tensor(&input_shape, 0);
        let d_output = tensor(&output_shape, 1);
        let parameters = whole_numbers(network.parameter_count(), seed, 2);
        // Winograd's transforms divide by 45.
        let exact = Convolutions::Direct;

        let mut reference = in_f64(&network);
        let wide = parameters.iter().map(|&p| f64::from(p)).collect();
        reference.load(&TrainingState::from_parameters(wide)).unwrap();
        let expected = reference
            .backward(&input.mapv(f64::from), &d_output.mapv(f64::from))
            .unwrap();
        for mut engine in engines_with(&network, exact) {
            engine.load(&TrainingState::from_parameters(parameters.clone())).unwrap();
            let found = engine.backward(&input, &d_output).unwrap();
            let name = engine.name();
            prop_assert_eq!(found.output.mapv(f64::from), expected.output.clone(), "{} output", name);
            prop_assert_eq!(found.d_input.mapv(f64::from), expected.d_input.clone(), "{} d_input", name);
            let found: Vec<f64> = found.d_parameters.iter().map(|&d| f64::from(d)).collect();
            prop_assert_eq!(&found, &expected.d_parameters, "{} d_parameters", name);
        }
    }
}

#[test]
fn whole_networks_agree_with_the_reference() {
    let presets = Preset::ALL.map(|preset| format!("input 1x28x28, {}", preset.description(10)));
    for text in presets
        .iter()
        .map(String::as_str)
        .chain([SMALL, PAIRS, NARROW, WIDE])
    {
        let network = network(text);
        let case = Case::draw(&network, 6, 3).unwrap();
        for mut engine in engines(&network) {
            for row in against_reference(engine.as_mut(), &case).unwrap() {
                assert!(
                    row.error <= TOLERANCE,
                    "{} {text}: {} differs by {:e}",
                    engine.name(),
                    row.name,
                    row.error
                );
            }
        }
    }
}

#[test]
fn the_gradient_of_a_batch_agrees_with_the_reference() {
    for text in [SMALL, PAIRS, NARROW] {
        // One example, a slice, a slice and one, and many slices.
        agree_over_a_batch(&network(text), [1, 4, 5, 40]);
    }
}

/// Networks for a step in three kernels: paddings, odd sizes of which pooling leaves something out, more
/// channels than a block has warps, one convolution, more features than a block has threads, more outputs
/// than it has half warps, and more parameters behind them than it keeps. A block has a channel of some
/// batches, all of others, and of 131 examples one or two.
#[test]
fn small_convnets_learn_what_the_reference_learns() {
    let [tutorial, lenet5, _] =
        Preset::ALL.map(|preset| network(&format!("input 1x28x28, {}", preset.description(4))));
    agree_over_a_batch(&tutorial, [1, 2, 40, 65]);
    agree_over_a_batch(&lenet5, [1, 2, 3, 5]);
    let one_convolution = "input 1x13x12, conv2d 3 5 padding=1, relu, max_pool2d 2, flatten, linear 6, relu, linear 4";
    for text in [
        "input 2x13x15, conv2d 3 3 padding=1, relu, max_pool2d 2, conv2d 5 5 padding=2, relu, max_pool2d 2, \
         flatten, linear 7, relu, dropout 0.4, linear 4",
        "input 1x12x11, conv2d 40 3, relu, max_pool2d 2, conv2d 6 3 padding=1x0, relu, max_pool2d 2, flatten, linear 4",
        "input 3x9x8, conv2d 5 3, relu, max_pool2d 2, flatten, linear 70, relu, linear 4",
        "input 1x28x28, conv2d 8 3, relu, max_pool2d 2, flatten, linear 20, relu, linear 100, linear 4",
        one_convolution,
    ] {
        agree_over_a_batch(&network(text), [1, 3, 30, 131]);
    }
    // The last of these kernels makes the step, too, unless gradients are clipped first.
    let network = network(one_convolution);
    let adam = StepRule {
        clip_norm: None,
        ..adam_rule(20)
    };
    agree_over_an_epoch(&network, rule(20));
    agree_over_an_epoch(&network, adam);
}

fn agree_over_a_batch(network: &Network, counts: [u32; 4]) {
    let data = examples(network, counts[3] as usize, 4, 5);
    let state = TrainingState::initial(network, 1);
    let mut reference = in_f64(network);
    let wide = state.parameters.iter().map(|&p| f64::from(p)).collect();
    reference
        .load(&TrainingState::from_parameters(wide))
        .unwrap();
    for count in counts {
        let indices: Vec<u32> = (0..count).rev().collect();
        let batch = Batch::new(&data, &indices);
        let (expected, d_expected) = reference.gradients(&batch, &rule(40)).unwrap();
        for mut engine in engines(network) {
            engine.load(&state).unwrap();
            let (found, d_found) = engine.gradients(&batch, &rule(40)).unwrap();
            let name = engine.name();
            assert_eq!(found.examples, count as usize, "{name}");
            assert_eq!(found.correct, expected.correct, "{name}");
            let loss = relative_error(&[found.loss()], &[expected.loss()]);
            assert!(loss <= 1e-6, "{name}: loss differs by {loss:e}");
            let error = relative_error(&d_found, &d_expected);
            assert!(error <= TOLERANCE, "{name}, {count} examples: {error:e}");
        }
    }
}

/// No gradient by their input is wanted.
#[test]
fn first_layers_learn_what_the_reference_learns() {
    for text in [
        "input 1x28x28, conv2d 10 5, relu, max_pool2d 2, flatten, linear 4",
        "input 1x11x9, conv2d 7 5 padding=2, relu, max_pool2d 2, flatten, linear 4",
        "input 1x10x9, conv2d 17 3 padding=1x0, relu, max_pool2d 2, flatten, linear 4",
        "input 2x9x9, conv2d 3 5, relu, max_pool2d 2, flatten, linear 4",
        "input 1x9x9, conv2d 3 5, relu, flatten, linear 4",
        // What comes before the first parameters is not gone back through.
        "input 1x5x6, flatten, linear 7, relu, linear 4",
        "input 1x9x8, dropout 0.2, relu, max_pool2d 2 stride=1, conv2d 3 3, relu, flatten, linear 4",
        "input 2x6x5, max_pool2d 2, relu, flatten, dropout 0.3, linear 4",
        // Two layers that are one.
        "input 1x5x6, flatten, linear 17, linear 4",
        // The largest layers at the end that fit into a block of a GPU, and larger ones.
        "input 1x28x28, conv2d 10 5, relu, max_pool2d 2, flatten, dropout 0.5, linear 4",
        "input 1x28x28, conv2d 15 5, relu, max_pool2d 2, flatten, dropout 0.5, linear 4",
        "input 1x28x28, conv2d 16 5, relu, max_pool2d 2, flatten, dropout 0.5, linear 4",
    ] {
        let network = network(text);
        let data = examples(&network, 19, 4, 5);
        let state = TrainingState::initial(&network, 1);
        let mut reference = in_f64(&network);
        let wide = state.parameters.iter().map(|&p| f64::from(p)).collect();
        let wide = TrainingState::from_parameters(wide);
        reference.load(&wide).unwrap();
        let indices: Vec<u32> = (0..19).collect();
        let batch = Batch::new(&data, &indices);
        let (_, expected) = reference.gradients(&batch, &rule(19)).unwrap();
        for mut engine in engines(&network) {
            engine.load(&state).unwrap();
            let (_, found) = engine.gradients(&batch, &rule(19)).unwrap();
            let error = relative_error(&found, &expected);
            let name = engine.name();
            assert!(error <= TOLERANCE, "{name} {text}: {error:e}");
        }
    }
}

#[test]
fn an_epoch_agrees_with_the_reference() {
    for text in [SMALL, PAIRS] {
        agree_over_an_epoch(&network(text), rule(20));
        agree_over_an_epoch(&network(text), adam_rule(20));
    }
}

/// 137 examples are 18 slices of 8 where 257 are 17 of 16, and so are 273 and 513 with twice the lanes.
#[test]
fn the_last_batch_of_an_epoch_may_have_more_slices_than_the_others() {
    let small = "input 1x2x2, flatten, linear 2";
    for (text, size, last) in [
        (small, 134, 101),
        (small, 257, 137),
        (small, 513, 273),
        (PAIRS, 134, 101),
    ] {
        let network = network(text);
        let count = size + last;
        let data = examples(&network, count, network.output().elements(), 6);
        let order: Vec<u32> = (0..count as u32).rev().collect();
        for (mut whole, mut by_batch) in engines(&network).into_iter().zip(engines(&network)) {
            let state = TrainingState::initial(&network, 2);
            whole.load(&state).unwrap();
            by_batch.load(&state).unwrap();
            let go_on = &mut |_: &_| ControlFlow::Continue(());
            let metrics = whole.train_epoch(&data, &order, &rule(size), go_on);
            assert_eq!(metrics.unwrap().examples, count, "{}", whole.name());
            for batch in batches(&data, &order, size) {
                by_batch.train_batch(&batch, &rule(size)).unwrap();
            }
            assert_eq!(whole.state().unwrap(), by_batch.state().unwrap());
        }
    }
}

fn agree_over_an_epoch(network: &Network, rule: StepRule) {
    let data = examples(network, 62, 4, 6);
    let order: Vec<u32> = (0..62).rev().collect();
    let mut reference = in_f64(network);
    reference
        .load(&TrainingState::from_parameters(initial_parameters(
            network, 2,
        )))
        .unwrap();
    // The last of the batches holds two examples.
    let expected = reference
        .train_epoch(&data, &order, &rule, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    for mut engine in engines(network) {
        engine.load(&TrainingState::initial(network, 2)).unwrap();
        let mut reports = Vec::new();
        let found = engine
            .train_epoch(&data, &order, &rule, &mut |progress| {
                reports.push(progress.metrics.examples);
                ControlFlow::Continue(())
            })
            .unwrap();
        let name = engine.name();
        assert_eq!(reports.first(), Some(&20), "{name} reports its first step");
        assert_eq!(reports.last(), Some(&62), "{name} reports its end");
        assert_eq!(found.examples, 62, "{name}");
        let loss = relative_error(&[found.loss()], &[expected.loss()]);
        assert!(loss <= 1e-5, "{name}: loss differs by {loss:e}");
        let (state, wide) = (engine.state().unwrap(), reference.state().unwrap());
        assert_eq!(state.steps, 4, "{name}");
        for (vector, found, expected) in [
            ("parameters", &state.parameters, &wide.parameters),
            ("first moment", &state.first_moment, &wide.first_moment),
            ("second moment", &state.second_moment, &wide.second_moment),
            ("average", &state.average, &wide.average),
        ] {
            let error = relative_error(found, expected);
            assert!(error <= 1e-4, "{name}: {vector} differs by {error:e}");
        }
    }
}

#[test]
fn predictions_and_metrics_agree_with_the_reference() {
    for text in [SMALL, PAIRS] {
        agree_in_predictions(&network(text));
    }
}

fn agree_in_predictions(network: &Network) {
    let data = examples(network, 23, 4, 7);
    let mut reference = in_f64(network);
    reference
        .load(&TrainingState::from_parameters(initial_parameters(
            network, 3,
        )))
        .unwrap();
    let expected = reference.predict(data.images()).unwrap();
    let metrics = reference.evaluate(&data).unwrap();
    for mut engine in engines(network) {
        engine.load(&TrainingState::initial(network, 3)).unwrap();
        let found = engine.predict(data.images()).unwrap();
        assert_eq!(found.dim(), (23, 4));
        let error = relative_error(found.as_slice().unwrap(), expected.as_slice().unwrap());
        assert!(error <= TOLERANCE, "{}: {error:e}", engine.name());
        let Metrics {
            correct, examples, ..
        } = engine.evaluate(&data).unwrap();
        assert_eq!((correct, examples), (metrics.correct, 23));
    }
}

/// An engine may have a way of its own for an image that comes alone.
#[test]
fn an_image_alone_is_predicted_as_among_others() {
    let presets = Preset::ALL.map(|preset| format!("input 1x28x28, {}", preset.description(10)));
    let texts = [
        SMALL,
        PAIRS,
        WIDE,
        "input 3x7x6, max_pool2d 2 stride=1, conv2d 37 3 padding=1, relu, \
         conv2d 5 2x3 stride=2x1 padding=1x2, dropout 0.5, flatten, relu, linear 70, linear 4",
        // Winograd's filtering: bands that are full and not, one row, one column, a border, many
        // channels and few; with pooling that drops a row and a column, and without.
        "input 1x28x28, conv2d 10 5, flatten",
        "input 4x13x17, conv2d 33 3, relu, max_pool2d 2, conv2d 3 3 padding=1, flatten",
        "input 3x12x5, conv2d 21 5, relu, max_pool2d 2x1, flatten, linear 4",
        "input 2x11x19, conv2d 7 5 padding=2x1, relu, max_pool2d 2, conv2d 9 3 padding=2, flatten",
        "input 2x24x6, conv2d 4 5, relu, max_pool2d 2, flatten",
        "input 1x40x7, conv2d 11 3x3 padding=0x3, relu, max_pool2d 2, flatten",
        // Directly: strides beyond the window, borders beyond the image, windows of one pixel.
        "input 2x17x15, conv2d 6 3 stride=2, relu, max_pool2d 2, conv2d 25 1, flatten, linear 4",
        "input 3x20x33, conv2d 12 2x3 stride=3x4 padding=1x5, relu, max_pool2d 2, flatten",
        "input 1x9x9, conv2d 3 4 padding=6, relu, max_pool2d 2, flatten",
        "input 2x31x9, conv2d 2 5x2 stride=1x3, max_pool2d 3 stride=2 padding=1, flatten",
        "input 1x5x40, conv2d 22 5x7 stride=1x2, flatten",
        // No convolution.
        "input 2x5x7, flatten, dropout 0.5, linear 19, dropout 0.1, relu, linear 4",
        "input 3x2x3, flatten",
        "input 1x21x20, max_pool2d 5x4 stride=3x1 padding=2, relu, flatten",
    ];
    for text in presets.iter().map(String::as_str).chain(texts) {
        let network = network(text);
        let classes = network.output().elements();
        let data = examples(&network, 3, classes.min(4), 7);
        let mut reference = in_f64(&network);
        let mut engines = engines(&network);
        // The second parameters must not meet what is left of the first.
        for seed in [3, 4] {
            let parameters = initial_parameters(&network, seed);
            let state = TrainingState::from_parameters(parameters);
            reference.load(&state).unwrap();
            let expected = reference.predict(data.images()).unwrap();
            for engine in &mut engines {
                engine
                    .load(&TrainingState::initial(&network, seed))
                    .unwrap();
                for (image, expected) in expected.rows().into_iter().enumerate() {
                    let alone = data.slice(image..image + 1).unwrap();
                    let found = engine.predict(alone.images()).unwrap();
                    let expected = expected.to_slice().unwrap();
                    let error = relative_error(found.as_slice().unwrap(), expected);
                    let name = engine.name();
                    assert!(
                        error <= TOLERANCE,
                        "{name} {text}, image {image}: {error:e}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Black and white are 0 and 1: with whole weights every sum is exact, if nothing is transformed.
    #[test]
    fn an_image_alone_of_whole_numbers_is_exact(network in one_layer(), seed: u64) {
        let Some(network) = network else { return Ok(()) };
        let network = match network.output() {
            Shape::Image(_) => self::network(&format!("{network}, flatten")),
            Shape::Features(_) => network,
        };
        let numbers = |count, part| whole_numbers(count, seed, part);
        let pixels = numbers(network.input().iter().product(), 0);
        let bytes: Vec<u8> = pixels.iter().map(|&x| if x > 0.0 { 255 } else { 0 }).collect();
        let image = Images::new(network.input(), bytes).unwrap();
        let parameters = numbers(network.parameter_count(), 1);
        let normalisation = Normalisation::none(network.input()[0]);
        let mut reference = Reference::<f64>::new(network.clone(), normalisation.clone()).unwrap();
        let wide = parameters.iter().map(|&p| f64::from(p)).collect();
        reference.load(&TrainingState::from_parameters(wide)).unwrap();
        let expected = reference.predict(&image).unwrap();
        for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
            let settings = Settings { path, convolutions: Convolutions::Direct };
            let engine = lanes::open(network.clone(), normalisation.clone(), Some(1), settings);
            let mut engine = engine.unwrap();
            engine.load(&TrainingState::from_parameters(parameters.clone())).unwrap();
            let found = engine.predict(&image).unwrap().mapv(f64::from);
            prop_assert_eq!(&found, &expected, "{}", path);
        }
    }
}

#[test]
fn nan_reaches_the_logits_of_an_image_alone() {
    let network = network("input 1x6x20, conv2d 2 3, relu, max_pool2d 2, flatten");
    let mut parameters = vec![1.0; network.parameter_count()];
    // The bias of the second channel.
    parameters[19] = f32::NAN;
    let image = Images::new(network.input(), vec![200; 120]).unwrap();
    for mut engine in engines(&network) {
        engine
            .load(&TrainingState::from_parameters(parameters.clone()))
            .unwrap();
        let logits = engine.predict(&image).unwrap();
        let nan: Vec<bool> = logits.iter().map(|y| y.is_nan()).collect();
        let expected: Vec<bool> = (0..36).map(|index| index >= 18).collect();
        assert_eq!(nan, expected, "{}", engine.name());
    }
}

/// What is computed before an epoch, a batch or a load is not what is computed after.
#[test]
fn an_image_alone_meets_the_parameters_of_now() {
    let network = network(SMALL);
    let data = examples(&network, 8, 4, 7);
    let alone = data.slice(0..1).unwrap();
    let order: Vec<u32> = (0..8).collect();
    for mut engine in engines(&network) {
        engine.load(&TrainingState::initial(&network, 3)).unwrap();
        let before = engine.predict(alone.images()).unwrap();
        let batch = Batch::new(&data, &order);
        engine.train_batch(&batch, &rule(8)).unwrap();
        let between = engine.predict(alone.images()).unwrap();
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        engine.train_epoch(&data, &order, &rule(4), go_on).unwrap();
        let after = engine.predict(alone.images()).unwrap();
        assert_ne!(before, between, "{}", engine.name());
        assert_ne!(between, after, "{}", engine.name());
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    the_same_bits_on_any_number_of_threads(
        "input 1x28x28, conv2d 10 5, relu, max_pool2d 2, dropout 0.2, conv2d 20 5, relu, \
         max_pool2d 2, flatten, linear 50, dropout 0.5, linear 10",
    );
}

/// Whose parameters are in bands.
#[test]
fn the_same_seed_gives_layers_that_are_one_the_same_bits() {
    the_same_bits_on_any_number_of_threads(PAIRS);
}

fn the_same_bits_on_any_number_of_threads(text: &str) {
    let network = network(text);
    let data = examples(&network, 230, network.output().elements(), 8);
    let order: Vec<u32> = (0..230).collect();
    type Open<'a> = Box<dyn Fn(usize) -> Box<dyn Engine> + 'a>;
    let im2col: Open = Box::new(|threads| {
        Box::new(Im2col::new(network.clone(), Normalisation::mnist(), Some(threads)).unwrap())
    });
    let paths = Path::ALL.into_iter().filter(|path| path.is_available());
    let lanes = paths.map(|path| -> Open {
        let settings = Settings {
            path,
            ..Settings::default()
        };
        let network = &network;
        Box::new(move |threads| lanes(network, threads, settings))
    });
    let all: Vec<Open> = lanes.chain([im2col]).collect();
    // Batches of one slice and of several, from two to twelve by the lanes, of which the last are not whole.
    let rules = [rule(3), rule(32), adam_rule(32), rule(96), adam_rule(96)];
    for (open, rule) in all
        .iter()
        .flat_map(|open| rules.iter().map(move |rule| (open, rule)))
    {
        let states = [1, 2, 3, 4, 8, 1].map(|threads| {
            let mut engine = open(threads);
            assert_eq!(engine.threads(), threads);
            engine.load(&TrainingState::initial(&network, 4)).unwrap();
            let metrics = engine
                .train_epoch(&data, &order, rule, &mut |_| ControlFlow::Continue(()))
                .unwrap();
            let state = engine.state().unwrap();
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let logits = engine.predict(data.images()).unwrap();
            (
                [
                    bits(&state.parameters),
                    bits(&state.first_moment),
                    bits(&state.second_moment),
                    bits(&state.average),
                    bits(logits.as_slice().unwrap()),
                ],
                metrics.loss_sum.to_bits(),
            )
        });
        assert!(states.iter().all(|state| state == &states[0]));
    }
}

/// A batch smaller than a group, one that leaves a group half full, and one of several slices'
/// groups, on more threads than there are slices.
#[test]
fn groups_that_are_not_full_change_nothing() {
    let network = network("input 1x12x12, conv2d 3 3, relu, max_pool2d 2, flatten, linear 4");
    let data = examples(&network, 600, 4, 14);
    let state = TrainingState::initial(&network, 2);
    let wide = state.parameters.iter().map(|&p| f64::from(p)).collect();
    let mut reference = in_f64(&network);
    reference
        .load(&TrainingState::from_parameters(wide))
        .unwrap();
    for count in [1, 7, 9, 16, 17, 33, 600] {
        let indices: Vec<u32> = (0..count).collect();
        let batch = Batch::new(&data, &indices);
        let (_, expected) = reference.gradients(&batch, &rule(600)).unwrap();
        for mut engine in engines(&network) {
            engine.load(&state).unwrap();
            let (metrics, found) = engine.gradients(&batch, &rule(600)).unwrap();
            assert_eq!(metrics.examples, count as usize);
            let error = relative_error(&found, &expected);
            assert!(error <= TOLERANCE, "{}, {count}: {error:e}", engine.name());
        }
    }
}

#[test]
fn convolutions_that_winograd_suits_agree_with_the_reference() {
    // Tiles that are full and not, borders, several channels, more blocks than one, of which some end in
    // the middle of a row of tiles; with pooling that drops the last row, and without.
    for text in [
        "input 1x28x28, conv2d 10 5",
        "input 10x12x12, conv2d 20 5, relu, max_pool2d 2",
        "input 3x13x17, conv2d 7 3 padding=1, relu, max_pool2d 2",
        "input 5x9x8, conv2d 33 5 padding=2",
        "input 32x19x22, conv2d 2 5 padding=2, relu, max_pool2d 2",
        "input 6x14x21, conv2d 12 5 padding=2",
        "input 2x20x33, conv2d 1 3 padding=1, relu, max_pool2d 2",
        "input 4x9x9, conv2d 3 3 padding=9",
        "input 16x28x28, conv2d 8 3, relu, max_pool2d 2",
        "input 2x5x6, conv2d 3 5, relu, max_pool2d 1x2",
        "input 1x3x3, conv2d 2 3 padding=2, relu",
        "input 2x13x15, conv2d 1 3, conv2d 3 5 padding=2, relu, max_pool2d 2",
    ] {
        let network = network(text);
        let case = Case::draw(&network, 18, 5).unwrap();
        for mut engine in engines(&network) {
            for row in against_reference(engine.as_mut(), &case).unwrap() {
                assert!(
                    row.error <= 1e-4,
                    "{} {text}: {} differs by {:e}",
                    engine.name(),
                    row.name,
                    row.error
                );
            }
        }
    }
}

/// The layer alone, so that the mask can be seen in the output: the same in every engine, in one
/// slice or many, and drawn anew in each step.
#[test]
fn every_engine_drops_the_same_elements() {
    let network = network("input 1x5x7, dropout 0.5");
    let input = Tensor::ones(vec![70, 1, 5, 7]);
    let d_output = Tensor::ones(vec![70, 1, 5, 7]);
    let mask = |engine: &mut dyn Engine, steps| {
        let mut state = TrainingState::initial(&network, 0);
        state.steps = steps;
        engine.load(&state).unwrap();
        let found = engine.backward(&input, &d_output).unwrap();
        assert_eq!(found.output, found.d_input, "{}", engine.name());
        found.output
    };
    let mut engines = engines(&network);
    let expected = [0, 1, 7].map(|steps| mask(engines[0].as_mut(), steps));
    assert_ne!(expected[0], expected[1]);
    assert!(expected[0].iter().all(|&y| y == 0.0 || y == 2.0));
    for engine in &mut engines {
        let found = [0, 1, 7].map(|steps| mask(engine.as_mut(), steps));
        assert_eq!(found, expected, "{}", engine.name());
    }
}

#[test]
fn nothing_is_dropped_where_nothing_is_learned() {
    let with = network("input 1x5x7, dropout 0.5, flatten, dropout 0.9, linear 4");
    let without = network("input 1x5x7, flatten, linear 4");
    let data = examples(&with, 9, 4, 13);
    for (mut dropping, mut plain) in engines(&with).into_iter().zip(engines(&without)) {
        // The layers' indices differ, and so would weights that were drawn.
        let weights = TrainingState::initial(&without, 7);
        dropping.load(&weights).unwrap();
        plain.load(&weights).unwrap();
        let logits = dropping.predict(data.images()).unwrap();
        assert_eq!(logits, plain.predict(data.images()).unwrap());
    }
}

#[test]
fn training_goes_on_from_a_state_as_if_never_stopped() {
    let order: Vec<u32> = (0..32).collect();
    for (text, rule) in [
        (SMALL, rule(8)),
        (SMALL, adam_rule(8)),
        (PAIRS, rule(8)),
        (PAIRS, adam_rule(8)),
    ] {
        let network = network(text);
        let data = examples(&network, 32, 4, 9);
        for (mut whole, mut resumed) in engines(&network).into_iter().zip(engines(&network)) {
            let epoch = |engine: &mut dyn Engine, order| {
                engine
                    .train_epoch(&data, order, &rule, &mut |_| ControlFlow::Continue(()))
                    .unwrap()
            };
            whole.load(&TrainingState::initial(&network, 5)).unwrap();
            epoch(whole.as_mut(), &order[..16]);
            let state = whole.state().unwrap();
            epoch(whole.as_mut(), &order[16..]);
            resumed.load(&state).unwrap();
            epoch(resumed.as_mut(), &order[16..]);
            assert_eq!(whole.state().unwrap(), resumed.state().unwrap());
        }
    }
}

#[test]
fn the_one_who_watches_can_stop_an_epoch() {
    for text in [SMALL, PAIRS, NARROW] {
        an_epoch_is_stopped(&network(text));
    }
}

fn an_epoch_is_stopped(network: &Network) {
    let data = examples(network, 80, 4, 10);
    let order: Vec<u32> = (0..80).collect();
    for (mut engine, mut one) in engines(network).into_iter().zip(engines(network)) {
        let initial = TrainingState::initial(network, 7);
        engine.load(&initial).unwrap();
        one.load(&initial).unwrap();
        let result = engine.train_epoch(&data, &order, &rule(20), &mut |_| ControlFlow::Break(()));
        assert_eq!(result, Err(EngineError::Stopped));
        let state = engine.state().unwrap();
        let steps = state.steps;
        for batch in batches(&data, &order, 20).take(steps as usize) {
            one.train_batch(&batch, &rule(20)).unwrap();
        }
        assert_eq!(state, one.state().unwrap(), "{}", engine.name());
        // A GPU does not wait for the one who watches.
        let expected = if engine.name() == "cuda" {
            1..=4
        } else {
            1..=1
        };
        assert!(expected.contains(&steps), "{}: {steps}", engine.name());
    }
}

/// A panic while all threads work becomes an error, and the engine is good for more.
#[test]
fn a_panic_in_an_epoch_is_an_error_and_no_end() {
    let network = network(SMALL);
    let data = examples(&network, 80, 4, 5);
    let order: Vec<u32> = (0..80).collect();
    let paths = Path::ALL.into_iter().filter(|path| path.is_available());
    for (path, threads) in paths.flat_map(|path| [1, 2, 3, 8].map(|threads| (path, threads))) {
        let convolutions = Convolutions::Fastest;
        let mut engine = lanes(&network, threads, Settings { path, convolutions });
        engine.load(&TrainingState::initial(&network, 3)).unwrap();
        // Batches of three slices, so that three threads work.
        let error = engine.train_epoch(&data, &order, &rule(40), &mut |_| panic!("a test"));
        let error = error.unwrap_err();
        assert!(
            matches!(&error, EngineError::Panicked(why) if why == "a test"),
            "{error}"
        );
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        engine.load(&TrainingState::initial(&network, 3)).unwrap();
        let metrics = engine.train_epoch(&data, &order, &rule(40), go_on).unwrap();
        assert_eq!(metrics.examples, 80);
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_the_epoch() {
    let network = network(SMALL);
    let data = examples(&network, 32, 4, 11);
    let order: Vec<u32> = (0..32).collect();
    let mut rule = rule(8);
    rule.optimiser = Optimiser::Sgd(Sgd {
        lr: 1e30,
        ..Sgd::default()
    });
    for mut engine in engines(&network) {
        engine.load(&TrainingState::initial(&network, 6)).unwrap();
        let result = engine.train_epoch(&data, &order, &rule, &mut |_| ControlFlow::Continue(()));
        assert!(
            matches!(result, Err(EngineError::NotFinite { step: 2.., .. })),
            "{}: {result:?}",
            engine.name()
        );
    }
}

#[test]
fn what_does_not_suit_the_network_is_refused() {
    let network = network(SMALL);
    let other = self::network("input 1x5x5, flatten, linear 4");
    let few_classes = examples(&network, 8, 5, 12);
    let other_images = examples(&other, 8, 4, 12);
    let data = examples(&network, 8, 4, 12);
    for mut engine in engines(&network) {
        let size = |result: Result<_, EngineError>| {
            matches!(result.map(|_: ()| ()), Err(EngineError::Size { .. }))
        };
        assert!(size(engine.load(&TrainingState::initial(&other, 0))));
        let (input, d_output) = (Tensor::zeros(vec![2, 2, 9, 8]), Tensor::zeros(vec![2, 4]));
        assert!(engine.backward(&input, &d_output).is_ok());
        let wrong = Tensor::zeros(vec![3, 4]);
        assert!(size(engine.backward(&input, &wrong).map(drop)));
        let wrong = Tensor::zeros(vec![2, 2, 8, 9]);
        assert!(size(engine.backward(&wrong, &d_output).map(drop)));
        assert!(size(
            engine.backward(&Tensor::zeros(vec![]), &d_output).map(drop)
        ));

        assert!(matches!(
            engine.predict(other_images.images()),
            Err(EngineError::Images { .. })
        ));
        assert!(matches!(
            engine.gradients(&Batch::new(&other_images, &[0]), &rule(8)),
            Err(EngineError::Images { .. })
        ));
        assert!(matches!(
            engine.gradients(&Batch::new(&few_classes, &[0]), &rule(8)),
            Err(EngineError::Network(_))
        ));
        assert!(matches!(
            engine.evaluate(&few_classes),
            Err(EngineError::Network(_))
        ));
        assert_eq!(
            engine
                .gradients(&Batch::new(&data, &[]), &rule(8))
                .map(drop),
            Err(EngineError::EmptyBatch)
        );
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        assert_eq!(
            engine.train_epoch(&data, &[0], &rule(0), go_on).map(drop),
            Err(EngineError::EmptyBatch)
        );
    }
    for channels in [1, 3] {
        let wrong = Normalisation::none(channels);
        assert!(Reference::<f32>::new(network.clone(), wrong.clone()).is_err());
        assert!(Im2col::new(network.clone(), wrong, None).is_err());
    }
}

#[test]
fn nan_in_an_image_reaches_the_output() {
    let mut input = Tensor::zeros(vec![1, 1, 4, 4]);
    // A NaN that comes first, and one that comes after a larger number.
    input[[0, 0, 0, 0]] = f32::NAN;
    input[[0, 0, 2, 2]] = 5.0;
    input[[0, 0, 3, 3]] = f32::NAN;
    // The pooling alone, and fused with a convolution.
    for text in [
        "input 1x4x4, max_pool2d 2, relu",
        "input 1x4x4, conv2d 1 1, relu, max_pool2d 2",
    ] {
        for mut engine in engines(&network(text)) {
            let output = engine
                .backward(&input, &Tensor::zeros(vec![1, 1, 2, 2]))
                .unwrap()
                .output;
            let nan: Vec<bool> = output.iter().map(|y| y.is_nan()).collect();
            assert_eq!(nan, [true, false, false, true], "{} {text}", engine.name());
        }
    }
}

#[test]
fn a_tie_in_a_window_belongs_to_the_first() {
    let network = network("input 1x2x4, max_pool2d 2");
    let input =
        Tensor::from_shape_vec(vec![1, 1, 2, 4], vec![1., 1., 0., 2., 1., 1., 2., 2.]).unwrap();
    let d_output = Tensor::from_shape_vec(vec![1, 1, 1, 2], vec![5., 7.]).unwrap();
    for mut engine in engines(&network) {
        let d_input = engine.backward(&input, &d_output).unwrap().d_input;
        let expected = [5., 0., 0., 7., 0., 0., 0., 0.];
        assert_eq!(d_input.as_slice(), Some(&expected[..]), "{}", engine.name());
    }
}

/// As with PyTorch.
#[test]
fn of_several_nan_in_a_window_the_last_wins() {
    let network = network("input 1x2x4, max_pool2d 2");
    let nan = f32::NAN;
    let x = vec![nan, 9., nan, nan, 8., nan, nan, 3.];
    let input = Tensor::from_shape_vec(vec![1, 1, 2, 4], x).unwrap();
    let d_output = Tensor::from_shape_vec(vec![1, 1, 1, 2], vec![5., 7.]).unwrap();
    for mut engine in engines(&network) {
        let d_input = engine.backward(&input, &d_output).unwrap().d_input;
        let expected = [0., 0., 0., 0., 0., 5., 7., 0.];
        assert_eq!(d_input.as_slice(), Some(&expected[..]), "{}", engine.name());
    }
}

/// Fused with a convolution, whose one weight is 1, windows choose as they do alone: of a tie the first, of
/// several NaN the last; nothing comes through ReLU where the largest is 0; and infinities that have no sum
/// are no NaN.
#[test]
fn windows_behind_a_convolution_choose_as_alone() {
    let network = network("input 1x4x4, conv2d 1 1, relu, max_pool2d 2");
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    #[rustfmt::skip]
    let x = vec![
        1., 1.,   nan, 9.,
        1., 0.,   8., nan,
        -1., 0.,  inf, -inf,
        -2., 0.,  2., inf,
    ];
    #[rustfmt::skip]
    let expected = [
        3., 0.,   0., 0.,
        0., 0.,   0., 5.,
        0., 0.,   9., 0.,
        0., 0.,   0., 0.,
    ];
    let input = Tensor::from_shape_vec(vec![1, 1, 4, 4], x).unwrap();
    let d_output = Tensor::from_shape_vec(vec![1, 1, 2, 2], vec![3., 5., 7., 9.]).unwrap();
    for mut engine in engines(&network) {
        let state = TrainingState::from_parameters(vec![1., 0.]);
        engine.load(&state).unwrap();
        let found = engine.backward(&input, &d_output).unwrap();
        let name = engine.name();
        let output = found.output.as_slice().unwrap();
        assert!(output[1].is_nan(), "{name}");
        assert_eq!([output[0], output[2], output[3]], [1., 0., inf], "{name}");
        assert_eq!(found.d_input.as_slice(), Some(&expected[..]), "{name}");
        assert_eq!(found.d_parameters[1], 17., "{name}");
    }
}

/// A transform may spread NaN over its tile, but neither hides it nor carries it to another tile, whichever
/// of the rows that are pooled together it is in.
#[test]
fn nan_is_seen_by_the_windows_behind_a_wide_convolution() {
    const SIDE: usize = 12;
    for channels in [1, 2] {
        let text = format!("input {channels}x12x12, conv2d 1 5, relu, max_pool2d 2");
        let network = network(&text);
        let parameters = (0..network.parameter_count()).map(|n| (n % 7) as f32 - 2.);
        let state = TrainingState::from_parameters(parameters.collect());
        let pixels = (0..channels * SIDE * SIDE).map(|n| (n * 5 % 11) as f32 - 4.);
        let clean = Tensor::from_shape_vec(vec![1, channels, SIDE, SIDE], pixels.collect());
        let clean = clean.unwrap();
        let d_output = Tensor::from_elem(vec![1, 1, 4, 4], 1.);
        // A row of the input, which windows of the first column look at it, and which are of other tiles.
        for (row, windows, others) in [(0, 0..1, 2..4), (7, 1..4, 0..0), (11, 3..4, 0..2)] {
            let mut input = clean.clone();
            input[[0, channels - 1, row, 0]] = f32::NAN;
            for mut engine in engines(&network) {
                engine.load(&state).unwrap();
                let expected = engine.backward(&clean, &d_output).unwrap().output;
                let found = engine.backward(&input, &d_output).unwrap().output;
                let name = engine.name();
                for i in 0..4 {
                    let seen = found[[0, 0, i, 0]].is_nan();
                    assert!(seen || !windows.contains(&i), "{name}: {i} of {row}");
                    for j in if others.contains(&i) { 0..4 } else { 2..4 } {
                        let place = [0, 0, i, j];
                        assert_eq!(found[place], expected[place], "{name}: {place:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_window_of_minus_infinity_has_a_winner() {
    let network = network("input 1x2x2, max_pool2d 2 padding=1");
    let input = Tensor::from_elem(vec![1, 1, 2, 2], f32::NEG_INFINITY);
    let d_output = Tensor::from_shape_vec(vec![1, 1, 2, 2], vec![1., 2., 3., 4.]).unwrap();
    for mut engine in engines(&network) {
        let found = engine.backward(&input, &d_output).unwrap();
        assert!(found.output.iter().all(|&y| y == f32::NEG_INFINITY));
        assert_eq!(found.d_input.as_slice(), Some(&[1., 2., 3., 4.][..]));
    }
}
