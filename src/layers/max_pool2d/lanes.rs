//! Maximum pooling with several images in the lanes: each has a winner of its own.

use super::MaxPool2d;
use crate::hardware::lanes::{Lanes, kernel};

/// Calls `visit` with every window and each of its places that lies on the image: the window's
/// index, the place's index in the window, and the pixel's.
#[inline(always)]
fn for_each_place(pool: &MaxPool2d, mut visit: impl FnMut(usize, usize, usize)) {
    let ([height, width], [out_height, out_width]) = (pool.input, pool.output);
    let [kernel_height, kernel_width] = pool.window.kernel;
    for c in 0..pool.channels {
        for i in 0..out_height {
            for j in 0..out_width {
                let window = (c * out_height + i) * out_width + j;
                for u in 0..kernel_height {
                    for v in 0..kernel_width {
                        if let Some([m, n]) = pool.window.pixel([i, j], [u, v], pool.input) {
                            visit(window, u * kernel_width + v, (c * height + m) * width + n);
                        }
                    }
                }
            }
        }
    }
}

kernel! {
    /// - `x`: (C, H, W) vectors
    /// - `y`: (C, oh, ow) vectors, written
    /// - `winners`: (C, oh, ow) vectors, written: which place of its window each maximum came from
    pub fn forward(
        pool: &MaxPool2d,
        x: &[T::Vector],
        y: &mut [T::Vector],
        winners: &mut [T::Vector],
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(
    t: T,
    pool: &MaxPool2d,
    x: &[T::Vector],
    y: &mut [T::Vector],
    winners: &mut [T::Vector],
) {
    // Below every place, so that a window's first place always wins.
    winners.fill(t.splat(-1.0));
    for_each_place(pool, |window, place, pixel| {
        let (maximum, winner) = (&mut y[window], &mut winners[window]);
        // Exact: a kernel has at most 2^24 places.
        let place = t.splat(place as f32);
        let first = t.equal(*winner, t.splat(-1.0));
        let wins = t.wins(x[pixel], *maximum);
        let new = |mask, new, old| t.select(mask, new, old);
        *maximum = new(first, x[pixel], new(wins, x[pixel], *maximum));
        *winner = new(first, place, new(wins, place, *winner));
    });
}

kernel! {
    /// - `winners`: (C, oh, ow) vectors, from the forward pass
    /// - `d_y`: (C, oh, ow) vectors
    /// - `d_x`: (C, H, W) vectors, written
    pub fn backward(
        pool: &MaxPool2d,
        winners: &[T::Vector],
        d_y: &[T::Vector],
        d_x: &mut [T::Vector],
    ) = backward_kernel;
}

#[inline(always)]
fn backward_kernel<T: Lanes>(
    t: T,
    pool: &MaxPool2d,
    winners: &[T::Vector],
    d_y: &[T::Vector],
    d_x: &mut [T::Vector],
) {
    d_x.fill(t.zero());
    for_each_place(pool, |window, place, pixel| {
        let won = t.equal(winners[window], t.splat(place as f32));
        d_x[pixel] = t.add(d_x[pixel], t.select(won, d_y[window], t.zero()));
    });
}
