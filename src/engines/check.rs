//! Holding gradients against what they must be: the reference against finite differences, every
//! other engine against the reference.
//!
//! A [`Case`] is an input, parameters and an upstream gradient, drawn at random. With
//! `L = sum of d_output · output`, every gradient that a backward pass gives is a derivative of
//! `L`, which a central difference shows without knowing any formula:
//! `(L(p + h) - L(p - h)) / 2 h`.

use super::{Engine, EngineError, Reference};
use crate::data::Normalisation;
use crate::layers::cross_entropy;
use crate::network::Network;
use crate::network::initialisation::initial_parameters;
use crate::optimisers::TrainingState;
use crate::random::{Purpose, Stream};
use crate::tensor::{Element, Tensor, relative_error};

/// A network's output is linear in each single number that goes into it, but for the kinks of
/// ReLU and pooling, so the step may be as large as those allow.
const STEP: f64 = 1e-6;

/// How far from a kink a case should be.
const MARGIN: f64 = 1e-3;

/// How often a case is drawn again to be that far, before the farthest is taken.
const DRAWS: u32 = 100;

/// What goes into a network, and what comes back from behind it.
#[derive(Clone, Debug)]
pub struct Case {
    /// (N, C, H, W), in `[-1, 1)`, every number one that `f32` can hold.
    pub input: Tensor<f64>,
    /// (N, …), likewise.
    pub d_output: Tensor<f64>,
    /// The flat vector, as a new network has it.
    pub parameters: Vec<f64>,
    /// How near the nearest kink is: the smallest input of a ReLU, by size, and the smallest lead
    /// of a pooling window's maximum.
    pub margin: f64,
}

/// The error of one tensor.
#[derive(Clone, Debug)]
pub struct TensorError {
    /// `output`, `input`, or a parameter's name; what is compared is its gradient, but for the
    /// output.
    pub name: String,
    /// How many numbers were compared.
    pub compared: usize,
    /// Relative error, `max|a - b| / max|b|`.
    pub error: f64,
}

impl Case {
    /// Draws a case of `n` examples. One that is too near a kink is drawn again; the larger the
    /// network, the nearer its nearest kink.
    ///
    /// # Errors
    /// None for a network that was made by [`Network::new`].
    pub fn draw(network: &Network, n: usize, seed: u64) -> Result<Self, EngineError> {
        let parameters = initial_parameters(network, seed);
        let [channels, ..] = network.input();
        let mut engine = Reference::new(network.clone(), Normalisation::none(channels))?;
        engine.load(&TrainingState::from_parameters(parameters.clone()))?;
        let input_shape = [&[n], &network.input()[..]].concat();
        let output_shape = [&[n], network.output().sizes()].concat();
        let mut best = Self {
            input: Tensor::zeros(input_shape.as_slice()),
            d_output: draw(&output_shape, seed, DRAWS),
            parameters,
            margin: f64::NEG_INFINITY,
        };
        for attempt in 0..DRAWS {
            let input = draw(&input_shape, seed, attempt);
            let margin = engine.margin(&input);
            if margin > best.margin {
                best = Self {
                    input,
                    margin,
                    ..best
                };
            }
            if best.margin >= MARGIN {
                break;
            }
        }
        Ok(best)
    }
}

/// Numbers in `[-1, 1)` that `f32` can hold.
fn draw(shape: &[usize], seed: u64, part: u32) -> Tensor<f64> {
    let stream = Stream::new(seed, Purpose::Check, part);
    let mut index = 0;
    Tensor::from_shape_simple_fn(shape, || {
        index += 1;
        f64::from((2.0 * stream.uniform(index) - 1.0) as f32)
    })
}

/// The reference's gradients in `f64` against central differences, at `most` places of each
/// tensor at most, evenly spread.
///
/// # Errors
/// If the case is not for this network.
pub fn finite_differences(
    network: &Network,
    case: &Case,
    most: usize,
) -> Result<Vec<TensorError>, EngineError> {
    let [channels, ..] = network.input();
    let mut engine = Reference::<f64>::new(network.clone(), Normalisation::none(channels))?;
    let mut state = TrainingState::from_parameters(case.parameters.clone());
    engine.load(&state)?;
    let backward = engine.backward(&case.input, &case.d_output)?;
    let objective = |engine: &mut Reference<f64>, input: &Tensor<f64>| {
        let output = engine.outputs(input);
        let products = output.iter().zip(&case.d_output).map(|(y, d_y)| y * d_y);
        products.sum::<f64>()
    };

    let mut errors = Vec::new();
    let mut input = case.input.clone();
    let (mut analytic, mut numeric) = (Vec::new(), Vec::new());
    for place in spread(0..input.len(), most) {
        let mut at = |change: f64| {
            let flat = input.as_slice_mut().expect("a drawn tensor is row-major");
            let before = flat[place];
            flat[place] += change;
            let objective = objective(&mut engine, &input);
            input.as_slice_mut().expect("as above")[place] = before;
            objective
        };
        numeric.push((at(STEP) - at(-STEP)) / (2.0 * STEP));
        analytic.push(backward.d_input.as_slice().expect("row-major")[place]);
    }
    errors.push(TensorError {
        name: "input".to_owned(),
        compared: numeric.len(),
        error: relative_error(&analytic, &numeric),
    });

    for parameter in network.parameters() {
        let (mut analytic, mut numeric) = (Vec::new(), Vec::new());
        for place in spread(parameter.range.clone(), most) {
            let mut at = |change: f64| -> Result<f64, EngineError> {
                let before = state.parameters[place];
                state.parameters[place] += change;
                engine.load(&state)?;
                state.parameters[place] = before;
                Ok(objective(&mut engine, &case.input))
            };
            numeric.push((at(STEP)? - at(-STEP)?) / (2.0 * STEP));
            analytic.push(backward.d_parameters[place]);
        }
        errors.push(TensorError {
            name: parameter.name.clone(),
            compared: numeric.len(),
            error: relative_error(&analytic, &numeric),
        });
    }
    Ok(errors)
}

/// At most `most` numbers of `range`, evenly spread, the first and the last among them.
fn spread(range: std::ops::Range<usize>, most: usize) -> impl Iterator<Item = usize> {
    let count = range.len().min(most);
    let last = range.len().saturating_sub(1);
    (0..count).map(move |k| range.start + k * last / (count - 1).max(1))
}

/// The gradient of cross-entropy with label `smoothing` against central differences, for
/// `classes` logits in `[-2, 2)` and every label.
pub fn cross_entropy_differences(classes: usize, smoothing: f64, seed: u64) -> TensorError {
    let (mut analytic, mut numeric) = (Vec::new(), Vec::new());
    for label in 0..classes {
        let z = draw(&[classes], seed, DRAWS + 1 + label as u32) * 2.0;
        let mut z = z.into_raw_vec_and_offset().0;
        let mut d_z = vec![0.0; classes];
        cross_entropy::reference::backward(&z, label, smoothing, 1, &mut d_z);
        for k in 0..classes {
            let mut at = |change: f64| {
                let before = z[k];
                z[k] += change;
                let loss = cross_entropy::reference::forward(&z, label, smoothing);
                z[k] = before;
                loss
            };
            numeric.push((at(STEP) - at(-STEP)) / (2.0 * STEP));
        }
        analytic.append(&mut d_z);
    }
    TensorError {
        name: "cross_entropy".to_owned(),
        compared: numeric.len(),
        error: relative_error(&analytic, &numeric),
    }
}

/// An engine's output and gradients against the reference's in `f64`, tensor by tensor.
///
/// # Errors
/// If the case is not for the engine's network.
pub fn against_reference<T: Element>(
    engine: &mut dyn Engine<T>,
    case: &Case,
) -> Result<Vec<TensorError>, EngineError> {
    let network = engine.network().clone();
    let [channels, ..] = network.input();
    let mut reference = Reference::<f64>::new(network.clone(), Normalisation::none(channels))?;
    reference.load(&TrainingState::from_parameters(case.parameters.clone()))?;
    let expected = reference.backward(&case.input, &case.d_output)?;

    let cast = |tensor: &Tensor<f64>| tensor.mapv(T::from_f64);
    let parameters = case.parameters.iter().map(|&p| T::from_f64(p)).collect();
    engine.load(&TrainingState::from_parameters(parameters))?;
    let found = engine.backward(&cast(&case.input), &cast(&case.d_output))?;

    let compare = |name: &str, found: &[T], expected: &[f64]| TensorError {
        name: name.to_owned(),
        compared: expected.len(),
        error: relative_error(found, expected),
    };
    let row_major = "engines return row-major tensors";
    let mut errors = vec![
        compare(
            "output",
            found.output.as_slice().expect(row_major),
            expected.output.as_slice().expect(row_major),
        ),
        compare(
            "input",
            found.d_input.as_slice().expect(row_major),
            expected.d_input.as_slice().expect(row_major),
        ),
    ];
    for parameter in network.parameters() {
        errors.push(compare(
            &parameter.name,
            &found.d_parameters[parameter.range.clone()],
            &expected.d_parameters[parameter.range.clone()],
        ));
    }
    Ok(errors)
}
