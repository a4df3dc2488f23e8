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

/// How large the buffers and weights of a [`OneImage`] are.
pub(super) struct Sizes {
    /// Vectors before every layer, and behind the last.
    activations: Vec<usize>,
    /// Of every layer, the vectors of its weight and its bias.
    parameters: Vec<[usize; 2]>,
    /// Numbers.
    image: usize,
    frame: usize,
}

impl Sizes {
    /// For vectors of so many lanes.
    pub(super) fn of(network: &Network, width: usize) -> Self {
        let vectors = |shape: Shape| match shape {
            Shape::Image([channels, height, across]) => height * across * channels.div_ceil(width),
            Shape::Features(features) => features.div_ceil(width),
        };
        let layers = network.layers();
        let shapes = std::iter::once(Shape::Image(network.input()));
        let frames = layers.iter().map(|layer| match &layer.operation {
            Operation::Conv2d(conv) => conv2d::one_image::frame_len(conv, width),
            _ => 0,
        });
        let parameters = layers.iter().map(|layer| {
            let weight = match &layer.operation {
                Operation::Conv2d(conv) => conv2d::one_image::filters_len(conv, width),
                Operation::Linear(l) => linear::one_image::columns_len(l, width),
                _ => 0,
            };
            [weight, layer.bias.len().div_ceil(width)]
        });
        Self {
            activations: (shapes.chain(layers.iter().map(|layer| layer.output)))
                .map(vectors)
                .collect(),
            parameters: parameters.collect(),
            image: network.input().iter().product(),
            frame: frames.max().unwrap_or(0),
        }
    }

    /// All of them in bytes.
    pub(super) fn bytes(&self, width: usize) -> u64 {
        let vectors = self
            .activations
            .iter()
            .chain(self.parameters.as_flattened());
        let vectors: u64 = vectors.map(|&vectors| vectors as u64).sum();
        4 * (width as u64 * vectors + (self.image + self.frame) as u64)
    }
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
        let sizes = Sizes::of(network, T::WIDTH);
        let layers = network.layers().iter().zip(&sizes.parameters);
        let laid_out = layers.map(|(layer, &[weight_len, bias_len])| {
            let weight = &parameters[layer.weight.clone()];
            let mut bias = lanes.zeros(bias_len);
            lanes.numbers_mut(&mut bias)[..layer.bias.len()]
                .copy_from_slice(&parameters[layer.bias.clone()]);
            let mut laid_out = lanes.zeros(weight_len);
            match &layer.operation {
                Operation::Conv2d(conv) => {
                    conv2d::one_image::lay_out(lanes, conv, weight, &mut laid_out);
                }
                Operation::Linear(l) => {
                    linear::one_image::lay_out(lanes, l, weight, &mut laid_out);
                }
                _ => {}
            }
            LaidOut {
                weight: laid_out,
                bias,
            }
        });
        Self {
            lanes,
            normalisation,
            parameters: laid_out.collect(),
            activations: (sizes.activations.iter())
                .map(|&count| lanes.zeros(count))
                .collect(),
            image: vec![0.0; sizes.image],
            frame: vec![0.0; sizes.frame],
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
