//! A worker's part of the parameters: it adds the slices' gradients up for them and updates them, block
//! after block.

use std::ops::Range;

use super::merged::Merged;
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

/// To update a parameter takes about as long as so many multiply-adds, most of it to get its line from
/// another core.
const UPDATE: u64 = 40;

/// Stretches of a network's parameters, and how many multiply-adds each parameter there takes.
fn stretches(network: &Network, stages: &[Stage]) -> Vec<(Range<usize>, u64)> {
    let mut stretches = Vec::new();
    for stage in stages {
        let place = stage.parameters(network);
        if let Kind::LinearLinear(pair) = &stage.kind {
            let [first, second] = pair.each_gradient();
            let cut = network.layers()[stage.layer].bias.end;
            stretches.push((place.start..cut, UPDATE + first as u64));
            stretches.push((cut..place.end, UPDATE + second as u64));
        } else {
            stretches.push((place, UPDATE));
        }
    }
    stretches
}

/// Cuts a network's parameters into `count` parts, at least one, which take about as long each.
pub(super) fn cut(network: &Network, stages: &[Stage], count: usize) -> Vec<Range<usize>> {
    let stretches = stretches(network, stages);
    let time = |(place, each): &(Range<usize>, u64)| place.len() as u64 * each;
    let total: u64 = stretches.iter().map(time).sum();
    let all = network.parameter_count();
    let (mut cuts, mut before) = (vec![0], 0);
    for stretch in &stretches {
        let (place, each) = stretch;
        loop {
            let wanted = cuts.len() as u64 * total / count as u64;
            if cuts.len() == count || wanted >= before + time(stretch) {
                break;
            }
            // Whole lines of the cache, so that two threads write into the same one at a boundary at most.
            let cut = place.start + ((wanted - before) / each) as usize;
            cuts.push(cut.next_multiple_of(LINE).min(all));
        }
        before += time(stretch);
    }
    cuts.resize(count, all);
    cuts.push(all);
    cuts.windows(2).map(|cut| cut[0]..cut[1]).collect()
}

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

    /// Gives its parameters back, which were read, to whoever will change them.
    pub(super) fn was_read(&self) {
        cache::give_back(self.state.parameters);
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
        merged: &mut [Merged<T>],
        step: Option<Step<'_>>,
    ) = add_up_kernel;
}

#[inline(always)]
fn add_up_kernel<T: Lanes>(
    t: T,
    part: &mut Part,
    slices: &[&[f32]],
    parameters: &[f32],
    merged: &mut [Merged<T>],
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

#[cfg(test)]
mod tests {
    use super::super::plan::{Convolutions, plan};
    use super::*;

    #[test]
    fn parts_have_every_parameter_and_take_about_as_long_each() {
        for (text, enough) in [
            (
                "input 1x28x28, conv2d 10 5, relu, max_pool2d 2, conv2d 20 5, relu, max_pool2d 2, flatten, linear 50, linear 10",
                true,
            ),
            (
                "input 1x9x9, flatten, linear 20, linear 4, relu, linear 30, linear 3",
                false,
            ),
            ("input 1x2x2, flatten, linear 2", false),
            ("input 1x2x2, relu, flatten", false),
        ] {
            let network = Network::new(&text.parse().unwrap(), None).unwrap();
            let stages = plan(&network, 8, Convolutions::Fastest);
            let stretches = stretches(&network, &stages);
            for count in 1..9 {
                let parts = cut(&network, &stages, count);
                assert_eq!(parts.len(), count);
                assert_eq!(parts[0].start, 0);
                assert_eq!(parts[count - 1].end, network.parameter_count());
                assert!(parts.windows(2).all(|two| two[0].end == two[1].start));
                let times = parts.iter().map(|part| -> u64 {
                    let within = |place: &Range<usize>| {
                        place
                            .end
                            .min(part.end)
                            .saturating_sub(place.start.max(part.start))
                            as u64
                    };
                    stretches
                        .iter()
                        .map(|(place, each)| within(place) * each)
                        .sum()
                });
                let (least, most) = (times.clone().min().unwrap(), times.max().unwrap());
                // A line of those that take longest.
                assert!(
                    !enough || most - least <= 2 * LINE as u64 * 360,
                    "{count} parts"
                );
            }
        }
    }
}
