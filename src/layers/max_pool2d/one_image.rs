//! Maximum pooling of one image, with neighbouring pixels in the lanes: first over the rows of a
//! line of windows, then over the columns of each.

use super::{MaxPool2d, wins};
use crate::hardware::lanes::{Lanes, kernel};

kernel! {
    /// - `x`: (C, H, W), and at least one vector more behind, which is not used
    /// - `row`: (W), filled up to whole vectors, for a while
    /// - `y`: (C, oh, ow), written
    pub fn forward(
        pool: &MaxPool2d,
        x: &[f32],
        row: &mut [f32],
        y: &mut [f32],
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(t: T, pool: &MaxPool2d, x: &[f32], row: &mut [f32], y: &mut [f32]) {
    let ([height, width], [out_height, out_width]) = (pool.input, pool.output);
    // The pixels under a window, along an axis: at least one.
    let under = |axis: usize, at: usize| {
        let (start, border) = (at * pool.window.stride[axis], pool.window.padding[axis]);
        let end = start + pool.window.kernel[axis] - border;
        start.saturating_sub(border)..end.min(pool.input[axis])
    };
    for (line, y) in y
        .chunks_exact_mut(out_width)
        .take(pool.channels * out_height)
        .enumerate()
    {
        let x = &x[line / out_height * height * width..];
        let rows = under(0, line % out_height);
        for j in (0..width).step_by(T::WIDTH) {
            let mut maximum = t.load(&x[rows.start * width + j..]);
            for i in rows.start + 1..rows.end {
                maximum = t.max(t.load(&x[i * width + j..]), maximum);
            }
            t.store(maximum, &mut row[j..][..T::WIDTH]);
        }
        for (j, y) in y.iter_mut().enumerate() {
            let pixels = &row[under(1, j)];
            let larger = |a, &b| if wins(b, a) { b } else { a };
            *y = pixels[1..].iter().fold(pixels[0], larger);
        }
    }
}
