//! The thin matrix products of small convolutions, by two crates.

use longhand::hardware::{self, Target};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::{Bench, Case, check, random_sets};

/// A product of `a` (M, K) and `b` (K, N) into `c` (M, N).
pub type Product = fn(ArrayView2<f32>, ArrayView2<f32>, Target, ArrayViewMut2<f32>);

/// The products of the tutorial's network: what they are, M, K, N, and whether `a` (M, K) and `b`
/// (K, N) lie transposed.
const SHAPES: [(&str, [usize; 3], [bool; 2]); 7] = [
    ("conv1 y", [10, 25, 576], [false, false]),
    ("conv1 d_weight", [10, 576, 25], [false, true]),
    ("conv2 y", [20, 250, 64], [false, false]),
    ("conv2 d_weight", [20, 64, 250], [false, true]),
    ("conv2 d_cols", [250, 20, 64], [true, false]),
    ("linear y", [4, 320, 50], [false, true]),
    ("square", [256, 256, 256], [false, false]),
];

pub fn bench(bench: &mut Bench) {
    for (name, [m, k, n], transposed) in SHAPES {
        let (a, b) = (random_sets(1, m * k), random_sets(2, k * n));
        let a = |turn: usize| matrix([m, k], &a[turn], transposed[0]);
        let b = |turn: usize| matrix([k, n], &b[turn], transposed[1]);
        let mut expected = vec![0.0; m * n];
        for (index, sum) in expected.iter_mut().enumerate() {
            let (a, b) = (a(0), b(0));
            let (row, column) = (a.row(index / n), b.column(index % n));
            let pairs = row.iter().zip(column);
            *sum = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        }
        let ways: [(&str, Product); 3] = [
            ("reference", reference),
            ("matrixmultiply", matrixmultiply),
            ("gemm", hardware::gemm),
        ];
        for (way, product) in ways {
            let mut c = vec![0.0; m * n];
            product(a(0), b(0), Target::Overwritten, view_mut([m, n], &mut c));
            check(&format!("gemm {way} {name}"), &c, &expected);
            let case = Case {
                group: "gemm",
                way: way.to_owned(),
                shape: format!("{name} {m}x{k}x{n}"),
                threads: 1,
                flops: 2 * (m * k * n) as u64,
                bytes: (size_of::<f32>() * (m * k + k * n + m * n)) as u64,
                ..Case::default()
            };
            bench.time(case, |turn| {
                product(
                    a(turn),
                    b(turn),
                    Target::Overwritten,
                    view_mut([m, n], &mut c),
                );
            });
        }
    }
}

/// `numbers` as a matrix of `sizes`, which may lie column by column.
fn matrix([rows, columns]: [usize; 2], numbers: &[f32], transposed: bool) -> ArrayView2<'_, f32> {
    if transposed {
        view([columns, rows], numbers).reversed_axes()
    } else {
        view([rows, columns], numbers)
    }
}

/// Three loops.
fn reference(a: ArrayView2<f32>, b: ArrayView2<f32>, target: Target, mut c: ArrayViewMut2<f32>) {
    for ((i, j), c) in c.indexed_iter_mut() {
        if target == Target::Overwritten {
            *c = 0.0;
        }
        for l in 0..a.ncols() {
            *c += a[[i, l]] * b[[l, j]];
        }
    }
}

/// What ndarray's `dot` does, into a matrix that is there.
pub fn matrixmultiply(
    a: ArrayView2<f32>,
    b: ArrayView2<f32>,
    target: Target,
    mut c: ArrayViewMut2<f32>,
) {
    let kept = if target == Target::Sum { 1.0 } else { 0.0 };
    general_mat_mul(1.0, &a, &b, kept, &mut c);
}

/// `numbers` as a row-major matrix.
pub fn view(sizes: [usize; 2], numbers: &[f32]) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape(sizes, numbers).expect("the sizes fit")
}

/// The same, to be written.
pub fn view_mut(sizes: [usize; 2], numbers: &mut [f32]) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape(sizes, numbers).expect("the sizes fit")
}
