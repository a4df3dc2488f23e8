//! Maximum pooling that remembers its winners, so that the backward pass only scatters.
//!
//! A line of windows is pooled at once, one place of the windows after another.

use std::hint::select_unpredictable;

use super::{MaxPool2d, wins};

/// - `x`: (C, H, W)
/// - `y`: (C, oh, ow), written
/// - `winners`: (C, oh, ow), written: which pixel of its channel each maximum came from
pub fn forward(pool: &MaxPool2d, x: &[f32], y: &mut [f32], winners: &mut [u32]) {
    let window = &pool.window;
    let [height, width] = pool.input;
    let [out_height, out_width] = pool.output;
    let [down, across] = window.stride;
    let [kernel_height, kernel_width] = window.kernel;
    let [above, left] = window.padding;
    assert_eq!(x.len(), pool.channels * height * width, "x: (C, H, W)");
    assert_eq!(
        y.len(),
        pool.channels * out_height * out_width,
        "y: (C, oh, ow)"
    );
    assert_eq!(winners.len(), y.len(), "winners: (C, oh, ow)");

    let lines = y
        .chunks_exact_mut(out_width)
        .zip(winners.chunks_exact_mut(out_width));
    for (line, (y, winners)) in lines.enumerate() {
        let (c, i) = (line / out_height, line % out_height);
        let x = &x[c * height * width..][..height * width];
        let top = (i * down).saturating_sub(above);
        let bottom = (i * down + kernel_height - above).min(height);
        // Every window begins with its first pixel. A channel has at most MAX_ELEMENTS pixels,
        // which fit in 32 bits.
        for (j, winner) in winners.iter_mut().enumerate() {
            *winner = (top * width + (j * across).saturating_sub(left)) as u32;
        }
        for m in top..bottom {
            // Where the first place is on the image, it is the first pixel.
            for v in usize::from(m == top)..kernel_width {
                let inside = window.inside(1, v, width, out_width);
                if inside.is_empty() {
                    continue;
                }
                let mut place = m * width + inside.start * across + v - left;
                for winner in &mut winners[inside] {
                    // A selection, not a branch: which pixel wins cannot be predicted.
                    let wins = wins(x[place], x[*winner as usize]);
                    *winner = select_unpredictable(wins, place as u32, *winner);
                    place += across;
                }
            }
        }
        for (y, &winner) in y.iter_mut().zip(&*winners) {
            *y = x[winner as usize];
        }
    }
}

/// - `winners`: (C, oh, ow), from the forward pass
/// - `d_y`: (C, oh, ow)
/// - `d_x`: (C, H, W), written
pub fn backward(pool: &MaxPool2d, winners: &[u32], d_y: &[f32], d_x: &mut [f32]) {
    let (area, windows) = (
        pool.input[0] * pool.input[1],
        pool.output[0] * pool.output[1],
    );
    assert_eq!(d_x.len(), pool.channels * area, "d_x: (C, H, W)");
    assert_eq!(d_y.len(), pool.channels * windows, "d_y: (C, oh, ow)");
    assert_eq!(winners.len(), d_y.len(), "winners: (C, oh, ow)");
    d_x.fill(0.0);
    let channels = d_y.chunks_exact(windows).zip(winners.chunks_exact(windows));
    for (d_x, (d_y, winners)) in d_x.chunks_exact_mut(area).zip(channels) {
        for (&d_y, &winner) in d_y.iter().zip(winners) {
            d_x[winner as usize] += d_y;
        }
    }
}
