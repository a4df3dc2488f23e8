//! Dropout of one example.

use super::{Draws, Dropout};
use crate::tensor::Element;

/// In training with the mask that `draws` gives the network's `layer`, else unchanged.
///
/// - `x`: any shape
/// - `y`: the same shape, written
pub fn forward<T: Element>(
    dropout: &Dropout,
    layer: usize,
    draws: Option<Draws>,
    x: &[T],
    y: &mut [T],
) {
    match draws {
        Some(draws) => mask(dropout, layer, draws, x, y),
        None => y.copy_from_slice(x),
    }
}

/// With the mask of the forward pass.
///
/// - `d_y`: any shape
/// - `d_x`: the same shape, written
pub fn backward<T: Element>(
    dropout: &Dropout,
    layer: usize,
    draws: Draws,
    d_y: &[T],
    d_x: &mut [T],
) {
    mask(dropout, layer, draws, d_y, d_x);
}

/// `to = m from / (1 - p)`, what is dropped being 0 even where `from` is not finite.
fn mask<T: Element>(dropout: &Dropout, layer: usize, draws: Draws, from: &[T], to: &mut [T]) {
    assert_eq!(from.len(), to.len(), "x and y are of one shape");
    let (scale, threshold) = (T::from_f64(dropout.scale()), dropout.threshold());
    let (stream, indices) = draws.of_layer(layer, from.len());
    let fours = from.chunks(4).zip(to.chunks_mut(4));
    for ((from, to), index) in fours.zip(indices) {
        for ((&from, to), word) in from.iter().zip(to).zip(stream.words(index)) {
            *to = if word < threshold {
                T::zero()
            } else {
                scale * from
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: Draws = Draws {
        seed: 1,
        step: 2,
        example: 3,
    };

    fn dropped(p: f64, layer: usize, draws: Draws, elements: usize) -> Vec<f64> {
        let dropout = Dropout::new(p).unwrap();
        let mut y = vec![0.0; elements];
        forward(&dropout, layer, Some(draws), &vec![1.0; elements], &mut y);
        y
    }

    #[test]
    fn a_share_of_p_is_dropped_and_the_rest_scaled() {
        for p in [0.0, 0.25, 0.9] {
            let y = dropped(p, 0, DRAWS, 10_000);
            let zeros = y.iter().filter(|&&y| y == 0.0).count() as f64;
            // The standard deviation of a share of 10,000 is at most 0.005.
            assert!((zeros / 10_000.0 - p).abs() <= 0.02, "{p}: {zeros}");
            assert!(y.iter().all(|&y| y == 0.0 || y == 1.0 / (1.0 - p)));
        }
    }

    #[test]
    fn seed_step_layer_and_example_each_change_the_mask() {
        let mask = dropped(0.5, 0, DRAWS, 99);
        assert_eq!(mask, dropped(0.5, 0, DRAWS, 99));
        assert_ne!(mask, dropped(0.5, 1, DRAWS, 99));
        assert_ne!(mask, dropped(0.5, 0, DRAWS.skip(1), 99));
        assert_ne!(mask, dropped(0.5, 0, Draws { step: 3, ..DRAWS }, 99));
        assert_ne!(mask, dropped(0.5, 0, Draws { seed: 2, ..DRAWS }, 99));
    }

    #[test]
    fn the_gradient_has_the_mask_of_the_forward_pass() {
        let dropout = Dropout::new(0.5).unwrap();
        let y = dropped(0.5, 7, DRAWS, 101);
        let mut d_x = vec![0.0; 101];
        backward(&dropout, 7, DRAWS, &[1.0; 101], &mut d_x);
        assert_eq!(y, d_x);
    }

    #[test]
    fn nothing_is_dropped_outside_training() {
        let dropout = Dropout::new(0.5).unwrap();
        let mut y = [0.0; 2];
        forward(&dropout, 0, None, &[3.0, f64::NEG_INFINITY], &mut y);
        assert_eq!(y, [3.0, f64::NEG_INFINITY]);
    }

    #[test]
    fn what_is_dropped_is_zero_even_if_it_was_infinite() {
        let dropout = Dropout::new(0.5).unwrap();
        let mut y = vec![0.0; 100];
        forward(&dropout, 0, Some(DRAWS), &[f64::INFINITY; 100], &mut y);
        assert!(y.contains(&0.0) && y.contains(&f64::INFINITY));
        assert!(!y.iter().any(|y| y.is_nan()));
    }

    #[test]
    fn only_shares_below_one_can_be_dropped() {
        for p in [-0.1, 1.0, f64::NAN] {
            assert!(matches!(
                Dropout::new(p),
                Err(super::super::Misfit::Probability(_))
            ));
        }
    }
}
