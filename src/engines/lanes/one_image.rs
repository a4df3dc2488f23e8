//! One image alone, as fast as one thread can: a group would leave all lanes but one empty, so
//! neighbouring numbers of the image stand in the lanes instead: layout `(C, H, W)` of numbers.

use super::plan::{Kind, Stage};
use crate::data::Normalisation;
use crate::hardware::lanes::Lanes;
use crate::layers::conv2d::one_image::Convolution;
use crate::layers::linear::Linear;
use crate::layers::{conv2d, linear, linear_linear, max_pool2d, relu};
use crate::network::{Network, Operation};

/// Buffers for an image, and weights laid out.
pub(super) struct OneImage<T: Lanes> {
    lanes: T,
    /// What every byte becomes: (C, 256).
    normalised: Vec<f32>,
    /// What stands before every stage, and behind the last: numbers (C, H, W) or features, and room
    /// behind them.
    activations: Vec<Vec<T::Vector>>,
    /// Of every stage.
    parameters: Vec<Parameters<T>>,
}

/// What a stage computes with.
enum Parameters<T: Lanes> {
    Conv2d(Box<Convolution<T>>),
    Linear {
        linear: Linear,
        /// Weight (O, I) and bias (O).
        parameters: Vec<f32>,
    },
    MaxPool2d {
        /// (W), a row that is as high as a window.
        row: Vec<T::Vector>,
    },
    None,
}

/// How many bytes the buffers and weights of a [`OneImage`] are.
pub(super) fn bytes(network: &Network, stages: &[Stage], width: usize) -> u64 {
    let vectors: usize = activations(network, stages, width).sum();
    let parameters = stages.iter().map(|stage| {
        let layer = &network.layers()[stage.layer];
        match (stage.bands(network), &stage.kind, &layer.operation) {
            (Some(bands), _, _) => bands.bytes(width),
            (_, Kind::LinearLinear(pair), _) => 4 * pair.merged_len() as u64,
            (_, _, Operation::Linear(_)) => 4 * stage.parameters(network).len() as u64,
            (_, _, Operation::MaxPool2d(pool)) => 4 * pool.input[1].next_multiple_of(width) as u64,
            _ => 0,
        }
    });
    4 * (width * vectors + 256 * network.input()[0]) as u64 + parameters.sum::<u64>()
}

/// Vectors before every stage, and behind the last: one more than are filled, for whole vectors are
/// read and written.
fn activations(network: &Network, stages: &[Stage], width: usize) -> impl Iterator<Item = usize> {
    let input = network.input().iter().product();
    let behind = stages.iter().map(|stage| {
        let last = stage.layer + stage.layers() - 1;
        network.layers()[last].output.elements()
    });
    std::iter::once(input)
        .chain(behind)
        .map(move |numbers: usize| numbers.div_ceil(width) + 1)
}

impl<T: Lanes> OneImage<T> {
    /// For images that become what `normalisation` says, with the network's `parameters`.
    pub(super) fn new(
        lanes: T,
        network: &Network,
        stages: &[Stage],
        normalisation: &Normalisation,
        parameters: &[f32],
    ) -> Self {
        let channels = normalisation.channels();
        let bytes: Vec<u8> = (0..channels).flat_map(|_| 0..=255).collect();
        let mut normalised = vec![0.0; bytes.len()];
        normalisation.apply(&bytes, &mut normalised);
        let of_stage = |stage: &Stage| {
            let layer = &network.layers()[stage.layer];
            let parameters = &parameters[stage.parameters(network)];
            match (stage.bands(network), &stage.kind, &layer.operation) {
                (Some(bands), _, _) => {
                    let (weight, bias) = parameters.split_at(layer.weight.len());
                    Parameters::Conv2d(Box::new(Convolution::new(lanes, bands, weight, bias)))
                }
                (_, Kind::LinearLinear(pair), _) => {
                    let mut merged = vec![0.0; pair.merged_len()];
                    linear_linear::lanes::merge(lanes, pair, parameters, &mut merged);
                    Parameters::Linear {
                        linear: pair.merged(),
                        parameters: merged,
                    }
                }
                (_, _, Operation::Linear(linear)) => Parameters::Linear {
                    linear: *linear,
                    parameters: parameters.to_vec(),
                },
                (_, _, Operation::MaxPool2d(pool)) => Parameters::MaxPool2d {
                    row: lanes.zeros(pool.input[1].div_ceil(T::WIDTH)),
                },
                _ => Parameters::None,
            }
        };
        Self {
            lanes,
            normalised,
            activations: activations(network, stages, T::WIDTH)
                .map(|vectors| lanes.zeros(vectors))
                .collect(),
            parameters: stages.iter().map(of_stage).collect(),
        }
    }

    /// - `image`: (C, H, W)
    /// - `output`: the numbers behind the last layer, written
    pub(super) fn predict(
        &mut self,
        network: &Network,
        stages: &[Stage],
        image: &[u8],
        output: &mut [f32],
    ) {
        self.read(image);
        let t = self.lanes;
        for (index, (stage, parameters)) in stages.iter().zip(&mut self.parameters).enumerate() {
            let (before, behind) = self.activations.split_at_mut(index + 1);
            let (x, y) = (&before[index][..], &mut behind[0][..]);
            match (parameters, &network.layers()[stage.layer].operation) {
                (Parameters::Conv2d(convolution), _) => {
                    let (x, y) = (t.numbers(x), t.numbers_mut(y));
                    conv2d::one_image::forward(t, convolution, x, y);
                }
                (Parameters::Linear { linear, parameters }, _) => {
                    let (x, y) = (t.numbers(x), t.numbers_mut(y));
                    let (weight, bias) = parameters.split_at(linear.weight_len());
                    linear::one_image::forward(t, linear, x, weight, bias, y);
                }
                (_, Operation::Relu) => relu::lanes::forward(t, x, y),
                (Parameters::MaxPool2d { row }, Operation::MaxPool2d(pool)) => {
                    let (x, y) = (t.numbers(x), t.numbers_mut(y));
                    max_pool2d::one_image::forward(t, pool, x, t.numbers_mut(row), y);
                }
                (_, Operation::Dropout(_)) => y.copy_from_slice(x),
                (_, other) => unreachable!("no parameters for {other:?}"),
            }
        }
        let last = &self.activations[self.activations.len() - 1];
        output.copy_from_slice(&t.numbers(last)[..output.len()]);
    }

    /// - `image`: (C, H, W)
    fn read(&mut self, image: &[u8]) {
        let x = self.lanes.numbers_mut(&mut self.activations[0]);
        let tables = self.normalised.as_chunks::<256>().0;
        let plane = image.len() / tables.len();
        let planes = image.chunks_exact(plane).zip(x.chunks_exact_mut(plane));
        for (table, (image, x)) in tables.iter().zip(planes) {
            for (x, &byte) in x.iter_mut().zip(image) {
                *x = table[usize::from(byte)];
            }
        }
    }
}
