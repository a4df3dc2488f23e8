//! Maximum pooling as its definition says it.

use ndarray::ArrayView3;

use super::{MaxPool2d, wins};
use crate::tensor::{Element, view, view_mut};

/// The pixel (m, n) of channel `c` that is the maximum of window `at`.
fn winner<T: Element>(pool: &MaxPool2d, x: &ArrayView3<T>, c: usize, at: [usize; 2]) -> [usize; 2] {
    let mut winner = None::<[usize; 2]>;
    for u in 0..pool.window.kernel[0] {
        for v in 0..pool.window.kernel[1] {
            if let Some([m, n]) = pool.window.pixel(at, [u, v], pool.input)
                && winner.is_none_or(|[a, b]| wins(x[[c, m, n]], x[[c, a, b]]))
            {
                winner = Some([m, n]);
            }
        }
    }
    winner.expect("padding is at most half the kernel, so every window holds a pixel")
}

/// By how much each window's maximum exceeds the other pixels of the window.
pub(crate) fn leads<T: Element>(pool: &MaxPool2d, x: &[T]) -> impl Iterator<Item = f64> {
    let x = view(pool.x(), x);
    let windows = ndarray::indices(pool.y()).into_iter();
    windows.flat_map(move |(c, i, j)| {
        let best = winner(pool, &x, c, [i, j]);
        let maximum = x[[c, best[0], best[1]]];
        let places = ndarray::indices(pool.window.kernel).into_iter();
        let others: Vec<f64> = places
            .filter_map(|(u, v)| pool.window.pixel([i, j], [u, v], pool.input))
            .filter(|&pixel| pixel != best)
            .map(|[m, n]| (maximum - x[[c, m, n]]).as_f64())
            .collect();
        others
    })
}

/// - `x`: (C, H, W)
/// - `y`: (C, oh, ow), written
pub fn forward<T: Element>(pool: &MaxPool2d, x: &[T], y: &mut [T]) {
    let x = view(pool.x(), x);
    for ((c, i, j), y) in view_mut(pool.y(), y).indexed_iter_mut() {
        let [m, n] = winner(pool, &x, c, [i, j]);
        *y = x[[c, m, n]];
    }
}

/// - `x`: (C, H, W)
/// - `d_y`: (C, oh, ow)
/// - `d_x`: (C, H, W), written
pub fn backward<T: Element>(pool: &MaxPool2d, x: &[T], d_y: &[T], d_x: &mut [T]) {
    let x = view(pool.x(), x);
    let mut d_x = view_mut(pool.x(), d_x);
    d_x.fill(T::zero());
    for ((c, i, j), &d_y) in view(pool.y(), d_y).indexed_iter() {
        let [m, n] = winner(pool, &x, c, [i, j]);
        d_x[[c, m, n]] += d_y;
    }
}
