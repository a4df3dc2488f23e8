//! What is done once a batch, with neighbouring features in the lanes. Each image goes through the one
//! layer by [`crate::layers::linear::lanes`].

use std::ops::Range;

use super::LinearLinear;
use crate::hardware::lanes::tile::{Matrix, Tile, add_outer, add_product};
use crate::hardware::lanes::{Lanes, MAX_WIDTH, kernel, tiles, with_rows};
use crate::layers::linear::one_image;

/// Parameters or gradients as `W1 b1 W2 b2`: where each begins.
struct Places {
    b1: usize,
    w2: usize,
    b2: usize,
    end: usize,
}

impl Places {
    fn of(pair: &LinearLinear) -> Self {
        let [between, outputs] = [pair.first.out_features, pair.second.out_features];
        let b1 = between * pair.first.in_features;
        let w2 = b1 + between;
        let b2 = w2 + outputs * between;
        Self {
            b1,
            w2,
            b2,
            end: b2 + outputs,
        }
    }
}

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
    let places = Places::of(pair);
    let (w1, b1) = parameters[..places.w2].split_at(places.b1);
    let (w2, b2) = parameters[places.w2..places.end].split_at(outputs * between);
    let (w, b) = merged.split_at_mut(outputs * inputs);
    one_image::forward_kernel(t, &pair.second, b1, w2, b2, b);
    let right = Matrix::new(w1, [between, inputs]); // right: (M, I)
    let left = Matrix::new(w2, [outputs, between]); // left: (O, M)
    for o in tiles(outputs, T::ROWS) {
        with_rows!(o.len(), T, R => {
            let w = &mut w[o.start * inputs..o.end * inputs]; // w: (R, I)
            let numbers = |m| left.of_column::<R>(o.start, m);
            product(t, between, numbers, right, 0..inputs, w);
        });
    }
}

kernel! {
    /// Some of the gradients by the parameters of both layers.
    ///
    /// - `parameters`: `W1` (M, I), `b1` (M), `W2` (O, M), `b2` (O)
    /// - `d_merged`: `d_W` (O, I), `d_b` (O)
    /// - `range`: which of the parameters, as they stand
    /// - `d_parameters`: as many, written
    pub fn gradients(
        pair: &LinearLinear,
        parameters: &[f32],
        d_merged: &[f32],
        range: Range<usize>,
        d_parameters: &mut [f32],
    ) = gradients_kernel;
}

#[inline(always)]
fn gradients_kernel<T: Lanes>(
    t: T,
    pair: &LinearLinear,
    parameters: &[f32],
    d_merged: &[f32],
    range: Range<usize>,
    d_parameters: &mut [f32],
) {
    let (inputs, between) = (pair.first.in_features, pair.first.out_features);
    let outputs = pair.second.out_features;
    let places = Places::of(pair);
    let (w1, b1) = parameters[..places.w2].split_at(places.b1);
    let w1 = Matrix::new(w1, [between, inputs]); // w1: (M, I)
    let w2 = Matrix::new(&parameters[places.w2..], [outputs, between]); // w2: (O, M)
    let (d_w, d_b) = d_merged.split_at(outputs * inputs);
    let d_w = Matrix::new(d_w, [outputs, inputs]); // d_w: (O, I)

    // What is asked for of each tensor, from its own beginning, and the room for it.
    let mut rest = &mut d_parameters[..range.len()];
    let mut part = |tensor: Range<usize>| {
        let start = range.start.clamp(tensor.start, tensor.end);
        let end = range.end.clamp(start, tensor.end);
        let room = rest.split_off_mut(..end - start).unwrap_or_default();
        (start - tensor.start, room)
    };

    let (mut first, mut d_w1) = part(0..places.b1);
    while !d_w1.is_empty() {
        let (m, i) = (first / inputs, first % inputs);
        // Some whole rows, or what there is of one.
        let rows = T::ROWS.min(if i == 0 { d_w1.len() / inputs } else { 0 });
        let length = match rows {
            0 => d_w1.len().min(inputs - i),
            _ => rows * inputs,
        };
        let to = d_w1.split_off_mut(..length).unwrap_or_default();
        if rows == 0 {
            product(t, outputs, |o| [*w2.at(o, m)], d_w, i..i + length, to);
        } else {
            with_rows!(rows, T, R => {
                product(t, outputs, |o| w2.of_row::<R>(o, m), d_w, 0..inputs, to);
            });
        }
        first += length;
    }

    let (first, d_b1) = part(places.b1..places.w2);
    let d_b_of = |o| [d_b[o]];
    product(t, outputs, d_b_of, w2, first..first + d_b1.len(), d_b1);

    let (first, d_w2) = part(places.w2..places.b2);
    let rows = first / between..(first + d_w2.len()).div_ceil(between);
    for o in tiles(rows.len(), T::ROWS) {
        let o = rows.start + o.start..rows.start + o.end;
        with_rows!(o.len(), T, R => {
            for m in (0..between).step_by(COLUMNS) {
                // Rows that are not there are the last one once more.
                let m: [_; COLUMNS] = std::array::from_fn(|n| (m + n).min(between - 1));
                let sums = inner_products::<T, R>(t, inputs, d_w, o.start, w1, m);
                for (o, sums) in o.clone().zip(sums.chunks_exact(COLUMNS)) {
                    for (&m, sum) in m.iter().zip(sums) {
                        let place = (o * between + m).wrapping_sub(first);
                        if let Some(d_w2) = d_w2.get_mut(place) {
                            *d_w2 = sum + d_b[o] * b1[m];
                        }
                    }
                }
            }
        });
    }

    let (first, d_b2) = part(places.b2..places.end);
    d_b2.copy_from_slice(&d_b[first..][..d_b2.len()]);
}

/// `to[r][j] = sum over k of numbers(k)[r] right[k][j]` for some columns j.
///
/// - `right`: (depth, n)
/// - `to`: (R, columns), written
#[inline(always)]
fn product<T: Lanes, const R: usize>(
    t: T,
    depth: usize,
    numbers: impl Fn(usize) -> [f32; R],
    right: Matrix<f32>,
    columns: Range<usize>,
    to: &mut [f32],
) {
    let apart = columns.len();
    let mut j = 0;
    while j < apart {
        let first = columns.start + j;
        if apart - j >= 4 * T::WIDTH {
            let mut tile = [[t.zero(); 4]; R];
            let vectors = |k| {
                let mut vectors = [t.zero(); 4];
                for (n, vector) in vectors.iter_mut().enumerate() {
                    *vector = right.load(t, k, first + n * T::WIDTH);
                }
                vectors
            };
            add_product(t, depth, &numbers, vectors, &mut tile);
            for (r, row) in tile.iter().enumerate() {
                for (n, &vector) in row.iter().enumerate() {
                    t.store(vector, &mut to[r * apart + j + n * T::WIDTH..][..T::WIDTH]);
                }
            }
            j += 4 * T::WIDTH;
        } else {
            let length = T::WIDTH.min(apart - j);
            let mut tile = [[t.zero()]; R];
            let vectors = |k| [t.load_some(right.part_of_row(k, first, length))];
            add_product(t, depth, &numbers, vectors, &mut tile);
            for (r, &[vector]) in tile.iter().enumerate() {
                t.store(vector, &mut to[r * apart + j..][..length]);
            }
            j += length;
        }
    }
}

/// Rows of the first layer whose inner products are added up together.
const COLUMNS: usize = 3;

/// The inner products of `R` rows of one matrix and three of another, row by row.
///
/// - `left`: (n, depth), `right`: (n, depth)
#[inline(always)]
fn inner_products<T: Lanes, const R: usize>(
    t: T,
    depth: usize,
    left: Matrix<f32>,
    first: usize,
    right: Matrix<f32>,
    rows: [usize; COLUMNS],
) -> [f32; MAX_WIDTH] {
    let mut tile = [[t.zero(); COLUMNS]; R];
    let whole = depth / T::WIDTH * T::WIDTH;
    for k in (0..whole).step_by(T::WIDTH) {
        // The lengths of all parts are known when it is compiled.
        add_inner_products(t, left, first, right, rows, k, T::WIDTH, &mut tile);
    }
    if whole < depth {
        add_inner_products(t, left, first, right, rows, whole, depth - whole, &mut tile);
    }
    let mut block = [t.zero(); MAX_WIDTH];
    for (vector, &sums) in block.iter_mut().zip(tile.as_flattened()) {
        *vector = sums;
    }
    let mut numbers = [0.0; MAX_WIDTH];
    for (vectors, numbers) in block
        .chunks_exact(T::WIDTH)
        .zip(numbers.chunks_exact_mut(T::WIDTH))
    {
        t.store(t.sums(vectors), numbers);
    }
    numbers
}

/// The part of the inner products that `length` columns from `k` on have, at most a vector of them.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two places in two matrices")]
fn add_inner_products<T: Lanes, const R: usize>(
    t: T,
    left: Matrix<f32>,
    first: usize,
    right: Matrix<f32>,
    rows: [usize; COLUMNS],
    k: usize,
    length: usize,
    tile: &mut Tile<T, R, COLUMNS>,
) {
    let (mut lefts, mut rights) = ([t.zero(); R], [t.zero(); COLUMNS]);
    for (r, vector) in lefts.iter_mut().enumerate() {
        *vector = t.load_some(left.part_of_row(first + r, k, length));
    }
    for (&row, vector) in rows.iter().zip(&mut rights) {
        *vector = t.load_some(right.part_of_row(row, k, length));
    }
    add_outer(t, 1, |_| lefts, |_| rights, tile);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::lanes::Portable;
    use crate::layers::linear::Linear;

    fn numbers(count: usize, first: usize) -> Vec<f32> {
        (first..first + count)
            .map(|n| (n * 37 % 23) as f32 / 8.0 - 1.25)
            .collect()
    }

    /// Each thread asks for another range, and all must get the same bits.
    #[test]
    fn gradients_do_not_depend_on_the_range_that_is_asked_for() {
        // Rows shorter than a vector, of whole ones, and longer than four.
        for [i, m, o] in [[3, 4, 2], [16, 9, 3], [75, 6, 4], [1, 1, 1]] {
            let pair = LinearLinear {
                first: Linear::new(i, m).unwrap(),
                second: Linear::new(m, o).unwrap(),
            };
            let count = Places::of(&pair).end;
            let (parameters, d_merged) = (numbers(count, 0), numbers(pair.merged_len(), 5));
            let gradients = |range: Range<usize>| {
                let mut found = vec![f32::NAN; range.len()];
                super::gradients(Portable, &pair, &parameters, &d_merged, range, &mut found);
                found
            };
            let whole = gradients(0..count);
            assert!(whole.iter().all(|number| number.is_finite()));
            for start in 0..count {
                for end in [start, start + 1, start + i / 2, start + 2 * i + 1, count] {
                    let range = start..end.min(count);
                    assert_eq!(gradients(range.clone()), whole[range.clone()], "{range:?}");
                }
            }
        }
    }
}
