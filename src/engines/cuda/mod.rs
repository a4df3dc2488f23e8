//! The engine of GPUs. Parameters, optimiser, dataset, activations, loss and hits stay on the GPU; what
//! goes there in an epoch is its order, and what comes back is a few numbers ten times a second.
//!
//! The kernels are in `kernels/`, a file a layer, each beside the layer's formula; here are their
//! buffers, sizes and order. They use no atomics, so the same seed gives the same bits from run to
//! run. Which GPU it is, a device or the CPU in its place for the tests, [`Gpu`] hides.

mod sizes;

use std::ops::ControlFlow;
use std::time::Instant;

use ndarray::Array2;

use super::{
    Backward, Engine, EngineError, Metrics, Progress, REPORT_EVERY, Watch, check_batch,
    check_images, check_normalisation, check_state, check_tensors, outputs,
};
use crate::data::{Batch, Dataset, Images, Normalisation, batches};
use crate::hardware::gpu::{Argument, Gpu};
use crate::layers::dropout::Draws;
use crate::network::{Layer, Network, Operation};
use crate::optimisers::{Adam, Optimiser, StepRule, TrainingState};
use crate::tensor::Tensor;

use Argument::{F32, F64, I32, Memory, U32, U64};

/// Threads of a block. Kernels that add up within a block count on it.
const THREADS: u32 = 256;

/// Bytes of a number.
const F: usize = size_of::<f32>();

/// The most images of which logits are asked at once.
const TOGETHER: usize = 1024;

/// Bytes of `Totals` in `kernels/cross_entropy.cu`.
const TOTALS: usize = 32;

/// A network on a GPU.
pub struct Cuda<G: Gpu> {
    gpu: G,
    network: Network,
    steps: u64,
    /// (P)
    parameters: G::Memory,
    first_moment: G::Memory,
    second_moment: G::Memory,
    average: G::Memory,
    gradients: G::Memory,
    /// What each byte of each channel becomes: (C, 256).
    table: G::Memory,
    /// What an epoch adds up to.
    totals: G::Memory,
    /// For as many images as were needed yet.
    buffers: Buffers<G::Memory>,
}

/// What N images need between the layers.
struct Buffers<M> {
    /// N.
    images: usize,
    /// Before every layer and behind the last: (N, …). Flatten moves nothing, so what is behind it
    /// is what is before it, and its own place is empty.
    activations: Vec<Option<M>>,
    /// The gradients by the activations, likewise.
    d_activations: Vec<Option<M>>,
    /// (N)
    labels: M,
    losses: M,
    rights: M,
}

/// Images and labels on the GPU, and an order of them.
struct Source<M> {
    /// (all, C, H, W)
    images: M,
    /// (all)
    labels: M,
    order: M,
}

impl<G: Gpu> Cuda<G> {
    /// An engine for `network` on `gpu`, with all parameters 0.
    ///
    /// # Errors
    /// If the normalisation is for other channels than the network's, or the GPU has not the memory.
    pub fn new(
        gpu: G,
        network: Network,
        normalisation: &Normalisation,
    ) -> Result<Self, EngineError> {
        check_normalisation(&network, normalisation)?;
        let [channels, ..] = network.input();
        let bytes: Vec<u8> = (0..channels).flat_map(|_| 0..=255).collect();
        let mut table = vec![0.0; bytes.len()];
        normalisation.apply(&bytes, &mut table);
        // A network without parameters still has a place for them.
        let zeros = vec![0.0; network.parameter_count().max(1)];
        let vector = || filled(&gpu, &zeros);
        Ok(Self {
            steps: 0,
            parameters: vector()?,
            first_moment: vector()?,
            second_moment: vector()?,
            average: vector()?,
            gradients: vector()?,
            table: filled(&gpu, &table)?,
            totals: gpu.allocate(TOTALS)?,
            buffers: Buffers::new(&gpu, &network, 1)?,
            gpu,
            network,
        })
    }

    /// Makes the buffers large enough for `images`.
    fn make_room(&mut self, images: usize) -> Result<(), EngineError> {
        if self.buffers.images < images {
            self.buffers = Buffers::new(&self.gpu, &self.network, images)?;
        }
        Ok(())
    }

    fn launch(
        &self,
        kernel: &'static str,
        blocks: u32,
        arguments: &[Argument<G::Memory>],
    ) -> Result<(), EngineError> {
        // SAFETY: every caller below passes what the kernel of this name declares; the buffers have
        // the network's shapes for at least as many images as the sizes say, and the parameters
        // those of their table.
        unsafe { self.gpu.launch(kernel, blocks, THREADS, arguments)? };
        Ok(())
    }

    /// A thread for each of `count` numbers.
    fn for_each(
        &self,
        kernel: &'static str,
        count: usize,
        arguments: &[Argument<G::Memory>],
    ) -> Result<(), EngineError> {
        if count == 0 {
            return Ok(());
        }
        let blocks = sizes::int(count)?.unsigned_abs().div_ceil(THREADS);
        self.launch(kernel, blocks, arguments)
    }

    /// The place of a layer's weight and of its bias in a flat vector, in bytes.
    fn places(layer: &Layer) -> [usize; 2] {
        [F * layer.weight.start, F * layer.bias.start]
    }

    /// From the first activation of `n` images, which is filled, to the last; in training with the
    /// `draws` of the first image's step.
    fn forward(&self, n: usize, draws: Option<Draws>) -> Result<(), EngineError> {
        let p = &self.parameters;
        for (index, layer) in self.network.layers().iter().enumerate() {
            let [x, y] = [index, index + 1].map(|place| self.buffers.activation(place));
            let count = n * layer.output.elements();
            let [weight, bias] = Self::places(layer);
            let [weight, bias] = [Memory(p, weight), Memory(p, bias)];
            match &layer.operation {
                Operation::Conv2d(conv) => {
                    let sizes = Argument::Windows(sizes::of_conv2d(conv, n)?);
                    let arguments = [Memory(x, 0), weight, bias, Memory(y, 0), sizes];
                    self.for_each("conv2d_forward", count, &arguments)?;
                }
                Operation::Relu => {
                    let arguments = [Memory(x, 0), Memory(y, 0), I32(sizes::int(count)?)];
                    self.for_each("relu_forward", count, &arguments)?;
                }
                Operation::MaxPool2d(pool) => {
                    let sizes = Argument::Windows(sizes::of_max_pool2d(pool, n)?);
                    let arguments = [Memory(x, 0), Memory(y, 0), sizes];
                    self.for_each("max_pool2d_forward", count, &arguments)?;
                }
                Operation::Flatten => {}
                Operation::Linear(linear) => {
                    let sizes = Argument::Linear(sizes::of_linear(linear, n)?);
                    let arguments = [Memory(x, 0), weight, bias, Memory(y, 0), sizes];
                    self.for_each("linear_forward", count, &arguments)?;
                }
                Operation::Dropout(_) => self.mask(index, n, draws, x, y)?,
            }
        }
        Ok(())
    }

    /// Dropout of the layer at `index`, from what is before to what is behind it, or back.
    fn mask(
        &self,
        index: usize,
        n: usize,
        draws: Option<Draws>,
        from: &G::Memory,
        to: &G::Memory,
    ) -> Result<(), EngineError> {
        let layer = &self.network.layers()[index];
        let elements = layer.output.elements();
        let (scale, threshold, draws) = match (&layer.operation, draws) {
            (Operation::Dropout(dropout), Some(draws)) => {
                (dropout.scale() as f32, dropout.threshold(), draws)
            }
            // Nothing is dropped.
            _ => (
                1.0,
                0,
                Draws {
                    seed: 0,
                    step: 0,
                    example: 0,
                },
            ),
        };
        let count = n * elements;
        let arguments = [
            Memory(from, 0),
            Memory(to, 0),
            I32(sizes::int(count)?),
            I32(sizes::int(elements)?),
            F32(scale),
            U32(threshold),
            U64(draws.seed),
            U32(draws.step as u32),
            U32(index as u32),
        ];
        self.for_each("dropout_mask", count, &arguments)
    }

    /// From the last gradient of `n` images, which is filled, to the first, or where the input's is
    /// not wanted to the first layer's parameters. The parameters' gradients are written.
    fn backward(&self, n: usize, draws: Draws, input: bool) -> Result<(), EngineError> {
        let (p, g) = (&self.parameters, &self.gradients);
        for (index, layer) in self.network.layers().iter().enumerate().rev() {
            let x = self.buffers.activation(index);
            let [d_x, d_y] = [index, index + 1].map(|place| self.buffers.d_activation(place));
            let [d_x, d_y, x] = [d_x, d_y, x].map(|memory| move || Memory(memory, 0));
            let wanted = input || index > 0;
            let count = if wanted {
                n * layer.input.elements()
            } else {
                0
            };
            let [weight, bias] = Self::places(layer);
            let [d_weight, d_bias] = [Memory(g, weight), Memory(g, bias)];
            match &layer.operation {
                Operation::Conv2d(conv) => {
                    let sizes = sizes::of_conv2d(conv, n)?;
                    let sizes = || Argument::Windows(sizes);
                    let weights = sizes::int(layer.weight.len())?.unsigned_abs();
                    let arguments = [x(), d_y(), d_weight, sizes()];
                    self.launch("conv2d_backward_weight", weights, &arguments)?;
                    let biases = sizes::int(layer.bias.len())?.unsigned_abs();
                    self.launch("conv2d_backward_bias", biases, &[d_y(), d_bias, sizes()])?;
                    let arguments = [Memory(p, weight), d_y(), d_x(), sizes()];
                    self.for_each("conv2d_backward_input", count, &arguments)?;
                }
                Operation::Relu => {
                    let arguments = [x(), d_y(), d_x(), I32(sizes::int(count)?)];
                    self.for_each("relu_backward", count, &arguments)?;
                }
                Operation::MaxPool2d(pool) => {
                    let sizes = Argument::Windows(sizes::of_max_pool2d(pool, n)?);
                    let arguments = [x(), d_y(), d_x(), sizes];
                    self.for_each("max_pool2d_backward", count, &arguments)?;
                }
                Operation::Flatten => {}
                Operation::Linear(linear) => {
                    let sizes = sizes::of_linear(linear, n)?;
                    let sizes = || Argument::Linear(sizes);
                    let weights = layer.weight.len();
                    let arguments = [x(), d_y(), d_weight, sizes()];
                    self.for_each("linear_backward_weight", weights, &arguments)?;
                    let arguments = [d_y(), d_bias, sizes()];
                    self.for_each("linear_backward_bias", layer.bias.len(), &arguments)?;
                    let arguments = [Memory(p, weight), d_y(), d_x(), sizes()];
                    self.for_each("linear_backward_input", count, &arguments)?;
                }
                Operation::Dropout(_) if wanted => {
                    let [d_x, d_y] =
                        [index, index + 1].map(|place| self.buffers.d_activation(place));
                    self.mask(index, n, Some(draws), d_y, d_x)?;
                }
                Operation::Dropout(_) => {}
            }
        }
        Ok(())
    }

    /// Puts images and labels on the GPU, and the order of `indices`.
    fn source(
        &self,
        images: &[u8],
        labels: &[u8],
        indices: &[u32],
    ) -> Result<Source<G::Memory>, EngineError> {
        let order: Vec<u8> = indices.iter().flat_map(|i| i.to_ne_bytes()).collect();
        Ok(Source {
            images: filled_with_bytes(&self.gpu, images)?,
            labels: filled_with_bytes(&self.gpu, labels)?,
            order: filled_with_bytes(&self.gpu, &order)?,
        })
    }

    /// Fills the first activation with the `n` images from place `start` of the order on.
    fn gather(
        &self,
        source: &Source<G::Memory>,
        start: usize,
        n: usize,
    ) -> Result<(), EngineError> {
        let [channels, height, width] = self.network.input();
        let arguments = [
            Memory(&source.images, 0),
            Memory(&source.labels, 0),
            Memory(&source.order, size_of::<u32>() * start),
            Memory(&self.table, 0),
            Memory(self.buffers.activation(0), 0),
            Memory(&self.buffers.labels, 0),
            I32(sizes::int(n)?),
            I32(sizes::int(channels)?),
            I32(sizes::int(height * width)?),
        ];
        self.for_each("gather", n * channels * height * width, &arguments)
    }

    /// Loss, hits and all gradients of the `n` images that were gathered; what is counted, as step
    /// `step` of an epoch, is added to the totals.
    fn learn(&self, n: usize, rule: &StepRule, step: u64) -> Result<(), EngineError> {
        let draws = Draws {
            seed: rule.seed,
            step: self.steps,
            example: 0,
        };
        self.forward(n, Some(draws))?;
        let last = self.network.layers().len();
        let buffers = &self.buffers;
        let arguments = [
            Memory(buffers.activation(last), 0),
            Memory(&buffers.labels, 0),
            Memory(buffers.d_activation(last), 0),
            Memory(&buffers.losses, 0),
            Memory(&buffers.rights, 0),
            I32(sizes::int(n)?),
            I32(sizes::int(outputs(&self.network)?)?),
            F32(rule.label_smoothing as f32),
        ];
        self.for_each("cross_entropy", n, &arguments)?;
        let arguments = [
            Memory(&buffers.losses, 0),
            Memory(&buffers.rights, 0),
            I32(sizes::int(n)?),
            Memory(&self.totals, 0),
            U64(step),
        ];
        self.launch("count", 1, &arguments)?;
        self.backward(n, draws, false)
    }

    /// One step of `rule` with the gradients that there are.
    fn update(&mut self, rule: &StepRule) -> Result<(), EngineError> {
        let count = self.network.parameter_count();
        let p = || Memory(&self.parameters, 0);
        let g = || Memory(&self.gradients, 0);
        let [m, v] = [&self.first_moment, &self.second_moment];
        let int = I32(sizes::int(count)?);
        if let Some(norm) = rule.clip_norm {
            self.launch("clip", 1, &[g(), I32(sizes::int(count)?), F64(norm)])?;
        }
        let lr = rule.lr(self.steps);
        match &rule.optimiser {
            Optimiser::Sgd(sgd) => {
                let arguments = [
                    p(),
                    g(),
                    Memory(m, 0),
                    int,
                    F32(lr as f32),
                    F32(sgd.momentum as f32),
                    F32(sgd.weight_decay as f32),
                    I32(sgd.nesterov.into()),
                ];
                self.for_each("sgd", count, &arguments)?;
            }
            Optimiser::Adam(adam) => {
                let [decay, penalty, rate, root] = sizes::of_adam(adam, lr, self.steps);
                let Adam {
                    beta1, beta2, eps, ..
                } = *adam;
                let arguments = [
                    p(),
                    g(),
                    Memory(m, 0),
                    Memory(v, 0),
                    int,
                    F32(decay),
                    F32(penalty),
                    F32(rate),
                    F32(root),
                    F32(beta1 as f32),
                    F32((1.0 - beta1) as f32),
                    F32(beta2 as f32),
                    F32((1.0 - beta2) as f32),
                    F32(eps as f32),
                ];
                self.for_each("adam", count, &arguments)?;
            }
        }
        if let Some(decay) = rule.average {
            // The first average is the parameters themselves.
            let kept = if self.steps == 0 { 0.0 } else { decay };
            let arguments = [
                p(),
                Memory(&self.average, 0),
                I32(sizes::int(count)?),
                F32(kept as f32),
                F32((1.0 - kept) as f32),
            ];
            self.for_each("average", count, &arguments)?;
        }
        self.steps += 1;
        Ok(())
    }

    /// Loss and gradients of one batch, with the totals of it alone.
    fn one_gradient(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        check_batch(&self.network, batch)?;
        let n = batch.len();
        self.make_room(n)?;
        let images: Vec<u8> = (0..n).flat_map(|i| batch.image(i)).copied().collect();
        let labels: Vec<u8> = (0..n).map(|i| batch.label(i) as u8).collect();
        let order: Vec<u32> = (0..sizes::int(n)?.unsigned_abs()).collect();
        let source = self.source(&images, &labels, &order)?;
        self.gpu.upload(&self.totals, 0, &[0; TOTALS])?;
        self.gather(&source, 0, n)?;
        self.learn(n, rule, 1)?;
        Ok(self.totals()?.metrics(n))
    }

    fn totals(&self) -> Result<Totals, EngineError> {
        let mut bytes = [0; TOTALS];
        self.gpu.download(&self.totals, 0, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(Totals {
            loss_sum: f64::from_ne_bytes(words[0]),
            correct: u64::from_ne_bytes(words[1]),
            bad_step: u64::from_ne_bytes(words[2]),
            bad_loss: f64::from_ne_bytes(words[3]),
        })
    }

    /// `count` numbers from memory's first on.
    fn numbers(&self, memory: &G::Memory, count: usize) -> Result<Vec<f32>, EngineError> {
        let mut bytes = vec![0; F * count];
        self.gpu.download(memory, 0, &mut bytes)?;
        let (numbers, _) = bytes.as_chunks::<F>();
        Ok(numbers.iter().map(|&x| f32::from_ne_bytes(x)).collect())
    }
}

/// What an epoch has added up to, as the kernel `count` has it.
struct Totals {
    loss_sum: f64,
    correct: u64,
    /// The first step whose loss was not finite, or 0.
    bad_step: u64,
    bad_loss: f64,
}

impl Totals {
    /// Of so many examples.
    fn metrics(&self, examples: usize) -> Metrics {
        Metrics {
            loss_sum: self.loss_sum,
            correct: self.correct as usize,
            examples,
        }
    }
}

impl<M> Buffers<M> {
    fn new<G: Gpu<Memory = M>>(
        gpu: &G,
        network: &Network,
        images: usize,
    ) -> Result<Self, EngineError> {
        let input = network.input().iter().product::<usize>();
        let behind = network.layers().iter().map(|layer| match layer.operation {
            Operation::Flatten => None,
            _ => Some(layer.output.elements()),
        });
        let elements: Vec<Option<usize>> = std::iter::once(Some(input)).chain(behind).collect();
        let all = || {
            let memories = elements.iter().map(|&elements| match elements {
                Some(elements) => Ok(Some(gpu.allocate(F * images * elements)?)),
                None => Ok(None),
            });
            memories.collect::<Result<Vec<_>, EngineError>>()
        };
        Ok(Self {
            images,
            activations: all()?,
            d_activations: all()?,
            labels: gpu.allocate(images)?,
            losses: gpu.allocate(F * images)?,
            rights: gpu.allocate(size_of::<i32>() * images)?,
        })
    }

    /// What is before the layer at `place`.
    fn activation(&self, place: usize) -> &M {
        at(&self.activations, place)
    }

    /// Its gradient.
    fn d_activation(&self, place: usize) -> &M {
        at(&self.d_activations, place)
    }
}

/// The memory at `place`, or the one before it that flatten left where it is.
fn at<M>(memories: &[Option<M>], place: usize) -> &M {
    let there = memories[..=place].iter().rev().flatten().next();
    there.expect("the network's input has memory")
}

/// Memory with these numbers.
fn filled<G: Gpu>(gpu: &G, numbers: &[f32]) -> Result<G::Memory, EngineError> {
    filled_with_bytes(gpu, &bytes(numbers))
}

fn filled_with_bytes<G: Gpu>(gpu: &G, bytes: &[u8]) -> Result<G::Memory, EngineError> {
    let memory = gpu.allocate(bytes.len().max(1))?;
    gpu.upload(&memory, 0, bytes)?;
    Ok(memory)
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

impl<G: Gpu> Engine for Cuda<G> {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn threads(&self) -> usize {
        1
    }

    fn load(&mut self, state: &TrainingState) -> Result<(), EngineError> {
        check_state(&self.network, state)?;
        for (memory, vector) in [
            (&self.parameters, &state.parameters),
            (&self.first_moment, &state.first_moment),
            (&self.second_moment, &state.second_moment),
            (&self.average, &state.average),
        ] {
            self.gpu.upload(memory, 0, &bytes(vector))?;
        }
        self.steps = state.steps;
        Ok(())
    }

    fn state(&self) -> Result<TrainingState, EngineError> {
        let vector = |memory| self.numbers(memory, self.network.parameter_count());
        Ok(TrainingState {
            parameters: vector(&self.parameters)?,
            first_moment: vector(&self.first_moment)?,
            second_moment: vector(&self.second_moment)?,
            average: vector(&self.average)?,
            steps: self.steps,
        })
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn backward(&mut self, input: &Tensor, d_output: &Tensor) -> Result<Backward, EngineError> {
        let n = check_tensors(&self.network, input, d_output)?;
        self.make_room(n)?;
        let last = self.network.layers().len();
        let [x, d_y] = [input, d_output].map(|tensor| tensor.iter().copied().collect::<Vec<_>>());
        let buffers = &self.buffers;
        self.gpu.upload(buffers.activation(0), 0, &bytes(&x))?;
        let draws = Draws {
            seed: 0,
            step: self.steps,
            example: 0,
        };
        self.forward(n, Some(draws))?;
        let output = self.numbers(buffers.activation(last), d_y.len())?;
        self.gpu
            .upload(buffers.d_activation(last), 0, &bytes(&d_y))?;
        Cuda::backward(self, n, draws, true)?;
        let d_input = self.numbers(buffers.d_activation(0), x.len())?;
        let tensor = |shape: &Tensor, numbers| {
            Tensor::from_shape_vec(shape.raw_dim(), numbers).expect("as many numbers as before")
        };
        Ok(Backward {
            output: tensor(d_output, output),
            d_input: tensor(input, d_input),
            d_parameters: self.numbers(&self.gradients, self.network.parameter_count())?,
        })
    }

    fn gradients(
        &mut self,
        batch: &Batch,
        rule: &StepRule,
    ) -> Result<(Metrics, Vec<f32>), EngineError> {
        let metrics = self.one_gradient(batch, rule)?;
        let count = self.network.parameter_count();
        Ok((metrics, self.numbers(&self.gradients, count)?))
    }

    fn train_batch(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        let metrics = self.one_gradient(batch, rule)?;
        self.update(rule)?;
        Ok(metrics)
    }

    fn train_epoch(
        &mut self,
        data: &Dataset,
        order: &[u32],
        rule: &StepRule,
        watch: &mut Watch,
    ) -> Result<Metrics, EngineError> {
        check_images(&self.network, data.images().shape())?;
        self.network.check_classes(data.classes())?;
        self.make_room(rule.batch_size.min(order.len()))?;
        let source = self.source(data.images().bytes(), data.labels(), order)?;
        self.gpu.upload(&self.totals, 0, &[0; TOTALS])?;
        let mut metrics = Metrics::default();
        let mut reported: Option<Instant> = None;
        let mut start = 0;
        for (step, batch) in (1..).zip(batches(data, order, rule.batch_size)) {
            let n = batch.len();
            self.gather(&source, start, n)?;
            self.learn(n, rule, step)?;
            self.update(rule)?;
            start += n;
            let due = reported.is_none_or(|time| time.elapsed() >= REPORT_EVERY);
            if due || start == order.len() {
                reported = Some(Instant::now());
                let totals = self.totals()?;
                if totals.bad_step > 0 {
                    // It was found up to a tenth of a second later.
                    let late = step - totals.bad_step;
                    return Err(EngineError::NotFinite {
                        step: totals.bad_step as usize,
                        loss: totals.bad_loss,
                        lr: rule.lr(self.steps - 1 - late),
                    });
                }
                metrics = totals.metrics(start);
                let of = order.len();
                if watch(&Progress { metrics, of }) == ControlFlow::Break(()) {
                    return Err(EngineError::Stopped);
                }
            }
        }
        Ok(metrics)
    }

    fn predict(&mut self, images: &Images) -> Result<Array2<f32>, EngineError> {
        check_images(&self.network, images.shape())?;
        let classes = outputs(&self.network)?;
        let together = sizes::most_images(&self.network).min(TOGETHER);
        self.make_room(images.len().min(together))?;
        let pixels = images.pixels();
        let mut logits = Vec::with_capacity(images.len() * classes);
        for part in images.bytes().chunks(together * pixels) {
            let n = part.len() / pixels;
            let order: Vec<u32> = (0..sizes::int(n)?.unsigned_abs()).collect();
            let source = self.source(part, &vec![0; n], &order)?;
            self.gather(&source, 0, n)?;
            self.forward(n, None)?;
            let last = self.buffers.activation(self.network.layers().len());
            logits.extend(self.numbers(last, n * classes)?);
        }
        let shape = (images.len(), classes);
        Ok(Array2::from_shape_vec(shape, logits).expect("as many logits as images and classes"))
    }
}
