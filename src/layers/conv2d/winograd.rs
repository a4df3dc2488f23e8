//! Convolution by Winograd's minimal filtering, with several images in the lanes: for square 3x3
//! and 5x5 windows that move by one.
//!
//! # Where the multiplications go
//!
//! A window of `r` slides over 8 pixels and gives `m = 9 - r` outputs, which take `m r`
//! multiplications. But a correlation is the transpose of a product of polynomials, and a product
//! of degree 7 is known from its values at 8 points. So 8 multiplications are enough (Toom and
//! Cook):
//!
//! ```text
//! y = A^T [ (G g) . (B^T x) ]        x: (8)   g: (r)   y: (m)   . is element by element
//! ```
//!
//! In two dimensions every tile of 8 x 8 pixels is transformed along both axes, and gives m x m
//! outputs with 64 multiplications instead of `(m r)^2`: 400 for a 5x5 window, 324 for a 3x3. Added
//! up over input channels before `A^T` is applied, the 64 products are 64 small matrix products:
//!
//! ```text
//! U[f] (O, C) = G weight G^T      V[f] (C, tiles) = B^T x B      M[f] = U[f] . V[f]      y = A^T M A
//! ```
//!
//! # The matrices
//!
//! The points are 0, 1, -1, 2, -2, 1/2, -1/2 and infinity. With `p_i` the i-th of the seven that
//! are finite, and `N_i` the product of all `p_i - p_j`:
//!
//! - row k of `A^T`, for k below m, is `p_i^k`, and 1 at infinity for the last k alone: a
//!   polynomial's coefficient `k` at the point.
//! - column j of `G` is `p_i^j / N_i`, and 1 at infinity for the last j alone.
//! - row i of `B^T` has the coefficients of the product of all `(z - p_j)` but the i-th, the last
//!   row those of all seven: `z^7 - 5.25 z^5 + 5.25 z^3 - z`.
//!
//! `N` is 1, -4.5, -4.5, 90, 90, 45/32, 45/32 when the first row changes its sign. `B^T` does not
//! depend on r: both windows share it. Points in pairs of opposite signs share their even and
//! their odd powers, which is how `B^T` needs 26 operations for 8 numbers.
//!
//! # Backward
//!
//! Every step is linear, so its gradient is its transpose, in the opposite order:
//!
//! ```text
//! dM = A d_y A^T     dU[f] = dM[f] . V[f]^T     d_weight = G^T dU G
//!                    dV[f] = U[f]^T . dM[f]     d_x      = B dV B^T, tiles added where they overlap
//! ```
//!
//! Source: Winograd, *Arithmetic Complexity of Computations*, 1980; Lavin and Gray, *Fast Algorithms
//! for Convolutional Neural Networks*, CVPR 2016. The matrices were derived as above.

use std::mem::MaybeUninit;

use super::Conv2d;
use super::lanes::{Gradients, Outputs};
use crate::hardware::lanes::tile::{add_outer, add_product, array};
use crate::hardware::lanes::{Lanes, kernel, tiles, with_rows};

/// Pixels of a tile, along an axis: as many as there are points.
pub(super) const POINTS: usize = 8;

/// Products of a tile.
const PRODUCTS: usize = POINTS * POINTS;

/// How much of a core's cache the transformed tiles of a block may take.
const BLOCK_BYTES: usize = 512 * 1024;

/// The sizes of one convolution, cut into tiles.
#[derive(Clone, Copy, Debug)]
pub struct Winograd {
    conv: Conv2d,
    /// Outputs of a tile, along an axis: 4 for a 5x5 window, 6 for a 3x3.
    side: usize,
    /// Tiles down and across.
    tiles: [usize; 2],
    /// Tiles that are transformed together: a multiple of four.
    block: usize,
}

impl Winograd {
    /// Cuts `conv` into tiles for vectors of `width`, or `None` if its window is not one of those.
    pub fn new(conv: &Conv2d, width: usize) -> Option<Self> {
        let side = match (conv.window.kernel, conv.window.stride) {
            ([3, 3], [1, 1]) => 6,
            ([5, 5], [1, 1]) => 4,
            _ => return None,
        };
        let tiles = conv.output.map(|length| length.div_ceil(side));
        let channels = conv.in_channels + conv.out_channels;
        let tile_bytes = channels * PRODUCTS * width * size_of::<f32>();
        let fitting = (BLOCK_BYTES / tile_bytes).clamp(4, 16) / 4 * 4;
        let block = fitting.min((tiles[0] * tiles[1]).next_multiple_of(4));
        Some(Self {
            conv: *conv,
            side,
            tiles,
            block,
        })
    }

    /// Floating-point operations of one example's forward pass: the 64 products, and the
    /// transforms of all tiles. What is done once for all examples is not counted.
    pub fn forward_flops(&self) -> u64 {
        let more = self.side as u64 - 1;
        self.products_flops() + self.input_flops(38) + self.output_flops(10 + 4 * more)
    }

    /// The same of the backward pass, with the gradient by the input or without.
    pub fn backward_flops(&self, d_x_wanted: bool) -> u64 {
        let more = self.side as u64 - 2;
        let d_weight = self.products_flops() + self.output_flops(12 + 6 * more);
        match d_x_wanted {
            true => d_weight + self.products_flops() + self.input_flops(39),
            false => d_weight,
        }
    }

    fn products_flops(&self) -> u64 {
        let tiles = (self.tiles[0] * self.tiles[1]) as u64;
        2 * PRODUCTS as u64 * tiles * (self.conv.in_channels * self.conv.out_channels) as u64
    }

    /// Those of a transform of 8 columns and 8 rows of every input, each of `once`.
    fn input_flops(&self, once: u64) -> u64 {
        let tiles = (self.tiles[0] * self.tiles[1] * self.conv.in_channels) as u64;
        2 * POINTS as u64 * once * tiles
    }

    /// Those of a transform of 8 columns of every output, and of as many rows as a tile has
    /// outputs, each of `once`.
    fn output_flops(&self, once: u64) -> u64 {
        let tiles = (self.tiles[0] * self.tiles[1] * self.conv.out_channels) as u64;
        (POINTS + self.side) as u64 * once * tiles
    }

    /// How many numbers the transformed weight has: (64, C, O).
    pub fn weight_len(&self) -> usize {
        PRODUCTS * self.conv.in_channels * self.conv.out_channels
    }

    /// How many vectors the transformed input has: (blocks, 64, C, block), each of the 64 an
    /// odd number of vectors from the next.
    pub fn input_len(&self) -> usize {
        self.blocks() * PRODUCTS * spacing(self.conv.in_channels * self.block)
    }

    /// How many vectors a pass needs for a while: (64, O, block), and (64, C, block) or (C, O).
    pub fn scratch_len(&self) -> usize {
        let (inputs, outputs) = (self.conv.in_channels, self.conv.out_channels);
        let [d_m, d_v] = [outputs, inputs].map(|rows| PRODUCTS * spacing(rows * self.block));
        d_m + d_v.max(inputs * outputs)
    }

    fn blocks(&self) -> usize {
        (self.tiles[0] * self.tiles[1]).div_ceil(self.block)
    }

    /// The tiles of a block, by their first output pixel.
    #[inline(always)]
    fn tiles_of(&self, block: usize) -> impl ExactSizeIterator<Item = [usize; 2]> {
        let (count, across, side) = (self.tiles[0] * self.tiles[1], self.tiles[1], self.side);
        let first = block * self.block;
        (first..count.min(first + self.block))
            .map(move |tile| [tile / across * side, tile % across * side])
    }
}

/// `B^T x`
#[inline(always)]
pub(super) fn input<T: Lanes>(t: T, x: [T::Vector; 8]) -> [T::Vector; 8] {
    let c = |number| t.splat(number);
    let first = t.fma(c(5.25), t.sub(x[4], x[2]), t.sub(x[0], x[6]));
    let last = t.fma(c(5.25), t.sub(x[3], x[5]), t.sub(x[7], x[1]));
    let even = t.fma(c(-4.25), x[4], t.add(x[2], x[6]));
    let odd = t.fma(c(-4.25), x[3], t.add(x[1], x[5]));
    let even_2 = t.fma(c(0.25), x[2], t.fma(c(-1.25), x[4], x[6]));
    let odd_2 = t.fma(c(0.5), x[1], t.fma(c(-2.5), x[3], t.add(x[5], x[5])));
    let even_half = t.fma(c(4.0), x[2], t.fma(c(-5.0), x[4], x[6]));
    let odd_half = t.fma(c(0.5), x[5], t.fma(c(-2.5), x[3], t.add(x[1], x[1])));
    [
        first,
        t.add(even, odd),
        t.sub(even, odd),
        t.add(even_2, odd_2),
        t.sub(even_2, odd_2),
        t.add(even_half, odd_half),
        t.sub(even_half, odd_half),
        last,
    ]
}

/// `B v`, the transpose of [`input`].
#[inline(always)]
fn input_transposed<T: Lanes>(t: T, v: [T::Vector; 8]) -> [T::Vector; 8] {
    let c = |number| t.splat(number);
    let (even, odd) = (t.add(v[1], v[2]), t.sub(v[1], v[2]));
    let (even_2, odd_2) = (t.add(v[3], v[4]), t.sub(v[3], v[4]));
    let (even_half, odd_half) = (t.add(v[5], v[6]), t.sub(v[5], v[6]));
    let two = |a, b| t.fma(c(2.0), a, b);
    [
        v[0],
        two(odd_half, t.fma(c(0.5), odd_2, t.sub(odd, v[7]))),
        t.fma(
            c(-5.25),
            v[0],
            t.fma(c(4.0), even_half, t.fma(c(0.25), even_2, even)),
        ),
        t.fma(
            c(5.25),
            v[7],
            t.fma(c(-2.5), t.add(odd_2, odd_half), t.mul(c(-4.25), odd)),
        ),
        t.fma(
            c(5.25),
            v[0],
            t.fma(
                c(-5.0),
                even_half,
                t.fma(c(-1.25), even_2, t.mul(c(-4.25), even)),
            ),
        ),
        two(odd_2, t.fma(c(0.5), odd_half, t.fma(c(-5.25), v[7], odd))),
        t.add(t.add(even, even_2), t.sub(even_half, v[0])),
        v[7],
    ]
}

/// `A^T m`, M numbers.
#[inline(always)]
pub(super) fn output<T: Lanes, const M: usize>(t: T, m: [T::Vector; 8]) -> [T::Vector; M] {
    let even = [t.add(m[1], m[2]), t.add(m[3], m[4]), t.add(m[5], m[6])];
    let odd = [t.sub(m[1], m[2]), t.sub(m[3], m[4]), t.sub(m[5], m[6])];
    let mut y = [t.add(t.add(m[0], even[0]), t.add(even[1], even[2])); M];
    for (k, y) in y.iter_mut().enumerate().skip(1) {
        let [ones, twos, halves] = if k % 2 == 0 { even } else { odd };
        let power = (1 << k) as f32;
        *y = t.fma(t.splat(power), twos, ones);
        *y = t.fma(t.splat(1.0 / power), halves, *y);
    }
    y[M - 1] = t.add(y[M - 1], m[7]);
    y
}

/// `A y`, the transpose of [`output`].
#[inline(always)]
fn output_transposed<T: Lanes, const M: usize>(t: T, y: [T::Vector; M]) -> [T::Vector; 8] {
    let mut m = [y[0]; 8];
    for (pair, point) in [1.0, 2.0, 0.5].into_iter().enumerate() {
        // The even and the odd powers, by Horner's rule from the highest down.
        let square = t.splat(point * point);
        let (mut even, mut odd) = (y[M - 2], y[M - 1]);
        for k in (0..M - 2).step_by(2).rev() {
            even = t.fma(square, even, y[k]);
            odd = t.fma(square, odd, y[k + 1]);
        }
        m[1 + 2 * pair] = t.fma(t.splat(point), odd, even);
        m[2 + 2 * pair] = t.fma(t.splat(-point), odd, even);
    }
    m[7] = y[M - 1];
    m
}

/// The finite points but 0, and 1 / N of each.
const SCALED_POINTS: [(f32, f32); 6] = [
    (1.0, -1.0 / 4.5),
    (-1.0, -1.0 / 4.5),
    (2.0, 1.0 / 90.0),
    (-2.0, 1.0 / 90.0),
    (0.5, 32.0 / 45.0),
    (-0.5, 32.0 / 45.0),
];

/// `G g`
#[inline(always)]
pub(super) fn weight<T: Lanes, const R: usize>(t: T, g: [T::Vector; R]) -> [T::Vector; 8] {
    let mut u = [g[0]; 8];
    for (u, (point, scale)) in u[1..].iter_mut().zip(SCALED_POINTS) {
        let mut value = g[R - 1];
        for j in (0..R - 1).rev() {
            value = t.fma(t.splat(point), value, g[j]);
        }
        *u = t.mul(t.splat(scale), value);
    }
    u[7] = g[R - 1];
    u
}

/// `G^T u`, the transpose of [`weight`].
#[inline(always)]
fn weight_transposed<T: Lanes, const R: usize>(t: T, u: [T::Vector; 8]) -> [T::Vector; R] {
    let mut g = [t.zero(); R];
    g[0] = u[0];
    for (u, (point, scale)) in u[1..].iter().zip(SCALED_POINTS) {
        let mut power = scale;
        for g in &mut g {
            *g = t.fma(t.splat(power), *u, *g);
            power *= point;
        }
    }
    g[R - 1] = t.add(g[R - 1], u[7]);
    g
}

/// Applies the function `$f` along the columns of what stands at row `$i` and column `$j`, then
/// along the rows of what that gives: from (I, I) to (O, O), of which `$take` gets row after row. A
/// macro, so that all of it is inlined.
macro_rules! both_axes {
    (
        $t:ident, |$i:ident, $j:ident| $pixel:expr, $f:expr, $inputs:expr => $outputs:expr,
        |$row:ident, $result:ident| $take:expr
    ) => {{
        // columns: (I, O), the result of every column. Not filled before, for that would take as
        // long as a transform.
        let mut columns = [const { MaybeUninit::uninit() }; $inputs];
        for $j in 0..$inputs {
            let mut column = [$t.zero(); $inputs];
            for $i in 0..$inputs {
                column[$i] = $pixel;
            }
            columns[$j].write($f($t, column));
        }
        for $row in 0..$outputs {
            let mut across = [$t.zero(); $inputs];
            for j in 0..$inputs {
                // SAFETY: the loop above has written all columns.
                across[j] = unsafe { columns[j].assume_init_ref() }[$row];
            }
            let $result = $f($t, across);
            $take;
        }
    }};
}

/// Where the 64 numbers or vectors of one tile stand: equally far apart.
#[derive(Clone, Copy)]
struct Spaced {
    first: usize,
    apart: usize,
}

impl Spaced {
    /// Checks that all 64 are in `from`.
    #[inline(always)]
    fn of<V>(self, from: &[V]) -> Tile<'_, V> {
        assert!(self.first + (PRODUCTS - 1) * self.apart < from.len());
        Tile { from, at: self }
    }

    /// Writes those of row `i`.
    #[inline(always)]
    fn write_row<V: Copy>(self, i: usize, row: [V; POINTS], to: &mut [V]) {
        assert!(i < POINTS && self.first + (PRODUCTS - 1) * self.apart < to.len());
        for (j, vector) in row.into_iter().enumerate() {
            let place = self.first + (i * POINTS + j) * self.apart;
            // SAFETY: it is the place of one of the 64, the last of which was found to be there.
            unsafe { *to.get_unchecked_mut(place) = vector };
        }
    }
}

/// The 64 of one tile, which are all there.
struct Tile<'a, V> {
    from: &'a [V],
    at: Spaced,
}

impl<V: Copy> Tile<'_, V> {
    /// The one at row `i` and column `j`.
    #[inline(always)]
    fn get(&self, i: usize, j: usize) -> V {
        assert!(i < POINTS && j < POINTS);
        // SAFETY: it is one of the 64, which `Spaced::of` found to be there.
        unsafe {
            *self
                .from
                .get_unchecked(self.at.first + (i * POINTS + j) * self.at.apart)
        }
    }
}

/// How far apart the products of one tile stand whose blocks have `len` vectors: an odd number, for
/// at a power of two they would all fall into the same few places of the cache.
#[inline(always)]
fn spacing(len: usize) -> usize {
    len | 1
}

kernel! {
    /// `U = G weight G^T`, the outputs in the lanes.
    ///
    /// - `weight`: (O, C, r, r)
    /// - `u`: (64, C, O), written
    pub fn transform_weight(
        winograd: &Winograd,
        weight: &[f32],
        u: &mut [f32],
    ) = transform_weight_kernel;
}

#[inline(always)]
fn transform_weight_kernel<T: Lanes>(t: T, winograd: &Winograd, weight: &[f32], u: &mut [f32]) {
    match winograd.side {
        4 => weights::<T, 5>(t, &winograd.conv, weight, u),
        _ => weights::<T, 3>(t, &winograd.conv, weight, u),
    }
}

#[inline(always)]
fn weights<T: Lanes, const R: usize>(t: T, conv: &Conv2d, weights: &[f32], u: &mut [f32]) {
    let (inputs, outputs) = (conv.in_channels, conv.out_channels);
    let mut taps = [[t.zero(); R]; R];
    for c in 0..inputs {
        for first in (0..outputs).step_by(T::WIDTH) {
            let count = T::WIDTH.min(outputs - first);
            for (place, tap) in taps.as_flattened_mut().iter_mut().enumerate() {
                let lanes = t.numbers_mut(std::slice::from_mut(tap));
                for (lane, number) in lanes[..count].iter_mut().enumerate() {
                    *number = weights[((first + lane) * inputs + c) * R * R + place];
                }
            }
            both_axes!(t, |i, j| taps[i][j], weight::<T, R>, R => 8, |i, row| {
                for (j, vector) in row.into_iter().enumerate() {
                    let f = i * POINTS + j;
                    t.store(vector, &mut u[(f * inputs + c) * outputs + first..][..count]);
                }
            });
        }
    }
}

/// `d_weight += G^T dU G`, the outputs in the lanes.
#[inline(always)]
fn add_d_weights<T: Lanes, const R: usize>(t: T, conv: &Conv2d, d_u: &[f32], d_weight: &mut [f32]) {
    let (inputs, outputs) = (conv.in_channels, conv.out_channels);
    for c in 0..inputs {
        for first in (0..outputs).step_by(T::WIDTH) {
            let count = T::WIDTH.min(outputs - first);
            let mut products = [t.zero(); PRODUCTS];
            for (f, product) in products.iter_mut().enumerate() {
                *product = t.load_some(&d_u[(f * inputs + c) * outputs + first..][..count]);
            }
            both_axes!(t, |i, j| products[i * 8 + j], weight_transposed::<T, R>, 8 => R, |i, row| {
                for (j, tap) in row.into_iter().enumerate() {
                    for (lane, &d) in t.numbers(&[tap])[..count].iter().enumerate() {
                        d_weight[((first + lane) * inputs + c) * R * R + i * R + j] += d;
                    }
                }
            });
        }
    }
}

kernel! {
    /// `y = A^T [ U . (B^T x B) ] A`, without the bias.
    ///
    /// - `x`: (C, H, W) vectors
    /// - `u`: (64, C, O), from [`transform_weight`]
    /// - `v`: (blocks, 64, C, block) vectors, written: what the backward pass needs of `x`
    /// - `scratch`: [`Winograd::scratch_len`] vectors
    /// - `y`: takes the outputs, by two rows and two columns
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
    for (block, v) in v.chunks_exact_mut(v.len() / winograd.blocks()).enumerate() {
        transform_input(t, winograd, block, x, v);
        match winograd.side {
            4 => block_forward::<T, 4>(t, winograd, block, u, v, scratch, y),
            _ => block_forward::<T, 6>(t, winograd, block, u, v, scratch, y),
        }
    }
}

/// - `x`: (C, H, W)
/// - `v`: (64, C, block), written; tiles that only fill the block up are 0
#[inline(always)]
fn transform_input<T: Lanes>(
    t: T,
    winograd: &Winograd,
    block: usize,
    x: &[T::Vector],
    v: &mut [T::Vector],
) {
    let conv = &winograd.conv;
    let ([height, width], [above, left]) = (conv.input, conv.window.padding);
    let (channels, columns) = (conv.in_channels, winograd.block);
    let (count, apart) = (winograd.tiles_of(block).len(), spacing(channels * columns));
    for (c, x) in x.chunks_exact(height * width).enumerate() {
        for (k, [i, j]) in winograd.tiles_of(block).enumerate() {
            let inside =
                i >= above && j >= left && i + 8 <= height + above && j + 8 <= width + left;
            let to = Spaced {
                first: c * columns + k,
                apart,
            };
            if inside {
                let rows: [&[T::Vector]; 8] =
                    std::array::from_fn(|r| &x[(i + r - above) * width + j - left..][..8]);
                both_axes!(t, |r, c| rows[r][c], input::<T>, 8 => 8, |i, row| {
                    to.write_row(i, row, v)
                });
            } else {
                let pixel = |r: usize, c: usize| {
                    let (m, n) = ((i + r).wrapping_sub(above), (j + c).wrapping_sub(left));
                    let inside = m < height && n < width;
                    if inside { x[m * width + n] } else { t.zero() }
                };
                both_axes!(t, |r, c| pixel(r, c), input::<T>, 8 => 8, |i, row| {
                    to.write_row(i, row, v)
                });
            }
        }
        if count < columns {
            for v in v.chunks_exact_mut(apart) {
                v[c * columns..][count..columns].fill(t.zero());
            }
        }
    }
}

#[inline(always)]
fn block_forward<T: Lanes, const M: usize>(
    t: T,
    winograd: &Winograd,
    block: usize,
    u: &[f32],
    v: &[T::Vector],
    scratch: &mut [T::Vector],
    y: &mut impl Outputs<T>,
) {
    let (inputs, outputs) = (winograd.conv.in_channels, winograd.conv.out_channels);
    let columns = winograd.block;
    let filled = winograd.tiles_of(block).len().next_multiple_of(4);
    if inputs == 1 {
        // Nothing is added up: a product is one multiplication.
        for (k, at) in winograd.tiles_of(block).enumerate() {
            let v = Spaced {
                first: k,
                apart: spacing(columns),
            }
            .of(v);
            for o in 0..outputs {
                let u = Spaced {
                    first: o,
                    apart: outputs,
                }
                .of(u);
                let mut pixels = [[t.zero(); M]; M];
                both_axes!(
                    t,
                    |i, j| t.mul(t.splat(u.get(i, j)), v.get(i, j)),
                    output::<T, M>,
                    8 => M,
                    |i, row| pixels[i] = row
                );
                put::<T, M>(t, o, at, &pixels, y);
            }
        }
        return;
    }
    for rows in tiles(outputs, T::ROWS) {
        let (first, count) = (rows.start, rows.len());
        // m: (64, rows, block)
        with_rows!(count, T, R => {
            for f in 0..PRODUCTS {
                let u = &u[f * inputs * outputs..][..inputs * outputs]; // u: (C, O)
                let v = &v[f * spacing(inputs * columns)..][..inputs * columns]; // v: (C, block)
                let m = &mut scratch[f * spacing(R * columns)..][..R * columns]; // m: (rows, block)
                for n in (0..filled).step_by(4) {
                    let mut sums = [[t.zero(); 4]; R];
                    let numbers = |c| array(u, c * outputs + first);
                    add_product(t, inputs, numbers, |c| array(v, c * columns + n), &mut sums);
                    for (r, sums) in sums.iter().enumerate() {
                        m[r * columns + n..][..4].copy_from_slice(sums);
                    }
                }
            }
        });
        for o in 0..count {
            for (k, at) in winograd.tiles_of(block).enumerate() {
                let apart = spacing(count * columns);
                let m = Spaced {
                    first: o * columns + k,
                    apart,
                }
                .of(scratch);
                let mut pixels = [[t.zero(); M]; M];
                both_axes!(t, |i, j| m.get(i, j), output::<T, M>, 8 => M, |i, row| pixels[i] = row);
                put::<T, M>(t, first + o, at, &pixels, y);
            }
        }
    }
}

/// Hands a tile's outputs over, two rows and two columns at a time.
#[inline(always)]
fn put<T: Lanes, const M: usize>(
    t: T,
    o: usize,
    [i, j]: [usize; 2],
    pixels: &[[T::Vector; M]; M],
    y: &mut impl Outputs<T>,
) {
    for a in (0..M).step_by(2) {
        for b in (0..M).step_by(2) {
            let two = |row: &[T::Vector; M]| [row[b], row[b + 1]];
            y.put(t, o, [i + a, j + b], [two(&pixels[a]), two(&pixels[a + 1])]);
        }
    }
}

kernel! {
    /// The gradients by weight and input; the bias's is that of whoever added it.
    ///
    /// - `u`: (64, C, O), from [`transform_weight`]
    /// - `v`: (blocks, 64, C, block) vectors, from the forward pass
    /// - `d_y`: gives the gradients by the outputs, by two rows and two columns
    /// - `d_x`: (C, H, W) vectors, written; `None` for a network's first layer, whose input needs none
    /// - `d_u`: (64, C, O), for a while
    /// - `scratch`: [`Winograd::scratch_len`] vectors
    /// - `d_weight`: (O, C, r, r), added to: the sum over all lanes
    pub fn backward[Y: Gradients<T>](
        winograd: &Winograd,
        u: &[f32],
        v: &[T::Vector],
        d_y: &Y,
        d_x: Option<&mut [T::Vector]>,
        d_u: &mut [f32],
        scratch: &mut [T::Vector],
        d_weight: &mut [f32],
    ) = backward_kernel;
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
fn backward_kernel<T: Lanes>(
    t: T,
    winograd: &Winograd,
    u: &[f32],
    v: &[T::Vector],
    d_y: &impl Gradients<T>,
    mut d_x: Option<&mut [T::Vector]>,
    d_u: &mut [f32],
    scratch: &mut [T::Vector],
    d_weight: &mut [f32],
) {
    let conv = &winograd.conv;
    let m_len = PRODUCTS * spacing(conv.out_channels * winograd.block);
    let (d_m, scratch) = scratch.split_at_mut(m_len); // d_m: (64, O, block)

    d_u.fill(0.0);
    if let Some(d_x) = &mut d_x {
        d_x.fill(t.zero());
    }
    for (block, v) in v.chunks_exact(v.len() / winograd.blocks()).enumerate() {
        match winograd.side {
            4 => transform_gradients::<T, 4>(t, winograd, block, d_y, d_m),
            _ => transform_gradients::<T, 6>(t, winograd, block, d_y, d_m),
        }
        weight_gradients(t, winograd, block, d_m, v, scratch, d_u);
        if let Some(d_x) = &mut d_x {
            input_gradients(t, winograd, block, u, d_m, scratch, d_x);
        }
    }
    match winograd.side {
        4 => add_d_weights::<T, 5>(t, conv, d_u, d_weight),
        _ => add_d_weights::<T, 3>(t, conv, d_u, d_weight),
    }
}

/// `dM = A d_y A^T`: (64, O, block), written; tiles that only fill the block up are 0.
#[inline(always)]
fn transform_gradients<T: Lanes, const M: usize>(
    t: T,
    winograd: &Winograd,
    block: usize,
    d_y: &impl Gradients<T>,
    d_m: &mut [T::Vector],
) {
    let (outputs, columns) = (winograd.conv.out_channels, winograd.block);
    let (count, apart) = (winograd.tiles_of(block).len(), spacing(outputs * columns));
    for o in 0..outputs {
        for (k, [i, j]) in winograd.tiles_of(block).enumerate() {
            let mut pixels = [[t.zero(); M]; M];
            for a in (0..M).step_by(2) {
                for b in (0..M).step_by(2) {
                    let [above, below] = d_y.take(t, o, [i + a, j + b]);
                    [pixels[a][b], pixels[a][b + 1]] = above;
                    [pixels[a + 1][b], pixels[a + 1][b + 1]] = below;
                }
            }
            let to = Spaced {
                first: o * columns + k,
                apart,
            };
            both_axes!(t, |i, j| pixels[i][j], output_transposed::<T, M>, M => 8, |i, row| {
                to.write_row(i, row, d_m)
            });
        }
        if count < columns {
            for d_m in d_m.chunks_exact_mut(apart) {
                d_m[o * columns..][count..columns].fill(t.zero());
            }
        }
    }
}

/// Four vectors from `first` on.
#[inline(always)]
fn four<T: Lanes>(from: &[T::Vector], first: usize) -> &[T::Vector; 4] {
    from[first..first + 4].try_into().expect("four vectors")
}

/// `dU[f] += dM[f] . V[f]^T`, summed over the lanes.
///
/// - `d_m`: (64, O, block), `v`: (64, C, block)
/// - `sums`: (C, O) vectors, for a while
/// - `d_u`: (64, C, O), added to
#[inline(always)]
fn weight_gradients<T: Lanes>(
    t: T,
    winograd: &Winograd,
    block: usize,
    d_m: &[T::Vector],
    v: &[T::Vector],
    sums: &mut [T::Vector],
    d_u: &mut [f32],
) {
    let (inputs, outputs) = (winograd.conv.in_channels, winograd.conv.out_channels);
    let columns = winograd.block;
    let filled = winograd.tiles_of(block).len().next_multiple_of(4);
    let sums = &mut sums[..inputs * outputs]; // sums: (C, O)
    for f in 0..PRODUCTS {
        let d_m = &d_m[f * spacing(outputs * columns)..][..outputs * columns]; // d_m: (O, block)
        let v = &v[f * spacing(inputs * columns)..][..inputs * columns]; // v: (C, block)
        for c in tiles(inputs, T::ROWS) {
            for o in tiles(outputs, 4) {
                with_rows!(c.len(), T, R => {
                    let mut tile = [[t.zero(); 4]; R];
                    for n in (0..filled).step_by(4) {
                        let four = |from, row| four::<T>(from, row * columns + n);
                        let left: [_; R] = std::array::from_fn(|r| four(v, c.start + r));
                        // Fewer than four outputs are filled up with the last.
                        let right: [_; 4] =
                            std::array::from_fn(|n| four(d_m, (o.start + n).min(outputs - 1)));
                        add_outer(
                            t,
                            4,
                            |k| std::array::from_fn::<_, R, _>(|r| left[r][k]),
                            |k| std::array::from_fn(|n| right[n][k]),
                            &mut tile,
                        );
                    }
                    for (r, tile) in tile.iter().enumerate() {
                        let sums = &mut sums[(c.start + r) * outputs..][o.clone()];
                        for (sum, &vector) in sums.iter_mut().zip(tile) {
                            *sum = vector;
                        }
                    }
                });
            }
        }
        let d_u = &mut d_u[f * inputs * outputs..][..inputs * outputs];
        t.add_sums(sums, d_u);
    }
}

/// `d_x += B (U^T . dM) B^T`
///
/// - `u`: (64, C, O), `d_m`: (64, O, block)
/// - `d_v`: (64, C, block) vectors, for a while
/// - `d_x`: (C, H, W), added to
#[inline(always)]
fn input_gradients<T: Lanes>(
    t: T,
    winograd: &Winograd,
    block: usize,
    u: &[f32],
    d_m: &[T::Vector],
    d_v: &mut [T::Vector],
    d_x: &mut [T::Vector],
) {
    let conv = &winograd.conv;
    let (inputs, outputs) = (conv.in_channels, conv.out_channels);
    let columns = winograd.block;
    let filled = winograd.tiles_of(block).len().next_multiple_of(4);
    for f in 0..PRODUCTS {
        let u = &u[f * inputs * outputs..][..inputs * outputs]; // u: (C, O)
        let d_m = &d_m[f * spacing(outputs * columns)..][..outputs * columns]; // d_m: (O, block)
        let d_v = &mut d_v[f * spacing(inputs * columns)..][..inputs * columns]; // d_v: (C, block)
        for c in tiles(inputs, T::ROWS) {
            with_rows!(c.len(), T, R => {
                let rows: [&[f32]; R] =
                    std::array::from_fn(|r| &u[(c.start + r) * outputs..][..outputs]);
                for n in (0..filled).step_by(4) {
                    let mut tile = [[t.zero(); 4]; R];
                    let numbers = |o: usize| std::array::from_fn(|r| rows[r][o]);
                    add_product(t, outputs, numbers, |o| array(d_m, o * columns + n), &mut tile);
                    for (r, sums) in tile.iter().enumerate() {
                        d_v[(c.start + r) * columns + n..][..4].copy_from_slice(sums);
                    }
                }
            });
        }
    }
    let ([height, width], [above, left]) = (conv.input, conv.window.padding);
    for (c, d_x) in d_x.chunks_exact_mut(height * width).enumerate() {
        for (k, [i, j]) in winograd.tiles_of(block).enumerate() {
            let apart = spacing(inputs * columns);
            let d_v = Spaced {
                first: c * columns + k,
                apart,
            }
            .of(d_v);
            let inside =
                i >= above && j >= left && i + 8 <= height + above && j + 8 <= width + left;
            both_axes!(t, |a, b| d_v.get(a, b), input_transposed::<T>, 8 => 8, |a, row| {
                if inside {
                    let first = (i + a - above) * width + j - left;
                    for (d_x, pixel) in d_x[first..first + 8].iter_mut().zip(row) {
                        *d_x = t.add(*d_x, pixel);
                    }
                } else {
                    for (b, pixel) in row.into_iter().enumerate() {
                        let (m, n) = ((i + a).wrapping_sub(above), (j + b).wrapping_sub(left));
                        if m < height && n < width {
                            let place = m * width + n;
                            d_x[place] = t.add(d_x[place], pixel);
                        }
                    }
                }
            });
        }
    }
}
