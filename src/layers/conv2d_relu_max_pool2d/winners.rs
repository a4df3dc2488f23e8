//! The gradient by the weight from the winners alone, with several images in the lanes.
//!
//! Of the four outputs in a window only the winner has a gradient, so three of four products of the
//! dense formula are with 0. But each image has a winner of its own: in every lane the filter
//! lies elsewhere. So for each tap the lanes' pixels are selected first, by row and then by
//! column, and multiplied once:
//!
//! ```text
//! d_weight[o, c, u, v] += sum over windows i, j of  d_y[o, i, j] x[c, 2 i + down + u, 2 j + right + v]
//! ```
//!
//! `r (r + 1) + r^2` selections and `r^2` multiply-adds a window stand against `4 r^2`
//! multiply-adds. With one input channel that is less than Winograd's transforms take; with
//! more, whose products share those, it is not.

use super::lanes::Winner;
use crate::hardware::lanes::{Lanes, kernel};
use crate::layers::conv2d::Conv2d;
use crate::layers::conv2d::lanes::{frame_len, pad, padded};

/// Whether this is the faster way, where no gradient by the input is wanted.
pub fn fits(conv: &Conv2d) -> bool {
    conv.in_channels == 1
        && matches!(conv.window.kernel, [3, 3] | [5, 5])
        && conv.window.stride == [1, 1]
}

/// How many vectors are needed for a while: the padded input.
pub fn scratch_len(conv: &Conv2d) -> usize {
    frame_len(conv)
}

kernel! {
    /// - `x`: (C, H, W) vectors
    /// - `winners`: (O, ph, pw), from the forward pass
    /// - `d_y`: (O, ph, pw) vectors, from [`super::lanes::backward_relu`]
    /// - `pooled`: ph, pw
    /// - `scratch`: [`scratch_len`] vectors
    /// - `d_weight`: (O, C, kh, kw), added to: the sum over all lanes
    ///
    /// # Panics
    /// If the convolution does not [`fits`].
    pub fn backward_weight(
        conv: &Conv2d,
        x: &[T::Vector],
        winners: &[Winner],
        d_y: &[T::Vector],
        pooled: [usize; 2],
        scratch: &mut [T::Vector],
        d_weight: &mut [f32],
    ) = backward_weight_kernel;
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
fn backward_weight_kernel<T: Lanes>(
    t: T,
    conv: &Conv2d,
    x: &[T::Vector],
    winners: &[Winner],
    d_y: &[T::Vector],
    pooled: [usize; 2],
    scratch: &mut [T::Vector],
    d_weight: &mut [f32],
) {
    assert!(fits(conv), "a convolution that suits");
    let frame = &mut scratch[..frame_len(conv)];
    let x = if frame.is_empty() {
        x
    } else {
        pad(t, conv, x, frame);
        &*frame
    };
    let (width, [r, _]) = (padded(conv)[1], conv.window.kernel);
    let windows = pooled[0] * pooled[1];
    for (o, d_weight) in d_weight.chunks_exact_mut(r * r).enumerate() {
        let (winners, d_y) = (&winners[o * windows..], &d_y[o * windows..]);
        let (winners, d_y) = (&winners[..windows], &d_y[..windows]);
        // As many rows of taps at once as there are registers for.
        match (r, T::ROWS) {
            (3, _) => rows::<T, 3, 3>(t, x, width, winners, d_y, pooled, 0, d_weight),
            (_, 5) => {
                let (upper, lower) = d_weight.split_at_mut(3 * r);
                rows::<T, 3, 5>(t, x, width, winners, d_y, pooled, 0, upper);
                rows::<T, 2, 5>(t, x, width, winners, d_y, pooled, 3, lower);
            }
            _ => {
                for (u, d_weight) in d_weight.chunks_exact_mut(5).enumerate() {
                    rows::<T, 1, 5>(t, x, width, winners, d_y, pooled, u, d_weight);
                }
            }
        }
    }
}

/// `U` rows of `R` taps of one filter, from row `first` on.
///
/// - `x`: (H, W) of the padded input, W being `width`
/// - `winners`, `d_y`: (ph, pw)
/// - `d_weight`: (U, R), added to
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
fn rows<T: Lanes, const U: usize, const R: usize>(
    t: T,
    x: &[T::Vector],
    width: usize,
    winners: &[Winner],
    d_y: &[T::Vector],
    pooled: [usize; 2],
    first: usize,
    d_weight: &mut [f32],
) {
    let mut sums = [[t.zero(); R]; U];
    for i in 0..pooled[0] {
        let x = &x[(2 * i + first) * width..][..(U + 1) * width]; // x: (U + 1, W)
        let windows = i * pooled[1]..(i + 1) * pooled[1];
        let row = winners[windows.clone()].iter().zip(&d_y[windows]);
        for (j, (winner, &d_y)) in row.enumerate() {
            let (right, down) = (t.mask(winner.right), t.mask(winner.down));
            // Column after column, so that every pixel is read once.
            let mut before = [t.zero(); U];
            for v in 0..=R {
                let mut above = x[2 * j + v];
                for u in 0..U {
                    let below = x[(u + 1) * width + 2 * j + v];
                    let pixel = t.select(down, below, above);
                    if v > 0 {
                        let pixel = t.select(right, pixel, before[u]);
                        sums[u][v - 1] = t.fma(d_y, pixel, sums[u][v - 1]);
                    }
                    (before[u], above) = (pixel, below);
                }
            }
        }
    }
    t.add_sums(sums.as_flattened(), d_weight);
}
