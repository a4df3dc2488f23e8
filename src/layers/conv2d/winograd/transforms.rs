//! The matrices of Winograd's filtering applied to one row or column, with operations that they
//! share done once.

use crate::hardware::lanes::Lanes;

/// `B^T x`
#[inline(always)]
pub(in crate::layers::conv2d) fn input<T: Lanes>(t: T, x: [T::Vector; 8]) -> [T::Vector; 8] {
    let c = |number| t.splat(number);
    let first = t.fma(c(5.25), t.sub(x[4], x[2]), t.sub(x[0], x[6]));
    let last = t.fma(c(5.25), t.sub(x[3], x[5]), t.sub(x[7], x[1]));
    let even = t.fma(c(-4.25), x[4], t.add(x[2], x[6]));
    let odd = t.fma(c(-4.25), x[3], t.add(x[1], x[5]));
    let even_2 = t.fma(c(0.25), x[2], t.fma(c(-1.25), x[4], x[6]));
    let odd_2 = t.fma(c(0.5), x[1], t.fma(c(-2.5), x[3], t.add(x[5], x[5])));
    let even_half = t.fma(c(4.0), x[2], t.fma(c(-5.0), x[4], x[6]));
    let odd_half = t.fma(c(0.5), x[5], t.fma(c(-2.5), x[3], t.add(x[1], x[1])));
    [
        first,
        t.add(even, odd),
        t.sub(even, odd),
        t.add(even_2, odd_2),
        t.sub(even_2, odd_2),
        t.add(even_half, odd_half),
        t.sub(even_half, odd_half),
        last,
    ]
}

/// `B v`, the transpose of [`input`].
#[inline(always)]
pub(in crate::layers::conv2d) fn input_transposed<T: Lanes>(
    t: T,
    v: [T::Vector; 8],
) -> [T::Vector; 8] {
    let c = |number| t.splat(number);
    let (even, odd) = (t.add(v[1], v[2]), t.sub(v[1], v[2]));
    let (even_2, odd_2) = (t.add(v[3], v[4]), t.sub(v[3], v[4]));
    let (even_half, odd_half) = (t.add(v[5], v[6]), t.sub(v[5], v[6]));
    let two = |a, b| t.fma(c(2.0), a, b);
    [
        v[0],
        two(odd_half, t.fma(c(0.5), odd_2, t.sub(odd, v[7]))),
        t.fma(
            c(-5.25),
            v[0],
            t.fma(c(4.0), even_half, t.fma(c(0.25), even_2, even)),
        ),
        t.fma(
            c(5.25),
            v[7],
            t.fma(c(-2.5), t.add(odd_2, odd_half), t.mul(c(-4.25), odd)),
        ),
        t.fma(
            c(5.25),
            v[0],
            t.fma(
                c(-5.0),
                even_half,
                t.fma(c(-1.25), even_2, t.mul(c(-4.25), even)),
            ),
        ),
        two(odd_2, t.fma(c(0.5), odd_half, t.fma(c(-5.25), v[7], odd))),
        t.add(t.add(even, even_2), t.sub(even_half, v[0])),
        v[7],
    ]
}

/// `A^T m`, M numbers.
#[inline(always)]
pub(in crate::layers::conv2d) fn output<T: Lanes, const M: usize>(
    t: T,
    m: [T::Vector; 8],
) -> [T::Vector; M] {
    let even = [t.add(m[1], m[2]), t.add(m[3], m[4]), t.add(m[5], m[6])];
    let odd = [t.sub(m[1], m[2]), t.sub(m[3], m[4]), t.sub(m[5], m[6])];
    let mut y = [t.add(t.add(m[0], even[0]), t.add(even[1], even[2])); M];
    for (k, y) in y.iter_mut().enumerate().skip(1) {
        let [ones, twos, halves] = if k % 2 == 0 { even } else { odd };
        let power = (1 << k) as f32;
        *y = t.fma(t.splat(power), twos, ones);
        *y = t.fma(t.splat(1.0 / power), halves, *y);
    }
    y[M - 1] = t.add(y[M - 1], m[7]);
    y
}

/// `A y`, the transpose of [`output`].
#[inline(always)]
pub(in crate::layers::conv2d) fn output_transposed<T: Lanes, const M: usize>(
    t: T,
    y: [T::Vector; M],
) -> [T::Vector; 8] {
    let mut m = [y[0]; 8];
    for Pair { rows, point, .. } in PAIRS {
        [m[rows[0]], m[rows[1]]] = output_transposed_at(t, point, y);
    }
    m[7] = y[M - 1];
    m
}

/// The two rows of [`output_transposed`] that belong to a point and to its opposite.
#[inline(always)]
pub(in crate::layers::conv2d) fn output_transposed_at<T: Lanes, const M: usize>(
    t: T,
    point: f32,
    y: [T::Vector; M],
) -> [T::Vector; 2] {
    // The even and the odd powers, by Horner's rule from the highest down; what the odd ones have more, the
    // point itself, with the last.
    let square = point * point;
    let (mut even, mut odd) = (y[M - 2], y[M - 1]);
    for k in (2..M - 2).step_by(2).rev() {
        even = t.fma(t.splat(square), even, y[k]);
        odd = t.fma(t.splat(square), odd, y[k + 1]);
    }
    even = t.fma(t.splat(square), even, y[0]);
    odd = t.fma(t.splat(square * point), odd, t.mul(t.splat(point), y[1]));
    [t.add(even, odd), t.sub(even, odd)]
}

/// Row `i` of `G`: the powers of its point, divided by N.
pub(super) fn weight_row<const R: usize>(i: usize) -> [f32; R] {
    let of_pair = PAIRS.into_iter().find(|pair| pair.rows.contains(&i));
    std::array::from_fn(|k| match of_pair {
        None if i == ENDS[0] => f32::from(u8::from(k == 0)),
        None => f32::from(u8::from(k == R - 1)),
        Some(pair) if i == pair.rows[0] => pair.scale * pair.point.powi(k as i32),
        Some(pair) => pair.scale * (-pair.point).powi(k as i32),
    })
}

/// A point and its opposite.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    /// Which rows of the matrices are theirs.
    pub(super) rows: [usize; 2],
    pub(super) point: f32,
    /// 1 / N, the same for both.
    scale: f32,
}

/// The rows of 0 and infinity, which are no pair.
pub(super) const ENDS: [usize; 2] = [0, 7];

/// Which row of the matrices is that of the point 1.
pub(super) const ONE: usize = 1;

/// The finite points but 0.
pub(super) const PAIRS: [Pair; 3] = [
    Pair {
        rows: [ONE, 2],
        point: 1.0,
        scale: -1.0 / 4.5,
    },
    Pair {
        rows: [3, 4],
        point: 2.0,
        scale: 1.0 / 90.0,
    },
    Pair {
        rows: [5, 6],
        point: 0.5,
        scale: 32.0 / 45.0,
    },
];

/// All rows of the matrices, two by two: the ends, and each point with its opposite.
pub(super) fn rows() -> impl Iterator<Item = ([usize; 2], Option<f32>)> {
    let pairs = PAIRS.into_iter().map(|pair| (pair.rows, Some(pair.point)));
    std::iter::once((ENDS, None)).chain(pairs)
}

/// `G g`
#[inline(always)]
pub(in crate::layers::conv2d) fn weight<T: Lanes, const R: usize>(
    t: T,
    g: [T::Vector; R],
) -> [T::Vector; 8] {
    let mut u = [g[0]; 8];
    for Pair { rows, point, scale } in PAIRS {
        // Both have the same even powers, and opposite odd ones.
        let square = t.splat(point * point);
        let (mut even, mut odd) = (g[R - 1], g[R - 2]);
        for k in (0..R - 2).rev() {
            let sum = if k % 2 == 0 { &mut even } else { &mut odd };
            *sum = t.fma(square, *sum, g[k]);
        }
        let even = t.mul(t.splat(scale), even);
        let odd = t.mul(t.splat(scale * point), odd);
        [u[rows[0]], u[rows[1]]] = [t.add(even, odd), t.sub(even, odd)];
    }
    u[7] = g[R - 1];
    u
}

/// `G^T u`, the transpose of [`weight`].
#[inline(always)]
pub(in crate::layers::conv2d) fn weight_transposed<T: Lanes, const R: usize>(
    t: T,
    u: [T::Vector; 8],
) -> [T::Vector; R] {
    let mut g = [t.zero(); R];
    g[0] = u[0];
    for Pair { rows, point, scale } in PAIRS {
        let [plus, minus] = rows.map(|row| u[row]);
        let (even, odd) = (t.add(plus, minus), t.sub(plus, minus));
        for (k, g) in g.iter_mut().enumerate() {
            let part = if k % 2 == 0 { even } else { odd };
            *g = t.fma(t.splat(scale * point.powi(k as i32)), part, *g);
        }
    }
    g[R - 1] = t.add(g[R - 1], u[7]);
    g
}
