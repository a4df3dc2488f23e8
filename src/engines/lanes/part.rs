//! A worker's part of the parameters: it adds the slices' gradients up for them and updates them, block
//! after block.

use std::ops::Range;
use std::sync::RwLock;

use super::plan::{Kind, Stage};
use crate::hardware::cache;
use crate::hardware::lanes::{Lanes, kernel};
use crate::network::Network;
use crate::optimisers::{StatePart, StepRule, clipping};

/// Parameters of a block. To write to a line of the cache that another core has read takes its time: while
/// a block's wait for theirs, the next block's gradients are computed. With gradient, moment and average
/// it has room in the nearest cache.
const BLOCK: usize = 1536;

/// Numbers in a line of the cache.
const LINE: usize = 16;

/// Cuts a network's parameters but those of bands (`bands.rs`) into `count` parts, at least one, as long
/// as each other, each a few ranges.
pub(super) fn cut(network: &Network, stages: &[Stage], count: usize) -> Vec<Vec<Range<usize>>> {
    let alone = stages
        .iter()
        .filter(|stage| !matches!(stage.kind, Kind::LinearLinear(_)));
    let stretches: Vec<_> = alone.map(|stage| stage.parameters(network)).collect();
    let total: usize = stretches.iter().map(Range::len).sum();
    // Whole lines of the cache, so that two threads write into the same one at a boundary at most.
    let cut = |n: usize| (n * total / count).next_multiple_of(LINE).min(total);
    let parts = (0..count).map(|n| {
        let mut before = 0;
        let ranges = stretches.iter().map(|stretch| {
            let place = |cut: usize| stretch.start + cut.saturating_sub(before).min(stretch.len());
            let range = place(cut(n))..place(cut(n + 1));
            before += stretch.len();
            range
        });
        ranges.filter(|range| !range.is_empty()).collect()
    });
    parts.collect()
}

/// What one worker updates, and the batch's gradient by it.
pub(super) struct Part<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
}

/// Parameters that follow each other.
pub(super) struct Piece<'a> {
    /// Which parameter is its first.
    pub(super) first: usize,
    pub(super) state: StatePart<'a, f32>,
    pub(super) gradients: &'a mut [f32],
}

/// The parts of `count` workers.
///
/// - `states`, `gradients`: (P)
pub(super) fn parts<'a>(
    network: &Network,
    stages: &[Stage],
    count: usize,
    (mut states, mut gradients): (StatePart<'a, f32>, &'a mut [f32]),
) -> Vec<RwLock<Part<'a>>> {
    let mut at = 0;
    let mut parts = Vec::with_capacity(count);
    for ranges in cut(network, stages, count) {
        let mut pieces = Vec::with_capacity(ranges.len());
        for range in ranges {
            let (_, from_here) = states.split_at(range.start - at);
            let (state, other_states) = from_here.split_at(range.len());
            let (_, from_here) = gradients.split_at_mut(range.start - at);
            let (part, other_gradients) = from_here.split_at_mut(range.len());
            pieces.push(Piece {
                first: range.start,
                state,
                gradients: part,
            });
            (states, gradients, at) = (other_states, other_gradients, range.end);
        }
        parts.push(RwLock::new(Part { pieces }));
    }
    parts
}

/// A step before which `done` were done.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) rule: &'a StepRule,
    pub(super) done: u64,
}

impl Piece<'_> {
    /// Blocks of its state and of its gradient.
    #[inline(always)]
    fn blocks(&mut self) -> impl Iterator<Item = (StatePart<'_, f32>, &mut [f32])> {
        let gradients = self.gradients.chunks_mut(BLOCK);
        self.state.parts(BLOCK).zip(gradients)
    }

    /// Gives its parameters back, which were read, to whoever will change them.
    pub(super) fn was_read(&self) {
        cache::give_back(self.state.parameters);
    }
}

impl Part<'_> {
    /// Asks for its parameters, which the other cores have read, so that they are here when they are
    /// changed.
    pub(super) fn will_change(&self) {
        for piece in &self.pieces {
            cache::will_write(piece.state.parameters);
        }
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
    for piece in &mut part.pieces {
        let mut first = piece.first;
        for (mut state, gradients) in piece.blocks() {
            add_slices(slices, first, gradients);
            first += gradients.len();
            if let Some(Step { rule, done }) = step {
                rule.update_part(done, &mut state, gradients);
            }
        }
    }
}

/// The slices' sum of what begins at `first`, in their order.
///
/// - `slices`: (P) each
/// - `sum`: written
#[inline(always)]
pub(super) fn add_slices(slices: &[&[f32]], first: usize, sum: &mut [f32]) {
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
    for piece in &mut part.pieces {
        for (mut state, gradients) in piece.blocks() {
            clipping::scale(gradients, factor);
            (step.rule).update_part(step.done, &mut state, gradients);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Convolutions, plan};
    use super::*;

    #[test]
    fn parts_have_every_parameter_but_those_of_bands_and_are_as_long_as_each_other() {
        for (text, bands) in [
            (
                "input 1x28x28, conv2d 10 5, relu, max_pool2d 2, conv2d 20 5, relu, max_pool2d 2, flatten, linear 50, linear 10",
                5280..21840,
            ),
            (
                "input 1x9x9, flatten, linear 20, relu, linear 90, linear 4, relu, linear 30",
                1640..3894,
            ),
            ("input 1x9x9, flatten, linear 50, linear 4", 0..4304),
            ("input 1x2x2, flatten, linear 2", 0..0),
            ("input 1x2x2, relu, flatten", 0..0),
        ] {
            let network = Network::new(&text.parse().unwrap(), None).unwrap();
            let stages = plan(&network, 8, Convolutions::Fastest);
            for count in 1..9 {
                let parts = cut(&network, &stages, count);
                assert_eq!(parts.len(), count);
                let mut next = 0;
                for range in parts.iter().flatten() {
                    next = if next == bands.start { bands.end } else { next };
                    assert_eq!(range.start, next, "{text} in {count}");
                    next = range.end;
                }
                next = if next == bands.start { bands.end } else { next };
                assert_eq!(next, network.parameter_count(), "{text} in {count}");
                let length = |part: &Vec<Range<usize>>| part.iter().map(Range::len).sum::<usize>();
                let even = (network.parameter_count() - bands.len()).div_ceil(count);
                assert!(
                    parts.iter().all(|part| length(part) <= even + LINE),
                    "{text}"
                );
            }
        }
    }
}
