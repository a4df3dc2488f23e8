//! A fully connected layer as its definition says it, one example at a time.

use super::Linear;
use crate::tensor::{Element, view, view_mut};

/// - `x`: (I)
/// - `weight`: (O, I)
/// - `bias`: (O)
/// - `y`: (O), written
pub fn forward<T: Element>(linear: &Linear, x: &[T], weight: &[T], bias: &[T], y: &mut [T]) {
    let weight = view(linear.weight(), weight);
    for o in 0..linear.out_features {
        y[o] = bias[o];
        for i in 0..linear.in_features {
            y[o] += weight[[o, i]] * x[i];
        }
    }
}

/// - `x`: (I)
/// - `weight`: (O, I)
/// - `d_y`: (O)
/// - `d_x`: (I), written
/// - `d_weight`: (O, I), added to
/// - `d_bias`: (O), added to
pub fn backward<T: Element>(
    linear: &Linear,
    x: &[T],
    weight: &[T],
    d_y: &[T],
    d_x: &mut [T],
    d_weight: &mut [T],
    d_bias: &mut [T],
) {
    let weight = view(linear.weight(), weight);
    let mut d_weight = view_mut(linear.weight(), d_weight);
    d_x.fill(T::zero());
    for o in 0..linear.out_features {
        d_bias[o] += d_y[o];
        for i in 0..linear.in_features {
            d_weight[[o, i]] += d_y[o] * x[i];
            d_x[i] += weight[[o, i]] * d_y[o];
        }
    }
}
