//! The mathematics: one folder a layer, one file a way of computing it.
//!
//! Each folder's `mod.rs` holds the layer's formula, its shapes and their source. Beside it:
//!
//! - `reference.rs`, the definition: plain loops over one image, in `f32` or `f64`;
//! - `im2col.rs`, where the engine of matrix products has a way of its own;
//! - `lanes.rs`, several images at once in the lanes of a register
//!   ([`crate::hardware::lanes`]), and for convolution `winograd`, the same with fewer
//!   multiplications. `conv2d_relu_max_pool2d` is the three fused, and `linear_linear` is two layers
//!   that are one;
//! - `one_image.rs`, for one image alone, with its own numbers in the lanes.
//!
//! A GPU's kernel stands in `kernels/`, a file of the folder's name.
//!
//! A `forward` takes its inputs first and its output last. The `backward` beside it takes what it
//! needs of the forward pass, then `d_y`, the gradient of the loss by the output `y`, then the
//! gradients to be filled: `d_x` is written, `d_weight` and `d_bias` are added to, because the
//! examples of a batch add up. Buffers are flat slices whose shapes are written beside them; they
//! belong to an engine, and a hand may panic on one of the wrong length.

pub mod conv2d;
pub mod conv2d_relu_max_pool2d;
pub mod cross_entropy;
pub mod dropout;
pub mod flatten;
pub mod linear;
pub mod linear_linear;
pub mod max_pool2d;
pub mod relu;
pub mod window;

use std::fmt;

use thiserror::Error;

pub use window::Window;

/// The most elements of any tensor of one image, and of all parameters together: 2^27, which is
/// half a gigabyte of `f32`.
pub const MAX_ELEMENTS: usize = 1 << 27;

/// The shape of one example between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Channels, height, width.
    Image([usize; 3]),
    /// A vector.
    Features(usize),
}

impl Shape {
    /// The number of elements. It was checked against [`MAX_ELEMENTS`] when the shape was made.
    pub fn elements(&self) -> usize {
        match self {
            Shape::Image(sizes) => sizes.iter().product(),
            Shape::Features(features) => *features,
        }
    }

    /// The sizes, as PyTorch has them behind N.
    pub fn sizes(&self) -> &[usize] {
        match self {
            Shape::Image(sizes) => sizes,
            Shape::Features(features) => std::slice::from_ref(features),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Image([channels, height, width]) => write!(f, "{channels}x{height}x{width}"),
            Shape::Features(features) => write!(f, "{features}"),
        }
    }
}

/// Why a layer does not fit its input.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Misfit {
    /// A size that must be at least 1.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// A step that no image is large enough for.
    #[error("a stride is at most {MAX_ELEMENTS}")]
    Stride,
    /// The window does not fit in the padded input.
    #[error("the kernel {} is larger than the padded input {}", by(.kernel), by(.padded))]
    Kernel {
        /// Height, width.
        kernel: [usize; 2],
        /// Height, width, padding included.
        padded: [usize; 2],
    },
    /// PyTorch's rule for pooling: a window must hold at least one real pixel.
    #[error("padding {} is more than half the kernel {}", by(.padding), by(.kernel))]
    PoolPadding {
        /// Rows, columns on each side.
        padding: [usize; 2],
        /// Height, width.
        kernel: [usize; 2],
    },
    /// More places than an exact `f32` counts, by which some engines know a window's winner.
    #[error("a pooling kernel has at most {MAX_POOLED} places")]
    PoolKernel,
    /// No share of elements that can be dropped.
    #[error("p is {0}: it must be at least 0 and below 1")]
    Probability(f64),
    /// The layer wants channels, height and width.
    #[error("it needs an image (channels x height x width)")]
    NeedsImage,
    /// The layer wants a vector.
    #[error("it needs a vector: put `flatten` before it")]
    NeedsFeatures,
    /// More elements than [`MAX_ELEMENTS`].
    #[error("its {0} would have more than {MAX_ELEMENTS} elements")]
    TooLarge(&'static str),
}

/// The most places of a pooling's window: all whole numbers up to it are exact in `f32`.
pub(crate) const MAX_POOLED: usize = 1 << 24;

fn by([height, width]: &[usize; 2]) -> String {
    format!("{height}x{width}")
}

/// The product of `sizes`, if it is within [`MAX_ELEMENTS`].
pub(crate) fn checked_elements(what: &'static str, sizes: &[usize]) -> Result<usize, Misfit> {
    sizes
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .filter(|&product| product <= MAX_ELEMENTS)
        .ok_or(Misfit::TooLarge(what))
}
