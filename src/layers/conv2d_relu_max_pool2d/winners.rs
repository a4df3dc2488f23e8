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
use crate::hardware::lanes::{Lanes, kernel, tiles, with_rows};
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
    // As many channels at once, which share the pixels that are read, as there are registers for.
    let most = if T::ROWS == 5 { 4 } else { 2 };
    for channels in tiles(conv.out_channels, most) {
        with_rows!(channels.len(), at most most, of 1 2 3 4, N => {
            let windows = Windows::<T, N>::of(winners, d_y, pooled, channels.start);
            let d_weight = &mut d_weight[channels.start * r * r..][..N * r * r];
            for u in 0..r {
                let x = &x[u * width..];
                match r {
                    3 => row::<T, 3, 4, N>(t, x, width, &windows, &mut d_weight[u * r..]),
                    _ => row::<T, 5, 6, N>(t, x, width, &windows, &mut d_weight[u * r..]),
                }
            }
        });
    }
}

/// The windows of `N` output channels.
struct Windows<'a, T: Lanes, const N: usize> {
    /// ph, pw.
    size: [usize; 2],
    /// (ph, pw) each.
    winners: [&'a [Winner]; N],
    /// (ph, pw) each.
    d_y: [&'a [T::Vector]; N],
}

impl<'a, T: Lanes, const N: usize> Windows<'a, T, N> {
    /// Those of the channels from `first` on.
    #[inline(always)]
    fn of(winners: &'a [Winner], d_y: &'a [T::Vector], size: [usize; 2], first: usize) -> Self {
        let count = size[0] * size[1];
        let mut windows = Self {
            size,
            winners: [&[]; N],
            d_y: [&[]; N],
        };
        for n in 0..N {
            windows.winners[n] = &winners[(first + n) * count..][..count];
            windows.d_y[n] = &d_y[(first + n) * count..][..count];
        }
        windows
    }
}

/// One row of `R` taps of every channel's filter. The winners of a window reach over `C` columns, one
/// more than `R`.
///
/// - `x`: (H, W) of the padded input from the taps' row on, W being `width`
/// - `d_weight`: the row in each of N filters (R, R), added to
#[inline(always)]
fn row<T: Lanes, const R: usize, const C: usize, const N: usize>(
    t: T,
    x: &[T::Vector],
    width: usize,
    windows: &Windows<T, N>,
    d_weight: &mut [f32],
) {
    let [height, across] = windows.size;
    let mut sums = [[t.zero(); R]; N];
    for i in 0..height {
        for j in 0..across {
            let above = columns::<_, C>(x, 2 * i * width + 2 * j);
            let below = columns::<_, C>(x, (2 * i + 1) * width + 2 * j);
            let window = i * across + j;
            for (n, sums) in sums.iter_mut().enumerate() {
                let winner = windows.winners[n][window];
                let (right, down) = (t.mask(winner.right), t.mask(winner.down));
                let d_y = windows.d_y[n][window];
                let mut pixels = [t.zero(); C];
                for v in 0..C {
                    pixels[v] = t.select(down, below[v], above[v]);
                }
                for v in 0..R {
                    let pixel = t.select(right, pixels[v + 1], pixels[v]);
                    sums[v] = t.fma(d_y, pixel, sums[v]);
                }
            }
        }
    }
    for (sums, d_weight) in sums.iter().zip(d_weight.chunks_mut(R * R)) {
        t.add_sums(sums, &mut d_weight[..R]);
    }
}

/// `C` neighbours from `first` on.
#[inline(always)]
fn columns<V, const C: usize>(x: &[V], first: usize) -> &[V; C] {
    x[first..first + C].try_into().expect("C elements")
}
