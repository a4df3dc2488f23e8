//! What is done once a batch, with neighbouring features in the lanes. Each image goes through the one
//! layer by [`crate::layers::linear::lanes`].

use std::ops::Range;

use super::LinearLinear;
use crate::hardware::lanes::tile::{Matrix, Tile, add_outer, add_product};
use crate::hardware::lanes::{Lanes, MAX_WIDTH, kernel, tiles, with_rows};
use crate::layers::linear::one_image;

kernel! {
    /// `W = W2 W1` and `b = W2 b1 + b2`
    ///
    /// - `parameters`: `W1` (M, I), `b1` (M), `W2` (O, M), `b2` (O)
    /// - `merged`: `W` (O, I), `b` (O), written
    pub fn merge(pair: &LinearLinear, parameters: &[f32], merged: &mut [f32]) = merge_kernel;
}

#[inline(always)]
fn merge_kernel<T: Lanes>(t: T, pair: &LinearLinear, parameters: &[f32], merged: &mut [f32]) {
    let (inputs, between) = (pair.first.in_features, pair.first.out_features);
    let outputs = pair.second.out_features;
    let (w1, parameters) = parameters.split_at(between * inputs);
    let (b1, parameters) = parameters.split_at(between);
    let (w2, b2) = parameters.split_at(outputs * between);
    let (w, b) = merged.split_at_mut(outputs * inputs);
    one_image::forward_kernel(t, &pair.second, b1, w2, b2, b);
    let right = Matrix::new(w1, [between, inputs]); // right: (M, I)
    let left = Matrix::new(w2, [outputs, between]); // left: (O, M)
    for o in tiles(outputs, T::ROWS) {
        with_rows!(o.len(), T, R => {
            let w = &mut w[o.start * inputs..o.end * inputs]; // w: (R, I)
            product(t, between, |m| left.of_column::<R>(o.start, m), right, w);
        });
    }
}

kernel! {
    /// The gradients by the parameters of both layers.
    ///
    /// - `parameters`: `W1` (M, I), `b1` (M), `W2` (O, M), `b2` (O)
    /// - `d_merged`: `d_W` (O, I), `d_b` (O)
    /// - `d_parameters`: as the parameters, written
    pub fn gradients(
        pair: &LinearLinear,
        parameters: &[f32],
        d_merged: &[f32],
        d_parameters: &mut [f32],
    ) = gradients_kernel;
}

#[inline(always)]
fn gradients_kernel<T: Lanes>(
    t: T,
    pair: &LinearLinear,
    parameters: &[f32],
    d_merged: &[f32],
    d_parameters: &mut [f32],
) {
    let (inputs, between) = (pair.first.in_features, pair.first.out_features);
    let outputs = pair.second.out_features;
    let (w1, parameters) = parameters.split_at(between * inputs);
    let (b1, w2) = parameters.split_at(between);
    let (d_w1, d_parameters) = d_parameters.split_at_mut(between * inputs);
    let (d_b1, d_parameters) = d_parameters.split_at_mut(between);
    let (d_w2, d_b2) = d_parameters.split_at_mut(outputs * between);
    let (d_w, d_b) = d_merged.split_at(outputs * inputs);
    let w1 = Matrix::new(w1, [between, inputs]); // w1: (M, I)
    let w2 = Matrix::new(w2, [outputs, between]); // w2: (O, M)
    let d_w = Matrix::new(d_w, [outputs, inputs]); // d_w: (O, I)

    for m in tiles(between, T::ROWS) {
        with_rows!(m.len(), T, R => {
            let d_w1 = &mut d_w1[m.start * inputs..m.end * inputs]; // d_w1: (R, I)
            product(t, outputs, |o| w2.of_row::<R>(o, m.start), d_w, d_w1);
        });
    }
    product(t, outputs, |o| [d_b[o]], w2, d_b1);
    for o in tiles(outputs, T::ROWS) {
        with_rows!(o.len(), T, R => {
            let d_w2 = &mut d_w2[o.start * between..o.end * between]; // d_w2: (R, M)
            inner_products::<T, R>(t, d_w, o.start, w1, d_w2);
            for (d_w2, d_b) in d_w2.chunks_exact_mut(between).zip(&d_b[o]) {
                for (d_w2, b1) in d_w2.iter_mut().zip(b1) {
                    *d_w2 += d_b * b1;
                }
            }
        });
    }
    d_b2.copy_from_slice(d_b);
}

/// `to[r][j] = sum over k of numbers(k)[r] right[k][j]`
///
/// - `right`: (depth, n)
/// - `to`: (R, n), written
#[inline(always)]
fn product<T: Lanes, const R: usize>(
    t: T,
    depth: usize,
    numbers: impl Fn(usize) -> [f32; R],
    right: Matrix<f32>,
    to: &mut [f32],
) {
    let columns = to.len() / R;
    let mut j = 0;
    while j < columns {
        if columns - j >= 4 * T::WIDTH {
            let mut tile = [[t.zero(); 4]; R];
            let vectors = |k| {
                let mut vectors = [t.zero(); 4];
                for (n, vector) in vectors.iter_mut().enumerate() {
                    *vector = right.load(t, k, j + n * T::WIDTH);
                }
                vectors
            };
            add_product(t, depth, &numbers, vectors, &mut tile);
            for (r, row) in tile.iter().enumerate() {
                for (n, &vector) in row.iter().enumerate() {
                    t.store(
                        vector,
                        &mut to[r * columns + j + n * T::WIDTH..][..T::WIDTH],
                    );
                }
            }
            j += 4 * T::WIDTH;
        } else {
            let length = T::WIDTH.min(columns - j);
            let mut tile = [[t.zero()]; R];
            let vectors = |k| [t.load_some(right.part_of_row(k, j, length))];
            add_product(t, depth, &numbers, vectors, &mut tile);
            for (r, &[vector]) in tile.iter().enumerate() {
                t.store(vector, &mut to[r * columns + j..][..length]);
            }
            j += length;
        }
    }
}

/// Rows of the right matrix that go together: as many as leave a tile of at most [`MAX_WIDTH`] sums.
const COLUMNS: usize = 3;

/// `to[r][c] = sum over k of left[first + r][k] right[c][k]`
///
/// - `left`: (n, depth), `right`: (m, depth)
/// - `to`: (R, m), written
#[inline(always)]
fn inner_products<T: Lanes, const R: usize>(
    t: T,
    left: Matrix<f32>,
    first: usize,
    right: Matrix<f32>,
    to: &mut [f32],
) {
    const { assert!(R * COLUMNS <= MAX_WIDTH) }
    let (depth, count) = (left.columns(), to.len() / R);
    let whole = depth / T::WIDTH * T::WIDTH;
    let mut lefts: [&[f32]; R] = [&[]; R];
    for (r, row) in lefts.iter_mut().enumerate() {
        *row = left.part_of_row(first + r, 0, depth);
    }
    for start in (0..count).step_by(COLUMNS) {
        // A row that is not there is the last one once more.
        let mut rights: [&[f32]; COLUMNS] = [right.part_of_row(count - 1, 0, depth); COLUMNS];
        for (row, there) in rights.iter_mut().zip(start..count) {
            *row = right.part_of_row(there, 0, depth);
        }
        let mut tile = [[t.zero(); COLUMNS]; R];
        for k in (0..whole).step_by(T::WIDTH) {
            // The length is known when it is compiled.
            add_inner_products(t, lefts, rights, k..k + T::WIDTH, &mut tile);
        }
        if whole < depth {
            add_inner_products(t, lefts, rights, whole..depth, &mut tile);
        }
        let mut vectors = [t.zero(); MAX_WIDTH];
        for (vector, &sums) in vectors.iter_mut().zip(tile.as_flattened()) {
            *vector = sums;
        }
        let mut sums = [0.0; MAX_WIDTH]; // sums: (R, three)
        for (vectors, sums) in vectors
            .chunks_exact(T::WIDTH)
            .zip(sums.chunks_exact_mut(T::WIDTH))
        {
            t.store(t.sums(vectors), sums);
        }
        for (to, sums) in to.chunks_exact_mut(count).zip(sums.chunks_exact(COLUMNS)) {
            for (to, &sum) in to[start..].iter_mut().zip(sums) {
                *to = sum;
            }
        }
    }
}

/// The part of the inner products that some of the columns have, at most a vector of them.
#[inline(always)]
fn add_inner_products<T: Lanes, const R: usize>(
    t: T,
    left: [&[f32]; R],
    right: [&[f32]; COLUMNS],
    columns: Range<usize>,
    tile: &mut Tile<T, R, COLUMNS>,
) {
    let (mut lefts, mut rights) = ([t.zero(); R], [t.zero(); COLUMNS]);
    for (row, vector) in left.into_iter().zip(&mut lefts) {
        *vector = t.load_some(&row[columns.clone()]);
    }
    for (row, vector) in right.into_iter().zip(&mut rights) {
        *vector = t.load_some(&row[columns.clone()]);
    }
    add_outer(t, 1, |_| lefts, |_| rights, tile);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::lanes::Portable;
    #[cfg(target_arch = "x86_64")]
    use crate::hardware::lanes::{Avx2, Avx512};
    use crate::layers::linear::Linear;

    /// Small whole numbers, of which every sum is exact.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let numbers = (seed..seed + count).map(|n| (n * 31 % 11) as f32 - 5.0);
        numbers.collect()
    }

    fn are_those_of_the_formulas<T: Lanes>(t: T) {
        // Rows shorter than a vector, of whole ones, and longer than four.
        for [inputs, between, outputs] in
            [[3, 4, 2], [16, 9, 13], [75, 6, 4], [1, 1, 1], [2, 70, 3]]
        {
            let pair = LinearLinear {
                first: Linear::new(inputs, between).unwrap(),
                second: Linear::new(between, outputs).unwrap(),
            };
            let parameters = numbers(pair.parameters_len(), 1);
            let (w1, rest) = parameters.split_at(between * inputs);
            let (b1, rest) = rest.split_at(between);
            let (w2, b2) = rest.split_at(outputs * between);
            let d_merged = numbers(pair.merged_len(), 5);
            let (d_w, d_b) = d_merged.split_at(outputs * inputs);
            let w1 = |m: usize, i: usize| w1[m * inputs + i];
            let w2 = |o: usize, m: usize| w2[o * between + m];
            let d_w = |o: usize, i: usize| d_w[o * inputs + i];
            let sum = |count, term: &dyn Fn(usize) -> f32| (0..count).map(term).sum::<f32>();

            let mut expected = Vec::new();
            for o in 0..outputs {
                expected.extend((0..inputs).map(|i| sum(between, &|m| w2(o, m) * w1(m, i))));
            }
            expected.extend((0..outputs).map(|o| b2[o] + sum(between, &|m| w2(o, m) * b1[m])));
            let mut found = vec![f32::NAN; pair.merged_len()];
            merge(t, &pair, &parameters, &mut found);
            assert_eq!(found, expected, "{pair:?}");

            let mut expected = Vec::new();
            for m in 0..between {
                expected.extend((0..inputs).map(|i| sum(outputs, &|o| w2(o, m) * d_w(o, i))));
            }
            expected.extend((0..between).map(|m| sum(outputs, &|o| w2(o, m) * d_b[o])));
            for (o, d_b) in d_b.iter().enumerate() {
                let d_w2 = |m: usize| sum(inputs, &|i| d_w(o, i) * w1(m, i)) + d_b * b1[m];
                expected.extend((0..between).map(d_w2));
            }
            expected.extend(d_b);
            let mut found = vec![f32::NAN; pair.parameters_len()];
            gradients(t, &pair, &parameters, &d_merged, &mut found);
            assert_eq!(found, expected, "{pair:?}");
        }
    }

    #[test]
    fn merged_weights_and_gradients_are_those_of_the_formulas() {
        are_those_of_the_formulas(Portable);
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(t) = Avx2::detect() {
                are_those_of_the_formulas(t);
            }
            if let Some(t) = Avx512::detect() {
                are_those_of_the_formulas(t);
            }
        }
    }
}
