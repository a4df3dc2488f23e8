//! The forward pass, row after row of points: eight of a tile's 64 products are transformed as soon
//! as they are there, while they are in the cache.

use std::ops::Range;

use super::transforms::{input, output};
use super::{POINTS, Winograd, eight, one_channel, spacing, u_apart, write_eight};
use crate::hardware::lanes::tile::{Matrix, add_product, array};
use crate::hardware::lanes::{Lanes, MAX_ROWS, kernel, tiles, with_rows};
use crate::layers::conv2d::lanes::Outputs;

/// How many vectors the pass needs for a while: one stretch, (8, columns); or a row of the products of the
/// outputs that are computed together, (8, outputs, block), and what all rows become, (8, outputs, block, m).
pub(super) fn scratch_len(winograd: &Winograd) -> usize {
    let [products, half] = spacings(winograd, MAX_ROWS);
    (POINTS * (products + half)).max(winograd.stretch_len())
}

/// How far apart the products of two points stand, and what two rows of them become, where at most so many
/// outputs are computed `together`.
fn spacings(winograd: &Winograd, together: usize) -> [usize; 2] {
    let products = winograd.conv.out_channels.min(together) * winograd.block;
    [spacing(products), spacing(products * winograd.side)]
}

kernel! {
    /// `y = A^T [ U . (B^T x B) ] A`, without the bias.
    ///
    /// - `x`: (C, H, W) vectors
    /// - `u`: [`Winograd::weight_len`] numbers, from [`super::transform_weight`]
    /// - `v`: [`Winograd::input_len`] vectors, written: what the backward pass needs of `x`
    /// - `scratch`: [`Winograd::scratch_len`] vectors
    /// - `y`: takes the outputs, by an even number of rows and of columns
    pub fn forward[Y: Outputs<T>](
        winograd: &Winograd,
        x: &[T::Vector],
        u: &[f32],
        v: &mut [T::Vector],
        scratch: &mut [T::Vector],
        y: &mut Y,
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(
    t: T,
    winograd: &Winograd,
    x: &[T::Vector],
    u: &[f32],
    v: &mut [T::Vector],
    scratch: &mut [T::Vector],
    y: &mut impl Outputs<T>,
) {
    if winograd.along_rows() {
        return one_channel::forward(t, winograd, x, u, v, y);
    }
    for (block, v) in v.chunks_exact_mut(v.len() / winograd.blocks()).enumerate() {
        transform_input(t, winograd, block, x, scratch, v);
        match winograd.side {
            4 => channels::<T, 4>(t, winograd, block, u, v, scratch, y),
            _ => channels::<T, 6>(t, winograd, block, u, v, scratch, y),
        }
    }
}

/// `V = B^T x B`
///
/// - `x`: (C, H, W)
/// - `half`: `B^T x` of a stretch, (8, columns), for a while
/// - `v`: (64, C, block), written; tiles that only fill the block up are 0
#[inline(always)]
fn transform_input<T: Lanes>(
    t: T,
    winograd: &Winograd,
    block: usize,
    x: &[T::Vector],
    half: &mut [T::Vector],
    v: &mut [T::Vector],
) {
    let conv = &winograd.conv;
    let columns = winograd.block;
    let apart = spacing(conv.in_channels * columns);
    for (c, x) in x.chunks_exact(conv.input[0] * conv.input[1]).enumerate() {
        for stretch in winograd.stretches(block) {
            let stretch_columns = stretch.columns(winograd.side);
            let half = &mut half[..POINTS * stretch_columns];
            for n in 0..stretch_columns {
                let column = match stretch.column(conv, n) {
                    Some(first) => eight(x, first, conv.input[1]),
                    None => {
                        let mut column = [t.zero(); POINTS];
                        for (a, pixel) in column.iter_mut().enumerate() {
                            if let Some(place) = stretch.pixel(conv, a, n) {
                                *pixel = x[place];
                            }
                        }
                        column
                    }
                };
                write_eight(input(t, column), half, n, stretch_columns);
            }
            for (i, half) in half.chunks_exact(stretch_columns).enumerate() {
                let first = i * POINTS * apart + c * columns;
                for (k, tile) in stretch.tiles.clone().enumerate() {
                    let row = array(half, k * winograd.side);
                    write_eight(input(t, row), v, first + tile, apart);
                }
            }
        }
        let empty = winograd.tiles_of(block).len()..winograd.filled(block);
        if !empty.is_empty() {
            for v in v.chunks_exact_mut(apart) {
                v[c * columns..][empty.clone()].fill(t.zero());
            }
        }
    }
}

/// The outputs of a block, as many together as registers have room for, and of them all rows of points before any
/// column.
///
/// - `u`: (64, C, O), filled up, `v`: (64, C, block)
#[inline(always)]
fn channels<T: Lanes, const M: usize>(
    t: T,
    winograd: &Winograd,
    block: usize,
    u: &[f32],
    v: &[T::Vector],
    scratch: &mut [T::Vector],
    y: &mut impl Outputs<T>,
) {
    let (outputs, columns) = (winograd.conv.out_channels, winograd.block);
    const { assert!(T::ROWS <= MAX_ROWS) }
    let [products_apart, apart] = spacings(winograd, T::ROWS);
    // products: (8, outputs, block), half: (8, outputs, block, m), of the outputs that are computed together
    let (products, half) = scratch.split_at_mut(POINTS * products_apart);
    let half = &mut half[..POINTS * apart];
    for together in tiles(outputs, T::ROWS) {
        for (i, half) in half.chunks_exact_mut(apart).enumerate() {
            let together = together.clone();
            row(t, winograd, block, i, together, u, v, products, half);
        }
        for (r, o) in together.enumerate() {
            for (k, at) in winograd.tiles_of(block).enumerate() {
                let place = (r * columns + k) * M;
                put::<T, M>(t, o, at, &half[place..], apart, y);
            }
        }
    }
}

kernel! {
    /// Row `i` of the products of the outputs that are computed `together`, `M = U . V`, and `A^T` along it.
    /// Compiled by itself, it has registers for all its pointers.
    ///
    /// - `u`: (64, C, O), filled up, `v`: (64, C, block)
    /// - `products`: (8, outputs, block), for a while
    /// - `half`: (outputs, block, m), written
    fn row(
        winograd: &Winograd,
        block: usize,
        i: usize,
        together: Range<usize>,
        u: &[f32],
        v: &[T::Vector],
        products: &mut [T::Vector],
        half: &mut [T::Vector],
    ) = row_kernel;
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
fn row_kernel<T: Lanes>(
    t: T,
    winograd: &Winograd,
    block: usize,
    i: usize,
    together: Range<usize>,
    u: &[f32],
    v: &[T::Vector],
    products: &mut [T::Vector],
    half: &mut [T::Vector],
) {
    let (inputs, outputs) = (winograd.conv.in_channels, winograd.conv.out_channels);
    let (columns, filled) = (winograd.block, winograd.filled(block));
    let v_apart = spacing(inputs * columns);
    let apart = spacing(together.len() * columns);
    with_rows!(together.len(), T, R => {
        for j in 0..POINTS {
            let f = i * POINTS + j;
            let u = Matrix::new(&u[f * u_apart(&winograd.conv)..], [inputs, outputs]); // u: (C, O)
            let v = Matrix::new(&v[f * v_apart..], [inputs, columns]); // v: (C, block)
            let products = &mut products[j * apart..][..R * columns]; // (R, block)
            for n in (0..filled).step_by(4) {
                let mut sums = [[t.zero(); 4]; R];
                let numbers = |c| u.of_row(c, together.start);
                let vectors = |c| v.of_row(c, n);
                add_product(t, inputs, numbers, vectors, &mut sums);
                for (r, sums) in sums.iter().enumerate() {
                    products[r * columns + n..][..4].copy_from_slice(sums);
                }
            }
        }
    });
    let tiles = winograd.tiles_of(block).len();
    let halves = half.chunks_exact_mut(columns * winograd.side);
    for (r, half) in halves.take(together.len()).enumerate() {
        let products = &products[r * columns..];
        match winograd.side {
            4 => transform_row::<T, 4>(t, tiles, products, apart, half),
            _ => transform_row::<T, 6>(t, tiles, products, apart, half),
        }
    }
}

/// `A^T` along a row of the products of some tiles.
///
/// - `products`: (8, tiles), the points `apart` from each other
/// - `half`: (tiles, m), written
#[inline(always)]
fn transform_row<T: Lanes, const M: usize>(
    t: T,
    tiles: usize,
    products: &[T::Vector],
    apart: usize,
    half: &mut [T::Vector],
) {
    for (k, half) in half.as_chunks_mut().0.iter_mut().take(tiles).enumerate() {
        *half = output::<T, M>(t, eight(products, k, apart));
    }
}

/// Transforms the columns of a tile, and hands its outputs over, two rows and two columns at a time.
///
/// - `half`: (8, m), the rows `apart` from each other
#[inline(always)]
fn put<T: Lanes, const M: usize>(
    t: T,
    o: usize,
    [i, j]: [usize; 2],
    half: &[T::Vector],
    apart: usize,
    y: &mut impl Outputs<T>,
) {
    for b in (0..M).step_by(2) {
        let left = output::<T, M>(t, eight(half, b, apart));
        let right = output::<T, M>(t, eight(half, b + 1, apart));
        for a in (0..M).step_by(2) {
            let pixels = [[left[a], right[a]], [left[a + 1], right[a + 1]]];
            y.put(t, o, [i + a, j + b], pixels);
        }
    }
}
