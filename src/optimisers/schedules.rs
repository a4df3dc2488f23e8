//! How the learning rate goes: pure functions of the steps that were done, as factors of the rate
//! that was asked for. With `t` the steps done, `T` all steps, `e` the epochs done:
//!
//! | schedule | factor | PyTorch's |
//! |---|---|---|
//! | constant | 1 | |
//! | step | `gamma^floor(e / every)` | `StepLR`, called once an epoch |
//! | cosine | `(1 + cos(pi t / T)) / 2` | `CosineAnnealingLR`, called at each step |
//! | one-cycle | from 1/25 up to 1 within the warm-up, then down to 1/250,000 | `OneCycleLR` with `cycle_momentum=False` |
//!
//! The two ways of one-cycle follow half a cosine or a straight line. Its first step has the
//! lowest rate before the warm-up's top, its last step the lowest of all.
//!
//! Sources: Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, ICLR
//! 2017; Smith and Topin, *Super-Convergence*, 2018.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::OptimiserError;

/// How many steps there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// In an epoch, at least 1.
    pub per_epoch: u64,
    /// In all epochs.
    pub total: u64,
}

/// One step: for rules whose schedule is constant.
impl Default for Steps {
    fn default() -> Self {
        Self {
            per_epoch: 1,
            total: 1,
        }
    }
}

/// How the learning rate goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It falls at once, every so many epochs.
    Step {
        /// How many epochs it stays, at least 1.
        every: u32,
        /// What it is multiplied with.
        gamma: f64,
    },
    /// It falls along half a cosine, to 0.
    Cosine,
    /// It rises, then falls.
    OneCycle {
        /// The share of the steps in which it rises.
        warm_up: f64,
        /// Along which line.
        anneal: Anneal,
    },
}

/// The line from one rate to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anneal {
    /// Half a cosine.
    Cosine,
    /// A straight line.
    Linear,
}

impl Schedule {
    /// Whether its rates depend on how many steps there will be.
    pub fn looks_ahead(&self) -> bool {
        match self {
            Self::Constant | Self::Step { .. } => false,
            Self::Cosine | Self::OneCycle { .. } => true,
        }
    }
}

impl Anneal {
    /// The number a `share` of the way from `from` to `to`.
    fn between(self, from: f64, to: f64, share: f64) -> f64 {
        match self {
            Self::Cosine => to + (from - to) / 2.0 * (1.0 + (PI * share).cos()),
            Self::Linear => from + (to - from) * share,
        }
    }
}

/// PyTorch's `div_factor`: what the top of one-cycle is divided by for its beginning.
const DIV_FACTOR: f64 = 25.0;

/// PyTorch's `final_div_factor`: what the beginning is divided by for the end.
const FINAL_DIV_FACTOR: f64 = 1e4;

impl Schedule {
    /// Checks the settings.
    ///
    /// # Errors
    /// Naming the setting.
    pub fn check(&self) -> Result<(), OptimiserError> {
        match *self {
            Self::Constant | Self::Cosine => Ok(()),
            Self::Step { every: 0, .. } => Err(OptimiserError::Every),
            Self::Step { gamma, .. } => OptimiserError::not_negative("factor gamma", gamma),
            Self::OneCycle { warm_up, .. } => OptimiserError::share("the warm-up", warm_up),
        }
    }

    /// What the rate is multiplied with in a step before which `step` were done.
    pub fn factor(&self, step: u64, steps: Steps) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Step { every, gamma } => {
                let falls = step / steps.per_epoch.max(1) / u64::from(every.max(1));
                gamma.powi(i32::try_from(falls).unwrap_or(i32::MAX))
            }
            Self::Cosine => {
                let share = step as f64 / steps.total.max(1) as f64;
                Anneal::Cosine.between(1.0, 0.0, share.min(1.0))
            }
            Self::OneCycle { warm_up, anneal } => {
                let (start, end) = (1.0 / DIV_FACTOR, 1.0 / DIV_FACTOR / FINAL_DIV_FACTOR);
                // The steps at which the rate is highest and lowest.
                let top = warm_up * steps.total as f64 - 1.0;
                let last = steps.total as f64 - 1.0;
                let step = step as f64;
                if step < top {
                    anneal.between(start, 1.0, step / top)
                } else {
                    let share = (step - top) / (last - top);
                    anneal.between(1.0, end, share.min(1.0))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps {
        per_epoch: 10,
        total: 50,
    };

    const ONE_CYCLE: Schedule = Schedule::OneCycle {
        warm_up: 0.3,
        anneal: Anneal::Linear,
    };

    #[test]
    fn a_step_falls_with_the_epochs() {
        let schedule = Schedule::Step {
            every: 2,
            gamma: 0.1,
        };
        let factors = [0, 19, 20, 39, 40].map(|step| schedule.factor(step, STEPS));
        for (factor, expected) in factors.iter().zip([1.0, 1.0, 0.1, 0.1, 0.01]) {
            assert!((factor - expected).abs() <= 1e-12, "{factors:?}");
        }
    }

    #[test]
    fn one_cycle_rises_then_falls() {
        let factors: Vec<f64> = (0..50).map(|step| ONE_CYCLE.factor(step, STEPS)).collect();
        assert_eq!(factors[0], 1.0 / 25.0);
        assert_eq!(factors[14], 1.0);
        assert!((factors[49] - 1.0 / 250_000.0).abs() <= 1e-12);
        assert!(factors[..15].is_sorted());
        assert!(factors[14..].is_sorted_by(|a, b| a >= b));
    }

    /// With a warm-up of no step, with one step in all, beyond the last step: never NaN, never
    /// more than what was asked for.
    #[test]
    fn every_schedule_is_a_share_for_any_number_of_steps() {
        for anneal in [Anneal::Cosine, Anneal::Linear] {
            for warm_up in [0.0, 0.01, 0.5, 0.999] {
                let one_cycle = Schedule::OneCycle { warm_up, anneal };
                for schedule in [Schedule::Constant, Schedule::Cosine, one_cycle] {
                    for total in [1, 2, 3, 50] {
                        let steps = Steps {
                            per_epoch: 1,
                            total,
                        };
                        for step in 0..60 {
                            let factor = schedule.factor(step, steps);
                            assert!(
                                (0.0..=1.0).contains(&factor),
                                "{schedule:?} {step}/{total}: {factor}"
                            );
                        }
                    }
                }
            }
        }
    }
}
