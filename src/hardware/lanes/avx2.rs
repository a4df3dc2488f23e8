//! Eight lanes, by AVX2 and FMA.

use std::arch::x86_64::*;

use super::{Kernel, Lanes, QUAD};

/// The proof that this processor has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, if there is one.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// Every operation is an instruction of AVX, AVX2 or FMA.
macro_rules! avx2 {
    ($e:expr) => {{
        // SAFETY: `self` proves that the processor has AVX2 and FMA, and nothing else is asked.
        unsafe { $e }
    }};
}

// SAFETY: `__m256` is eight numbers of `f32`, aligned to all of them.
unsafe impl Lanes for Avx2 {
    const WIDTH: usize = 8;
    // 16 registers: 12 sums, and what is multiplied.
    const ROWS: usize = 3;
    type Vector = __m256;
    type Mask = __m256;

    #[inline(always)]
    fn run<K: Kernel<Self>>(self, kernel: K) {
        #[target_feature(enable = "avx2,fma")]
        fn compiled<T: Lanes, K: Kernel<T>>(t: T, kernel: K) {
            kernel.call(t);
        }
        avx2!(compiled(self, kernel));
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        avx2!(_mm256_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> __m256 {
        let from = &from[..8];
        // SAFETY: AVX is here, and 8 numbers stand at the pointer.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn words(self, from: &[u8]) -> __m256 {
        let from = &from[..32];
        // SAFETY: AVX is here, and 32 bytes stand at the pointer.
        unsafe { _mm256_castsi256_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn byte(self, words: __m256, k: usize) -> __m256 {
        avx2!({
            let down = _mm256_set1_epi32(8 * k as i32);
            let low = _mm256_srlv_epi32(_mm256_castps_si256(words), down);
            _mm256_cvtepi32_ps(_mm256_and_si256(low, _mm256_set1_epi32(0xff)))
        })
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        avx2!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn relu(self, x: __m256) -> __m256 {
        // Where either is NaN the second is taken.
        avx2!(_mm256_max_ps(_mm256_setzero_ps(), x))
    }

    #[inline(always)]
    fn wins(self, candidate: __m256, maximum: __m256) -> __m256 {
        avx2!({
            let larger = _mm256_cmp_ps::<_CMP_GT_OQ>(candidate, maximum);
            _mm256_or_ps(larger, _mm256_cmp_ps::<_CMP_UNORD_Q>(candidate, candidate))
        })
    }

    #[inline(always)]
    fn larger(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b))
    }

    #[inline(always)]
    fn larger_of(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn any_nan(self, x: __m256) -> bool {
        avx2!(_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))) != 0
    }

    #[inline(always)]
    fn max(self, candidate: __m256, maximum: __m256) -> __m256 {
        avx2!({
            // Where either is NaN, or both are equal, the second is taken.
            let larger = _mm256_max_ps(candidate, maximum);
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(candidate, candidate);
            _mm256_blendv_ps(larger, candidate, nan)
        })
    }

    #[inline(always)]
    fn equal(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b))
    }

    #[inline(always)]
    fn through_relu(self, x: __m256) -> __m256 {
        avx2!(_mm256_cmp_ps::<_CMP_NLE_UQ>(x, _mm256_setzero_ps()))
    }

    #[inline(always)]
    fn below(self, words: &[u32], bound: u32) -> __m256 {
        let words = &words[..8];
        // SAFETY: AVX2 is here, and 8 words stand at the pointer.
        unsafe {
            let words = _mm256_loadu_si256(words.as_ptr().cast());
            // Numbers with a sign are compared, so the highest bit is turned.
            let turned = _mm256_xor_si256(words, _mm256_set1_epi32(i32::MIN));
            let bound = _mm256_set1_epi32(bound as i32 ^ i32::MIN);
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(bound, turned))
        }
    }

    #[inline(always)]
    fn select(self, mask: __m256, yes: __m256, no: __m256) -> __m256 {
        avx2!(_mm256_blendv_ps(no, yes, mask))
    }

    #[inline(always)]
    fn bits(self, mask: __m256) -> u16 {
        avx2!(_mm256_movemask_ps(mask) as u16)
    }

    #[inline(always)]
    fn mask(self, bits: u16) -> __m256 {
        avx2!({
            let lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_and_si256(_mm256_set1_epi32(i32::from(bits)), lane);
            _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane))
        })
    }

    #[inline(always)]
    fn repeat(self, from: &[f32]) -> __m256 {
        let from = &from[..QUAD];
        // SAFETY: AVX is here, and four numbers stand at the pointer.
        unsafe { _mm256_broadcast_ps(&_mm_loadu_ps(from.as_ptr())) }
    }

    #[inline(always)]
    fn transpose_quads(self, vectors: &mut [__m256]) {
        let [a, b]: &mut [__m256; 2] = vectors.try_into().expect("QUADS vectors");
        avx2!({
            let low = _mm256_permute2f128_ps::<0x20>(*a, *b);
            let high = _mm256_permute2f128_ps::<0x31>(*a, *b);
            (*a, *b) = (low, high);
        });
    }

    #[inline(always)]
    fn transpose_in_quads(self, [a, b, c, d]: [__m256; QUAD]) -> [__m256; QUAD] {
        avx2!({
            // a0 b0 a1 b1 and a2 b2 a3 b3, and the same of c and d.
            let ab_low = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
            let ab_high = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
            let cd_low = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
            let cd_high = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
            [
                _mm256_castpd_ps(_mm256_unpacklo_pd(ab_low, cd_low)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(ab_low, cd_low)),
                _mm256_castpd_ps(_mm256_unpacklo_pd(ab_high, cd_high)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(ab_high, cd_high)),
            ]
        })
    }

    #[inline(always)]
    fn quad_sums(self, [a, b, c, d]: [__m256; QUAD]) -> __m256 {
        avx2!({
            // Halves of every quad: a0 + a2, b0 + b2, a1 + a3, b1 + b3. Two of those give the sums.
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (ab, cd) = (_mm256_castps_pd(ab), _mm256_castps_pd(cd));
            let low = _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd));
            let high = _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd));
            _mm256_add_ps(low, high)
        })
    }

    #[inline(always)]
    fn unzip(self, a: __m256, b: __m256) -> [__m256; 2] {
        avx2!({
            // The halves: a0 a1 a2 a3 b0 b1 b2 b3, a4 a5 a6 a7 b4 b5 b6 b7.
            let low = _mm256_permute2f128_ps::<0x20>(a, b);
            let high = _mm256_permute2f128_ps::<0x31>(a, b);
            [
                _mm256_shuffle_ps::<0b10_00_10_00>(low, high),
                _mm256_shuffle_ps::<0b11_01_11_01>(low, high),
            ]
        })
    }

    #[inline(always)]
    fn sums(self, v: &[__m256]) -> __m256 {
        let v: &[__m256; 8] = v.try_into().expect("WIDTH vectors");
        let [a, b, c, d, e, f, g, h] = *v;
        let fours = [self.quad_sums([a, b, c, d]), self.quad_sums([e, f, g, h])];
        avx2!({
            let low = _mm256_permute2f128_ps::<0x20>(fours[0], fours[1]);
            let high = _mm256_permute2f128_ps::<0x31>(fours[0], fours[1]);
            _mm256_add_ps(low, high)
        })
    }
}
