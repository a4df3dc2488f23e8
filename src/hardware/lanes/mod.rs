//! One number of each of eight or sixteen images in one register.
//!
//! Most kernels put neighbouring pixels into a register, and then pay for every window that
//! straddles its end. Here a register holds one pixel of several images, each in its lane: layout
//! `(C, H, W)` of vectors, where a vector is a number of every image. Whatever a layer does to
//! one image, with any kernel, stride or padding, it does to all of them in the same
//! instruction, and no image ever needs what stands in another's lane.
//!
//! ```text
//!            lane 0   lane 1   lane 2  ...
//! x[c][i][j] image 0  image 1  image 2        one Vector
//! ```
//!
//! A weight is the same for all images: it is broadcast, `y += weight * x` being one instruction
//! for all lanes. Only a weight's gradient adds up over images, and so over lanes, once for every
//! group ([`Lanes::sums`]).
//!
//! Where a sum over lanes is wanted for every few products, the lanes are **turned** first: four
//! neighbouring lanes are a quad, and the same quads of several vectors are put into one
//! ([`Lanes::transpose_quads`]), so that one vector adds up several weights, each in its quad, and no
//! more than four lanes are left to be summed.
//!
//! What keeps a core busy is a **tile**: as many sums as there are registers, each a chain of
//! multiply-adds of its own. A tile of 5 channels by 4 pixels reads 5 weights and 4 vectors for 20
//! multiply-adds, so that reading is never what it waits for.
//!
//! One image alone would leave all lanes but one empty: its own neighbouring numbers stand in them
//! then ([`crate::layers::conv2d::one_image`]).
//!
//! [`Lanes`] names the operations. A value of a type that implements it is a proof: it can only
//! be had where the processor has the instructions ([`Path`]), which makes every operation safe.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
pub(crate) mod tile;

use std::fmt;
use std::mem::size_of;
use std::ops::{Deref, DerefMut};

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use portable::Portable;

/// The most lanes that any path has.
pub const MAX_WIDTH: usize = 16;

/// The most rows of four vectors that any path's tile has.
pub const MAX_ROWS: usize = 5;

/// Lanes that stand together where vectors are turned: a vector has two or four such quads.
pub const QUAD: usize = 4;

/// The operations on vectors, one number for each image.
///
/// # Safety
/// A `Vector` is `WIDTH` numbers of `f32` and nothing else, of at least their alignment: [`Lanes::numbers`]
/// shows it as such.
pub unsafe trait Lanes: Copy + Send + Sync + 'static {
    /// How many lanes a vector has.
    const WIDTH: usize;

    /// How many quads a vector has.
    const QUADS: usize = Self::WIDTH / QUAD;

    /// A tile has at most this many rows of four vectors.
    const ROWS: usize;

    /// `WIDTH` numbers of `f32`, and nothing else.
    type Vector: Copy + Send + Sync;

    /// A yes or no for every lane.
    type Mask: Copy + Send + Sync;

    /// Calls a kernel compiled for these instructions.
    fn run<K: Kernel<Self>>(self, kernel: K);

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::Vector;

    /// The first `WIDTH` numbers of `from`.
    fn load(self, from: &[f32]) -> Self::Vector;

    /// The first `4 WIDTH` bytes of `from`, four in each lane, as no numbers yet.
    fn words(self, from: &[u8]) -> Self::Vector;

    /// Of the four bytes in each lane the one that was byte `k`, as a number.
    fn byte(self, words: Self::Vector, k: usize) -> Self::Vector;

    /// `a + b`
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a - b`
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a b`
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a b + c`, rounded once where the processor can.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `x`, or 0 where it is 0 or less. NaN stays NaN.
    fn relu(self, x: Self::Vector) -> Self::Vector;

    /// Where `candidate` takes the place of `maximum`: where it is larger, or NaN.
    fn wins(self, candidate: Self::Vector, maximum: Self::Vector) -> Self::Mask;

    /// Where `a` is larger than `b`, which neither is if one is NaN.
    fn larger(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;

    /// The larger of two numbers, `b` where they are the same; of NaN nothing is said.
    fn larger_of(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// Whether any lane is NaN.
    fn any_nan(self, x: Self::Vector) -> bool;

    /// `candidate` where it wins, else `maximum`.
    fn max(self, candidate: Self::Vector, maximum: Self::Vector) -> Self::Vector;

    /// Where both are the same number.
    fn equal(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;

    /// Where a gradient comes through [`Lanes::relu`]: where `x` is more than 0, or NaN.
    fn through_relu(self, x: Self::Vector) -> Self::Mask;

    /// Where the first `WIDTH` of `words` are below `bound`.
    fn below(self, words: &[u32], bound: u32) -> Self::Mask;

    /// `yes` where the mask says so, else `no`.
    fn select(self, mask: Self::Mask, yes: Self::Vector, no: Self::Vector) -> Self::Vector;

    /// The mask as bits, lane 0 the lowest.
    fn bits(self, mask: Self::Mask) -> u16;

    /// The mask of such bits.
    fn mask(self, bits: u16) -> Self::Mask;

    /// The even lanes of `a` and then of `b`, and their odd lanes: what stood side by side stands in
    /// the same lane of the two.
    fn unzip(self, a: Self::Vector, b: Self::Vector) -> [Self::Vector; 2];

    /// The sum over the lanes of each of `WIDTH` vectors: lane `k` is that of `vectors[k]`.
    fn sums(self, vectors: &[Self::Vector]) -> Self::Vector;

    /// The first four numbers of `from` in every quad.
    fn repeat(self, from: &[f32]) -> Self::Vector;

    /// Of `QUADS` vectors, the first quads become the first vector, and so on.
    fn transpose_quads(self, vectors: &mut [Self::Vector]);

    /// In every quad, lane k of vector v and lane v of vector k change places.
    fn transpose_in_quads(self, vectors: [Self::Vector; QUAD]) -> [Self::Vector; QUAD];

    /// In every quad, the sums over that quad of each of four vectors.
    fn quad_sums(self, vectors: [Self::Vector; QUAD]) -> Self::Vector;

    /// 0 in every lane.
    #[inline(always)]
    fn zero(self) -> Self::Vector {
        self.splat(0.0)
    }

    /// The sum of `vectors`, in four chains, so that an addition need not wait for the last.
    #[inline(always)]
    fn total(self, vectors: &[Self::Vector]) -> Self::Vector {
        let mut sums = [self.zero(); 4];
        for four in vectors.chunks(4) {
            for (sum, &vector) in sums.iter_mut().zip(four) {
                *sum = self.add(*sum, vector);
            }
        }
        self.add(self.add(sums[0], sums[1]), self.add(sums[2], sums[3]))
    }

    /// Of `WIDTH` vectors, lane k of vector v and lane v of vector k change places: first within the
    /// quads, then whole quads.
    #[inline(always)]
    fn transpose(self, vectors: &mut [Self::Vector]) {
        assert_eq!(vectors.len(), Self::WIDTH, "WIDTH vectors");
        for four in vectors.as_chunks_mut().0 {
            *four = self.transpose_in_quads(*four);
        }
        for lane in 0..QUAD {
            let mut quads = [self.zero(); MAX_WIDTH / QUAD];
            for (n, quad) in quads[..Self::QUADS].iter_mut().enumerate() {
                *quad = vectors[n * QUAD + lane];
            }
            self.transpose_quads(&mut quads[..Self::QUADS]);
            for (n, &quad) in quads[..Self::QUADS].iter().enumerate() {
                vectors[n * QUAD + lane] = quad;
            }
        }
    }

    /// `count` vectors of 0. Behind an array of [`MANY`] bytes or more lies room that nobody touches,
    /// [`APART`]: a core that reads in long strides fetches in advance, past the end too, and would take
    /// lines from the core whose array is there. A clone has no such room.
    fn zeros(self, count: usize) -> Vec<Self::Vector> {
        let bytes = count * size_of::<Self::Vector>();
        let room = if bytes < MANY { 0 } else { APART };
        let mut vectors = Vec::with_capacity(count + room / size_of::<Self::Vector>());
        vectors.resize(count, self.zero());
        vectors
    }

    /// The numbers of `vectors`: (vectors, lanes).
    #[inline(always)]
    fn numbers(self, vectors: &[Self::Vector]) -> &[f32] {
        const { assert!(size_of::<Self::Vector>() == Self::WIDTH * size_of::<f32>()) }
        // SAFETY: a vector is WIDTH numbers and nothing else, of an alignment that is no smaller.
        unsafe { std::slice::from_raw_parts(vectors.as_ptr().cast(), vectors.len() * Self::WIDTH) }
    }

    /// The numbers of `vectors`, to be changed: (vectors, lanes).
    #[inline(always)]
    fn numbers_mut(self, vectors: &mut [Self::Vector]) -> &mut [f32] {
        const { assert!(size_of::<Self::Vector>() == Self::WIDTH * size_of::<f32>()) }
        let count = vectors.len() * Self::WIDTH;
        // SAFETY: as above, and any number is a valid one; the borrow is handed on whole.
        unsafe { std::slice::from_raw_parts_mut(vectors.as_mut_ptr().cast(), count) }
    }

    /// The first numbers of a vector, as many as `to` has room for.
    #[inline(always)]
    fn store(self, vector: Self::Vector, to: &mut [f32]) {
        let vector = [vector];
        let numbers = self.numbers(&vector);
        // A copy of a known length is one instruction.
        match to.get_mut(..Self::WIDTH) {
            Some(to) => to.copy_from_slice(numbers),
            None => to.copy_from_slice(&numbers[..to.len()]),
        }
    }

    /// The numbers of `from`, which may be fewer than there are lanes: the rest are 0.
    #[inline(always)]
    fn load_some(self, from: &[f32]) -> Self::Vector {
        if from.len() >= Self::WIDTH {
            return self.load(from);
        }
        let mut numbers = [0.0; MAX_WIDTH];
        numbers[..from.len()].copy_from_slice(from);
        self.load(&numbers)
    }

    /// Adds the numbers of `vectors` to those of `to`, as many as there are.
    #[inline(always)]
    fn add_numbers(self, vectors: &[Self::Vector], to: &mut [f32]) {
        // Where no vector is cut, its place need not be looked for.
        if let Some(to) = to.get_mut(..vectors.len() * Self::WIDTH) {
            for (n, &vector) in vectors.iter().enumerate() {
                let to = &mut to[n * Self::WIDTH..][..Self::WIDTH];
                self.store(self.add(self.load(to), vector), to);
            }
            return;
        }
        for (&vector, to) in vectors.iter().zip(to.chunks_mut(Self::WIDTH)) {
            self.store(self.add(self.load_some(to), vector), to);
        }
    }

    /// Adds the sum over the lanes of every vector to the number at its place.
    ///
    /// - `vectors`: (n)
    /// - `to`: (n), added to
    #[inline(always)]
    fn add_sums(self, vectors: &[Self::Vector], to: &mut [f32]) {
        assert_eq!(vectors.len(), to.len(), "a number for every vector");
        let mut blocks = vectors.chunks_exact(Self::WIDTH);
        let mut numbers = to.chunks_exact_mut(Self::WIDTH);
        for (vectors, to) in blocks.by_ref().zip(numbers.by_ref()) {
            let sums = self.add(self.load(to), self.sums(vectors));
            self.store(sums, to);
        }
        let (rest, to) = (blocks.remainder(), numbers.into_remainder());
        if !rest.is_empty() {
            let mut block = [self.zero(); MAX_WIDTH];
            for (to, &vector) in block.iter_mut().zip(rest) {
                *to = vector;
            }
            let sums = self.add(self.load_some(to), self.sums(&block[..Self::WIDTH]));
            self.store(sums, to);
        }
    }
}

/// Numbers that begin where a vector may: none of their vectors lies in two lines of the cache, which
/// would take as long as two.
pub struct Numbers<T: Lanes> {
    lanes: T,
    vectors: Vec<T::Vector>,
    len: usize,
}

impl<T: Lanes> Numbers<T> {
    /// `len` numbers, all 0.
    pub fn zeros(lanes: T, len: usize) -> Self {
        Self {
            lanes,
            vectors: lanes.zeros(len.div_ceil(T::WIDTH)),
            len,
        }
    }
}

impl<T: Lanes> Deref for Numbers<T> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.lanes.numbers(&self.vectors)[..self.len]
    }
}

impl<T: Lanes> DerefMut for Numbers<T> {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.lanes.numbers_mut(&mut self.vectors)[..self.len]
    }
}

/// From so many bytes on an array has room behind it.
pub const MANY: usize = 16 * 1024;

/// The bytes of that room, which takes addresses, but no memory where pages come when they are touched. On
/// an AMD EPYC of family 26 whose two cores had no cache in common, a step of training took 108 us with
/// arrays side by side, 100 us with 64 KiB between them, and 82 us from 128 KiB on.
pub const APART: usize = 256 * 1024;

/// What is compiled for the lanes' instructions: it is always inlined where those are known, as
/// must be all that it calls. A closure would not do, for it may be compiled before.
pub trait Kernel<T: Lanes> {
    /// Computes.
    fn call(self, t: T);
}

/// Defines a function that calls an inlined one, compiled for the lanes' instructions.
///
/// `pub fn name[Y: Bound<T>](argument: Type, …) = inlined;` becomes
/// `pub fn name<T: Lanes, Y: Bound<T>>(t: T, argument: Type, …)`.
macro_rules! kernel {
    (
        $(#[$doc:meta])*
        $vis:vis fn $name:ident $([$Y:ident: $bound:path])? ($($argument:ident: $type:ty),* $(,)?)
            = $inlined:ident;
    ) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "the tensors of the formula")]
        $vis fn $name<T: Lanes $(, $Y: $bound)?>(t: T, $($argument: $type),*) {
            struct Arguments<A>(A);
            impl<T: Lanes $(, $Y: $bound)?> $crate::hardware::lanes::Kernel<T>
                for Arguments<($($type,)*)>
            {
                #[inline(always)]
                fn call(self, t: T) {
                    let Arguments(($($argument,)*)) = self;
                    $inlined(t, $($argument),*);
                }
            }
            t.run(Arguments(($($argument,)*)));
        }
    };
}
pub(crate) use kernel;

/// The code behind `=>` with a constant `$N` that is the number `$n`, so that a tile's rows are
/// known when it is compiled. It must be one of those listed, and at most `$most`.
macro_rules! with_rows {
    ($n:expr, at most $most:expr, of $($row:literal)*, $N:ident => $body:expr) => {{
        let rows = $n;
        // Known when it is compiled, so that larger tiles are not.
        assert!(rows <= $most);
        match rows {
            $($row => {
                const $N: usize = $row;
                $body
            })*
            _ => unreachable!("a tile of {rows} rows"),
        }
    }};
    ($n:expr, $T:ident, $N:ident => $body:expr) => {
        $crate::hardware::lanes::with_rows!($n, at most $T::ROWS, of 1 2 3 4 5, $N => $body)
    };
}
pub(crate) use with_rows;

/// Cuts `0..count` into as few ranges of at most `most` as there can be, their lengths as equal
/// as can be.
#[inline(always)]
pub(crate) fn tiles(count: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let parts = count.div_ceil(most);
    (0..parts).map(move |part| part * count / parts..(part + 1) * count / parts)
}

/// The instructions that vectors are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Sixteen lanes, by AVX-512.
    Avx512,
    /// Eight lanes, by AVX2 and FMA.
    Avx2,
    /// Eight lanes, by whatever the compiler makes of them: every processor.
    Portable,
}

impl Path {
    /// All of them, the fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The name, as the environment variable `LONGHAND_LANES` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// The path called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    /// How many images it computes at once.
    pub fn width(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 | Self::Portable => 8,
        }
    }

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        let mut paths = Self::ALL.into_iter();
        paths
            .find(|path| path.is_available())
            .unwrap_or(Self::Portable)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin_where_vectors_do<T: Lanes>(t: T) {
        for len in [0, 1, T::WIDTH - 1, T::WIDTH, 5 * T::WIDTH + 3] {
            let mut numbers = Numbers::zeros(t, len);
            assert_eq!(*numbers, vec![0.0; len]);
            let place = numbers.as_ptr() as usize;
            assert!(place.is_multiple_of(align_of::<T::Vector>()));
            for (n, number) in numbers.iter_mut().enumerate() {
                *number = n as f32;
            }
            assert!(numbers.iter().copied().eq((0..len).map(|n| n as f32)));
        }
    }

    /// The bytes of a picture come through words, as they stand: lane by lane, four in each.
    fn bytes_come_out_of_words<T: Lanes>(t: T) {
        let bytes: Vec<u8> = (0..4 * T::WIDTH).map(|n| (n * 37 + 200) as u8).collect();
        let words = t.words(&bytes);
        for k in 0..4 {
            let byte = [t.byte(words, k)];
            let expected = bytes.iter().skip(k).step_by(4).map(|&byte| f32::from(byte));
            assert!(t.numbers(&byte).iter().copied().eq(expected), "byte {k}");
        }
    }

    fn all<T: Lanes>(t: T) {
        begin_where_vectors_do(t);
        bytes_come_out_of_words(t);
    }

    #[test]
    fn numbers_and_words_are_what_was_written() {
        all(Portable);
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(t) = Avx2::detect() {
                all(t);
            }
            if let Some(t) = Avx512::detect() {
                all(t);
            }
        }
    }
}
