//! The engine of GPUs. Parameters, optimiser, dataset, activations, loss and hits stay on the GPU; what
//! goes there in an epoch is its order and a table of its steps, and what comes back is a few numbers
//! ten times a second, for which nothing waits.
//!
//! The kernels are in `kernels/`, a file a layer, each beside the layer's formula. The launches of a
//! step, `passes`, or those of a small network's, `convnet`, are recorded once an epoch and replayed for
//! every batch, for a step is shorter than the CPU would take to launch it kernel by kernel. Nothing is
//! added up in an order that chance decides, so the same seed gives the same bits from run to run. Which
//! GPU it is, a device or the CPU in its place for the tests, [`Gpu`] hides.

mod buffers;
mod convnet;
mod passes;
mod plan;
mod sizes;
mod steps;

pub use plan::Rung;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

use ndarray::Array2;

use self::buffers::Buffers;
use self::convnet::Convnet;
use self::plan::Stage;
use self::steps::Progress;
use super::{
    Backward, Engine, EngineError, Metrics, REPORT_EVERY, Watch, check_batch, check_epoch,
    check_images, check_normalisation, check_state, check_tensors, outputs,
};
use crate::data::{Batch, Dataset, Images, Normalisation, batches};
use crate::hardware::gpu::Gpu;
use crate::network::Network;
use crate::optimisers::{StepRule, TrainingState};
use crate::tensor::Tensor;

/// Threads of a block. Kernels that add up within a block count on it.
const THREADS: u32 = 256;

/// Threads of a block that takes one example through layers: more of them wait for fewer loads.
const EXAMPLE_THREADS: u32 = 1024;

/// Bytes of a number.
const F: usize = size_of::<f32>();

/// The most images of which logits are asked at once.
const TOGETHER: usize = 1024;

/// A network on a GPU.
pub struct Cuda<G: Gpu> {
    gpu: G,
    network: Network,
    rung: Rung,
    stages: Vec<Stage>,
    /// For steps in three kernels.
    convnet: Option<Convnet>,
    steps: u64,
    /// (P)
    parameters: G::Memory,
    first_moment: G::Memory,
    second_moment: G::Memory,
    average: G::Memory,
    gradients: G::Memory,
    /// What each byte of each channel becomes: (C, 256).
    bytes_table: G::Memory,
    /// The steps of the epoch: [`steps::table`].
    steps_table: G::Memory,
    /// How far the epoch is.
    progress: G::Memory,
    /// For as many images as were needed yet.
    buffers: Buffers<G::Memory>,
    /// The images of the last epoch, which the next has, too.
    images: Option<(Images, G::Memory)>,
}

/// What the batches of an epoch are gathered from.
struct Epoch<'a, M> {
    /// (all, C, H, W), bytes
    images: &'a M,
    /// (all), bytes
    labels: M,
    /// (examples of the epoch), whole numbers
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
        Self::with(gpu, network, normalisation, Rung::default())
    }

    /// The same from a lower rung of the ladder.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(
        gpu: G,
        network: Network,
        normalisation: &Normalisation,
        rung: Rung,
    ) -> Result<Self, EngineError> {
        check_normalisation(&network, normalisation)?;
        let [channels, ..] = network.input();
        let bytes: Vec<u8> = (0..channels).flat_map(|_| 0..=255).collect();
        let mut table = vec![0.0; bytes.len()];
        normalisation.apply(&bytes, &mut table);
        // A network without parameters still has a place for them.
        let zeros = vec![0.0; network.parameter_count().max(1)];
        let vector = || filled(&gpu, &zeros);
        let stages = plan::stages(&network, rung);
        let convnet = Convnet::new(&network, &stages, rung);
        Ok(Self {
            steps: 0,
            parameters: vector()?,
            first_moment: vector()?,
            second_moment: vector()?,
            average: vector()?,
            gradients: vector()?,
            bytes_table: filled(&gpu, &table)?,
            steps_table: filled_with_bytes(&gpu, &[])?,
            progress: gpu.allocate(Progress::ALL_BYTES)?,
            buffers: Buffers::new(&gpu, &network, &stages, convnet.as_ref(), 1)?,
            images: None,
            gpu,
            network,
            rung,
            stages,
            convnet,
        })
    }

    /// Makes the buffers large enough for `images`.
    fn make_room(&mut self, images: usize) -> Result<(), EngineError> {
        if self.buffers.images < images {
            let convnet = self.convnet.as_ref();
            self.buffers = Buffers::new(&self.gpu, &self.network, &self.stages, convnet, images)?;
        }
        Ok(())
    }

    /// Begins an epoch of `rule` whose batches begin at these places of its order.
    fn begin(
        &mut self,
        rule: &StepRule,
        starts: impl Iterator<Item = usize>,
    ) -> Result<(), EngineError> {
        let table = steps::table(rule, starts, self.steps)?;
        self.steps_table = filled_with_bytes(&self.gpu, &table)?;
        let beginning = Progress::beginning(&table);
        Ok(self.gpu.upload(&self.progress, 0, &beginning)?)
    }

    /// Waits for all steps, and tells what they add up to.
    fn progress(&self) -> Result<Progress, EngineError> {
        let mut bytes = [0; Progress::BYTES];
        self.gpu.download(&self.progress, 0, &mut bytes)?;
        Ok(Progress::from_bytes(&bytes))
    }

    /// One batch, an epoch of its own, of which `pass` does what there is to do.
    fn one_batch(
        &mut self,
        batch: &Batch,
        rule: &StepRule,
        pass: impl FnOnce(&Self, &Epoch<G::Memory>) -> Result<(), EngineError>,
    ) -> Result<Metrics, EngineError> {
        check_batch(&self.network, batch)?;
        let n = batch.len();
        self.make_room(n)?;
        self.begin(rule, [0].into_iter())?;
        let images: Vec<u8> = (0..n).flat_map(|i| batch.image(i)).copied().collect();
        let labels: Vec<u8> = (0..n).map(|i| batch.label(i) as u8).collect();
        let images = filled_with_bytes(&self.gpu, &images)?;
        let epoch = Epoch::new(&self.gpu, &images, &labels, &in_order(n)?)?;
        pass(self, &epoch)?;
        // A loss that is not finite is the caller's to judge.
        Ok(self.progress()?.totals(n))
    }

    /// `count` numbers from memory's first on.
    fn numbers(&self, memory: &G::Memory, count: usize) -> Result<Vec<f32>, EngineError> {
        let mut bytes = vec![0; F * count];
        self.gpu.download(memory, 0, &mut bytes)?;
        let (numbers, _) = bytes.as_chunks::<F>();
        Ok(numbers.iter().map(|&x| f32::from_ne_bytes(x)).collect())
    }
}

impl<'a, M> Epoch<'a, M> {
    /// Puts labels and order beside the images.
    fn new<G: Gpu<Memory = M>>(
        gpu: &G,
        images: &'a M,
        labels: &[u8],
        order: &[u32],
    ) -> Result<Self, EngineError> {
        let order: Vec<u8> = order.iter().flat_map(|i| i.to_ne_bytes()).collect();
        Ok(Self {
            images,
            labels: filled_with_bytes(gpu, labels)?,
            order: filled_with_bytes(gpu, &order)?,
        })
    }
}

/// 0 to n - 1.
fn in_order(n: usize) -> Result<Vec<u32>, EngineError> {
    Ok((0..sizes::int(n)?.unsigned_abs()).collect())
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
        let rule = StepRule::default();
        self.begin(&rule, [0].into_iter())?;
        let last = self.network.layers().len();
        let [x, d_y] = [input, d_output].map(|tensor| tensor.iter().copied().collect::<Vec<_>>());
        let buffers = &self.buffers;
        self.gpu.upload(buffers.activation(0), 0, &bytes(&x))?;
        self.forward(n, Some(rule.seed))?;
        let output = self.numbers(buffers.activation(last), d_y.len())?;
        let d_last = buffers.d_activation(last);
        self.gpu.upload(d_last, 0, &bytes(&d_y))?;
        Cuda::backward(self, n, rule.seed, true)?;
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
        let metrics = self.one_batch(batch, rule, |cuda, epoch| {
            cuda.learn(epoch, batch.len(), rule)
        })?;
        let count = self.network.parameter_count();
        Ok((metrics, self.numbers(&self.gradients, count)?))
    }

    fn train_batch(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        let metrics = self.one_batch(batch, rule, |cuda, epoch| {
            cuda.step(epoch, batch.len(), rule)
        })?;
        self.steps += 1;
        Ok(metrics)
    }

    fn train_epoch(
        &mut self,
        data: &Dataset,
        order: &[u32],
        rule: &StepRule,
        watch: &mut Watch,
    ) -> Result<Metrics, EngineError> {
        check_epoch(&self.network, data, rule)?;
        self.make_room(rule.batch_size.min(order.len()))?;
        self.begin(rule, (0..order.len()).step_by(rule.batch_size))?;
        let there = matches!(&self.images, Some((images, _)) if images == data.images());
        if !there {
            // The old ones go first, for there may be no room for both.
            self.images = None;
            let memory = filled_with_bytes(&self.gpu, data.images().bytes())?;
            self.images = Some((data.images().clone(), memory));
        }
        let Some((_, images)) = &self.images else {
            unreachable!("they were put there");
        };
        let epoch = Epoch::new(&self.gpu, images, data.labels(), order)?;
        let (of, before) = (order.len(), self.steps);
        let mut report = |progress: Progress| {
            let metrics = progress.metrics(rule, of, before)?;
            match watch(&super::Progress { metrics, of }) {
                ControlFlow::Continue(()) => Ok(metrics),
                ControlFlow::Break(()) => Err(EngineError::Stopped),
            }
        };
        // The last batch may be shorter than the others.
        let mut graphs = HashMap::new();
        let mut mirror = self.gpu.mirror(Progress::BYTES)?;
        let (mut asked, mut waits) = (None::<Instant>, false);
        for batch in batches(data, order, rule.batch_size) {
            let n = batch.len();
            let record = || self.gpu.record(|| self.step(&epoch, n, rule));
            match graphs.entry(n).or_insert_with(record) {
                // SAFETY: the engine's memory and the epoch's are there until the epoch is over.
                Some(graph) => unsafe { self.gpu.replay(graph)? },
                None => self.step(&epoch, n, rule)?,
            }
            self.steps += 1;
            if waits {
                if let Some(bytes) = self.gpu.answer(&mirror)? {
                    waits = false;
                    report(Progress::from_bytes(bytes))?;
                }
            } else if asked.is_none_or(|time| time.elapsed() >= REPORT_EVERY) {
                asked = Some(Instant::now());
                waits = true;
                self.gpu.ask(&self.progress, &mut mirror)?;
            }
        }
        // This waits for all steps; what was asked for before them is there then.
        let last = self.progress()?;
        if waits && let Some(bytes) = self.gpu.answer(&mirror)? {
            report(Progress::from_bytes(bytes))?;
        }
        report(last)
    }

    fn predict(&mut self, images: &Images) -> Result<Array2<f32>, EngineError> {
        check_images(&self.network, images.shape())?;
        let classes = outputs(&self.network)?;
        let together = sizes::most_images(&self.network).min(TOGETHER);
        self.make_room(images.len().min(together))?;
        self.begin(&StepRule::default(), [0].into_iter())?;
        let pixels = images.pixels();
        let mut logits = Vec::with_capacity(images.len() * classes);
        for part in images.bytes().chunks(together * pixels) {
            let n = part.len() / pixels;
            let part = filled_with_bytes(&self.gpu, part)?;
            let epoch = Epoch::new(&self.gpu, &part, &vec![0; n], &in_order(n)?)?;
            self.gather(&epoch, n)?;
            self.forward(n, None)?;
            let last = self.buffers.activation(self.network.layers().len());
            logits.extend(self.numbers(last, n * classes)?);
        }
        let shape = (images.len(), classes);
        Ok(Array2::from_shape_vec(shape, logits).expect("as many logits as images and classes"))
    }
}
