//! A worker's part of the parameters: it adds the slices' gradients up for them and updates them, block
//! after block.

use super::merged::Merged;
use crate::hardware::cache;
use crate::hardware::lanes::{Lanes, kernel};
use crate::optimisers::{StatePart, StepRule, clipping};

/// Parameters of a block. To write to a line of the cache that another core has read takes its time: while
/// a block's wait for theirs, the next block's gradients are computed. With gradient, moment and average
/// it has room in the nearest cache.
const BLOCK: usize = 1536;

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

    /// Asks for its parameters, which the other cores have read, so that they are here when they are
    /// changed.
    pub(super) fn will_change(&self) {
        cache::will_write(self.state.parameters);
    }
}

kernel! {
    /// Adds the slices' gradients up, in their order, and does the step, if there is one.
    ///
    /// - `slices`: (P) each
    /// - `parameters`: (P), before the step
    pub fn add_up(
        part: &mut Part<'_>,
        slices: &[&[f32]],
        parameters: &[f32],
        merged: &mut [Merged],
        step: Option<Step<'_>>,
    ) = add_up_kernel;
}

#[inline(always)]
fn add_up_kernel<T: Lanes>(
    t: T,
    part: &mut Part,
    slices: &[&[f32]],
    parameters: &[f32],
    merged: &mut [Merged],
    step: Option<Step>,
) {
    let all = part.first..part.first + part.gradients.len();
    for merged in &mut *merged {
        if !merged.within(&all).is_empty() {
            add_slices(slices, merged.place.start, &mut merged.d_merged);
        }
    }
    let mut first = part.first;
    for (mut state, gradients) in part.blocks() {
        let block = first..first + gradients.len();
        let mut rest = &mut *gradients;
        for merged in &*merged {
            let within = merged.within(&block);
            if within.is_empty() {
                continue;
            }
            let (before, behind) = rest.split_at_mut(within.start - first);
            let (d_parameters, behind) = behind.split_at_mut(within.len());
            add_slices(slices, first, before);
            merged.gradients(t, parameters, within.clone(), d_parameters);
            (first, rest) = (within.end, behind);
        }
        add_slices(slices, first, rest);
        if let Some(Step { rule, done }) = step {
            rule.update_part(done, &mut state, gradients);
        }
        first = block.end;
    }
}

/// The slices' sum of what begins at `first`, in their order.
///
/// - `slices`: (P) each
/// - `sum`: written
#[inline(always)]
fn add_slices(slices: &[&[f32]], first: usize, sum: &mut [f32]) {
    for (index, slice) in slices.iter().enumerate() {
        let numbers = &slice[first..][..sum.len()];
        match index {
            0 => sum.copy_from_slice(numbers),
            _ => {
                for (sum, number) in sum.iter_mut().zip(numbers) {
                    *sum += number;
                }
            }
        }
    }
}

kernel! {
    /// Does a step, with the gradient multiplied by `factor`.
    pub fn update(part: &mut Part<'_>, factor: f64, step: Step<'_>) = update_kernel;
}

#[inline(always)]
fn update_kernel<T: Lanes>(_: T, part: &mut Part, factor: f64, step: Step) {
    for (mut state, gradients) in part.blocks() {
        clipping::scale(gradients, factor);
        (step.rule).update_part(step.done, &mut state, gradients);
    }
}
