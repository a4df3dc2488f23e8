//! ReLU as its definition says it, which compilers turn into one instruction for several
//! elements: every engine of the CPU can use it.

use crate::tensor::Element;

/// - `x`: any shape
/// - `y`: the same shape, written
pub fn forward<T: Element>(x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "x and y are of one shape");
    for (y, &x) in y.iter_mut().zip(x) {
        *y = if x <= T::zero() { T::zero() } else { x };
    }
}

/// - `x`: any shape
/// - `d_y`: the same shape
/// - `d_x`: the same shape, written
pub fn backward<T: Element>(x: &[T], d_y: &[T], d_x: &mut [T]) {
    assert_eq!(x.len(), d_y.len(), "x and d_y are of one shape");
    assert_eq!(x.len(), d_x.len(), "x and d_x are of one shape");
    for ((d_x, &d_y), &x) in d_x.iter_mut().zip(d_y).zip(x) {
        *d_x = if x <= T::zero() { T::zero() } else { d_y };
    }
}
