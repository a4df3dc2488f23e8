//! Direct convolution with several images in the lanes: for any kernel, stride and padding.
//!
//! A tile is a few output channels by two rows and two columns of outputs: one window of a 2x2
//! pooling, which can so be pooled before it is ever written. Where there is padding, the input is
//! first copied into a frame of zeros, so that no window needs to know of the border.

use super::Conv2d;
use super::winograd::transforms::output_transposed_at;
use crate::hardware::lanes::tile::{add_outer, add_product, array};
use crate::hardware::lanes::{Lanes, kernel, tiles, with_rows};

/// What takes a convolution's outputs, still without the bias.
pub trait Outputs<T: Lanes> {
    /// Takes the outputs of channel `o` at `N` rows from `i` on, `M` columns from `j` on, all four numbers
    /// even. Those beyond the last row or column are to be left alone.
    fn put<const M: usize, const N: usize>(
        &mut self,
        t: T,
        o: usize,
        at: [usize; 2],
        pixels: [[T::Vector; M]; N],
    );
}

/// What gives the gradients by a convolution's outputs.
pub trait Gradients<T: Lanes> {
    /// Those of channel `o` at rows `i` and `i + 1`, `M` columns from `j` on, all of them even; 0
    /// beyond the last row or column.
    fn take<const M: usize>(&self, t: T, o: usize, at: [usize; 2]) -> [[T::Vector; M]; 2];

    /// Two rows of Winograd's `A d_y` for the tile of `M` rows and `M` columns at `at`: with a `point` its
    /// row, then that of its opposite; with none those of 0 and infinity, which are the first gradients and
    /// the last.
    #[inline(always)]
    fn two_rows<const M: usize>(
        &self,
        t: T,
        o: usize,
        at: [usize; 2],
        point: Option<f32>,
    ) -> [[T::Vector; M]; 2] {
        two_rows_of_all(t, self, o, at, point)
    }
}

/// [`Gradients::two_rows`], whatever [`Gradients::take`] gives.
#[inline(always)]
pub(crate) fn two_rows_of_all<T: Lanes, const M: usize>(
    t: T,
    d_y: &(impl Gradients<T> + ?Sized),
    o: usize,
    [i, j]: [usize; 2],
    point: Option<f32>,
) -> [[T::Vector; M]; 2] {
    let Some(point) = point else {
        let [first, _] = d_y.take(t, o, [i, j]);
        let [_, last] = d_y.take(t, o, [i + M - 2, j]);
        return [first, last];
    };
    let mut rows = [[t.zero(); M]; M];
    for a in (0..M).step_by(2) {
        [rows[a], rows[a + 1]] = d_y.take(t, o, [i + a, j]);
    }
    let mut sums = [[t.zero(); M]; 2];
    for b in 0..M {
        let mut column = [t.zero(); M];
        for (number, row) in column.iter_mut().zip(&rows) {
            *number = row[b];
        }
        [sums[0][b], sums[1][b]] = output_transposed_at(t, point, column);
    }
    sums
}

/// Outputs that are written as they are, with their bias: `y` (O, oh, ow).
#[derive(Debug)]
pub struct Plain<'a, V> {
    /// oh, ow.
    pub size: [usize; 2],
    /// (O)
    pub bias: &'a [f32],
    /// (O, oh, ow), written.
    pub y: &'a mut [V],
}

impl<T: Lanes> Outputs<T> for Plain<'_, T::Vector> {
    #[inline(always)]
    fn put<const M: usize, const N: usize>(
        &mut self,
        t: T,
        o: usize,
        [i, j]: [usize; 2],
        pixels: [[T::Vector; M]; N],
    ) {
        let [height, width] = self.size;
        let bias = t.splat(self.bias[o]);
        for (i, row) in (i..height).zip(pixels) {
            for (j, pixel) in (j..width).zip(row) {
                self.y[(o * height + i) * width + j] = t.add(pixel, bias);
            }
        }
    }
}

/// Gradients that stand in memory: `d_y` (O, oh, ow).
#[derive(Debug)]
pub struct PlainGradients<'a, V> {
    /// oh, ow.
    pub size: [usize; 2],
    /// (O, oh, ow)
    pub d_y: &'a [V],
}

impl<T: Lanes> Gradients<T> for PlainGradients<'_, T::Vector> {
    #[inline(always)]
    fn take<const M: usize>(&self, t: T, o: usize, [i, j]: [usize; 2]) -> [[T::Vector; M]; 2] {
        let [height, width] = self.size;
        let first = (o * height + i) * width + j;
        if i + 2 <= height && j + M <= width {
            return [array(self.d_y, first), array(self.d_y, first + width)];
        }
        let mut pixels = [[t.zero(); M]; 2];
        for (a, row) in pixels.iter_mut().take(height.saturating_sub(i)).enumerate() {
            for (b, pixel) in row.iter_mut().take(width.saturating_sub(j)).enumerate() {
                *pixel = self.d_y[first + a * width + b];
            }
        }
        pixels
    }
}

/// The height and width of the input with its padding.
pub(crate) fn padded(conv: &Conv2d) -> [usize; 2] {
    [0, 1].map(|axis| conv.input[axis] + 2 * conv.window.padding[axis])
}

/// The columns of a row of spread gradients: as many as there are windows to write, and as any
/// pixel reads. See [`spread`].
fn spread_width(conv: &Conv2d) -> usize {
    let (window, kernel) = (&conv.window, conv.window.kernel[1]);
    let written = (conv.output[1] - 1) * window.stride[1] + kernel;
    written.max(conv.input[1] + window.padding[1] + kernel - 1)
}

/// How many vectors the padded input has: (C, H + 2 p, W + 2 p), none where there is no padding.
pub fn frame_len(conv: &Conv2d) -> usize {
    if conv.window.padding == [0, 0] {
        return 0;
    }
    let [height, width] = padded(conv);
    conv.in_channels * height * width
}

/// How many vectors the backward pass needs for a while: the spread gradients (O, oh, columns),
/// and the sums of the outputs' gradients or of four filters of one channel.
pub fn scratch_len(conv: &Conv2d) -> usize {
    let [kernel_height, kernel_width] = conv.window.kernel;
    let sums = conv.out_channels.max(4 * kernel_height * kernel_width);
    conv.out_channels * conv.output[0] * spread_width(conv) + sums
}

kernel! {
    /// - `x`: (C, H, W) vectors
    /// - `weight`: (O, C, kh, kw)
    /// - `frame`: [`frame_len`] vectors, written, for the backward pass
    /// - `y`: takes the outputs, by two rows and two columns
    pub fn forward[Y: Outputs<T>](
        conv: &Conv2d,
        x: &[T::Vector],
        weight: &[f32],
        frame: &mut [T::Vector],
        y: &mut Y,
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(
    t: T,
    conv: &Conv2d,
    x: &[T::Vector],
    weight: &[f32],
    frame: &mut [T::Vector],
    y: &mut impl Outputs<T>,
) {
    if !frame.is_empty() {
        pad(t, conv, x, frame);
    }
    let x = if frame.is_empty() { x } else { &*frame };
    let [out_height, out_width] = conv.output;
    for rows in tiles(conv.out_channels, T::ROWS) {
        with_rows!(rows.len(), T, R => {
            for i in (0..out_height).step_by(2) {
                for j in (0..out_width).step_by(2) {
                    let tile = window_pair::<T, R>(t, conv, x, weight, rows.start, [i, j]);
                    for (r, [a, b, c, d]) in tile.into_iter().enumerate() {
                        y.put(t, rows.start + r, [i, j], [[a, b], [c, d]]);
                    }
                }
            }
        });
    }
}

/// The outputs of `R` channels from `first` on, at two rows and two columns from `at` on. Beyond
/// the last row or column, the last is computed again.
#[inline(always)]
fn window_pair<T: Lanes, const R: usize>(
    t: T,
    conv: &Conv2d,
    x: &[T::Vector],
    weight: &[f32],
    first: usize,
    at: [usize; 2],
) -> [[T::Vector; 4]; R] {
    let [kernel_height, kernel_width] = conv.window.kernel;
    let [height, width] = padded(conv);
    // The first pixels of the windows: rows, then columns.
    let [rows, columns] = [0, 1].map(|axis| {
        let next = (at[axis] + 1).min(conv.output[axis] - 1);
        [at[axis], next].map(|window| window * conv.window.stride[axis])
    });
    let mut tile = [[t.zero(); 4]; R];
    let taps = conv.fan_in();
    let filters: [&[f32]; R] = std::array::from_fn(|r| &weight[(first + r) * taps..][..taps]);
    for c in 0..conv.in_channels {
        let x = &x[c * height * width..][..height * width];
        for u in 0..kernel_height {
            let [above, below] = rows.map(|row| &x[(row + u) * width..][..width]);
            let tap = (c * kernel_height + u) * kernel_width;
            let numbers = |v: usize| std::array::from_fn(|r| filters[r][tap + v]);
            let [j, k] = columns;
            let vectors = |v: usize| [above[j + v], above[k + v], below[j + v], below[k + v]];
            add_product(t, kernel_width, numbers, vectors, &mut tile);
        }
    }
    tile
}

/// - `x`: (C, H, W)
/// - `frame`: (C, H + 2 p, W + 2 p), written: `x` with zeros around it
#[inline(always)]
pub(crate) fn pad<T: Lanes>(t: T, conv: &Conv2d, x: &[T::Vector], frame: &mut [T::Vector]) {
    let [above, left] = conv.window.padding;
    let [height, width] = conv.input;
    let [padded_height, padded_width] = padded(conv);
    frame.fill(t.zero());
    let channels = x.chunks_exact(height * width);
    for (x, frame) in channels.zip(frame.chunks_exact_mut(padded_height * padded_width)) {
        let rows = frame.chunks_exact_mut(padded_width).skip(above);
        for (x, frame) in x.chunks_exact(width).zip(rows) {
            frame[left..left + width].copy_from_slice(x);
        }
    }
}

kernel! {
    /// The gradients by weight, bias and input.
    ///
    /// - `x`: (C, H, W) vectors
    /// - `frame`: [`frame_len`] vectors, from the forward pass
    /// - `weight`: (O, C, kh, kw)
    /// - `d_y`: gives the gradients by the outputs, by two rows and two columns
    /// - `d_x`: (C, H, W) vectors, written; `None` for a network's first layer, whose input needs none
    /// - `scratch`: [`scratch_len`] vectors
    /// - `d_weight`: (O, C, kh, kw), `d_bias`: (O), added to: the sum over all lanes
    pub fn backward[Y: Gradients<T>](
        conv: &Conv2d,
        x: &[T::Vector],
        frame: &[T::Vector],
        weight: &[f32],
        d_y: &Y,
        d_x: Option<&mut [T::Vector]>,
        scratch: &mut [T::Vector],
        d_weight: &mut [f32],
        d_bias: &mut [f32],
    ) = backward_kernel;
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the tensors of the formula")]
fn backward_kernel<T: Lanes>(
    t: T,
    conv: &Conv2d,
    x: &[T::Vector],
    frame: &[T::Vector],
    weight: &[f32],
    d_y: &impl Gradients<T>,
    d_x: Option<&mut [T::Vector]>,
    scratch: &mut [T::Vector],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let spread_len = conv.out_channels * conv.output[0] * spread_width(conv);
    let (spread, scratch) = scratch.split_at_mut(spread_len); // spread: (O, oh, columns)

    let sums = &mut scratch[..conv.out_channels]; // sums: (O)
    self::spread(t, conv, d_y, spread, sums);
    t.add_sums(sums, d_bias);
    let x = if frame.is_empty() { x } else { frame };
    weight_gradients(t, conv, x, spread, scratch, d_weight);
    if let Some(d_x) = d_x {
        input_gradients(t, conv, weight, spread, d_x);
    }
}

/// Writes the gradients as far apart as the windows are, with a border of zeros: the gradient of
/// column `j` stands in column `j stride + kw - 1`. The gradient of input column `n` by tap `v` is
/// then column `n + padding - v + kw - 1`, whatever the stride and wherever the edge.
///
/// - `spread`: (O, oh, [`spread_width`]), written
/// - `sums`: (O), written: the gradient by each bias, lane by lane
#[inline(always)]
fn spread<T: Lanes>(
    t: T,
    conv: &Conv2d,
    d_y: &impl Gradients<T>,
    spread: &mut [T::Vector],
    sums: &mut [T::Vector],
) {
    let ([height, width], columns) = (conv.output, spread_width(conv));
    let (stride, border) = (conv.window.stride[1], conv.window.kernel[1] - 1);
    spread.fill(t.zero());
    for (o, sum) in sums.iter_mut().enumerate() {
        *sum = t.zero();
        for i in (0..height).step_by(2) {
            for j in (0..width).step_by(2) {
                let pixels = d_y.take::<2>(t, o, [i, j]);
                *sum = t.add(*sum, t.total(pixels.as_flattened()));
                for (i, row) in (i..height).zip(pixels) {
                    let to = &mut spread[(o * height + i) * columns..][..columns];
                    for (j, pixel) in (j..width).zip(row) {
                        to[j * stride + border] = pixel;
                    }
                }
            }
        }
    }
}

/// `d_weight[o, c, u, v] += sum over i, j of d_y[o, i, j] x[c, i s + u, j s + v]`
///
/// - `x`: (C, H + 2 p, W + 2 p)
/// - `sums`: (4, kh kw) vectors, for a while
#[inline(always)]
fn weight_gradients<T: Lanes>(
    t: T,
    conv: &Conv2d,
    x: &[T::Vector],
    spread: &[T::Vector],
    sums: &mut [T::Vector],
    d_weight: &mut [f32],
) {
    let [kernel_height, kernel_width] = conv.window.kernel;
    let [height, width] = padded(conv);
    let ([out_height, out_width], columns) = (conv.output, spread_width(conv));
    let [down, across] = conv.window.stride;
    let taps = kernel_height * kernel_width;
    for o in tiles(conv.out_channels, 4) {
        for c in 0..conv.in_channels {
            let x = &x[c * height * width..][..height * width];
            // The gradients of the tile's outputs in row i; fewer than four are filled up.
            let rows_of = |i: usize| -> [&[T::Vector]; 4] {
                std::array::from_fn(|n| {
                    let row = (o.start + n).min(o.end - 1) * out_height + i;
                    &spread[row * columns..][..columns]
                })
            };
            for u in 0..kernel_height {
                for v in tiles(kernel_width, T::ROWS) {
                    with_rows!(v.len(), T, R => {
                        let mut tile = [[t.zero(); 4]; R];
                        for i in 0..out_height {
                            let x = &x[(i * down + u) * width..][..width];
                            let [a, b, c, d] = rows_of(i);
                            let left = |j: usize| array::<_, R>(x, j * across + v.start);
                            let right = |j: usize| {
                                let column = j * across + kernel_width - 1;
                                [a[column], b[column], c[column], d[column]]
                            };
                            add_outer(t, out_width, left, right, &mut tile);
                        }
                        for (r, row) in tile.iter().enumerate() {
                            for (n, &sum) in row.iter().enumerate() {
                                sums[n * taps + u * kernel_width + v.start + r] = sum;
                            }
                        }
                    });
                }
            }
            for (o, sums) in o.clone().zip(sums.chunks_exact(taps)) {
                let d_weight = &mut d_weight[(o * conv.in_channels + c) * taps..][..taps];
                t.add_sums(sums, d_weight);
            }
        }
    }
}

/// `d_x[c, m, n] = sum over o, u, v of weight[o, c, u, v] d_y[o, (m + p - u) / s, (n + p - v) / s]`,
/// where the divisions leave no rest.
#[inline(always)]
fn input_gradients<T: Lanes>(
    t: T,
    conv: &Conv2d,
    weight: &[f32],
    spread: &[T::Vector],
    d_x: &mut [T::Vector],
) {
    let [kernel_height, kernel_width] = conv.window.kernel;
    let ([height, width], out_height) = (conv.input, conv.output[0]);
    let ([down, _], [above, left]) = (conv.window.stride, conv.window.padding);
    let columns = spread_width(conv);
    let taps = kernel_height * kernel_width;
    for c in tiles(conv.in_channels, T::ROWS) {
        for m in 0..height {
            for n in (0..width).step_by(4) {
                // Beyond the last column, the last is computed again.
                let at: [usize; 4] = std::array::from_fn(|k| (n + k).min(width - 1) + left);
                with_rows!(c.len(), T, R => {
                    let mut tile = [[t.zero(); 4]; R];
                    for u in 0..kernel_height {
                        let Some(row) = (m + above).checked_sub(u) else { break };
                        if row % down != 0 || row / down >= out_height {
                            continue;
                        }
                        for o in 0..conv.out_channels {
                            let row = o * out_height + row / down;
                            let d_y = &spread[row * columns..][..columns];
                            let first = o * conv.in_channels + c.start;
                            let filters: [&[f32]; R] = std::array::from_fn(|r| {
                                &weight[(first + r) * taps + u * kernel_width..][..kernel_width]
                            });
                            let numbers = |v: usize| std::array::from_fn(|r| filters[r][v]);
                            let vectors = |v: usize| at.map(|n| d_y[n + kernel_width - 1 - v]);
                            add_product(t, kernel_width, numbers, vectors, &mut tile);
                        }
                    }
                    for (r, row) in tile.iter().enumerate() {
                        let to = &mut d_x[((c.start + r) * height + m) * width..][..width];
                        for (to, &sum) in to[n..].iter_mut().zip(row) {
                            *to = sum;
                        }
                    }
                });
            }
        }
    }
}
