//! Dropout, as PyTorch's `nn.Dropout`: in training, each element is dropped with probability `p`,
//! and what is left is scaled up, so that its expectation stays; else nothing is changed.
//!
//! ```text
//! y   = m x / (1 - p),   d_x = m d_y / (1 - p)      in training: m is 0 with probability p, else 1
//! y   = x                                           else
//! ```
//!
//! All tensors are of one shape. The mask `m` is kept nowhere: it is a pure function of the seed,
//! the step, the layer, the example and the element ([`crate::random`]), drawn again for the
//! backward pass. Four elements share one draw of four words; an element is dropped if its word
//! is below `p 2^32`.
//!
//! Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, *Dropout: A Simple Way to
//! Prevent Neural Networks from Overfitting*, JMLR 2014, scaled in training as PyTorch does it.

pub mod lanes;
pub mod reference;

use std::ops::Range;

use super::Misfit;
use crate::random::{Purpose, Stream};

/// A dropout layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability that an element is dropped.
    pub p: f64,
}

impl Dropout {
    /// A layer that drops each element with probability `p`.
    ///
    /// # Errors
    /// If `p` is not at least 0 and below 1.
    pub fn new(p: f64) -> Result<Self, Misfit> {
        if (0.0..1.0).contains(&p) {
            Ok(Self { p })
        } else {
            Err(Misfit::Probability(p))
        }
    }

    /// What the kept elements are multiplied with.
    pub fn scale(&self) -> f64 {
        1.0 / (1.0 - self.p)
    }

    /// An element whose word is below this is dropped.
    pub fn threshold(&self) -> u32 {
        // p is below 1, but p 2^32 may round up to 2^32: the cast then takes the largest word.
        (self.p * 4_294_967_296.0).round() as u32
    }
}

/// Which draws a training step makes, from one of its examples on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// The seed of the run.
    pub seed: u64,
    /// The steps done before this one.
    pub step: u64,
    /// The place in the batch of the first example that is at hand.
    pub example: usize,
}

impl Draws {
    /// The same step's draws from another example on: the `n`-th from here.
    pub fn skip(self, n: usize) -> Self {
        Self {
            example: self.example + n,
            ..self
        }
    }

    /// The stream of the network's `layer`, and the indices of the first example's draws in it: a draw
    /// for four of its elements. The next example's follow. They repeat after 2^32 steps.
    fn of_layer(self, layer: usize, elements: usize) -> (Stream, Range<u64>) {
        let stream = Stream::new(self.seed, Purpose::Dropout, self.step as u32);
        let each = elements.div_ceil(4) as u64;
        let first = self.example as u64 * each;
        (stream.of_layer(layer as u32), first..first + each)
    }
}
