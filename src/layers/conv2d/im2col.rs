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
//! The products are ndarray's `general_mat_mul`, which is matrixmultiply's kernel.

use ndarray::linalg::general_mat_mul;

use super::Conv2d;
use crate::tensor::{view, view_mut};

/// Copies the pixels under every window into a column, 0 where the border is.
///
/// - `x`: (C, H, W)
/// - `cols`: (C kh kw, oh ow), written
pub fn im2col(conv: &Conv2d, x: &[f32], cols: &mut [f32]) {
    let [height, width] = conv.input;
    let [_, out_width] = conv.output;
    assert_eq!(x.len(), conv.in_channels * height * width, "x: (C, H, W)");
    for_each_row(conv, cols, |row, c, u, v| {
        let rows = conv.window.inside(0, u, height, conv.output[0]);
        let columns = conv.window.inside(1, v, width, out_width);
        row[..rows.start * out_width].fill(0.0);
        row[rows.end * out_width..].fill(0.0);
        for i in rows {
            let line = &mut row[i * out_width..][..out_width];
            line[..columns.start].fill(0.0);
            line[columns.end..].fill(0.0);
            let [m, n] = first_pixel(conv, [i, columns.start], [u, v]);
            let pixels = &x[(c * height + m) * width..][..width];
            let line = &mut line[columns.clone()];
            if conv.window.stride[1] == 1 {
                line.copy_from_slice(&pixels[n..][..line.len()]);
            } else {
                let pixels = pixels[n..].iter().step_by(conv.window.stride[1]);
                line.iter_mut().zip(pixels).for_each(|(to, &from)| *to = from);
            }
        }
    });
}

/// Adds every place of every column back to the pixel that it was copied from.
///
/// - `cols`: (C kh kw, oh ow)
/// - `x`: (C, H, W), written
pub fn col2im(conv: &Conv2d, cols: &mut [f32], x: &mut [f32]) {
    let [height, width] = conv.input;
    let [_, out_width] = conv.output;
    assert_eq!(x.len(), conv.in_channels * height * width, "x: (C, H, W)");
    x.fill(0.0);
    for_each_row(conv, cols, |row, c, u, v| {
        let columns = conv.window.inside(1, v, width, out_width);
        for i in conv.window.inside(0, u, height, conv.output[0]) {
            let line = &row[i * out_width..][..out_width][columns.clone()];
            let [m, n] = first_pixel(conv, [i, columns.start], [u, v]);
            let pixels = &mut x[(c * height + m) * width..][..width];
            if conv.window.stride[1] == 1 {
                let pixels = &mut pixels[n..][..line.len()];
                pixels.iter_mut().zip(line).for_each(|(to, &from)| *to += from);
            } else {
                let pixels = pixels[n..].iter_mut().step_by(conv.window.stride[1]);
                pixels.zip(line).for_each(|(to, &from)| *to += from);
            }
        }
    });
}

/// Calls `each` with every row of `cols`, (oh ow), and the c, u, v that it stands for.
fn for_each_row(
    conv: &Conv2d,
    cols: &mut [f32],
    mut each: impl FnMut(&mut [f32], usize, usize, usize),
) {
    let [kernel_height, kernel_width] = conv.window.kernel;
    assert_eq!(cols.len(), conv.fan_in() * conv.windows(), "cols: (K, P)");
    let mut rows = cols.chunks_exact_mut(conv.windows());
    for c in 0..conv.in_channels {
        for u in 0..kernel_height {
            for v in 0..kernel_width {
                each(rows.next().expect("K rows"), c, u, v);
            }
        }
    }
}

/// The pixel under place `k` of window `at`, which `Window::inside` found to be on the image. A
/// column that no window reaches may lie one past the end of its line.
fn first_pixel(conv: &Conv2d, at: [usize; 2], k: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|axis| {
        let place = at[axis] * conv.window.stride[axis] + k[axis];
        (place - conv.window.padding[axis].min(place)).min(conv.input[axis])
    })
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
    for (mut y, &bias) in y.rows_mut().into_iter().zip(bias) {
        y.fill(bias);
    }
    general_mat_mul(1.0, &weight, &cols, 1.0, &mut y);
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
    for (d_bias, d_y) in d_bias.iter_mut().zip(d_y.rows()) {
        *d_bias += d_y.sum();
    }
    let mut d_weight = view_mut([outputs, k], d_weight);
    // d_weight (O, K) += d_y (O, P) . cols^T (P, K)
    general_mat_mul(1.0, &d_y, &view([k, p], cols).t(), 1.0, &mut d_weight);
    if let Some(d_x) = d_x {
        // d_cols (K, P) = weight^T (K, O) . d_y (O, P), in the place of cols
        let mut d_cols = view_mut([k, p], cols);
        general_mat_mul(1.0, &weight.t(), &d_y, 0.0, &mut d_cols);
        col2im(conv, cols, d_x);
    }
}
