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

/// A slice as rows of equal length, in which the operands of a tile stand.
///
/// The slice's length is checked when a matrix is made, so that its places need only be compared with
/// the numbers of rows and columns, which the compiler does before a loop over them.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, V> {
    elements: &'a [V],
    rows: usize,
    columns: usize,
}

impl<'a, V: Copy> Matrix<'a, V> {
    /// The first elements as so many rows.
    #[inline(always)]
    pub(crate) fn new(elements: &'a [V], [rows, columns]: [usize; 2]) -> Self {
        let count = rows.checked_mul(columns);
        assert!(count.is_some_and(|count| count <= elements.len()));
        Self {
            elements,
            rows,
            columns,
        }
    }

    /// How many elements a row has.
    #[inline(always)]
    pub(crate) fn columns(self) -> usize {
        self.columns
    }

    /// One element.
    #[inline(always)]
    pub(crate) fn at(self, row: usize, column: usize) -> &'a V {
        assert!(row < self.rows && column < self.columns);
        // SAFETY: it is in a row that is there, and all rows are in the slice.
        unsafe { self.elements.get_unchecked(row * self.columns + column) }
    }

    /// The `N` elements of a row from column `first` on.
    #[inline(always)]
    pub(crate) fn of_row<const N: usize>(self, row: usize, first: usize) -> [V; N] {
        assert!(row < self.rows && N <= self.columns && first <= self.columns - N);
        let elements = self.elements.as_ptr();
        // SAFETY: they are in a row that is there, and all rows are in the slice.
        unsafe { *elements.add(row * self.columns + first).cast() }
    }

    /// So many elements of a row from column `first` on.
    #[inline(always)]
    pub(crate) fn part_of_row(self, row: usize, first: usize, length: usize) -> &'a [V] {
        assert!(row < self.rows && length <= self.columns && first <= self.columns - length);
        let start = row * self.columns + first;
        // SAFETY: they are in a row that is there, and all rows are in the slice.
        unsafe { self.elements.get_unchecked(start..start + length) }
    }

    /// The elements of a column in the `N` rows from `first` on.
    #[inline(always)]
    pub(crate) fn of_column<const N: usize>(self, first: usize, column: usize) -> [V; N] {
        assert!(column < self.columns && N <= self.rows && first <= self.rows - N);
        // SAFETY: they are in rows that are there, and all rows are in the slice.
        let element =
            |n| unsafe { *(self.elements).get_unchecked((first + n) * self.columns + column) };
        std::array::from_fn(element)
    }
}

impl Matrix<'_, f32> {
    /// The vector of a row's numbers from column `first` on.
    #[inline(always)]
    pub(crate) fn load<T: Lanes>(self, t: T, row: usize, first: usize) -> T::Vector {
        t.load(self.part_of_row(row, first, T::WIDTH))
    }
}

/// The `N` elements of `slice` from `start` on.
#[inline(always)]
pub(crate) fn array<V: Copy, const N: usize>(slice: &[V], start: usize) -> [V; N] {
    let part: &[V; N] = slice[start..start + N].try_into().expect("N elements");
    *part
}

#[cfg(test)]
mod tests {
    use std::panic::{RefUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_matrix_has_the_elements_of_its_slice_row_by_row() {
        let elements: Vec<u8> = (0..13).collect();
        let matrix = Matrix::new(&elements, [3, 4]);
        assert_eq!((*matrix.at(0, 0), *matrix.at(2, 3)), (0, 11));
        assert_eq!(matrix.of_row(1, 1), [5, 6, 7]);
        assert_eq!(matrix.of_column(1, 2), [6, 10]);
        assert_eq!(matrix.of_row::<4>(2, 0), [8, 9, 10, 11]);
        assert_eq!(matrix.part_of_row(1, 1, 3), [5, 6, 7]);
        assert_eq!(matrix.of_column::<3>(0, 3), [3, 7, 11]);
    }

    /// Though the slice goes on behind it, as a row does in the next.
    #[test]
    fn nothing_is_read_outside_a_matrix() {
        let elements = [0_u8; 20];
        let matrix = Matrix::new(&elements, [3, 4]);
        let outside: [&(dyn Fn() -> u8 + RefUnwindSafe); 11] = [
            &|| *Matrix::new(&elements, [3, 7]).at(0, 0),
            &|| *Matrix::new(&elements, [usize::MAX, 2]).at(0, 0),
            &|| *matrix.at(3, 0),
            &|| *matrix.at(0, 4),
            &|| matrix.of_row::<3>(1, 2)[0],
            &|| matrix.of_row::<5>(1, 0)[0],
            &|| matrix.part_of_row(3, 0, 1)[0],
            &|| matrix.part_of_row(1, 2, 3)[0],
            &|| matrix.part_of_row(1, 0, 5)[0],
            &|| matrix.of_column::<2>(2, 0)[0],
            &|| matrix.of_column::<4>(0, 0)[0],
        ];
        for (n, read) in outside.into_iter().enumerate() {
            assert!(catch_unwind(read).is_err(), "{n}");
        }
    }
}
