//! A tile: sums that stay in registers while what they add up goes by.

use super::Lanes;

/// `R` by `N` vectors.
pub(crate) type Tile<T, const R: usize, const N: usize> = [[<T as Lanes>::Vector; N]; R];

/// Adds a product of numbers and vectors to a tile:
/// `tile[r][n] += sum over k of numbers(k)[r] * vectors(k)[n]`.
#[inline(always)]
pub(crate) fn add_product<T: Lanes, const R: usize, const N: usize>(
    t: T,
    depth: usize,
    numbers: impl Fn(usize) -> [f32; R],
    vectors: impl Fn(usize) -> [T::Vector; N],
    tile: &mut Tile<T, R, N>,
) {
    for k in 0..depth {
        let (numbers, vectors) = (numbers(k), vectors(k));
        for r in 0..R {
            let number = t.splat(numbers[r]);
            for n in 0..N {
                tile[r][n] = t.fma(number, vectors[n], tile[r][n]);
            }
        }
    }
}

/// Adds a product of vectors and vectors, lane by lane, to a tile:
/// `tile[r][n] += sum over k of left(k)[r] * right(k)[n]`.
#[inline(always)]
pub(crate) fn add_outer<T: Lanes, const R: usize, const N: usize>(
    t: T,
    depth: usize,
    left: impl Fn(usize) -> [T::Vector; R],
    right: impl Fn(usize) -> [T::Vector; N],
    tile: &mut Tile<T, R, N>,
) {
    for k in 0..depth {
        let (left, right) = (left(k), right(k));
        for r in 0..R {
            for n in 0..N {
                tile[r][n] = t.fma(left[r], right[n], tile[r][n]);
            }
        }
    }
}

/// The `N` elements of `slice` from `start` on.
#[inline(always)]
pub(crate) fn array<V: Copy, const N: usize>(slice: &[V], start: usize) -> [V; N] {
    let part: &[V; N] = slice[start..start + N].try_into().expect("N elements");
    *part
}
