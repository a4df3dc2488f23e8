//! A worker's part of the parameters: it adds the slices' gradients up for them and updates them,
//! block after block, so that a block comes into the nearest cache once.

use crate::hardware::cache;
use crate::hardware::lanes::{Lanes, kernel};
use crate::optimisers::{StatePart, StepRule, clipping};

/// Parameters of a block: with gradients and moments, they take less than the nearest cache has.
const BLOCK: usize = 1024;

/// What one worker updates, and the batch's gradient by it.
pub(super) struct Part<'a> {
    /// Which parameter is its first.
    pub(super) first: usize,
    pub(super) state: StatePart<'a, f32>,
    pub(super) gradients: &'a mut [f32],
}

/// A step before which `done` were done.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) rule: &'a StepRule,
    pub(super) done: u64,
}

impl Part<'_> {
    /// Blocks of its state and of its gradient.
    #[inline(always)]
    fn blocks(&mut self) -> impl Iterator<Item = (StatePart<'_, f32>, &mut [f32])> {
        let gradients = self.gradients.chunks_mut(BLOCK);
        self.state.parts(BLOCK).zip(gradients)
    }
}

kernel! {
    /// Adds the slices' gradients up, in their order, and does the step, if there is one.
    ///
    /// - `slices`: (P) each
    pub fn add_up(part: &mut Part<'_>, slices: &[&[f32]], step: Option<Step<'_>>) = add_up_kernel;
}

#[inline(always)]
fn add_up_kernel<T: Lanes>(_: T, part: &mut Part, slices: &[&[f32]], step: Option<Step>) {
    // All threads have copied them.
    cache::will_write(part.state.parameters);
    let mut first = part.first;
    for (state, sum) in part.blocks() {
        for (index, slice) in slices.iter().enumerate() {
            let d_parameters = &slice[first..][..sum.len()];
            match index {
                0 => sum.copy_from_slice(d_parameters),
                _ => {
                    for (sum, d_parameter) in sum.iter_mut().zip(d_parameters) {
                        *sum += d_parameter;
                    }
                }
            }
        }
        first += sum.len();
        if let Some(Step { rule, done }) = step {
            rule.update_part(done, state, sum);
        }
    }
}

kernel! {
    /// Does a step, with the gradient multiplied by `factor`.
    pub fn update(part: &mut Part<'_>, factor: f64, step: Step<'_>) = update_kernel;
}

#[inline(always)]
fn update_kernel<T: Lanes>(_: T, part: &mut Part, factor: f64, step: Step) {
    for (state, gradients) in part.blocks() {
        clipping::scale(gradients, factor);
        step.rule.update_part(step.done, state, gradients);
    }
}
