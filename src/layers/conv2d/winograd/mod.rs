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
//! Here `.` is a product of matrices, one for each `f`. In memory `U[f]` stands as (C, O).
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
//! # In which order
//!
//! All products of a few tiles are more than the first level of the cache holds, and where half a
//! vector is written at once, to write one takes as long as two multiply-adds. So the products and
//! their gradients are never all there: of one row of the 8 x 8 points, `M[8 i .. 8 i + 8]`, the
//! products are computed and at once transformed along the row, which leaves m numbers of 8; the
//! columns follow when all rows of a few outputs are there. Backward, two rows of `A d_y` are computed
//! at a time: those of a point and its opposite, which have their sums of even and of odd powers in common,
//! or those of 0 and infinity, which are no sums. Behind a pooling, where of four gradients three are 0, the
//! one that is not is multiplied by the power of its row. A row of `dU` becomes `dU G` as soon as it is there. Only `dV`, whose rows would stay as long as they are, is kept
//! whole, where `V` was.
//!
//! Tiles side by side are a stretch. Where they overlap, what is transformed along the columns alone is the
//! same for both: a stretch of k tiles has not 8 k columns, but `k m + 8 - m`.
//!
//! The gradient by the bias is a sum of gradients, as `dM` is at the point 1, whose powers are all 1. What goes
//! over a row or a product again and again is a kernel of its own: within a larger one its pointers would have no
//! registers, and to advance them in memory takes as long as the arithmetic. `weight` has the weight's
//! transform and what leads its gradient back, `transforms` the matrices themselves.
//!
//! With one input channel the 64 products are no sums, and their transforms take longer than they do:
//! then rows alone are filtered, which is the formula at the top (`one_channel`).
//!
//! A transform adds all pixels of a tile up: where one is infinite or NaN, all outputs of the tile may
//! be NaN, and not only those whose windows hold it. Backward the same goes for the gradients.
//!
//! Source: Winograd, *Arithmetic Complexity of Computations*, 1980; Lavin and Gray, *Fast Algorithms
//! for Convolutional Neural Networks*, CVPR 2016. The matrices were derived as above.

mod backward;
mod forward;
mod one_channel;
pub(super) mod transforms;
mod weight;

use std::ops::Range;

use super::Conv2d;
use crate::hardware::lanes::MAX_WIDTH;
pub use backward::backward;
pub use forward::forward;
pub use weight::transform_weight;

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
    /// Cuts `conv` into tiles for vectors of `width`, or `None` if its window is not one of those, or
    /// its outputs are so few that tiles have as many products as they have taps.
    pub fn new(conv: &Conv2d, width: usize) -> Option<Self> {
        let side = side(conv)?;
        let tiles = conv.output.map(|length| length.div_ceil(side));
        let taps = conv.windows() * conv.window.kernel[0] * conv.window.kernel[1];
        if tiles[0] * tiles[1] * PRODUCTS >= taps {
            return None;
        }
        // As if all products of every output were kept, which is more than is there.
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

    /// Whether rows alone are filtered, and not columns: with one input channel.
    pub fn along_rows(&self) -> bool {
        self.conv.in_channels == 1
    }

    /// Floating-point operations of one example's forward pass: the 64 products, and the
    /// transforms of all tiles. What is done once for all examples is not counted.
    pub fn forward_flops(&self) -> u64 {
        if self.along_rows() {
            return one_channel::forward_flops(self);
        }
        let more = self.side as u64 - 1;
        self.products_flops() + self.input_flops(38) + self.output_flops(10 + 4 * more)
    }

    /// The same of the backward pass, where the outputs were `pooled` or not, with the gradient by the
    /// input or without. What leads the weight's gradient back, once for all lanes, is not counted.
    pub fn backward_flops(&self, pooled: bool, d_x_wanted: bool) -> u64 {
        if self.along_rows() {
            return one_channel::backward_flops(self, d_x_wanted);
        }
        let side = self.side as u64;
        let transposed = self.transposed_flops();
        let outputs = match pooled {
            // Of each window two columns are multiplied, for every row of points again.
            true => POINTS as u64 * self.output_tiles() * (side * side + transposed),
            false => self.output_flops(transposed),
        };
        let d_weight = self.products_flops() + outputs;
        match d_x_wanted {
            true => d_weight + self.products_flops() + self.input_flops(39),
            false => d_weight,
        }
    }

    /// Those of the products, tiles that only fill a block up among them.
    fn products_flops(&self) -> u64 {
        let tiles: usize = (0..self.blocks()).map(|block| self.filled(block)).sum();
        2 * (PRODUCTS * tiles * self.conv.in_channels * self.conv.out_channels) as u64
    }

    /// Those of a transform of the columns of every stretch and of 8 rows of every tile, each of `once`: 26
    /// operations, of which 12 are multiply-adds and count twice, or 13 in the transpose.
    fn input_flops(&self, once: u64) -> u64 {
        let stretches = (0..self.blocks()).flat_map(|block| self.stretches(block));
        let transforms: usize = stretches
            .map(|stretch| stretch.columns(self.side) + POINTS * stretch.tiles.len())
            .sum();
        once * (transforms * self.conv.in_channels) as u64
    }

    /// Those of a transform of 8 rows of every output, and of as many columns as a tile has
    /// outputs, each of `once`.
    fn output_flops(&self, once: u64) -> u64 {
        (POINTS + self.side) as u64 * once * self.output_tiles()
    }

    /// Those of `A y` for the outputs of one row or column: of each pair of points m - 2 multiply-adds, a
    /// product, a sum and a difference.
    fn transposed_flops(&self) -> u64 {
        3 * (2 * self.side as u64 - 1)
    }

    /// Tiles of all outputs.
    fn output_tiles(&self) -> u64 {
        (self.tiles[0] * self.tiles[1] * self.conv.out_channels) as u64
    }

    /// How many numbers the transformed weight has: (64, C, O), each of the 64 filled up to whole vectors,
    /// or along the rows (O, r, 8).
    pub fn weight_len(&self) -> usize {
        if self.along_rows() {
            return one_channel::weight_len(&self.conv);
        }
        PRODUCTS * u_apart(&self.conv)
    }

    /// How many vectors the transformed input has: (blocks, 64, C, block), each of the 64 an
    /// odd number of vectors from the next; or along the rows (strips, rows, 8).
    pub fn input_len(&self) -> usize {
        if self.along_rows() {
            return one_channel::input_len(self);
        }
        self.blocks() * PRODUCTS * spacing(self.conv.in_channels * self.block)
    }

    /// How many vectors the forward pass needs for a while.
    pub fn forward_scratch_len(&self) -> usize {
        if self.along_rows() {
            return 0;
        }
        forward::scratch_len(self)
    }

    /// How many vectors of `width` lanes either pass needs for a while.
    pub fn scratch_len(&self, width: usize) -> usize {
        if self.along_rows() {
            return one_channel::scratch_len(self, width);
        }
        self.forward_scratch_len()
            .max(backward::scratch_len(self, width))
    }

    /// Blocks of tiles.
    fn blocks(&self) -> usize {
        (self.tiles[0] * self.tiles[1]).div_ceil(self.block)
    }

    /// The tiles of a block, by their first output pixel.
    #[inline(always)]
    fn tiles_of(&self, block: usize) -> impl ExactSizeIterator<Item = [usize; 2]> {
        let ([down, across], side) = (self.tiles, self.side);
        let first = block * self.block;
        let [mut i, mut j] = [first / across * side, first % across * side];
        (first..(down * across).min(first + self.block)).map(move |_| {
            let tile = [i, j];
            // A division for every tile would take as long as its transform.
            j += side;
            if j == across * side {
                [i, j] = [i + side, 0];
            }
            tile
        })
    }

    /// The same as stretches.
    #[inline(always)]
    fn stretches(&self, block: usize) -> impl Iterator<Item = Stretch> {
        let ([down, across], side) = (self.tiles, self.side);
        let first = block * self.block;
        let end = (down * across).min(first + self.block);
        (first / across..end.div_ceil(across)).map(move |row| {
            let tiles = first.max(row * across)..end.min((row + 1) * across);
            Stretch {
                first: [row * side, (tiles.start - row * across) * side],
                tiles: tiles.start - first..tiles.end - first,
            }
        })
    }

    /// How many vectors the longest stretch has, its rows or its columns transformed: (8, columns).
    fn stretch_len(&self) -> usize {
        POINTS * (self.tiles[1].min(self.block) * self.side + POINTS - self.side)
    }

    /// How many tiles of a block are computed: a multiple of four, those that are none being 0.
    #[inline(always)]
    fn filled(&self, block: usize) -> usize {
        self.tiles_of(block).len().next_multiple_of(4)
    }
}

/// Tiles of a block side by side.
struct Stretch {
    /// The first output pixel.
    first: [usize; 2],
    /// Which tiles of the block.
    tiles: Range<usize>,
}

impl Stretch {
    /// How many columns of pixels its tiles cover, `side` being a tile's outputs along an axis.
    #[inline(always)]
    fn columns(&self, side: usize) -> usize {
        self.tiles.len() * side + POINTS - side
    }

    /// Where column `n` begins in an input (H, W), if all of it is there and not padding.
    #[inline(always)]
    fn column(&self, conv: &Conv2d, n: usize) -> Option<usize> {
        self.pixel(conv, POINTS - 1, n)?;
        self.pixel(conv, 0, n)
    }

    /// Where row `a` of column `n` is in an input (H, W), if it is not padding.
    #[inline(always)]
    fn pixel(&self, conv: &Conv2d, a: usize, n: usize) -> Option<usize> {
        let ([height, width], [above, left]) = (conv.input, conv.window.padding);
        let i = (self.first[0] + a).wrapping_sub(above);
        let j = (self.first[1] + n).wrapping_sub(left);
        (i < height && j < width).then(|| i * width + j)
    }
}

/// Outputs of a tile, along an axis, if the window is one of those.
pub(super) fn side(conv: &Conv2d) -> Option<usize> {
    match (conv.window.kernel, conv.window.stride) {
        ([3, 3], [1, 1]) => Some(6),
        ([5, 5], [1, 1]) => Some(4),
        _ => None,
    }
}

/// How far apart the 64 products' weights stand, (C, O) each: whole vectors, so that none lies in two lines
/// of the cache.
fn u_apart(conv: &Conv2d) -> usize {
    (conv.in_channels * conv.out_channels).next_multiple_of(MAX_WIDTH)
}

/// How far apart rows of `len` vectors stand that are read together: an odd number, for at a power
/// of two they would all fall into the same few places of the cache.
#[inline(always)]
const fn spacing(len: usize) -> usize {
    len | 1
}

/// The eight vectors from `first` on that are equally far apart.
#[inline(always)]
fn eight<V: Copy>(from: &[V], first: usize, apart: usize) -> [V; POINTS] {
    assert!(apart < from.len() && first < from.len() && first + (POINTS - 1) * apart < from.len());
    let mut vectors = [from[first]; POINTS];
    for (k, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the last of the eight was found to be there.
        *vector = unsafe { *from.get_unchecked(first + k * apart) };
    }
    vectors
}

/// Writes eight vectors to where [`eight`] reads them.
#[inline(always)]
fn write_eight<V: Copy>(vectors: [V; POINTS], to: &mut [V], first: usize, apart: usize) {
    assert!(apart < to.len() && first < to.len() && first + (POINTS - 1) * apart < to.len());
    for (k, vector) in vectors.into_iter().enumerate() {
        // SAFETY: the last of the eight was found to be there.
        unsafe { *to.get_unchecked_mut(first + k * apart) = vector };
    }
}
