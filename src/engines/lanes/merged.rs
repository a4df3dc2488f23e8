//! Two fully connected layers that are one ([`crate::layers::linear_linear`]), as a part of the flat
//! vector: the slices add up gradients by that one, which are few; every worker adds those of all
//! slices up, and makes of them what it has of the two layers'.

use std::ops::Range;

use super::plan::{Kind, Stage};
use crate::hardware::lanes::{Lanes, Numbers};
use crate::layers::linear_linear::{self, LinearLinear};
use crate::network::Network;

/// Two layers, and the gradient by the one.
pub(super) struct Merged<T: Lanes> {
    pair: LinearLinear,
    /// Where the parameters of both lie.
    pub(super) place: Range<usize>,
    /// `d_W` (O, I) and `d_b` (O): the sum over the slices, each of which has its own where `place` begins.
    pub(super) d_merged: Numbers<T>,
}

impl<T: Lanes> Merged<T> {
    /// All of a network's, in their order.
    pub(super) fn of(lanes: T, network: &Network, stages: &[Stage]) -> Vec<Self> {
        let pairs = stages.iter().filter_map(|stage| match &stage.kind {
            Kind::LinearLinear(pair) => Some(Self {
                pair: *pair,
                place: stage.parameters(network),
                d_merged: Numbers::zeros(lanes, pair.merged_len()),
            }),
            _ => None,
        });
        pairs.collect()
    }

    /// Which of `range` are parameters of the two layers.
    pub(super) fn within(&self, range: &Range<usize>) -> Range<usize> {
        let start = range.start.clamp(self.place.start, self.place.end);
        start..range.end.clamp(start, self.place.end)
    }

    /// The gradients by some of the parameters of both layers.
    ///
    /// - `parameters`: (P)
    /// - `range`: which, all of them [within](Self::within)
    /// - `d_parameters`: as many, written
    pub(super) fn gradients(
        &self,
        t: T,
        parameters: &[f32],
        range: Range<usize>,
        d_parameters: &mut [f32],
    ) {
        let (pair, d_merged, first) = (&self.pair, &self.d_merged, self.place.start);
        let parameters = &parameters[self.place.clone()];
        let range = range.start - first..range.end - first;
        linear_linear::lanes::gradients(t, pair, parameters, d_merged, range, d_parameters);
    }

    /// Makes the gradients by both layers of that by the one.
    ///
    /// - `parameters`: (P)
    /// - `d_parameters`: (P), changed where the two layers' are
    pub(super) fn split(&mut self, t: T, parameters: &[f32], d_parameters: &mut [f32]) {
        let place = self.place.clone();
        let d_parameters = &mut d_parameters[place.clone()];
        let len = self.d_merged.len();
        self.d_merged.copy_from_slice(&d_parameters[..len]);
        self.gradients(t, parameters, place, d_parameters);
    }
}
