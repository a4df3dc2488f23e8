//! Matrix products on one thread, by the `gemm` crate.
//!
//! The products of small convolutions are thin: 10 x 25 by 25 x 576, 20 x 64 by 64 x 250. Those of
//! ndarray, which are matrixmultiply's, pack every matrix and pad every edge to a whole kernel;
//! `gemm` has kernels that fit the edges, and packs only what is worth packing.

use gemm::Parallelism;
use ndarray::{ArrayView2, ArrayViewMut2};

/// What becomes of the numbers that stand in `c` before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `c = a b`
    Overwritten,
    /// `c = c + a b`
    Sum,
}

/// The product of `a` (M, K) and `b` (K, N) into `c` (M, N), each in any layout.
///
/// # Panics
/// If the shapes do not fit.
pub fn gemm(a: ArrayView2<f32>, b: ArrayView2<f32>, target: Target, mut c: ArrayViewMut2<f32>) {
    let ((m, k), (inner, n)) = (a.dim(), b.dim());
    assert_eq!(k, inner, "a (M, K) and b (K, N)");
    assert_eq!((m, n), c.dim(), "c (M, N)");
    let [a_row, a_column] = [a.strides()[0], a.strides()[1]];
    let [b_row, b_column] = [b.strides()[0], b.strides()[1]];
    let [c_row, c_column] = [c.strides()[0], c.strides()[1]];
    // SAFETY: pointers and strides are those of three live views, whose shapes were just found to
    // be (M, K), (K, N) and (M, N); `c` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c_column,
            c_row,
            target == Target::Sum,
            a.as_ptr(),
            a_column,
            a_row,
            b.as_ptr(),
            b_column,
            b_row,
            // What stood in c, times 1, plus the product, times 1.
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Whole numbers, so that the order of the sums changes nothing.
    fn matrix(rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((7 * i + 3 * j) % 11) as f32 - 5.0
        })
    }

    #[test]
    fn products_in_every_layout_are_exact() {
        for (m, k, n) in [(1, 1, 1), (10, 25, 33), (3, 70, 1), (17, 5, 64), (4, 0, 3)] {
            let (a, b) = (matrix(m, k), matrix(k, n));
            let (a_columns, b_columns) = (a.t().to_owned(), b.t().to_owned());
            let mut expected = Array2::<f32>::zeros((m, n));
            for ((i, j), sum) in expected.indexed_iter_mut() {
                *sum = (0..k).map(|l| a[[i, l]] * b[[l, j]]).sum();
            }
            for a in [a.view(), a_columns.t()] {
                for b in [b.view(), b_columns.t()] {
                    let mut c = Array2::from_elem((m, n), f32::NAN);
                    gemm(a, b, Target::Overwritten, c.view_mut());
                    assert_eq!(c, expected);
                    gemm(a, b, Target::Sum, c.view_mut());
                    assert_eq!(c, &expected * 2.0);
                    let mut c = Array2::zeros((n, m));
                    gemm(a, b, Target::Overwritten, c.view_mut().reversed_axes());
                    assert_eq!(c.t(), expected);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a (M, K) and b (K, N)")]
    fn shapes_that_do_not_fit_are_refused() {
        let mut c = Array2::zeros((2, 2));
        gemm(
            matrix(2, 3).view(),
            matrix(4, 2).view(),
            Target::Sum,
            c.view_mut(),
        );
    }
}
