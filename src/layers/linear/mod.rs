//! A fully connected layer, as PyTorch's `nn.Linear`.
//!
//! ```text
//! y[o]           = bias[o] + sum over i of weight[o, i] x[i]
//!
//! d_weight[o, i] = d_y[o] x[i]
//! d_bias[o]      = d_y[o]
//! d_x[i]         = sum over o of weight[o, i] d_y[o]
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | `x`, `d_x` | (I) |
//! | `weight`, `d_weight` | (O, I) |
//! | `bias`, `d_bias`, `y`, `d_y` | (O) |
//!
//! Source: Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5; PyTorch's
//! documentation of `Linear` for the layout of the weight.

pub mod im2col;
pub mod lanes;
pub mod one_image;
pub mod reference;

use super::{Misfit, checked_elements};

/// The sizes of one fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// I.
    pub in_features: usize,
    /// O.
    pub out_features: usize,
}

impl Linear {
    /// A layer from `in_features` to `out_features`.
    ///
    /// # Errors
    /// If there is no output, or the weight would be too large.
    pub fn new(in_features: usize, out_features: usize) -> Result<Self, Misfit> {
        if out_features == 0 {
            return Err(Misfit::Zero("the number of output features"));
        }
        checked_elements("weight", &[in_features, out_features])?;
        Ok(Self {
            in_features,
            out_features,
        })
    }

    /// (O, I)
    pub fn weight(&self) -> [usize; 2] {
        [self.out_features, self.in_features]
    }

    /// How many numbers the weight has.
    pub fn weight_len(&self) -> usize {
        self.out_features * self.in_features
    }

    /// Floating-point operations of one example's forward pass; each of the two products of the
    /// backward pass takes as many.
    pub fn flops(&self) -> u64 {
        2 * self.in_features as u64 * self.out_features as u64
    }
}
