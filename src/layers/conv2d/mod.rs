//! Two-dimensional convolution, as PyTorch's `nn.Conv2d` (cross-correlation: no kernel is
//! flipped).
//!
//! With `x` outside the image taken as 0, stride `s` and padding `p`:
//!
//! ```text
//! y[o, i, j] = bias[o] + sum over c, u, v of  weight[o, c, u, v] x[c, i s + u - p, j s + v - p]
//!
//! d_weight[o, c, u, v] = sum over i, j of     d_y[o, i, j] x[c, i s + u - p, j s + v - p]
//! d_bias[o]            = sum over i, j of     d_y[o, i, j]
//! d_x[c, m, n]         = sum over o, i, j, u, v with i s + u - p = m and j s + v - p = n
//!                        of                   weight[o, c, u, v] d_y[o, i, j]
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | `x`, `d_x` | (C, H, W) |
//! | `weight`, `d_weight` | (O, C, kh, kw) |
//! | `bias`, `d_bias` | (O) |
//! | `y`, `d_y` | (O, oh, ow), with `oh = floor((H + 2 p - kh) / s) + 1` |
//!
//! Source: Dumoulin and Visin, *A guide to convolution arithmetic for deep learning* (2016), for
//! the sizes; PyTorch's documentation of `Conv2d` for the conventions.

pub mod im2col;
pub mod lanes;
pub mod one_image;
pub mod reference;
pub mod winograd;

use super::{Misfit, Window, checked_elements};

/// The sizes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// C.
    pub in_channels: usize,
    /// O.
    pub out_channels: usize,
    /// Kernel, stride and padding.
    pub window: Window,
    /// H, W.
    pub input: [usize; 2],
    /// oh, ow.
    pub output: [usize; 2],
}

impl Conv2d {
    /// A convolution of an image of `input` (C, H, W) to `out_channels` channels.
    ///
    /// # Errors
    /// If a size is 0, the kernel does not fit, or a tensor would be too large.
    pub fn new(input: [usize; 3], out_channels: usize, window: Window) -> Result<Self, Misfit> {
        let [in_channels, height, width] = input;
        if input.contains(&0) {
            return Err(Misfit::Zero("every size of the input"));
        }
        if out_channels == 0 {
            return Err(Misfit::Zero("the number of output channels"));
        }
        let output = window.output([height, width])?;
        let [kernel_height, kernel_width] = window.kernel;
        let weight = [out_channels, in_channels, kernel_height, kernel_width];
        checked_elements("weight", &weight)?;
        let places = [
            in_channels,
            kernel_height,
            kernel_width,
            output[0],
            output[1],
        ];
        checked_elements("matrix of columns", &places)?;
        checked_elements("output", &[out_channels, output[0], output[1]])?;
        Ok(Self {
            in_channels,
            out_channels,
            window,
            input: [height, width],
            output,
        })
    }

    /// (C, H, W)
    pub fn x(&self) -> [usize; 3] {
        [self.in_channels, self.input[0], self.input[1]]
    }

    /// (O, C, kh, kw)
    pub fn weight(&self) -> [usize; 4] {
        let [height, width] = self.window.kernel;
        [self.out_channels, self.in_channels, height, width]
    }

    /// (O, oh, ow)
    pub fn y(&self) -> [usize; 3] {
        [self.out_channels, self.output[0], self.output[1]]
    }

    /// How many numbers go into one output: C kh kw, PyTorch's `fan_in`.
    pub fn fan_in(&self) -> usize {
        self.in_channels * self.window.kernel[0] * self.window.kernel[1]
    }

    /// How many windows there are: oh ow.
    pub fn windows(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Floating-point operations of one image's forward pass; each of the two products of the
    /// backward pass takes as many.
    pub fn flops(&self) -> u64 {
        2 * self.out_channels as u64 * self.fan_in() as u64 * self.windows() as u64
    }
}
