//! What a tensor is here: an [`ndarray::ArrayD`] of `f32`, or of `f64` where precision is the
//! point. Shapes are PyTorch's: `(N, C, H, W)` for images, `(N, F)` for features.

use ndarray::{ArrayD, ArrayView, ArrayViewMut, Dim, Dimension, IntoDimension, Ix, NdFloat};

/// The numbers that a network can be computed in.
///
/// Engines compute in `f32`. The `reference` engine also computes in `f64`, which is what the
/// others are held against.
pub trait Element: NdFloat + Default + std::iter::Sum {
    /// Rounds `value` to the nearest number of this type.
    fn from_f64(value: f64) -> Self;
    /// This number as `f64`, exactly.
    fn as_f64(self) -> f64;
}

impl Element for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Element for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn as_f64(self) -> f64 {
        self
    }
}

/// A tensor of any rank, row-major.
pub type Tensor<T = f32> = ArrayD<T>;

/// The same numbers seen as a tensor of `shape`.
///
/// # Panics
/// If there are not as many.
pub(crate) fn view<T, const RANK: usize>(
    shape: [Ix; RANK],
    data: &[T],
) -> ArrayView<'_, T, Dim<[Ix; RANK]>>
where
    [Ix; RANK]: IntoDimension<Dim = Dim<[Ix; RANK]>>,
    Dim<[Ix; RANK]>: Dimension,
{
    match ArrayView::from_shape(shape, data) {
        Ok(view) => view,
        Err(_) => panic!("{} elements are no tensor of {shape:?}", data.len()),
    }
}

/// The same numbers seen as a tensor of `shape` that can be written.
///
/// # Panics
/// If there are not as many.
pub(crate) fn view_mut<T, const RANK: usize>(
    shape: [Ix; RANK],
    data: &mut [T],
) -> ArrayViewMut<'_, T, Dim<[Ix; RANK]>>
where
    [Ix; RANK]: IntoDimension<Dim = Dim<[Ix; RANK]>>,
    Dim<[Ix; RANK]>: Dimension,
{
    let count = data.len();
    match ArrayViewMut::from_shape(shape, data) {
        Ok(view) => view,
        Err(_) => panic!("{count} elements are no tensor of {shape:?}"),
    }
}

/// The relative error of a tensor, `max|a - b| / max|b|`, with `b` the trusted one.
///
/// Two tensors that are zero everywhere differ by 0. A number that is not finite gives NaN, and a
/// length that differs gives infinity, so compare as `!(error <= tolerance)`.
pub fn relative_error<A: Element, B: Element>(a: &[A], b: &[B]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let (mut difference, mut largest) = (0.0_f64, 0.0_f64);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a.as_f64(), b.as_f64());
        if !(a.is_finite() && b.is_finite()) {
            return f64::NAN;
        }
        difference = difference.max((a - b).abs());
        largest = largest.max(b.abs());
    }
    if difference == 0.0 {
        0.0
    } else {
        difference / largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_error_is_scaled_by_the_trusted_tensor() {
        assert_eq!(relative_error(&[1.0_f32, 3.0], &[1.0_f64, 4.0]), 0.25);
        assert_eq!(relative_error(&[0.0_f32], &[0.0_f64]), 0.0);
        assert_eq!(relative_error(&[1.0_f32], &[0.0_f64]), f64::INFINITY);
    }

    #[test]
    fn relative_error_never_hides_nan_or_a_missing_element() {
        assert!(relative_error(&[f32::NAN], &[1.0_f64]).is_nan());
        assert!(relative_error(&[1.0_f32], &[f64::NAN]).is_nan());
        assert!(relative_error(&[f32::INFINITY, 5.0], &[f64::INFINITY, 3.0]).is_nan());
        assert_eq!(relative_error(&[1.0_f32], &[1.0_f64, 1.0]), f64::INFINITY);
    }
}
