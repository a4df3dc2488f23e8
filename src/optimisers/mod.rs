//! How gradients change parameters. An optimiser is one loop over flat vectors.

pub mod sgd;

pub use sgd::Sgd;

/// What every training step does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRule {
    /// Examples in a batch; the last batch of an epoch may have fewer.
    pub batch_size: usize,
    /// How the gradients change the parameters.
    pub optimiser: Sgd,
}
