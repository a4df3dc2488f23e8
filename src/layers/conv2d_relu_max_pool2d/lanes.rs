//! What stands behind either way of convolution with several images in the lanes: bias, ReLU and
//! pooling of two rows and two columns of outputs, which are one window.

use std::ops::Range;

use crate::hardware::lanes::Lanes;
use crate::layers::conv2d::lanes::{Gradients, Outputs, two_rows_of_all};

/// Which pixel of its window each maximum came from, bit by bit for the lanes: whether it is a right one and
/// whether it is a lower one. Where ReLU lets nothing through it is still one: the pooled output tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Winner {
    right: u16,
    down: u16,
}

/// The windows of channel `o` that `M` columns from `at` on fill, as they follow in (O, ph, pw); none
/// where they are all beyond the last.
#[inline(always)]
fn windows<const M: usize>(
    [height, width]: [usize; 2],
    o: usize,
    at: [usize; 2],
) -> Option<Range<usize>> {
    let [i, j] = at.map(|pixel| pixel / 2);
    if i >= height || j >= width {
        return None;
    }
    let first = (o * height + i) * width + j;
    Some(first..first + (M / 2).min(width - j))
}

/// Outputs that are pooled as they come.
#[derive(Debug)]
pub struct Pooled<'a, V> {
    /// The windows of a channel, down and across: ph, pw.
    pub size: [usize; 2],
    /// (O)
    pub bias: &'a [f32],
    /// (O, ph, pw) vectors, written.
    pub y: &'a mut [V],
    /// (O, ph, pw), written, where a backward pass will need them.
    pub winners: Option<&'a mut [Winner]>,
}

impl<T: Lanes> Outputs<T> for Pooled<'_, T::Vector> {
    #[inline(always)]
    fn put<const M: usize, const N: usize>(
        &mut self,
        t: T,
        o: usize,
        [i, j]: [usize; 2],
        pixels: [[T::Vector; M]; N],
    ) {
        const { assert!(M.is_multiple_of(2) && N.is_multiple_of(2)) }
        let bias = t.splat(self.bias[o]);
        // That none is NaN is sooner seen by their sum than by comparing each with itself.
        let mut sum = t.zero();
        for [above, below] in pixels.as_chunks().0 {
            let mut here = t.zero();
            for (&above, &below) in above.iter().zip(below) {
                here = t.add(here, t.add(above, below));
            }
            sum = t.add(sum, here);
        }
        let nan = t.any_nan(sum);
        for (n, &rows) in pixels.as_chunks().0.iter().enumerate() {
            let Some(windows) = windows::<M>(self.size, o, [i + 2 * n, j]) else {
                continue;
            };
            let y = &mut self.y[windows.clone()];
            let winners = self.winners.as_deref_mut();
            let winners = winners.map(|winners| &mut winners[windows]);
            match nan {
                false => pool(t, rows, bias, y, winners, T::larger, T::larger_of),
                true => pool(t, rows, bias, y, winners, T::wins, T::max),
            }
        }
    }
}

/// Pools windows of two rows and two columns each, and sees to bias and ReLU.
///
/// - `wins`, `max`: whether a candidate takes the place of a maximum, and what is then there
/// - `y`, `winners`: (windows), written, as many as there are
#[inline(always)]
fn pool<T: Lanes, const M: usize>(
    t: T,
    [above, below]: [[T::Vector; M]; 2],
    bias: T::Vector,
    y: &mut [T::Vector],
    mut winners: Option<&mut [Winner]>,
    wins: impl Fn(T, T::Vector, T::Vector) -> T::Mask,
    max: impl Fn(T, T::Vector, T::Vector) -> T::Vector,
) {
    for n in 0..M / 2 {
        let Some(y) = y.get_mut(n) else {
            continue;
        };
        // The row that has the largest, then its column: in the order in which a tie is decided. The
        // bias is the same for all four, and so comes after.
        let ([a, b], [c, d]) = (
            [above[2 * n], above[2 * n + 1]],
            [below[2 * n], below[2 * n + 1]],
        );
        let down = wins(t, max(t, d, c), max(t, b, a));
        let (left, right) = (t.select(down, c, a), t.select(down, d, b));
        *y = t.relu(t.add(max(t, right, left), bias));
        if let Some(winner) = winners.as_deref_mut().and_then(|it| it.get_mut(n)) {
            *winner = Winner {
                right: t.bits(wins(t, right, left)),
                down: t.bits(down),
            };
        }
    }
}

/// Gradients by the outputs of the convolution, from those behind the pooling.
#[derive(Debug)]
pub struct PooledGradients<'a, V> {
    /// ph, pw.
    pub size: [usize; 2],
    /// The outputs behind the pooling: (O, ph, pw) vectors, from the forward pass.
    pub y: &'a [V],
    /// (O, ph, pw), from the same pass.
    pub winners: &'a [Winner],
    /// (O, ph, pw) vectors.
    pub d_y: &'a [V],
}

/// The gradients that a window's left and its right column get, in whichever row: 0 where ReLU lets nothing
/// through.
#[inline(always)]
fn left_and_right<T: Lanes>(t: T, y: T::Vector, winner: Winner, d_y: T::Vector) -> [T::Vector; 2] {
    let (right, through) = (
        t.mask(winner.right),
        t.select(t.through_relu(y), d_y, t.zero()),
    );
    [
        t.select(right, t.zero(), through),
        t.select(right, through, t.zero()),
    ]
}

/// Puts the gradient of window `n` where its winner is, and 0 elsewhere.
#[inline(always)]
fn spread<T: Lanes, const M: usize>(
    t: T,
    y: T::Vector,
    winner: Winner,
    d_y: T::Vector,
    rows: &mut [[T::Vector; M]; 2],
    n: usize,
) {
    let ([above, below], down) = (rows, t.mask(winner.down));
    for (k, here) in left_and_right(t, y, winner, d_y).into_iter().enumerate() {
        above[2 * n + k] = t.select(down, t.zero(), here);
        below[2 * n + k] = t.select(down, here, t.zero());
    }
}

impl<T: Lanes> Gradients<T> for PooledGradients<'_, T::Vector> {
    #[inline(always)]
    fn take<const M: usize>(&self, t: T, o: usize, at: [usize; 2]) -> [[T::Vector; M]; 2] {
        let mut rows = [[t.zero(); M]; 2];
        let Some(windows) = windows::<M>(self.size, o, at) else {
            return rows;
        };
        let (y, winners) = (&self.y[windows.clone()], &self.winners[windows.clone()]);
        let d_y = &self.d_y[windows];
        if winners.len() == M / 2 {
            for n in 0..M / 2 {
                spread(t, y[n], winners[n], d_y[n], &mut rows, n);
            }
        } else {
            // Counted as above, so that the rows stay in registers.
            for n in 0..M / 2 {
                if let (Some(&y), Some(&winner), Some(&d_y)) =
                    (y.get(n), winners.get(n), d_y.get(n))
                {
                    spread(t, y, winner, d_y, &mut rows, n);
                }
            }
        }
        rows
    }

    /// Only the winner of a window has a part in it, multiplied by the power that belongs to its row.
    #[inline(always)]
    fn two_rows<const M: usize>(
        &self,
        t: T,
        o: usize,
        at: [usize; 2],
        point: Option<f32>,
    ) -> [[T::Vector; M]; 2] {
        let ([height, width], [i, j]) = (self.size, at.map(|pixel| pixel / 2));
        let windows = M / 2;
        if i + windows > height || j + windows > width {
            return two_rows_of_all(t, self, o, at, point);
        }
        let mut sums = [[t.zero(); M]; 2];
        for a in 0..windows {
            let first = (o * height + i + a) * width + j;
            let (y, d_y) = (&self.y[first..][..windows], &self.d_y[first..][..windows]);
            let winners = &self.winners[first..][..windows];
            // What the upper and the lower row of these windows are multiplied by.
            let powers = match point {
                Some(point) => {
                    let [upper, lower] = [2 * a, 2 * a + 1].map(|k| point.powi(k as i32));
                    [[upper, lower], [upper, -lower]]
                }
                // The first row of all, and the last.
                None => [
                    [f32::from(u8::from(a == 0)), 0.0],
                    [0.0, f32::from(u8::from(a == windows - 1))],
                ],
            };
            for b in 0..windows {
                let down = t.mask(winners[b].down);
                let columns = left_and_right(t, y[b], winners[b], d_y[b]);
                for (sums, [upper, lower]) in sums.iter_mut().zip(powers) {
                    let power = t.select(down, t.splat(lower), t.splat(upper));
                    for (k, &here) in columns.iter().enumerate() {
                        sums[2 * b + k] = t.fma(power, here, sums[2 * b + k]);
                    }
                }
            }
        }
        sums
    }
}
