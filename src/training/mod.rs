//! The loop over epochs, what it records, and the folder that a run leaves.

pub mod checkpoint;
pub mod history;
pub mod recipe;
pub mod run_folder;
pub mod run_record;

use std::ops::ControlFlow;
use std::time::Instant;

use thiserror::Error;

use crate::data::{Data, Dataset, shuffled};
use crate::engines::{Engine, EngineError, Metrics, Progress};
use crate::network::NetworkError;
use crate::optimisers::{OptimiserError, StepRule, TrainingState};
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointFault};
pub use history::{EpochRecord, EpochRow};
pub use recipe::Recipe;
pub use run_folder::{RunFolder, RunFolderError};
pub use run_record::RunRecord;

/// Why training ended before its last epoch.
#[derive(Debug, Error, PartialEq)]
pub enum TrainingError {
    /// Settings that no step can work with.
    #[error(transparent)]
    Optimiser(#[from] OptimiserError),
    /// Nothing would be left to learn from.
    #[error("of {images} training images, {held_out} cannot be held out to judge by")]
    Validation {
        /// How many were to be held out.
        held_out: usize,
        /// How many there are.
        images: usize,
    },
    /// Nothing to judge an epoch by.
    #[error("to stop without a better validation, a part must be held out for it")]
    Patience,
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

impl TrainingError {
    /// Whether numbers were no longer finite, as they would be again with the same settings.
    pub fn diverged(&self) -> bool {
        matches!(
            self,
            Self::Epoch {
                source: EngineError::NotFinite { .. },
                ..
            }
        )
    }
}

/// What training begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Start {
    /// Weights that the recipe's seed draws.
    #[default]
    Drawn,
    /// Weights from elsewhere.
    Weights(Vec<f32>),
    /// The end of an epoch of the same recipe on the same data: with the same engine, what follows has
    /// the same bits as if training had never been stopped.
    After {
        /// The epochs that were done, from the first on.
        history: Vec<EpochRecord>,
        /// What they left.
        state: TrainingState,
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
    /// An epoch is done, and what judges it.
    Epoch {
        /// What they gave.
        record: &'a EpochRecord,
        /// What a checkpoint holds.
        state: &'a TrainingState,
        /// The weights that were judged: the state's parameters, or their average.
        weights: &'a [f32],
        /// Whether no epoch before was better, by its validation. Never without one.
        best: bool,
    },
}

/// Trains, and tests after each epoch. Returns all epochs, those of a [`Start::After`] included.
///
/// Where the recipe holds a validation part out, it is the last of the training images; which
/// epoch was the best is decided by it alone, never by the test set. Where it has patience,
/// the history may have fewer epochs than the recipe.
///
/// `watch` is told of every epoch's end, and of its progress a few times a second; it stops
/// training by breaking.
///
/// # Errors
/// If the recipe or the data do not suit, the loss is not finite, or `watch` breaks.
pub fn train(
    engine: &mut dyn Engine,
    data: &Data,
    recipe: &Recipe,
    start: Start,
    watch: &mut (dyn FnMut(Event) -> ControlFlow<()> + Send),
) -> Result<Vec<EpochRecord>, TrainingError> {
    let images = data.train.len();
    let examples = images.saturating_sub(recipe.validation);
    let rule = recipe.rule(examples);
    rule.check()?;
    if examples == 0 {
        let held_out = recipe.validation;
        return Err(TrainingError::Validation { held_out, images });
    }
    let validation = data.train.slice(examples..images);
    if recipe.patience.is_some() && validation.is_none() {
        return Err(TrainingError::Patience);
    }
    let unsuited = |error: NetworkError| TrainingError::Data(error.into());
    let network = engine.network();
    network
        .check_classes(data.train.classes())
        .map_err(unsuited)?;
    let (mut history, state) = match start {
        Start::Drawn => (Vec::new(), TrainingState::initial(network, recipe.seed)),
        Start::Weights(weights) => (Vec::new(), TrainingState::from_parameters(weights)),
        Start::After { history, state } => (history, state),
    };
    engine.load(&state).map_err(TrainingError::Data)?;

    let done = history.last().map_or(0, |last| last.epoch);
    for epoch in done + 1..=recipe.epochs {
        if is_over(&history, recipe) {
            break;
        }
        let ended = |error| match error {
            EngineError::Stopped => TrainingError::Stopped { epoch },
            source => TrainingError::Epoch { epoch, source },
        };
        let order = shuffled(examples, recipe.seed, epoch);
        let start = Instant::now();
        let train = engine
            .train_epoch(&data.train, &order, &rule, &mut |progress| {
                watch(Event::Progress { epoch, progress })
            })
            .map_err(ended)?;
        let seconds = start.elapsed().as_secs_f64();
        let state = engine.state().map_err(ended)?;
        let judged = [Some(&data.test), validation.as_ref()];
        let [test, validation] = judge(engine, &rule, &state, judged).map_err(ended)?;
        let test = test.unwrap_or_default();
        let lr = rule.lr(state.steps.saturating_sub(1));
        let weights = rule.weights(&state);
        // The last step may have diverged, which no batch of the epoch shows any more.
        let losses = [Some(test), validation].map(|judged| judged.map_or(0.0, |m| m.loss()));
        let spoilt = losses.into_iter().find(|loss| !loss.is_finite());
        // A moment that is not finite lets parameters stand still for good.
        let vectors = [
            &state.parameters,
            &state.first_moment,
            &state.second_moment,
            &state.average,
        ];
        let finite = vectors.into_iter().flatten().all(|x| x.is_finite());
        if spoilt.is_some() || !finite {
            return Err(ended(EngineError::NotFinite {
                step: order.len().div_ceil(rule.batch_size),
                loss: spoilt.unwrap_or(test.loss()),
                lr,
            }));
        }
        let record = EpochRecord {
            epoch,
            seconds,
            train,
            test,
            validation,
            lr,
        };
        history.push(record);
        let event = Event::Epoch {
            record: &record,
            state: &state,
            weights,
            best: history::best(&history).is_some_and(|best| best.epoch == epoch),
        };
        if watch(event).is_break() && epoch < recipe.epochs {
            return Err(TrainingError::Stopped { epoch: epoch + 1 });
        }
    }
    Ok(history)
}

/// Whether no epoch is left to do: all are done, or patience is at an end.
pub fn is_over(history: &[EpochRecord], recipe: &Recipe) -> bool {
    let done = history.last().map_or(0, |last| last.epoch);
    let waited = history::best(history).map(|best| done - best.epoch);
    let patience = recipe.patience.zip(waited);
    done >= recipe.epochs || patience.is_some_and(|(most, waited)| waited >= most)
}

/// What the weights that `state` gives say about each of `sets`. The engine keeps the state.
fn judge<const SETS: usize>(
    engine: &mut dyn Engine,
    rule: &StepRule,
    state: &TrainingState,
    sets: [Option<&Dataset>; SETS],
) -> Result<[Option<Metrics>; SETS], EngineError> {
    let averaged = rule.average.is_some();
    if averaged {
        let weights = rule.weights(state).to_vec();
        engine.load(&TrainingState::from_parameters(weights))?;
    }
    let mut judged = [None; SETS];
    for (metrics, set) in judged.iter_mut().zip(sets) {
        *metrics = set.map(|set| engine.evaluate(set)).transpose()?;
    }
    if averaged {
        engine.load(state)?;
    }
    Ok(judged)
}
