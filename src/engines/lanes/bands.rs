//! Two fully connected layers that are one ([`crate::layers::linear_linear`]), in bands of the features
//! between them:
//!
//! ```text
//! W = W2 W1 = sum over the bands of W2[:, band] W1[band, :]
//! ```
//!
//! A band is a pair of two layers, too. One worker alone has its parameters, which stay with its core:
//! of the gradient by `W` it makes those by its own parameters, changes them, and makes of them its share
//! of `W`. Others read that share, a few thousand numbers where the parameters are tens of thousands.

use std::ops::Range;
use std::sync::RwLock;

use super::part::{Step, add_slices};
use super::plan::{Kind, Stage};
use super::read;
use crate::hardware::cache;
use crate::hardware::lanes::{Lanes, Numbers, kernel};
use crate::hardware::workers::{Panicked, Workers};
use crate::layers::linear_linear::{self, LinearLinear};
use crate::network::Network;
use crate::optimisers::{StatePart, TrainingState, clipping};

/// A pair has a band for so many parameters.
const PARAMETERS: usize = 8192;

/// The most bands of a pair, for every share more is read by all.
const MOST: usize = 16;

/// How many bands a pair has: by its shape alone, so that the same shares are added up on any number of
/// threads. Even a small one is the work of two.
fn count(pair: &LinearLinear) -> usize {
    let wanted = (pair.parameters_len() / PARAMETERS).clamp(2, MOST);
    wanted.min(pair.first.out_features)
}

/// Some of the features between two layers.
pub(super) struct Band<T: Lanes> {
    /// Both layers: the sizes of all bands together.
    whole: LinearLinear,
    /// Where their parameters lie in the flat vector, `W1 b1 W2 b2`.
    place: Range<usize>,
    /// Which features.
    features: Range<usize>,
    /// The two layers with these alone between them.
    pair: LinearLinear,
    /// `W1 b1 W2 b2` of [`Self::pair`], and what stands beside them. Of all bands the first has `b2`, for
    /// the others' it is 0.
    parameters: Numbers<T>,
    first_moment: Numbers<T>,
    second_moment: Numbers<T>,
    average: Numbers<T>,
    gradients: Numbers<T>,
    /// `d_W d_b`, summed over the slices, each of which has its own where [`Self::place`] begins.
    d_merged: Numbers<T>,
    /// Of `W` and `b`.
    share: Numbers<T>,
}

/// All bands of a network, those of a pair one after the other.
///
/// # Errors
/// If a worker panics.
pub(super) fn bands<T: Lanes>(
    t: T,
    workers: &Workers,
    network: &Network,
    stages: &[Stage],
) -> Result<Vec<RwLock<Band<T>>>, Panicked> {
    let mut bands = Vec::new();
    for stage in stages {
        let Kind::LinearLinear(whole) = stage.kind else {
            continue;
        };
        let (between, count) = (whole.first.out_features, count(&whole));
        for n in 0..count {
            let features = n * between / count..(n + 1) * between / count;
            bands.push((whole, stage.parameters(network), features));
        }
    }
    workers.make(bands.len(), |n| {
        let (whole, place, features) = bands[n].clone();
        RwLock::new(Band::new(t, whole, place, features))
    })
}

/// About how many bytes the bands are.
pub(super) fn bytes(stages: &[Stage]) -> u64 {
    let numbers = stages.iter().map(|stage| match &stage.kind {
        // Parameters, two moments, an average and a gradient; a gradient by W, and a share.
        Kind::LinearLinear(pair) => {
            5 * pair.parameters_len() as u64 + 2 * (count(pair) * pair.merged_len()) as u64
        }
        _ => 0,
    });
    4 * numbers.sum::<u64>()
}

impl<T: Lanes> Band<T> {
    fn new(t: T, whole: LinearLinear, place: Range<usize>, features: Range<usize>) -> Self {
        let pair = whole.of_features(features.len());
        let zeros = || Numbers::zeros(t, pair.parameters_len());
        let merged = || Numbers::zeros(t, pair.merged_len());
        Self {
            whole,
            place,
            features,
            pair,
            parameters: zeros(),
            first_moment: zeros(),
            second_moment: zeros(),
            average: zeros(),
            gradients: zeros(),
            d_merged: merged(),
            share: merged(),
        }
    }

    /// The k-th stretch of numbers that stand side by side in the band and in the flat vector, and where
    /// there: `W1`, `b1`, a row of `W2` after the other, and with the first band `b2`.
    fn stretch(&self, k: usize) -> Option<(Range<usize>, usize)> {
        let LinearLinear { first, second } = self.whole;
        let (inputs, between, outputs) =
            (first.in_features, first.out_features, second.out_features);
        let (mine, before) = (self.features.len(), self.features.start);
        let b1 = between * inputs;
        let w2 = b1 + between;
        let (start, len, there) = match k {
            0 => (0, mine * inputs, before * inputs),
            1 => (mine * inputs, mine, b1 + before),
            _ if k < 2 + outputs => {
                let row = k - 2;
                let start = mine * (inputs + 1) + row * mine;
                (start, mine, w2 + row * between + before)
            }
            _ if k == 2 + outputs && before == 0 => (
                self.parameters.len() - outputs,
                outputs,
                w2 + outputs * between,
            ),
            _ => return None,
        };
        Some((start..start + len, self.place.start + there))
    }

    fn stretches(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        (0..).map_while(|k| self.stretch(k))
    }

    /// How many of its parameters a step changes: the first band alone has `b2`.
    fn trained(&self) -> usize {
        match self.features.start {
            0 => self.parameters.len(),
            _ => self.parameters.len() - self.pair.second.out_features,
        }
    }

    /// Takes its parameters over, and what stands beside them.
    pub(super) fn load(&mut self, t: T, state: &TrainingState) {
        for (here, there) in self.stretches().collect::<Vec<_>>() {
            let there = there..there + here.len();
            self.parameters[here.clone()].copy_from_slice(&state.parameters[there.clone()]);
            self.first_moment[here.clone()].copy_from_slice(&state.first_moment[there.clone()]);
            self.second_moment[here.clone()].copy_from_slice(&state.second_moment[there.clone()]);
            self.average[here].copy_from_slice(&state.average[there]);
        }
        linear_linear::lanes::merge(t, &self.pair, &self.parameters, &mut self.share);
    }

    /// Gives them back, and the gradient of the last step.
    ///
    /// - `sum`: (P), written where the band's parameters are
    pub(super) fn store(&self, state: &mut TrainingState, sum: &mut [f32]) {
        for (here, there) in self.stretches() {
            let there = there..there + here.len();
            state.parameters[there.clone()].copy_from_slice(&self.parameters[here.clone()]);
            state.first_moment[there.clone()].copy_from_slice(&self.first_moment[here.clone()]);
            state.second_moment[there.clone()].copy_from_slice(&self.second_moment[here.clone()]);
            state.average[there.clone()].copy_from_slice(&self.average[here.clone()]);
            sum[there].copy_from_slice(&self.gradients[here]);
        }
    }

    /// Asks for its share, which the other cores have read, so that it is here when it is changed.
    pub(super) fn will_change(&self) {
        cache::will_write(&self.share);
    }

    /// Gives its share back, which was read, to whoever will change it.
    pub(super) fn was_read(&self) {
        cache::give_back(&self.share);
    }
}

kernel! {
    /// Adds the slices' gradients by `W` up, in their order, and makes those by the band's parameters of
    /// them.
    ///
    /// - `slices`: (P) each
    pub fn add_up(band: &mut Band<T>, slices: &[&[f32]]) = add_up_kernel;
}

#[inline(always)]
fn add_up_kernel<T: Lanes>(t: T, band: &mut Band<T>, slices: &[&[f32]]) {
    add_slices(slices, band.place.start, &mut band.d_merged);
    let (parameters, gradients) = (&band.parameters, &mut band.gradients);
    linear_linear::lanes::gradients(t, &band.pair, parameters, &band.d_merged, gradients);
}

kernel! {
    /// Does a step, with the gradient multiplied by `factor`.
    pub fn update(band: &mut Band<T>, factor: f64, step: Step<'_>) = update_kernel;
}

#[inline(always)]
fn update_kernel<T: Lanes>(t: T, band: &mut Band<T>, factor: f64, step: Step) {
    let trained = band.trained();
    let gradients = &mut band.gradients[..trained];
    clipping::scale(gradients, factor);
    let mut state = StatePart {
        parameters: &mut band.parameters[..trained],
        first_moment: &mut band.first_moment[..trained],
        second_moment: &mut band.second_moment[..trained],
        average: &mut band.average[..trained],
    };
    step.rule.update_part(step.done, &mut state, gradients);
    linear_linear::lanes::merge(t, &band.pair, &band.parameters, &mut band.share);
}

kernel! {
    /// `W` and `b` of the pair whose parameters lie at `place`, the sum of its bands' shares.
    ///
    /// - `merged`: `W` (O, I), `b` (O), written
    pub fn add_shares(bands: &[RwLock<Band<T>>], place: Range<usize>, merged: &mut [f32])
        = add_shares_kernel;
}

#[inline(always)]
fn add_shares_kernel<T: Lanes>(
    _: T,
    bands: &[RwLock<Band<T>>],
    place: Range<usize>,
    merged: &mut [f32],
) {
    for band in bands {
        let band = read(band);
        if band.place != place {
            continue;
        }
        if band.features.start == 0 {
            merged.copy_from_slice(&band.share);
        } else {
            for (sum, share) in merged.iter_mut().zip(&*band.share) {
                *sum += share;
            }
        }
    }
}

/// `squares`, and those of the gradients by a pair's parameters, in the order of the flat vector.
///
/// - `bands`: of any pairs, those at `place` are meant
pub(super) fn add_squares<T: Lanes>(
    bands: &[RwLock<Band<T>>],
    place: &Range<usize>,
    mut squares: f64,
) -> f64 {
    let mut of_pair = bands.iter().map(read).filter(|band| band.place == *place);
    let of_pair: [_; MOST] = std::array::from_fn(|_| of_pair.next());
    for k in 0.. {
        let mut any = false;
        for band in of_pair.iter().flatten() {
            if let Some((here, _)) = band.stretch(k) {
                squares = clipping::add_squares(squares, &band.gradients[here]);
                any = true;
            }
        }
        if !any {
            break;
        }
    }
    squares
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Convolutions, plan};
    use super::super::write;
    use super::*;
    use crate::hardware::lanes::Portable;

    /// Small whole numbers, of which every sum is exact.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let numbers = (seed..seed + count).map(|n| (n * 31 % 11) as f32 - 5.0);
        numbers.collect()
    }

    /// A network whose pairs have odd sizes, or one feature between them, and follow each other.
    #[test]
    fn bands_do_together_what_the_two_layers_do() {
        let t = Portable;
        let text = "input 1x9x9, flatten, linear 25, linear 3, relu, linear 40, relu, linear 41, linear 2, linear 1, linear 1";
        let network = Network::new(&text.parse().unwrap(), None).unwrap();
        let stages = plan(&network, 8, Convolutions::Fastest);
        let workers = Workers::new(2).unwrap();
        let bands = bands(t, &workers, &network, &stages).unwrap();
        assert_eq!(bands.len(), 5);
        let parameters = network.parameter_count();
        let state = TrainingState {
            parameters: numbers(parameters, 1),
            first_moment: numbers(parameters, 2),
            second_moment: numbers(parameters, 3),
            average: numbers(parameters, 4),
            steps: 5,
        };
        let slices = [numbers(parameters, 6), numbers(parameters, 9)];
        for band in &bands {
            write(band).load(t, &state);
            add_up(t, &mut write(band), &[&slices[0], &slices[1]]);
        }
        let mut found = TrainingState::from_parameters(vec![f32::NAN; parameters]);
        let mut sum = vec![f32::NAN; parameters];
        for band in &bands {
            read(band).store(&mut found, &mut sum);
        }
        for stage in &stages {
            let place = stage.parameters(&network);
            let Kind::LinearLinear(pair) = &stage.kind else {
                assert!(sum[place].iter().all(|number| number.is_nan()));
                continue;
            };
            for (found, state) in [
                (&found.parameters, &state.parameters),
                (&found.first_moment, &state.first_moment),
                (&found.second_moment, &state.second_moment),
                (&found.average, &state.average),
            ] {
                assert_eq!(found[place.clone()], state[place.clone()]);
            }
            let mut merged = vec![f32::NAN; pair.merged_len()];
            add_shares(t, &bands, place.clone(), &mut merged);
            let mut expected = merged.clone();
            let parameters = &state.parameters[place.clone()];
            linear_linear::lanes::merge(t, pair, parameters, &mut expected);
            assert_eq!(merged, expected);

            let added = stage.added(&network);
            let d_merged = slices[0][added.clone()].iter().zip(&slices[1][added]);
            let d_merged: Vec<_> = d_merged.map(|(a, b)| a + b).collect();
            let mut expected = vec![f32::NAN; place.len()];
            linear_linear::lanes::gradients(t, pair, parameters, &d_merged, &mut expected);
            assert_eq!(sum[place.clone()], expected);
        }

        // None of these sums is exact, so that another order is another sum.
        let slice: Vec<_> = (0..parameters).map(|n| (n as f32).sin()).collect();
        for band in &bands {
            add_up(t, &mut write(band), &[&slice]);
            read(band).store(&mut found, &mut sum);
        }
        for stage in &stages {
            let place = stage.parameters(&network);
            if matches!(stage.kind, Kind::LinearLinear(_)) {
                let squares = clipping::add_squares(0.1, &sum[place.clone()]);
                assert_eq!(
                    add_squares(&bands, &place, 0.1).to_bits(),
                    squares.to_bits()
                );
            }
        }
    }
}
