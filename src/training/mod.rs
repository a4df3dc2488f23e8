//! The loop over epochs, what it records, and the folder that a run leaves.

pub mod history;
pub mod run_folder;

use std::ops::ControlFlow;
use std::time::Instant;

use thiserror::Error;

use crate::data::{Data, shuffled};
use crate::engines::{Engine, EngineError, Progress, TrainingState};
use crate::network::NetworkError;
use crate::optimisers::sgd::SgdError;
use crate::optimisers::{Sgd, StepRule};
pub use history::EpochRecord;
pub use run_folder::{RunFolder, RunFolderError};

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Passes over the training set.
    pub epochs: u32,
    /// What the first weights and the orders of the epochs are drawn from.
    pub seed: u64,
    /// The batch size and the optimiser.
    pub rule: StepRule,
}

/// The tutorial's: five epochs, batches of 32, SGD with lr 0.01 and momentum 0.5.
impl Default for Options {
    fn default() -> Self {
        Self {
            epochs: 5,
            seed: 0,
            rule: StepRule {
                batch_size: 32,
                optimiser: Sgd::default(),
            },
        }
    }
}

/// Why training ended before its last epoch.
#[derive(Debug, Error, PartialEq)]
pub enum TrainingError {
    /// A batch of no examples.
    #[error("the batch size must be at least 1")]
    BatchSize,
    /// Settings that the optimiser cannot work with.
    #[error(transparent)]
    Optimiser(#[from] SgdError),
    /// The data do not suit the network.
    #[error("{0}")]
    Data(EngineError),
    /// An epoch failed.
    #[error("epoch {epoch}: {source}")]
    Epoch {
        /// Which, the first being 1.
        epoch: u32,
        /// Why.
        source: EngineError,
    },
    /// The one who watches asked to stop.
    #[error("stopped in epoch {epoch}")]
    Stopped {
        /// Which, the first being 1.
        epoch: u32,
    },
}

/// What training tells the one who watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// An epoch is under way.
    Progress {
        /// Which, the first being 1.
        epoch: u32,
        /// How far it is.
        progress: &'a Progress,
    },
    /// An epoch and its test pass are done.
    Epoch {
        /// What they gave.
        record: &'a EpochRecord,
        /// What a checkpoint holds.
        state: &'a TrainingState,
    },
}

/// Trains from the weights that the seed draws, and tests after each epoch.
///
/// `watch` is told of every epoch's end, and of its progress a few times a second; it stops
/// training by breaking.
///
/// # Errors
/// If the data do not suit the network, the loss is not finite, or `watch` breaks.
pub fn train(
    engine: &mut dyn Engine,
    data: &Data,
    options: &Options,
    watch: &mut (dyn FnMut(Event) -> ControlFlow<()> + Send),
) -> Result<Vec<EpochRecord>, TrainingError> {
    if options.rule.batch_size == 0 {
        return Err(TrainingError::BatchSize);
    }
    options.rule.optimiser.check()?;
    let unsuited = |error: NetworkError| TrainingError::Data(error.into());
    let network = engine.network();
    network
        .check_classes(data.train.classes())
        .map_err(unsuited)?;
    let initial = TrainingState::initial(network, options.seed);
    engine.load(&initial).map_err(TrainingError::Data)?;

    let mut history = Vec::new();
    for epoch in 1..=options.epochs {
        let ended = |error| match error {
            EngineError::Stopped => TrainingError::Stopped { epoch },
            source => TrainingError::Epoch { epoch, source },
        };
        let order = shuffled(data.train.len(), options.seed, epoch);
        let start = Instant::now();
        let train = engine
            .train_epoch(&data.train, &order, &options.rule, &mut |progress| {
                watch(Event::Progress { epoch, progress })
            })
            .map_err(ended)?;
        let seconds = start.elapsed().as_secs_f64();
        let test = engine.evaluate(&data.test).map_err(ended)?;
        let state = engine.state();
        // The last step may have diverged, which no batch of the epoch shows any more.
        if !test.loss_sum.is_finite() || !state.parameters.iter().all(|p| p.is_finite()) {
            return Err(ended(EngineError::NotFinite {
                step: order.len().div_ceil(options.rule.batch_size),
                loss: test.loss(),
                lr: options.rule.optimiser.lr,
            }));
        }
        let record = EpochRecord {
            epoch,
            seconds,
            train,
            test,
            validation: None,
            lr: options.rule.optimiser.lr,
        };
        history.push(record);
        let (record, state) = (&record, &state);
        if watch(Event::Epoch { record, state }).is_break() && epoch < options.epochs {
            return Err(TrainingError::Stopped { epoch: epoch + 1 });
        }
    }
    Ok(history)
}
