//! What one thread needs to take a group of images through the network, and the order of calls.

use std::ops::Range;
use std::sync::RwLock;

use super::bands::{self, Band};
use super::plan::{Kind, Stage, Way};
use super::reading::{self, Scale};
use crate::data::{Batch, Normalisation};
use crate::engines::Metrics;
use crate::hardware::lanes::{Lanes, MAX_WIDTH, Numbers};
use crate::layers::conv2d::Conv2d;
use crate::layers::conv2d::lanes::{Plain, PlainGradients};
use crate::layers::conv2d_relu_max_pool2d::lanes::{Pooled, PooledGradients, Winner};
use crate::layers::cross_entropy::lanes::Answers;
use crate::layers::dropout::{self, Draws};
use crate::layers::{conv2d, cross_entropy, linear, linear_linear, max_pool2d, relu};
use crate::network::{Layer, Network, Operation};

/// The buffers of one thread.
pub(super) struct Workspace<T: Lanes> {
    pub(super) lanes: T,
    /// What the bytes of each channel become: (C).
    scales: Vec<Scale>,
    /// What stands before every stage, and behind the last: vectors of the shape between layers. A backward
    /// pass reads what its stage made of the input, too.
    activations: Vec<Vec<T::Vector>>,
    /// The gradients by the activations, once there is training.
    d_activations: Vec<Vec<T::Vector>>,
    /// What every stage keeps for its backward pass.
    kept: Vec<Kept<T>>,
    /// For a while, whatever a stage needs.
    scratch: Vec<T::Vector>,
    /// How many those are once there is training.
    training_scratch: usize,
}

/// What a stage keeps from its forward to its backward pass.
struct Kept<T: Lanes> {
    /// The padded or the transformed input of a convolution, or the winners of a pooling.
    vectors: Vec<T::Vector>,
    /// The winners of a fused pooling.
    winners: Vec<Winner>,
    /// The transformed weight of a convolution: (64, C, O), filled up, or along the rows (O, r, 8). Weight and
    /// bias of two layers that are merged: (O, I) and (O).
    transformed: Numbers<T>,
}

/// How large the buffers of a [`Workspace`] are.
pub(super) struct Sizes {
    /// Vectors before every stage, and behind the last.
    activations: Vec<usize>,
    kept: Vec<KeptSizes>,
    /// Vectors, of forward passes alone.
    scratch: usize,
    /// The same where there are backward passes, too.
    training_scratch: usize,
}

/// How large a [`Kept`] is.
struct KeptSizes {
    vectors: usize,
    winners: usize,
    transformed: usize,
}

impl Sizes {
    /// For vectors of so many lanes.
    pub(super) fn of(network: &Network, stages: &[Stage], width: usize) -> Self {
        let layers = network.layers();
        let behind = |stage: &Stage| layers[stage.layer + stage.layers() - 1].output.elements();
        let kept = stages.iter().map(|stage| {
            let layer = &layers[stage.layer];
            let (vectors, winners, transformed) = match (&stage.kind, &layer.operation) {
                (Kind::Conv2d(way), _) => (way.kept_len(convolution(layer)), 0, way.weight_len()),
                (Kind::Conv2dReluMaxPool2d(way, _), _) => (
                    way.kept_len(convolution(layer)),
                    behind(stage),
                    way.weight_len(),
                ),
                (Kind::LinearLinear(pair), _) => (0, 0, pair.merged_len()),
                (Kind::Alone, Operation::MaxPool2d(_)) => (behind(stage), 0, 0),
                (Kind::Alone, _) => (0, 0, 0),
            };
            KeptSizes {
                vectors,
                winners,
                transformed,
            }
        });
        let (mut scratch, mut training_scratch) = (0, 0);
        for stage in stages {
            let layer = &layers[stage.layer];
            let [forward, both] = match (&stage.kind, &layer.operation) {
                (Kind::Conv2d(way) | Kind::Conv2dReluMaxPool2d(way, _), _) => {
                    let both = way.scratch_len(convolution(layer), width);
                    [way.forward_scratch_len(), both]
                }
                (Kind::LinearLinear(pair), _) => {
                    [0, linear::lanes::scratch_len(&pair.merged(), width)]
                }
                (Kind::Alone, Operation::Linear(l)) => [0, linear::lanes::scratch_len(l, width)],
                (Kind::Alone, _) => [0, 0],
            };
            scratch = scratch.max(forward);
            training_scratch = training_scratch.max(both);
        }
        Self {
            activations: std::iter::once(network.input().iter().product())
                .chain(stages.iter().map(behind))
                .collect(),
            kept: kept.collect(),
            scratch,
            training_scratch,
        }
    }

    /// All of them in bytes; in training, activations have gradients.
    pub(super) fn bytes(&self, width: usize, training: bool) -> u64 {
        let sum = |sizes: &mut dyn Iterator<Item = usize>| sizes.map(|size| size as u64).sum();
        let activations: u64 = sum(&mut self.activations.iter().copied());
        let kept: u64 = sum(&mut self.kept.iter().map(|kept| kept.vectors));
        let winners: u64 = sum(&mut self.kept.iter().map(|kept| kept.winners));
        let transformed: u64 = sum(&mut self.kept.iter().map(|kept| kept.transformed));
        let (times, scratch) = match training {
            true => (2, self.training_scratch),
            false => (1, self.scratch),
        };
        let vectors = times * activations + kept + scratch as u64;
        4 * (width as u64 * vectors + transformed) + size_of::<Winner>() as u64 * winners
    }
}

/// The convolution of a stage.
fn convolution(layer: &Layer) -> &Conv2d {
    match &layer.operation {
        Operation::Conv2d(conv) => conv,
        other => unreachable!("a stage of a convolution at {other:?}"),
    }
}

impl<T: Lanes> Workspace<T> {
    pub(super) fn new(
        lanes: T,
        network: &Network,
        normalisation: &Normalisation,
        stages: &[Stage],
    ) -> Self {
        let sizes = Sizes::of(network, stages, T::WIDTH);
        let kept = sizes.kept.iter().map(|kept| Kept {
            vectors: lanes.zeros(kept.vectors),
            winners: vec![Winner::default(); kept.winners],
            transformed: Numbers::zeros(lanes, kept.transformed),
        });
        Self {
            lanes,
            scales: reading::scales(normalisation),
            kept: kept.collect(),
            d_activations: Vec::new(),
            scratch: lanes.zeros(sizes.scratch),
            training_scratch: sizes.training_scratch,
            activations: (sizes.activations.iter())
                .map(|&count| lanes.zeros(count))
                .collect(),
        }
    }

    /// Makes the buffers of the backward pass, if they are not there yet.
    pub(super) fn prepare_training(&mut self) {
        if self.d_activations.is_empty() {
            let like = |x: &Vec<_>| self.lanes.zeros(x.len());
            self.d_activations = self.activations.iter().map(like).collect();
            self.scratch = self.lanes.zeros(self.training_scratch);
        }
    }

    /// Transforms and merges the weights that are used so. They change with every step.
    ///
    /// - `parameters`: (P)
    /// - `bands`: in training, which have shares of what is merged
    pub(super) fn prepare_weights(
        &mut self,
        network: &Network,
        stages: &[Stage],
        parameters: &[f32],
        bands: Option<&[RwLock<Band<T>>]>,
    ) {
        for (stage, kept) in stages.iter().zip(&mut self.kept) {
            let (t, transformed) = (self.lanes, &mut kept.transformed);
            match &stage.kind {
                Kind::Conv2d(Way::Winograd(w)) | Kind::Conv2dReluMaxPool2d(Way::Winograd(w), _) => {
                    let weight = &parameters[network.layers()[stage.layer].weight.clone()];
                    conv2d::winograd::transform_weight(t, w, weight, transformed);
                }
                Kind::LinearLinear(pair) => {
                    let place = stage.parameters(network);
                    match bands {
                        Some(bands) => bands::add_shares(t, bands, place, transformed),
                        None => {
                            linear_linear::lanes::merge(t, pair, &parameters[place], transformed);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Normalises images into the lanes; lanes without an image are 0.
    pub(super) fn read<'a>(
        &mut self,
        network: &Network,
        images: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) {
        let [_, height, width] = network.input();
        let area = height * width;
        let planes = self.activations[0].chunks_exact_mut(area); // (C, H, W)
        for (c, (x, &scale)) in planes.zip(&self.scales).enumerate() {
            let mut planes: [&[u8]; MAX_WIDTH] = [&[]; MAX_WIDTH];
            for (plane, image) in planes.iter_mut().zip(images.clone()) {
                *plane = &image[c * area..][..area];
            }
            reading::read(self.lanes, &planes[..images.len()], scale, x);
        }
    }

    /// From the first activation, which is filled, to the last; in training with the `draws` of
    /// the first image's step, and with what the backward pass will need.
    pub(super) fn forward(
        &mut self,
        network: &Network,
        stages: &[Stage],
        parameters: &[f32],
        draws: Option<Draws>,
    ) {
        let t = self.lanes;
        for (index, (stage, kept)) in stages.iter().zip(&mut self.kept).enumerate() {
            let (before, behind) = self.activations.split_at_mut(index + 1);
            let (x, y) = (&before[index][..], &mut behind[0][..]);
            let layer = &network.layers()[stage.layer];
            let weight = &parameters[layer.weight.clone()];
            let bias = &parameters[layer.bias.clone()];
            match (&stage.kind, &layer.operation) {
                (Kind::Conv2d(way), _) => {
                    let conv = convolution(layer);
                    let size = conv.output;
                    let mut y = Plain { size, bias, y };
                    let (u, vectors) = (&kept.transformed, &mut kept.vectors);
                    way.forward(t, conv, x, weight, u, vectors, &mut self.scratch, &mut y);
                }
                (Kind::Conv2dReluMaxPool2d(way, pool), _) => {
                    let mut y = Pooled {
                        size: pool.output,
                        bias,
                        y,
                        winners: draws.map(|_| &mut kept.winners[..]),
                    };
                    let (conv, u, vectors) =
                        (convolution(layer), &kept.transformed, &mut kept.vectors);
                    way.forward(t, conv, x, weight, u, vectors, &mut self.scratch, &mut y);
                }
                (Kind::LinearLinear(pair), _) => {
                    let linear = pair.merged();
                    let (weight, bias) = kept.transformed.split_at(linear.weight_len());
                    linear::lanes::forward(t, &linear, x, weight, bias, y);
                }
                (Kind::Alone, Operation::Relu) => {
                    relu::lanes::forward(t, x, y);
                }
                (Kind::Alone, Operation::MaxPool2d(pool)) => {
                    max_pool2d::lanes::forward(t, pool, x, y, &mut kept.vectors);
                }
                (Kind::Alone, Operation::Linear(l)) => {
                    linear::lanes::forward(t, l, x, weight, bias, y);
                }
                (Kind::Alone, Operation::Dropout(d)) => match draws {
                    None => y.copy_from_slice(x),
                    Some(draws) => dropout::lanes::mask(t, d, stage.layer, draws, x, y),
                },
                (Kind::Alone, Operation::Flatten | Operation::Conv2d(_)) => {
                    unreachable!("no stage alone")
                }
            }
        }
    }

    /// Loss and hits of the group's logits, and the gradient by them; lanes without an image
    /// have none.
    pub(super) fn loss(&mut self, batch: &Batch, group: Range<usize>, smoothing: f64) -> Metrics {
        let (Some(z), Some(d_z)) = (self.activations.last(), self.d_activations.last_mut()) else {
            unreachable!("a network has an output");
        };
        let mut labels = [0; MAX_WIDTH];
        let labels = &mut labels[..group.len()];
        for (label, example) in labels.iter_mut().zip(group) {
            *label = batch.label(example);
        }
        let mut answers = Answers::default();
        let examples = batch.len();
        let t = self.lanes;
        cross_entropy::lanes::forward_backward(
            t,
            z,
            labels,
            smoothing,
            examples,
            d_z,
            &mut answers,
        );
        let mut metrics = Metrics::default();
        for ((&label, loss), class) in labels.iter().zip(answers.losses).zip(answers.classes) {
            metrics.add(Metrics {
                loss_sum: f64::from(loss),
                correct: usize::from(class as usize == label),
                examples: 1,
            });
        }
        metrics
    }

    /// From the last gradient, which is filled, to the first. The gradients by activations that only
    /// the input's needs are computed only if that is `wanted`.
    ///
    /// - `d_parameters`: (P), added to as [`Stage::added`] says
    pub(super) fn backward(
        &mut self,
        network: &Network,
        stages: &[Stage],
        parameters: &[f32],
        draws: Draws,
        d_parameters: &mut [f32],
        wanted: bool,
    ) {
        let t = self.lanes;
        for (index, (stage, kept)) in stages.iter().zip(&mut self.kept).enumerate().rev() {
            let x = &self.activations[index];
            let (before, behind) = self.d_activations.split_at_mut(index + 1);
            let (d_x, d_y) = (&mut before[index][..], &mut behind[0][..]);
            let layer = &network.layers()[stage.layer];
            let wanted = wanted || network.trains_before(stage.layer);
            if !wanted && !layer.has_parameters() {
                return;
            }
            let d_x_wanted = wanted.then_some(&mut *d_x);
            let weight = &parameters[layer.weight.clone()];
            let (d_weight, d_bias) = layer.split_mut(d_parameters);
            let scratch = &mut self.scratch[..];
            match (&stage.kind, &layer.operation) {
                (Kind::Conv2d(way), _) => {
                    let (conv, u, v) = (convolution(layer), &kept.transformed, &mut kept.vectors);
                    let size = conv.output;
                    let d_y = &PlainGradients { size, d_y };
                    way.backward(
                        t, conv, x, weight, u, v, d_y, d_x_wanted, scratch, d_weight, d_bias,
                    );
                }
                (Kind::Conv2dReluMaxPool2d(way, pool), _) => {
                    let (conv, u, v) = (convolution(layer), &kept.transformed, &mut kept.vectors);
                    let d_y = &PooledGradients {
                        size: pool.output,
                        y: &self.activations[index + 1],
                        winners: &kept.winners,
                        d_y,
                    };
                    way.backward(
                        t, conv, x, weight, u, v, d_y, d_x_wanted, scratch, d_weight, d_bias,
                    );
                }
                (Kind::LinearLinear(pair), _) => {
                    let (linear, d_x) = (pair.merged(), d_x_wanted);
                    let d_merged = &mut d_parameters[stage.added(network)];
                    let (d_weight, d_bias) = d_merged.split_at_mut(linear.weight_len());
                    let weight = &kept.transformed[..linear.weight_len()];
                    linear::lanes::backward(
                        t, &linear, x, weight, d_y, d_x, scratch, d_weight, d_bias,
                    );
                }
                (Kind::Alone, Operation::Relu) => relu::lanes::backward(t, x, d_y, d_x),
                (Kind::Alone, Operation::MaxPool2d(pool)) => {
                    max_pool2d::lanes::backward(t, pool, &kept.vectors, d_y, d_x);
                }
                (Kind::Alone, Operation::Linear(l)) => {
                    let d_x = d_x_wanted;
                    linear::lanes::backward(t, l, x, weight, d_y, d_x, scratch, d_weight, d_bias);
                }
                (Kind::Alone, Operation::Dropout(d)) => {
                    dropout::lanes::mask(t, d, stage.layer, draws, d_y, d_x);
                }
                (Kind::Alone, Operation::Flatten | Operation::Conv2d(_)) => {
                    unreachable!("no stage alone")
                }
            }
        }
    }

    /// Where layers are merged, makes the gradients by each of that which [`Self::backward`] added up.
    ///
    /// - `parameters`, `d_parameters`: (P)
    pub(super) fn split_merged(
        &self,
        network: &Network,
        stages: &[Stage],
        parameters: &[f32],
        d_parameters: &mut [f32],
    ) {
        for stage in stages {
            if let Kind::LinearLinear(pair) = &stage.kind {
                let d_merged = d_parameters[stage.added(network)].to_vec();
                let place = stage.parameters(network);
                let (parameters, to) = (&parameters[place.clone()], &mut d_parameters[place]);
                linear_linear::lanes::gradients(self.lanes, pair, parameters, &d_merged, to);
            }
        }
    }

    /// The group's normalised input: (n, C, H, W), n at most the lanes.
    pub(super) fn gather_input(&mut self, input: &[f32]) {
        gather(self.lanes, input, &mut self.activations[0]);
    }

    /// The gradient by the group's output: (n, …), n at most the lanes.
    pub(super) fn gather_d_output(&mut self, d_output: &[f32]) {
        let last = self.d_activations.len() - 1;
        gather(self.lanes, d_output, &mut self.d_activations[last]);
    }

    /// The group's output: (n, …), written, n at most the lanes.
    pub(super) fn scatter_output(&self, output: &mut [f32]) {
        scatter(
            self.lanes,
            &self.activations[self.activations.len() - 1],
            output,
        );
    }

    /// The gradient by the group's input: (n, C, H, W), written, n at most the lanes.
    pub(super) fn scatter_d_input(&self, d_input: &mut [f32]) {
        scatter(self.lanes, &self.d_activations[0], d_input);
    }
}

/// - `images`: (n, …), n at most the lanes
/// - `vectors`: written, lanes without an image 0
fn gather<T: Lanes>(t: T, images: &[f32], vectors: &mut [T::Vector]) {
    let each = vectors.len();
    vectors.fill(t.zero());
    let vectors = t.numbers_mut(vectors);
    for (lane, image) in images.chunks_exact(each).enumerate() {
        for (vector, &number) in vectors.chunks_exact_mut(T::WIDTH).zip(image) {
            vector[lane] = number;
        }
    }
}

/// - `vectors`: a number of every image each
/// - `images`: (n, …), written, n at most the lanes
fn scatter<T: Lanes>(t: T, vectors: &[T::Vector], images: &mut [f32]) {
    let each = vectors.len();
    let vectors = t.numbers(vectors);
    for (lane, image) in images.chunks_exact_mut(each).enumerate() {
        for (number, vector) in image.iter_mut().zip(vectors.chunks_exact(T::WIDTH)) {
            *number = vector[lane];
        }
    }
}

/// The order of calls of either way.
impl Way {
    fn kept_len(&self, conv: &Conv2d) -> usize {
        match self {
            Self::Direct => conv2d::lanes::frame_len(conv),
            Self::Winograd(winograd) => winograd.input_len(),
        }
    }

    fn weight_len(&self) -> usize {
        match self {
            Self::Direct => 0,
            Self::Winograd(winograd) => winograd.weight_len(),
        }
    }

    fn forward_scratch_len(&self) -> usize {
        match self {
            Self::Direct => 0,
            Self::Winograd(winograd) => winograd.forward_scratch_len(),
        }
    }

    fn scratch_len(&self, conv: &Conv2d, width: usize) -> usize {
        match self {
            Self::Direct => conv2d::lanes::scratch_len(conv),
            Self::Winograd(winograd) => winograd.scratch_len(width),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the tensors of the layer")]
    fn forward<T: Lanes>(
        &self,
        t: T,
        conv: &Conv2d,
        x: &[T::Vector],
        weight: &[f32],
        u: &[f32],
        vectors: &mut [T::Vector],
        scratch: &mut [T::Vector],
        y: &mut impl conv2d::lanes::Outputs<T>,
    ) {
        match self {
            Self::Direct => conv2d::lanes::forward(t, conv, x, weight, vectors, y),
            Self::Winograd(w) => conv2d::winograd::forward(t, w, x, u, vectors, scratch, y),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the tensors of the layer")]
    fn backward<T: Lanes>(
        &self,
        t: T,
        conv: &Conv2d,
        x: &[T::Vector],
        weight: &[f32],
        u: &[f32],
        v: &mut [T::Vector],
        d_y: &impl conv2d::lanes::Gradients<T>,
        d_x: Option<&mut [T::Vector]>,
        scratch: &mut [T::Vector],
        d_weight: &mut [f32],
        d_bias: &mut [f32],
    ) {
        match self {
            Self::Direct => {
                conv2d::lanes::backward(t, conv, x, v, weight, d_y, d_x, scratch, d_weight, d_bias)
            }
            Self::Winograd(w) => {
                conv2d::winograd::backward(t, w, u, v, d_y, d_x, scratch, d_weight, d_bias);
            }
        }
    }
}
