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
    let factor = factor(add_squares(0.0, gradients), max_norm);
    scale(gradients, factor);
}

/// `squares`, and the squares of `gradients`: in f64 and in one order, so that every engine finds the
/// same norm of the same gradient, in however many parts it comes.
pub fn add_squares<T: Element>(squares: f64, gradients: &[T]) -> f64 {
    gradients
        .iter()
        .fold(squares, |squares, g| squares + g.as_f64() * g.as_f64())
}

/// What a gradient of so many `squares` is multiplied by, 1 at most.
pub fn factor(squares: f64, max_norm: f64) -> f64 {
    (max_norm / (squares.sqrt() + 1e-6)).min(1.0)
}

/// Multiplies `gradients` by `factor`, unless it is 1.
#[inline(always)]
pub fn scale<T: Element>(gradients: &mut [T], factor: f64) {
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
