//! What stands behind either way of convolution with several images in the lanes: bias, ReLU and
//! pooling of two rows and two columns of outputs, which are one window.

use crate::hardware::lanes::{Lanes, kernel};
use crate::layers::conv2d::lanes::{Gradients, Outputs, weighted_windows};

/// Which pixel of its window each maximum came from, bit by bit for the lanes: whether it is the
/// right one, and whether it is the lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Winner {
    pub(super) right: u16,
    pub(super) down: u16,
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
    fn put(&mut self, t: T, o: usize, at: [usize; 2], pixels: [[T::Vector; 2]; 2]) {
        let ([height, width], [i, j]) = (self.size, at.map(|pixel| pixel / 2));
        if i >= height || j >= width {
            return;
        }
        // Of each row the larger, then of both: in the order in which a tie is decided. The bias is
        // the same for all four, and so comes after.
        let [[a, b], [c, d]] = pixels;
        let (top_wins, bottom_wins) = (t.wins(b, a), t.wins(d, c));
        let (top, bottom) = (t.select(top_wins, b, a), t.select(bottom_wins, d, c));
        let (top_right, bottom_right) = (t.bits(top_wins), t.bits(bottom_wins));
        let wins = t.wins(bottom, top);
        let down = t.bits(wins);
        let window = (o * height + i) * width + j;
        let maximum = t.add(t.select(wins, bottom, top), t.splat(self.bias[o]));
        self.y[window] = t.relu(maximum);
        let right = down & bottom_right | !down & top_right;
        self.winners[window] = Winner { right, down };
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

impl<T: Lanes> Gradients<T> for PooledGradients<'_, T::Vector> {
    const MOSTLY_ZERO: bool = true;

    #[inline(always)]
    fn take(&self, t: T, o: usize, at: [usize; 2]) -> [[T::Vector; 2]; 2] {
        let (zero, [height, width], [i, j]) = (t.zero(), self.size, at.map(|pixel| pixel / 2));
        if i >= height || j >= width {
            return [[zero; 2]; 2];
        }
        let window = (o * height + i) * width + j;
        let Winner { right, down } = self.winners[window];
        let (right, down) = (t.mask(right), t.mask(down));
        let d_y = self.d_y[window];
        let (top, bottom) = (t.select(down, zero, d_y), t.select(down, d_y, zero));
        [
            [t.select(right, zero, top), t.select(right, top, zero)],
            [t.select(right, zero, bottom), t.select(right, bottom, zero)],
        ]
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
