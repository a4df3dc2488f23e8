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
    while let Some((m, columns, to)) = next_piece(&mut first, &mut d_w1, inputs, T::ROWS) {
        with_rows!(m.len(), T, R => {
            product(t, outputs, |o| w2.of_row::<R>(o, m.start), d_w, columns, to);
        });
    }

    let (first, d_b1) = part(places.b1..places.w2);
    let columns = first..first + d_b1.len();
    product(t, outputs, |o| [d_b[o]], w2, columns, d_b1);

    let (mut first, mut d_w2) = part(places.w2..places.b2);
    while let Some((o, m, to)) = next_piece(&mut first, &mut d_w2, between, T::ROWS) {
        with_rows!(o.len(), T, R => {
            inner_products::<T, R>(t, inputs, d_w, o.start, w1, m.clone(), to);
        });
        for (row, d_b) in to.chunks_exact_mut(m.len()).zip(&d_b[o]) {
            for (d_w2, b1) in row.iter_mut().zip(&b1[m.clone()]) {
                *d_w2 += d_b * b1;
            }
        }
    }

    let (first, d_b2) = part(places.b2..places.end);
    d_b2.copy_from_slice(&d_b[first..][..d_b2.len()]);
}

/// The next piece of a matrix whose elements from `first` on are wanted, as many as there is `room` for:
/// its rows, its columns and its room. It is at most `most` whole rows, or what is wanted of one.
fn next_piece<'a>(
    first: &mut usize,
    room: &mut &'a mut [f32],
    columns: usize,
    most: usize,
) -> Option<(Range<usize>, Range<usize>, &'a mut [f32])> {
    if room.is_empty() {
        return None;
    }
    let (row, column) = (*first / columns, *first % columns);
    let (rows, columns) = match (column, room.len() / columns) {
        (0, whole @ 1..) => (row..row + whole.min(most), 0..columns),
        _ => (row..row + 1, column..columns.min(column + room.len())),
    };
    let count = rows.len() * columns.len();
    *first += count;
    Some((rows, columns, room.split_off_mut(..count)?))
}

/// `to[r][j] = sum over k of numbers(k)[r] right[k][j]` for some of the columns j.
///
/// - `right`: (depth, n)
/// - `columns`: which
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

/// Rows of the right matrix that go together: as many as leave a tile of at most [`MAX_WIDTH`] sums.
const COLUMNS: usize = 3;

/// `to[r][c] = sum over k of left[first + r][k] right[c][k]` for some of the rows c.
///
/// - `left`: (n, depth), `right`: (m, depth)
/// - `rows`: which of the right matrix
/// - `to`: (R, rows), written
#[inline(always)]
fn inner_products<T: Lanes, const R: usize>(
    t: T,
    depth: usize,
    left: Matrix<f32>,
    first: usize,
    right: Matrix<f32>,
    rows: Range<usize>,
    to: &mut [f32],
) {
    const { assert!(R * COLUMNS <= MAX_WIDTH) }
    let whole = depth / T::WIDTH * T::WIDTH;
    let mut lefts: [&[f32]; R] = [&[]; R];
    for (r, row) in lefts.iter_mut().enumerate() {
        *row = left.part_of_row(first + r, 0, depth);
    }
    for start in rows.clone().step_by(COLUMNS) {
        // A row that is not there is the last one once more.
        let mut rights: [&[f32]; COLUMNS] = [right.part_of_row(rows.end - 1, 0, depth); COLUMNS];
        for (row, there) in rights.iter_mut().zip(start..rows.end) {
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
        let to = to.chunks_exact_mut(rows.len());
        for (to, sums) in to.zip(sums.chunks_exact(COLUMNS)) {
            for (to, &sum) in to[start - rows.start..].iter_mut().zip(sums) {
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

    /// None of which is exact, so that another order of summation is other bits.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let numbers = (seed..seed + count).map(|n| (n as f32 * 12.9898).sin());
        numbers.collect()
    }

    /// Each thread asks for other ranges, and all must get the same bits.
    fn gradients_of_any_range<T: Lanes>(t: T) {
        // Rows shorter than a vector, of whole ones, and longer than four.
        for [i, m, o] in [[3, 4, 2], [16, 9, 13], [75, 6, 4], [1, 1, 1], [2, 70, 3]] {
            let pair = LinearLinear {
                first: Linear::new(i, m).unwrap(),
                second: Linear::new(m, o).unwrap(),
            };
            let count = Places::of(&pair).end;
            let (parameters, d_merged) = (numbers(count, 0), numbers(pair.merged_len(), 5));
            let gradients = |range: Range<usize>| -> Vec<u32> {
                let mut found = vec![f32::NAN; range.len()];
                super::gradients(t, &pair, &parameters, &d_merged, range, &mut found);
                found.into_iter().map(f32::to_bits).collect()
            };
            let whole = gradients(0..count);
            for start in 0..count {
                for end in [start, start + 1, start + i / 2, start + 2 * i + 1, count] {
                    let range = start..end.min(count);
                    assert_eq!(gradients(range.clone()), whole[range.clone()], "{range:?}");
                }
            }
        }
    }

    #[test]
    fn gradients_do_not_depend_on_the_range_that_is_asked_for() {
        gradients_of_any_range(Portable);
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(t) = Avx2::detect() {
                gradients_of_any_range(t);
            }
            if let Some(t) = Avx512::detect() {
                gradients_of_any_range(t);
            }
        }
    }
}
