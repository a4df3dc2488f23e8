//! A recipe: all that one chooses of a run, but for the network and the data. The same recipe,
//! network, data and engine on the same instructions give the same weights, bit for bit.

use serde::{Deserialize, Serialize};

use crate::optimisers::{Anneal, Optimiser, Schedule, Sgd, StepRule, Steps};

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the training set.
    pub epochs: u32,
    /// Examples in a step; the last step of an epoch may have fewer.
    pub batch_size: usize,
    /// What the first weights, the orders of the epochs and what dropout drops are drawn from.
    pub seed: u64,
    /// How gradients change the parameters.
    pub optimiser: Optimiser,
    /// How the learning rate goes.
    pub schedule: Schedule,
    /// The largest norm that a gradient may have, if there is a limit.
    pub clip_norm: Option<f64>,
    /// The share of the target that goes to all classes alike.
    pub label_smoothing: f64,
    /// The share of the parameters' running average that each step keeps. If there is one, the
    /// average is what is tested and saved.
    pub average: Option<f64>,
    /// How many of the last training images are held out to judge by.
    pub validation: usize,
    /// After how many epochs without a better validation to stop, if at all.
    pub patience: Option<u32>,
}

/// The tutorial's: five epochs, batches of 32, SGD with lr 0.01 and momentum 0.5.
impl Default for Recipe {
    fn default() -> Self {
        let rule = StepRule::default();
        Self {
            epochs: 5,
            batch_size: rule.batch_size,
            seed: rule.seed,
            optimiser: rule.optimiser,
            schedule: rule.schedule,
            clip_norm: rule.clip_norm,
            label_smoothing: rule.label_smoothing,
            average: rule.average,
            validation: 0,
            patience: None,
        }
    }
}

impl Recipe {
    /// The recipes that have a name, each with what it is in a line; the default first.
    pub const NAMES: [(&'static str, &'static str); 2] = [
        ("tutorial", "the tutorial's: SGD, lr 0.01, momentum 0.5"),
        (
            "one-cycle",
            "the best found for five epochs: a rate that rises to 0.05 and falls, momentum 0.9, batches of 16, averaged weights",
        ),
    ];

    /// The recipe called `name`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "tutorial" => Some(Self::default()),
            // What `scripts/find_recipe.py` found, by held-out training images alone.
            "one-cycle" => Some(Self {
                batch_size: 16,
                optimiser: Optimiser::Sgd(Sgd {
                    lr: 0.05,
                    momentum: 0.9,
                    weight_decay: 5e-4,
                    nesterov: false,
                }),
                schedule: Schedule::OneCycle {
                    warm_up: 0.3,
                    anneal: Anneal::Linear,
                },
                label_smoothing: 0.05,
                average: Some(0.998),
                ..Self::default()
            }),
            _ => None,
        }
    }

    /// What each step does, where an epoch has so many examples.
    pub fn rule(&self, examples: usize) -> StepRule {
        let per_epoch = examples.div_ceil(self.batch_size.max(1)) as u64;
        StepRule {
            batch_size: self.batch_size,
            optimiser: self.optimiser,
            schedule: self.schedule,
            steps: Steps {
                per_epoch,
                total: per_epoch.saturating_mul(u64::from(self.epochs)),
            },
            clip_norm: self.clip_norm,
            label_smoothing: self.label_smoothing,
            average: self.average,
            seed: self.seed,
        }
    }
}
