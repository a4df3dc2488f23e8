//! Maximum pooling of one image, with its channels in the lanes: layout `(H, W, C)`, a pixel's
//! channels filling as many vectors as they need.

use super::MaxPool2d;
use crate::hardware::lanes::{Lanes, kernel};

kernel! {
    /// - `x`: (H, W, C vectors)
    /// - `y`: (oh, ow, C vectors), written
    pub fn forward(
        pool: &MaxPool2d,
        x: &[T::Vector],
        y: &mut [T::Vector],
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(t: T, pool: &MaxPool2d, x: &[T::Vector], y: &mut [T::Vector]) {
    let each = pool.channels.div_ceil(T::WIDTH);
    let ([kernel_height, kernel_width], [_, out_width]) = (pool.window.kernel, pool.output);
    for (window, y) in y.chunks_exact_mut(each).enumerate() {
        let at = [window / out_width, window % out_width];
        for (k, y) in y.iter_mut().enumerate() {
            let mut maximum = t.splat(f32::NEG_INFINITY);
            for u in 0..kernel_height {
                for v in 0..kernel_width {
                    if let Some([m, n]) = pool.window.pixel(at, [u, v], pool.input) {
                        let pixel = x[(m * pool.input[1] + n) * each + k];
                        maximum = t.select(t.wins(pixel, maximum), pixel, maximum);
                    }
                }
            }
            *y = maximum;
        }
    }
}
