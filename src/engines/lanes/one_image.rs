//! One image alone, as fast as one thread can: a group would leave all lanes but one empty, so the
//! channels of each pixel stand in the lanes instead, and the weights are laid out for that.

use crate::data::Normalisation;
use crate::hardware::lanes::Lanes;
use crate::layers::{Shape, conv2d, flatten, linear, max_pool2d, relu};
use crate::network::{Network, Operation};

/// Buffers for an image, and weights laid out.
pub(super) struct OneImage<T: Lanes> {
    lanes: T,
    normalisation: Normalisation,
    /// The normalised image: (C, H, W).
    image: Vec<f32>,
    /// What stands before every layer, and behind the last: (H, W, C vectors), or the vectors of
    /// the features.
    activations: Vec<Vec<T::Vector>>,
    /// Of every layer, none where it has none.
    parameters: Vec<LaidOut<T>>,
    /// The padded input of a convolution.
    frame: Vec<f32>,
}

struct LaidOut<T: Lanes> {
    weight: Vec<T::Vector>,
    /// (O vectors)
    bias: Vec<T::Vector>,
}

impl<T: Lanes> OneImage<T> {
    /// For images that become what `normalisation` says, with the network's `parameters`.
    pub(super) fn new(
        lanes: T,
        network: &Network,
        normalisation: Normalisation,
        parameters: &[f32],
    ) -> Self {
        let vectors = |shape: Shape| match shape {
            Shape::Image([channels, height, width]) => height * width * channels.div_ceil(T::WIDTH),
            Shape::Features(features) => features.div_ceil(T::WIDTH),
        };
        let layers = network.layers();
        let shapes = std::iter::once(Shape::Image(network.input()));
        let shapes = shapes.chain(layers.iter().map(|layer| layer.output));
        let frames = layers.iter().map(|layer| match &layer.operation {
            Operation::Conv2d(conv) => conv2d::one_image::frame_len(conv, T::WIDTH),
            _ => 0,
        });
        let laid_out = layers.iter().map(|layer| {
            let weight = &parameters[layer.weight.clone()];
            let mut bias = lanes.zeros(layer.bias.len().div_ceil(T::WIDTH));
            lanes.numbers_mut(&mut bias)[..layer.bias.len()]
                .copy_from_slice(&parameters[layer.bias.clone()]);
            let weight = match &layer.operation {
                Operation::Conv2d(conv) => {
                    let mut filters = lanes.zeros(conv2d::one_image::filters_len(conv, T::WIDTH));
                    conv2d::one_image::lay_out(lanes, conv, weight, &mut filters);
                    filters
                }
                Operation::Linear(l) => {
                    let mut columns = lanes.zeros(linear::one_image::columns_len(l, T::WIDTH));
                    linear::one_image::lay_out(lanes, l, weight, &mut columns);
                    columns
                }
                _ => Vec::new(),
            };
            LaidOut { weight, bias }
        });
        Self {
            lanes,
            normalisation,
            image: vec![0.0; network.input().iter().product()],
            activations: shapes.map(|shape| lanes.zeros(vectors(shape))).collect(),
            parameters: laid_out.collect(),
            frame: vec![0.0; frames.max().unwrap_or(0)],
        }
    }

    /// - `image`: (C, H, W)
    /// - `output`: the numbers behind the last layer, written
    pub(super) fn predict(&mut self, network: &Network, image: &[u8], output: &mut [f32]) {
        self.read(network, image);
        let t = self.lanes;
        for (index, (layer, laid_out)) in network.layers().iter().zip(&self.parameters).enumerate()
        {
            let (before, behind) = self.activations.split_at_mut(index + 1);
            let (x, y) = (&before[index][..], &mut behind[0][..]);
            let LaidOut { weight, bias } = laid_out;
            match (&layer.operation, layer.input) {
                (Operation::Conv2d(conv), _) => {
                    conv2d::one_image::forward(t, conv, x, weight, bias, &mut self.frame, y);
                }
                (Operation::Relu, _) => relu::lanes::forward(t, x, y),
                (Operation::MaxPool2d(pool), _) => max_pool2d::one_image::forward(t, pool, x, y),
                (Operation::Flatten, Shape::Image([channels, ..])) => {
                    flatten::one_image::forward(t, channels, x, y);
                }
                (Operation::Linear(l), _) => {
                    linear::one_image::forward(t, l, t.numbers(x), weight, bias, y);
                }
                (Operation::Dropout(_) | Operation::Flatten, _) => y.copy_from_slice(x),
            }
        }
        let last = &self.activations[self.activations.len() - 1];
        output.copy_from_slice(&t.numbers(last)[..output.len()]);
    }

    fn read(&mut self, network: &Network, image: &[u8]) {
        self.normalisation.apply(image, &mut self.image);
        let [channels, height, width] = network.input();
        let apart = channels.next_multiple_of(T::WIDTH);
        let x = self.lanes.numbers_mut(&mut self.activations[0]); // x: (H, W, apart)
        for (c, plane) in self.image.chunks_exact(height * width).enumerate() {
            for (&number, x) in plane.iter().zip(x.chunks_exact_mut(apart)) {
                x[c] = number;
            }
        }
    }
}
