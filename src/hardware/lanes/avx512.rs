//! Sixteen lanes, by AVX-512 (the foundation, F, which every processor with AVX-512 has).

use std::arch::x86_64::*;

use super::{Kernel, Lanes, QUAD};

/// The proof that this processor has AVX-512.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// The proof, if there is one.
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }
}

/// Every operation is an instruction of AVX-512.
macro_rules! avx512 {
    ($e:expr) => {{
        // SAFETY: `self` proves that the processor has AVX-512, and nothing else is asked.
        unsafe { $e }
    }};
}

/// The first `count` lanes, or all.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    match count {
        0..16 => (1 << count) - 1,
        _ => __mmask16::MAX,
    }
}

// SAFETY: `__m512` is sixteen numbers of `f32`, aligned to all of them.
unsafe impl Lanes for Avx512 {
    const WIDTH: usize = 16;
    // 32 registers: 20 sums, 4 vectors, a weight.
    const ROWS: usize = 5;
    type Vector = __m512;
    type Mask = __mmask16;

    #[inline(always)]
    fn run<K: Kernel<Self>>(self, kernel: K) {
        #[target_feature(enable = "avx512f")]
        fn compiled<T: Lanes, K: Kernel<T>>(t: T, kernel: K) {
            kernel.call(t);
        }
        avx512!(compiled(self, kernel));
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        avx512!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        let from = &from[..16];
        // SAFETY: AVX-512 is here, and 16 numbers stand at the pointer.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn words(self, from: &[u8]) -> __m512 {
        let from = &from[..64];
        // SAFETY: AVX-512 is here, and 64 bytes stand at the pointer.
        unsafe { _mm512_castsi512_ps(_mm512_loadu_si512(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn byte(self, words: __m512, k: usize) -> __m512 {
        avx512!({
            let down = _mm512_set1_epi32(8 * k as i32);
            let low = _mm512_srlv_epi32(_mm512_castps_si512(words), down);
            _mm512_cvtepi32_ps(_mm512_and_si512(low, _mm512_set1_epi32(0xff)))
        })
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        avx512!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn relu(self, x: __m512) -> __m512 {
        // Where either is NaN the second is taken.
        avx512!(_mm512_max_ps(_mm512_setzero_ps(), x))
    }

    #[inline(always)]
    fn wins(self, candidate: __m512, maximum: __m512) -> __mmask16 {
        avx512!({
            // Where it is not larger and no NaN: the second comparison is made there alone.
            let not_larger = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(candidate, maximum);
            !_mm512_mask_cmp_ps_mask::<_CMP_ORD_Q>(not_larger, candidate, candidate)
        })
    }

    #[inline(always)]
    fn larger(self, a: __m512, b: __m512) -> __mmask16 {
        avx512!(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b))
    }

    #[inline(always)]
    fn larger_of(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn any_nan(self, x: __m512) -> bool {
        avx512!(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x)) != 0
    }

    #[inline(always)]
    fn max(self, candidate: __m512, maximum: __m512) -> __m512 {
        avx512!({
            // Where either is NaN, or both are equal, the second is taken.
            let larger = _mm512_max_ps(candidate, maximum);
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(candidate, candidate);
            _mm512_mask_mov_ps(larger, nan, candidate)
        })
    }

    #[inline(always)]
    fn equal(self, a: __m512, b: __m512) -> __mmask16 {
        avx512!(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b))
    }

    #[inline(always)]
    fn through_relu(self, x: __m512) -> __mmask16 {
        avx512!(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(x, _mm512_setzero_ps()))
    }

    #[inline(always)]
    fn below(self, words: &[u32], bound: u32) -> __mmask16 {
        let words = &words[..16];
        // SAFETY: AVX-512 is here, and 16 words stand at the pointer.
        unsafe {
            let words = _mm512_loadu_si512(words.as_ptr().cast());
            _mm512_cmplt_epu32_mask(words, _mm512_set1_epi32(bound as i32))
        }
    }

    #[inline(always)]
    fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 {
        avx512!(_mm512_mask_blend_ps(mask, no, yes))
    }

    #[inline(always)]
    fn bits(self, mask: __mmask16) -> u16 {
        mask
    }

    #[inline(always)]
    fn mask(self, bits: u16) -> __mmask16 {
        bits
    }

    #[inline(always)]
    fn unzip(self, a: __m512, b: __m512) -> [__m512; 2] {
        avx512!({
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            [
                _mm512_permutex2var_ps(a, even, b),
                _mm512_permutex2var_ps(a, odd, b),
            ]
        })
    }

    #[inline(always)]
    fn store(self, vector: __m512, to: &mut [f32]) {
        if let Some(to) = to.first_chunk_mut::<16>() {
            // SAFETY: AVX-512 is here, and there is room for 16 numbers.
            return unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) };
        }
        let first = first(to.len());
        // SAFETY: AVX-512 is here, and only numbers that `to` has are written.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first, vector) }
    }

    #[inline(always)]
    fn load_some(self, from: &[f32]) -> __m512 {
        let first = first(from.len());
        // SAFETY: AVX-512 is here, and only numbers that `from` has are read.
        unsafe { _mm512_maskz_loadu_ps(first, from.as_ptr()) }
    }

    #[inline(always)]
    fn repeat(self, from: &[f32]) -> __m512 {
        let from = &from[..QUAD];
        // SAFETY: AVX-512 is here, and four numbers stand at the pointer.
        unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(from.as_ptr())) }
    }

    #[inline(always)]
    fn transpose_quads(self, vectors: &mut [__m512]) {
        let v: &mut [__m512; 4] = vectors.try_into().expect("QUADS vectors");
        avx512!({
            // Quads 0 and 1 of two vectors, then 2 and 3; of those the even and the odd ones.
            let ab_low = _mm512_shuffle_f32x4::<0b01_00_01_00>(v[0], v[1]);
            let ab_high = _mm512_shuffle_f32x4::<0b11_10_11_10>(v[0], v[1]);
            let cd_low = _mm512_shuffle_f32x4::<0b01_00_01_00>(v[2], v[3]);
            let cd_high = _mm512_shuffle_f32x4::<0b11_10_11_10>(v[2], v[3]);
            v[0] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_low, cd_low);
            v[1] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_low, cd_low);
            v[2] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_high, cd_high);
            v[3] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_high, cd_high);
        });
    }

    #[inline(always)]
    fn transpose_in_quads(self, [a, b, c, d]: [__m512; QUAD]) -> [__m512; QUAD] {
        avx512!({
            // a0 b0 a1 b1 and a2 b2 a3 b3, and the same of c and d.
            let ab_low = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
            let ab_high = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
            let cd_low = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
            let cd_high = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
            [
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab_low, cd_low)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab_low, cd_low)),
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high)),
            ]
        })
    }

    #[inline(always)]
    fn quad_sums(self, [a, b, c, d]: [__m512; QUAD]) -> __m512 {
        avx512!({
            // Halves of every quad: a0 + a2, b0 + b2, a1 + a3, b1 + b3. Two of those give the sums.
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
            let high = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
            _mm512_add_ps(low, high)
        })
    }

    #[inline(always)]
    fn sums(self, v: &[__m512]) -> __m512 {
        let v: &[__m512; 16] = v.try_into().expect("WIDTH vectors");
        let mut fours = [self.zero(); 4];
        for (four, &v) in fours.iter_mut().zip(v.as_chunks::<4>().0) {
            *four = self.quad_sums(v);
        }
        self.transpose_quads(&mut fours);
        let [a, b, c, d] = fours;
        self.add(self.add(a, c), self.add(b, d))
    }
}
