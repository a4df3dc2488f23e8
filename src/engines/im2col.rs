//! The textbook engine: convolution as a matrix product, the batch cut into slices, rayon.
//!
//! A batch is cut by its size alone, never by the number of threads. Each slice goes through the
//! whole network, forward and backward, on one thread, and adds up a gradient of its own; the
//! slices' gradients are then added in their order. So the same seed gives the same bits on any
//! number of threads, and threads meet twice a batch, not twice a layer.
//!
//! Every buffer is allocated before the first step or in it. Later steps allocate nothing but
//! what `gemm` takes to pack a matrix and gives back within the product.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array2;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::{
    Backward, Engine, EngineError, Metrics, Watch, check_batch, check_images, check_normalisation,
    check_state, check_tensors, outputs, slices, train_in_batches,
};
use crate::data::{Batch, Dataset, Images, Normalisation};
use crate::layers::dropout::{self, Draws};
use crate::layers::{conv2d, cross_entropy, flatten, linear, max_pool2d, relu};
use crate::network::{Network, Operation};
use crate::optimisers::{StepRule, TrainingState};
use crate::tensor::Tensor;

/// How many images go through a layer together: enough that a linear layer is a matrix product,
/// few enough that all they need stays in a core's cache.
const TOGETHER: usize = 4;

/// The most slices that a batch of up to so many examples has, each with a gradient of its own.
pub(super) fn most_slices(batch: usize) -> usize {
    slices::at_most(batch, TOGETHER)
}

/// How many bytes a [`Workspace`] of `network` has.
pub(super) fn workspace_bytes(network: &Network) -> u64 {
    let beside = network.layers().iter().map(|layer| match &layer.operation {
        Operation::Conv2d(conv) => conv.fan_in() * conv.windows(),
        Operation::MaxPool2d(_) => layer.output.elements(),
        _ => 0,
    });
    let beside: u64 = beside.map(|elements| elements as u64).sum();
    4 * TOGETHER as u64 * (2 * network.activation_elements() + beside)
}

/// Matrix products on all threads.
pub struct Im2col {
    /// What all slices read.
    model: Model,
    pool: Arc<ThreadPool>,
    /// One a thread, and used by that thread alone, so that no lock ever waits.
    workspaces: Vec<Mutex<Workspace>>,
    /// One a slice; the first also takes the sum.
    slices: Vec<Slice>,
}

/// The network and its parameters, with what training keeps beside them.
struct Model {
    network: Network,
    normalisation: Normalisation,
    state: TrainingState,
}

/// What one slice of a batch adds up.
#[derive(Clone)]
struct Slice {
    d_parameters: Vec<f32>,
    metrics: Metrics,
}

/// What one thread needs to take [`TOGETHER`] images through the network; n is at most that.
struct Workspace {
    /// What stands before every layer, and behind the last: (n, …).
    activations: Vec<Vec<f32>>,
    /// The gradients by the activations: (n, …).
    d_activations: Vec<Vec<f32>>,
    /// For every convolution, the columns of its input: (n, C kh kw, oh ow).
    cols: Vec<Vec<f32>>,
    /// For every pooling layer, where its maxima came from: (n, C, oh, ow).
    winners: Vec<Vec<u32>>,
}

impl Workspace {
    fn new(network: &Network) -> Self {
        let input = network.input().iter().product();
        let layers = network.layers();
        let outputs = layers.iter().map(|layer| layer.output.elements());
        let elements: Vec<usize> = std::iter::once(input).chain(outputs).collect();
        // Zeros from the system take no memory before they are written: inference never writes
        // the gradients.
        let zeros = || {
            let buffers = elements
                .iter()
                .map(|elements| vec![0.0; TOGETHER * elements]);
            buffers.collect()
        };
        let cols = layers.iter().map(|layer| match &layer.operation {
            Operation::Conv2d(conv) => vec![0.0; TOGETHER * conv.fan_in() * conv.windows()],
            _ => Vec::new(),
        });
        let winners = layers.iter().map(|layer| match &layer.operation {
            Operation::MaxPool2d(_) => vec![0; TOGETHER * layer.output.elements()],
            _ => Vec::new(),
        });
        Self {
            activations: zeros(),
            d_activations: zeros(),
            cols: cols.collect(),
            winners: winners.collect(),
        }
    }

    /// The first `n` images' input, to be filled: (n, C, H, W).
    fn input(&mut self, n: usize) -> &mut [f32] {
        first(&mut self.activations[0], n)
    }
}

/// The part of `n` of the [`TOGETHER`] images in a buffer.
fn first<T>(buffer: &mut [T], n: usize) -> &mut [T] {
    let each = buffer.len() / TOGETHER;
    &mut buffer[..n * each]
}

/// A buffer of `n` images, one by one.
fn images<T>(buffer: &mut [T], n: usize) -> std::slice::ChunksExactMut<'_, T> {
    let each = buffer.len() / n;
    buffer.chunks_exact_mut(each)
}

impl Model {
    /// From the first activation of `n` images, which is filled, to the last, which is returned;
    /// in training with the `draws` of the first image's step.
    fn forward<'a>(
        &self,
        work: &'a mut Workspace,
        n: usize,
        draws: Option<Draws>,
    ) -> &'a mut [f32] {
        for (index, layer) in self.network.layers().iter().enumerate() {
            let (before, behind) = work.activations.split_at_mut(index + 1);
            let (x, y) = (first(&mut before[index], n), first(&mut behind[0], n));
            let weight = &self.state.parameters[layer.weight.clone()];
            let bias = &self.state.parameters[layer.bias.clone()];
            match &layer.operation {
                Operation::Conv2d(conv) => {
                    let cols = first(&mut work.cols[index], n);
                    for ((x, y), cols) in images(x, n).zip(images(y, n)).zip(images(cols, n)) {
                        conv2d::im2col::forward(conv, x, weight, bias, cols, y);
                    }
                }
                Operation::Relu => relu::reference::forward(x, y),
                Operation::MaxPool2d(pool) => {
                    let winners = first(&mut work.winners[index], n);
                    for ((x, y), winners) in images(x, n).zip(images(y, n)).zip(images(winners, n))
                    {
                        max_pool2d::im2col::forward(pool, x, y, winners);
                    }
                }
                Operation::Flatten => flatten::reference::forward(x, y),
                Operation::Linear(l) => linear::im2col::forward(l, n, x, weight, bias, y),
                Operation::Dropout(d) => {
                    for (example, (x, y)) in images(x, n).zip(images(y, n)).enumerate() {
                        let draws = draws.map(|draws| draws.skip(example));
                        dropout::reference::forward(d, index, draws, x, y);
                    }
                }
            }
        }
        let last = self.network.layers().len();
        first(&mut work.activations[last], n)
    }

    /// From the last gradient of `n` images, which is filled, to the first; `d_parameters` is
    /// added to. The gradients by activations that only the input's needs are computed only if that
    /// is `wanted`.
    fn backward(
        &self,
        work: &mut Workspace,
        n: usize,
        draws: Draws,
        d_parameters: &mut [f32],
        wanted: bool,
    ) {
        for (index, layer) in self.network.layers().iter().enumerate().rev() {
            let x = first(&mut work.activations[index], n);
            let (before, behind) = work.d_activations.split_at_mut(index + 1);
            let (d_x, d_y) = (first(&mut before[index], n), first(&mut behind[0], n));
            let wanted = wanted || self.network.trains_before(index);
            if !wanted && !layer.has_parameters() {
                return;
            }
            let weight = &self.state.parameters[layer.weight.clone()];
            let (d_weight, d_bias) = layer.split_mut(d_parameters);
            match &layer.operation {
                Operation::Conv2d(conv) => {
                    let cols = first(&mut work.cols[index], n);
                    for ((d_x, d_y), cols) in
                        images(d_x, n).zip(images(d_y, n)).zip(images(cols, n))
                    {
                        let d_x = wanted.then_some(d_x);
                        conv2d::im2col::backward(conv, weight, cols, d_y, d_x, d_weight, d_bias);
                    }
                }
                Operation::Relu => relu::reference::backward(x, d_y, d_x),
                Operation::MaxPool2d(pool) => {
                    let winners = first(&mut work.winners[index], n);
                    for ((d_x, d_y), winners) in
                        images(d_x, n).zip(images(d_y, n)).zip(images(winners, n))
                    {
                        max_pool2d::im2col::backward(pool, winners, d_y, d_x);
                    }
                }
                Operation::Flatten => flatten::reference::backward(d_y, d_x),
                Operation::Linear(l) => {
                    let d_x = wanted.then_some(d_x);
                    linear::im2col::backward(l, n, x, weight, d_y, d_x, d_weight, d_bias);
                }
                Operation::Dropout(d) => {
                    for (example, (d_y, d_x)) in images(d_y, n).zip(images(d_x, n)).enumerate() {
                        let draws = draws.skip(example);
                        dropout::reference::backward(d, index, draws, d_y, d_x);
                    }
                }
            }
        }
    }

    /// Loss and gradient of some examples of a batch of `of`, added to `slice`.
    fn slice_gradients(
        &self,
        work: &mut Workspace,
        batch: &Batch,
        rule: &StepRule,
        examples: std::ops::Range<usize>,
        slice: &mut Slice,
    ) {
        let classes = self.network.output().elements();
        for start in examples.clone().step_by(TOGETHER) {
            let n = TOGETHER.min(examples.end - start);
            for (example, x) in images(work.input(n), n).enumerate() {
                self.normalisation.apply(batch.image(start + example), x);
            }
            let draws = Draws {
                seed: rule.seed,
                step: self.state.steps,
                example: start,
            };
            self.forward(work, n, Some(draws));
            let last = self.network.layers().len();
            let logits = work.activations[last].chunks_exact(classes);
            let d_logits = work.d_activations[last].chunks_exact_mut(classes);
            for (example, (z, d_z)) in logits.zip(d_logits).take(n).enumerate() {
                let label = batch.label(start + example);
                let smoothing = rule.label_smoothing;
                slice.metrics.add(Metrics::of(z, label, smoothing));
                cross_entropy::reference::backward(z, label, smoothing, batch.len(), d_z);
            }
            self.backward(work, n, draws, &mut slice.d_parameters, false);
        }
    }
}

impl Im2col {
    /// An engine for `network`, with all parameters 0, on `threads` threads, or as many as the
    /// machine has.
    ///
    /// # Errors
    /// If the normalisation is for other channels than the network's, or threads cannot be
    /// started.
    pub fn new(
        network: Network,
        normalisation: Normalisation,
        threads: Option<usize>,
    ) -> Result<Self, EngineError> {
        check_normalisation(&network, &normalisation)?;
        let threads = threads
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("im2col {index}"))
            .build()
            .map_err(|error| EngineError::Threads {
                threads,
                reason: error.to_string(),
            })?;
        let workspaces = (0..pool.current_num_threads())
            .map(|_| Mutex::new(Workspace::new(&network)))
            .collect();
        let parameters = vec![0.0; network.parameter_count()];
        Ok(Self {
            pool: Arc::new(pool),
            workspaces,
            slices: Vec::new(),
            model: Model {
                network,
                normalisation,
                state: TrainingState::from_parameters(parameters),
            },
        })
    }

    /// The gradient of the batch's mean loss, into the first slice.
    fn batch_gradients(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        check_batch(&self.model.network, batch)?;
        let length = slices::length(batch.len(), TOGETHER);
        let count = slices::count(batch.len(), TOGETHER);
        let (model, workspaces) = (&self.model, &self.workspaces);
        let most = most_slices(batch.len());
        if self.slices.len() < most {
            let slice = Slice {
                d_parameters: vec![0.0; model.state.parameters.len()],
                metrics: Metrics::default(),
            };
            self.slices.resize(most, slice);
        }
        let slices = &mut self.slices[..count];
        self.pool.install(|| {
            slices
                .par_iter_mut()
                .with_max_len(1)
                .enumerate()
                .for_each(|(index, slice)| {
                    slice.d_parameters.fill(0.0);
                    slice.metrics = Metrics::default();
                    let start = index * length;
                    let examples = start..batch.len().min(start + length);
                    with_workspace(workspaces, |work| {
                        model.slice_gradients(work, batch, rule, examples, slice);
                    });
                });
        });
        let (sum, rest) = slices.split_first_mut().expect("a batch has an example");
        for slice in rest {
            sum.metrics.add(slice.metrics);
            for (sum, d_parameter) in sum.d_parameters.iter_mut().zip(&slice.d_parameters) {
                *sum += d_parameter;
            }
        }
        Ok(sum.metrics)
    }
}

/// Calls `f` with the workspace of this thread of the pool.
fn with_workspace<R>(workspaces: &[Mutex<Workspace>], f: impl FnOnce(&mut Workspace) -> R) -> R {
    let index = rayon::current_thread_index().unwrap_or(0);
    // Every number in a workspace is written before it is read, so a panic leaves no harm in it.
    let mut workspace = workspaces[index]
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    f(&mut workspace)
}

impl Engine for Im2col {
    fn name(&self) -> &'static str {
        "im2col"
    }

    fn network(&self) -> &Network {
        &self.model.network
    }

    fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    fn load(&mut self, state: &TrainingState) -> Result<(), EngineError> {
        check_state(&self.model.network, state)?;
        self.model.state.clone_from(state);
        Ok(())
    }

    fn state(&self) -> Result<TrainingState, EngineError> {
        Ok(self.model.state.clone())
    }

    fn steps(&self) -> u64 {
        self.model.state.steps
    }

    fn backward(&mut self, input: &Tensor, d_output: &Tensor) -> Result<Backward, EngineError> {
        let n = check_tensors(&self.model.network, input, d_output)?;
        let (input, d_output) = (input.as_standard_layout(), d_output.as_standard_layout());
        let mut output = Tensor::zeros(d_output.shape());
        let mut d_input = Tensor::zeros(input.shape());
        let mut d_parameters = vec![0.0; self.model.state.parameters.len()];
        let flat = "a tensor in standard layout is a slice";
        let (x, d_y) = (
            input.as_slice().expect(flat),
            d_output.as_slice().expect(flat),
        );
        let y = output.as_slice_mut().expect(flat);
        let d_x = d_input.as_slice_mut().expect(flat);
        let (inputs, outputs) = (x.len() / n.max(1), y.len() / n.max(1));
        let last = self.model.network.layers().len();
        let model = &self.model;
        let mut pass = |work: &mut Workspace| {
            for start in (0..n).step_by(TOGETHER) {
                let n = TOGETHER.min(n - start);
                let draws = Draws {
                    seed: 0,
                    step: model.state.steps,
                    example: start,
                };
                let (input, output) = (start * inputs.., start * outputs..);
                work.input(n)
                    .copy_from_slice(&x[input.clone()][..n * inputs]);
                let logits = model.forward(work, n, Some(draws));
                y[output.clone()][..n * outputs].copy_from_slice(logits);
                first(&mut work.d_activations[last], n)
                    .copy_from_slice(&d_y[output][..n * outputs]);
                model.backward(work, n, draws, &mut d_parameters, true);
                d_x[input][..n * inputs].copy_from_slice(first(&mut work.d_activations[0], n));
            }
        };
        let workspaces = &self.workspaces;
        self.pool.install(|| with_workspace(workspaces, &mut pass));
        Ok(Backward {
            output,
            d_input,
            d_parameters,
        })
    }

    fn gradients(
        &mut self,
        batch: &Batch,
        rule: &StepRule,
    ) -> Result<(Metrics, Vec<f32>), EngineError> {
        let metrics = self.batch_gradients(batch, rule)?;
        Ok((metrics, self.slices[0].d_parameters.clone()))
    }

    fn train_batch(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        let metrics = self.batch_gradients(batch, rule)?;
        rule.update(&mut self.model.state, &mut self.slices[0].d_parameters);
        Ok(metrics)
    }

    /// The same loop as everywhere, inside the pool: threads are woken once an epoch.
    fn train_epoch(
        &mut self,
        data: &Dataset,
        order: &[u32],
        rule: &StepRule,
        watch: &mut Watch,
    ) -> Result<Metrics, EngineError> {
        let pool = Arc::clone(&self.pool);
        pool.install(|| train_in_batches(self, data, order, rule, watch))
    }

    fn predict(&mut self, images: &Images) -> Result<Array2<f32>, EngineError> {
        check_images(&self.model.network, images.shape())?;
        let classes = outputs(&self.model.network)?;
        let mut logits = Array2::zeros((images.len(), classes));
        let rows = logits.as_slice_mut().expect("a new array is a slice");
        let (model, workspaces) = (&self.model, &self.workspaces);
        self.pool.install(|| {
            rows.par_chunks_mut(TOGETHER * classes)
                .enumerate()
                .for_each(|(index, logits)| {
                    with_workspace(workspaces, |work| {
                        let n = logits.len() / classes;
                        for (example, x) in self::images(work.input(n), n).enumerate() {
                            let image = images.image(index * TOGETHER + example);
                            model.normalisation.apply(image, x);
                        }
                        logits.copy_from_slice(model.forward(work, n, None));
                    });
                });
        });
        Ok(logits)
    }
}
