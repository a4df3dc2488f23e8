//! The backward pass, row after row of points as the forward pass.

use super::transforms::{ONE, input_transposed, output_row, output_transposed};
use super::weight::{add_d_weights, gradient_groups};
use super::{POINTS, PRODUCTS, Winograd, eight, one_channel, spacing, u_apart, write_eight};
use crate::hardware::lanes::tile::{Matrix, add_product, array};
use crate::hardware::lanes::{Lanes, MAX_WIDTH, QUAD, kernel, tiles, with_rows};
use crate::layers::conv2d::lanes::Gradients;

/// Vectors that a pass needs for a while.
struct Lengths {
    /// The gradients of the transformed weight: (64, groups of outputs, quads of channels).
    d_u: usize,
    /// The outputs' gradients with their columns transformed: (8, O, block, m).
    d_y_half: usize,
    /// One row of the products' gradients: (8, O, block).
    d_m: usize,
    /// Those of one point, turned by quads: (block, quads of a vector, groups of outputs).
    turned: usize,
    /// Those of one channel's tile with their rows transformed: (8, 8).
    d_x_half: usize,
    /// The gradient by each bias, lane by lane: (O).
    sums: usize,
}

impl Lengths {
    fn of(winograd: &Winograd, width: usize) -> Self {
        let (conv, block) = (&winograd.conv, winograd.block);
        let [groups, quads] = gradient_groups(conv, width);
        Self {
            d_u: PRODUCTS * groups * quads,
            d_y_half: POINTS * spacing(conv.out_channels * block * winograd.side),
            d_m: POINTS * spacing(conv.out_channels * block),
            turned: block * (width / QUAD) * groups,
            d_x_half: PRODUCTS,
            sums: conv.out_channels,
        }
    }
}

/// How many vectors of `width` lanes the pass needs for a while.
pub(super) fn scratch_len(winograd: &Winograd, width: usize) -> usize {
    let lengths = Lengths::of(winograd, width);
    let gradients = lengths.d_u + lengths.d_y_half + lengths.d_m;
    gradients + lengths.turned + lengths.d_x_half + lengths.sums
}

kernel! {
    /// The gradients by weight, bias and input.
    ///
    /// - `u`: [`Winograd::weight_len`] numbers, from [`super::transform_weight`]
    /// - `v`: [`Winograd::input_len`] vectors, from the forward pass; written: `dV` takes the place of each
    ///   `V[f]` that is not needed any more
    /// - `d_y`: gives the gradients by the outputs, by two rows and an even number of columns
    /// - `d_x`: (C, H, W) vectors, written; `None` for a network's first layer, whose input needs none
    /// - `scratch`: [`Winograd::scratch_len`] vectors
    /// - `d_weight`: (O, C, r, r), `d_bias`: (O), added to: the sum over all lanes
    pub fn backward[Y: Gradients<T>](
        winograd: &Winograd,
        u: &[f32],
        v: &mut [T::Vector],
        d_y: &Y,
        d_x: Option<&mut [T::Vector]>,
        scratch: &mut [T::Vector],
        d_weight: &mut [f32],
        d_bias: &mut [f32],
    ) = backward_kernel;
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
fn backward_kernel<T: Lanes, Y: Gradients<T>>(
    t: T,
    winograd: &Winograd,
    u: &[f32],
    v: &mut [T::Vector],
    d_y: &Y,
    mut d_x: Option<&mut [T::Vector]>,
    scratch: &mut [T::Vector],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let conv = &winograd.conv;
    if winograd.along_rows() {
        return one_channel::backward(t, winograd, u, v, d_y, d_x, scratch, d_weight, d_bias);
    }
    let lengths = Lengths::of(winograd, T::WIDTH);
    let (d_u, scratch) = scratch.split_at_mut(lengths.d_u);
    let (d_m, scratch) = scratch.split_at_mut(lengths.d_m);
    let (turned, scratch) = scratch.split_at_mut(lengths.turned);
    let (d_x_half, scratch) = scratch.split_at_mut(lengths.d_x_half);
    let (sums, scratch) = scratch.split_at_mut(lengths.sums);
    // The last, since it is not always needed: what is used should be in the cache.
    let d_y_half = &mut scratch[..lengths.d_y_half];

    let [groups, quads] = gradient_groups(conv, T::WIDTH);
    let v_apart = spacing(conv.in_channels * winograd.block);
    let d_m_apart = spacing(conv.out_channels * winograd.block);
    sums.fill(t.zero());
    let block_len = v.len() / winograd.blocks();
    for (block, v) in v.chunks_exact_mut(block_len).enumerate() {
        if !Y::MOSTLY_ZERO {
            match winograd.side {
                4 => columns::<T, 4>(t, winograd, block, d_y, d_y_half),
                _ => columns::<T, 6>(t, winograd, block, d_y, d_y_half),
            }
        }
        for i in 0..POINTS {
            match winograd.side {
                4 => row::<T, Y, 4>(t, winograd, block, i, d_y, d_y_half, d_m),
                _ => row::<T, Y, 6>(t, winograd, block, i, d_y, d_y_half, d_m),
            }
            if i == ONE {
                // At the point 1 along both axes all weights are 1: a tile's gradients are added up.
                let tiles = d_m[ONE * d_m_apart..].chunks(winograd.block);
                for (sum, d_m) in sums.iter_mut().zip(tiles) {
                    *sum = t.add(*sum, t.total(&d_m[..winograd.filled(block)]));
                }
            }
            for j in 0..POINTS {
                let f = i * POINTS + j;
                let (d_m, v) = (&d_m[j * d_m_apart..], &mut v[f * v_apart..]);
                let d_u = &mut d_u[f * groups * quads..][..groups * quads];
                weight_gradients(t, winograd, block, d_m, v, turned, d_u);
                if d_x.is_some() {
                    let u = &u[f * u_apart(conv)..];
                    input_gradients(t, winograd, block, u, d_m, v);
                }
            }
        }
        if let Some(d_x) = &mut d_x {
            put_d_x(t, winograd, block, v, d_x_half, d_x);
        }
    }
    t.add_sums(sums, d_bias);
    match winograd.side {
        4 => add_d_weights::<T, 5>(t, conv, d_u, d_weight),
        _ => add_d_weights::<T, 3>(t, conv, d_u, d_weight),
    }
}

/// `A d_y`
///
/// - `half`: (8, O, block, m), written
#[inline(always)]
fn columns<T: Lanes, const M: usize>(
    t: T,
    winograd: &Winograd,
    block: usize,
    d_y: &impl Gradients<T>,
    half: &mut [T::Vector],
) {
    let apart = half.len() / POINTS;
    for o in 0..winograd.conv.out_channels {
        let place = o * winograd.block * M;
        for (k, [i, j]) in winograd.tiles_of(block).enumerate() {
            for b in (0..M).step_by(2) {
                let (mut left, mut right) = ([t.zero(); M], [t.zero(); M]);
                for a in (0..M).step_by(2) {
                    let [above, below] = d_y.take::<2>(t, o, [i + a, j + b]);
                    [left[a], right[a]] = above;
                    [left[a + 1], right[a + 1]] = below;
                }
                let place = place + k * M + b;
                write_eight(output_transposed(t, left), half, place, apart);
                write_eight(output_transposed(t, right), half, place + 1, apart);
            }
        }
    }
}

/// Row `i` of `dM = A d_y A^T`.
///
/// - `half`: (8, O, block, m) from [`columns`], where the gradients are not mostly 0
/// - `d_m`: (8, O, block), written; tiles that only fill the block up are 0
#[inline(always)]
fn row<T: Lanes, Y: Gradients<T>, const M: usize>(
    t: T,
    winograd: &Winograd,
    block: usize,
    i: usize,
    d_y: &Y,
    half: &[T::Vector],
    d_m: &mut [T::Vector],
) {
    let (outputs, columns) = (winograd.conv.out_channels, winograd.block);
    let weights = output_row::<M>(i).map(|weight| t.splat(weight));
    let half = &half[i * (half.len() / POINTS)..];
    let apart = spacing(outputs * columns);
    for o in 0..outputs {
        for (k, at) in winograd.tiles_of(block).enumerate() {
            let place = o * columns + k;
            let half = match Y::MOSTLY_ZERO {
                true => d_y.weighted_rows(t, o, at, weights),
                false => array(half, place * M),
            };
            write_eight(output_transposed(t, half), d_m, place, apart);
        }
        for k in winograd.tiles_of(block).len()..winograd.filled(block) {
            write_eight([t.zero(); POINTS], d_m, o * columns + k, apart);
        }
    }
}

kernel! {
    /// `dU[f] += dM[f] . V[f]^T`, summed over the lanes.
    ///
    /// A sum over lanes for every weight would take as long as the products. So the gradients are
    /// turned: of a group of outputs, as many as a vector has quads, the same quad of each is put into
    /// one vector. Multiplied by that quad of a channel, repeated, it adds up a weight of each output
    /// in its own quad, and only four lanes are left to be summed.
    ///
    /// - `d_m`: (O, block), `v`: (C, block)
    /// - `turned`: (block, quads of a vector, groups of outputs), for a while
    /// - `d_u`: (groups of outputs, quads of channels), written by the first block, then added to
    fn weight_gradients(
        winograd: &Winograd,
        block: usize,
        d_m: &[T::Vector],
        v: &[T::Vector],
        turned: &mut [T::Vector],
        d_u: &mut [T::Vector],
    ) = weight_gradients_kernel;
}

#[inline(always)]
fn weight_gradients_kernel<T: Lanes>(
    t: T,
    winograd: &Winograd,
    block: usize,
    d_m: &[T::Vector],
    v: &[T::Vector],
    turned: &mut [T::Vector],
    d_u: &mut [T::Vector],
) {
    let (inputs, outputs) = (winograd.conv.in_channels, winograd.conv.out_channels);
    let [groups, quads] = gradient_groups(&winograd.conv, T::WIDTH);
    let (columns, filled) = (winograd.block, winograd.filled(block));
    let depth = filled * T::QUADS;
    for group in 0..groups {
        let o = group * T::QUADS..outputs.min((group + 1) * T::QUADS);
        with_rows!(o.len(), at most MAX_WIDTH / QUAD, of 1 2 3 4, N => {
            let d_m = Matrix::new(&d_m[o.start * columns..], [N, columns]);
            for k in 0..filled {
                let mut vectors = [t.zero(); MAX_WIDTH / QUAD];
                vectors[..N].copy_from_slice(&d_m.of_column::<N>(0, k));
                t.transpose_quads(&mut vectors[..T::QUADS]);
                for (n, &vector) in vectors[..T::QUADS].iter().enumerate() {
                    turned[(k * T::QUADS + n) * groups + group] = vector;
                }
            }
        });
    }
    let turned = Matrix::new(turned, [depth, groups]); // turned: (block quads, groups of outputs)
    let v = t.numbers(&v[..inputs * columns]).as_chunks::<QUAD>().0;
    let v = Matrix::new(v, [inputs, columns * T::QUADS]); // v: (C, block quads) of four numbers
    for quad in 0..quads {
        let c = quad * QUAD..inputs.min((quad + 1) * QUAD);
        with_rows!(c.len(), at most QUAD, of 1 2 3 4, R => {
            for group in tiles(groups, T::ROWS) {
                with_rows!(group.len(), T, N => {
                    let mut tile = [[t.zero(); N]; R];
                    for k in 0..depth {
                        let right: [_; N] = turned.of_row(k, group.start);
                        for (r, tile) in tile.iter_mut().enumerate() {
                            let left = t.repeat(v.at(c.start + r, k));
                            for (sum, right) in tile.iter_mut().zip(right) {
                                *sum = t.fma(left, right, *sum);
                            }
                        }
                    }
                    for n in 0..N {
                        let mut channels = [t.zero(); QUAD];
                        for (channel, tile) in channels.iter_mut().zip(&tile) {
                            *channel = tile[n];
                        }
                        let sums = t.quad_sums(channels);
                        let d_u = &mut d_u[(group.start + n) * quads + quad];
                        *d_u = if block == 0 { sums } else { t.add(*d_u, sums) };
                    }
                });
            }
        });
    }
}

kernel! {
    /// `dV[f] = U[f]^T . dM[f]`
    ///
    /// - `u`: (C, O), `d_m`: (O, block)
    /// - `d_v`: (C, block), written
    fn input_gradients(
        winograd: &Winograd,
        block: usize,
        u: &[f32],
        d_m: &[T::Vector],
        d_v: &mut [T::Vector],
    ) = input_gradients_kernel;
}

#[inline(always)]
fn input_gradients_kernel<T: Lanes>(
    t: T,
    winograd: &Winograd,
    block: usize,
    u: &[f32],
    d_m: &[T::Vector],
    d_v: &mut [T::Vector],
) {
    let (inputs, outputs) = (winograd.conv.in_channels, winograd.conv.out_channels);
    let (columns, filled) = (winograd.block, winograd.filled(block));
    let u = Matrix::new(u, [inputs, outputs]); // u: (C, O)
    let d_m = Matrix::new(d_m, [outputs, columns]); // d_m: (O, block)
    for c in tiles(inputs, T::ROWS) {
        with_rows!(c.len(), T, R => {
            for n in (0..filled).step_by(4) {
                let mut tile = [[t.zero(); 4]; R];
                let numbers = |o| u.of_column(c.start, o);
                add_product(t, outputs, numbers, |o| d_m.of_row(o, n), &mut tile);
                for (r, sums) in tile.iter().enumerate() {
                    d_v[(c.start + r) * columns + n..][..4].copy_from_slice(sums);
                }
            }
        });
    }
}

kernel! {
    /// `d_x = B (dV B^T)`, the tiles added where they overlap.
    ///
    /// - `d_v`: (64, C, block)
    /// - `half`: (8, 8), for a while
    /// - `d_x`: (C, H, W), written, or added to where an earlier tile has been
    fn put_d_x(
        winograd: &Winograd,
        block: usize,
        d_v: &[T::Vector],
        half: &mut [T::Vector],
        d_x: &mut [T::Vector],
    ) = put_d_x_kernel;
}

#[inline(always)]
fn put_d_x_kernel<T: Lanes>(
    t: T,
    winograd: &Winograd,
    block: usize,
    d_v: &[T::Vector],
    half: &mut [T::Vector],
    d_x: &mut [T::Vector],
) {
    let conv = &winograd.conv;
    let ([height, width], [above, left]) = (conv.input, conv.window.padding);
    let apart = spacing(conv.in_channels * winograd.block);
    let overlap = POINTS - winograd.side;
    for (c, d_x) in d_x.chunks_exact_mut(height * width).enumerate() {
        for (k, [i, j]) in winograd.tiles_of(block).enumerate() {
            let inside =
                i >= above && j >= left && i + 8 <= height + above && j + 8 <= width + left;
            for a in 0..POINTS {
                let first = a * POINTS * apart + c * winograd.block + k;
                let row = input_transposed(t, eight(d_v, first, apart));
                half[a * POINTS..][..POINTS].copy_from_slice(&row);
            }
            for b in 0..POINTS {
                let mut pixels = input_transposed(t, eight(half, b, POINTS));
                // How many rows of the column the tiles to the left or above have written.
                let rows = match (i, j) {
                    (_, 1..) if b < overlap => POINTS,
                    (1.., _) => overlap,
                    _ => 0,
                };
                if inside {
                    let first = (i - above) * width + j - left + b;
                    if rows > 0 {
                        let sums = eight(d_x, first, width);
                        for (a, (pixel, sum)) in pixels.iter_mut().zip(sums).enumerate() {
                            if a < rows {
                                *pixel = t.add(sum, *pixel);
                            }
                        }
                    }
                    write_eight(pixels, d_x, first, width);
                } else {
                    for (a, pixel) in pixels.into_iter().enumerate() {
                        let (m, n) = ((i + a).wrapping_sub(above), (j + b).wrapping_sub(left));
                        if m < height && n < width {
                            let place = &mut d_x[m * width + n];
                            *place = if a < rows {
                                t.add(*place, pixel)
                            } else {
                                pixel
                            };
                        }
                    }
                }
            }
        }
    }
}
