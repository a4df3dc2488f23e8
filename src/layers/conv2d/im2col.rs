//! Convolution as a matrix product: every window is copied out as a column (Chellapilla, Puri,
//! Simard, *High Performance Convolutional Neural Networks for Document Processing*, 2006).
//!
//! With `K = C kh kw` the length of a column and `P = oh ow` the number of windows:
//!
//! ```text
//! y        (O, P) = weight (O, K) . cols (K, P) + bias
//! d_weight (O, K) = d_y (O, P) . cols^T (P, K)
//! d_cols   (K, P) = weight^T (K, O) . d_y (O, P),     then summed back into d_x
//! ```
//!
//! One product an image is as fast as one over several, and keeps `y` as (O, oh, ow).

use super::Conv2d;
use crate::hardware::{Target, gemm};
use crate::tensor::{view, view_mut};

/// Copies the pixels under every window into a column, 0 where the border is.
///
/// - `x`: (C, H, W)
/// - `cols`: (C kh kw, oh ow), written
pub fn im2col(conv: &Conv2d, x: &[f32], cols: &mut [f32]) {
    if conv.window.padding != [0, 0] {
        cols.fill(0.0);
    }
    for_each_place(conv, |size, pixels, numbers| {
        transfer::<false>(size, (x, pixels), (cols, numbers));
    });
}

/// Adds every place of every column back to the pixel that it was copied from.
///
/// - `cols`: (C kh kw, oh ow)
/// - `x`: (C, H, W), written
pub fn col2im(conv: &Conv2d, cols: &[f32], x: &mut [f32]) {
    x.fill(0.0);
    for_each_place(conv, |size, pixels, numbers| {
        transfer::<true>(size, (cols, numbers), (x, pixels));
    });
}

/// Where a grid of numbers lies in a flat buffer.
#[derive(Clone, Copy)]
struct Grid {
    /// Its first number.
    first: usize,
    /// From a number to the one of the next channel.
    channel: usize,
    /// From a number to the one below.
    down: usize,
    /// From a number to the one on its right.
    across: usize,
}

/// Calls `visit` for every place (u, v) of the window with those windows whose place lies on the
/// image and not on its border: how many, as (C, down, across); their pixels in `x`
/// (C, H, W); their numbers in `cols` (C kh kw, oh ow).
#[inline(always)]
fn for_each_place(conv: &Conv2d, mut visit: impl FnMut([usize; 3], Grid, Grid)) {
    let (window, [height, width]) = (&conv.window, conv.input);
    let [kernel_height, kernel_width] = window.kernel;
    let [out_height, out_width] = conv.output;
    for u in 0..kernel_height {
        let rows = window.inside(0, u, height, out_height);
        for v in 0..kernel_width {
            let columns = window.inside(1, v, width, out_width);
            let at = [rows.start, columns.start];
            let Some([m, n]) = window.pixel(at, [u, v], conv.input) else {
                continue;
            };
            let pixels = Grid {
                first: m * width + n,
                channel: height * width,
                down: window.stride[0] * width,
                across: window.stride[1],
            };
            let row = u * kernel_width + v;
            let numbers = Grid {
                first: (row * out_height + rows.start) * out_width + columns.start,
                channel: kernel_height * kernel_width * out_height * out_width,
                down: out_width,
                across: 1,
            };
            let size = [conv.in_channels, rows.len(), columns.len()];
            if !size.contains(&0) {
                visit(size, pixels, numbers);
            }
        }
    }
}

/// Copies, or adds, a grid of `size` from one buffer to another: eight columns at a time where
/// neighbours are neighbours in both, for lines are too short to be worth a call of `memcpy`.
#[inline(always)]
fn transfer<const ADD: bool>(
    [channels, height, width]: [usize; 3],
    (from, source): (&[f32], Grid),
    (to, target): (&mut [f32], Grid),
) {
    let neighbours = source.across == 1 && target.across == 1;
    let blocks = if neighbours { width / 8 } else { 0 };
    for c in 0..channels {
        let from = &from[source.first + c * source.channel..];
        let to = &mut to[target.first + c * target.channel..];
        for block in 0..blocks {
            let from = from[8 * block..].chunks(source.down);
            let to = to[8 * block..].chunks_mut(target.down);
            transfer_lines::<8, ADD>(height, from, to);
        }
        for column in 8 * blocks..width {
            let from = from[column * source.across..].chunks(source.down);
            let to = to[column * target.across..].chunks_mut(target.down);
            transfer_lines::<1, ADD>(height, from, to);
        }
    }
}

/// The first `N` numbers of every line.
#[inline(always)]
fn transfer_lines<'a, const N: usize, const ADD: bool>(
    height: usize,
    from: impl Iterator<Item = &'a [f32]>,
    to: impl Iterator<Item = &'a mut [f32]>,
) {
    for (from, to) in from.zip(to).take(height) {
        for (to, &from) in to[..N].iter_mut().zip(&from[..N]) {
            *to = if ADD { *to + from } else { from };
        }
    }
}

/// - `x`: (C, H, W)
/// - `weight`: (O, C, kh, kw)
/// - `bias`: (O)
/// - `cols`: (C kh kw, oh ow), written, for the backward pass
/// - `y`: (O, oh, ow), written
pub fn forward(
    conv: &Conv2d,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    cols: &mut [f32],
    y: &mut [f32],
) {
    let (outputs, k, p) = (conv.out_channels, conv.fan_in(), conv.windows());
    im2col(conv, x, cols);
    let weight = view([outputs, k], weight); // weight: (O, K)
    let cols = view([k, p], cols); // cols: (K, P)
    let mut y = view_mut([outputs, p], y); // y: (O, P)
    for (mut y, &bias) in y.rows_mut().into_iter().zip(view([outputs], bias)) {
        y.fill(bias);
    }
    gemm(weight, cols, Target::Sum, y);
}

/// - `weight`: (O, C, kh, kw)
/// - `cols`: (C kh kw, oh ow), from the forward pass; overwritten where there is a `d_x`
/// - `d_y`: (O, oh, ow)
/// - `d_x`: (C, H, W), written; `None` for a network's first layer, whose input needs none
/// - `d_weight`: (O, C, kh, kw), added to
/// - `d_bias`: (O), added to
pub fn backward(
    conv: &Conv2d,
    weight: &[f32],
    cols: &mut [f32],
    d_y: &[f32],
    d_x: Option<&mut [f32]>,
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let (outputs, k, p) = (conv.out_channels, conv.fan_in(), conv.windows());
    let weight = view([outputs, k], weight); // weight: (O, K)
    let d_y = view([outputs, p], d_y); // d_y: (O, P)
    for (d_bias, d_y) in view_mut([outputs], d_bias).iter_mut().zip(d_y.rows()) {
        *d_bias += d_y.sum();
    }
    let d_weight = view_mut([outputs, k], d_weight);
    // d_weight (O, K) += d_y (O, P) . cols^T (P, K)
    gemm(
        d_y,
        view([k, p], cols).reversed_axes(),
        Target::Sum,
        d_weight,
    );
    if let Some(d_x) = d_x {
        // d_cols (K, P) = weight^T (K, O) . d_y (O, P), in the place of cols
        let d_cols = view_mut([k, p], cols);
        gemm(weight.reversed_axes(), d_y, Target::Overwritten, d_cols);
        col2im(conv, cols, d_x);
    }
}
