//! Convolution, ReLU and 2x2 maximum pooling as one, where they follow each other: what the
//! convolution gives is pooled in registers, and never written.
//!
//! ```text
//! y   = max_pool2d(relu(conv2d(x)))
//! d_c = d_y at the winner of a window, 0 elsewhere and where y <= 0    d_c: what conv2d's backward takes
//! ```
//!
//! The maximum of a window behind ReLU is ReLU of its maximum before, and where that is not above
//! 0 no gradient comes through, which `y` shows: ReLU needs no backward pass of its own. In the lanes a
//! winner is two bits: its column and its row in the window.

pub mod lanes;

use super::max_pool2d::MaxPool2d;

/// Whether `pool` can be fused: windows of 2x2 that touch, without a border.
pub fn fits(pool: &MaxPool2d) -> bool {
    let window = &pool.window;
    window.kernel == [2, 2] && window.stride == [2, 2] && window.padding == [0, 0]
}
