//! How gradients change parameters.
//!
//! A [`StepRule`] says what every step does, as a pure function of how many were done before:
//! clip the gradient ([`mod@clipping`]), take the learning rate ([`schedules`]), change the
//! parameters ([`sgd`], [`adam`]), and average them ([`averaging`]). Each is one loop over flat
//! vectors, always inlined, so that it is compiled for the instructions of the engine that calls it; a
//! [`TrainingState`] holds the vectors.

pub mod adam;
pub mod averaging;
pub mod clipping;
pub mod schedules;
pub mod sgd;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::network::Network;
use crate::network::initialisation::initial_parameters;
use crate::tensor::Element;
pub use adam::Adam;
pub use schedules::{Anneal, Schedule, Steps};
pub use sgd::Sgd;

/// A setting that no optimiser can work with: which one, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum OptimiserError {
    /// Negative, infinite or NaN.
    #[error("the {0} must be a number of at least 0, not {1}")]
    Negative(&'static str, f64),
    /// A share of what was before, which must fade.
    #[error("{0} must be at least 0 and below 1, not {1}")]
    Share(&'static str, f64),
    /// Must be more than nothing.
    #[error("{0} must be a number above 0, not {1}")]
    NotPositive(&'static str, f64),
    /// Nesterov's look-ahead needs a velocity.
    #[error("nesterov needs a momentum above 0")]
    Nesterov,
    /// A batch of no examples.
    #[error("the batch size must be at least 1")]
    BatchSize,
    /// An interval of no epochs.
    #[error("the learning rate must fall every 1 epoch or more, not every 0")]
    Every,
}

impl OptimiserError {
    fn not_negative(name: &'static str, value: f64) -> Result<(), Self> {
        if value.is_finite() && value >= 0.0 {
            Ok(())
        } else {
            Err(Self::Negative(name, value))
        }
    }

    fn share(name: &'static str, value: f64) -> Result<(), Self> {
        if (0.0..1.0).contains(&value) {
            Ok(())
        } else {
            Err(Self::Share(name, value))
        }
    }

    fn positive(name: &'static str, value: f64) -> Result<(), Self> {
        if value.is_finite() && value > 0.0 {
            Ok(())
        } else {
            Err(Self::NotPositive(name, value))
        }
    }
}

/// An optimiser with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam, or AdamW where its weight decay is decoupled.
    Adam(Adam),
}

/// The tutorial's: SGD.
impl Default for Optimiser {
    fn default() -> Self {
        Self::Sgd(Sgd::default())
    }
}

impl Optimiser {
    /// The learning rate before a schedule changes it.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.lr,
            Self::Adam(adam) => adam.lr,
        }
    }

    /// Checks the settings, by PyTorch's rules.
    ///
    /// # Errors
    /// Naming the setting.
    pub fn check(&self) -> Result<(), OptimiserError> {
        match self {
            Self::Sgd(sgd) => sgd.check(),
            Self::Adam(adam) => adam.check(),
        }
    }
}

/// Everything that training changes: an engine can be stopped, and another can go on from it.
/// All vectors are of one form, (P), which [`Network::parameters`] names; those that a rule does
/// not use stay 0.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingState<T = f32> {
    /// The parameters.
    pub parameters: Vec<T>,
    /// SGD's velocity, or Adam's running mean of gradients.
    pub first_moment: Vec<T>,
    /// Adam's running mean of squared gradients.
    pub second_moment: Vec<T>,
    /// The running average of the parameters.
    pub average: Vec<T>,
    /// Steps done since the beginning of training.
    pub steps: u64,
}

impl<T: Element> TrainingState<T> {
    /// Before the first step: parameters as [`initial_parameters`] draws them.
    pub fn initial(network: &Network, seed: u64) -> Self {
        Self::from_parameters(initial_parameters(network, seed))
    }

    /// Before the first step, with parameters from elsewhere.
    pub fn from_parameters(parameters: Vec<T>) -> Self {
        let zeros = || vec![T::zero(); parameters.len()];
        Self {
            first_moment: zeros(),
            second_moment: zeros(),
            average: zeros(),
            parameters,
            steps: 0,
        }
    }

    /// All parameters.
    pub fn whole(&mut self) -> StatePart<'_, T> {
        StatePart {
            parameters: &mut self.parameters,
            first_moment: &mut self.first_moment,
            second_moment: &mut self.second_moment,
            average: &mut self.average,
        }
    }
}

/// The same range of every vector of a [`TrainingState`].
#[derive(Debug)]
pub struct StatePart<'a, T> {
    /// Of the parameters.
    pub parameters: &'a mut [T],
    /// Of SGD's velocity, or Adam's running mean of gradients.
    pub first_moment: &'a mut [T],
    /// Of Adam's running mean of squared gradients.
    pub second_moment: &'a mut [T],
    /// Of the running average of the parameters.
    pub average: &'a mut [T],
}

impl<'a, T> StatePart<'a, T> {
    /// The first `count` parameters, and the others.
    pub fn split_at(self, count: usize) -> (StatePart<'a, T>, StatePart<'a, T>) {
        let (parameters, other_parameters) = self.parameters.split_at_mut(count);
        let (first_moment, other_first_moment) = self.first_moment.split_at_mut(count);
        let (second_moment, other_second_moment) = self.second_moment.split_at_mut(count);
        let (average, other_average) = self.average.split_at_mut(count);
        let part = StatePart {
            parameters,
            first_moment,
            second_moment,
            average,
        };
        let others = StatePart {
            parameters: other_parameters,
            first_moment: other_first_moment,
            second_moment: other_second_moment,
            average: other_average,
        };
        (part, others)
    }

    /// Parts of this one, of at most `length` parameters, at least one.
    #[inline(always)]
    pub fn parts(&mut self, length: usize) -> impl Iterator<Item = StatePart<'_, T>> {
        let length = length.max(1);
        let moments =
            (self.first_moment.chunks_mut(length)).zip(self.second_moment.chunks_mut(length));
        (self.parameters.chunks_mut(length))
            .zip(moments)
            .zip(self.average.chunks_mut(length))
            .map(
                |((parameters, (first_moment, second_moment)), average)| StatePart {
                    parameters,
                    first_moment,
                    second_moment,
                    average,
                },
            )
    }
}

/// What every training step does, given how many were done before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRule {
    /// Examples in a batch; the last batch of an epoch may have fewer.
    pub batch_size: usize,
    /// How the gradients change the parameters.
    pub optimiser: Optimiser,
    /// How the learning rate goes.
    pub schedule: Schedule,
    /// How many steps there are, which a schedule needs to know.
    pub steps: Steps,
    /// The largest norm that a gradient may have, if there is a limit.
    pub clip_norm: Option<f64>,
    /// The share of the target that goes to all classes alike, at least 0 and below 1.
    pub label_smoothing: f64,
    /// The share of the parameters' running average that each step keeps, if they are averaged.
    pub average: Option<f64>,
    /// What dropout draws from.
    pub seed: u64,
}

/// The tutorial's: batches of 32, SGD with lr 0.01 and momentum 0.5, nothing else.
impl Default for StepRule {
    fn default() -> Self {
        Self {
            batch_size: 32,
            optimiser: Optimiser::default(),
            schedule: Schedule::Constant,
            steps: Steps::default(),
            clip_norm: None,
            label_smoothing: 0.0,
            average: None,
            seed: 0,
        }
    }
}

impl StepRule {
    /// Checks all settings.
    ///
    /// # Errors
    /// Naming the first that is wrong.
    pub fn check(&self) -> Result<(), OptimiserError> {
        if self.batch_size == 0 {
            return Err(OptimiserError::BatchSize);
        }
        self.optimiser.check()?;
        self.schedule.check()?;
        if let Some(norm) = self.clip_norm {
            OptimiserError::positive("the norm to clip at", norm)?;
        }
        if let Some(decay) = self.average {
            OptimiserError::share("the average's decay", decay)?;
        }
        OptimiserError::share("the label smoothing", self.label_smoothing)
    }

    /// The learning rate of a step before which `step` were done.
    pub fn lr(&self, step: u64) -> f64 {
        self.optimiser.lr() * self.schedule.factor(step, self.steps)
    }

    /// The weights to judge and keep: the average if there is one, else the parameters.
    pub fn weights<'a, T>(&self, state: &'a TrainingState<T>) -> &'a [T] {
        match self.average {
            Some(_) => &state.average,
            None => &state.parameters,
        }
    }

    /// One step.
    ///
    /// - `state`: everything (P), changed
    /// - `gradients`: (P), of the batch's mean loss; clipped, if they are too long
    pub fn update<T: Element>(&self, state: &mut TrainingState<T>, gradients: &mut [T]) {
        if let Some(norm) = self.clip_norm {
            clipping::clip(gradients, norm);
        }
        self.update_part(state.steps, &mut state.whole(), gradients);
        state.steps += 1;
    }

    /// What one step, before which `done` were done, does to a part of the parameters.
    ///
    /// - `gradients`: of that part, clipped
    #[inline(always)]
    pub fn update_part<T: Element>(&self, done: u64, part: &mut StatePart<T>, gradients: &[T]) {
        let lr = self.lr(done);
        let StatePart {
            parameters,
            first_moment,
            second_moment,
            average,
        } = part;
        match &self.optimiser {
            Optimiser::Sgd(sgd) => sgd.step(lr, parameters, gradients, first_moment),
            Optimiser::Adam(adam) => {
                adam.step(lr, done, parameters, gradients, first_moment, second_moment);
            }
        }
        if let Some(decay) = self.average {
            averaging::step(decay, done, parameters, average);
        }
    }
}
