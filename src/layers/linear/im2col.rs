//! A fully connected layer as matrix products over the `n` examples of a slice.
//!
//! ```text
//! y        (n, O) = x (n, I) . weight^T (I, O) + bias
//! d_weight (O, I) = d_y^T (O, n) . x (n, I)
//! d_x      (n, I) = d_y (n, O) . weight (O, I)
//! ```

use super::Linear;
use crate::hardware::{Target, gemm};
use crate::tensor::{view, view_mut};

/// - `x`: (n, I)
/// - `weight`: (O, I)
/// - `bias`: (O)
/// - `y`: (n, O), written
pub fn forward(linear: &Linear, n: usize, x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
    let x = view([n, linear.in_features], x); // x: (n, I)
    let weight = view(linear.weight(), weight); // weight: (O, I)
    let mut y = view_mut([n, linear.out_features], y); // y: (n, O)
    for mut y in y.rows_mut() {
        y.assign(&view([linear.out_features], bias));
    }
    gemm(x, weight.reversed_axes(), Target::Sum, y);
}

/// - `x`: (n, I)
/// - `weight`: (O, I)
/// - `d_y`: (n, O)
/// - `d_x`: (n, I), written; `None` for a network's first layer, whose input needs none
/// - `d_weight`: (O, I), added to
/// - `d_bias`: (O), added to
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
pub fn backward(
    linear: &Linear,
    n: usize,
    x: &[f32],
    weight: &[f32],
    d_y: &[f32],
    d_x: Option<&mut [f32]>,
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let x = view([n, linear.in_features], x); // x: (n, I)
    let d_y = view([n, linear.out_features], d_y); // d_y: (n, O)
    let mut d_bias = view_mut([linear.out_features], d_bias);
    for d_y in d_y.rows() {
        d_bias += &d_y;
    }
    let d_weight = view_mut(linear.weight(), d_weight);
    // d_weight (O, I) += d_y^T (O, n) . x (n, I)
    gemm(d_y.reversed_axes(), x, Target::Sum, d_weight);
    if let Some(d_x) = d_x {
        let weight = view(linear.weight(), weight); // weight: (O, I)
        let d_x = view_mut([n, linear.in_features], d_x);
        // d_x (n, I) = d_y (n, O) . weight (O, I)
        gemm(d_y, weight, Target::Overwritten, d_x);
    }
}
