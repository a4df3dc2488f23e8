//! With one input channel: filtering along the rows alone.
//!
//! Where a product is no sum over channels, there is one for every output channel, and each takes a
//! transform of its own. So the rows of taps are added up first, which only needs the rows to be
//! transformed: 8 r multiply-adds for m outputs instead of 64 for m^2, but no transform of columns,
//! and all that belongs to an output stays in registers until it is handed over.
//!
//! ```text
//! U[o, u] = G weight[o, u]     V[i] = B^T x[i]     y[o, i] = A^T sum over u of U[o, u] . V[i + u]
//! ```
//!
//! Every line is one of eight numbers, and `.` is element by element; u is a row of taps. Backward, by
//! the transposes:
//!
//! ```text
//! dM[o, i] = A d_y[o, i]     dU[o, u] = sum over i of dM[o, i] . V[i + u]     d_weight[o, u] = G^T dU[o, u]
//!                            dV[i] = sum over o, u of U[o, u] . dM[o, i - u]  d_x[i] = B dV[i]
//! ```
//!
//! An image is cut into **strips** of 8 columns, whose transform stays in the nearest cache while all
//! output channels go over it.

use super::transforms::{
    ENDS, PAIRS, Pair, input, input_transposed, output_transposed, output_transposed_at, weight_row,
};
use super::{POINTS, Winograd};
use crate::hardware::lanes::Lanes;
use crate::hardware::lanes::tile::array;
use crate::layers::conv2d::Conv2d;
use crate::layers::conv2d::lanes::{Gradients, Outputs};

/// Rows of outputs are filled up to a multiple of as many as are gone over together at most.
const MOST_ROWS: usize = 4;

/// Rows of outputs that are computed, filled up.
fn output_rows(conv: &Conv2d) -> usize {
    conv.output[0].next_multiple_of(MOST_ROWS)
}

/// Rows of a strip: those that the outputs' rows read.
fn input_rows(conv: &Conv2d) -> usize {
    output_rows(conv) + conv.window.kernel[0] - 1
}

/// How many numbers the transformed weight has: (O, r, 8).
pub(super) fn weight_len(conv: &Conv2d) -> usize {
    conv.out_channels * conv.window.kernel[0] * POINTS
}

/// How many vectors the transformed input has: (strips, rows, 8).
pub(super) fn input_len(winograd: &Winograd) -> usize {
    winograd.tiles[1] * input_rows(&winograd.conv) * POINTS
}

/// How many vectors of `width` lanes the backward pass needs for a while: the gradients of the
/// transformed weight (O, r, 8) and those summed over the lanes; the gradient by each bias (O); of a strip, the
/// gradients by the outputs of a channel (rows, m) and by the transformed input (rows, 8).
pub(super) fn scratch_len(winograd: &Winograd, width: usize) -> usize {
    let (conv, d_u) = (&winograd.conv, weight_len(&winograd.conv));
    let of_strip = output_rows(conv) * winograd.side + input_rows(conv) * POINTS;
    d_u + d_u.div_ceil(width) + conv.out_channels + of_strip
}

/// Floating-point operations of one example's forward pass.
pub(super) fn forward_flops(winograd: &Winograd) -> u64 {
    // Of three pairs the sums and differences, which two of them add to every output.
    let transforms = outputs_flops(winograd, 4 + 4 * winograd.side);
    products_flops(winograd) + transforms + inputs_flops(winograd, 38)
}

/// The same of the backward pass.
pub(super) fn backward_flops(winograd: &Winograd, d_x_wanted: bool) -> u64 {
    // For either gradient again: what one has is in registers.
    let transposed = winograd.transposed_flops() as usize;
    let each = products_flops(winograd) + outputs_flops(winograd, transposed);
    match d_x_wanted {
        true => 2 * each + inputs_flops(winograd, 39),
        false => each,
    }
}

fn products_flops(winograd: &Winograd) -> u64 {
    outputs_flops(winograd, 2 * POINTS * winograd.conv.window.kernel[0])
}

/// Those of every m outputs, each of `once`.
fn outputs_flops(winograd: &Winograd, once: usize) -> u64 {
    let conv = &winograd.conv;
    (once * conv.out_channels * conv.output[0] * winograd.tiles[1]) as u64
}

/// Those of every 8 pixels, each of `once`.
fn inputs_flops(winograd: &Winograd, once: usize) -> u64 {
    let conv = &winograd.conv;
    (once * (conv.output[0] + conv.window.kernel[0] - 1) * winograd.tiles[1]) as u64
}

/// `G`
fn matrix<const R: usize>() -> [[f32; R]; POINTS] {
    std::array::from_fn(weight_row)
}

/// `U = G weight`
///
/// - `weight`: (O, r, r)
/// - `u`: (O, r, 8), written
#[inline(always)]
pub(super) fn transform_weight<T: Lanes, const R: usize>(t: T, weight: &[f32], u: &mut [f32]) {
    let rows = matrix::<R>();
    let mut columns = [t.zero(); R];
    for (v, column) in columns.iter_mut().enumerate() {
        *column = t.load_some(&rows.map(|row| row[v]));
    }
    for (taps, u) in weight
        .as_chunks::<R>()
        .0
        .iter()
        .zip(u.chunks_exact_mut(POINTS))
    {
        let mut sum = t.zero();
        for (&tap, &column) in taps.iter().zip(&columns) {
            sum = t.fma(t.splat(tap), column, sum);
        }
        t.store(sum, u);
    }
}

/// - `x`: (H, W)
/// - `u`: (O, r, 8)
/// - `v`: (strips, rows, 8), written
/// - `y`: takes the outputs, by two or four rows and as many columns as a tile has
#[inline(always)]
pub(super) fn forward<T: Lanes>(
    t: T,
    winograd: &Winograd,
    x: &[T::Vector],
    u: &[f32],
    v: &mut [T::Vector],
    y: &mut impl Outputs<T>,
) {
    // As many rows at once as there are registers for.
    match (winograd.side, T::ROWS) {
        (4, 5) => strips::<T, 5, 4, 4>(t, &winograd.conv, x, u, v, y),
        (4, _) => strips::<T, 5, 4, 2>(t, &winograd.conv, x, u, v, y),
        (_, _) => strips::<T, 3, 6, 2>(t, &winograd.conv, x, u, v, y),
    }
}

/// Every strip is transformed, and goes to all outputs, `N` rows at a time.
#[inline(always)]
fn strips<T: Lanes, const R: usize, const M: usize, const N: usize>(
    t: T,
    conv: &Conv2d,
    x: &[T::Vector],
    u: &[f32],
    v: &mut [T::Vector],
    y: &mut impl Outputs<T>,
) {
    let filters = u.as_chunks().0.as_chunks::<R>().0; // filters: (O) of r by 8
    let strips = v.as_chunks_mut().0.chunks_exact_mut(input_rows(conv));
    for (strip, v) in strips.enumerate() {
        transform_input(t, conv, strip * M, x, v);
        for (o, u) in filters.iter().enumerate() {
            for i in (0..conv.output[0]).step_by(N) {
                let pixels = outputs::<T, R, M, N>(t, u, &v[i..]);
                y.put(t, o, [i, strip * M], pixels);
            }
        }
    }
}

/// `V = B^T x` for the strip whose first column is `first`.
///
/// - `x`: (H, W)
/// - `v`: (rows) of eight, written
#[inline(always)]
fn transform_input<T: Lanes>(
    t: T,
    conv: &Conv2d,
    first: usize,
    x: &[T::Vector],
    v: &mut [[T::Vector; POINTS]],
) {
    let ([height, width], [above, left]) = (conv.input, conv.window.padding);
    for (i, v) in v.iter_mut().enumerate() {
        let mut pixels = [t.zero(); POINTS];
        if i >= above && i < height + above {
            let row = &x[(i - above) * width..][..width];
            match first
                .checked_sub(left)
                .and_then(|first| row.get(first..first + POINTS))
            {
                Some(row) => pixels.copy_from_slice(row),
                None => {
                    for (n, pixel) in pixels.iter_mut().enumerate() {
                        if let Some(&number) = row.get((first + n).wrapping_sub(left)) {
                            *pixel = number;
                        }
                    }
                }
            }
        }
        *v = input(t, pixels);
    }
}

/// `N` rows of `M` outputs.
///
/// - `u`: (r, 8)
/// - `v`: the strip from the first row on
#[inline(always)]
fn outputs<T: Lanes, const R: usize, const M: usize, const N: usize>(
    t: T,
    u: &[[f32; POINTS]; R],
    v: &[[T::Vector; POINTS]],
) -> [[T::Vector; M]; N] {
    let v = &v[..R + N - 1];
    let [one, two, half] = PAIRS;
    // The powers of 1 are all 1.
    let parts = even_and_odd::<T, R, N>(t, u, v, one.rows);
    let mut y = [[t.zero(); M]; N];
    for (row, parts) in y.iter_mut().zip(parts) {
        for (k, sum) in row.iter_mut().enumerate() {
            *sum = parts[k % 2];
        }
    }
    // Not as the last ones, for their sums are each a chain that would be waited for.
    let mut sums = y.map(|row: [_; M]| [row[0], row[M - 1]]);
    add_products(t, u, v, ENDS, &mut sums);
    for (row, sums) in y.iter_mut().zip(sums) {
        [row[0], row[M - 1]] = sums;
    }
    add_pair(t, u, v, two, &mut y);
    add_pair(t, u, v, half, &mut y);
    y
}

/// What a point and its opposite add to `N` rows of outputs.
#[inline(always)]
fn add_pair<T: Lanes, const R: usize, const M: usize, const N: usize>(
    t: T,
    u: &[[f32; POINTS]; R],
    v: &[[T::Vector; POINTS]],
    Pair { rows, point, .. }: Pair,
    y: &mut [[T::Vector; M]; N],
) {
    for (row, parts) in y.iter_mut().zip(even_and_odd::<T, R, N>(t, u, v, rows)) {
        for (k, sum) in row.iter_mut().enumerate() {
            *sum = match k {
                0 => t.add(parts[0], *sum),
                _ => t.fma(t.splat(point.powi(k as i32)), parts[k % 2], *sum),
            };
        }
    }
}

/// The sum and the difference of a point's products and its opposite's: their even powers are the same, the
/// odd ones are not.
#[inline(always)]
fn even_and_odd<T: Lanes, const R: usize, const N: usize>(
    t: T,
    u: &[[f32; POINTS]; R],
    v: &[[T::Vector; POINTS]],
    rows: [usize; 2],
) -> [[T::Vector; 2]; N] {
    let mut sums = [[t.zero(); 2]; N];
    add_products(t, u, v, rows, &mut sums);
    for [plus, minus] in &mut sums {
        [*plus, *minus] = [t.add(*plus, *minus), t.sub(*plus, *minus)];
    }
    sums
}

/// `sums[n] += sum over u of U[u] . V[n + u]` at two points, for a sum is a chain that others fill the
/// waits of.
///
/// - `u`: (r, 8), `v`: (r + n - 1, 8)
#[inline(always)]
fn add_products<T: Lanes, const R: usize, const N: usize>(
    t: T,
    u: &[[f32; POINTS]; R],
    v: &[[T::Vector; POINTS]],
    points: [usize; 2],
    sums: &mut [[T::Vector; 2]; N],
) {
    for tap in 0..R {
        let weights = [t.splat(u[tap][points[0]]), t.splat(u[tap][points[1]])];
        for n in 0..N {
            for k in 0..2 {
                sums[n][k] = t.fma(weights[k], v[n + tap][points[k]], sums[n][k]);
            }
        }
    }
}

/// - `u`: (O, r, 8), `v`: (strips, rows, 8)
/// - `d_x`: (H, W) vectors, written
/// - `scratch`: [`scratch_len`] vectors
/// - `d_weight`: (O, r, r), `d_bias`: (O), added to
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
pub(super) fn backward<T: Lanes>(
    t: T,
    winograd: &Winograd,
    u: &[f32],
    v: &[T::Vector],
    d_y: &impl Gradients<T>,
    d_x: Option<&mut [T::Vector]>,
    scratch: &mut [T::Vector],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let conv = &winograd.conv;
    // As many rows at once as there are registers for.
    match (winograd.side, T::ROWS) {
        (4, 5) => gradients::<T, 5, 4, 4>(t, conv, u, v, d_y, d_x, scratch, d_weight, d_bias),
        (4, _) => gradients::<T, 5, 4, 2>(t, conv, u, v, d_y, d_x, scratch, d_weight, d_bias),
        (_, _) => gradients::<T, 3, 6, 2>(t, conv, u, v, d_y, d_x, scratch, d_weight, d_bias),
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
fn gradients<T: Lanes, const R: usize, const M: usize, const N: usize>(
    t: T,
    conv: &Conv2d,
    u: &[f32],
    v: &[T::Vector],
    d_y: &impl Gradients<T>,
    mut d_x: Option<&mut [T::Vector]>,
    scratch: &mut [T::Vector],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let len = weight_len(conv);
    let (d_u, scratch) = scratch.split_at_mut(len);
    let (sums, scratch) = scratch.split_at_mut(len.div_ceil(T::WIDTH));
    let (bias_sums, scratch) = scratch.split_at_mut(conv.out_channels);
    let (d_rows, scratch) = scratch.split_at_mut(output_rows(conv) * M);
    let d_v = &mut scratch[..input_rows(conv) * POINTS];

    d_u.fill(t.zero());
    bias_sums.fill(t.zero());
    if let Some(d_x) = &mut d_x {
        d_x.fill(t.zero());
    }
    let filters = u.as_chunks().0.as_chunks::<R>().0; // filters: (O) of r by 8
    let d_filters = d_u.as_chunks_mut().0.as_chunks_mut::<R>().0; // the same of vectors
    let d_rows = d_rows.as_chunks_mut().0; // d_rows: (rows) of m
    let d_v = d_v.as_chunks_mut().0; // d_v: (rows) of eight
    for (strip, v) in v.as_chunks().0.chunks_exact(input_rows(conv)).enumerate() {
        if d_x.is_some() {
            d_v.fill([t.zero(); POINTS]);
        }
        for (o, (u, d_u)) in filters.iter().zip(&mut *d_filters).enumerate() {
            let sum = weight_gradients::<T, R, M, N>(t, d_y, [o, strip * M], d_rows, v, d_u);
            bias_sums[o] = t.add(bias_sums[o], sum);
            if d_x.is_some() {
                input_gradients::<T, R, M>(t, u, d_rows, d_v);
            }
        }
        if let Some(d_x) = &mut d_x {
            add_d_x(t, conv, strip * M, d_v, d_x);
        }
    }

    t.add_sums(bias_sums, d_bias);
    let sums = &mut t.numbers_mut(sums)[..len]; // sums: (O, r, 8)
    sums.fill(0.0);
    t.add_sums(d_u, sums);
    let mut rows = [t.zero(); POINTS];
    for (vector, row) in rows.iter_mut().zip(matrix::<R>()) {
        *vector = t.load_some(&row);
    }
    for (sums, d_weight) in sums.chunks_exact(POINTS).zip(d_weight.chunks_exact_mut(R)) {
        let mut taps = t.load_some(d_weight);
        for (&sum, &row) in sums.iter().zip(&rows) {
            taps = t.fma(t.splat(sum), row, taps);
        }
        t.store(taps, d_weight);
    }
}

/// `dU[u] += sum over i of dM[i] . V[i + u]` of channel `o` in the strip whose first column is `first`, two
/// points at a time. Gives the sum of the channel's gradients in the strip, which the point 1 adds up.
///
/// - `d_rows`: (rows) of m, written: the gradients by the outputs
/// - `d_u`: (r, 8), added to
#[inline(always)]
fn weight_gradients<T: Lanes, const R: usize, const M: usize, const N: usize>(
    t: T,
    d_y: &impl Gradients<T>,
    [o, first]: [usize; 2],
    d_rows: &mut [[T::Vector; M]],
    v: &[[T::Vector; POINTS]],
    d_u: &mut [[T::Vector; POINTS]; R],
) -> T::Vector {
    // Taken where they are first needed: they are written while products are computed.
    let taken = |i| {
        let rows: &mut [[T::Vector; M]; N] = (&mut d_rows[i..i + N]).try_into().expect("N rows");
        [rows[0], rows[1]] = d_y.take(t, o, [i, first]);
        if N > 2 {
            [rows[2], rows[3]] = d_y.take(t, o, [i + 2, first]);
        }
        *rows
    };
    add_d_u::<T, R, M, N>(t, taken, v, ENDS, None, d_u);
    let kept = |i| array(d_rows, i);
    let [one, two, half] = PAIRS;
    let sum = add_d_u::<T, R, M, N>(t, kept, v, one.rows, Some(one.point), d_u);
    add_d_u::<T, R, M, N>(t, kept, v, two.rows, Some(two.point), d_u);
    add_d_u::<T, R, M, N>(t, kept, v, half.rows, Some(half.point), d_u);
    sum
}

/// The same for two rows of the matrices: those of a pair of points, or the ends. Gives the sum of the
/// first row's `dM`.
///
/// - `rows`: gives the gradients by `N` rows of outputs, from a given one on
#[inline(always)]
fn add_d_u<T: Lanes, const R: usize, const M: usize, const N: usize>(
    t: T,
    mut rows: impl FnMut(usize) -> [[T::Vector; M]; N],
    v: &[[T::Vector; POINTS]],
    points: [usize; 2],
    pair: Option<f32>,
    d_u: &mut [[T::Vector; POINTS]; R],
) -> T::Vector {
    let mut sums = [[t.zero(); 2]; R];
    let mut total = t.zero();
    for first in (0..v.len() - (R - 1)).step_by(N) {
        let v = &v[first..first + N + R - 1];
        let mut d_m = [[t.zero(); 2]; N];
        for (d_m, row) in d_m.iter_mut().zip(rows(first)) {
            *d_m = match pair {
                Some(point) => output_transposed_at(t, point, row),
                None => [row[0], row[M - 1]],
            };
        }
        for n in 0..N {
            total = t.add(total, d_m[n][0]);
            for tap in 0..R {
                for k in 0..2 {
                    sums[tap][k] = t.fma(d_m[n][k], v[n + tap][points[k]], sums[tap][k]);
                }
            }
        }
    }
    for (sums, d_u) in sums.into_iter().zip(d_u) {
        for (sum, point) in sums.into_iter().zip(points) {
            d_u[point] = t.add(d_u[point], sum);
        }
    }
    total
}

/// `dV[i] += sum over u of U[u] . dM[i - u]`
///
/// - `u`: (r, 8), `d_rows`: (rows) of m
/// - `d_v`: (rows) of eight, added to
#[inline(always)]
fn input_gradients<T: Lanes, const R: usize, const M: usize>(
    t: T,
    u: &[[f32; POINTS]; R],
    d_rows: &[[T::Vector; M]],
    d_v: &mut [[T::Vector; POINTS]],
) {
    for (i, &row) in d_rows.iter().enumerate() {
        let d_m = output_transposed(t, row);
        for (u, d_v) in u.iter().zip(&mut d_v[i..]) {
            for (d_v, (&u, &d_m)) in d_v.iter_mut().zip(u.iter().zip(&d_m)) {
                *d_v = t.fma(t.splat(u), d_m, *d_v);
            }
        }
    }
}

/// `d_x += B dV` for the strip whose first column is `first`.
///
/// - `d_v`: (rows) of eight
/// - `d_x`: (H, W), added to
#[inline(always)]
fn add_d_x<T: Lanes>(
    t: T,
    conv: &Conv2d,
    first: usize,
    d_v: &[[T::Vector; POINTS]],
    d_x: &mut [T::Vector],
) {
    let ([height, width], [above, left]) = (conv.input, conv.window.padding);
    for (d_v, d_x) in d_v[above..]
        .iter()
        .zip(d_x.chunks_exact_mut(width))
        .take(height)
    {
        for (n, pixel) in input_transposed(t, *d_v).into_iter().enumerate() {
            if let Some(d_x) = d_x.get_mut((first + n).wrapping_sub(left)) {
                *d_x = t.add(*d_x, pixel);
            }
        }
    }
}
