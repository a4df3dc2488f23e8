//! Stochastic gradient descent with momentum, as PyTorch's `torch.optim.SGD` (dampening 0).
//!
//! ```text
//! g        = d_parameter + weight_decay parameter
//! velocity = momentum velocity + g                       (0 before the first step)
//! g        = g + momentum velocity  if nesterov,  else velocity
//! parameter = parameter - lr g
//! ```
//!
//! Source: Sutskever, Martens, Dahl, Hinton, *On the importance of initialization and momentum in
//! deep learning*, ICML 2013, with the learning rate outside the velocity, as PyTorch has it.

use serde::{Deserialize, Serialize};

use super::OptimiserError;
use crate::tensor::Element;

/// The settings of SGD.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
    /// How much of the velocity is kept, 0 for none.
    pub momentum: f64,
    /// The L2 penalty's factor.
    pub weight_decay: f64,
    /// Whether to look ahead by one step of the velocity.
    pub nesterov: bool,
}

/// The tutorial's: lr 0.01, momentum 0.5.
impl Default for Sgd {
    fn default() -> Self {
        Self {
            lr: 0.01,
            momentum: 0.5,
            weight_decay: 0.0,
            nesterov: false,
        }
    }
}

impl Sgd {
    /// Checks the settings, by PyTorch's rules.
    ///
    /// # Errors
    /// Naming the setting.
    pub fn check(&self) -> Result<(), OptimiserError> {
        OptimiserError::not_negative("learning rate", self.lr)?;
        OptimiserError::not_negative("momentum", self.momentum)?;
        OptimiserError::not_negative("weight decay", self.weight_decay)?;
        if self.nesterov && self.momentum == 0.0 {
            return Err(OptimiserError::Nesterov);
        }
        Ok(())
    }

    /// One step at the rate `lr`.
    ///
    /// - `parameters`, `velocity`: (P), both changed
    /// - `gradients`: (P)
    #[inline(always)]
    pub fn step<T: Element>(
        &self,
        lr: f64,
        parameters: &mut [T],
        gradients: &[T],
        velocity: &mut [T],
    ) {
        assert_eq!(parameters.len(), gradients.len(), "gradients: (P)");
        assert_eq!(parameters.len(), velocity.len(), "velocity: (P)");
        let [lr, momentum, weight_decay] = [lr, self.momentum, self.weight_decay].map(T::from_f64);
        let values = parameters.iter_mut().zip(velocity);
        for ((parameter, velocity), &gradient) in values.zip(gradients) {
            let gradient = gradient + weight_decay * *parameter;
            *velocity = momentum * *velocity + gradient;
            let change = if self.nesterov {
                gradient + momentum * *velocity
            } else {
                *velocity
            };
            *parameter -= lr * change;
        }
    }
}
