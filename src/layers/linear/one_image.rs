//! A fully connected layer of one image, with its outputs in the lanes. The weight is laid out
//! once for many images, with the same feature of neighbouring outputs side by side.

use super::Linear;
use crate::hardware::lanes::tile::{add_product, array};
use crate::hardware::lanes::{Lanes, kernel, tiles, with_rows};

/// Vectors of outputs that a tile has.
const OUTPUTS: usize = 4;

/// How many vectors the laid out weight has: (O vectors, I).
pub fn columns_len(linear: &Linear, width: usize) -> usize {
    linear.out_features.div_ceil(width) * linear.in_features
}

/// Lays the weight out.
///
/// - `weight`: (O, I)
/// - `columns`: for each tile of up to four vectors of outputs (I, vectors), written
pub fn lay_out<T: Lanes>(t: T, linear: &Linear, weight: &[f32], columns: &mut [T::Vector]) {
    let (inputs, outputs) = (linear.in_features, linear.out_features);
    let numbers = t.numbers_mut(columns);
    numbers.fill(0.0);
    for vectors in tiles(outputs.div_ceil(T::WIDTH), OUTPUTS) {
        let (first, row) = (vectors.start * T::WIDTH, vectors.len() * T::WIDTH);
        let block = &mut numbers[first * inputs..][..row * inputs]; // block: (I, row)
        for o in first..outputs.min(first + row) {
            for (i, &number) in weight[o * inputs..][..inputs].iter().enumerate() {
                block[i * row + o - first] = number;
            }
        }
    }
}

kernel! {
    /// - `x`: (I), and perhaps more behind, which is not read
    /// - `columns`: from [`lay_out`]
    /// - `bias`: (O vectors)
    /// - `y`: (O vectors), written
    pub fn forward(
        linear: &Linear,
        x: &[f32],
        columns: &[T::Vector],
        bias: &[T::Vector],
        y: &mut [T::Vector],
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(
    t: T,
    linear: &Linear,
    x: &[f32],
    columns: &[T::Vector],
    bias: &[T::Vector],
    y: &mut [T::Vector],
) {
    let inputs = linear.in_features;
    let x = &x[..inputs];
    for vectors in tiles(bias.len(), OUTPUTS) {
        let columns = &columns[vectors.start * inputs..][..vectors.len() * inputs];
        with_rows!(vectors.len(), at most OUTPUTS, of 1 2 3 4, N => {
            // Even and odd features in sums of their own, so that none waits for the one before.
            let mut tile = [array::<_, N>(bias, vectors.start)];
            let mut odd = [[t.zero(); N]];
            let half = inputs / 2;
            for k in 0..half {
                add_product(t, 1, |_| [x[2 * k]], |_| array(columns, 2 * k * N), &mut tile);
                add_product(t, 1, |_| [x[2 * k + 1]], |_| array(columns, (2 * k + 1) * N), &mut odd);
            }
            if inputs % 2 == 1 {
                let last = inputs - 1;
                add_product(t, 1, |_| [x[last]], |_| array(columns, last * N), &mut tile);
            }
            for ((y, &even), &odd) in y[vectors].iter_mut().zip(&tile[0]).zip(&odd[0]) {
                *y = t.add(even, odd);
            }
        });
    }
}
