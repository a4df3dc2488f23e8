//! Two-dimensional maximum pooling, as PyTorch's `nn.MaxPool2d` (sizes rounded down, no
//! dilation).
//!
//! With `x` outside the image taken as minus infinity, stride `s` and padding `p`:
//!
//! ```text
//! y[c, i, j]   = max over u, v of  x[c, i s + u - p, j s + v - p]
//! d_x[c, m, n] = sum over the windows i, j whose maximum is x[c, m, n]  of  d_y[c, i, j]
//! ```
//!
//! The pixel that a window's maximum came from is its winner. A tie belongs to the first, row by
//! row; a NaN wins over every number, so that it is seen; padding is at most half the kernel, so
//! that every window holds a pixel.
//!
//! | tensor | shape |
//! |---|---|
//! | `x`, `d_x` | (C, H, W) |
//! | `y`, `d_y`, the winners | (C, oh, ow), with `oh = floor((H + 2 p - kh) / s) + 1` |
//!
//! Source: PyTorch's documentation of `MaxPool2d`; the rules for ties and NaN are those of its
//! CPU kernel.

pub mod im2col;
pub mod lanes;
pub mod one_image;
pub mod reference;

use super::{MAX_POOLED, Misfit, Window, checked_elements};
use crate::tensor::Element;

/// The sizes of one pooling layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// C.
    pub channels: usize,
    /// Kernel, stride and padding.
    pub window: Window,
    /// H, W.
    pub input: [usize; 2],
    /// oh, ow.
    pub output: [usize; 2],
}

impl MaxPool2d {
    /// Pooling of an image of `input` (C, H, W).
    ///
    /// # Errors
    /// If a size is 0, the kernel does not fit or has more than 2^24 places, or the padding is more than
    /// half of it.
    pub fn new(input: [usize; 3], window: Window) -> Result<Self, Misfit> {
        if input.contains(&0) {
            return Err(Misfit::Zero("every size of the input"));
        }
        let [channels, height, width] = input;
        let (kernel, padding) = (window.kernel, window.padding);
        if padding[0] > kernel[0] / 2 || padding[1] > kernel[1] / 2 {
            return Err(Misfit::PoolPadding { padding, kernel });
        }
        let output = window.output([height, width])?;
        if kernel[0].saturating_mul(kernel[1]) > MAX_POOLED {
            return Err(Misfit::PoolKernel);
        }
        checked_elements("output", &[channels, output[0], output[1]])?;
        Ok(Self {
            channels,
            window,
            input: [height, width],
            output,
        })
    }

    /// (C, H, W)
    pub fn x(&self) -> [usize; 3] {
        [self.channels, self.input[0], self.input[1]]
    }

    /// (C, oh, ow)
    pub fn y(&self) -> [usize; 3] {
        [self.channels, self.output[0], self.output[1]]
    }
}

/// Whether `candidate` takes the place of `maximum`: the first of equals keeps it, NaN takes it.
#[inline(always)]
fn wins<T: Element>(candidate: T, maximum: T) -> bool {
    // Not `||`: both are one instruction, and a branch on pixels cannot be predicted.
    (candidate > maximum) | candidate.is_nan()
}
