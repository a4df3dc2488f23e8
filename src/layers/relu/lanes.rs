//! ReLU with several images in the lanes.

use crate::hardware::lanes::{Lanes, kernel};

kernel! {
    /// - `x`: vectors of any shape
    /// - `y`: the same shape, written
    pub fn forward(
        x: &[T::Vector],
        y: &mut [T::Vector],
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(t: T, x: &[T::Vector], y: &mut [T::Vector]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = t.relu(x);
    }
}

kernel! {
    /// - `x`: vectors of any shape
    /// - `d_y`: the same shape
    /// - `d_x`: the same shape, written
    pub fn backward(
        x: &[T::Vector],
        d_y: &[T::Vector],
        d_x: &mut [T::Vector],
    ) = backward_kernel;
}

#[inline(always)]
fn backward_kernel<T: Lanes>(t: T, x: &[T::Vector], d_y: &[T::Vector], d_x: &mut [T::Vector]) {
    for ((d_x, &d_y), &x) in d_x.iter_mut().zip(d_y).zip(x) {
        *d_x = t.select(t.through_relu(x), d_y, t.zero());
    }
}
