//! A fully connected layer of one image, with neighbouring features in the lanes: the weight is read
//! as it is, once, and the lanes of as many outputs as there are in a vector are summed together.

use super::Linear;
use crate::hardware::lanes::{Lanes, MAX_WIDTH, kernel, tiles, with_rows};

kernel! {
    /// - `x`: (I)
    /// - `weight`: (O, I)
    /// - `bias`: (O)
    /// - `y`: (O), written
    pub fn forward(
        linear: &Linear,
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        y: &mut [f32],
    ) = forward_kernel;
}

#[inline(always)]
pub(crate) fn forward_kernel<T: Lanes>(
    t: T,
    linear: &Linear,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
) {
    let inputs = linear.in_features;
    let x = &x[..inputs];
    for o in tiles(linear.out_features, T::WIDTH) {
        let weight = &weight[o.start * inputs..][..o.len() * inputs];
        let mut products = [t.zero(); MAX_WIDTH];
        with_rows!(o.len(), at most T::WIDTH, of 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16, R => {
            products[..R].copy_from_slice(&add_up::<T, R>(t, x, weight));
        });
        let sums = t.sums(&products[..T::WIDTH]);
        t.store(t.add(sums, t.load_some(&bias[o.clone()])), &mut y[o]);
    }
}

/// `R` outputs before their lanes are summed.
///
/// - `x`: (I)
/// - `weight`: (R, I)
#[inline(always)]
fn add_up<T: Lanes, const R: usize>(t: T, x: &[f32], weight: &[f32]) -> [T::Vector; R] {
    let inputs = x.len();
    let mut rows: [&[f32]; R] = [&[]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &weight[r * inputs..][..inputs];
    }
    let mut sums = [t.zero(); R];
    let whole = inputs / T::WIDTH * T::WIDTH;
    for i in (0..whole).step_by(T::WIDTH) {
        let features = t.load(&x[i..]);
        for r in 0..R {
            sums[r] = t.fma(t.load(&rows[r][i..]), features, sums[r]);
        }
    }
    if whole < inputs {
        let features = t.load_some(&x[whole..]);
        for r in 0..R {
            sums[r] = t.fma(t.load_some(&rows[r][whole..]), features, sums[r]);
        }
    }
    sums
}
