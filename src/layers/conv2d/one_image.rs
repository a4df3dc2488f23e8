//! Direct convolution of one image, with its output channels in the lanes: for any kernel, stride
//! and padding.
//!
//! Of a group of one image all lanes but one would stand empty. So the weight is laid out, once
//! for many images, with the same tap of neighbouring filters side by side, and what is broadcast
//! is the image's numbers. The layout is `(H, W, C)`, a pixel's channels filling as many vectors as
//! they need.

use super::Conv2d;
use super::lanes::padded;
use crate::hardware::lanes::tile::{add_product, array};
use crate::hardware::lanes::{Lanes, kernel, tiles, with_rows};

/// Vectors of output channels that a tile has.
const CHANNELS: usize = 2;

/// How many pixels a tile of so many vectors of output channels has: enough that no multiply-add
/// waits for the one before, and no more than there are registers.
#[inline(always)]
fn most_pixels<T: Lanes>(channels: usize) -> usize {
    match channels {
        1 => 2 * T::ROWS + 2,
        _ => T::ROWS + 3,
    }
}

/// How many vectors the filters have: (O vectors, kh, kw, C).
pub fn filters_len(conv: &Conv2d, width: usize) -> usize {
    conv.out_channels.div_ceil(width) * conv.fan_in()
}

/// How many numbers the padded input has: (H + 2 p, W + 2 p, C), and room for what is written
/// behind the last pixel.
pub fn frame_len(conv: &Conv2d, width: usize) -> usize {
    let [height, across] = padded(conv);
    height * across * conv.in_channels + width
}

/// Lays the weight out.
///
/// - `weight`: (O, C, kh, kw)
/// - `filters`: for each tile of up to two vectors of output channels (kh, kw, C, vectors), written
pub fn lay_out<T: Lanes>(t: T, conv: &Conv2d, weight: &[f32], filters: &mut [T::Vector]) {
    let [kernel_height, kernel_width] = conv.window.kernel;
    let (inputs, taps) = (conv.in_channels, conv.fan_in());
    let numbers = t.numbers_mut(filters);
    numbers.fill(0.0);
    for channels in tiles(conv.out_channels.div_ceil(T::WIDTH), CHANNELS) {
        let row = channels.len() * T::WIDTH;
        let first = channels.start * T::WIDTH;
        let block = &mut numbers[first * taps..][..row * taps]; // block: (kh, kw, C, row)
        for o in first..conv.out_channels.min(first + row) {
            for c in 0..inputs {
                for tap in 0..kernel_height * kernel_width {
                    let from = (o * inputs + c) * kernel_height * kernel_width + tap;
                    block[(tap * inputs + c) * row + o - first] = weight[from];
                }
            }
        }
    }
}

kernel! {
    /// - `x`: (H, W, C vectors)
    /// - `filters`: from [`lay_out`]
    /// - `bias`: (O vectors)
    /// - `frame`: [`frame_len`] numbers, for a while
    /// - `y`: (oh, ow, O vectors), written
    pub fn forward(
        conv: &Conv2d,
        x: &[T::Vector],
        filters: &[T::Vector],
        bias: &[T::Vector],
        frame: &mut [f32],
        y: &mut [T::Vector],
    ) = forward_kernel;
}

#[inline(always)]
fn forward_kernel<T: Lanes>(
    t: T,
    conv: &Conv2d,
    x: &[T::Vector],
    filters: &[T::Vector],
    bias: &[T::Vector],
    frame: &mut [f32],
    y: &mut [T::Vector],
) {
    pad(t, conv, x, frame);
    let ([out_height, out_width], taps) = (conv.output, conv.fan_in());
    let ([kernel_height, kernel_width], [down, across]) = (conv.window.kernel, conv.window.stride);
    let row_len = padded(conv)[1] * conv.in_channels;
    // A window's row of taps is as many neighbouring numbers.
    let depth = kernel_width * conv.in_channels;
    for channels in tiles(bias.len(), CHANNELS) {
        let filters = &filters[channels.start * taps..][..channels.len() * taps];
        with_rows!(channels.len(), at most CHANNELS, of 1 2, N => {
            for i in 0..out_height {
                for pixels in tiles(out_width, most_pixels::<T>(N)) {
                    with_rows!(pixels.len(), at most most_pixels::<T>(N), of 1 2 3 4 5 6 7 8 9 10 11 12, R => {
                        let mut tile = [array::<_, N>(bias, channels.start); R];
                        for u in 0..kernel_height {
                            let row = &frame[(i * down + u) * row_len..][..row_len];
                            let windows: [&[f32]; R] = std::array::from_fn(|r| {
                                &row[(pixels.start + r) * across * conv.in_channels..][..depth]
                            });
                            let filters = &filters[u * depth * N..][..depth * N];
                            let numbers = |k: usize| std::array::from_fn(|r| windows[r][k]);
                            add_product(t, depth, numbers, |k| array(filters, k * N), &mut tile);
                        }
                        for (r, sums) in tile.iter().enumerate() {
                            let pixel = i * out_width + pixels.start + r;
                            y[pixel * bias.len() + channels.start..][..N].copy_from_slice(sums);
                        }
                    });
                }
            }
        });
    }
}

/// - `x`: (H, W, C vectors)
/// - `frame`: (H + 2 p, W + 2 p, C), written: the channels without the empty lanes behind them,
///   with zeros around
#[inline(always)]
fn pad<T: Lanes>(t: T, conv: &Conv2d, x: &[T::Vector], frame: &mut [f32]) {
    let ([_, width], [above, left]) = (conv.input, conv.window.padding);
    let (channels, padded_width) = (conv.in_channels, padded(conv)[1]);
    let has_border = conv.window.padding != [0, 0];
    if has_border {
        frame.fill(0.0);
    }
    let each = channels.div_ceil(T::WIDTH);
    for (i, row) in x.chunks_exact(width * each).enumerate() {
        let first = ((i + above) * padded_width + left) * channels;
        for (j, pixel) in row.chunks_exact(each).enumerate() {
            for (k, &vector) in pixel.iter().enumerate() {
                // Without a border, what stands in empty lanes is overwritten by the next pixel.
                let count = match has_border {
                    true => T::WIDTH.min(channels - k * T::WIDTH),
                    false => T::WIDTH,
                };
                let to = first + j * channels + k * T::WIDTH;
                t.store(vector, &mut frame[to..][..count]);
            }
        }
    }
}
