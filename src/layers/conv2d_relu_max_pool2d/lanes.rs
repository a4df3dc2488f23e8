//! What stands behind either way of convolution with several images in the lanes: bias, ReLU and
//! pooling of two rows and two columns of outputs, which are one window.

use std::ops::Range;

use crate::hardware::lanes::{Lanes, kernel};
use crate::layers::conv2d::lanes::{Gradients, Outputs, weighted_windows};

/// Which pixel of its window each maximum came from, bit by bit for the lanes: whether it is the
/// right one, and whether it is the lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Winner {
    right: u16,
    down: u16,
}

/// The windows of channel `o` that `M` columns from `at` on fill, as they follow in (O, ph, pw); none
/// where they are all beyond the last.
#[inline(always)]
fn windows<const M: usize>(
    [height, width]: [usize; 2],
    o: usize,
    at: [usize; 2],
) -> Option<Range<usize>> {
    let [i, j] = at.map(|pixel| pixel / 2);
    if i >= height || j >= width {
        return None;
    }
    let first = (o * height + i) * width + j;
    Some(first..first + (M / 2).min(width - j))
}

/// Outputs that are pooled as they come.
#[derive(Debug)]
pub struct Pooled<'a, V> {
    /// The windows of a channel, down and across: ph, pw.
    pub size: [usize; 2],
    /// (O)
    pub bias: &'a [f32],
    /// (O, ph, pw) vectors, written.
    pub y: &'a mut [V],
    /// (O, ph, pw), written.
    pub winners: &'a mut [Winner],
}

impl<T: Lanes> Outputs<T> for Pooled<'_, T::Vector> {
    #[inline(always)]
    fn put<const M: usize>(
        &mut self,
        t: T,
        o: usize,
        at: [usize; 2],
        [above, below]: [[T::Vector; M]; 2],
    ) {
        let Some(windows) = windows::<M>(self.size, o, at) else {
            return;
        };
        let (y, winners) = (&mut self.y[windows.clone()], &mut self.winners[windows]);
        let bias = t.splat(self.bias[o]);
        for n in 0..M / 2 {
            let (Some(y), Some(winner)) = (y.get_mut(n), winners.get_mut(n)) else {
                continue;
            };
            // Of each row the larger, then of both: in the order in which a tie is decided. The bias
            // is the same for all four, and so comes after.
            let ([a, b], [c, d]) = (
                [above[2 * n], above[2 * n + 1]],
                [below[2 * n], below[2 * n + 1]],
            );
            let (top_wins, bottom_wins) = (t.wins(b, a), t.wins(d, c));
            let (top, bottom) = (t.select(top_wins, b, a), t.select(bottom_wins, d, c));
            let (top_right, bottom_right) = (t.bits(top_wins), t.bits(bottom_wins));
            let wins = t.wins(bottom, top);
            let down = t.bits(wins);
            *y = t.relu(t.add(t.select(wins, bottom, top), bias));
            let right = down & bottom_right | !down & top_right;
            *winner = Winner { right, down };
        }
    }
}

/// Gradients by the outputs of the convolution, from those behind the pooling.
#[derive(Debug)]
pub struct PooledGradients<'a, V> {
    /// ph, pw.
    pub size: [usize; 2],
    /// (O, ph, pw), from the forward pass.
    pub winners: &'a [Winner],
    /// (O, ph, pw) vectors, from [`backward_relu`].
    pub d_y: &'a [V],
}

/// Puts the gradient of window `n` where its winner is, and 0 at the other three.
#[inline(always)]
fn spread<T: Lanes, const M: usize>(
    t: T,
    winner: Winner,
    d_y: T::Vector,
    [above, below]: &mut [[T::Vector; M]; 2],
    n: usize,
) {
    let (zero, right, down) = (t.zero(), t.mask(winner.right), t.mask(winner.down));
    let (top, bottom) = (t.select(down, zero, d_y), t.select(down, d_y, zero));
    above[2 * n] = t.select(right, zero, top);
    above[2 * n + 1] = t.select(right, top, zero);
    below[2 * n] = t.select(right, zero, bottom);
    below[2 * n + 1] = t.select(right, bottom, zero);
}

impl<T: Lanes> Gradients<T> for PooledGradients<'_, T::Vector> {
    const MOSTLY_ZERO: bool = true;

    #[inline(always)]
    fn take<const M: usize>(&self, t: T, o: usize, at: [usize; 2]) -> [[T::Vector; M]; 2] {
        let mut rows = [[t.zero(); M]; 2];
        let Some(windows) = windows::<M>(self.size, o, at) else {
            return rows;
        };
        let (winners, d_y) = (&self.winners[windows.clone()], &self.d_y[windows]);
        if winners.len() == M / 2 {
            for n in 0..M / 2 {
                spread(t, winners[n], d_y[n], &mut rows, n);
            }
        } else {
            // Counted as above, so that the rows stay in registers.
            for n in 0..M / 2 {
                if let (Some(&winner), Some(&d_y)) = (winners.get(n), d_y.get(n)) {
                    spread(t, winner, d_y, &mut rows, n);
                }
            }
        }
        rows
    }

    /// Only the winner of a window has a part in it, with the weight of its row.
    #[inline(always)]
    fn weighted_rows<const M: usize>(
        &self,
        t: T,
        o: usize,
        at: [usize; 2],
        weights: [T::Vector; M],
    ) -> [T::Vector; M] {
        let (zero, [height, width], [i, j]) = (t.zero(), self.size, at.map(|pixel| pixel / 2));
        let windows = M / 2;
        if i + windows > height || j + windows > width {
            return weighted_windows(t, self, o, at, weights);
        }
        let mut sums = [zero; M];
        for (a, weights) in weights.chunks_exact(2).enumerate() {
            let first = (o * height + i + a) * width + j;
            let winners = &self.winners[first..][..windows];
            let d_y = &self.d_y[first..][..windows];
            for b in 0..windows {
                let (right, down) = (t.mask(winners[b].right), t.mask(winners[b].down));
                let weight = t.select(down, weights[1], weights[0]);
                let (at_left, at_right) =
                    (t.select(right, zero, d_y[b]), t.select(right, d_y[b], zero));
                sums[2 * b] = t.fma(weight, at_left, sums[2 * b]);
                sums[2 * b + 1] = t.fma(weight, at_right, sums[2 * b + 1]);
            }
        }
        sums
    }
}

kernel! {
    /// ReLU's part of the backward pass, and the bias's: the gradient of every winner goes to both.
    ///
    /// - `y`: (O, ph pw) vectors, from the forward pass
    /// - `d_y`: (O, ph pw) vectors, changed: 0 where ReLU lets nothing through
    /// - `sums`: (O) vectors, for a while
    /// - `d_bias`: (O), added to: the sum over all lanes
    pub fn backward_relu(
        y: &[T::Vector],
        d_y: &mut [T::Vector],
        sums: &mut [T::Vector],
        d_bias: &mut [f32],
    ) = backward_relu_kernel;
}

#[inline(always)]
fn backward_relu_kernel<T: Lanes>(
    t: T,
    y: &[T::Vector],
    d_y: &mut [T::Vector],
    sums: &mut [T::Vector],
    d_bias: &mut [f32],
) {
    let windows = y.len() / d_bias.len();
    let channels = y.chunks_exact(windows).zip(d_y.chunks_exact_mut(windows));
    for (sum, (y, d_y)) in sums.iter_mut().zip(channels) {
        for (&y, d_y) in y.iter().zip(d_y.iter_mut()) {
            *d_y = t.select(t.at_most_zero(y), t.zero(), *d_y);
        }
        *sum = t.total(d_y);
    }
    t.add_sums(&sums[..d_bias.len()], d_bias);
}
