//! Eight lanes of plain Rust, for every processor. Each loop over the lanes is one that compilers
//! turn into instructions for several of them.

use super::{Kernel, Lanes, QUAD};

/// Needs no proof.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Eight numbers.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Eight([f32; 8]);

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> Eight {
    Eight(std::array::from_fn(f))
}

// SAFETY: `Eight` is an array of eight numbers of `f32`, aligned to all of them.
unsafe impl Lanes for Portable {
    const WIDTH: usize = 8;
    const ROWS: usize = 3;
    type Vector = Eight;
    type Mask = [bool; 8];

    #[inline(always)]
    fn run<K: Kernel<Self>>(self, kernel: K) {
        kernel.call(self);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Eight {
        Eight([x; 8])
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> Eight {
        let from = &from[..8];
        each(|k| from[k])
    }

    #[inline(always)]
    fn words(self, from: &[u8]) -> Eight {
        let (words, _) = from[..32].as_chunks();
        each(|lane| f32::from_bits(u32::from_le_bytes(words[lane])))
    }

    #[inline(always)]
    fn byte(self, words: Eight, k: usize) -> Eight {
        each(|lane| f32::from(words.0[lane].to_bits().to_le_bytes()[k]))
    }

    #[inline(always)]
    fn add(self, a: Eight, b: Eight) -> Eight {
        each(|k| a.0[k] + b.0[k])
    }

    #[inline(always)]
    fn sub(self, a: Eight, b: Eight) -> Eight {
        each(|k| a.0[k] - b.0[k])
    }

    #[inline(always)]
    fn mul(self, a: Eight, b: Eight) -> Eight {
        each(|k| a.0[k] * b.0[k])
    }

    #[inline(always)]
    fn fma(self, a: Eight, b: Eight, c: Eight) -> Eight {
        // Where it is no instruction, `mul_add` would be a call for every number.
        if cfg!(target_arch = "aarch64") {
            each(|k| a.0[k].mul_add(b.0[k], c.0[k]))
        } else {
            each(|k| a.0[k] * b.0[k] + c.0[k])
        }
    }

    #[inline(always)]
    fn relu(self, x: Eight) -> Eight {
        each(|k| if x.0[k] <= 0.0 { 0.0 } else { x.0[k] })
    }

    #[inline(always)]
    fn wins(self, candidate: Eight, maximum: Eight) -> [bool; 8] {
        std::array::from_fn(|k| (candidate.0[k] > maximum.0[k]) | candidate.0[k].is_nan())
    }

    #[inline(always)]
    fn larger(self, a: Eight, b: Eight) -> [bool; 8] {
        std::array::from_fn(|k| a.0[k] > b.0[k])
    }

    #[inline(always)]
    fn larger_of(self, a: Eight, b: Eight) -> Eight {
        self.select(self.larger(a, b), a, b)
    }

    #[inline(always)]
    fn any_nan(self, x: Eight) -> bool {
        x.0.iter().any(|x| x.is_nan())
    }

    #[inline(always)]
    fn max(self, candidate: Eight, maximum: Eight) -> Eight {
        self.select(self.wins(candidate, maximum), candidate, maximum)
    }

    #[inline(always)]
    fn equal(self, a: Eight, b: Eight) -> [bool; 8] {
        std::array::from_fn(|k| a.0[k] == b.0[k])
    }

    #[inline(always)]
    fn through_relu(self, x: Eight) -> [bool; 8] {
        std::array::from_fn(|k| x.0[k] > 0.0 || x.0[k].is_nan())
    }

    #[inline(always)]
    fn below(self, words: &[u32], bound: u32) -> [bool; 8] {
        let words = &words[..8];
        std::array::from_fn(|k| words[k] < bound)
    }

    #[inline(always)]
    fn select(self, mask: [bool; 8], yes: Eight, no: Eight) -> Eight {
        each(|k| if mask[k] { yes.0[k] } else { no.0[k] })
    }

    #[inline(always)]
    fn bits(self, mask: [bool; 8]) -> u16 {
        (0..8).map(|k| u16::from(mask[k]) << k).sum()
    }

    #[inline(always)]
    fn mask(self, bits: u16) -> [bool; 8] {
        std::array::from_fn(|k| bits >> k & 1 == 1)
    }

    #[inline(always)]
    fn repeat(self, from: &[f32]) -> Eight {
        let from = &from[..QUAD];
        each(|k| from[k % QUAD])
    }

    #[inline(always)]
    fn transpose_quads(self, vectors: &mut [Eight]) {
        let [a, b]: &mut [Eight; 2] = vectors.try_into().expect("QUADS vectors");
        a.0[QUAD..].swap_with_slice(&mut b.0[..QUAD]);
    }

    #[inline(always)]
    fn transpose_in_quads(self, vectors: [Eight; QUAD]) -> [Eight; QUAD] {
        std::array::from_fn(|v| each(|k| vectors[k % QUAD].0[k / QUAD * QUAD + v]))
    }

    #[inline(always)]
    fn quad_sums(self, vectors: [Eight; QUAD]) -> Eight {
        each(|k| {
            let quad = &vectors[k % QUAD].0[k / QUAD * QUAD..];
            (quad[0] + quad[2]) + (quad[1] + quad[3])
        })
    }

    #[inline(always)]
    fn unzip(self, a: Eight, b: Eight) -> [Eight; 2] {
        let [a, b] = [a.0, b.0];
        [
            Eight([a[0], a[2], a[4], a[6], b[0], b[2], b[4], b[6]]),
            Eight([a[1], a[3], a[5], a[7], b[1], b[3], b[5], b[7]]),
        ]
    }

    #[inline(always)]
    fn sums(self, vectors: &[Eight]) -> Eight {
        let vectors: &[Eight; 8] = vectors.try_into().expect("WIDTH vectors");
        each(|k| {
            let v = vectors[k].0;
            ((v[0] + v[2]) + (v[1] + v[3])) + ((v[4] + v[6]) + (v[5] + v[7]))
        })
    }
}
