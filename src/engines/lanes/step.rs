//! What is done between two steps, by the lanes' instructions: the loops of [`crate::optimisers`],
//! compiled for them. No lane is named, for every number of a flat vector is alike.

use crate::hardware::lanes::{Lanes, kernel};
use crate::optimisers::{StepRule, TrainingState};

kernel! {
    /// Adds one slice's gradient to another's.
    ///
    /// - `sum`: (P), changed
    /// - `gradient`: (P)
    pub fn add(sum: &mut [f32], gradient: &[f32]) = add_kernel;
}

#[inline(always)]
fn add_kernel<T: Lanes>(_: T, sum: &mut [f32], gradient: &[f32]) {
    for (sum, gradient) in sum.iter_mut().zip(gradient) {
        *sum += gradient;
    }
}

kernel! {
    /// [`StepRule::update`].
    pub fn update(
        rule: &StepRule,
        state: &mut TrainingState,
        gradients: &mut [f32],
    ) = update_kernel;
}

#[inline(always)]
fn update_kernel<T: Lanes>(
    _: T,
    rule: &StepRule,
    state: &mut TrainingState,
    gradients: &mut [f32],
) {
    rule.update(state, gradients);
}
