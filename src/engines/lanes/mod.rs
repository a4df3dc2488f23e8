//! The fastest engine of the CPU: a group of eight or sixteen images in the lanes of a register
//! ([`crate::hardware::lanes`]), each group through the whole network on one thread.
//!
//! A batch is cut into slices by its size and the lanes, never by the number of threads; a slice adds up
//! a gradient of its own, group by group, and the slices' gradients are added in their order. So
//! the same seed gives the same bits on any number of threads. Threads are woken once an epoch
//! and meet at a barrier twice a step ([`crate::hardware::workers`]): when all slices are done, and
//! when each has changed its part of the parameters; where the gradient is clipped, four times
//! (`steps.rs`).
//!
//! One image alone goes another way: its own numbers stand in the lanes, on the caller's thread.
//!
//! [`mod@plan`] says which layers are fused or merged and how each convolution is computed. Every buffer is
//! allocated before the first step or in it.

mod bands;
mod one_image;
mod part;
pub mod plan;
mod reading;
mod steps;
mod workspace;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ndarray::Array2;

use super::{
    Backward, Engine, EngineError, Metrics, RunningTotals, Watch, check_batch, check_epoch,
    check_images, check_normalisation, check_state, check_tensors, outputs, slices,
};
use crate::data::{Batch, Dataset, Images, Normalisation, batches};
use crate::hardware::cache::{self, Trial};
use crate::hardware::lanes::{self, Numbers, Path, Portable};
#[cfg(target_arch = "x86_64")]
use crate::hardware::lanes::{Avx2, Avx512};
use crate::hardware::workers::{Panicked, Worker, Workers};
use crate::layers::dropout::Draws;
use crate::network::Network;
use crate::optimisers::{StepRule, TrainingState};
use crate::tensor::Tensor;
use bands::Band;
use one_image::OneImage;
pub use plan::Convolutions;
use plan::Stage;
use steps::{Batches, Slice, Steps};
use workspace::Workspace;

/// How many vectors of the parameters' form training takes beside the state: gradients of slices and
/// their sum, and each thread's copy of the parameters.
pub(super) fn vectors(batch: usize, threads: usize, settings: Settings) -> usize {
    match slices::at_most(batch, settings.path.width()) {
        0 => 0,
        slices => slices + 1 + threads.min(slices),
    }
}

/// How many bytes the buffers of one thread are.
pub(super) fn workspace_bytes(network: &Network, settings: Settings, training: bool) -> u64 {
    let width = settings.path.width();
    let stages = plan::plan(network, width, settings.convolutions);
    workspace::Sizes::of(network, &stages, width).bytes(width, training)
}

/// How many bytes training takes for layers that are merged.
pub(super) fn bands_bytes(network: &Network, settings: Settings) -> u64 {
    let stages = plan::plan(network, settings.path.width(), settings.convolutions);
    bands::bytes(&stages)
}

/// How many bytes the buffers and weights of one image alone are.
pub(super) fn one_image_bytes(network: &Network, settings: Settings) -> u64 {
    let width = settings.path.width();
    let stages = plan::plan(network, width, settings.convolutions);
    one_image::bytes(network, &stages, width)
}

/// How the engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The instructions.
    pub path: Path,
    /// The ways of convolution.
    pub convolutions: Convolutions,
}

/// The fastest that this processor has.
impl Default for Settings {
    fn default() -> Self {
        Self {
            path: Path::best(),
            convolutions: Convolutions::default(),
        }
    }
}

impl Settings {
    /// The default, with the instructions that the environment variable `LONGHAND_LANES` names,
    /// if it is set: `avx512`, `avx2` or `portable`.
    ///
    /// # Errors
    /// If it names none, or none that this processor has.
    pub fn from_environment() -> Result<Self, EngineError> {
        let Some(name) = std::env::var_os("LONGHAND_LANES") else {
            return Ok(Self::default());
        };
        let path = name.to_str().and_then(Path::named);
        match path.filter(|path| path.is_available()) {
            Some(path) => Ok(Self {
                path,
                ..Self::default()
            }),
            None => Err(EngineError::Path {
                name: name.to_string_lossy().into_owned(),
            }),
        }
    }
}

/// The paths of this processor, as a sentence has them.
pub(super) fn available() -> String {
    let paths = Path::ALL.into_iter().filter(|path| path.is_available());
    paths.map(Path::name).collect::<Vec<_>>().join(", ")
}

/// An engine for `network`, with all parameters 0, on `threads` threads, or as many as the machine
/// has.
///
/// # Errors
/// If the normalisation is for other channels than the network's, the processor has not the
/// instructions, or threads cannot be started.
pub fn open(
    network: Network,
    normalisation: Normalisation,
    threads: Option<usize>,
    settings: Settings,
) -> Result<Box<dyn Engine>, EngineError> {
    let Settings { path, convolutions } = settings;
    let missing = || EngineError::Path {
        name: path.name().to_owned(),
    };
    Ok(match path {
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => {
            let lanes = Avx512::detect().ok_or_else(missing)?;
            Box::new(Lanes::new(
                lanes,
                network,
                normalisation,
                threads,
                convolutions,
            )?)
        }
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => {
            let lanes = Avx2::detect().ok_or_else(missing)?;
            Box::new(Lanes::new(
                lanes,
                network,
                normalisation,
                threads,
                convolutions,
            )?)
        }
        #[cfg(not(target_arch = "x86_64"))]
        Path::Avx512 | Path::Avx2 => return Err(missing()),
        Path::Portable => {
            let lanes = Portable;
            Box::new(Lanes::new(
                lanes,
                network,
                normalisation,
                threads,
                convolutions,
            )?)
        }
    })
}

/// Images in the lanes, slices on all threads.
pub struct Lanes<T: lanes::Lanes> {
    lanes: T,
    network: Network,
    normalisation: Normalisation,
    stages: Vec<Stage>,
    workers: Workers,
    /// One a worker, and used by it alone, so that no lock ever waits.
    workspaces: Vec<Mutex<Workspace<T>>>,
    state: TrainingState,
    /// The parameters, one for each worker that has had work in training: (P) each, of which those of bands
    /// are not there.
    copies: Vec<Mutex<Numbers<T>>>,
    /// What layers that are merged have, once there is training.
    bands: Vec<RwLock<Band<T>>>,
    /// As many as any batch so far may have had.
    slices: Vec<RwLock<Slice<T>>>,
    /// The gradient of the last batch: (P), once there is training.
    sum: Numbers<T>,
    /// Whether steps give lines of the cache back.
    trial: Mutex<Trial>,
    /// With these parameters, since one image was asked for.
    one_image: Option<OneImage<T>>,
}

/// A lock that is never waited for. What a panic left behind it is written before it is read.
fn locked<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same, to be read by many.
fn read<V>(lock: &RwLock<V>) -> RwLockReadGuard<'_, V> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The same, to be changed.
fn write<V>(lock: &RwLock<V>) -> RwLockWriteGuard<'_, V> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl From<Panicked> for EngineError {
    fn from(Panicked(message): Panicked) -> Self {
        Self::Panicked(message)
    }
}

impl<T: lanes::Lanes> Lanes<T> {
    /// An engine for `network` by the instructions that `lanes` proves to be there.
    ///
    /// # Errors
    /// As [`open`].
    pub fn new(
        lanes: T,
        network: Network,
        normalisation: Normalisation,
        threads: Option<usize>,
        convolutions: Convolutions,
    ) -> Result<Self, EngineError> {
        check_normalisation(&network, &normalisation)?;
        let threads = threads
            .filter(|&threads| threads > 0)
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1);
        let workers = Workers::new(threads).map_err(|error| EngineError::Threads {
            threads,
            reason: error.to_string(),
        })?;
        let stages = plan::plan(&network, T::WIDTH, convolutions);
        let workspaces = workers.make(workers.count(), |_| {
            Mutex::new(Workspace::new(lanes, &network, &normalisation, &stages))
        })?;
        let parameters = vec![0.0; network.parameter_count()];
        Ok(Self {
            lanes,
            network,
            normalisation,
            stages,
            workers,
            workspaces,
            state: TrainingState::from_parameters(parameters),
            copies: Vec::new(),
            bands: Vec::new(),
            slices: Vec::new(),
            sum: Numbers::zeros(lanes, 0),
            trial: Mutex::default(),
            one_image: None,
        })
    }

    /// Does a step for every batch, or only computes its gradient, which `sum` then has, and calls
    /// `each` after each: see `Steps::run`. No batch has more than `largest` examples.
    fn each_step<'b>(
        &mut self,
        largest: usize,
        batches: impl Fn() -> Batches<'b> + Sync,
        rule: &StepRule,
        update: bool,
        each: impl FnMut(u64, Metrics) -> ControlFlow<()> + Send,
    ) -> Result<(), EngineError> {
        self.one_image = None;
        let parameters = self.network.parameter_count();
        let slices = slices::at_most(largest, T::WIDTH);
        while self.slices.len() < slices {
            (self.slices).push(RwLock::new(Slice::new(self.lanes, parameters)));
        }
        let numbers = || Numbers::zeros(self.lanes, parameters);
        let workers = &self.workers;
        let active = slices.clamp(1, workers.count());
        if self.copies.len() < active {
            self.copies = workers.make(active, |_| Mutex::new(numbers()))?;
        }
        if self.sum.is_empty() {
            self.bands = bands::bands(self.lanes, workers, &self.network, &self.stages)?;
            self.sum = numbers();
        }
        let steps = Steps {
            lanes: self.lanes,
            network: &self.network,
            stages: &self.stages,
            workers: &self.workers,
            workspaces: &self.workspaces,
            copies: &self.copies,
            bands: &self.bands,
            slices: &self.slices[..slices],
            rule,
            trial: &self.trial,
            update,
        };
        Ok(steps.run(&mut self.state, &mut self.sum, batches, each)?)
    }

    /// One batch, on all threads.
    fn one_step(
        &mut self,
        batch: &Batch,
        rule: &StepRule,
        update: bool,
    ) -> Result<Metrics, EngineError> {
        check_batch(&self.network, batch)?;
        let mut found = Metrics::default();
        let once = || -> Batches { Box::new(std::iter::once(*batch)) };
        self.each_step(batch.len(), once, rule, update, |_, metrics| {
            found = metrics;
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

impl<T: lanes::Lanes> Engine for Lanes<T> {
    fn name(&self) -> &'static str {
        "lanes"
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn threads(&self) -> usize {
        self.workers.count()
    }

    fn load(&mut self, state: &TrainingState) -> Result<(), EngineError> {
        check_state(&self.network, state)?;
        self.one_image = None;
        self.state.clone_from(state);
        Ok(())
    }

    fn state(&self) -> Result<TrainingState, EngineError> {
        Ok(self.state.clone())
    }

    fn steps(&self) -> u64 {
        self.state.steps
    }

    fn backward(&mut self, input: &Tensor, d_output: &Tensor) -> Result<Backward, EngineError> {
        let n = check_tensors(&self.network, input, d_output)?;
        let (input, d_output) = (input.as_standard_layout(), d_output.as_standard_layout());
        let mut output = Tensor::zeros(d_output.shape());
        let mut d_input = Tensor::zeros(input.shape());
        let mut d_parameters = vec![0.0; self.network.parameter_count()];
        let flat = "a tensor in standard layout is a slice";
        let (x, d_y) = (
            input.as_slice().expect(flat),
            d_output.as_slice().expect(flat),
        );
        let y = output.as_slice_mut().expect(flat);
        let d_x = d_input.as_slice_mut().expect(flat);
        let (inputs, outputs) = (x.len() / n.max(1), y.len() / n.max(1));
        let this = &*self;
        let state = &this.state;
        let (network, stages, parameters) = (&this.network, &this.stages, &state.parameters);
        let mut work = locked(&this.workspaces[0]);
        work.prepare_training();
        work.prepare_weights(network, stages, parameters, None);
        for start in (0..n).step_by(T::WIDTH) {
            let group = start..n.min(start + T::WIDTH);
            let draws = Draws {
                seed: 0,
                step: state.steps,
                example: start,
            };
            work.gather_input(&x[group.start * inputs..group.end * inputs]);
            work.forward(network, stages, parameters, Some(draws));
            work.scatter_output(&mut y[group.start * outputs..group.end * outputs]);
            work.gather_d_output(&d_y[group.start * outputs..group.end * outputs]);
            work.backward(network, stages, parameters, draws, &mut d_parameters, true);
            work.scatter_d_input(&mut d_x[group.start * inputs..group.end * inputs]);
        }
        work.split_merged(network, stages, parameters, &mut d_parameters);
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
        let metrics = self.one_step(batch, rule, false)?;
        Ok((metrics, self.sum.to_vec()))
    }

    fn train_batch(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        self.one_step(batch, rule, true)
    }

    fn train_epoch(
        &mut self,
        data: &Dataset,
        order: &[u32],
        rule: &StepRule,
        watch: &mut Watch,
    ) -> Result<Metrics, EngineError> {
        check_epoch(&self.network, data, rule)?;
        let mut totals = RunningTotals::new(order.len());
        let mut result = Ok(());
        let all = || -> Batches { Box::new(batches(data, order, rule.batch_size)) };
        let largest = rule.batch_size.min(order.len());
        self.each_step(largest, all, rule, true, |done, metrics| {
            result = totals.add(metrics, done, rule, watch);
            match result {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        result.map(|()| totals.metrics)
    }

    fn predict(&mut self, images: &Images) -> Result<Array2<f32>, EngineError> {
        check_images(&self.network, images.shape())?;
        let classes = outputs(&self.network)?;
        let mut logits = Array2::zeros((images.len(), classes));
        let rows = logits.as_slice_mut().expect("a new array is a slice");
        if images.len() == 1 {
            let state = &self.state;
            let one_image = self.one_image.get_or_insert_with(|| {
                let (network, normalisation) = (&self.network, &self.normalisation);
                let parameters = &state.parameters;
                OneImage::new(self.lanes, network, &self.stages, normalisation, parameters)
            });
            one_image.predict(&self.network, &self.stages, images.image(0), rows);
            return Ok(logits);
        }
        let groups: Vec<_> = (rows.chunks_mut(T::WIDTH * classes))
            .map(Mutex::new)
            .collect();
        let next = AtomicUsize::new(0);
        let this = &*self;
        let state = &this.state;
        let work = |worker: Worker| {
            let mut work = locked(&this.workspaces[worker.index]);
            work.prepare_weights(&this.network, &this.stages, &state.parameters, None);
            let take = || next.fetch_add(1, Ordering::Relaxed);
            let of_group = |index: usize| {
                let first = (index * T::WIDTH).min(images.len());
                (first..images.len().min(first + T::WIDTH)).map(|n| images.image(n))
            };
            let mut index = take();
            while let Some(group) = groups.get(index) {
                let mut logits = locked(group);
                work.read(&this.network, of_group(index));
                // The next group's come while this one is computed.
                index = take();
                cache::will_read(of_group(index));
                work.forward(&this.network, &this.stages, &state.parameters, None);
                work.scatter_output(&mut logits);
            }
        };
        this.workers.run(groups.len(), work)?;
        drop(groups);
        Ok(logits)
    }
}
