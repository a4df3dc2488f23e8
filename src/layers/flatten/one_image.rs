//! Flatten of one image whose channels stand in the lanes, each pixel's in as many vectors as they
//! need: it becomes numbers side by side.

use crate::hardware::lanes::{Lanes, kernel};

kernel! {
    /// - `x`: (H, W, C vectors)
    /// - `y`: (C H W numbers, in vectors), written
    pub fn forward(
        channels: usize,
        x: &[T::Vector],
        y: &mut [T::Vector],
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(t: T, channels: usize, x: &[T::Vector], y: &mut [T::Vector]) {
    let each = channels.next_multiple_of(T::WIDTH);
    let (x, y) = (t.numbers(x), t.numbers_mut(y));
    let pixels = x.len() / each;
    for (c, y) in y.chunks_mut(pixels).take(channels).enumerate() {
        for (y, x) in y.iter_mut().zip(x.chunks_exact(each)) {
            *y = x[c];
        }
    }
}
