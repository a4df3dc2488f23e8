//! A fully connected layer with several images in the lanes.
//!
//! Forward and by the input, a weight is broadcast to all images. The gradient by the weight adds
//! up over images: with each image's features side by side, `d_weight (O, I) = d_y (O, n) .
//! x^T (n, I)` has neighbouring weights in the lanes, and no lanes to be summed.

use super::Linear;
use crate::hardware::lanes::tile::{Matrix, add_product};
use crate::hardware::lanes::{Lanes, MAX_WIDTH, kernel, tiles, with_rows};

/// Sums of one vector each that a tile has: enough that no multiply-add waits for the one before.
const ROWS: usize = 10;

/// How many vectors the backward pass needs for a while: the features of each image (n, I), each
/// row filled up to whole tiles.
pub fn scratch_len(linear: &Linear, width: usize) -> usize {
    width * row_vectors(linear, width)
}

/// The vectors of one image's features, a multiple of four.
fn row_vectors(linear: &Linear, width: usize) -> usize {
    linear.in_features.div_ceil(4 * width) * 4
}

kernel! {
    /// - `x`: (I) vectors
    /// - `weight`: (O, I)
    /// - `bias`: (O)
    /// - `y`: (O) vectors, written
    pub fn forward(
        linear: &Linear,
        x: &[T::Vector],
        weight: &[f32],
        bias: &[f32],
        y: &mut [T::Vector],
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(
    t: T,
    linear: &Linear,
    x: &[T::Vector],
    weight: &[f32],
    bias: &[f32],
    y: &mut [T::Vector],
) {
    let inputs = linear.in_features;
    let x = &x[..inputs];
    for o in tiles(linear.out_features, ROWS) {
        with_rows!(o.len(), at most ROWS, of 1 2 3 4 5 6 7 8 9 10, R => {
            let rows: [&[f32]; R] =
                std::array::from_fn(|r| &weight[(o.start + r) * inputs..][..inputs]);
            let mut tile = std::array::from_fn(|r| [t.splat(bias[o.start + r])]);
            let numbers = |i: usize| std::array::from_fn::<_, R, _>(|r| rows[r][i]);
            add_product(t, inputs, numbers, |i| [x[i]], &mut tile);
            y[o.start..o.end].copy_from_slice(tile.as_flattened());
        });
    }
}

kernel! {
    /// - `x`: (I) vectors
    /// - `weight`: (O, I)
    /// - `d_y`: (O) vectors
    /// - `d_x`: (I) vectors, written; `None` for a network's first layer, whose input needs none
    /// - `scratch`: [`scratch_len`] vectors
    /// - `d_weight`: (O, I), added to: the sum over all lanes
    /// - `d_bias`: (O), added to: the same
    pub fn backward(
        linear: &Linear,
        x: &[T::Vector],
        weight: &[f32],
        d_y: &[T::Vector],
        d_x: Option<&mut [T::Vector]>,
        scratch: &mut [T::Vector],
        d_weight: &mut [f32],
        d_bias: &mut [f32],
    ) = backward_kernel;
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
fn backward_kernel<T: Lanes>(
    t: T,
    linear: &Linear,
    x: &[T::Vector],
    weight: &[f32],
    d_y: &[T::Vector],
    d_x: Option<&mut [T::Vector]>,
    scratch: &mut [T::Vector],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let (inputs, outputs) = (linear.in_features, linear.out_features);
    let each = row_vectors(linear, T::WIDTH);
    let x_rows = &mut scratch[..T::WIDTH * each]; // x_rows: (n, each)

    transpose(t, &x[..inputs], x_rows);
    let x_rows = Matrix::new(x_rows, [T::WIDTH, each]);
    let lanes = Matrix::new(t.numbers(d_y), [outputs, T::WIDTH]); // lanes: (O, n)
    for o in tiles(outputs, T::ROWS) {
        with_rows!(o.len(), T, R => {
            for column in (0..each).step_by(4) {
                let mut tile = [[t.zero(); 4]; R];
                let numbers = |n| lanes.of_column(o.start, n);
                let vectors = |n| x_rows.of_row(n, column);
                add_product(t, T::WIDTH, numbers, vectors, &mut tile);
                for (r, row) in tile.iter().enumerate() {
                    let d_weight = &mut d_weight[(o.start + r) * inputs..][..inputs];
                    t.add_numbers(row, &mut d_weight[column * T::WIDTH..]);
                }
            }
        });
    }
    t.add_sums(&d_y[..outputs], d_bias);
    if let Some(d_x) = d_x {
        let (weight, d_y) = (Matrix::new(weight, [outputs, inputs]), &d_y[..outputs]);
        for i in tiles(inputs, ROWS) {
            with_rows!(i.len(), at most ROWS, of 1 2 3 4 5 6 7 8 9 10, R => {
                let mut tile = [[t.zero()]; R];
                add_product(t, outputs, |o| weight.of_row(o, i.start), |o| [d_y[o]], &mut tile);
                d_x[i.start..i.end].copy_from_slice(tile.as_flattened());
            });
        }
    }
}

/// - `x`: (I) vectors
/// - `rows`: (n, I), each row filled up with 0, written
#[inline(always)]
fn transpose<T: Lanes>(t: T, x: &[T::Vector], rows: &mut [T::Vector]) {
    let each = rows.len() / T::WIDTH;
    for block in 0..each {
        let mut vectors = [t.zero(); MAX_WIDTH];
        let features = x.iter().skip(block * T::WIDTH);
        for (vector, &feature) in vectors[..T::WIDTH].iter_mut().zip(features) {
            *vector = feature;
        }
        t.transpose(&mut vectors[..T::WIDTH]);
        for (n, &vector) in vectors[..T::WIDTH].iter().enumerate() {
            rows[n * each + block] = vector;
        }
    }
}
