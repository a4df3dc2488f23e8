//! The kernels of a step and their order: a batch, forward, loss, backward, update. Whatever differs from
//! step to step they read from the epoch's table, so that the same launches do for all of them.

use super::plan::{Fused, Kind, Stage};
use super::{Cuda, EXAMPLE_THREADS, Epoch, F, THREADS, sizes};
use crate::engines::{EngineError, outputs};
use crate::hardware::gpu::Argument::{self, F32, F64, I32, Memory, U32, U64};
use crate::hardware::gpu::{Classifier, Gpu, Grid, Update};
use crate::layers::dropout::Dropout;
use crate::network::{Layer, Operation};
use crate::optimisers::{Optimiser, StepRule};

/// Threads of a warp, as the kernels have it.
const WARP: usize = 32;

/// Which way a layer is gone through.
#[derive(Clone, Copy)]
enum Pass {
    Forward,
    Backward,
}

impl<G: Gpu> Cuda<G> {
    /// One whole step of `rule` with the next `n` images of the epoch.
    pub(super) fn step(
        &self,
        epoch: &Epoch<G::Memory>,
        n: usize,
        rule: &StepRule,
    ) -> Result<(), EngineError> {
        match &self.convnet {
            // All gradients must be there before they are clipped.
            Some(convnet) if rule.clip_norm.is_none() => {
                let update = Some(update_of(&rule.optimiser));
                self.convnet_step(convnet, epoch, n, rule, update)?;
                self.average(rule)
            }
            _ => {
                self.learn(epoch, n, rule)?;
                self.update(rule)
            }
        }
    }

    /// Loss, hits and all gradients of the next `n` images of the epoch.
    pub(super) fn learn(
        &self,
        epoch: &Epoch<G::Memory>,
        n: usize,
        rule: &StepRule,
    ) -> Result<(), EngineError> {
        if let Some(convnet) = &self.convnet {
            return self.convnet_step(convnet, epoch, n, rule, None);
        }
        self.gather(epoch, n)?;
        match self.stages.split_last() {
            Some((
                Stage {
                    layer,
                    kind: Kind::Classifier(classifier),
                    ..
                },
                before,
            )) => {
                self.stages_forward(before, n, Some(rule.seed))?;
                self.classifier_learn(*layer, classifier, n, rule)?;
                self.classifier_parameters(classifier, n)?;
                self.stages_backward(before, n, rule.seed, false)
            }
            _ => {
                self.forward(n, Some(rule.seed))?;
                self.cross_entropy(n, rule)?;
                self.backward(n, rule.seed, false)
            }
        }
    }

    fn cross_entropy(&self, n: usize, rule: &StepRule) -> Result<(), EngineError> {
        let last = self.network.layers().len();
        let arguments = [
            Memory(self.buffers.activation(last), 0),
            Memory(&self.buffers.labels, 0),
            Memory(self.buffers.d_activation(last), 0),
            Memory(&self.steps_table, 0),
            Memory(&self.progress, 0),
            I32(sizes::int(n)?),
            I32(sizes::int(outputs(&self.network)?)?),
            F32(rule.label_smoothing as f32),
        ];
        self.blocks("cross_entropy", 1, &arguments)
    }

    /// Fills the first activation with the next `n` images of the epoch.
    pub(super) fn gather(&self, epoch: &Epoch<G::Memory>, n: usize) -> Result<(), EngineError> {
        let [channels, height, width] = self.network.input();
        let arguments = [
            Memory(epoch.images, 0),
            Memory(&epoch.labels, 0),
            Memory(&epoch.order, 0),
            Memory(&self.progress, 0),
            Memory(&self.bytes_table, 0),
            Memory(self.buffers.activation(0), 0),
            Memory(&self.buffers.labels, 0),
            I32(sizes::int(n)?),
            I32(sizes::int(channels)?),
            I32(sizes::int(height * width)?),
        ];
        self.for_each("gather", n * channels * height * width, &arguments)
    }

    /// From the first activation of `n` images, which is filled, to the last; in training with what
    /// `seed` drops.
    pub(super) fn forward(&self, n: usize, seed: Option<u64>) -> Result<(), EngineError> {
        self.stages_forward(&self.stages, n, seed)
    }

    fn stages_forward(
        &self,
        stages: &[Stage],
        n: usize,
        seed: Option<u64>,
    ) -> Result<(), EngineError> {
        for stage in stages {
            match &stage.kind {
                Kind::Alone => self.layer_forward(stage.layer, n, seed)?,
                Kind::Fused(fused) => self.fused_forward(stage.layer, fused, n)?,
                Kind::Classifier(layers) => {
                    self.classifier_forward(stage.layer, layers, n, seed)?;
                }
            }
        }
        Ok(())
    }

    fn layer_forward(&self, index: usize, n: usize, seed: Option<u64>) -> Result<(), EngineError> {
        let layer = &self.network.layers()[index];
        let [x, y] = [index, index + 1].map(|place| Memory(self.buffers.activation(place), 0));
        let count = n * layer.output.elements();
        let [weight, bias] = self.parameters_of(layer);
        match &layer.operation {
            Operation::Conv2d(conv) => {
                let sizes = Argument::Windows(sizes::of_conv2d(conv, n)?);
                let forward = self.rung.forward(conv);
                let arguments = [x, weight, bias, y, sizes];
                self.blocks(forward.kernel, forward.blocks(conv, n), &arguments)
            }
            Operation::Relu => {
                self.for_each("relu_forward", count, &[x, y, I32(sizes::int(count)?)])
            }
            Operation::MaxPool2d(pool) => {
                let sizes = Argument::Windows(sizes::of_max_pool2d(pool, n)?);
                self.for_each("max_pool2d_forward", count, &[x, y, sizes])
            }
            Operation::Flatten => Ok(()),
            Operation::Linear(linear) => {
                let sizes = Argument::Linear(sizes::of_linear(linear, n)?);
                self.for_each("linear_forward", WARP * count, &[x, weight, bias, y, sizes])
            }
            Operation::Dropout(dropout) => self.mask(index, dropout, n, seed, Pass::Forward),
        }
    }

    fn fused_forward(&self, index: usize, fused: &Fused, n: usize) -> Result<(), EngineError> {
        let layer = &self.network.layers()[index];
        let [x, y] = [index, index + 3].map(|place| Memory(self.buffers.activation(place), 0));
        let [weight, bias] = self.parameters_of(layer);
        let [shared, _] = fused.shared();
        let arguments = [
            x,
            weight,
            bias,
            y,
            Memory(&self.buffers.winners(index).pixels, 0),
            Argument::Windows(sizes::of_conv2d(&fused.conv, n)?),
            Argument::Windows(sizes::of_max_pool2d(&fused.pool, n)?),
            I32(sizes::int(fused.group)?),
            I32(sizes::int(fused.chunks[0])?),
        ];
        let grid = Grid {
            blocks: sizes::int(n * fused.conv.out_channels.div_ceil(fused.group))?.unsigned_abs(),
            threads: THREADS,
            shared: sizes::int(F * shared)?.unsigned_abs(),
        };
        self.launch("conv2d_relu_max_pool2d_forward", grid, &arguments)
    }

    /// From the last gradient of `n` images, which is filled, to the first, or where the input's is
    /// not wanted to the first parameters. The parameters' gradients are written.
    pub(super) fn backward(&self, n: usize, seed: u64, input: bool) -> Result<(), EngineError> {
        self.stages_backward(&self.stages, n, seed, input)
    }

    fn stages_backward(
        &self,
        stages: &[Stage],
        n: usize,
        seed: u64,
        input: bool,
    ) -> Result<(), EngineError> {
        for stage in stages.iter().rev() {
            let input = input || self.network.trains_before(stage.layer);
            match &stage.kind {
                Kind::Alone => self.layer_backward(stage.layer, n, seed, input)?,
                Kind::Fused(fused) => self.fused_backward(stage.layer, fused, n, input)?,
                Kind::Classifier(layers) => {
                    self.classifier_backward(stage.layer, layers, n, seed)?;
                    self.classifier_parameters(layers, n)?;
                }
            }
        }
        Ok(())
    }

    /// `input`: whether the gradient by the layer's input is wanted.
    fn layer_backward(
        &self,
        index: usize,
        n: usize,
        seed: u64,
        input: bool,
    ) -> Result<(), EngineError> {
        let layer = &self.network.layers()[index];
        let x = || Memory(self.buffers.activation(index), 0);
        let d_x = || Memory(self.buffers.d_activation(index), 0);
        let d_y = || Memory(self.buffers.d_activation(index + 1), 0);
        let count = if input { n * layer.input.elements() } else { 0 };
        let [weight, _] = self.parameters_of(layer);
        let [d_weight, d_bias] = self.gradients_of(layer);
        match &layer.operation {
            Operation::Conv2d(conv) => {
                let sizes = sizes::of_conv2d(conv, n)?;
                let sizes = || Argument::Windows(sizes);
                let weights = layer.weight.len();
                let arguments = [x(), d_y(), d_weight, sizes()];
                self.blocks("conv2d_backward_weight", weights, &arguments)?;
                let arguments = [d_y(), d_bias, sizes()];
                self.blocks("conv2d_backward_bias", layer.bias.len(), &arguments)?;
                let arguments = [weight, d_y(), d_x(), sizes()];
                self.for_each("conv2d_backward_input", count, &arguments)
            }
            Operation::Relu => {
                let arguments = [x(), d_y(), d_x(), I32(sizes::int(count)?)];
                self.for_each("relu_backward", count, &arguments)
            }
            Operation::MaxPool2d(pool) => {
                let sizes = Argument::Windows(sizes::of_max_pool2d(pool, n)?);
                self.for_each("max_pool2d_backward", count, &[x(), d_y(), d_x(), sizes])
            }
            Operation::Flatten => Ok(()),
            Operation::Linear(linear) => {
                let sizes = Argument::Linear(sizes::of_linear(linear, n)?);
                let inputs = I32(sizes::int(count)?);
                let arguments = [x(), weight, d_y(), d_x(), d_weight, d_bias, sizes, inputs];
                let all = layer.weight.len() + layer.bias.len() + count;
                self.for_each("linear_backward", all, &arguments)
            }
            Operation::Dropout(dropout) if input => {
                self.mask(index, dropout, n, Some(seed), Pass::Backward)
            }
            Operation::Dropout(_) => Ok(()),
        }
    }

    fn fused_backward(
        &self,
        index: usize,
        fused: &Fused,
        n: usize,
        input: bool,
    ) -> Result<(), EngineError> {
        let layer = &self.network.layers()[index];
        let buffers = &self.buffers;
        let winners = buffers.winners(index);
        let [weight, _] = self.parameters_of(layer);
        let [d_weight, d_bias] = self.gradients_of(layer);
        let [_, shared] = fused.shared();
        let inputs = if input { n * fused.conv.in_channels } else { 0 };
        let slices = fused.slices(n);
        let arguments = [
            Memory(buffers.activation(index), 0),
            weight,
            Memory(buffers.d_activation(index + 3), 0),
            Memory(&winners.pixels, 0),
            Memory(buffers.d_activation(index), 0),
            d_weight,
            d_bias,
            Memory(&winners.partial, 0),
            Memory(&winners.tickets, 0),
            Argument::Windows(sizes::of_conv2d(&fused.conv, n)?),
            Argument::Windows(sizes::of_max_pool2d(&fused.pool, n)?),
            I32(sizes::int(slices)?),
            I32(sizes::int(fused.chunks[1])?),
            I32(sizes::int(inputs)?),
        ];
        let grid = Grid {
            blocks: sizes::int(inputs + fused.pairs() * slices)?.unsigned_abs(),
            threads: THREADS,
            shared: sizes::int(F * shared)?.unsigned_abs(),
        };
        self.launch("conv2d_relu_max_pool2d_backward", grid, &arguments)
    }

    /// A block an example, which shares so many copies of its values.
    fn classifier(
        &self,
        kernel: &'static str,
        classifier: &Classifier,
        n: usize,
        copies: usize,
        arguments: &[Argument<G::Memory>],
    ) -> Result<(), EngineError> {
        let grid = Grid {
            blocks: sizes::int(n)?.unsigned_abs(),
            threads: EXAMPLE_THREADS,
            shared: sizes::int(F * copies)?.unsigned_abs() * classifier.width.unsigned_abs(),
        };
        // Places among the values of all examples.
        sizes::int(n * classifier.width.unsigned_abs() as usize)?;
        self.launch(kernel, grid, arguments)
    }

    fn classifier_forward(
        &self,
        index: usize,
        classifier: &Classifier,
        n: usize,
        seed: Option<u64>,
    ) -> Result<(), EngineError> {
        let last = self.network.layers().len();
        let arguments = [
            Memory(self.buffers.activation(index), 0),
            Memory(&self.parameters, 0),
            Memory(self.buffers.activation(last), 0),
            Memory(&self.buffers.values().values, 0),
            U64(seed.unwrap_or(0)),
            I32(seed.is_some().into()),
            Memory(&self.progress, 0),
            Argument::Classifier(classifier),
        ];
        self.classifier("classifier_forward", classifier, n, 1, &arguments)
    }

    fn classifier_backward(
        &self,
        index: usize,
        classifier: &Classifier,
        n: usize,
        seed: u64,
    ) -> Result<(), EngineError> {
        let last = self.network.layers().len();
        let values = self.buffers.values();
        let arguments = [
            Memory(self.buffers.d_activation(last), 0),
            Memory(&self.parameters, 0),
            Memory(&values.values, 0),
            Memory(&values.d_values, 0),
            Memory(self.buffers.d_activation(index), 0),
            U64(seed),
            Memory(&self.progress, 0),
            Argument::Classifier(classifier),
        ];
        self.classifier("classifier_backward", classifier, n, 2, &arguments)
    }

    /// Both, with the loss between them.
    fn classifier_learn(
        &self,
        index: usize,
        classifier: &Classifier,
        n: usize,
        rule: &StepRule,
    ) -> Result<(), EngineError> {
        let values = self.buffers.values();
        let arguments = [
            Memory(self.buffers.activation(index), 0),
            Memory(&self.buffers.labels, 0),
            Memory(&self.parameters, 0),
            Memory(&values.values, 0),
            Memory(&values.d_values, 0),
            Memory(self.buffers.d_activation(index), 0),
            Memory(&values.losses, 0),
            Memory(&values.rights, 0),
            Memory(&values.ticket, 0),
            U64(rule.seed),
            F32(rule.label_smoothing as f32),
            Memory(&self.steps_table, 0),
            Memory(&self.progress, 0),
            Argument::Classifier(classifier),
        ];
        self.classifier("classifier_learn", classifier, n, 2, &arguments)
    }

    /// The gradients by the classifier's parameters, which are the network's last.
    fn classifier_parameters(&self, classifier: &Classifier, n: usize) -> Result<(), EngineError> {
        let values = self.buffers.values();
        let linear = classifier.of.iter().find(|layer| layer.kind == 0);
        let first = linear.map_or(0, |layer| layer.weight.unsigned_abs() as usize);
        let count = self.network.parameter_count() - first;
        let arguments = [
            Memory(&values.values, 0),
            Memory(&values.d_values, 0),
            Memory(&self.gradients, 0),
            I32(sizes::int(n)?),
            I32(sizes::int(count)?),
            Argument::Classifier(classifier),
        ];
        self.for_each("classifier_parameters", count, &arguments)
    }

    /// Dropout of the layer at `index`, with what `seed` drops, or nothing.
    fn mask(
        &self,
        index: usize,
        dropout: &Dropout,
        n: usize,
        seed: Option<u64>,
        pass: Pass,
    ) -> Result<(), EngineError> {
        let places = [index, index + 1];
        let [from, to] = match pass {
            Pass::Forward => places.map(|place| self.buffers.activation(place)),
            Pass::Backward => {
                let [d_x, d_y] = places.map(|place| self.buffers.d_activation(place));
                [d_y, d_x]
            }
        };
        let (scale, threshold) = match seed {
            Some(_) => (dropout.scale() as f32, dropout.threshold()),
            None => (1.0, 0),
        };
        let elements = self.network.layers()[index].output.elements();
        let count = n * elements;
        let arguments = [
            Memory(from, 0),
            Memory(to, 0),
            I32(sizes::int(count)?),
            I32(sizes::int(elements)?),
            F32(scale),
            U32(threshold),
            U64(seed.unwrap_or(0)),
            Memory(&self.progress, 0),
            U32(index as u32),
        ];
        self.for_each("dropout_mask", count, &arguments)
    }

    /// The update of `rule` with the gradients that there are.
    pub(super) fn update(&self, rule: &StepRule) -> Result<(), EngineError> {
        let count = self.network.parameter_count();
        let int = || sizes::int(count).map(I32);
        if let Some(norm) = rule.clip_norm {
            let arguments = [Memory(&self.gradients, 0), int()?, F64(norm)];
            self.blocks("clip", 1, &arguments)?;
        }
        let arguments = [
            Memory(&self.parameters, 0),
            Memory(&self.gradients, 0),
            Memory(&self.first_moment, 0),
            Memory(&self.second_moment, 0),
            int()?,
            Memory(&self.progress, 0),
            Argument::Update(update_of(&rule.optimiser)),
        ];
        self.for_each("update", count, &arguments)?;
        self.average(rule)
    }

    /// The running average of the parameters, if `rule` has one.
    fn average(&self, rule: &StepRule) -> Result<(), EngineError> {
        if rule.average.is_none() {
            return Ok(());
        }
        let count = self.network.parameter_count();
        let arguments = [
            Memory(&self.parameters, 0),
            Memory(&self.average, 0),
            I32(sizes::int(count)?),
            Memory(&self.progress, 0),
        ];
        self.for_each("average", count, &arguments)
    }

    /// A layer's weight and bias.
    fn parameters_of(&self, layer: &Layer) -> [Argument<'_, G::Memory>; 2] {
        [&layer.weight, &layer.bias].map(|range| Memory(&self.parameters, F * range.start))
    }

    /// Their gradients.
    fn gradients_of(&self, layer: &Layer) -> [Argument<'_, G::Memory>; 2] {
        [&layer.weight, &layer.bias].map(|range| Memory(&self.gradients, F * range.start))
    }

    /// A thread for each of `count` numbers.
    fn for_each(
        &self,
        kernel: &'static str,
        count: usize,
        arguments: &[Argument<G::Memory>],
    ) -> Result<(), EngineError> {
        // Threads are counted like sizes.
        sizes::int(count)?;
        self.blocks(kernel, count.div_ceil(THREADS as usize), arguments)
    }

    /// So many whole blocks.
    fn blocks(
        &self,
        kernel: &'static str,
        blocks: usize,
        arguments: &[Argument<G::Memory>],
    ) -> Result<(), EngineError> {
        let grid = Grid {
            blocks: sizes::int(blocks)?.unsigned_abs(),
            threads: THREADS,
            shared: 0,
        };
        self.launch(kernel, grid, arguments)
    }

    pub(super) fn launch(
        &self,
        kernel: &'static str,
        grid: Grid,
        arguments: &[Argument<G::Memory>],
    ) -> Result<(), EngineError> {
        // Where there is nothing to compute there is no kernel.
        if grid.blocks == 0 {
            return Ok(());
        }
        // SAFETY: every caller above passes what the kernel of this name declares; the buffers have
        // the network's shapes for at least as many images as the sizes say, the parameters those
        // of their table, the table of steps a row for each step that is launched, and a block as
        // much shared memory as its plan says.
        unsafe { self.gpu.launch(kernel, grid, arguments)? };
        Ok(())
    }
}

/// The update of an optimiser, as the kernels have it.
fn update_of(optimiser: &Optimiser) -> Update {
    match optimiser {
        Optimiser::Sgd(sgd) => Update {
            kind: 0,
            penalty: sgd.weight_decay as f32,
            momentum: sgd.momentum as f32,
            nesterov: sgd.nesterov.into(),
            ..Update::default()
        },
        Optimiser::Adam(adam) => Update {
            kind: 1,
            // A decoupled decay is the step's.
            penalty: match adam.decoupled {
                true => 0.0,
                false => adam.weight_decay as f32,
            },
            beta1: adam.beta1 as f32,
            rest1: (1.0 - adam.beta1) as f32,
            beta2: adam.beta2 as f32,
            rest2: (1.0 - adam.beta2) as f32,
            eps: adam.eps as f32,
            ..Update::default()
        },
    }
}
