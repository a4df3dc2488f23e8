//! The weight's transform, and what leads its gradient back.

use super::transforms::{weight, weight_transposed};
use super::{POINTS, Winograd, one_channel, u_apart};
use crate::hardware::lanes::{Lanes, MAX_WIDTH, QUAD, kernel};
use crate::layers::conv2d::Conv2d;

kernel! {
    /// `U = G weight G^T`, pairs of a channel and an output in the lanes, as they follow in `u`; or
    /// along the rows `U = G weight`.
    ///
    /// - `weight`: (O, C, r, r)
    /// - `u`: [`Winograd::weight_len`] numbers, written: (64, C, O) or (O, r, 8)
    pub fn transform_weight(
        winograd: &Winograd,
        weight: &[f32],
        u: &mut [f32],
    ) = transform_weight_kernel;
}

#[inline(always)]
fn transform_weight_kernel<T: Lanes>(t: T, winograd: &Winograd, weight: &[f32], u: &mut [f32]) {
    match (winograd.along_rows(), winograd.side) {
        (true, 4) => one_channel::transform_weight::<T, 5>(t, weight, u),
        (true, _) => one_channel::transform_weight::<T, 3>(t, weight, u),
        (false, 4) => weights::<T, 5>(t, &winograd.conv, weight, u),
        (false, _) => weights::<T, 3>(t, &winograd.conv, weight, u),
    }
}

#[inline(always)]
fn weights<T: Lanes, const R: usize>(t: T, conv: &Conv2d, weights: &[f32], u: &mut [f32]) {
    let (inputs, outputs) = (conv.in_channels, conv.out_channels);
    let (filters, apart) = (inputs * outputs, u_apart(conv));
    let (mut c, mut o) = (0, 0);
    for first in (0..filters).step_by(T::WIDTH) {
        let count = T::WIDTH.min(filters - first);
        // Where each filter's taps begin.
        let mut places = [0; MAX_WIDTH];
        for place in &mut places[..count] {
            *place = (o * inputs + c) * R * R;
            o += 1;
            if o == outputs {
                (c, o) = (c + 1, 0);
            }
        }
        let mut taps = [[t.zero(); R]; R];
        for (part, taps) in taps.as_flattened_mut().chunks_mut(T::WIDTH).enumerate() {
            // vectors: (n, taps)
            let mut vectors = [t.zero(); MAX_WIDTH];
            for (vector, place) in vectors[..count].iter_mut().zip(places) {
                *vector = t.load_some(&weights[place + part * T::WIDTH..][..taps.len()]);
            }
            t.transpose(&mut vectors[..T::WIDTH]);
            taps.copy_from_slice(&vectors[..taps.len()]);
        }
        // half: G weight, (8, r)
        let mut half = [[t.zero(); R]; POINTS];
        for v in 0..R {
            let mut column = [t.zero(); R];
            for (column, taps) in column.iter_mut().zip(&taps) {
                *column = taps[v];
            }
            for (half, point) in half.iter_mut().zip(weight(t, column)) {
                half[v] = point;
            }
        }
        for (i, &half) in half.iter().enumerate() {
            for (j, vector) in weight(t, half).into_iter().enumerate() {
                let u = &mut u[(i * POINTS + j) * apart..][..apart];
                t.store(vector, &mut u[first..first + T::WIDTH]);
            }
        }
    }
}

/// How many vectors the weights' gradient has for each point or tap: groups of outputs, one in each quad, by
/// quads of channels.
pub(super) fn gradient_groups(conv: &Conv2d, width: usize) -> [usize; 2] {
    [
        conv.out_channels.div_ceil(width / QUAD),
        conv.in_channels.div_ceil(QUAD),
    ]
}

/// `dU G` of one row of `dU`, which is then not needed any more.
///
/// - `d_u`: (8, groups of outputs, quads of channels)
/// - `half`: (groups of outputs, quads of channels, r), written by the `first` block of tiles, then added to
#[inline(always)]
pub(super) fn d_weight_row<T: Lanes, const R: usize>(
    t: T,
    d_u: &[T::Vector],
    half: &mut [T::Vector],
    first: bool,
) {
    let apart = d_u.len() / POINTS;
    for (place, half) in half.as_chunks_mut::<R>().0.iter_mut().enumerate() {
        let taps = weight_transposed::<T, R>(t, super::eight(d_u, place, apart));
        for (half, tap) in half.iter_mut().zip(taps) {
            *half = if first { tap } else { t.add(*half, tap) };
        }
    }
}

/// `d_weight += G^T (dU G)`
///
/// - `half`: (8, groups of outputs, quads of channels, r) from [`d_weight_row`]
/// - `d_weight`: (O, C, r, r), added to
#[inline(always)]
pub(super) fn add_d_weights<T: Lanes, const R: usize>(
    t: T,
    conv: &Conv2d,
    half: &[T::Vector],
    d_weight: &mut [f32],
) {
    let (inputs, outputs) = (conv.in_channels, conv.out_channels);
    let [groups, quads] = gradient_groups(conv, T::WIDTH);
    let apart = half.len() / POINTS;
    for group in 0..groups {
        for quad in 0..quads {
            let mut taps = [[t.zero(); R]; R];
            for v in 0..R {
                let first = (group * quads + quad) * R + v;
                let column = weight_transposed::<T, R>(t, super::eight(half, first, apart));
                for (taps, tap) in taps.iter_mut().zip(column) {
                    taps[v] = tap;
                }
            }
            for (part, taps) in taps.as_flattened().chunks(T::WIDTH).enumerate() {
                // vectors: (n, taps)
                let mut vectors = [t.zero(); MAX_WIDTH];
                vectors[..taps.len()].copy_from_slice(taps);
                t.transpose(&mut vectors[..T::WIDTH]);
                for (lane, &vector) in vectors[..T::WIDTH].iter().enumerate() {
                    let o = group * T::QUADS + lane / QUAD;
                    let c = quad * QUAD + lane % QUAD;
                    if o < outputs && c < inputs {
                        let place = (o * inputs + c) * R * R + part * T::WIDTH;
                        t.add_numbers(&[vector], &mut d_weight[place..][..taps.len()]);
                    }
                }
            }
        }
    }
}
