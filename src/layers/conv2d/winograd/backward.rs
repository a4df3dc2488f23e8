//! The backward pass, two rows of points at a time.

use super::transforms::{self, ONE, input_transposed, output_transposed};
use super::weight::{add_d_weights, d_weight_row, gradient_groups};
use super::{POINTS, Stretch, Winograd, eight, one_channel, spacing, u_apart, write_eight};
use crate::hardware::lanes::tile::{Matrix, add_product};
use crate::hardware::lanes::{Lanes, MAX_WIDTH, QUAD, kernel, tiles, with_rows};
use crate::layers::conv2d::lanes::Gradients;

/// Vectors that a pass needs for a while.
struct Lengths {
    /// One row of the transformed weight's gradients: (8, groups of outputs, quads of channels).
    d_u: usize,
    /// `dU G`: (8, groups of outputs, quads of channels, r).
    d_weight_half: usize,
    /// Two rows of the products' gradients: (2, 8, O, block).
    d_m: usize,
    /// Those of one point, turned by quads: (block, groups of outputs, quads of a vector).
    turned: usize,
    /// `dV B^T` of one channel's stretch: (8, columns).
    d_x_half: usize,
    /// The gradient by each bias, lane by lane: (O).
    sums: usize,
}

impl Lengths {
    fn of(winograd: &Winograd, width: usize) -> Self {
        let (conv, block) = (&winograd.conv, winograd.block);
        let [groups, quads] = gradient_groups(conv, width);
        Self {
            d_u: POINTS * groups * quads,
            d_weight_half: POINTS * groups * quads * conv.window.kernel[0],
            d_m: 2 * POINTS * spacing(conv.out_channels * block),
            turned: block * (width / QUAD) * groups,
            d_x_half: winograd.stretch_len(),
            sums: conv.out_channels,
        }
    }
}

/// How many vectors of `width` lanes the pass needs for a while.
pub(super) fn scratch_len(winograd: &Winograd, width: usize) -> usize {
    let lengths = Lengths::of(winograd, width);
    let d_weight = lengths.d_u + lengths.d_weight_half;
    d_weight + lengths.d_m + lengths.turned + lengths.d_x_half + lengths.sums
}

kernel! {
    /// The gradients by weight, bias and input.
    ///
    /// - `u`: [`Winograd::weight_len`] numbers, from [`super::transform_weight`]
    /// - `v`: [`Winograd::input_len`] vectors, from the forward pass; written: `dV` takes the place of each
    ///   `V[f]` that is not needed any more
    /// - `d_y`: gives the gradients by the outputs
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
    let (d_weight_half, scratch) = scratch.split_at_mut(lengths.d_weight_half);
    let (d_m, scratch) = scratch.split_at_mut(lengths.d_m);
    let (turned, scratch) = scratch.split_at_mut(lengths.turned);
    let (d_x_half, scratch) = scratch.split_at_mut(lengths.d_x_half);
    let sums = &mut scratch[..lengths.sums];

    let [groups, quads] = gradient_groups(conv, T::WIDTH);
    let v_apart = spacing(conv.in_channels * winograd.block);
    let d_m_apart = spacing(conv.out_channels * winograd.block);
    let d_weight_apart = lengths.d_weight_half / POINTS;
    sums.fill(t.zero());
    let block_len = v.len() / winograd.blocks();
    for (block, v) in v.chunks_exact_mut(block_len).enumerate() {
        for (rows, point) in transforms::rows() {
            match winograd.side {
                4 => d_m_rows::<T, Y, 4>(t, winograd, block, point, d_y, d_m),
                _ => d_m_rows::<T, Y, 6>(t, winograd, block, point, d_y, d_m),
            }
            for (i, d_m) in rows.into_iter().zip(d_m.chunks(POINTS * d_m_apart)) {
                if i == ONE {
                    // At the point 1 along both axes all powers are 1: a tile's gradients are added up.
                    let tiles = d_m[ONE * d_m_apart..].chunks(winograd.block);
                    for (sum, d_m) in sums.iter_mut().zip(tiles) {
                        *sum = t.add(*sum, t.total(&d_m[..winograd.filled(block)]));
                    }
                }
                for j in 0..POINTS {
                    let f = i * POINTS + j;
                    let (d_m, v) = (&d_m[j * d_m_apart..], &mut v[f * v_apart..]);
                    let d_u = &mut d_u[j * groups * quads..][..groups * quads];
                    weight_gradients(t, winograd, block, d_m, v, turned, d_u);
                    if d_x.is_some() {
                        let u = &u[f * u_apart(conv)..];
                        input_gradients(t, winograd, block, u, d_m, v);
                    }
                }
                let half = &mut d_weight_half[i * d_weight_apart..][..d_weight_apart];
                match winograd.side {
                    4 => d_weight_row::<T, 5>(t, d_u, half, block == 0),
                    _ => d_weight_row::<T, 3>(t, d_u, half, block == 0),
                }
            }
        }
        if let Some(d_x) = &mut d_x {
            put_d_x(t, winograd, block, v, d_x_half, d_x);
        }
    }
    t.add_sums(sums, d_bias);
    match winograd.side {
        4 => add_d_weights::<T, 5>(t, conv, d_weight_half, d_weight),
        _ => add_d_weights::<T, 3>(t, conv, d_weight_half, d_weight),
    }
}

/// Two rows of `dM = A d_y A^T`: those of `point` and its opposite, or of 0 and infinity.
///
/// - `d_m`: (2, 8, O, block), written; tiles that only fill the block up are 0
#[inline(always)]
fn d_m_rows<T: Lanes, Y: Gradients<T>, const M: usize>(
    t: T,
    winograd: &Winograd,
    block: usize,
    point: Option<f32>,
    d_y: &Y,
    d_m: &mut [T::Vector],
) {
    let (outputs, columns) = (winograd.conv.out_channels, winograd.block);
    let apart = spacing(outputs * columns);
    let (first, second) = d_m.split_at_mut(POINTS * apart);
    for o in 0..outputs {
        for (k, at) in winograd.tiles_of(block).enumerate() {
            let [plus, minus] = d_y.two_rows::<M>(t, o, at, point);
            write_eight(output_transposed(t, plus), first, o * columns + k, apart);
            write_eight(output_transposed(t, minus), second, o * columns + k, apart);
        }
        for k in winograd.tiles_of(block).len()..winograd.filled(block) {
            write_eight([t.zero(); POINTS], first, o * columns + k, apart);
            write_eight([t.zero(); POINTS], second, o * columns + k, apart);
        }
    }
}

kernel! {
    /// `dU[f] = dM[f] . V[f]^T`, summed over the lanes.
    ///
    /// A sum over lanes for every weight would take as long as the products. So the gradients are
    /// turned: of a group of outputs, as many as a vector has quads, the same quad of each is put into
    /// one vector. Multiplied by that quad of a channel, repeated, it adds up a weight of each output
    /// in its own quad, and only four lanes are left to be summed.
    ///
    /// - `d_m`: (O, block), `v`: (C, block)
    /// - `turned`: (block, groups of outputs, quads of a vector), for a while
    /// - `d_u`: (groups of outputs, quads of channels), written
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
    for group in 0..groups {
        let o = group * T::QUADS..outputs.min((group + 1) * T::QUADS);
        with_rows!(o.len(), at most MAX_WIDTH / QUAD, of 1 2 3 4, N => {
            let d_m = Matrix::new(&d_m[o.start * columns..], [N, columns]);
            for k in 0..filled {
                let mut vectors = [t.zero(); MAX_WIDTH / QUAD];
                vectors[..N].copy_from_slice(&d_m.of_column::<N>(0, k));
                t.transpose_quads(&mut vectors[..T::QUADS]);
                turned[(k * groups + group) * T::QUADS..][..T::QUADS]
                    .copy_from_slice(&vectors[..T::QUADS]);
            }
        });
    }
    let turned = Matrix::new(turned, [filled * groups, T::QUADS]); // turned: (block groups of outputs, quads)
    let v = t.numbers(&v[..inputs * columns]).as_chunks::<QUAD>().0;
    let v = Matrix::new(v, [inputs, columns * T::QUADS]); // v: (C, block quads) of four numbers
    for quad in 0..quads {
        let c = quad * QUAD..inputs.min((quad + 1) * QUAD);
        with_rows!(c.len(), at most QUAD, of 1 2 3 4, R => {
            for group in tiles(groups, T::ROWS) {
                with_rows!(group.len(), T, N => {
                    let mut tile = [[t.zero(); N]; R];
                    for k in 0..filled {
                        for n in 0..T::QUADS {
                            let right: [_; N] = turned.of_column(k * groups + group.start, n);
                            for (r, tile) in tile.iter_mut().enumerate() {
                                let left = t.repeat(v.at(c.start + r, k * T::QUADS + n));
                                for (sum, right) in tile.iter_mut().zip(right) {
                                    *sum = t.fma(left, right, *sum);
                                }
                            }
                        }
                    }
                    for n in 0..N {
                        let mut channels = [t.zero(); QUAD];
                        for (channel, tile) in channels.iter_mut().zip(&tile) {
                            *channel = tile[n];
                        }
                        let sums = t.quad_sums(channels);
                        d_u[(group.start + n) * quads + quad] = sums;
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
    /// `d_x = B (dV B^T)`: tiles side by side are added where they overlap before their columns are
    /// transformed, others after it.
    ///
    /// - `d_v`: (64, C, block)
    /// - `half`: `dV B^T` of a stretch, (8, columns), for a while
    /// - `d_x`: (C, H, W), written, or added to where an earlier stretch has been
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
    let [height, width] = winograd.conv.input;
    for (c, d_x) in d_x.chunks_exact_mut(height * width).enumerate() {
        for stretch in winograd.stretches(block) {
            match winograd.side {
                4 => put_stretch::<T, 4, 4>(t, winograd, c, &stretch, d_v, half, d_x),
                _ => put_stretch::<T, 6, 2>(t, winograd, c, &stretch, d_v, half, d_x),
            }
        }
    }
}

/// The same for a stretch of channel `c`, whose tiles of `M` outputs along an axis have `L` columns in common.
///
/// - `d_v`: (64, C, block), `half`: (8, columns), for a while
/// - `d_x`: (H, W)
#[inline(always)]
fn put_stretch<T: Lanes, const M: usize, const L: usize>(
    t: T,
    winograd: &Winograd,
    c: usize,
    stretch: &Stretch,
    d_v: &[T::Vector],
    half: &mut [T::Vector],
    d_x: &mut [T::Vector],
) {
    let conv = &winograd.conv;
    let apart = spacing(conv.in_channels * winograd.block);
    let columns = stretch.columns(M);
    let half = &mut half[..POINTS * columns];
    for (a, half) in half.chunks_exact_mut(columns).enumerate() {
        let first = a * POINTS * apart + c * winograd.block;
        let mut common = [t.zero(); L];
        for (k, tile) in stretch.tiles.clone().enumerate() {
            let mut row = input_transposed(t, eight(d_v, first + tile, apart));
            for (pixel, common) in row.iter_mut().zip(common) {
                *pixel = t.add(common, *pixel);
            }
            half[k * M..][..M].copy_from_slice(&row[..M]);
            common.copy_from_slice(&row[M..]);
        }
        half[columns - L..].copy_from_slice(&common);
    }
    let [i, j] = stretch.first;
    for n in 0..columns {
        let pixels = input_transposed(t, eight(half, n, columns));
        // How many rows of the column the stretches to the left or above have written.
        let rows = match (i, j) {
            (_, 1..) if n < L => POINTS,
            (1.., _) => L,
            _ => 0,
        };
        match stretch.column(conv, n) {
            Some(first) => add_column(t, pixels, rows, d_x, first, conv.input[1]),
            None => {
                for (a, pixel) in pixels.into_iter().enumerate() {
                    if let Some(place) = stretch.pixel(conv, a, n) {
                        d_x[place] = if a < rows {
                            t.add(d_x[place], pixel)
                        } else {
                            pixel
                        };
                    }
                }
            }
        }
    }
}

/// Writes eight vectors from `first` on, `width` apart, the first `rows` added to what is there.
#[inline(always)]
fn add_column<T: Lanes>(
    t: T,
    mut pixels: [T::Vector; POINTS],
    rows: usize,
    d_x: &mut [T::Vector],
    first: usize,
    width: usize,
) {
    if rows > 0 {
        let sums = eight(d_x, first, width);
        for (a, (pixel, sum)) in pixels.iter_mut().zip(sums).enumerate() {
            if a < rows {
                *pixel = t.add(sum, *pixel);
            }
        }
    }
    write_eight(pixels, d_x, first, width);
}
