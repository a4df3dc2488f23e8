//! Clipping of the gradient's norm, as PyTorch's `torch.nn.utils.clip_grad_norm_`: all parameters
//! together are one vector, and a longer one is shortened, its direction kept.
//!
//! ```text
//! g = g min(1, max_norm / (|g| + 1e-6))
//! ```
//!
//! Source: Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks*,
//! ICML 2013, section 3.2; the 1e-6 is PyTorch's.

use crate::tensor::Element;

/// Shortens `gradients` (P) to a norm of at most `max_norm`, if they are longer.
pub fn clip<T: Element>(gradients: &mut [T], max_norm: f64) {
    // In f64 and in one order, so that every engine finds the same norm of the same gradient.
    let squares = gradients.iter().map(|g| g.as_f64() * g.as_f64());
    let factor = max_norm / (squares.sum::<f64>().sqrt() + 1e-6);
    if factor < 1.0 {
        let factor = T::from_f64(factor);
        for gradient in gradients {
            *gradient *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gradient_is_shortened_and_a_short_one_left() {
        let mut gradients = [3.0_f64, 0.0, -4.0];
        clip(&mut gradients, 10.0);
        assert_eq!(gradients, [3.0, 0.0, -4.0]);
        clip(&mut gradients, 1.0);
        for (found, expected) in gradients.iter().zip([0.6, 0.0, -0.8]) {
            assert!((found - expected).abs() <= 1e-6, "{gradients:?}");
        }
    }
}
