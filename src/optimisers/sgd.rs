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

use thiserror::Error;

use crate::tensor::Element;

/// The settings of SGD.
#[derive(Clone, Copy, Debug, PartialEq)]
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

/// Settings that SGD cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum SgdError {
    /// Negative, infinite or NaN.
    #[error("the {0} must be a number of at least 0, not {1}")]
    OutOfRange(&'static str, f64),
    /// Nesterov's look-ahead needs a velocity.
    #[error("nesterov needs a momentum above 0")]
    Nesterov,
}

impl Sgd {
    /// Checks the settings, by PyTorch's rules.
    ///
    /// # Errors
    /// Naming the setting.
    pub fn check(&self) -> Result<(), SgdError> {
        for (name, value) in [
            ("learning rate", self.lr),
            ("momentum", self.momentum),
            ("weight decay", self.weight_decay),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(SgdError::OutOfRange(name, value));
            }
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(SgdError::Nesterov);
        }
        Ok(())
    }

    /// One step.
    ///
    /// - `parameters`, `velocity`: (P), both changed
    /// - `gradients`: (P)
    pub fn step<T: Element>(&self, parameters: &mut [T], gradients: &[T], velocity: &mut [T]) {
        assert_eq!(parameters.len(), gradients.len(), "gradients: (P)");
        assert_eq!(parameters.len(), velocity.len(), "velocity: (P)");
        let [lr, momentum, weight_decay] =
            [self.lr, self.momentum, self.weight_decay].map(T::from_f64);
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
