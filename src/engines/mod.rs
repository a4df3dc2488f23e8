//! Engines: who owns the buffers and calls the layers in order. No mathematics here.
//!
//! Every engine is an [`Engine`], is held to [`mod@reference`] by one test body, and draws the same
//! random numbers. [`open`] makes one by name.

pub mod check;
pub mod cuda;
pub mod im2col;
pub mod lanes;
pub mod memory;
pub mod reference;
mod slices;

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data::{Batch, Dataset, Images, Normalisation, batches};
use crate::hardware::gpu::{Device, GpuError, device};
use crate::layers::{Shape, cross_entropy};
use crate::network::{Network, NetworkError};
use crate::optimisers::{StepRule, TrainingState};
use crate::tensor::{Element, Tensor};
pub use cuda::Cuda;
pub use im2col::Im2col;
pub use lanes::Lanes;
pub use reference::Reference;

/// What an engine could not do.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EngineError {
    /// The images are not what the network reads.
    #[error("the network reads images of {}, not of {}", Shape::Image(*.network), Shape::Image(*.images))]
    Images {
        /// What the network reads.
        network: [usize; 3],
        /// What it was given.
        images: [usize; 3],
    },
    /// The network cannot tell the classes apart.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A tensor or a state of the wrong size.
    #[error("{what}: {found:?} where {expected:?} is needed")]
    Size {
        /// Which tensor.
        what: &'static str,
        /// What is needed.
        expected: Vec<usize>,
        /// What was given.
        found: Vec<usize>,
    },
    /// Training has diverged.
    #[error(
        "the loss is {loss} at step {step}: training has diverged. Try a smaller learning rate \
         (a tenth of {lr}), or less momentum; if that does not help, look for damaged images"
    )]
    NotFinite {
        /// The step of this epoch, the first being 1.
        step: usize,
        /// The mean loss of its batch, or of what judges an epoch after its last step.
        loss: f64,
        /// The learning rate it was made with.
        lr: f64,
    },
    /// The one who watches asked to stop.
    #[error("stopped before the end of the epoch")]
    Stopped,
    /// A batch without an example has no mean loss.
    #[error("a batch needs at least one example")]
    EmptyBatch,
    /// The operating system gave no threads.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// More memory than is allowed.
    #[error(
        "the network needs about {} MB of memory, of which {} MB are allowed: it should be smaller, \
         or have fewer threads or smaller batches",
        needed.div_ceil(1_000_000),
        most / 1_000_000
    )]
    Memory {
        /// About how many bytes.
        needed: u64,
        /// How many may be taken.
        most: u64,
    },
    /// A GPU failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A thread panicked: a fault of the engine's.
    #[error("a thread of the engine failed: {0}. This is a fault of longhand's: please report it")]
    Panicked(String),
    /// No instructions have this name, or this processor has not those.
    #[error(
        "this processor has no instructions {name:?}; LONGHAND_LANES, if it is set, must name some that it has: {}",
        lanes::available()
    )]
    Path {
        /// What it was.
        name: String,
    },
}

/// Loss and hits, added up over examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The sum of the examples' losses.
    pub loss_sum: f64,
    /// How many had their label as the likeliest class.
    pub correct: usize,
    /// How many examples there were.
    pub examples: usize,
}

impl Metrics {
    /// What the logits of one example say about its label. `smoothing` is that of the loss.
    pub fn of<T: Element>(logits: &[T], label: usize, smoothing: f64) -> Self {
        Self {
            loss_sum: cross_entropy::reference::forward(logits, label, smoothing).as_f64(),
            correct: usize::from(cross_entropy::reference::argmax(logits) == label),
            examples: 1,
        }
    }

    /// Counts the examples of `other`, too.
    pub fn add(&mut self, other: Metrics) {
        self.loss_sum += other.loss_sum;
        self.correct += other.correct;
        self.examples += other.examples;
    }

    /// The mean loss of an example, NaN if there was none.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.examples as f64
    }

    /// Whether more of as many examples were right, or as many with a smaller loss.
    pub fn better_than(&self, other: &Metrics) -> bool {
        let smaller = self.loss_sum < other.loss_sum;
        self.correct > other.correct || self.correct == other.correct && smaller
    }

    /// The share that was right, from 0 to 1, NaN if there was no example.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }
}

/// Where an epoch stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The running totals of the epoch so far.
    pub metrics: Metrics,
    /// How many examples the epoch has.
    pub of: usize,
}

/// Who is told how an epoch goes, after its first step, then ten times a second at most, and at
/// its end; and who can stop it. It is called while the caller waits, perhaps on another thread. A
/// GPU tells it late, and stops late, for it goes on meanwhile.
pub type Watch<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + Send + 'a;

/// What a network gives for one batch, and all gradients.
#[derive(Clone, Debug)]
pub struct Backward<T = f32> {
    /// Behind the last layer: (N, …).
    pub output: Tensor<T>,
    /// The gradient by the input: (N, C, H, W).
    pub d_input: Tensor<T>,
    /// The gradient by the parameters, summed over the batch, as one flat vector.
    pub d_parameters: Vec<T>,
}

/// A way of computing a network, on numbers of type `T`.
pub trait Engine<T: Element = f32>: Send {
    /// Its name, as `--engine` has it.
    fn name(&self) -> &'static str;

    /// What it computes.
    fn network(&self) -> &Network;

    /// How many threads it computes with.
    fn threads(&self) -> usize;

    /// Takes over parameters, the optimiser's vectors and the number of steps.
    ///
    /// # Errors
    /// If their lengths are not the network's.
    fn load(&mut self, state: &TrainingState<T>) -> Result<(), EngineError>;

    /// Hands them out as they are now.
    ///
    /// # Errors
    /// If a GPU fails.
    fn state(&self) -> Result<TrainingState<T>, EngineError>;

    /// How many steps were done, as the state has it.
    fn steps(&self) -> u64;

    /// Forward and backward with a normalised input and any upstream gradient, for any network:
    /// what the tests hold engines against. Dropout drops what it would in the state's next step
    /// of a run with seed 0.
    ///
    /// - `input`: (N, C, H, W)
    /// - `d_output`: (N, …)
    ///
    /// # Errors
    /// If a shape is not the network's.
    fn backward(
        &mut self,
        input: &Tensor<T>,
        d_output: &Tensor<T>,
    ) -> Result<Backward<T>, EngineError>;

    /// Loss, hits, and the gradient of the mean loss by the parameters, for one batch, with the
    /// rule's label smoothing and seed.
    ///
    /// # Errors
    /// If the batch does not suit the network.
    fn gradients(
        &mut self,
        batch: &Batch,
        rule: &StepRule,
    ) -> Result<(Metrics, Vec<T>), EngineError>;

    /// One step: gradients of the batch, then the rule's update.
    ///
    /// # Errors
    /// If the batch does not suit the network.
    fn train_batch(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError>;

    /// The logits of every image, nothing dropped: (N, classes).
    ///
    /// # Errors
    /// If the images do not suit the network, or it does not end in a vector.
    fn predict(&mut self, images: &Images) -> Result<Array2<T>, EngineError>;

    /// One epoch over `data` in this `order`. Loss and accuracy are running totals: each batch is
    /// judged by the parameters that it then changes.
    ///
    /// # Errors
    /// If the data do not suit the network, the loss is not finite, or `watch` stops the epoch.
    /// The parameters then stand as the last step left them.
    fn train_epoch(
        &mut self,
        data: &Dataset,
        order: &[u32],
        rule: &StepRule,
        watch: &mut Watch,
    ) -> Result<Metrics, EngineError> {
        train_in_batches(self, data, order, rule, watch)
    }

    /// Loss and accuracy over `data`, which stays unseen by the parameters. Nothing is dropped and no
    /// label smoothed, as they are in training.
    ///
    /// # Errors
    /// If the data do not suit the network.
    fn evaluate(&mut self, data: &Dataset) -> Result<Metrics, EngineError> {
        self.network().check_classes(data.classes())?;
        let logits = self.predict(data.images())?;
        let mut total = Metrics::default();
        for (logits, &label) in logits.rows().into_iter().zip(data.labels()) {
            let logits = logits.to_slice().expect("logits are row-major");
            total.add(Metrics::of(logits, usize::from(label), 0.0));
        }
        Ok(total)
    }
}

/// How often an epoch reports, at most.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// The loop over an epoch's batches: this is training.
fn train_in_batches<T: Element, E: Engine<T> + ?Sized>(
    engine: &mut E,
    data: &Dataset,
    order: &[u32],
    rule: &StepRule,
    watch: &mut Watch,
) -> Result<Metrics, EngineError> {
    check_epoch(engine.network(), data, rule)?;
    let mut totals = RunningTotals::new(order.len());
    for batch in batches(data, order, rule.batch_size) {
        let metrics = engine.train_batch(&batch, rule)?;
        totals.add(metrics, engine.steps(), rule, watch)?;
    }
    Ok(totals.metrics)
}

/// What an epoch adds up to so far, and when it was last reported.
struct RunningTotals {
    metrics: Metrics,
    of: usize,
    steps: usize,
    reported: Option<Instant>,
}

impl RunningTotals {
    /// Of an epoch of so many examples.
    fn new(of: usize) -> Self {
        Self {
            metrics: Metrics::default(),
            of,
            steps: 0,
            reported: None,
        }
    }

    /// Counts a step's batch, with `done` steps since the beginning of training, and reports when
    /// it is time.
    fn add(
        &mut self,
        batch: Metrics,
        done: u64,
        rule: &StepRule,
        watch: &mut Watch,
    ) -> Result<(), EngineError> {
        self.steps += 1;
        if !batch.loss_sum.is_finite() {
            return Err(EngineError::NotFinite {
                step: self.steps,
                loss: batch.loss(),
                lr: rule.lr(done.saturating_sub(1)),
            });
        }
        self.metrics.add(batch);
        let due = (self.reported).is_none_or(|time| time.elapsed() >= REPORT_EVERY);
        if due || self.metrics.examples == self.of {
            self.reported = Some(Instant::now());
            let (metrics, of) = (self.metrics, self.of);
            if watch(&Progress { metrics, of }).is_break() {
                return Err(EngineError::Stopped);
            }
        }
        Ok(())
    }
}

/// The engines by name, as `--engine` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// A usable GPU, else the CPU.
    Auto,
    /// The fastest engine of the CPU.
    Cpu,
    /// [`Reference`]
    Reference,
    /// [`Im2col`]
    Im2col,
    /// [`Lanes`]
    Lanes,
    /// [`Cuda`] on the GPU of this number.
    Cuda(usize),
}

impl EngineKind {
    /// All of them, the default first; of several GPUs the first.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Cpu,
        Self::Reference,
        Self::Im2col,
        Self::Lanes,
        Self::Cuda(0),
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Reference => "reference",
            Self::Im2col => "im2col",
            Self::Lanes => "lanes",
            Self::Cuda(_) => "cuda",
        }
    }

    /// The kind called `name`; `cuda:1` is the second GPU.
    pub fn named(name: &str) -> Option<Self> {
        match name.strip_prefix("cuda:") {
            Some(number) => number.parse().ok().map(Self::Cuda),
            None => Self::ALL.into_iter().find(|kind| kind.name() == name),
        }
    }

    /// What it stands for, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Auto => "to train the GPU, where there is one that can be used; else cpu",
            Self::Cpu => "the fastest engine of the CPU: lanes",
            Self::Reference => "plain loops that follow the formulas, one thread",
            Self::Im2col => "convolution as a matrix product, all threads",
            Self::Lanes => {
                "eight or sixteen images in a register, Winograd convolution, all threads"
            }
            Self::Cuda(_) => {
                "an NVIDIA GPU, cuda:1 the second: a step is recorded, and replayed there"
            }
        }
    }
}

/// As [`EngineKind::named`] reads it.
impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda(ordinal @ 1..) => write!(f, "cuda:{ordinal}"),
            _ => f.write_str(self.name()),
        }
    }
}

/// Makes an engine for `network`, with all parameters 0 until [`Engine::load`].
///
/// `threads` is how many to use, `None` or 0 for as many as the machine has.
///
/// # Errors
/// If the normalisation is for other channels than the network's, threads cannot be started, or
/// there is no such GPU.
pub fn open(
    kind: EngineKind,
    network: Network,
    normalisation: Normalisation,
    threads: Option<usize>,
) -> Result<Box<dyn Engine>, EngineError> {
    Ok(match kind {
        EngineKind::Reference => Box::new(Reference::new(network, normalisation)?),
        EngineKind::Im2col => Box::new(Im2col::new(network, normalisation, threads)?),
        EngineKind::Cuda(ordinal) => {
            Box::new(Cuda::new(Device::open(ordinal)?, network, &normalisation)?)
        }
        EngineKind::Auto if device::usable() => {
            open(EngineKind::Cuda(0), network, normalisation, threads)?
        }
        EngineKind::Auto | EngineKind::Cpu | EngineKind::Lanes => lanes::open(
            network,
            normalisation,
            threads,
            lanes::Settings::from_environment()?,
        )?,
    })
}

fn check_size(what: &'static str, expected: &[usize], found: &[usize]) -> Result<(), EngineError> {
    if expected == found {
        return Ok(());
    }
    Err(EngineError::Size {
        what,
        expected: expected.to_vec(),
        found: found.to_vec(),
    })
}

fn check_normalisation(
    network: &Network,
    normalisation: &Normalisation,
) -> Result<(), EngineError> {
    let [channels, ..] = network.input();
    check_size(
        "channels of the normalisation",
        &[channels],
        &[normalisation.channels()],
    )
}

fn check_state<T>(network: &Network, state: &TrainingState<T>) -> Result<(), EngineError> {
    let count = [network.parameter_count()];
    for (what, vector) in [
        ("parameters", &state.parameters),
        ("first moment", &state.first_moment),
        ("second moment", &state.second_moment),
        ("average", &state.average),
    ] {
        check_size(what, &count, &[vector.len()])?;
    }
    Ok(())
}

/// Checks that an epoch over `data` has steps that suit the network.
fn check_epoch(network: &Network, data: &Dataset, rule: &StepRule) -> Result<(), EngineError> {
    check_images(network, data.images().shape())?;
    network.check_classes(data.classes())?;
    match rule.batch_size {
        0 => Err(EngineError::EmptyBatch),
        _ => Ok(()),
    }
}

fn check_images(network: &Network, images: [usize; 3]) -> Result<(), EngineError> {
    let network = network.input();
    if images == network {
        Ok(())
    } else {
        Err(EngineError::Images { network, images })
    }
}

fn check_batch(network: &Network, batch: &Batch) -> Result<(), EngineError> {
    if batch.is_empty() {
        return Err(EngineError::EmptyBatch);
    }
    check_images(network, batch.dataset().images().shape())?;
    Ok(network.check_classes(batch.dataset().classes())?)
}

/// Checks `input` (N, C, H, W) and `d_output` (N, …), and returns N.
fn check_tensors<T>(
    network: &Network,
    input: &Tensor<T>,
    d_output: &Tensor<T>,
) -> Result<usize, EngineError> {
    let n = input.shape().first().copied().unwrap_or(0);
    let with_n = |sizes: &[usize]| [&[n], sizes].concat();
    check_size("input", &with_n(&network.input()), input.shape())?;
    let output = with_n(network.output().sizes());
    check_size("d_output", &output, d_output.shape())?;
    Ok(n)
}

/// The number of outputs of a network that ends in a vector.
fn outputs(network: &Network) -> Result<usize, EngineError> {
    // One class is the least that a vector can tell.
    network.check_classes(1)?;
    Ok(network.output().elements())
}
