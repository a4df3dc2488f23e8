//! Two fully connected layers with nothing between them, which are one.
//!
//! ```text
//! y = W2 (W1 x + b1) + b2 = W x + b      W = W2 W1      b = W2 b1 + b2
//! ```
//!
//! Where the second is narrow, an image goes through `W` with far fewer multiplications than through
//! `W1` and then `W2`, and back as well: what the images of a batch add up is the gradient by `W` and
//! `b`. Those by the four parameters follow from it, by the chain rule, once a batch:
//!
//! ```text
//! d_x  = W^T d_y        d_W  = d_y x^T                  d_b  = d_y
//!
//! d_W1 = W2^T d_W       d_b1 = W2^T d_b
//! d_W2 = d_W W1^T + d_b b1^T                            d_b2 = d_b
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | `x`, `d_x` | (I) |
//! | `W1`, `d_W1`; `b1`, `d_b1` | (M, I); (M) |
//! | `W2`, `d_W2`; `b2`, `d_b2` | (O, M); (O) |
//! | `W`, `d_W`; `b`, `d_b` | (O, I); (O) |
//!
//! In memory the parameters stand one behind the other, `W1 b1 W2 b2`, and so do `W b`, of which there
//! are fewer where it is worth it: a gradient by them has room where those by the parameters will be.
//!
//! It is still two layers that are trained: their product cannot do more than one layer can, but
//! gradient descent takes another way with two.
//!
//! Source: the chain rule; the product of matrices is associative.

pub mod lanes;

use super::linear::Linear;

/// Images of a batch for which the two ways are weighed against each other.
const BATCH: u64 = 32;

/// What is computed for it must be at most so much of what two layers are, for the numbers of `W` must go
/// from core to core.
const WORTH_IT: [u64; 2] = [3, 4];

/// The sizes of both layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearLinear {
    /// From I to M.
    pub first: Linear,
    /// From M to O.
    pub second: Linear,
}

impl LinearLinear {
    /// The two as one, or `None` if they do not follow each other, or if it would not be much less to
    /// compute for a batch of 32 images.
    pub fn new(first: &Linear, second: &Linear) -> Option<Self> {
        if first.out_features != second.in_features {
            return None;
        }
        let pair = Self {
            first: *first,
            second: *second,
        };
        // A third of a step, which has three of every product: forward, and for two gradients; and of
        // merging, too, for `W`, `d_W1` and `d_W2`.
        let apart = BATCH * (first.flops() + second.flops());
        let merged = BATCH * pair.merged().flops() + pair.merging_flops();
        (WORTH_IT[1] * merged <= WORTH_IT[0] * apart).then_some(pair)
    }

    /// The one layer that they are, from I to O.
    pub fn merged(&self) -> Linear {
        Linear {
            in_features: self.first.in_features,
            out_features: self.second.out_features,
        }
    }

    /// How many numbers `W` and `b` are.
    pub fn merged_len(&self) -> usize {
        let merged = self.merged();
        merged.weight_len() + merged.out_features
    }

    /// How many numbers the parameters of both are.
    pub fn parameters_len(&self) -> usize {
        let len = |linear: &Linear| linear.weight_len() + linear.out_features;
        len(&self.first) + len(&self.second)
    }

    /// The same from I to O, with `count` features between them.
    pub fn of_features(&self, count: usize) -> Self {
        let mut pair = *self;
        pair.first.out_features = count;
        pair.second.in_features = count;
        pair
    }

    /// Floating-point operations of `W2 W1`; each of the products `d_W1` and `d_W2` takes as many.
    pub fn merging_flops(&self) -> u64 {
        self.second.flops() * self.first.in_features as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(sizes: [usize; 4]) -> Option<LinearLinear> {
        let [i, m, n, o] = sizes;
        LinearLinear::new(&Linear::new(i, m).unwrap(), &Linear::new(n, o).unwrap())
    }

    #[test]
    fn two_layers_are_one_where_that_is_less_to_compute() {
        assert!(pair([320, 50, 50, 10]).is_some());
        // A second layer that is hardly narrower, or not at all, and a first that is narrow.
        assert!(pair([1000, 1000, 1000, 30]).is_none());
        assert!(pair([320, 50, 50, 50]).is_none());
        assert!(pair([320, 10, 10, 50]).is_none());
        assert!(pair([320, 50, 49, 10]).is_none());
    }

    /// So that a gradient by the one has room where those by the two will be.
    #[test]
    fn one_layer_has_no_more_parameters_than_the_two() {
        let len = |linear: Linear| linear.out_features * (linear.in_features + 1);
        for i in 1..20 {
            for m in 1..20 {
                for o in 1..20 {
                    if let Some(pair) = pair([i, m, m, o]) {
                        assert!(pair.merged_len() <= len(pair.first) + len(pair.second));
                    }
                }
            }
        }
    }
}
