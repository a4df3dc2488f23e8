//! Convolution as its definition says it: seven nested sums over one image.

use super::Conv2d;
use crate::tensor::{Element, view, view_mut};

/// - `x`: (C, H, W)
/// - `weight`: (O, C, kh, kw)
/// - `bias`: (O)
/// - `y`: (O, oh, ow), written
pub fn forward<T: Element>(conv: &Conv2d, x: &[T], weight: &[T], bias: &[T], y: &mut [T]) {
    let x = view(conv.x(), x);
    let weight = view(conv.weight(), weight);
    let mut y = view_mut(conv.y(), y);
    for ((o, i, j), y) in y.indexed_iter_mut() {
        *y = bias[o];
        for c in 0..conv.in_channels {
            for u in 0..conv.window.kernel[0] {
                for v in 0..conv.window.kernel[1] {
                    if let Some([m, n]) = conv.window.pixel([i, j], [u, v], conv.input) {
                        *y += weight[[o, c, u, v]] * x[[c, m, n]];
                    }
                }
            }
        }
    }
}

/// - `x`: (C, H, W)
/// - `weight`: (O, C, kh, kw)
/// - `d_y`: (O, oh, ow)
/// - `d_x`: (C, H, W), written
/// - `d_weight`: (O, C, kh, kw), added to
/// - `d_bias`: (O), added to
pub fn backward<T: Element>(
    conv: &Conv2d,
    x: &[T],
    weight: &[T],
    d_y: &[T],
    d_x: &mut [T],
    d_weight: &mut [T],
    d_bias: &mut [T],
) {
    let x = view(conv.x(), x);
    let weight = view(conv.weight(), weight);
    let d_y = view(conv.y(), d_y);
    let mut d_x = view_mut(conv.x(), d_x);
    let mut d_weight = view_mut(conv.weight(), d_weight);
    d_x.fill(T::zero());
    for ((o, i, j), &d_y) in d_y.indexed_iter() {
        d_bias[o] += d_y;
        for c in 0..conv.in_channels {
            for u in 0..conv.window.kernel[0] {
                for v in 0..conv.window.kernel[1] {
                    if let Some([m, n]) = conv.window.pixel([i, j], [u, v], conv.input) {
                        d_weight[[o, c, u, v]] += d_y * x[[c, m, n]];
                        d_x[[c, m, n]] += d_y * weight[[o, c, u, v]];
                    }
                }
            }
        }
    }
}
