//! Random numbers that are a pure function of what they are for.
//!
//! Every draw is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: *Parallel Random Numbers: As Easy as
//! 1, 2, 3*, SC 2011) of a seed, a purpose, an epoch or step, a layer and an index. No generator
//! state is kept anywhere, so every engine, slice and thread draws the same numbers.

/// What a draw is for. Draws for different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// The first values of weights and biases.
    Initialisation = 1,
    /// The order of the examples in an epoch.
    Order = 2,
    /// Inputs and upstream gradients of gradient checks and tests.
    Check = 3,
    /// What dropout drops.
    Dropout = 4,
}

/// One stream of draws: a seed, a purpose, the epoch (or step, or layer) that it belongs to, and
/// perhaps the layer beside the step.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    key: [u32; 2],
    part: u32,
    /// The purpose in the lowest byte, a layer above it.
    purpose: u32,
}

impl Stream {
    /// The draws of `seed` for `purpose` in `part`, which counts epochs, steps or layers.
    pub fn new(seed: u64, purpose: Purpose, part: u32) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            part,
            purpose: purpose as u32,
        }
    }

    /// The draws of one `layer` of a network, of at most 2^24, within this stream.
    pub fn of_layer(self, layer: u32) -> Self {
        Self {
            purpose: self.purpose & 0xFF | layer << 8,
            ..self
        }
    }

    /// Four times 32 random bits, the `index`-th of this stream.
    pub fn words(&self, index: u64) -> [u32; 4] {
        self.words_each([index]).map(|[word]| word)
    }

    /// The same of several indices: the first word of each, then the second, and so on.
    #[inline(always)]
    pub fn words_each<const N: usize>(&self, indices: [u64; N]) -> [[u32; N]; 4] {
        let high = indices.map(|index| index >> 32);
        let [part, purpose] = [self.part, self.purpose].map(|word| [u64::from(word); N]);
        philox4x32([indices, high, part, purpose], self.key)
    }

    /// 64 random bits, the `index`-th of this stream.
    pub fn bits(&self, index: u64) -> u64 {
        let [low, high, ..] = self.words(index);
        u64::from(high) << 32 | u64::from(low)
    }

    /// A number in `[0, 1)`, of 53 random bits.
    pub fn uniform(&self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number in `0..bound`.
    ///
    /// The high half of `bits * bound` (Lemire, *Fast Random Integer Generation in an Interval*,
    /// 2019): without his rejection step its bias is below `bound / 2^64`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&self, index: u64, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        ((u128::from(self.bits(index)) * u128::from(bound)) >> 64) as u64
    }
}

/// Ten rounds of Philox on four 32-bit words each of several counters. They are computed side by side
/// where registers have lanes: a word is the lower half of a lane that holds a whole product, and the
/// upper half is not looked at.
#[inline(always)]
fn philox4x32<const N: usize>(mut counters: [[u64; N]; 4], mut key: [u32; 2]) -> [[u32; N]; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    // The golden ratio and the square root of 3 minus 1, as fractions of 2^32.
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    const LOWER: u64 = u32::MAX as u64;
    for _ in 0..10 {
        let [a, b, c, d] = &mut counters;
        for n in 0..N {
            let first = MULTIPLIERS[0] * (a[n] & LOWER);
            let second = MULTIPLIERS[1] * (c[n] & LOWER);
            a[n] = second >> 32 ^ b[n] ^ u64::from(key[0]);
            b[n] = second;
            c[n] = first >> 32 ^ d[n] ^ u64::from(key[1]);
            d[n] = first;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counters.map(|words| words.map(|word| word as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123, the authors' own library.
    #[test]
    fn philox_gives_the_published_answers() {
        let philox = |counter: [u32; 4], key| {
            philox4x32(counter.map(|word: u32| [word.into()]), key).map(|[word]| word)
        };
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn several_draws_at_once_are_those_of_each_index() {
        let stream = Stream::new(3, Purpose::Dropout, 5).of_layer(7);
        let indices = [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX];
        let words = stream.words_each(indices);
        for (n, &index) in indices.iter().enumerate() {
            assert_eq!(words.map(|word| word[n]), stream.words(index));
        }
    }

    #[test]
    fn seed_purpose_part_layer_and_index_each_change_the_draw() {
        let draw = Stream::new(1, Purpose::Order, 2).bits(3);
        assert_ne!(draw, Stream::new(1 << 32, Purpose::Order, 2).bits(3));
        assert_ne!(draw, Stream::new(1, Purpose::Initialisation, 2).bits(3));
        assert_ne!(draw, Stream::new(1, Purpose::Order, 3).bits(3));
        assert_ne!(draw, Stream::new(1, Purpose::Order, 2).bits(3 << 32));
        assert_ne!(draw, Stream::new(1, Purpose::Order, 2).of_layer(1).bits(3));
        assert_eq!(draw, Stream::new(1, Purpose::Order, 2).bits(3));
    }

    #[test]
    fn uniform_fills_the_interval_evenly() {
        let stream = Stream::new(0, Purpose::Check, 0);
        let draws: Vec<f64> = (0..10_000).map(|index| stream.uniform(index)).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        // The mean of 10,000 uniform draws has a standard deviation of 0.0029.
        assert!((mean - 0.5).abs() < 0.012, "mean {mean}");
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let stream = Stream::new(0, Purpose::Check, 0);
        let mut seen = [0_u32; 7];
        for index in 0..7_000 {
            seen[stream.below(index, 7) as usize] += 1;
        }
        assert!(
            seen.iter().all(|&count| (850..1150).contains(&count)),
            "{seen:?}"
        );
    }
}
