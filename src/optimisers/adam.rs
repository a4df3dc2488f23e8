//! Adam and AdamW, as PyTorch's `torch.optim.Adam` and `torch.optim.AdamW` (without AMSGrad).
//!
//! ```text
//! g         = d_parameter + weight_decay parameter                 Adam
//! parameter = parameter - lr weight_decay parameter, g = d_parameter     AdamW, `decoupled`
//! m         = beta1 m + (1 - beta1) g                                (0 before the first step)
//! v         = beta2 v + (1 - beta2) g^2                              (0 before the first step)
//! parameter = parameter - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
//! ```
//!
//! `t` counts steps from 1; the divisors undo that `m` and `v` began at 0.
//!
//! Sources: Kingma and Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015; Loshchilov and
//! Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019.

use serde::{Deserialize, Serialize};

use super::OptimiserError;
use crate::tensor::Element;

/// The settings of Adam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// How much of the mean of gradients each step keeps.
    pub beta1: f64,
    /// How much of the mean of squared gradients each step keeps.
    pub beta2: f64,
    /// What keeps the division from being by 0.
    pub eps: f64,
    /// The L2 penalty's factor or, decoupled, the share that a rate of 1 would take away.
    pub weight_decay: f64,
    /// Whether the weight decay goes past the means, which makes it AdamW.
    pub decoupled: bool,
}

/// PyTorch's defaults for Adam.
impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 0.001,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl Adam {
    /// PyTorch's defaults for AdamW.
    pub fn adamw() -> Self {
        Self {
            weight_decay: 0.01,
            decoupled: true,
            ..Self::default()
        }
    }

    /// Checks the settings, by PyTorch's rules.
    ///
    /// # Errors
    /// Naming the setting.
    pub fn check(&self) -> Result<(), OptimiserError> {
        OptimiserError::not_negative("learning rate", self.lr)?;
        OptimiserError::share("beta1", self.beta1)?;
        OptimiserError::share("beta2", self.beta2)?;
        OptimiserError::not_negative("eps", self.eps)?;
        OptimiserError::not_negative("weight decay", self.weight_decay)
    }

    /// One step at the rate `lr`, after `done` others.
    ///
    /// - `parameters`, `mean`, `mean_square`: (P), all changed
    /// - `gradients`: (P)
    #[inline(always)]
    pub fn step<T: Element>(
        &self,
        lr: f64,
        done: u64,
        parameters: &mut [T],
        gradients: &[T],
        mean: &mut [T],
        mean_square: &mut [T],
    ) {
        assert_eq!(parameters.len(), gradients.len(), "gradients: (P)");
        assert_eq!(parameters.len(), mean.len(), "mean: (P)");
        assert_eq!(parameters.len(), mean_square.len(), "mean_square: (P)");
        // Beyond 2^31 steps the powers are 0 in any precision.
        let t = i32::try_from(done + 1).unwrap_or(i32::MAX);
        let decay = T::from_f64(
            1.0 - if self.decoupled {
                lr * self.weight_decay
            } else {
                0.0
            },
        );
        let penalty = T::from_f64(if self.decoupled {
            0.0
        } else {
            self.weight_decay
        });
        let rate = T::from_f64(lr / (1.0 - self.beta1.powi(t)));
        let root = T::from_f64((1.0 - self.beta2.powi(t)).sqrt());
        let [beta1, beta2, eps] = [self.beta1, self.beta2, self.eps].map(T::from_f64);
        let [rest1, rest2] = [1.0 - self.beta1, 1.0 - self.beta2].map(T::from_f64);
        let values = parameters.iter_mut().zip(gradients);
        for ((parameter, &gradient), (m, v)) in values.zip(mean.iter_mut().zip(mean_square)) {
            let gradient = gradient + penalty * *parameter;
            *m = beta1 * *m + rest1 * gradient;
            *v = beta2 * *v + rest2 * gradient * gradient;
            *parameter = decay * *parameter - rate * *m / (v.sqrt() / root + eps);
        }
    }
}
